/* The decoder: points lie where they should, every unit decodes from its own, malformed
 * streams are refused and never read past. */
#include <errno.h>
#include <zlib.h>

#include "tar/inflate/decoder.h"
#include "tests/unit/lib/make.h"
#include "tests/unit/lib/unit.h"

/* Compressed bytes given in small uneven pieces. */
struct feed {
	const struct ck_buf *in;
	size_t off, most;
};

static int pull(void *ctx, const uint8_t **p, size_t *nbytes, struct ck_err *err)
{
	struct feed *f = ctx;
	size_t n = f->in->len - f->off;

	(void)err;
	if (f->most && n > f->most)
		n = f->most;
	*p = f->in->data + f->off;
	*nbytes = n;
	f->off += n;
	return 0;
}

/* Decodes all of IN into OUT, recording U. */
static int decode(struct ck_buf *out, const struct ck_buf *in, struct ck_units *u, size_t most,
		  struct ck_err *err)
{
	struct feed f = { in, 0, most };
	CK_AUTO(ck_decoder_closep) struct ck_decoder *d = NULL;
	size_t got = 1;
	int rc = ck_decoder_open(&d, ck_compression_sniff(in->data, in->len), pull, &f, u, err);

	while (rc == 0 && got) {
		static uint8_t buf[70000];
		rc = ck_decoder_read(d, buf, sizeof buf, &got, err);
		if (rc == 0)
			rc = ck_buf_add(out, buf, got, err);
	}
	if (rc == 0 && u)
		rc = ck_units_finish(u, out->len, in->len, err);
	return rc;
}

/* Decodes every unit on its own, in an order that never continues. */
static void check_units(const struct ck_buf *in, const struct ck_buf *want,
			const struct ck_units *u)
{
	struct ck_err err = { 0 };

	assert_works(ck_units_check(u, &err), &err);
	for (size_t k = u->n_units; k-- > 0;) {
		const struct ck_unit_start *start = &u->units[k];
		const struct ck_point *p = &u->points[start->point];
		struct feed f = { in, (size_t)p->in_off, 0 };
		CK_AUTO(ck_decoder_closep) struct ck_decoder *d = NULL;
		size_t got, n = (size_t)(ck_units_end(u, (uint32_t)k) - p->out_off);
		uint8_t *buf = malloc(n);
		assert_true(start->out_off < ck_units_end(u, (uint32_t)k));
		assert_works(ck_decoder_open(&d, u->compression, pull, &f, NULL, &err), &err);
		assert_works(ck_decoder_restart(d, u, start->point, &err), &err);
		assert_works(ck_decoder_read(d, buf, n, &got, &err), &err);
		assert_int_equal(got, n);
		assert_memory_equal(buf, want->data + p->out_off, n);
		free(buf);
	}
}

static void test_points(void **state)
{
	enum { LEN = 20 << 20 };
	static const struct {
		const char *name;
		int level, strategy;
		size_t least_mid; /* points inside the stream, at least */
	} rows[] = {
		{ "dynamic blocks", 6, Z_DEFAULT_STRATEGY, 17 },
		{ "level 1", 1, Z_DEFAULT_STRATEGY, 17 },
		{ "stored blocks", 0, Z_DEFAULT_STRATEGY, 17 },
		{ "Huffman only", 6, Z_HUFFMAN_ONLY, 17 },
		{ "run lengths", 6, Z_RLE, 17 },
		{ "fixed codes", 6, Z_FIXED, 0 },
	};
	CK_BUF plain = { 0 };
	(void)state;
	mk_bytes(&plain, 11, LEN);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		for (size_t most = 0; most <= 4097; most += 4097) {
			CK_BUF in = { 0 }, out = { 0 };
			struct ck_units u = { 0 };
			struct ck_err err = { 0 };
			mk_gzip(&in, plain.data, plain.len, rows[i].level, rows[i].strategy);
			assert_works(decode(&out, &in, &u, most, &err), &err);
			assert_int_equal(out.len, plain.len);
			assert_memory_equal(out.data, plain.data, plain.len);
			if (u.n_points < 1 + rows[i].least_mid)
				fail_msg("%s: %zu points", rows[i].name, u.n_points);
			assert_true(u.n_units >= LEN / (4 << 20));
			check_units(&in, &plain, &u);
			ck_units_free(&u);
		}
	}
}

/* Stored blocks as Go writes them: byte-aligned, 65535 bytes each, one after the other. */
static void test_aligned_stored(void **state)
{
	static const uint8_t head[10] = { 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255 };
	CK_BUF plain = { 0 }, in = { 0 }, out = { 0 };
	struct ck_units u = { 0 };
	struct ck_err err = { 0 };
	(void)state;
	mk_bytes(&plain, 14, 9 << 20);
	assert_works(ck_buf_add(&in, head, sizeof head, &err), &err);
	for (size_t off = 0, n; off < plain.len; off += n) {
		n = plain.len - off < 65535 ? plain.len - off : 65535;
		const uint8_t block[5] = { off + n == plain.len, (uint8_t)n, (uint8_t)(n >> 8),
					   (uint8_t)~n, (uint8_t)(~n >> 8) };
		assert_works(ck_buf_add(&in, block, sizeof block, &err), &err);
		assert_works(ck_buf_add(&in, plain.data + off, n, &err), &err);
	}
	const uint32_t tail[2] = { (uint32_t)crc32(0, plain.data, (uInt)plain.len),
				   (uint32_t)plain.len };
	assert_works(ck_buf_add(&in, tail, sizeof tail, &err), &err);
	assert_works(decode(&out, &in, &u, 0, &err), &err);
	assert_memory_equal(out.data, plain.data, plain.len);
	assert_true(u.n_points >= 8);
	check_units(&in, &plain, &u);
	ck_units_free(&u);
}

/* N bytes from the point P inside a member on, by zlib and nothing of ours. */
static void resume_by_zlib(uint8_t *out, size_t n, const struct ck_buf *in,
			   const struct ck_units *u, const struct ck_point *p)
{
	static uint8_t window[CK_WINDOW_LEN];
	z_stream z = { .next_in = in->data + p->in_off,
		       .avail_in = (uInt)(in->len - p->in_off),
		       .next_out = out,
		       .avail_out = (uInt)n };
	size_t window_len;

	assert_int_equal(inflateInit2(&z, -15), Z_OK); /* raw deflate */
	if (p->bits) {
		assert_int_equal(inflatePrime(&z, 8 - p->bits, *z.next_in >> p->bits), Z_OK);
		z.next_in++;
		z.avail_in--;
	}
	assert_int_equal(ck_units_window(u, p, window, &window_len, NULL), 0);
	assert_int_equal(inflateSetDictionary(&z, window, (uInt)window_len), Z_OK);
	int rc = inflate(&z, Z_SYNC_FLUSH);
	assert_true(rc == Z_OK || rc == Z_STREAM_END);
	assert_int_equal(z.avail_out, 0);
	inflateEnd(&z);
}

/* The points are zlib's too: where ISA-L is not to be had, the same index serves. */
static void test_zlib_resumes(void **state)
{
	static const struct {
		int level, strategy;
	} rows[] = { { 1, Z_DEFAULT_STRATEGY },
		     { 6, Z_DEFAULT_STRATEGY },
		     { 0, Z_DEFAULT_STRATEGY },
		     { 6, Z_HUFFMAN_ONLY },
		     { 6, Z_RLE } };
	CK_BUF plain = { 0 };
	unsigned bits = 0; /* which bit offsets were met */
	(void)state;
	mk_bytes(&plain, 16, 8 << 20);
	for (size_t i = 0; i < N_OF(rows); i++) {
		CK_BUF in = { 0 }, out = { 0 };
		struct ck_units u = { 0 };
		struct ck_err err = { 0 };
		mk_gzip(&in, plain.data, plain.len, rows[i].level, rows[i].strategy);
		assert_works(decode(&out, &in, &u, 0, &err), &err);
		for (size_t k = 1; k < u.n_points; k++) {
			const struct ck_point *p = &u.points[k];
			uint64_t end = k + 1 < u.n_points ? p[1].out_off : u.len;
			assert_int_equal(p->mid, 1);
			memset(out.data, 0xee, out.len);
			resume_by_zlib(out.data, (size_t)(end - p->out_off), &in, &u, p);
			assert_memory_equal(out.data, plain.data + p->out_off, end - p->out_off);
			bits |= 1U << p->bits;
		}
		assert_true(u.n_points > 5);
		ck_units_free(&u);
	}
	assert_true((bits & 1) && __builtin_popcount(bits) >= 5);
}

/* Several members or frames: the points' header kind, grouping, and each unit. */
static void test_members(void **state)
{
	CK_BUF plain = { 0 };
	(void)state;
	mk_bytes(&plain, 12, 9 << 20);
	for (int zstd = 0; zstd < 2; zstd++) {
		for (size_t part = 5000; part < 8 << 20; part = part * 7 + 1) {
			CK_BUF in = { 0 }, out = { 0 };
			struct ck_units u = { 0 };
			struct ck_err err = { 0 };
			for (size_t off = 0; off < plain.len; off += part) {
				size_t n = plain.len - off < part ? plain.len - off : part;
				if (zstd)
					mk_zstd(&in, plain.data + off, n, 1);
				else
					mk_gzip(&in, plain.data + off, n, 6, Z_DEFAULT_STRATEGY);
			}
			assert_works(decode(&out, &in, &u, 0, &err), &err);
			assert_memory_equal(out.data, plain.data, plain.len);
			/* Small ones share a unit: no table entry for each 5,000 bytes. */
			assert_in_range(u.n_units, 2, 20);
			check_units(&in, &plain, &u);
			ck_units_free(&u);
		}
	}
}

/* A member with every optional field of RFC 1952 section 2.3.1 in its header. */
static void add_full_header(struct ck_buf *out, const struct ck_buf *plain)
{
	static uint8_t packed[8000];
	Bytef extra[300] = "AB", name[] = "a name", comment[] = "a comment";
	gz_header h = { .extra = extra,
			.extra_len = sizeof extra,
			.name = name,
			.comment = comment,
			.hcrc = 1 };
	z_stream z = { .next_in = plain->data,
		       .avail_in = (uInt)plain->len,
		       .next_out = packed,
		       .avail_out = sizeof packed };

	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflateSetHeader(&z, &h), Z_OK);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	assert_int_equal(ck_buf_add(out, packed, z.total_out, NULL), 0);
	deflateEnd(&z);
}

/* Wherever a block of the blob ends in a header: it is read on, its checksum too. */
static void test_header_fields(void **state)
{
	CK_BUF plain = { 0 }, in = { 0 }, out = { 0 };
	struct ck_err err = { 0 };
	(void)state;
	mk_bytes(&plain, 15, 3000);
	add_full_header(&in, &plain);
	for (size_t most = 1; most < 400; most++) {
		out.len = 0;
		assert_works(decode(&out, &in, NULL, most, &err), &err);
		assert_int_equal(out.len, plain.len);
		assert_memory_equal(out.data, plain.data, plain.len);
	}
	in.data[30] ^= 1; /* of the extra field */
	for (size_t most = 1; most < 400; most++)
		assert_fails(decode(&out, &in, NULL, most, &err), -EBADMSG, &err, "checksum");
	/* Flags of fields that nobody knows, in the second member. */
	in.len = 0;
	mk_gzip(&in, plain.data, plain.len, 6, Z_DEFAULT_STRATEGY);
	size_t second = in.len;
	mk_gzip(&in, plain.data, plain.len, 6, Z_DEFAULT_STRATEGY);
	for (uint8_t flag = 0x20; flag; flag = (uint8_t)(flag << 1)) {
		in.data[second + 3] = flag;
		for (size_t most = 1; most < 400; most++)
			assert_fails(decode(&out, &in, NULL, most, &err), -EBADMSG, &err,
				     "reserved flags");
	}
}

/* However long the frames are, no unit is entered far behind its point, or a read in the
 * middle of a blob would decode all that comes before. */
static void test_frame_points(void **state)
{
	static const size_t parts[] = { 50000, 300000, 1 << 20, (1 << 20) + 999, 2500000 };
	CK_BUF plain = { 0 };
	(void)state;
	mk_bytes(&plain, 14, 16 << 20);
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		CK_BUF in = { 0 }, out = { 0 };
		struct ck_units u = { 0 };
		struct ck_err err = { 0 };
		for (size_t off = 0; off < plain.len; off += parts[i])
			mk_zstd(&in, plain.data + off,
				plain.len - off < parts[i] ? plain.len - off : parts[i], 1);
		assert_works(decode(&out, &in, &u, 0, &err), &err);
		for (size_t k = 0; k < u.n_units; k++) {
			uint64_t behind = u.units[k].out_off - u.points[u.units[k].point].out_off;
			if (behind > parts[i] + (1 << 19))
				fail_msg("frames of %zu: unit %zu lies %llu behind its point",
					 parts[i], k, (unsigned long long)behind);
		}
		assert_in_range(u.n_units, 16, 48);
		check_units(&in, &plain, &u);
		ck_units_free(&u);
	}
}

/* Whatever is cut off or flipped: an error or, for a flip that nothing covers, other
 * bytes; never a crash, and a cut is never taken for the end. */
static void test_malformed(void **state)
{
	CK_BUF plain = { 0 };
	(void)state;
	mk_bytes(&plain, 13, 3000);
	for (int zstd = 0; zstd < 2; zstd++) {
		CK_BUF in = { 0 };
		struct ck_err err = { 0 };
		if (zstd)
			mk_zstd(&in, plain.data, plain.len, 3);
		else
			mk_gzip(&in, plain.data, plain.len, 6, Z_DEFAULT_STRATEGY);
		for (size_t len = 4; len < in.len; len++) {
			CK_BUF cut = { 0 }, out = { 0 };
			assert_works(ck_buf_add(&cut, in.data, len, &err), &err);
			assert_fails(decode(&out, &cut, NULL, 0, &err), -EBADMSG, &err,
				     "truncated");
		}
		size_t refused = 0;
		for (size_t bit = 32; bit < in.len * 8; bit++) {
			CK_BUF bad = { 0 }, out = { 0 };
			assert_works(ck_buf_add(&bad, in.data, in.len, &err), &err);
			bad.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
			int rc = decode(&out, &bad, NULL, 0, &err);
			assert_true(rc == 0 || rc == -EBADMSG);
			refused += rc < 0;
			/* Content is covered by a checksum; header fields need not be. */
			assert_true(rc < 0 || (out.len == plain.len &&
					       memcmp(out.data, plain.data, plain.len) == 0));
		}
		assert_true(refused > in.len * 7);
	}
	CK_BUF garbage = { 0 }, out = { 0 };
	struct ck_err err = { 0 };
	mk_gzip(&garbage, plain.data, plain.len, 6, Z_DEFAULT_STRATEGY);
	assert_works(ck_buf_adds(&garbage, "garbage", &err), &err);
	assert_fails(decode(&out, &garbage, NULL, 0, &err), -EBADMSG, &err, "garbage after");
}

/* Which compressed bytes a unit needs, and whether it is the only one that does. */
static void test_ranges(void **state)
{
	struct ck_point points[] = {
		{ .out_off = 0, .in_off = 0 },
		{ .out_off = 100,
		  .in_off = 10,
		  .bits = 3 }, /* shares byte 10 with what is before */
		{ .out_off = 200, .in_off = 20 },
		{ .out_off = 400, .in_off = 40 },
	};
	struct ck_unit_start starts[] = {
		{ 0, 0 }, { 100, 1 }, { 200, 2 }, { 300, 2 }, { 400, 3 },
	};
	static const struct {
		uint64_t in_end;
		bool alone;
	} want[] = { { 11, true }, { 20, true }, { 40, false }, { 40, false }, { 50, true } };
	const struct ck_units u = { .len = 500,
				    .in_len = 50,
				    .points = points,
				    .n_points = N_OF(points),
				    .units = starts,
				    .n_units = N_OF(starts) };
	struct ck_err err = { 0 };
	(void)state;
	assert_works(ck_units_check(&u, &err), &err);
	for (uint32_t i = 0; i < N_OF(want); i++) {
		assert_int_equal(ck_units_in_end(&u, i), want[i].in_end);
		assert_int_equal(ck_units_alone(&u, i), want[i].alone);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_points),	       cmocka_unit_test(test_zlib_resumes),
		cmocka_unit_test(test_aligned_stored), cmocka_unit_test(test_members),
		cmocka_unit_test(test_header_fields),  cmocka_unit_test(test_frame_points),
		cmocka_unit_test(test_malformed),      cmocka_unit_test(test_ranges),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
