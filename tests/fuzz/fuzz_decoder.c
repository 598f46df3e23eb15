/*
 * Fuzz: any bytes as a gzip, zstd or raw stream. Beyond "does not crash": what the pass
 * decoded, every recorded unit decodes again, from its own point.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tar/inflate/decoder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { OUT_MAX = 16 << 20 }; /* a bomb is cut here */

struct feed {
	const uint8_t *p;
	size_t len, off;
};

static int pull(void *ctx, const uint8_t **p, size_t *nbytes, struct ck_err *err)
{
	struct feed *f = ctx;
	size_t n = f->len - f->off < 100 ? f->len - f->off : 100;

	(void)err;
	*p = f->p + f->off;
	*nbytes = n;
	f->off += n;
	return 0;
}

static void check_unit(struct feed f, const struct ck_units *u, uint32_t idx, const uint8_t *want)
{
	const struct ck_point *p = &u->points[u->units[idx].point];
	size_t got, n = (size_t)(ck_units_end(u, idx) - p->out_off);
	uint8_t *buf = malloc(n ? n : 1);
	struct ck_decoder *d = NULL;

	f.off = (size_t)p->in_off;
	if (!buf || p->in_off > f.len || ck_decoder_open(&d, u->compression, pull, &f, NULL, NULL))
		abort();
	if (ck_decoder_restart(d, u, u->units[idx].point, NULL) < 0 ||
	    ck_decoder_read(d, buf, n, &got, NULL) < 0 || got != n ||
	    memcmp(buf, want + p->out_off, n) != 0)
		abort();
	ck_decoder_close(d);
	free(buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static uint8_t out[OUT_MAX];
	uint8_t *copy = malloc(len ? len : 1);
	struct ck_units u = { 0 };
	struct ck_decoder *d = NULL;
	struct feed f = { copy, len, 0 };
	size_t got = 0;

	if (!copy)
		abort();
	if (len)
		memcpy(copy, data, len);
	if (ck_decoder_open(&d, ck_compression_sniff(copy, len), pull, &f, &u, NULL) < 0)
		abort();
	if (ck_decoder_read(d, out, sizeof out, &got, NULL) == 0 && got < sizeof out) {
		if (ck_units_finish(&u, got, len, NULL) < 0)
			abort();
		if (ck_units_check(&u, NULL) < 0)
			abort();
		for (uint32_t i = 0; i < u.n_units; i++)
			check_unit(f, &u, i, out);
	}
	ck_decoder_close(d);
	ck_units_free(&u);
	free(copy);
	return 0;
}
