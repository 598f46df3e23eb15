/*
 * Fuzz: our gzip against zlib's. What we take, zlib takes, and it gives the same bytes. The
 * first byte says what the others are: a stream as it is, or raw deflate, which gets a header
 * and the trailer that ISA-L's output asks for, so that more than checksums is compared.
 */
#include <isa-l/igzip_lib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "tar/inflate/decoder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { OUT_MAX = 4 << 20, IN_MAX = 1 << 18, HEADER = 10, TRAILER = 8 };

static uint8_t ours[OUT_MAX], theirs[OUT_MAX];

struct feed {
	const uint8_t *p;
	size_t left, most;
};

static int pull(void *ctx, const uint8_t **p, size_t *nbytes, struct ck_err *err)
{
	struct feed *f = ctx;
	size_t n = f->left < f->most ? f->left : f->most;

	(void)err;
	*p = f->p;
	*nbytes = n;
	f->p += n;
	f->left -= n;
	return 0;
}

/* Whether we take IN, with *GOT bytes of output. False too when these are too many. */
static bool decode(const uint8_t *in, size_t len, size_t most, size_t *got)
{
	struct feed f = { in, len, most };
	struct ck_decoder *d = NULL;

	if (ck_decoder_open(&d, CK_COMPRESSION_GZIP, pull, &f, NULL, NULL) < 0)
		abort();
	bool ok = ck_decoder_read(d, ours, OUT_MAX, got, NULL) == 0 && *got < OUT_MAX;
	ck_decoder_close(d);
	return ok;
}

/*
 * The same by zlib: members one after the other, and nothing else. *LAX: zlib found a set of
 * codes that leaves some bits without a meaning. ISA-L goes on unless these bits come, as
 * RFC 1951 allows; what the diff_id says of the output counts then.
 */
static bool zlib_takes(const uint8_t *in, size_t len, size_t *got, bool *lax)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)in,
		       .avail_in = (uInt)len,
		       .next_out = theirs,
		       .avail_out = OUT_MAX };
	int rc = inflateInit2(&z, 15 + 16);

	while (rc == Z_OK && z.avail_in) {
		rc = inflate(&z, Z_NO_FLUSH);
		if (rc == Z_STREAM_END && z.avail_in)
			rc = inflateReset(&z);
	}
	*got = OUT_MAX - z.avail_out;
	*lax = rc == Z_DATA_ERROR && (strcmp(z.msg, "invalid distances set") == 0 ||
				      strcmp(z.msg, "invalid literal/lengths set") == 0);
	inflateEnd(&z);
	return rc == Z_STREAM_END;
}

static void put32(uint8_t *to, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		to[i] = (uint8_t)(v >> 8 * i);
}

/* IN as the deflate stream of a member, in OUT; its length. */
static size_t wrap(uint8_t *to, const uint8_t *in, size_t len)
{
	static const uint8_t header[HEADER] = { 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3 };
	static struct inflate_state z;

	isal_inflate_init(&z);
	z.next_in = (uint8_t *)(uintptr_t)in;
	z.avail_in = (uint32_t)len;
	z.next_out = ours;
	z.avail_out = OUT_MAX;
	if (isal_inflate(&z) == ISAL_DECOMP_OK && z.block_state == ISAL_BLOCK_FINISH)
		len -= z.avail_in; /* the stream's end, and not what lies behind */
	memcpy(to, header, HEADER);
	memcpy(to + HEADER, in, len);
	put32(to + HEADER + len, (uint32_t)crc32(0, ours, OUT_MAX - z.avail_out));
	put32(to + HEADER + len + 4, OUT_MAX - z.avail_out);
	return HEADER + len + TRAILER;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static uint8_t in[IN_MAX];
	size_t n = 0, got, want;

	if (len < 3 || len > IN_MAX / 2)
		return 0;
	uint8_t mode = data[0];
	size_t most = 1 + (size_t)data[1] * data[1] * 2;
	size_t cut = 2 + (size_t)(mode >> 4) * (len - 2) / 16;
	if (mode & 1) { /* one member or two */
		n = wrap(in, data + 2, cut - 2 ? cut - 2 : len - 2);
		if (cut > 2)
			n += wrap(in + n, data + cut, len - cut);
	} else {
		memcpy(in, data + 2, n = len - 2);
	}
	uint8_t *copy = malloc(n); /* exact size, so ASan sees over-reads */
	if (!copy)
		abort();
	memcpy(copy, in, n);
	if (decode(copy, n, most, &got)) {
		bool lax, taken = zlib_takes(copy, n, &want, &lax);
		if ((!taken && !lax) || (taken ? got != want : got < want) ||
		    memcmp(ours, theirs, want) != 0)
			abort();
	}
	free(copy);
	return 0;
}
