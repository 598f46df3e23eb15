/*
 * gzip by ISA-L, with points at block boundaries inside a member.
 *
 * ISA-L has no "stop at the next block". When a point is due it is fed little at a
 * time: it then runs out of input inside a block's header, has put the header's bytes
 * aside (tmp_in_buffer) and everything before it out. The header begins
 * tmp_in_size bytes and read_in_length bits before the end of what it was fed.
 * That is slow work, so the block is searched in larger steps first, and only the step in
 * which its codes gave way to others is done again.
 */
#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "tar/inflate/codec.h"

/*
 * Bytes. SLICE: a dynamic block's header is seldom shorter. STEP: keeping the state before
 * it costs as much as some ten slices. STEPS_MAX: after so much without other codes, blocks
 * may follow each other that have the same.
 */
enum { SLICE = 64, STEP = 2048, STEPS_MAX = 64 << 10 };
enum { FLAGS_AT = 3, FLAGS_RESERVED = 0xe0 }; /* of a member's header */

struct gzip {
	struct inflate_state z;
	/* The search for the next block's header. */
	struct inflate_state *before; /* the step under way; NULL: no points are recorded */
	size_t stepped;		      /* bytes in steps, since the last point */
	uint64_t sliced_until;	      /* in_off: so far a step is done again in slices */
	struct isal_gzip_header header;
	bool between;	     /* before a member's header, or at the end of the stream */
	bool in_header;	     /* of a member */
	uint64_t header_off; /* where that began in the compressed stream */
	bool raw;	     /* entered in mid-member: this member's trailer is not ours to check */
	bool grouped;	     /* the current unit began at a member's header */
};

static int gzip_start(void *state, struct ck_stream *s, const struct ck_point *at,
		      const uint8_t *window, size_t window_len, struct ck_err *err)
{
	struct gzip *g = state;

	if (s->record && !g->before && !(g->before = malloc(sizeof *g->before)))
		return ck_nomem(err, "decompressing gzip");
	isal_inflate_init(&g->z);
	g->in_header = false;
	g->raw = at && at->mid;
	g->between = !g->raw;
	if (!g->raw)
		return 0;
	if (window_len && isal_inflate_set_dict(&g->z, (uint8_t *)(uintptr_t)window,
						(uint32_t)window_len) != ISAL_DECOMP_OK)
		return ck_fail(err, -EIO, "gzip: cannot resume at a checkpoint");
	if (at->bits) {
		int rc = ck_stream_fill(s, err);
		if (rc < 0)
			return rc;
		if (s->in_left == 0)
			return ck_fail(err, -EIO, "gzip: a checkpoint lies beyond the data");
		g->z.read_in = (uint64_t)(s->in[0] >> at->bits);
		g->z.read_in_length = 8 - at->bits;
		ck_stream_advance(s, 1);
	}
	return 0;
}

/* At the start of a member, or the end of the stream (*ENDED). */
static int next_member(struct gzip *g, struct ck_stream *s, bool *ended, struct ck_err *err)
{
	int rc = ck_stream_fill(s, err);
	if (rc < 0)
		return rc;
	*ended = s->in_left == 0;
	if (*ended)
		return 0;
	if (s->in[0] != 0x1f)
		return ck_fail(err, -EBADMSG, "gzip: garbage after the last member");
	isal_inflate_reset(&g->z);
	g->z.crc_flag = ISAL_GZIP_NO_HDR_VER;
	isal_gzip_header_init(&g->header);
	g->in_header = true;
	g->header_off = s->in_off;
	g->between = false;
	/* A unit entered in mid-member ends with that member. */
	rc = ck_stream_at_header(s, g->grouped ? CK_POINT_SPACING : 0, err);
	g->grouped = true;
	return rc;
}

/* Records a point at the block header that ISA-L just stopped in. */
static int add_point(struct gzip *g, struct ck_stream *s, const uint8_t *buf, size_t got,
		     struct ck_err *err)
{
	uint64_t bit = (s->in_off - (uint64_t)g->z.tmp_in_size) * 8 - (uint64_t)g->z.read_in_length;
	struct ck_point p = {
		.out_off = s->out_off, .in_off = bit / 8, .bits = bit % 8, .mid = true
	};
	uint8_t window[CK_WINDOW_LEN];
	size_t new = got < CK_WINDOW_LEN ? got : CK_WINDOW_LEN;
	size_t old = CK_WINDOW_LEN - new < s->history_len ? CK_WINDOW_LEN - new : s->history_len;

	memcpy(window, s->history + s->history_len - old, old);
	memcpy(window + old, buf + got - new, new);
	g->grouped = false;
	g->stepped = 0;
	return ck_units_add_point(s->record, &p, window, old + new, err);
}

static bool point_due(const struct ck_stream *s)
{
	const struct ck_units *u = s->record;

	return u && s->out_off - u->points[u->n_points - 1].out_off >= CK_POINT_SPACING;
}

/* How much output to take: up to where a point is due, so that input is sliced from there. */
static size_t output_room(const struct ck_stream *s, size_t room)
{
	const struct ck_units *u = s->record;
	uint64_t due = u ? u->points[u->n_points - 1].out_off + CK_POINT_SPACING : 0;

	return u && s->out_off < due && due - s->out_off < room ? (size_t)(due - s->out_off) : room;
}

/* Whether the search for the next block goes on in a step. */
static bool stepping(const struct gzip *g, const struct ck_stream *s)
{
	return point_due(s) && g->z.block_state == ISAL_BLOCK_CODED &&
	       s->in_off >= g->sliced_until && g->stepped < STEPS_MAX;
}

/* Whether a header was passed since the step began. Tables change with nothing else. */
static bool passed_header(const struct gzip *g)
{
	const struct inflate_state *a = g->before, *b = &g->z;

	return (b->block_state != ISAL_BLOCK_CODED && b->block_state != ISAL_BLOCK_FINISH) ||
	       memcmp(&a->lit_huff_code, &b->lit_huff_code, sizeof a->lit_huff_code) != 0 ||
	       memcmp(&a->dist_huff_code, &b->dist_huff_code, sizeof a->dist_huff_code) != 0;
}

/* How much input to offer: all, or little when a point is due. */
static size_t slice(const struct gzip *g, const struct ck_stream *s)
{
	size_t n = s->in_left;

	if (point_due(s)) {
		size_t most = stepping(g, s) ? STEP : SLICE;
		/* A stored block's own length leads exactly to the next header. */
		if (g->z.block_state == ISAL_BLOCK_TYPE0 && g->z.type0_block_len > SLICE)
			most = (size_t)g->z.type0_block_len;
		n = n < most ? n : most;
	}
	return n < UINT32_MAX / 2 ? n : UINT32_MAX / 2;
}

static const char *why(int rc)
{
	switch (rc) {
	case ISAL_INVALID_BLOCK:
		return "invalid block";
	case ISAL_INVALID_SYMBOL:
		return "invalid symbol";
	case ISAL_INVALID_LOOKBACK:
		return "invalid distance";
	case ISAL_INVALID_WRAPPER:
		return "invalid header";
	case ISAL_UNSUPPORTED_METHOD:
		return "unknown method";
	case ISAL_INCORRECT_CHECKSUM:
		return "wrong checksum";
	default:
		return "malformed";
	}
}

static int truncated(const struct ck_stream *s, struct ck_err *err)
{
	return ck_fail(err, -EBADMSG, "gzip: truncated at compressed offset %llu",
		       (unsigned long long)s->in_off);
}

/* RFC 1952 section 2.3.1.2: reserved flags may announce fields that we do not know. ISA-L
 * does not mind them. */
static bool flags_ok(const struct gzip *g, const struct ck_stream *s, size_t n)
{
	uint64_t at = g->header_off + FLAGS_AT;

	return at < s->in_off || at - s->in_off >= n ||
	       (s->in[at - s->in_off] & FLAGS_RESERVED) == 0;
}

/*
 * Reads what is at hand of a member's header. Not left to isal_inflate: it forgets the
 * header's own checksum between two calls.
 */
static int read_header(struct gzip *g, struct ck_stream *s, struct ck_err *err)
{
	size_t n = slice(g, s);

	if (!flags_ok(g, s, n))
		return ck_fail(err, -EBADMSG, "gzip: reserved flags at compressed offset %llu",
			       (unsigned long long)g->header_off);
	g->z.next_in = (uint8_t *)(uintptr_t)s->in;
	g->z.avail_in = (uint32_t)n;
	int rc = isal_read_gzip_header(&g->z, &g->header);
	if (rc < 0)
		return ck_fail(err, -EBADMSG, "gzip: %s at compressed offset %llu", why(rc),
			       (unsigned long long)s->in_off);
	ck_stream_advance(s, n - g->z.avail_in);
	g->in_header = rc != ISAL_DECOMP_OK;
	return g->in_header && n == 0 ? truncated(s, err) : 0;
}

/* Inside a header, or (behind a stored block that ended with the input) right before one;
 * and all that comes before it is out. */
static bool at_header(const struct gzip *g)
{
	return (g->z.block_state == ISAL_BLOCK_HDR || g->z.block_state == ISAL_BLOCK_NEW_HDR) &&
	       g->z.tmp_out_processed == g->z.tmp_out_valid && g->z.avail_out > 0;
}

static int inflate_some(struct gzip *g, struct ck_stream *s, uint8_t *buf, size_t cap, size_t *got,
			struct ck_err *err)
{
	int rc = ck_stream_fill(s, err);
	if (rc < 0)
		return rc;
	if (g->in_header)
		return read_header(g, s, err);
	bool step = stepping(g, s);
	size_t n = slice(g, s), room = output_room(s, cap - *got);
	if (step)
		*g->before = g->z;
	g->z.next_in = (uint8_t *)(uintptr_t)s->in;
	g->z.avail_in = (uint32_t)n;
	g->z.next_out = buf + *got;
	g->z.avail_out = (uint32_t)room;
	rc = isal_inflate(&g->z);
	if (rc < 0)
		return ck_fail(err, -EBADMSG, "gzip: %s at compressed offset %llu", why(rc),
			       (unsigned long long)s->in_off);
	size_t out = room - g->z.avail_out;
	if (step && !at_header(g) && passed_header(g)) {
		g->sliced_until = s->in_off + n - g->z.avail_in;
		g->z = *g->before;
		return 0;
	}
	g->stepped += step ? n : 0;
	ck_stream_advance(s, n - g->z.avail_in);
	*got += out;
	s->out_off += out;
	rc = ck_stream_at_output(s, CK_UNIT_MAX, err);
	if (rc < 0)
		return rc;
	if (g->z.block_state == ISAL_BLOCK_FINISH) {
		g->between = true;
		return 0;
	}
	if (n == 0 && out == 0)
		return truncated(s, err);
	if (!s->record)
		return 0;
	if (point_due(s) && at_header(g))
		rc = add_point(g, s, buf, *got, err);
	return rc;
}

static int gzip_read(void *state, struct ck_stream *s, uint8_t *buf, size_t cap, size_t *got,
		     struct ck_err *err)
{
	struct gzip *g = state;

	*got = 0;
	while (*got < cap) {
		bool ended = false;
		int rc = 0;
		if (g->between)
			rc = g->raw ? ck_fail(err, -EIO, "gzip: a unit passes its member's end")
				    : next_member(g, s, &ended, err);
		if (rc < 0 || ended)
			return rc;
		rc = inflate_some(g, s, buf, cap, got, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static void gzip_stop(void *state)
{
	struct gzip *g = state;

	if (g->before)
		ck_wipe(g->before, sizeof *g->before);
	free(g->before);
}

const struct ck_codec ck_codec_gzip = {
	.state_len = sizeof(struct gzip), .start = gzip_start, .read = gzip_read, .stop = gzip_stop
};
