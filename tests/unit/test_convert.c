/* Layers written anew: whatever they are made of and into, the tar stream is the same; a
 * sealed one opens by reading little, and its frames begin where files do.
 * (Frames are packed on threads: runs under TSan too.) */
#include <errno.h>
#include <zlib.h>
#include <zstd.h>

#include "base/secret.h"
#include "base/text.h"
#include "tar/convert.h"
#include "tar/embedded.h"
#include "tar/framer.h"
#include "tar/sealedblob.h"
#include "tests/unit/lib/make.h"
#include "tests/unit/lib/unit.h"

#define ZSTD_TYPE "application/vnd.oci.image.layer.v1.tar+zstd"
#define GZIP_TYPE "application/vnd.oci.image.layer.v1.tar+gzip"

static int to_buf(void *ctx, const void *p, size_t nbytes, struct ck_err *err)
{
	return ck_buf_add(ctx, p, nbytes, err);
}

/* A blob that counts the bytes read of it. */
struct counted {
	const struct ck_buf *blob;
	uint64_t nbytes;
};

static ssize_t counted_pread(void *ctx, void *buf, size_t nbytes, uint64_t off, struct ck_err *err)
{
	struct counted *c = ctx;

	(void)err;
	memcpy(buf, c->blob->data + off, nbytes);
	c->nbytes += nbytes;
	return (ssize_t)nbytes;
}

static struct ck_blob_key new_key(enum ck_cipher cipher, uint64_t seed)
{
	struct ck_blob_key k = { .cipher = cipher };

	for (size_t i = 0; i < 32; i++)
		k.symkey[i] = (uint8_t)mk_random(&seed);
	for (size_t i = 0; i < 16 && cipher == CK_CIPHER_CTR; i++)
		k.nonce[i] = (uint8_t)mk_random(&seed);
	return k;
}

enum form { RAW, GZIP, ZSTD };

static void pack(struct ck_buf *out, const struct ck_buf *tar, enum form form)
{
	if (form == GZIP)
		mk_gzip(out, tar->data, tar->len, 6, Z_DEFAULT_STRATEGY);
	else if (form == ZSTD)
		mk_zstd(out, tar->data, tar->len, 3);
	else
		assert_int_equal(ck_buf_add(out, tar->data, tar->len, NULL), 0);
}

static struct ck_pool *pool;

/* Converts BLOB as SPEC and HOW say into OUT. */
static int convert(struct ck_converted *r, const struct ck_layer_spec *spec,
		   const struct ck_buf *blob, const struct ck_conversion *how, struct ck_buf *out,
		   struct ck_err *err)
{
	CK_AUTO(ck_reader_closep) struct ck_reader *from = NULL;
	const struct ck_sink sink = { to_buf, out };

	assert_works(ck_reader_open_mem(&from, blob->data, blob->len, err), err);
	return ck_convert(r, spec, from, how, &sink, NULL, NULL, err);
}

/* Opens BLOB, counting; compares all of it and some pieces with TAR. */
static void check_layer(const struct ck_layer_spec *spec, const struct ck_buf *blob,
			const struct ck_buf *tar, const char *compression, uint64_t *at_open)
{
	static const struct ck_reader_ops ops = { .pread = counted_pread };
	struct counted counted = { .blob = blob };
	struct ck_unitcache *cache = NULL;
	struct ck_reader *r = NULL;
	struct ck_layer *l = NULL;
	struct ck_err err = { 0 };
	uint8_t *buf = malloc(tar->len + 1);
	uint64_t seed = 5;

	assert_works(ck_unitcache_open(&cache, 4 << 20, &err), &err);
	assert_works(ck_reader_open(&r, &ops, &counted, blob->len, &err), &err);
	assert_works(ck_layer_open(&l, spec, r, cache, NULL, NULL, NULL, &err), &err);
	if (at_open)
		*at_open = counted.nbytes;
	assert_string_equal(ck_layer_compression(l), compression);
	assert_int_equal(ck_layer_len(l), tar->len);
	assert_works(ck_layer_pread(l, buf, tar->len, 0, &err), &err);
	assert_memory_equal(buf, tar->data, tar->len);
	for (int i = 0; i < 100; i++) {
		uint64_t off = mk_random(&seed) % tar->len;
		size_t n = 1 + mk_random(&seed) % 70000;
		n = n < tar->len - off ? n : tar->len - off;
		assert_works(ck_layer_pread(l, buf, n, off, &err), &err);
		assert_memory_equal(buf, tar->data + off, n);
	}
	ck_layer_close(l);
	ck_unitcache_close(cache);
	free(buf);
}

static void test_all_ways(void **state)
{
	static const char *const names[] = { "none", "gzip", "zstd" };
	CK_BUF tar = { 0 };
	(void)state;
	mk_tar(&tar, 3, 30, 100000);
	/* From each form, plain or encrypted either way, to each cipher, kept or packed anew. */
	for (int i = 0; i < 3 * 2 * 3 * 2; i++) {
		enum form form = i % 3;
		bool from_ctr = i / 3 % 2, packed = i / 18 % 2;
		int to = i / 6 % 3; /* plain, CTR, sealed */
		CK_BUF blob = { 0 }, out = { 0 };
		struct ck_blob_key key = { 0 },
				   new = new_key(to == 1 ? CK_CIPHER_CTR : CK_CIPHER_CHUNKED, 9);
		struct ck_converted r;
		struct ck_err err = { 0 };
		pack(&blob, &tar, form);
		if (from_ctr)
			mk_encrypt(&blob, &key, (uint64_t)i);
		struct ck_layer_spec spec = mk_spec(&blob, &tar, from_ctr ? &key : NULL);
		const struct ck_conversion how = { .key = to ? &new : NULL,
						   .media_type = GZIP_TYPE,
						   .recompress = packed,
						   .level = 3,
						   .pool = pool };
		if (convert(&r, &spec, &blob, &how, &out, &err) < 0)
			fail_msg("case %d: %s", i, err.msg);
		memcpy(new.hmac, r.hmac, sizeof new.hmac);
		struct ck_layer_spec got = mk_spec(&out, &tar, to ? &new : NULL);
		got.media_type = GZIP_TYPE;
		check_layer(&got, &out, &tar, packed ? "zstd" : names[form], NULL);
		assert_int_equal(r.n_entries, 30);
		assert_int_equal(r.tar_len, tar.len);
		assert_int_equal(r.index_len > 0, packed && to == 2);
		/* Kept plain, or decrypted: the very bytes. */
		CK_BUF plain = { 0 };
		pack(&plain, &tar, form);
		if (!packed && !to)
			assert_memory_equal(out.data, plain.data, plain.len);
		if (!packed && to == 1)
			assert_int_equal(out.len, plain.len);
	}
}

/* A sealed layer of some 12 MB of tar, for the tests below. */
struct fixture {
	struct ck_buf tar, blob;
	struct ck_blob_key key;
	struct ck_converted made;
	struct ck_layer_spec spec;
};

static void make(struct fixture *f, size_t n_files, size_t file_len)
{
	CK_BUF gz = { 0 };
	struct ck_err err = { 0 };

	*f = (struct fixture){ 0 };
	mk_tar(&f->tar, n_files + file_len, n_files, file_len);
	pack(&gz, &f->tar, GZIP);
	f->key = new_key(CK_CIPHER_CHUNKED, 77);
	struct ck_layer_spec plain = mk_spec(&gz, &f->tar, NULL);
	const struct ck_conversion how = { .key = &f->key,
					   .media_type = ZSTD_TYPE,
					   .recompress = true,
					   .level = 1,
					   .pool = pool };
	assert_works(convert(&f->made, &plain, &gz, &how, &f->blob, &err), &err);
	f->spec = mk_spec(&f->blob, &f->tar, &f->key);
	f->spec.media_type = ZSTD_TYPE;
	f->spec.index_off = f->made.index_off;
}

static void unmake(struct fixture *f)
{
	ck_buf_free(&f->tar);
	ck_buf_free(&f->blob);
}

/* Opening reads the index and nothing else; with a wrong hint or none it works as well. */
static void test_lazy(void **state)
{
	struct fixture f;
	uint64_t n = 0;
	(void)state;
	make(&f, 40, 300000);
	check_layer(&f.spec, &f.blob, &f.tar, "zstd", &n);
	/* The chunks that hold index and seek table, one more at each end, and the header. */
	assert_true(n <= f.made.index_len + 40 * 8 * 2 + 2 * CK_CHUNK_SEALED + 4096);
	static const uint64_t hints[] = { 0, 1, 7, 8, 100, UINT64_MAX, (uint64_t)1 << 63 };
	for (size_t i = 0; i < N_OF(hints); i++) {
		f.spec.index_off = hints[i];
		check_layer(&f.spec, &f.blob, &f.tar, "zstd", NULL);
	}
	/* Asked for, everything is checked. */
	f.spec.full = true;
	check_layer(&f.spec, &f.blob, &f.tar, "zstd", &n);
	assert_true(n >= f.blob.len);
	unmake(&f);
}

/* The decrypted stream of a sealed layer. */
static void plaintext(const struct fixture *f, struct ck_buf *out)
{
	struct ck_chunked_context context;
	char text[CK_LAYER_CONTEXT_MAX];
	struct ck_err err = { 0 };
	uint64_t len;

	assert_works(ck_layer_context(&context, text, f->spec.media_type, &err), &err);
	assert_works(ck_chunked_plain_len(f->blob.len, &len, &err), &err);
	assert_works(ck_buf_reserve(out, len, &err), &err);
	assert_works(ck_chunked_unseal_all(f->key.symkey, &context, f->blob.data, f->blob.len,
					   out->data, &err),
		     &err);
	out->len = len;
}

/* Any zstd reads it; small files share frames, large ones begin their own. */
static void test_frames(void **state)
{
	static const struct {
		size_t n_files, file_len;
	} rows[] = { { 400, 3000 }, { 12, 1000000 }, { 90, 200000 }, { 1, 0 } };
	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		struct fixture f;
		CK_BUF plain = { 0 };
		make(&f, rows[i].n_files, rows[i].file_len);
		plaintext(&f, &plain);
		uint8_t *back = malloc(f.tar.len);
		assert_int_equal(ZSTD_decompress(back, f.tar.len, plain.data, plain.len),
				 f.tar.len);
		assert_memory_equal(back, f.tar.data, f.tar.len);
		free(back);
		size_t n_frames = 0, n_headers = 0;
		unsigned long long last = 0;
		uint64_t off = 0;
		for (size_t at = 0; at < plain.len; n_frames++) {
			size_t in = ZSTD_findFrameCompressedSize(plain.data + at, plain.len - at);
			unsigned long long out =
			    ZSTD_getFrameContentSize(plain.data + at, plain.len - at);
			assert_false(ZSTD_isError(in));
			assert_true(out <= CK_FRAME);
			/* Where a frame begins, so does a file; or it goes on with one that is
			 * larger than a frame, and the frame before was full. */
			bool header = out && memcmp(f.tar.data + off + 257, "ustar", 5) == 0;
			if (out && !header)
				assert_true(rows[i].file_len > CK_FRAME && last == CK_FRAME);
			n_headers += header;
			if (out && last && last < CK_FRAME / 8)
				fail_msg("a frame of no more than %llu bytes", last);
			last = out;
			at += in;
			off += out;
		}
		assert_int_equal(off, f.tar.len);
		if (rows[i].file_len > CK_FRAME)
			assert_int_equal(n_headers, rows[i].n_files);
		assert_true(n_frames <= 2 + 3 + f.tar.len / (CK_FRAME / 2));
		unmake(&f);
	}
}

/* A tar of no bytes at all, which is a layer that changes nothing, is a zstd stream by its
 * first bytes, and opens as what it is. */
static void test_nothing(void **state)
{
	static const uint8_t magic[4] = { 0x28, 0xb5, 0x2f, 0xfd };
	CK_BUF tar = { 0 }, gz = { 0 }, out = { 0 };
	struct ck_blob_key key = new_key(CK_CIPHER_CHUNKED, 3);
	struct ck_unitcache *cache = NULL;
	struct ck_err err = { 0 };
	struct ck_converted r;
	(void)state;
	assert_works(ck_buf_reserve(&tar, 1, &err), &err);
	pack(&gz, &tar, GZIP);
	struct ck_layer_spec spec = mk_spec(&gz, &tar, NULL);
	struct ck_conversion how = {
		.media_type = ZSTD_TYPE, .recompress = true, .level = 3, .pool = pool
	};
	assert_works(convert(&r, &spec, &gz, &how, &out, &err), &err);
	assert_memory_equal(out.data, magic, 4);
	how.key = &key;
	ck_buf_free(&out);
	assert_works(convert(&r, &spec, &gz, &how, &out, &err), &err);
	struct ck_layer_spec got = mk_spec(&out, &tar, &key);
	got.media_type = ZSTD_TYPE;
	assert_works(ck_unitcache_open(&cache, 1 << 20, &err), &err);
	for (int full = 0; full < 2; full++) {
		struct ck_reader *from = NULL;
		struct ck_layer *l = NULL;
		got.full = full;
		assert_works(ck_reader_open_mem(&from, out.data, out.len, &err), &err);
		assert_works(ck_layer_open(&l, &got, from, cache, NULL, NULL, NULL, &err), &err);
		assert_int_equal(ck_layer_len(l), 0);
		ck_layer_close(l);
	}
	ck_unitcache_close(cache);
}

/* The source must be what it is said to be, or nothing comes of it. */
static void test_bad_source(void **state)
{
	CK_BUF tar = { 0 }, gz = { 0 }, out = { 0 };
	struct ck_blob_key key = new_key(CK_CIPHER_CHUNKED, 1);
	struct ck_converted r;
	struct ck_err err = { 0 };
	(void)state;
	mk_tar(&tar, 3, 5, 10000);
	pack(&gz, &tar, GZIP);
	struct ck_layer_spec spec = mk_spec(&gz, &tar, NULL);
	struct ck_conversion how = {
		.key = &key, .media_type = ZSTD_TYPE, .recompress = true, .level = 3, .pool = pool
	};
	spec.digest[0] ^= 1;
	assert_fails(convert(&r, &spec, &gz, &how, &out, &err), -EBADMSG, &err, "digest check");
	spec.digest[0] ^= 1;
	spec.diff_id[0] ^= 1;
	assert_fails(convert(&r, &spec, &gz, &how, &out, &err), -EBADMSG, &err, "diff_id check");
	spec.diff_id[0] ^= 1;
	how.level = 99;
	assert_fails(convert(&r, &spec, &gz, &how, &out, &err), -EINVAL, &err, "levels from 1");
}

/* A sink that is full after so many bytes. */
struct full {
	size_t left;
};

static int to_full(void *ctx, const void *p, size_t nbytes, struct ck_err *err)
{
	struct full *f = ctx;

	(void)p;
	if (nbytes > f->left)
		return ck_fail(err, -ENOSPC, "no space left");
	f->left -= nbytes;
	return 0;
}

static void test_full_sink(void **state)
{
	CK_BUF tar = { 0 }, gz = { 0 };
	struct ck_blob_key key = new_key(CK_CIPHER_CHUNKED, 1);
	struct ck_err err = { 0 };
	struct ck_converted r;
	(void)state;
	mk_tar(&tar, 3, 20, 200000);
	pack(&gz, &tar, GZIP);
	struct ck_layer_spec spec = mk_spec(&gz, &tar, NULL);
	for (int packed = 0; packed < 2; packed++) {
		struct ck_conversion how = { .key = &key,
					     .media_type = ZSTD_TYPE,
					     .recompress = packed,
					     .level = 1,
					     .pool = pool };
		for (size_t room = 0; room < gz.len; room += 300001) {
			CK_AUTO(ck_reader_closep) struct ck_reader *from = NULL;
			struct full full = { room };
			const struct ck_sink sink = { to_full, &full };
			assert_works(ck_reader_open_mem(&from, gz.data, gz.len, &err), &err);
			assert_fails(ck_convert(&r, &spec, from, &how, &sink, NULL, NULL, &err),
				     -ENOSPC, &err, "no space left");
		}
	}
}

/* Replaces the index in the plaintext of F by one that tells lies, and seals it again: what
 * one can do who holds the key, or who hands us a zstd stream to be sealed as it is. */
static void lie(const struct fixture *f, struct ck_buf *out)
{
	CK_BUF plain = { 0 };
	CK_AUTO(ck_reader_closep) struct ck_reader *r = NULL;
	struct ck_pass_result what = { 0 };
	struct ck_seek_frame frames[64];
	struct ck_err err = { 0 };
	uint64_t len;
	size_t n = 0;

	plaintext(f, &plain);
	assert_works(ck_reader_open_mem(&r, plain.data, plain.len, &err), &err);
	assert_works(ck_embedded_read(&what, r, 0, f->spec.diff_id, &err), &err);
	((struct ck_entry *)(uintptr_t)what.index.entries)[0].mode ^= 04000;
	for (size_t at = 0; at < f->made.index_off - CK_SKIPPABLE_HEADER; n++) {
		assert_true(n < N_OF(frames));
		frames[n].in_len =
		    (uint32_t)ZSTD_findFrameCompressedSize(plain.data + at, plain.len - at);
		frames[n].out_len =
		    (uint32_t)ZSTD_getFrameContentSize(plain.data + at, plain.len - at);
		at += frames[n].in_len;
	}
	assert_works(ck_buf_add(out, plain.data, f->made.index_off - CK_SKIPPABLE_HEADER, &err),
		     &err);
	assert_works(ck_embedded_write(out, &what, f->spec.diff_id, frames, n, &len, &err), &err);
	ck_pass_result_free(&what);
}

static void test_lying_index(void **state)
{
	struct fixture f;
	CK_BUF plain = { 0 }, sealed = { 0 };
	struct ck_err err = { 0 };
	struct ck_converted r;
	(void)state;
	make(&f, 10, 100000);
	lie(&f, &plain);
	struct ck_layer_spec spec = mk_spec(&plain, &f.tar, NULL);
	const struct ck_conversion keep = { .key = &f.key, .media_type = ZSTD_TYPE };
	assert_fails(convert(&r, &spec, &plain, &keep, &sealed, &err), -EBADMSG, &err,
		     "own index is not that of its tar stream");
	/* By the same hand that sealed it, it is seen by who reads everything. */
	struct ck_layer_spec got = mk_spec(&sealed, &f.tar, &f.key);
	CK_AUTO(ck_reader_closep) struct ck_reader *from = NULL;
	struct ck_unitcache *cache = NULL;
	struct ck_layer *l = NULL;
	got.media_type = ZSTD_TYPE;
	got.full = true;
	assert_works(ck_unitcache_open(&cache, 1 << 20, &err), &err);
	assert_works(ck_reader_open_mem(&from, sealed.data, sealed.len, &err), &err);
	assert_fails(ck_layer_open(&l, &got, from, cache, NULL, NULL, NULL, &err), -EBADMSG, &err,
		     "own index is not that of its tar stream");
	ck_unitcache_close(cache);
	/* So it is by who decrypts it, to look at it or to pack it anew. */
	const struct ck_conversion to_plain = { .media_type = ZSTD_TYPE };
	CK_BUF out = { 0 };
	assert_fails(convert(&r, &got, &sealed, &to_plain, &out, &err), -EBADMSG, &err,
		     "own index is not that of its tar stream");
	/* Packed anew, the stream gets an index of its own. */
	const struct ck_conversion anew = {
		.key = &f.key, .media_type = ZSTD_TYPE, .recompress = true, .level = 1, .pool = pool
	};
	ck_buf_free(&sealed);
	assert_works(convert(&r, &spec, &plain, &anew, &sealed, &err), &err);
	got = mk_spec(&sealed, &f.tar, &f.key);
	got.media_type = ZSTD_TYPE;
	got.full = true;
	check_layer(&got, &sealed, &f.tar, "zstd", NULL);
	unmake(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_ways),    cmocka_unit_test(test_lazy),
		cmocka_unit_test(test_frames),	    cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_bad_source),  cmocka_unit_test(test_full_sink),
		cmocka_unit_test(test_lying_index),
	};
	struct ck_err err;
	if (ck_secret_init(&err) < 0 || ck_pool_open(&pool, 2, 16, &err) < 0)
		return 1;
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	ck_pool_close(pool);
	return rc;
}
