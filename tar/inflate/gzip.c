/*
 * gzip by ISA-L, with points at block boundaries inside a member.
 *
 * ISA-L has no "stop at the next block". When a point is due it is fed little at a
 * time: it then runs out of input inside a block's header, has put the header's bytes
 * aside (tmp_in_buffer) and everything before it out. The header begins
 * tmp_in_size bytes and read_in_length bits before the end of what it was fed.
 */
#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <string.h>

#include "tar/inflate/codec.h"

/* SLICE: bytes; a dynamic block's header is seldom shorter. FLAGS_AT: of a member's header. */
enum { SLICE = 64, FLAGS_AT = 3, FLAGS_RESERVED = 0xe0 };

struct gzip {
	struct inflate_state z;
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

	(void)s;
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

/* How much input to offer: all, or little when a point is due. */
static size_t slice(const struct gzip *g, const struct ck_stream *s)
{
	size_t n = s->in_left;

	if (point_due(s)) {
		/* A stored block's own length leads exactly to the next header. */
		size_t most = SLICE;
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

static int inflate_some(struct gzip *g, struct ck_stream *s, uint8_t *buf, size_t cap, size_t *got,
			struct ck_err *err)
{
	int rc = ck_stream_fill(s, err);
	if (rc < 0)
		return rc;
	if (g->in_header)
		return read_header(g, s, err);
	size_t n = slice(g, s), room = output_room(s, cap - *got);
	g->z.next_in = (uint8_t *)(uintptr_t)s->in;
	g->z.avail_in = (uint32_t)n;
	g->z.next_out = buf + *got;
	g->z.avail_out = (uint32_t)room;
	rc = isal_inflate(&g->z);
	if (rc < 0)
		return ck_fail(err, -EBADMSG, "gzip: %s at compressed offset %llu", why(rc),
			       (unsigned long long)s->in_off);
	size_t out = room - g->z.avail_out;
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
	bool all_out = g->z.tmp_out_processed == g->z.tmp_out_valid && g->z.avail_out > 0;
	/* Inside a header, or (behind a stored block that ended with the input) right before. */
	bool at_header =
	    g->z.block_state == ISAL_BLOCK_HDR || g->z.block_state == ISAL_BLOCK_NEW_HDR;
	if (point_due(s) && at_header && all_out)
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

const struct ck_codec ck_codec_gzip = { .state_len = sizeof(struct gzip),
					.start = gzip_start,
					.read = gzip_read };
