/*
 * tags - one authentication tag for each chunk of a blob that was verified as a
 * whole: what lets every later read of the same bytes be verified on its own.
 * AES-256-GMAC (NIST SP 800-38D) with the chunk's number as nonce, under a key made
 * at random for this table, so no nonce is ever used twice.
 * Threads: ck_tags_check from any number at once, after the table is whole.
 */
#ifndef CK_TAGS_H
#define CK_TAGS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/secret.h"

enum { CK_TAG_LEN = 16, CK_TAG_CHUNK = 65536 };

struct ck_gcmkey;

struct ck_tags {
	struct ck_secret key;
	struct ck_gcmkey *gmac; /* the same, expanded; NULL: each call does that anew */
	uint64_t len;		/* of the blob, bytes */
	size_t n_tags;		/* chunks of CK_TAG_CHUNK, the last one shorter */
	uint8_t *tags;
};

/* Makes an empty table for a blob of LEN bytes with a fresh key. *T is the caller's
 * to ck_tags_free. Errors: -ENOMEM, -EIO (no randomness). */
CK_MUST_CHECK int ck_tags_init(struct ck_tags *t, uint64_t len, struct ck_err *err);
void ck_tags_free(struct ck_tags *t); /* {0} is allowed */

/* Expands the key of a table that was not made by ck_tags_init, once, before threads use it.
 * Errors: -ENOMEM, -EIO. */
CK_MUST_CHECK int ck_tags_ready(struct ck_tags *t, struct ck_err *err);
/* Forgets the key alone: of a table whose tags are somebody else's memory. */
void ck_tags_free_key(struct ck_tags *t);

/* Bytes of chunk IDX. */
static inline size_t ck_tags_chunk_len(const struct ck_tags *t, uint64_t idx)
{
	uint64_t left = t->len - idx * CK_TAG_CHUNK;

	return left < CK_TAG_CHUNK ? (size_t)left : CK_TAG_CHUNK;
}

/* Records the tags of the whole chunks from FIRST in P[0..NBYTES). Errors: -EIO. */
CK_MUST_CHECK int ck_tags_set(struct ck_tags *t, uint64_t first, const uint8_t *p, size_t nbytes,
			      struct ck_err *err);

/* Checks the same. *BAD is the number of the first chunk that differs.
 * Errors: -EBADMSG (differs), -EIO. */
CK_MUST_CHECK int ck_tags_check(const struct ck_tags *t, uint64_t first, const uint8_t *p,
				size_t nbytes, uint64_t *bad, struct ck_err *err);

#endif
