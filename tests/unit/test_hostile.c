/* Sealed layers and their indexes in the hands of who has no key but all else: blob, manifest
 * and its digests, config, annotations. Whatever is done to the bytes, opening fails, or each
 * read gives the right bytes or an error. Small fixtures, tried exhaustively. */
#include <errno.h>
#include <zlib.h>

#include "base/log.h"
#include "base/secret.h"
#include "base/text.h"
#include "tar/embedded.h"
#include "tar/sealed.h"
#include "tar/sealedblob.h"
#include "tests/unit/lib/seal.h"
#include "tests/unit/lib/unit.h"

static struct ck_unitcache *cache;

/* How openings and the reads behind them ended. */
struct tally {
	size_t refused, opened; /* openings */
	size_t good_reads, failed_reads;
};

/* Reads N bytes at OFF of L or, if that is NULL, of R: right as in WANT, or an error. */
static void try_read(struct ck_layer *l, struct ck_reader *r, const struct ck_buf *want,
		     uint64_t off, size_t n, struct tally *t)
{
	static uint8_t buf[1 << 16];
	struct ck_err err = { 0 };

	assert_true(n <= sizeof buf);
	memset(buf, 0xee, n);
	int rc = l ? ck_layer_pread(l, buf, n, off, &err) : ck_reader_pread(r, buf, n, off, &err);
	t->good_reads += rc == 0;
	t->failed_reads += rc < 0;
	if (rc < 0) {
		static const uint8_t zeros[sizeof buf];
		assert_true(rc == -EIO || rc == -EBADMSG);
		/* What was decrypted before the error was met is not left behind. */
		assert_true(!l || memcmp(buf, zeros, n) == 0);
		return;
	}
	if (off > want->len || n > want->len - off)
		fail_msg("%zu bytes at %llu, of %zu in all", n, (unsigned long long)off, want->len);
	assert_memory_equal(buf, want->data + off, n);
}

/* Opens F's blob as a layer; reads all of it in pieces of STEP, the last one first. Gives the
 * error of a refusal. */
static int try_layer(const struct mk_sealed *f, size_t step, struct tally *t, struct ck_err *err)
{
	CK_AUTO(ck_reader_closep) struct ck_reader *blob = NULL;
	CK_AUTO(ck_layer_closep) struct ck_layer *l = NULL;

	assert_works(ck_reader_open_mem(&blob, f->blob.data, f->blob.len, err), err);
	int rc = ck_layer_open(&l, &f->spec, blob, cache, NULL, NULL, NULL, err);
	t->refused += rc < 0;
	t->opened += rc == 0;
	if (rc < 0)
		return rc;
	blob = NULL;
	uint64_t len = ck_layer_len(l);
	for (uint64_t i = len / step + (len % step != 0); i--;)
		try_read(l, NULL, &f->tar, i * step,
			 len - i * step < step ? (size_t)(len - i * step) : step, t);
	return 0;
}

/* Reads all of PLAIN, chunk by chunk. */
static void read_chunks(struct ck_reader *plain, const struct ck_buf *want, struct tally *t)
{
	uint64_t len = ck_reader_len(plain);

	for (uint64_t off = 0; off < len; off += CK_CHUNK)
		try_read(NULL, plain, want, off,
			 len - off < CK_CHUNK ? (size_t)(len - off) : CK_CHUNK, t);
}

/* Opens F's blob as the reader of a sealed one, and reads all of it. */
static int try_reader(const struct mk_sealed *f, const struct ck_buf *want, struct tally *t,
		      struct ck_err *err)
{
	CK_AUTO(ck_reader_closep) struct ck_reader *blob = NULL;
	CK_AUTO(ck_reader_closep) struct ck_reader *plain = NULL;

	assert_works(ck_reader_open_mem(&blob, f->blob.data, f->blob.len, err), err);
	int rc = ck_sealedblob_open(&plain, blob, &f->key, f->spec.media_type, "it", err);
	t->refused += rc < 0;
	t->opened += rc == 0;
	if (rc == 0)
		read_chunks(plain, want, t);
	return rc;
}

/* A layer of a few small files: one chunk. */
static void make_small(struct mk_sealed *f, uint64_t seed)
{
	CK_BUF tar = { 0 };

	mk_light_tar(&tar, seed, 2, 100);
	mk_seal(f, &tar, 1);
	assert_true(f->blob.len < CK_CHUNKED_HEADER + CK_CHUNK_SEALED);
}

/* Some chunks and frames, the index in the last chunk alone: a mount reads no other. */
static void make_lazy(struct mk_sealed *f, uint64_t seed)
{
	CK_BUF tar = { 0 };

	mk_light_tar(&tar, seed, 5, 350000);
	mk_seal(f, &tar, 1);
	assert_in_range(f->blob.len / CK_CHUNK_SEALED, 8, 12);
	assert_int_equal((f->index_off - CK_SKIPPABLE_HEADER) / CK_CHUNK,
			 f->blob.len / CK_CHUNK_SEALED);
}

/* N bytes sealed, of no format: for the reader alone. */
static void make_bytes(struct mk_sealed *f, struct ck_buf *plain, size_t n)
{
	make_small(f, 1);
	mk_bytes(plain, n, n);
	mk_reseal(f, plain->data, plain->len);
}

static void test_as_sealed(void **state)
{
	struct mk_sealed f;
	struct tally t = { 0 };
	struct ck_err err = { 0 };
	(void)state;
	make_small(&f, 1);
	assert_works(try_layer(&f, 100, &t, &err), &err);
	assert_int_equal(t.failed_reads, 0);
	mk_sealed_free(&f);
	make_lazy(&f, 1);
	assert_works(try_layer(&f, 60000, &t, &err), &err);
	assert_int_equal(t.failed_reads, 0);
	mk_sealed_free(&f);
}

/* Every byte flipped, and cuts, of a layer that is one chunk: none of it opens. */
static void test_small_layer(void **state)
{
	struct mk_sealed f;
	struct tally t = { 0 };
	struct ck_err err = { 0 };
	(void)state;
	make_small(&f, 2);
	size_t len = f.blob.len;
	for (size_t i = 0; i < len; i++) {
		f.blob.data[i] ^= (uint8_t)(1 << i % 8);
		mk_redigest(&f);
		assert_fails(try_layer(&f, 500, &t, &err), -EBADMSG, &err,
			     i < CK_CHUNKED_HEADER ? "commitment" : "chunk 0 is not authentic");
		f.blob.data[i] ^= (uint8_t)(1 << i % 8);
	}
	for (f.blob.len = 0; f.blob.len < len; f.blob.len += f.blob.len < 80 ? 1 : 11) {
		mk_redigest(&f);
		assert_fails(try_layer(&f, 500, &t, &err), -EBADMSG, &err,
			     f.blob.len < CK_CHUNKED_HEADER + CK_CHUNK_TAG ? "truncated"
									   : "not authentic");
	}
	assert_int_equal(t.opened, 0);
	mk_sealed_free(&f);
}

/* Bytes behind the end: a few, a tag's worth, a chunk's, the first chunk again. */
static void test_extended(void **state)
{
	struct mk_sealed f;
	struct tally t = { 0 };
	struct ck_err err = { 0 };
	(void)state;
	for (int lazy = 0; lazy < 2; lazy++) {
		lazy ? make_lazy(&f, 3) : make_small(&f, 3);
		size_t len = f.blob.len;
		static const size_t more[] = { 1,	   2,	  15,	 16,
					       17,	   16383, 16384, CK_CHUNK_SEALED,
					       2 * 16400L, 16399 };
		for (size_t i = 0; i < 2 * N_OF(more); i++) {
			CK_BUF tail = { 0 };
			size_t n = more[i / 2];
			assert_works(ck_buf_reserve(&tail, n, &err), &err);
			memset(tail.data, 0, n);
			for (size_t k = 0; i % 2 && k < n; k++)
				tail.data[k] =
				    f.blob.data[CK_CHUNKED_HEADER + k % (len - CK_CHUNKED_HEADER)];
			tail.len = n;
			assert_works(ck_buf_add(&f.blob, tail.data, n, &err), &err);
			mk_redigest(&f);
			assert_int_equal(try_layer(&f, 50000, &t, &err), -EBADMSG);
			f.blob.len = len;
		}
		mk_sealed_free(&f);
	}
}

/* Every byte of three chunks, flipped before or after the opening: it costs its own chunk, and
 * no other byte is any other. */
static void test_flipped_bytes(void **state)
{
	struct mk_sealed f;
	struct ck_err err = { 0 };
	CK_BUF plain = { 0 };
	struct ck_reader *blob = NULL, *r = NULL;
	struct tally t = { 0 };
	(void)state;
	make_bytes(&f, &plain, 2 * CK_CHUNK + 100);
	assert_works(ck_reader_open_mem(&blob, f.blob.data, f.blob.len, &err), &err);
	assert_works(ck_sealedblob_open(&r, blob, &f.key, f.spec.media_type, "it", &err), &err);
	for (size_t i = 0; i < f.blob.len; i++) {
		int rc = 0;
		t = (struct tally){ 0 };
		f.blob.data[i] ^= (uint8_t)(1 << i % 8);
		if (i < CK_CHUNKED_HEADER || i % 509 == 0)
			rc = try_reader(&f, &plain, &t, &err);
		else
			read_chunks(r, &plain, &t);
		if (i < CK_CHUNKED_HEADER)
			assert_fails(rc, -EBADMSG, &err, "commitment");
		else if (rc < 0 || t.good_reads != 2 || t.failed_reads != 1)
			fail_msg("byte %zu: %d, %zu good, %zu failed", i, rc, t.good_reads,
				 t.failed_reads);
		f.blob.data[i] ^= (uint8_t)(1 << i % 8);
	}
	read_chunks(r, &plain, &t); /* a chunk that came right again is read again */
	assert_int_equal(t.good_reads, 2 + 3);
	/* Good chunks before a bad one: all or nothing. */
	static const uint8_t zeros[2 * CK_CHUNK + 100];
	static uint8_t buf[sizeof zeros];
	f.blob.data[f.blob.len - 1] ^= 1;
	assert_int_equal(ck_reader_pread(r, buf, sizeof buf, 0, &err), -EIO);
	assert_memory_equal(buf, zeros, sizeof buf);
	ck_reader_close(r);
	ck_reader_close(blob);
	mk_sealed_free(&f);
}

/* Every cut: of what is left whole chunks can be read, never the end. */
static void test_cut_bytes(void **state)
{
	struct mk_sealed f;
	struct ck_err err = { 0 };
	CK_BUF plain = { 0 };
	(void)state;
	make_bytes(&f, &plain, CK_CHUNK + 300);
	for (size_t len = f.blob.len; len--;) {
		struct tally t = { 0 };
		f.blob.len = len;
		int rc = try_reader(&f, &plain, &t, &err);
		if (rc == 0 && t.failed_reads != 1)
			fail_msg("cut to %zu: %zu good, %zu failed", len, t.good_reads,
				 t.failed_reads);
		if (len < CK_CHUNKED_HEADER + CK_CHUNK_TAG)
			assert_fails(rc, -EBADMSG, &err, "truncated");
	}
	mk_sealed_free(&f);
}

/* F's blob made of its chunks in ORDER[0..N) (the last one is shorter than the others). */
static void arrange(struct mk_sealed *f, const struct ck_buf *from, const size_t *order, size_t n)
{
	struct ck_err err = { 0 };

	f->blob.len = 0;
	assert_works(ck_buf_add(&f->blob, from->data, CK_CHUNKED_HEADER, &err), &err);
	for (size_t i = 0; i < n; i++) {
		size_t at = CK_CHUNKED_HEADER + order[i] * CK_CHUNK_SEALED;
		size_t len = from->len - at < CK_CHUNK_SEALED ? from->len - at : CK_CHUNK_SEALED;
		assert_works(ck_buf_add(&f->blob, from->data + at, len, &err), &err);
	}
	mk_redigest(f);
}

/* Chunks exchanged, repeated, left out: every sequence of up to N_MOST out of N_CHUNKS. */
static void test_arranged(void **state)
{
	enum { N_CHUNKS = 4, N_MOST = 5 };
	struct mk_sealed f;
	struct ck_err err = { 0 };
	CK_BUF plain = { 0 }, whole = { 0 };
	size_t n_right = 0;
	(void)state;
	make_bytes(&f, &plain, 3 * CK_CHUNK + 200);
	assert_works(ck_buf_add(&whole, f.blob.data, f.blob.len, &err), &err);
	for (size_t n = 0; n <= N_MOST; n++) {
		for (size_t code = 0; code < (size_t)1 << 2 * n; code++) {
			struct tally t = { 0 };
			size_t order[N_MOST], in_place = 0;
			for (size_t i = 0; i < n; i++)
				order[i] = code >> 2 * i & 3;
			while (in_place < n && order[in_place] == in_place)
				in_place++;
			arrange(&f, &whole, order, n);
			int rc = try_reader(&f, &plain, &t, &err);
			if (rc == 0 && t.failed_reads == 0)
				n_right++;
			if (rc == 0 && t.good_reads < in_place && t.failed_reads == 0)
				fail_msg("%zu of %zu chunks in place", in_place, n);
		}
	}
	assert_int_equal(n_right, 1);
	mk_sealed_free(&f);
}

/* The same done to a layer, which is opened by its last chunk and read by frames. */
static void test_arranged_layer(void **state)
{
	struct mk_sealed f;
	struct tally t = { 0 };
	struct ck_err err = { 0 };
	CK_BUF whole = { 0 };
	(void)state;
	make_lazy(&f, 4);
	size_t n = f.blob.len / CK_CHUNK_SEALED + 1;
	assert_works(ck_buf_add(&whole, f.blob.data, f.blob.len, &err), &err);
	for (size_t a = 0; a < n; a++) {
		for (size_t b = 0; b < n; b++) {
			size_t order[16], n_order = 0;
			/* A and B exchanged, or, where they are one, A left out. */
			for (size_t i = 0; i < n; i++)
				if (a != b || i != a)
					order[n_order++] = i == a ? b : i == b ? a : i;
			arrange(&f, &whole, order, n_order);
			(void)try_layer(&f, 60000, &t, &err);
			/* B in the place of A, so twice. */
			for (size_t i = 0; i < n; i++)
				order[i] = i == a ? b : i;
			arrange(&f, &whole, order, n);
			(void)try_layer(&f, 60000, &t, &err);
		}
	}
	assert_true(t.refused > 0 && t.opened > 0 && t.failed_reads > 0);
	mk_sealed_free(&f);
}

/* A layer that is opened by its last chunk: flips before it are found when they are read, and
 * do not spoil what lies far from them. */
static void test_lazy_layer(void **state)
{
	struct mk_sealed f;
	struct tally t = { 0 };
	struct ck_err err = { 0 };
	(void)state;
	make_lazy(&f, 5);
	size_t last = CK_CHUNKED_HEADER + f.index_off / CK_CHUNK * CK_CHUNK_SEALED;
	for (size_t i = CK_CHUNKED_HEADER; i < last; i += 1021) {
		struct tally one = { 0 };
		f.blob.data[i] ^= 0x40;
		mk_redigest(&f);
		assert_works(try_layer(&f, 60000, &one, &err), &err);
		if (!one.good_reads || !one.failed_reads)
			fail_msg("byte %zu of %zu (index %zu): %zu good, %zu failed", i, f.blob.len,
				 (size_t)f.index_off, one.good_reads, one.failed_reads);
		f.blob.data[i] ^= 0x40;
	}
	for (size_t i = last; i < f.blob.len; i += 31) {
		f.blob.data[i] ^= 0x40;
		mk_redigest(&f);
		assert_fails(try_layer(&f, 60000, &t, &err), -EBADMSG, &err, "is not authentic");
		f.blob.data[i] ^= 0x40;
	}
	mk_sealed_free(&f);
}

/* A message that ends with an empty chunk, which nobody reads for its contents: it counts. */
static void test_empty_last(void **state)
{
	struct mk_sealed f;
	struct tally t = { 0 };
	struct ck_err err = { 0 };
	CK_BUF plain = { 0 };
	(void)state;
	make_bytes(&f, &plain, 2 * CK_CHUNK);
	size_t len = f.blob.len;
	assert_works(try_reader(&f, &plain, &t, &err), &err);
	assert_int_equal(t.good_reads, 2);
	for (size_t i = len - CK_CHUNK_TAG; i < len; i++) {
		f.blob.data[i] ^= 1;
		assert_fails(try_reader(&f, &plain, &t, &err), -EBADMSG, &err, "truncated");
		f.blob.data[i] ^= 1;
	}
	for (size_t n_chunks = 0; n_chunks < 2; n_chunks++) {
		static const size_t order[] = { 0, 2 };
		CK_BUF whole = { 0 };
		assert_works(ck_buf_add(&whole, f.blob.data, len, &err), &err);
		/* The true last chunk, in the place of another. */
		arrange(&f, &whole, order + 1 - n_chunks, 1 + n_chunks);
		assert_fails(try_reader(&f, &plain, &t, &err), -EBADMSG, &err, "truncated");
		arrange(&f, &whole, (const size_t[]){ 0, 1, 2 }, 3);
	}
	mk_sealed_free(&f);
}

/* Appends the stream of F behind a skippable frame of PAD bytes, with index and seek table. */
static void shifted(struct ck_buf *out, const struct mk_sealed *f, size_t pad)
{
	static const uint8_t zeros[CK_CHUNK];
	CK_BUF plain = { 0 };
	struct ck_pass_result what;
	struct ck_seek_frame frames[64];
	struct ck_err err = { 0 };
	uint64_t index_len;

	mk_unseal(&plain, f);
	mk_index_of(&what, f);
	mk_skippable(out, 0, zeros, pad);
	for (size_t i = 0; i < what.units.n_points; i++)
		what.units.points[i].in_off += out->len;
	assert_works(ck_buf_add(out, plain.data, f->index_off - CK_SKIPPABLE_HEADER, &err), &err);
	size_t n = mk_frames(frames, N_OF(frames), out->data, out->len);
	assert_works(ck_embedded_write(out, &what, f->spec.diff_id, frames, n, &index_len, &err),
		     &err);
	ck_pass_result_free(&what);
}

/* The same, so padded that it ends with a whole chunk. */
static void whole_chunks(struct ck_buf *out, const struct mk_sealed *f)
{
	shifted(out, f, 0);
	/* The index packs some bytes better or worse with other offsets in it. */
	for (size_t pad = CK_CHUNK - 32 - out->len % CK_CHUNK; out->len % CK_CHUNK; pad++) {
		assert_true(pad < CK_CHUNK);
		out->len = 0;
		shifted(out, f, pad);
	}
}

/*
 * A stream in whose midst, at a chunk's end, stand an index and a seek table: within a
 * file, say, that somebody had put into the image. Cut there, with a config to fit, it would
 * be a layer of his making.
 */
static void test_cut_at_index(void **state)
{
	struct mk_sealed f, inner;
	struct tally t = { 0 };
	struct ck_err err = { 0 };
	CK_BUF plain = { 0 };
	(void)state;
	make_small(&inner, 6);
	whole_chunks(&plain, &inner);
	size_t cut = (size_t)ck_chunked_sealed_len(plain.len);
	make_small(&f, 7);
	f.spec.index_off = 0;
	/* As sealed to its end, it is the inner layer indeed. */
	mk_reseal(&f, plain.data, plain.len);
	memcpy(f.spec.diff_id, inner.spec.diff_id, sizeof f.spec.diff_id);
	ck_buf_free(&f.tar);
	assert_works(ck_buf_add(&f.tar, inner.tar.data, inner.tar.len, &err), &err);
	assert_works(try_layer(&f, 500, &t, &err), &err);
	/* But not when more came behind. */
	assert_works(ck_buf_adds(&plain, "and more", &err), &err);
	mk_reseal(&f, plain.data, plain.len);
	f.blob.len = cut;
	mk_redigest(&f);
	assert_fails(try_layer(&f, 500, &t, &err), -EBADMSG, &err, "truncated");
	mk_sealed_free(&inner);
	mk_sealed_free(&f);
}

/* Puts the blob of FROM in the place of F's. */
static void take_blob(struct mk_sealed *f, const struct ck_buf *from)
{
	struct ck_err err = { 0 };

	f->blob.len = 0;
	assert_works(ck_buf_add(&f->blob, from->data, from->len, &err), &err);
	mk_redigest(f);
}

/* A blob that is sealed well, but as something else. */
static void test_foreign(void **state)
{
	struct mk_sealed f, g;
	struct tally t = { 0 };
	struct ck_err err = { 0 };
	struct ck_pass_result what;
	CK_BUF index = { 0 }, own = { 0 };
	(void)state;
	make_small(&f, 8);
	make_small(&g, 9); /* another image, by chance under the same key */
	assert_works(ck_buf_add(&own, f.blob.data, f.blob.len, &err), &err);
	take_blob(&f, &g.blob);
	assert_fails(try_layer(&f, 500, &t, &err), -EBADMSG, &err, "diff_id check");
	g.key.symkey[31] ^= 1; /* under another one */
	mk_reseal(&g, "", 0);
	take_blob(&f, &g.blob);
	assert_fails(try_layer(&f, 500, &t, &err), -EBADMSG, &err, "commitment");
	take_blob(&f, &own);
	f.spec.media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
	assert_fails(try_layer(&f, 500, &t, &err), -EBADMSG, &err, "commitment");
	f.spec.media_type = "";
	assert_fails(try_layer(&f, 500, &t, &err), -EBADMSG, &err, "commitment");
	f.spec.media_type = NULL;
	assert_fails(try_layer(&f, 500, &t, &err), -EINVAL, &err, "media type");
	f.spec.media_type = MK_ZSTD_TYPE;
	assert_works(try_layer(&f, 500, &t, &err), &err);
	/* The layer's own index, as one keeps it. */
	mk_index_of(&what, &f);
	assert_works(ck_sealed_write(&index, NULL, &what, &f.spec, f.blob.len, &err), &err);
	ck_pass_result_free(&what);
	take_blob(&f, &index);
	assert_fails(try_layer(&f, 500, &t, &err), -EBADMSG, &err, "commitment");
	mk_sealed_free(&f);
	mk_sealed_free(&g);
}

/* Salts and commitments of two messages under one key, and their chunks, in all mixtures. */
static void test_mixed(void **state)
{
	struct mk_sealed f;
	struct ck_err err = { 0 };
	CK_BUF plain = { 0 }, one = { 0 }, other = { 0 };
	(void)state;
	make_bytes(&f, &plain, CK_CHUNK + 77);
	assert_works(ck_buf_add(&one, f.blob.data, f.blob.len, &err), &err);
	mk_reseal(&f, plain.data, plain.len); /* the same message, sealed again */
	assert_works(ck_buf_add(&other, f.blob.data, f.blob.len, &err), &err);
	static const size_t ends[] = { 0, CK_CHUNKED_SALT, CK_CHUNKED_HEADER,
				       CK_CHUNKED_HEADER + CK_CHUNK_SEALED, SIZE_MAX };
	for (unsigned mix = 0; mix < 16; mix++) {
		struct tally t = { 0 };
		for (size_t part = 0; part < 4; part++)
			for (size_t i = ends[part]; i < ends[part + 1] && i < one.len; i++)
				f.blob.data[i] = mix >> part & 1 ? one.data[i] : other.data[i];
		int rc = try_reader(&f, &plain, &t, &err);
		unsigned header = mix & 3, chunks = mix >> 2;
		if (header == 1 || header == 2)
			assert_fails(rc, -EBADMSG, &err, "commitment");
		else /* as many chunks come out as are of the header's message */
			assert_int_equal(t.good_reads, (chunks & 1) == (header & 1)
							   ? 1 + (chunks >> 1 == (header & 1))
							   : chunks >> 1 == (header & 1));
	}
	mk_sealed_free(&f);
}

/* A blob that is said to be far longer than it is: zeros come behind. */
struct longer {
	const struct ck_buf *blob;
};

static ssize_t longer_pread(void *ctx, void *buf, size_t nbytes, uint64_t off, struct ck_err *err)
{
	const struct ck_buf *b = ((const struct longer *)ctx)->blob;
	size_t n = off < b->len ? b->len - (size_t)off : 0;

	(void)err;
	memset(buf, 0, nbytes);
	memcpy(buf, b->data + (n ? off : 0), n < nbytes ? n : nbytes);
	return (ssize_t)nbytes;
}

static void test_length(void **state)
{
	static const struct ck_reader_ops ops = { .pread = longer_pread };
	static const uint64_t lens[] = { (uint64_t)1 << 31, (uint64_t)1 << 32, (uint64_t)1 << 52,
					 (uint64_t)1 << 54, (uint64_t)1 << 62, INT64_MAX };
	struct mk_sealed f;
	struct ck_err err = { 0 };
	(void)state;
	make_lazy(&f, 10);
	for (size_t i = 0; i < N_OF(lens) * 17; i++) {
		/* Near it, all that can be told by the remainder of a chunk. */
		uint64_t len = lens[i / 17] - i % 17 * 1021;
		for (int hint = 0; hint < 2; hint++) {
			struct longer longer = { &f.blob };
			CK_AUTO(ck_reader_closep) struct ck_reader *blob = NULL;
			struct ck_layer *l = NULL;
			f.spec.index_off = hint ? len - 10000 : 0;
			assert_works(ck_reader_open(&blob, &ops, &longer, len, &err), &err);
			assert_int_equal(
			    ck_layer_open(&l, &f.spec, blob, cache, NULL, NULL, NULL, &err),
			    -EBADMSG);
		}
	}
	mk_sealed_free(&f);
}

/* A blob of whose chunks each read but every so many-th is damaged. */
struct flaky {
	const struct ck_buf *blob;
	unsigned n_reads, good;
};

static ssize_t flaky_pread(void *ctx, void *buf, size_t nbytes, uint64_t off, struct ck_err *err)
{
	struct flaky *f = ctx;

	(void)err;
	memcpy(buf, f->blob->data + off, nbytes);
	if (off >= CK_CHUNKED_HEADER && ++f->n_reads % f->good)
		((uint8_t *)buf)[nbytes / 2] ^= 1;
	return (ssize_t)nbytes;
}

/* A connection or a cache may fail where the origin has not: once, and nobody notices. */
static void test_read_again(void **state)
{
	static const struct ck_reader_ops ops = { .pread = flaky_pread };
	static uint8_t buf[2 * CK_CHUNK];
	struct mk_sealed f;
	struct ck_err err = { 0 };
	CK_BUF plain = { 0 };
	(void)state;
	make_bytes(&f, &plain, 2 * CK_CHUNK); /* so that opening reads a chunk, too */
	for (unsigned good = 1; good <= 3; good++) {
		struct flaky flaky = { &f.blob, 0, good };
		CK_AUTO(ck_reader_closep) struct ck_reader *blob = NULL;
		CK_AUTO(ck_reader_closep) struct ck_reader *r = NULL;
		assert_works(ck_reader_open(&blob, &ops, &flaky, f.blob.len, &err), &err);
		int rc = ck_sealedblob_open(&r, blob, &f.key, f.spec.media_type, "it", &err);
		assert_int_equal(rc, good < 3 ? 0 : -EBADMSG);
		rc = rc < 0 ? rc : ck_reader_pread(r, buf, sizeof buf, 0, &err);
		assert_int_equal(rc, good < 3 ? 0 : -EBADMSG);
		if (rc == 0)
			assert_memory_equal(buf, plain.data, sizeof buf);
	}
	mk_sealed_free(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_as_sealed),      cmocka_unit_test(test_small_layer),
		cmocka_unit_test(test_extended),       cmocka_unit_test(test_flipped_bytes),
		cmocka_unit_test(test_cut_bytes),      cmocka_unit_test(test_arranged),
		cmocka_unit_test(test_arranged_layer), cmocka_unit_test(test_lazy_layer),
		cmocka_unit_test(test_empty_last),     cmocka_unit_test(test_cut_at_index),
		cmocka_unit_test(test_foreign),	       cmocka_unit_test(test_mixed),
		cmocka_unit_test(test_length),	       cmocka_unit_test(test_read_again),
	};
	struct ck_err err;
	ck_log_init("test", CK_LOG_ERROR);
	if (ck_secret_init(&err) < 0 || ck_unitcache_open(&cache, 8 << 20, &err) < 0)
		return 1;
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	ck_unitcache_close(cache);
	return rc;
}
