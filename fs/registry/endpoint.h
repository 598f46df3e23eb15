/*
 * endpoint - one place where a repository is to be had: its registry itself, or a mirror.
 * Private to fs/registry.
 * Threads: any, once made.
 */
#ifndef CK_ENDPOINT_H
#define CK_ENDPOINT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/http.h"
#include "fs/registry/auth.h"
#include "fs/registry/hosts.h"
#include "fs/registry/registry.h"

enum { CK_REDIRECTS_MAX = 64, CK_REDIRECT_MS = 5 * 60 * 1000 };

/* Where a blob was found to be. */
struct ck_redirect {
	uint8_t digest[CK_SHA256_LEN];
	char *url;	  /* NULL: an unused place */
	uint64_t till_ms; /* of ck_now_ms */
};

struct ck_endpoint {
	char *base;   /* "https://HOST[:PORT]/v2": what "/REPO/..." is put behind */
	char *origin; /* "https://HOST[:PORT]" */
	char *plain_base, *plain_origin; /* the same with http, of a loopback host whose scheme
					    nobody said; else NULL */
	atomic_bool plain;		 /* that turned out to be its */
	atomic_bool settled;		 /* it was spoken to: plain stays what it is */
	char *certs;			 /* where roots of its own would be, for messages */
	char *ns;			 /* of a mirror: for whom it stands in; else NULL */
	unsigned can;			 /* of enum ck_hosts_can */
	char **headers;			 /* sent to it alone; owned */
	size_t n_headers;
	struct ck_http *http;
	struct ck_auth *auth;
	atomic_uint_fast64_t behind_till_ms; /* it failed: others go first until then */
	atomic_uint_fast64_t whole_till_ms;  /* it refuses ranges: it is not asked for any */
	pthread_mutex_t lock;
	struct ck_redirect redirects[CK_REDIRECTS_MAX]; /* under the lock */
};

/*
 * The endpoint that ENTRY of a hosts file describes, a mirror of HOST, or, with IS_HOST, HOST
 * itself (ENTRY's URL may be NULL then). What ENTRY owns stays its own.
 * *OUT is the caller's to free. Errors: errnos of certificates, -ENOMEM.
 */
CK_MUST_CHECK int ck_endpoint_new(struct ck_endpoint **out, const struct ck_hosts_entry *entry,
				  bool is_host, const char *host, const char *repo,
				  const struct ck_registry_opts *opts, struct ck_err *err);
void ck_endpoint_free(struct ck_endpoint *e); /* NULL is allowed */

/* As it is spoken to now. */
const char *ck_endpoint_base(const struct ck_endpoint *e);
const char *ck_endpoint_origin(const struct ck_endpoint *e);

/* The URL that a blob was redirected to, not long ago: the caller's to free; NULL: none known. */
char *ck_endpoint_redirect(struct ck_endpoint *e, const uint8_t digest[CK_SHA256_LEN]);

/* Remembers URL, or with NULL forgets what was. */
void ck_endpoint_set_redirect(struct ck_endpoint *e, const uint8_t digest[CK_SHA256_LEN],
			      const char *url);

#endif
