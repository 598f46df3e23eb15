#include "tar/inflate/decoder.h"

#include <errno.h>
#include <string.h>

#include "base/secret.h"
#include "tar/inflate/codec.h"

struct ck_decoder {
	const struct ck_codec *codec;
	struct ck_stream s;
	void *state; /* codec->state_len bytes */
};

static const struct ck_codec *const codecs[] = { &ck_codec_none, &ck_codec_gzip, &ck_codec_zstd };

enum ck_compression ck_compression_sniff(const uint8_t *p, size_t nbytes)
{
	static const uint8_t gzip[] = { 0x1f, 0x8b }, zstd[] = { 0x28, 0xb5, 0x2f, 0xfd };

	if (nbytes >= 2 && memcmp(p, gzip, 2) == 0)
		return CK_COMPRESSION_GZIP;
	if (nbytes >= 4 && memcmp(p, zstd, 4) == 0)
		return CK_COMPRESSION_ZSTD;
	/* RFC 8878 section 3.1.2: a stream may begin with a skippable frame. */
	if (nbytes >= 4 && (p[0] & 0xf0) == 0x50 && memcmp(p + 1, "\x2a\x4d\x18", 3) == 0)
		return CK_COMPRESSION_ZSTD;
	return CK_COMPRESSION_NONE;
}

const char *ck_compression_name(enum ck_compression c)
{
	static const char *const names[] = { "none", "gzip", "zstd" };

	return names[c];
}

int ck_stream_fill(struct ck_stream *s, struct ck_err *err)
{
	while (s->in_left == 0 && !s->in_ended) {
		int rc = s->pull(s->pull_ctx, &s->in, &s->in_left, err);
		if (rc < 0)
			return rc;
		s->in_ended = s->in_left == 0;
	}
	return 0;
}

static uint64_t last_unit(const struct ck_units *u)
{
	return u->n_units ? u->units[u->n_units - 1].out_off : 0;
}

int ck_stream_at_header(struct ck_stream *s, uint64_t spacing, struct ck_err *err)
{
	struct ck_units *u = s->record;

	if (!u || (u->n_points && s->out_off - u->points[u->n_points - 1].out_off < spacing))
		return 0;
	struct ck_point p = { .out_off = s->out_off, .in_off = s->in_off };
	return ck_units_add_point(u, &p, NULL, 0, err);
}

int ck_stream_at_output(struct ck_stream *s, uint64_t spacing, struct ck_err *err)
{
	struct ck_units *u = s->record;
	int rc = 0;

	while (u && rc == 0 && s->out_off - last_unit(u) > spacing)
		rc = ck_units_add_unit(u, last_unit(u) + spacing, err);
	return rc;
}

int ck_decoder_open(struct ck_decoder **out, enum ck_compression c, ck_pull_fn *pull, void *ctx,
		    struct ck_units *record, struct ck_err *err)
{
	CK_AUTO(ck_decoder_closep) struct ck_decoder *d = calloc(1, sizeof *d);

	if (!d)
		return ck_nomem(err, "opening a decoder");
	d->codec = codecs[c];
	d->s = (struct ck_stream){ .pull = pull, .pull_ctx = ctx, .record = record };
	d->state = calloc(1, d->codec->state_len);
	d->s.history = record ? malloc(CK_WINDOW_LEN) : NULL;
	if (!d->state || (record && !d->s.history))
		return ck_nomem(err, "opening a decoder");
	if (record)
		record->compression = c;
	int rc = d->codec->start(d->state, &d->s, NULL, NULL, 0, err);
	if (rc == 0)
		*out = ck_take(d);
	return rc;
}

void ck_decoder_close(struct ck_decoder *d)
{
	if (!d)
		return;
	if (d->state) {
		if (d->codec->stop)
			d->codec->stop(d->state);
		ck_wipe(d->state, d->codec->state_len);
		free(d->state);
	}
	if (d->s.history)
		ck_wipe(d->s.history, CK_WINDOW_LEN);
	free(d->s.history);
	free(d);
}

int ck_decoder_restart(struct ck_decoder *d, const struct ck_units *u, uint32_t idx,
		       struct ck_err *err)
{
	const struct ck_point *p = &u->points[idx];
	uint8_t window[CK_WINDOW_LEN];
	size_t n;
	int rc = ck_units_window(u, p, window, &n, err);

	if (rc < 0)
		return rc;
	d->s.in_left = 0;
	d->s.in_ended = false;
	d->s.in_off = p->in_off;
	d->s.out_off = p->out_off;
	rc = d->codec->start(d->state, &d->s, p, window, n, err);
	ck_wipe(window, n);
	return rc;
}

/* Keeps the last CK_WINDOW_LEN bytes of the output, of which BUF[0..N) is the newest. */
static void remember(struct ck_stream *s, const uint8_t *buf, size_t n)
{
	size_t keep = n < CK_WINDOW_LEN ? CK_WINDOW_LEN - n : 0;

	if (keep > s->history_len)
		keep = s->history_len;
	if (n > CK_WINDOW_LEN) {
		buf += n - CK_WINDOW_LEN;
		n = CK_WINDOW_LEN;
	}
	memmove(s->history, s->history + s->history_len - keep, keep);
	memcpy(s->history + keep, buf, n);
	s->history_len = keep + n;
}

int ck_decoder_read(struct ck_decoder *d, uint8_t *buf, size_t cap, size_t *got, struct ck_err *err)
{
	int rc = d->codec->read(d->state, &d->s, buf, cap, got, err);

	if (rc == 0 && d->s.history)
		remember(&d->s, buf, *got);
	return rc;
}

/* No compression: the bytes as they are. */

static int none_start(void *state, struct ck_stream *s, const struct ck_point *at,
		      const uint8_t *window, size_t window_len, struct ck_err *err)
{
	(void)state, (void)window, (void)window_len;
	return at ? 0 : ck_stream_at_header(s, 0, err);
}

static int none_read(void *state, struct ck_stream *s, uint8_t *buf, size_t cap, size_t *got,
		     struct ck_err *err)
{
	(void)state;
	*got = 0;
	while (*got < cap) {
		int rc = ck_stream_fill(s, err);
		if (rc < 0)
			return rc;
		size_t n = s->in_left < cap - *got ? s->in_left : cap - *got;
		if (n == 0)
			break;
		if (s->record && s->record->n_units) {
			/* Any byte is a point: one for each unit, none of which is skipped into. */
			uint64_t due = last_unit(s->record) + CK_RAW_UNIT;
			if (s->out_off == due && (rc = ck_stream_at_header(s, 0, err)) < 0)
				return rc;
			due = last_unit(s->record) + CK_RAW_UNIT;
			n = n < due - s->out_off ? n : (size_t)(due - s->out_off);
		}
		memcpy(buf + *got, s->in, n);
		ck_stream_advance(s, n);
		*got += n;
		s->out_off += n;
	}
	return 0;
}

const struct ck_codec ck_codec_none = { .state_len = 1, .start = none_start, .read = none_read };
