/*
 * text - bytes as text: base64 (RFC 4648 sections 4 and 5) and hex, and digests
 * in the OCI form "sha256:<64 lower-case hex>".
 */
#ifndef CK_TEXT_H
#define CK_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"

enum ck_b64 {
	CK_B64_STD, /* section 4, with padding */
	CK_B64_URL, /* section 5, without padding */
	CK_B64_URL_PAD,
};

/* Appends the encoding of P[0..NBYTES) to B. */
CK_MUST_CHECK int ck_b64_encode(struct ck_buf *b, enum ck_b64 form, const void *p, size_t nbytes,
				struct ck_err *err);

/*
 * Appends the decoding of S[0..LEN) to B. Strict: only the form's alphabet, no
 * white space, zero trailing bits; CK_B64_STD needs its padding, both URL forms
 * take it or leave it.
 * Errors: -EBADMSG (not that form), or those of ck_buf_add.
 */
CK_MUST_CHECK int ck_b64_decode(struct ck_buf *b, enum ck_b64 form, const char *s, size_t len,
				struct ck_err *err);

/* The same into secret memory. *OUT is the caller's to free. */
CK_MUST_CHECK int ck_b64_decode_secret(struct ck_secret *out, enum ck_b64 form, const char *s,
				       size_t len, struct ck_err *err);

/* Writes 2 * NBYTES lower-case digits and a NUL to OUT. */
void ck_hex(char *out, const void *p, size_t nbytes);

/* Reads exactly 2 * NBYTES digits, either case; false when S is anything else. */
bool ck_unhex(uint8_t *out, size_t nbytes, const char *s);

enum { CK_SHA256_LEN = 32, CK_DIGEST_STR = sizeof "sha256:" + 64 };

void ck_sha256(uint8_t out[CK_SHA256_LEN], const void *p, size_t nbytes);
void ck_digest_str(char out[CK_DIGEST_STR], const uint8_t sha256[CK_SHA256_LEN]);

/* Errors: -EBADMSG when S is not "sha256:" and 64 lower-case hex digits. */
CK_MUST_CHECK int ck_digest_parse(uint8_t out[CK_SHA256_LEN], const char *s, struct ck_err *err);

#endif
