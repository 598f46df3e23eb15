/* Sealed indexes that lie outside their layers, in a cache or an artifact: whatever strangers
 * do to them, and whatever numbers who holds the key puts into them, what is served is right.
 * Here of sealed layers that hold no index themselves; test_sealed.c has the CTR ones. */
#include <errno.h>
#include <zlib.h>
#include <zstd.h>

#include "base/log.h"
#include "base/secret.h"
#include "base/text.h"
#include "tar/cipher/chunked.h"
#include "tar/pass.h"
#include "tar/sealed.h"
#include "tests/unit/lib/seal.h"
#include "tests/unit/lib/unit.h"

#define GZIP_TYPE "application/vnd.oci.image.layer.v1.tar+gzip"

static struct ck_unitcache *cache;

struct fixture {
	struct mk_sealed f; /* a gzip stream, sealed as it is */
	struct ck_buf index;
};

static void make(struct fixture *x, uint64_t seed, size_t n_files, size_t file_len)
{
	CK_AUTO(ck_reader_closep) struct ck_reader *r = NULL;
	CK_BUF tar = { 0 }, gz = { 0 };
	struct ck_pass_result what;
	struct ck_err err = { 0 };

	*x = (struct fixture){ 0 };
	mk_light_tar(&tar, seed, n_files, file_len);
	mk_seal(&x->f, &tar, 3);
	x->f.spec.media_type = GZIP_TYPE;
	x->f.spec.index_off = 0;
	mk_gzip(&gz, tar.data, tar.len, 6, Z_DEFAULT_STRATEGY);
	mk_reseal(&x->f, gz.data, gz.len);
	assert_works(ck_reader_open_mem(&r, x->f.blob.data, x->f.blob.len, &err), &err);
	assert_works(ck_pass_run(&what, &x->f.spec, r, NULL, NULL, NULL, &err), &err);
	assert_works(ck_sealed_write(&x->index, NULL, &what, &x->f.spec, x->f.blob.len, &err),
		     &err);
	ck_pass_result_free(&what);
}

static void unmake(struct fixture *x)
{
	mk_sealed_free(&x->f);
	ck_buf_free(&x->index);
}

static int read_index(const struct fixture *x, const void *p, size_t nbytes, struct ck_err *err)
{
	struct ck_pass_result what = { 0 };
	uint8_t *exact = malloc(nbytes ? nbytes : 1); /* so that reading past it is seen */

	memcpy(exact, p, nbytes);
	int rc = ck_sealed_read(&what, &x->f.spec, x->f.blob.len, exact, nbytes, err);
	free(exact);
	if (rc == 0)
		ck_pass_result_free(&what);
	else
		assert_null(what.whole);
	return rc;
}

/* Every byte flipped, every cut, bytes and chunks behind. */
static void test_changed(void **state)
{
	static const uint8_t zeros[CK_CHUNK_SEALED + 1];
	struct fixture x;
	struct ck_err err = { 0 };
	(void)state;
	make(&x, 1, 2, 100);
	assert_works(read_index(&x, x.index.data, x.index.len, &err), &err);
	for (size_t i = 0; i < x.index.len; i++) {
		x.index.data[i] ^= (uint8_t)(1 << i % 8);
		assert_fails(read_index(&x, x.index.data, x.index.len, &err), -EBADMSG, &err,
			     i < CK_CHUNKED_HEADER ? "commitment" : "not authentic");
		x.index.data[i] ^= (uint8_t)(1 << i % 8);
		assert_int_equal(read_index(&x, x.index.data, i, &err), -EBADMSG);
	}
	static const size_t more[] = {
		1, 15, 16, 17, CK_CHUNK_SEALED - 1, CK_CHUNK_SEALED, CK_CHUNK_SEALED + 1
	};
	for (size_t i = 0; i < N_OF(more); i++) {
		CK_BUF longer = { 0 };
		assert_works(ck_buf_add(&longer, x.index.data, x.index.len, &err), &err);
		assert_works(ck_buf_add(&longer, zeros, more[i], &err), &err);
		assert_int_equal(read_index(&x, longer.data, longer.len, &err), -EBADMSG);
	}
	unmake(&x);
}

/* Every sequence of up to one chunk more than there are. */
static void test_arranged(void **state)
{
	struct fixture x;
	struct ck_err err = { 0 };
	size_t n_good = 0;
	(void)state;
	make(&x, 2, 4500, 40);
	size_t n_chunks = x.index.len / CK_CHUNK_SEALED + 1;
	assert_in_range(n_chunks, 3, 4);
	for (size_t n = 0; n <= n_chunks + 1; n++) {
		for (size_t code = 0; code < (size_t)1 << 2 * n; code++) {
			CK_BUF mixed = { 0 };
			bool known = true;
			assert_works(ck_buf_add(&mixed, x.index.data, CK_CHUNKED_HEADER, &err),
				     &err);
			for (size_t i = 0; i < n; i++) {
				size_t at =
				    CK_CHUNKED_HEADER + (code >> 2 * i & 3) * CK_CHUNK_SEALED;
				size_t left = at < x.index.len ? x.index.len - at : 0;
				known = known && left;
				left = left < CK_CHUNK_SEALED ? left : CK_CHUNK_SEALED;
				assert_works(ck_buf_add(&mixed, x.index.data + at, left, &err),
					     &err);
			}
			int rc = known ? read_index(&x, mixed.data, mixed.len, &err) : -EBADMSG;
			assert_true(rc == 0 || rc == -EBADMSG);
			if (rc == 0)
				assert_int_equal(mixed.len, x.index.len);
			n_good += rc == 0;
		}
	}
	assert_int_equal(n_good, 1);
	unmake(&x);
}

static void test_foreign(void **state)
{
	struct fixture x, y;
	struct ck_err err = { 0 };
	(void)state;
	make(&x, 3, 2, 100);
	make(&y, 4, 2, 100); /* of another image, under the same key */
	assert_fails(read_index(&x, y.index.data, y.index.len, &err), -EBADMSG, &err, "commitment");
	/* A layer's blob, sealed under the same key. */
	assert_fails(read_index(&x, x.f.blob.data, x.f.blob.len, &err), -EBADMSG, &err,
		     "commitment");
	memcpy(y.f.spec.digest, x.f.spec.digest, 32); /* said to be the same blob */
	assert_int_equal(read_index(&y, x.index.data, x.index.len, &err), -EBADMSG);
	memcpy(y.f.spec.digest, x.f.spec.digest, 32);
	x.f.spec.diff_id[31] ^= 1;
	assert_fails(read_index(&x, x.index.data, x.index.len, &err), -EBADMSG, &err,
		     "diff_id check");
	x.f.spec.diff_id[31] ^= 1;
	x.f.key.symkey[31] ^= 1;
	assert_fails(read_index(&x, x.index.data, x.index.len, &err), -EBADMSG, &err, "commitment");
	x.f.key.symkey[31] ^= 1;
	/* The right one, for a layer of the other cipher. */
	x.f.key.cipher = CK_CIPHER_CTR;
	assert_int_equal(read_index(&x, x.index.data, x.index.len, &err), -EBADMSG);
	x.f.key.cipher = CK_CIPHER_CHUNKED;
	assert_works(read_index(&x, x.index.data, x.index.len, &err), &err);
	unmake(&x);
	unmake(&y);
}

struct shelf {
	const struct ck_buf *index;
	int n_loads, n_saves;
};

static int load(void *ctx, const char *digest, struct ck_buf *out, struct ck_err *err)
{
	struct shelf *s = ctx;

	(void)digest;
	s->n_loads++;
	return ck_buf_add(out, s->index->data, s->index->len, err);
}

static int save(void *ctx, const char *digest, const void *p, size_t nbytes,
		const struct ck_buf *windows, struct ck_err *err)
{
	(void)digest, (void)p, (void)nbytes, (void)windows, (void)err;
	((struct shelf *)ctx)->n_saves++;
	return 0;
}

static void on_progress(void *ctx, uint64_t nbytes, uint64_t total)
{
	(void)nbytes, (void)total;
	*(bool *)ctx = true;
}

/* Opens the layer with what STORE has, and reads all there is of its stream: right, or -EIO. */
static size_t try_layer(const struct fixture *x, const struct ck_index_store *store, bool *passed)
{
	static uint8_t buf[60000];
	CK_AUTO(ck_reader_closep) struct ck_reader *blob = NULL;
	CK_AUTO(ck_layer_closep) struct ck_layer *l = NULL;
	const struct ck_buf *tar = &x->f.tar;
	struct ck_err err = { 0 };
	size_t n_failed = 0;

	*passed = false;
	assert_works(ck_reader_open_mem(&blob, x->f.blob.data, x->f.blob.len, &err), &err);
	assert_works(ck_layer_open(&l, &x->f.spec, blob, cache, store, on_progress, passed, &err),
		     &err);
	blob = NULL;
	uint64_t len = ck_layer_len(l);
	for (uint64_t off = 0, n; off < len && off <= tar->len; off += n) {
		n = len - off < sizeof buf ? len - off : sizeof buf;
		int rc = ck_layer_pread(l, buf, n, off, &err);
		assert_true(rc == 0 || rc == -EIO);
		assert_true(rc < 0 || (off <= tar->len && n <= tar->len - off));
		if (rc == 0)
			assert_memory_equal(buf, tar->data + off, n);
		n_failed += rc < 0;
	}
	return n_failed;
}

/* Stores are asked until one has an index that opens; where none has, it is made anew. */
static void test_stores(void **state)
{
	struct fixture x, y;
	struct ck_err err = { 0 };
	CK_BUF damaged = { 0 }, empty = { 0 };
	bool passed;
	(void)state;
	make(&x, 5, 3, 3000);
	make(&y, 6, 3, 3000);
	assert_works(ck_buf_add(&damaged, x.index.data, x.index.len, &err), &err);
	damaged.data[damaged.len / 2] ^= 1;
	struct shelf shelves[] = {
		{ &damaged, 0, 0 }, { &y.index, 0, 0 }, { &empty, 0, 0 }, { &x.index, 0, 0 }
	};
	struct ck_index_store stores[N_OF(shelves)];
	for (size_t i = 0; i < N_OF(shelves); i++)
		stores[i] = (struct ck_index_store){ .load = load,
						     .save = i ? save : NULL,
						     .ctx = &shelves[i],
						     .next = i + 1 < N_OF(shelves) ? stores + i + 1
										   : NULL };
	assert_int_equal(try_layer(&x, stores, &passed), 0);
	assert_false(passed);
	for (size_t i = 0; i < N_OF(shelves); i++)
		assert_int_equal(shelves[i].n_loads, 1);
	assert_int_equal(shelves[1].n_saves,
			 1); /* the first that keeps any, of what a later one had */
	assert_int_equal(shelves[2].n_saves + shelves[3].n_saves, 0);
	shelves[3].index = &damaged;
	assert_int_equal(try_layer(&x, stores, &passed), 0);
	assert_true(passed);
	assert_int_equal(shelves[1].n_saves, 2); /* and of what the pass found out */
	assert_int_equal(shelves[2].n_saves + shelves[3].n_saves, 0);
	unmake(&x);
	unmake(&y);
}

/* Seals the N bytes at PLAIN, an unpacked index, for X. */
static void seal_index(struct ck_buf *out, const struct fixture *x, const void *plain, size_t n)
{
	char text[96] = "cloakfs/index/v1";
	size_t text_len = sizeof "cloakfs/index/v1";
	CK_BUF packed = { 0 };

	ck_digest_str(text + text_len, x->f.spec.digest);
	const struct ck_chunked_context context = { text, text_len + CK_DIGEST_STR - 1 };
	assert_int_equal(ck_buf_reserve(&packed, ZSTD_compressBound(n), NULL), 0);
	packed.len = ZSTD_compress(packed.data, packed.cap, plain, n, 1);
	out->len = 0;
	assert_int_equal(ck_buf_reserve(out, ck_chunked_sealed_len(packed.len), NULL), 0);
	assert_int_equal(ck_chunked_seal_all(x->f.key.symkey, &context, packed.data, packed.len,
					     out->data, NULL),
			 0);
	out->len = ck_chunked_sealed_len(packed.len);
}

static void unseal_index(struct ck_buf *out, const struct fixture *x)
{
	char text[96] = "cloakfs/index/v1";
	size_t text_len = sizeof "cloakfs/index/v1";
	uint64_t len;

	ck_digest_str(text + text_len, x->f.spec.digest);
	const struct ck_chunked_context context = { text, text_len + CK_DIGEST_STR - 1 };
	assert_int_equal(ck_chunked_plain_len(x->index.len, &len, NULL), 0);
	uint8_t *packed = malloc(len);
	assert_int_equal(ck_chunked_unseal_all(x->f.key.symkey, &context, x->index.data,
					       x->index.len, packed, NULL),
			 0);
	size_t n = (size_t)ZSTD_getFrameContentSize(packed, len);
	assert_int_equal(ck_buf_reserve(out, n, NULL), 0);
	assert_int_equal(ZSTD_decompress(out->data, n, packed, len), n);
	out->len = n;
	free(packed);
}

/* The header, and the tables that lead to bytes: points with their windows, and units. */
static void test_numbers(void **state)
{
	static const uint64_t lies[] = { 0x7fffffff,	    0x80000000,		0xffffffff,
					 0x100000000,	    0x7fffffffffffffff, 0x8000000000000000,
					 0xffffffffffffffff };
	enum { N_SHORT = 3, N_LIES = N_SHORT + sizeof lies / sizeof *lies };
	struct fixture x;
	CK_BUF plain = { 0 }, forged = { 0 };
	struct shelf shelf = { &forged, 0, 0 };
	const struct ck_index_store store = { .load = load, .ctx = &shelf };
	size_t n_taken = 0, n_refused = 0;
	struct ck_err err = { 0 };
	bool passed;
	(void)state;
	make(&x, 7, 4, 800000);
	unseal_index(&plain, &x);
	uint64_t windows; /* where they begin: what is in them nobody can check */
	memcpy(&windows, plain.data + 256, sizeof windows);
	assert_in_range(windows, 600, 2000);
	for (size_t i = 0; i < windows / 4 * N_LIES; i++) {
		size_t at = i / N_LIES * 4, k = i % N_LIES, width = k < N_SHORT ? 4 : 8;
		uint8_t was[8];
		if (width == 8 && at % 8)
			continue;
		memcpy(was, plain.data + at, 8);
		memcpy(plain.data + at, &lies[width == 4 ? k : k - N_SHORT], width);
		seal_index(&forged, &x, plain.data, plain.len);
		int rc = read_index(&x, forged.data, forged.len, &err);
		assert_true(rc == 0 || rc == -EBADMSG);
		n_refused += rc < 0;
		n_taken += rc == 0;
		if (rc == 0) {
			(void)try_layer(&x, &store, &passed);
			assert_false(passed);
		}
		memcpy(plain.data + at, was, 8);
	}
	if (n_refused < 2 * n_taken || n_taken < 100)
		fail_msg("%zu refused, %zu taken", n_refused, n_taken);
	unmake(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_changed), cmocka_unit_test(test_arranged),
		cmocka_unit_test(test_foreign), cmocka_unit_test(test_stores),
		cmocka_unit_test(test_numbers),
	};
	struct ck_err err;
	ck_log_init("test", CK_LOG_ERROR);
	if (ck_secret_init(&err) < 0 || ck_unitcache_open(&cache, 8 << 20, &err) < 0)
		return 1;
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	ck_unitcache_close(cache);
	return rc;
}
