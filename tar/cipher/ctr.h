/*
 * ctr - AES-256-CTR at any byte offset.
 * Source: NIST SP 800-38A section 6.5, with the whole 128-bit initial counter block
 * given (ocicrypt's "nonce") and incremented big-endian modulo 2^128.
 */
#ifndef CK_CTR_H
#define CK_CTR_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/*
 * Encrypts or decrypts BUF[0..NBYTES), which lies at byte OFF of the stream, in place.
 * Threads: any. Errors: -EIO (the cipher failed; BUF is then unspecified).
 */
CK_MUST_CHECK int ck_ctr_crypt(const uint8_t key[32], const uint8_t nonce[16], uint64_t off,
			       uint8_t *buf, size_t nbytes, struct ck_err *err);

#endif
