/* gcmengine - what an engine brings to gcmkey; private to tar/cipher. */
#ifndef CK_GCMENGINE_H
#define CK_GCMENGINE_H

#include <stdbool.h>

#include "tar/cipher/gcmkey.h"

struct ck_gcm_engine {
	const char *name;
	/* Whether this CPU has what the engine is good for. */
	bool (*usable)(void);
	void *(*key_new)(const uint8_t key[CK_GCM_KEY]); /* NULL on failure */
	void (*key_free)(void *key);
	/* As ck_gcmkey_seal and ck_gcmkey_open, but what a failure leaves in OUT is for gcmkey.c to
	 * wipe. */
	int (*seal)(void *key, const uint8_t nonce[CK_GCM_NONCE], const uint8_t *in, size_t nbytes,
		    uint8_t *out, uint8_t tag[CK_GCM_TAG]);
	int (*open)(void *key, const uint8_t nonce[CK_GCM_NONCE], const uint8_t *in, size_t nbytes,
		    uint8_t *out, const uint8_t tag[CK_GCM_TAG]);
};

extern const struct ck_gcm_engine ck_gcm_ipsec, ck_gcm_openssl;

/* A key of a named engine, past the choice: for tests and benchmarks. */
CK_MUST_CHECK int ck_gcmkey_new_with(struct ck_gcmkey **out, const struct ck_gcm_engine *e,
				     const uint8_t key[CK_GCM_KEY], struct ck_err *err);

#endif
