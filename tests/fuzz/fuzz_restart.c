/*
 * Fuzz: checkpoints in gzip streams that zlib makes as the input's bytes choose: contents,
 * level, strategy, window, flushes, members. From every point that a pass recorded, ISA-L goes
 * on, and so does zlib by its documented interface alone (inflatePrime, inflateSetDictionary):
 * both give the bytes that went in.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "tar/inflate/decoder.h"
#include "tests/fuzz/lib/mutate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Points lie 1 MiB apart: enough for a few. */
enum { PLAIN_MAX = 4 << 20, SEGMENT_MAX = 1 << 18, GZIP_MAX = PLAIN_MAX + (2 << 20) };

static uint8_t plain[PLAIN_MAX], gz[GZIP_MAX], out[PLAIN_MAX + 1];

struct choices {
	const uint8_t *p;
	size_t len, at;
	uint64_t random; /* goes on where the bytes end */
};

static size_t choose(struct choices *c, size_t n)
{
	if (c->at + 1 < c->len) {
		size_t v = (size_t)c->p[c->at] << 8 | c->p[c->at + 1];
		c->at += 2;
		c->random = (c->random ^ v) * 0x9e3779b97f4a7c15ULL | 1;
		return v % n;
	}
	return (size_t)(fuzz_random(&c->random) % n);
}

/* Appends N bytes of some kind to what is before AT. */
static void add_bytes(struct choices *c, size_t at, size_t n)
{
	size_t kind = choose(c, 5), a = 1 + choose(c, 40000);

	for (size_t i = 0; i < n; i++) {
		switch (kind) {
		case 0:
			plain[at + i] = (uint8_t)fuzz_random(&c->random);
			break;
		case 1:
			plain[at + i] = (uint8_t)a;
			break;
		case 2: /* a repeat, from so far back that it may or may not be in the window */
			plain[at + i] = at + i >= a ? plain[at + i - a] : (uint8_t)i;
			break;
		case 3: /* few symbols */
			plain[at + i] = (uint8_t)(97 + fuzz_random(&c->random) % (1 + a % 8));
			break;
		default:
			plain[at + i] =
			    (uint8_t)(i % 61 < 3 ? fuzz_random(&c->random) : i / 61 + i % 61);
			break;
		}
	}
}

static void begin_member(struct choices *c, z_stream *z)
{
	static const int strategies[] = { Z_DEFAULT_STRATEGY, Z_FILTERED, Z_HUFFMAN_ONLY, Z_RLE,
					  Z_FIXED };
	/* The slow levels find matches better, and no other ones than these. */
	int level = (int)choose(c, 7), window = 9 + (int)choose(c, 7);

	if (deflateInit2(z, level, Z_DEFLATED, 16 + window, 1 + (int)choose(c, 9),
			 strategies[choose(c, 5)]) != Z_OK)
		abort();
}

static void run(z_stream *z, int flush)
{
	int rc = deflate(z, flush);

	if ((rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR) || z->avail_out == 0)
		abort();
}

/* Makes plain and gz; returns their lengths. */
static size_t make_gzip(struct choices *c, size_t *gz_len)
{
	static const int flushes[] = { Z_NO_FLUSH, Z_NO_FLUSH,	 Z_NO_FLUSH,  Z_PARTIAL_FLUSH,
				       Z_BLOCK,	   Z_SYNC_FLUSH, Z_FULL_FLUSH };
	size_t most = choose(c, PLAIN_MAX >> 16) << 16, len = 0;
	z_stream z = { .next_out = gz, .avail_out = GZIP_MAX };

	begin_member(c, &z);
	while (len < most) {
		size_t n = 1 + choose(c, 65536) % (choose(c, 2) ? 1000 : SEGMENT_MAX);
		n = n < most - len ? n : most - len;
		add_bytes(c, len, n);
		z.next_in = plain + len;
		z.avail_in = (uInt)n;
		len += n;
		run(&z, flushes[choose(c, sizeof flushes / sizeof *flushes)]);
		if (choose(c, 8) == 0)
			deflateParams(&z, (int)choose(c, 7), Z_DEFAULT_STRATEGY);
		if (choose(c, 40) == 0) {
			run(&z, Z_FINISH);
			deflateEnd(&z);
			begin_member(c, &z);
		}
	}
	run(&z, Z_FINISH);
	deflateEnd(&z);
	*gz_len = (size_t)(z.next_out - gz);
	return len;
}

struct feed {
	size_t off, len;
};

static int pull(void *ctx, const uint8_t **p, size_t *nbytes, struct ck_err *err)
{
	struct feed *f = ctx;
	size_t n = f->len - f->off < 60000 ? f->len - f->off : 60000;

	(void)err;
	*p = gz + f->off;
	*nbytes = n;
	f->off += n;
	return 0;
}

/* N bytes from point IDX on by ISA-L. */
static void resume_isal(const struct ck_units *u, uint32_t idx, size_t gz_len, size_t n)
{
	struct feed f = { (size_t)u->points[idx].in_off, gz_len };
	struct ck_decoder *d = NULL;
	size_t got;

	if (ck_decoder_open(&d, CK_COMPRESSION_GZIP, pull, &f, NULL, NULL) < 0 ||
	    ck_decoder_restart(d, u, idx, NULL) < 0 || ck_decoder_read(d, out, n, &got, NULL) < 0 ||
	    got != n || memcmp(out, plain + u->points[idx].out_off, n) != 0)
		abort();
	ck_decoder_close(d);
}

/* Begins raw deflate at a point inside a member. */
static void prime(z_stream *z, const struct ck_units *u, const struct ck_point *p)
{
	static uint8_t window[CK_WINDOW_LEN];
	size_t n;

	if (inflateInit2(z, -15) != Z_OK)
		abort();
	if (p->bits) {
		if (inflatePrime(z, 8 - p->bits, *z->next_in >> p->bits) != Z_OK)
			abort();
		z->next_in++;
		z->avail_in--;
	}
	if (ck_units_window(u, p, window, &n, NULL) < 0 ||
	    (n && inflateSetDictionary(z, window, (uInt)n) != Z_OK))
		abort();
}

/* The same by zlib. */
static void resume_zlib(const struct ck_units *u, uint32_t idx, size_t gz_len, size_t n)
{
	const struct ck_point *p = &u->points[idx];
	z_stream z = { .next_in = gz + p->in_off, .avail_in = (uInt)(gz_len - p->in_off) };

	if (p->mid)
		prime(&z, u, p);
	else if (inflateInit2(&z, 15 + 16) != Z_OK)
		abort();
	z.next_out = out;
	z.avail_out = (uInt)n;
	while (z.avail_out) {
		int rc = inflate(&z, Z_NO_FLUSH);
		/* Members that are short follow each other in a unit, but not behind such a
		 * point. */
		if (rc == Z_STREAM_END && !p->mid && z.avail_out)
			rc = inflateReset(&z);
		else if (rc == Z_STREAM_END)
			break;
		if (rc != Z_OK)
			abort();
	}
	if (z.avail_out || memcmp(out, plain + p->out_off, n) != 0)
		abort();
	inflateEnd(&z);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct choices c = { data, len, 0, 1 };
	struct ck_units u = { 0 };
	struct ck_decoder *d = NULL;
	size_t gz_len, got, n = make_gzip(&c, &gz_len);
	struct feed f = { 0, gz_len };

	if (ck_decoder_open(&d, CK_COMPRESSION_GZIP, pull, &f, &u, NULL) < 0 ||
	    ck_decoder_read(d, out, n + 1, &got, NULL) < 0 || got != n ||
	    memcmp(out, plain, n) != 0)
		abort();
	ck_decoder_close(d);
	if (ck_units_finish(&u, n, gz_len, NULL) < 0)
		abort();
	if (ck_units_check(&u, NULL) < 0)
		abort();
	for (uint32_t i = 0; i < u.n_units; i++) {
		/* To the end of the last unit that is entered there. */
		uint32_t point = u.units[i].point;
		if (i + 1 < u.n_units && u.units[i + 1].point == point)
			continue;
		size_t want = (size_t)(ck_units_end(&u, i) - u.points[point].out_off);
		resume_isal(&u, point, gz_len, want);
		resume_zlib(&u, point, gz_len, want);
	}
	ck_units_free(&u);
	return 0;
}
