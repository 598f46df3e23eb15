/*
 * feed - the plaintext of a blob, taken in a few blocks ahead by whoever has time.
 *
 * The reader never waits for somebody to take in for it: it does so itself when nothing is
 * at hand. So a pass needs no thread for it, and two keep two CPUs busy without a third
 * to share them with.
 * Threads: one reads (take, done); any may take in ahead.
 */
#ifndef CK_FEED_H
#define CK_FEED_H

#include <stdbool.h>

#include "tar/intake.h"
#include "tar/pipe.h"

struct ck_feed; /* opaque */

/* Sees all that is taken in, in order, on the thread that does it; an error ends the feed. */
typedef int ck_feed_tap(void *ctx, const void *p, size_t nbytes, struct ck_err *err);

/*
 * SPEC, BLOB and TAGS as ck_intake_open takes them; at most N_BLOCKS of CK_INTAKE_BLOCK bytes
 * are held. TAP may be NULL. *OUT is the caller's to close.
 * Errors: those of ck_intake_open.
 */
CK_MUST_CHECK int ck_feed_open(struct ck_feed **out, const struct ck_layer_spec *spec,
			       struct ck_reader *blob, struct ck_tags *tags, size_t n_blocks,
			       ck_feed_tap *tap, void *tap_ctx, struct ck_err *err);
void ck_feed_close(struct ck_feed *f); /* NULL is allowed; wipes */

static inline void ck_feed_closep(struct ck_feed **f)
{
	ck_feed_close(*f);
}

/* Takes in one block more. False: there is no room, nothing left, or another thread is
 * at it. */
bool ck_feed_ahead(struct ck_feed *f);

/* Reader: the next block; NULL at the end, which a failure is, too. Done hands it back, before
 * the next is taken. */
struct ck_block *ck_feed_take(struct ck_feed *f);
void ck_feed_done(struct ck_feed *f, struct ck_block *b);

/* Bytes of the blob that were read so far. */
uint64_t ck_feed_through(const struct ck_feed *f);

/*
 * When nobody reads any more: takes in what is left, which counts for the verdict, and
 * gives it. Errors: what ended the feed (-EBADMSG, -EIO, those of blob and tap), or the
 * verdict's, see ck_intake_verdict.
 */
CK_MUST_CHECK int ck_feed_finish(struct ck_feed *f, struct ck_err *err);

#endif
