/*
 * keycache - released keys, remembered; and single-flight: of concurrent callers for
 * one key, one fetches and the others wait for what it gets.
 * Threads: any. No lock is held while a key is fetched.
 */
#ifndef CK_KEYCACHE_H
#define CK_KEYCACHE_H

#include <openssl/evp.h>

#include "base/err.h"

struct ck_keycache; /* opaque */

/* Errors: -ENOMEM. */
CK_MUST_CHECK int ck_keycache_open(struct ck_keycache **out, struct ck_err *err);
void ck_keycache_close(struct ck_keycache *c); /* NULL is allowed; nobody may wait */

typedef int (*ck_keycache_fetch)(void *ctx, EVP_PKEY **out, struct ck_err *err);

/*
 * The key NAME, fetched by FETCH(CTX) unless remembered or under way. *OUT is a counted
 * reference, the caller's. A failure goes to all who waited for it and is forgotten.
 * Errors: FETCH's, -ENOMEM.
 */
CK_MUST_CHECK int ck_keycache_get(struct ck_keycache *c, const char *name, ck_keycache_fetch fetch,
				  void *ctx, EVP_PKEY **out, struct ck_err *err);

#endif
