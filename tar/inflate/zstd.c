/*
 * zstd by libzstd. A stream can be entered where a frame begins; in a frame larger
 * than a unit, units behind the first are reached by decoding from its start.
 */
#include <errno.h>
#include <zstd.h>

#include "tar/inflate/codec.h"

/* RFC 8878 section 3.1.1.1.2 recommends 8 MiB at least; 128 MiB is what the zstd
 * program accepts without being asked. */
enum { WINDOW_LOG_MAX = 27 };

/* Frames shorter than this share a unit. Less than what units behind a point are apart:
 * else a unit would begin in mid-frame just before the next frame could be a point. */
enum { FRAME_SPACING = CK_POINT_SPACING / 2 };

struct zstd {
	ZSTD_DCtx *z;
	bool between; /* before a frame, or at the end of the stream */
};

static int zstd_start(void *state, struct ck_stream *s, const struct ck_point *at,
		      const uint8_t *window, size_t window_len, struct ck_err *err)
{
	struct zstd *z = state;

	(void)s, (void)at, (void)window, (void)window_len;
	if (!z->z && !(z->z = ZSTD_createDCtx()))
		return ck_nomem(err, "opening a zstd decoder");
	ZSTD_DCtx_reset(z->z, ZSTD_reset_session_only);
	ZSTD_DCtx_setParameter(z->z, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
	z->between = true;
	return 0;
}

static int zstd_read(void *state, struct ck_stream *s, uint8_t *buf, size_t cap, size_t *got,
		     struct ck_err *err)
{
	struct zstd *z = state;

	*got = 0;
	while (*got < cap) {
		int rc = ck_stream_fill(s, err);
		if (rc == 0 && z->between) {
			if (s->in_left == 0)
				return 0;
			rc = ck_stream_at_header(s, FRAME_SPACING, err);
			z->between = false;
		}
		if (rc < 0)
			return rc;
		ZSTD_inBuffer in = { s->in, s->in_left, 0 };
		ZSTD_outBuffer out = { buf, cap, *got };
		size_t left = ZSTD_decompressStream(z->z, &out, &in);
		if (ZSTD_isError(left))
			return ck_fail(err, -EBADMSG, "zstd: %s at compressed offset %llu",
				       ZSTD_getErrorName(left), (unsigned long long)s->in_off);
		size_t made = out.pos - *got;
		if (in.pos == 0 && made == 0 && left != 0 && s->in_left == 0)
			return ck_fail(err, -EBADMSG, "zstd: truncated at compressed offset %llu",
				       (unsigned long long)s->in_off);
		ck_stream_advance(s, in.pos);
		*got = out.pos;
		s->out_off += made;
		z->between = left == 0;
		rc = ck_stream_at_output(s, CK_POINT_SPACING, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static void zstd_stop(void *state)
{
	struct zstd *z = state;

	ZSTD_freeDCtx(z->z);
}

const struct ck_codec ck_codec_zstd = {
	.state_len = sizeof(struct zstd), .start = zstd_start, .read = zstd_read, .stop = zstd_stop
};
