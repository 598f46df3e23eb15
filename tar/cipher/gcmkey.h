/*
 * gcmkey - AES-256-GCM (NIST SP 800-38D) over many short messages under one key.
 *
 * Two engines behind this door: Intel's multi-buffer library where the CPU has VAES,
 * OpenSSL elsewhere. Which one is settled at the first use, by the CPU and by a test
 * with a known answer; both give the same bytes.
 * Threads: one key may serve any number of threads at once.
 */
#ifndef CK_GCMKEY_H
#define CK_GCMKEY_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { CK_GCM_KEY = 32, CK_GCM_NONCE = 12, CK_GCM_TAG = 16 };

struct ck_gcmkey; /* an expanded key, in secret memory where its engine allows */

/* *OUT is the caller's to free. Errors: -ENOMEM, -EIO (no engine works). */
CK_MUST_CHECK int ck_gcmkey_new(struct ck_gcmkey **out, const uint8_t key[CK_GCM_KEY],
				struct ck_err *err);
void ck_gcmkey_free(struct ck_gcmkey *g); /* NULL is allowed; wipes */

static inline void ck_gcmkey_freep(struct ck_gcmkey **g)
{
	ck_gcmkey_free(*g);
}

/* Encrypts IN[0..NBYTES) into OUT (may be IN) and writes the tag; with AAD instead of a
 * message when OUT is NULL: then the tag is AES-256-GMAC of IN. Errors: -EIO. */
CK_MUST_CHECK int ck_gcmkey_seal(struct ck_gcmkey *g, const uint8_t nonce[CK_GCM_NONCE],
				 const uint8_t *in, size_t nbytes, uint8_t *out,
				 uint8_t tag[CK_GCM_TAG]);

/* Decrypts IN[0..NBYTES) into OUT (may be IN) and compares the tag in constant time.
 * Errors: -EBADMSG (the tag differs), -EIO; OUT is then all zeros. */
CK_MUST_CHECK int ck_gcmkey_open(struct ck_gcmkey *g, const uint8_t nonce[CK_GCM_NONCE],
				 const uint8_t *in, size_t nbytes, uint8_t *out,
				 const uint8_t tag[CK_GCM_TAG]);

/* "ipsec-mb" or "openssl": what this machine uses. */
const char *ck_gcmkey_engine(void);

#endif
