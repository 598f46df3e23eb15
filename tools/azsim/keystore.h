/*
 * keystore - the HSM's keys, on disk: DIR/keys/<host>/<name>/<version>.json (what may
 * be shown) and .pem (what may only be released), and `current`, the newest version.
 * The files are the only copy: every request reads them, so nothing is lost or stale.
 * Threads: any; one mutex round every use.
 */
#ifndef AZ_KEYSTORE_H
#define AZ_KEYSTORE_H

#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>

#include "tools/azsim/dir.h"
#include "tools/azsim/pkey.h"

enum { AZ_KEY_NAME_MAX = 127, AZ_KEY_VERSION_LEN = 32 };

struct az_keystore {
	const char *dir; /* the state directory, borrowed */
	pthread_mutex_t lock;
};

/* One version of a key. */
struct az_key {
	char host[256], name[AZ_KEY_NAME_MAX + 1], version[AZ_KEY_VERSION_LEN + 1];
	EVP_PKEY *pkey; /* RSA */
	/* {"key_ops": [], "attributes": {}, "tags": {}, "release_policy": {}} */
	json_t *meta;
};

void az_keystore_init(struct az_keystore *ks, const char *dir);

/* A name that the service allows: letters, digits and hyphens. */
bool az_key_name_ok(const char *name);

/* Stores K as the newest version of its name; its version is filled in. */
CK_MUST_CHECK int az_keystore_put(struct az_keystore *ks, struct az_key *k, struct ck_err *err);

/* VERSION "" is the newest. *OUT is the caller's to az_key_free. Errors: -ENOENT. */
CK_MUST_CHECK int az_keystore_get(struct az_keystore *ks, struct az_key *out, const char *host,
				  const char *name, const char *version, struct ck_err *err);

void az_key_free(struct az_key *k);
#define AZ_KEY CK_AUTO(az_key_free) struct az_key

#endif
