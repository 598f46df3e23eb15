/*
 * chunked - C2SP chunked-encryption v1 with AES-256-GCM and SHA-512: authenticated
 * encryption of a long message that can be read at random.
 *
 *     salt (24) || commitment (32) || chunks of 16 KiB, each followed by its tag (16);
 *     the last chunk is always shorter than 16 KiB, and may be empty
 *     key || base nonce || commitment = HKDF-Expand-SHA512(input key,
 *         "c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM" || 0x00 || salt || context)
 *     chunk N: nonce = base nonce XOR N (big-endian), no AAD
 *
 * Source: https://c2sp.org/chunked-encryption; RFC 5869 section 2.3; RFC 5116 section 5.2.
 * Threads: once open, one handle may serve any number of threads.
 */
#ifndef CK_CHUNKED_H
#define CK_CHUNKED_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/reader.h"

enum {
	CK_CHUNK = 16384, /* plaintext bytes of a full chunk */
	CK_CHUNK_TAG = 16,
	CK_CHUNK_SEALED = CK_CHUNK + CK_CHUNK_TAG,
	CK_CHUNKED_SALT = 24,
	CK_CHUNKED_HEADER = 24 + 32 /* salt and commitment */
};

struct ck_chunked; /* the keys of one message */

/* What binds a message to its use; borrowed for the call. */
struct ck_chunked_context {
	const void *p;
	size_t len;
};

/* Length of a sealed message of LEN plaintext bytes; LEN up to 2^52 (4 PiB). */
uint64_t ck_chunked_sealed_len(uint64_t len);

/* The inverse, in *LEN. Errors: -EBADMSG: no message has that length (it is truncated, or
 * not a sealed message). */
CK_MUST_CHECK int ck_chunked_plain_len(uint64_t sealed_len, uint64_t *len, struct ck_err *err);

/*
 * Begins a new message under KEY with a fresh random salt, and writes its header.
 * *OUT is the caller's to ck_chunked_free. Errors: -EIO, -ENOMEM.
 */
CK_MUST_CHECK int ck_chunked_new(struct ck_chunked **out, const uint8_t key[32],
				 const struct ck_chunked_context *context,
				 uint8_t header[CK_CHUNKED_HEADER], struct ck_err *err);

/*
 * Opens a message by its header. Errors: -EBADMSG (commitment: another key or context, or
 * a damaged header), -EIO, -ENOMEM.
 */
CK_MUST_CHECK int ck_chunked_open(struct ck_chunked **out, const uint8_t key[32],
				  const struct ck_chunked_context *context,
				  const uint8_t header[CK_CHUNKED_HEADER], struct ck_err *err);
void ck_chunked_free(struct ck_chunked *c); /* NULL is allowed; wipes */

static inline void ck_chunked_freep(struct ck_chunked **c)
{
	ck_chunked_free(*c);
}

/* Seals chunk IDX = IN[0..NBYTES) (CK_CHUNK bytes, fewer for the last) to OUT, which has
 * room for the tag too. Errors: -EINVAL (size, number), -EIO. */
CK_MUST_CHECK int ck_chunked_seal(struct ck_chunked *c, uint64_t idx, const uint8_t *in,
				  size_t nbytes, uint8_t *out, struct ck_err *err);

/* Opens chunk IDX = IN[0..NBYTES), tag included, to OUT (NBYTES - 16; may be IN).
 * Errors: -EBADMSG (not this chunk of this message; OUT is zeros), -EINVAL, -EIO. */
CK_MUST_CHECK int ck_chunked_unseal(struct ck_chunked *c, uint64_t idx, const uint8_t *in,
				    size_t nbytes, uint8_t *out, struct ck_err *err);

/* A whole message in memory: OUT has room for ck_chunked_sealed_len(NBYTES), and back. */
CK_MUST_CHECK int ck_chunked_seal_all(const uint8_t key[32],
				      const struct ck_chunked_context *context, const void *in,
				      size_t nbytes, uint8_t *out, struct ck_err *err);
CK_MUST_CHECK int ck_chunked_unseal_all(const uint8_t key[32],
					const struct ck_chunked_context *context, const void *in,
					size_t nbytes, uint8_t *out, struct ck_err *err);

#endif
