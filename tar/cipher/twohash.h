/*
 * twohash - SHA-256 and HMAC-SHA256 of the same bytes, at the price of little more than one.
 *
 * A blob's digest and its HMAC run over the same ciphertext. SHA-256 spends half of its work
 * on the message schedule, which depends on the message alone: computed once, it serves both.
 * By the CPU's SHA instructions; OpenSSL, one after the other, where it has none.
 * Source: FIPS 180-4, RFC 2104.
 * Threads: one at a time.
 */
#ifndef CK_TWOHASH_H
#define CK_TWOHASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

struct ck_twohash; /* opaque; in secret memory */

/* HMAC_KEY (copied) may be NULL: then it is the digest alone. *OUT is the caller's to free.
 * Errors: -ENOMEM, -EIO. */
CK_MUST_CHECK int ck_twohash_new(struct ck_twohash **out, const uint8_t hmac_key[32],
				 struct ck_err *err);
void ck_twohash_free(struct ck_twohash *t); /* NULL is allowed */

/* Errors: -EIO. */
CK_MUST_CHECK int ck_twohash_update(struct ck_twohash *t, const void *p, size_t nbytes,
				    struct ck_err *err);

/* Ends both; HMAC is zeros where there was no key. Errors: -EIO. */
CK_MUST_CHECK int ck_twohash_final(struct ck_twohash *t, uint8_t digest[32], uint8_t hmac[32],
				   struct ck_err *err);

/* The same by the CPU's instructions, or by OpenSSL: for tests that compare the two.
 * Errors: -ENOTSUP besides. */
CK_MUST_CHECK int ck_twohash_new_by(struct ck_twohash **out, bool cpu, const uint8_t hmac_key[32],
				    struct ck_err *err);

#endif
