/*
 * window - the bytes of a stream that comes in blocks, as far back as somebody may still ask
 * for them.
 */
#ifndef CK_WINDOW_H
#define CK_WINDOW_H

#include "base/buf.h"

struct ck_window {
	const uint8_t *block; /* the newest, borrowed */
	size_t len;
	uint64_t off;	    /* of the block in the stream */
	struct ck_buf kept; /* what was just before it; its max bounds it */
	struct ck_buf joined;
};

/* The newest block is about to go: what it has from KEEP on is kept, and what is kept already from
 * there on stays; unless both are too many. Errors: -ENOMEM. */
CK_MUST_CHECK int ck_window_keep(struct ck_window *w, uint64_t keep, struct ck_err *err);

/* NBYTES at P (borrowed until the next ck_window_keep) follow in the stream. */
void ck_window_add(struct ck_window *w, const uint8_t *p, size_t nbytes);

/* The bytes FROM..TO, as far as they are there, borrowed until the next call; NULL when they
 * are no longer, or not yet. */
const uint8_t *ck_window_at(struct ck_window *w, uint64_t from, uint64_t to);

void ck_window_free(struct ck_window *w);

#endif
