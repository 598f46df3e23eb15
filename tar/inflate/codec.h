/* codec - what one compression brings to the decoder; private to tar/inflate. */
#ifndef CK_CODEC_H
#define CK_CODEC_H

#include "tar/inflate/decoder.h"

/* The part of a decoder that every codec shares. */
struct ck_stream {
	const uint8_t *in; /* compressed bytes at hand, borrowed from the last pull */
	size_t in_left;
	uint64_t in_off;  /* of `in` in the compressed stream */
	uint64_t out_off; /* decompressed so far */
	ck_pull_fn *pull;
	void *pull_ctx;
	bool in_ended;		 /* a pull gave nothing more */
	struct ck_units *record; /* or NULL */
	/* The last CK_WINDOW_LEN bytes that came out before the buffer being filled. */
	uint8_t *history;
	size_t history_len;
};

/* How far points lie apart at least, in decompressed bytes: see the table of spacing
 * against cost in the README. Units behind a point follow at the second distance. */
enum { CK_POINT_SPACING = 1 << 20, CK_UNIT_SPACING_MAX = 4 << 20, CK_RAW_UNIT = 128 << 10 };

/* Makes sure of input at hand; in_left is 0 after it only at the end. */
CK_MUST_CHECK int ck_stream_fill(struct ck_stream *s, struct ck_err *err);

static inline void ck_stream_advance(struct ck_stream *s, size_t nbytes)
{
	s->in += nbytes;
	s->in_left -= nbytes;
	s->in_off += nbytes;
}

/* Records a point where a member or frame begins, if the last is SPACING away or more. */
CK_MUST_CHECK int ck_stream_at_header(struct ck_stream *s, uint64_t spacing, struct ck_err *err);
/* Records units behind the last point where it is more than SPACING away. */
CK_MUST_CHECK int ck_stream_at_output(struct ck_stream *s, uint64_t spacing, struct ck_err *err);

struct ck_codec {
	size_t state_len;
	/* Begins a stream, or continues it at a point with its window. */
	int (*start)(void *state, struct ck_stream *s, const struct ck_point *at,
		     const uint8_t *window, size_t window_len, struct ck_err *err);
	int (*read)(void *state, struct ck_stream *s, uint8_t *buf, size_t cap, size_t *got,
		    struct ck_err *err);
	void (*stop)(void *state); /* may be NULL */
};

extern const struct ck_codec ck_codec_none, ck_codec_gzip, ck_codec_zstd;

#endif
