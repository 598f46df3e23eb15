/* Sealed indexes: what one pass found out serves the next opening; what was changed,
 * exchanged or forged is not believed, and costs no more than another pass. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <zlib.h>
#include <zstd.h>

#include "base/secret.h"
#include "base/text.h"
#include "tar/cipher/chunked.h"
#include "tar/index/check.h"
#include "tar/sealed.h"
#include "tests/unit/lib/make.h"
#include "tests/unit/lib/unit.h"

/* A store in memory that counts. */
struct shelf {
	struct ck_buf index; /* of the one layer it holds */
	int loads, saves;
};

static int load(void *ctx, const char *digest, struct ck_buf *out, struct ck_err *err)
{
	struct shelf *s = ctx;

	(void)digest;
	s->loads++;
	if (!s->index.len)
		return ck_fail(err, -ENOENT, "nothing there");
	return ck_buf_add(out, s->index.data, s->index.len, err);
}

static int save(void *ctx, const char *digest, const void *p, size_t nbytes,
		const struct ck_buf *windows, struct ck_err *err)
{
	struct shelf *s = ctx;

	assert_null(windows);
	assert_int_equal(strncmp(digest, "sha256:", 7), 0);
	s->saves++;
	ck_buf_free(&s->index);
	return ck_buf_add(&s->index, p, nbytes, err);
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

struct fixture {
	struct ck_buf tar, blob;
	struct ck_blob_key key;
	struct ck_layer_spec spec;
	struct ck_unitcache *cache;
	struct counted counted;
	struct shelf shelf;
};

static void make(struct fixture *f, uint64_t seed, size_t n_files, size_t file_len, bool zstd)
{
	struct ck_err err = { 0 };

	*f = (struct fixture){ 0 };
	mk_tar(&f->tar, seed, n_files, file_len);
	if (zstd)
		mk_zstd(&f->blob, f->tar.data, f->tar.len, 3);
	else
		mk_gzip(&f->blob, f->tar.data, f->tar.len, 6, Z_DEFAULT_STRATEGY);
	mk_encrypt(&f->blob, &f->key, seed);
	f->spec = mk_spec(&f->blob, &f->tar, &f->key);
	f->counted.blob = &f->blob;
	assert_works(ck_unitcache_open(&f->cache, 8 << 20, &err), &err);
}

static void unmake(struct fixture *f)
{
	ck_unitcache_close(f->cache);
	ck_buf_free(&f->tar);
	ck_buf_free(&f->blob);
	ck_buf_free(&f->shelf.index);
}

static int open_layer(struct ck_layer **l, struct fixture *f, struct ck_err *err)
{
	static const struct ck_reader_ops ops = { .pread = counted_pread };
	const struct ck_index_store store = { .load = load, .save = save, .ctx = &f->shelf };
	struct ck_reader *r = NULL;
	assert_works(ck_reader_open(&r, &ops, &f->counted, f->blob.len, err), err);
	f->counted.nbytes = 0;
	int rc = ck_layer_open(l, &f->spec, r, f->cache, &store, NULL, NULL, err);
	if (rc < 0)
		ck_reader_close(r);
	return rc;
}

static void check_reads(struct ck_layer *l, const struct fixture *f)
{
	static uint8_t buf[5000];
	struct ck_err err = { 0 };

	for (uint64_t off = 0; off + sizeof buf < f->tar.len; off += 99991) {
		assert_works(ck_layer_pread(l, buf, sizeof buf, off, &err), &err);
		assert_memory_equal(buf, f->tar.data + off, sizeof buf);
	}
}

static void test_kept(void **state)
{
	(void)state;
	for (int zstd = 0; zstd < 2; zstd++) {
		struct fixture f;
		struct ck_layer *l = NULL;
		struct ck_err err = { 0 };
		make(&f, 21, 30, 300000, zstd);
		assert_works(open_layer(&l, &f, &err), &err);
		assert_int_equal(f.shelf.saves, 1);
		size_t n = ck_layer_index(l)->n_entries;
		ck_layer_close(l);
		assert_works(open_layer(&l, &f, &err), &err);
		assert_int_equal(f.counted.nbytes, 0); /* not a byte of the blob */
		assert_int_equal(f.shelf.saves, 1);
		assert_int_equal(ck_layer_index(l)->n_entries, n);
		assert_int_equal(ck_layer_len(l), f.tar.len);
		check_reads(l, &f);
		ck_layer_close(l);
		unmake(&f);
	}
}

/* A byte of the blob that changes after its index was made: refused where it matters. */
static void test_changed_blob(void **state)
{
	struct fixture f;
	struct ck_layer *l = NULL;
	struct ck_err err = { 0 };
	uint8_t buf[4096];
	(void)state;
	make(&f, 22, 20, 300000, false);
	assert_works(open_layer(&l, &f, &err), &err);
	ck_layer_close(l);
	f.blob.data[f.blob.len / 2] ^= 1;
	assert_works(open_layer(&l, &f, &err), &err);
	assert_works(ck_layer_pread(l, buf, sizeof buf, 0, &err), &err);
	size_t bad = 0;
	for (uint64_t off = 0; off + sizeof buf < f.tar.len; off += 65536) {
		int rc = ck_layer_pread(l, buf, sizeof buf, off, &err);
		if (rc == 0)
			assert_memory_equal(buf, f.tar.data + off, sizeof buf);
		else
			assert_fails(rc, -EIO, &err, "chunk tag");
		bad += rc < 0;
	}
	assert_true(bad > 0);
	ck_layer_close(l);
	unmake(&f);
}

/* Every byte flipped and every cut, of a small index: another pass, the right result. */
static void test_damaged(void **state)
{
	struct fixture f;
	struct ck_layer *l = NULL;
	struct ck_err err = { 0 };
	CK_BUF good = { 0 };
	(void)state;
	make(&f, 23, 2, 100, false);
	assert_works(open_layer(&l, &f, &err), &err);
	ck_layer_close(l);
	assert_works(ck_buf_add(&good, f.shelf.index.data, f.shelf.index.len, &err), &err);
	for (size_t i = 0; i < 2 * good.len; i++) {
		struct ck_pass_result r = { 0 };
		CK_BUF bad = { 0 };
		bool cut = i >= good.len;
		assert_works(ck_buf_add(&bad, good.data, cut ? i - good.len : good.len, &err),
			     &err);
		if (!cut)
			bad.data[i] ^= 0x40;
		assert_int_equal(ck_sealed_read(&r, &f.spec, f.blob.len, bad.data, bad.len, &err),
				 -EBADMSG);
	}
	f.shelf.index.data[100] ^= 1;
	assert_works(open_layer(&l, &f, &err), &err);
	assert_int_equal(f.shelf.saves, 2); /* made anew, and kept */
	assert_true(f.counted.nbytes >= f.blob.len);
	check_reads(l, &f);
	ck_layer_close(l);
	unmake(&f);
}

static void test_foreign(void **state)
{
	struct fixture f, g;
	struct ck_layer *l = NULL;
	struct ck_err err = { 0 };
	struct ck_pass_result r = { 0 };
	(void)state;
	make(&f, 24, 3, 1000, false);
	make(&g, 25, 3, 1000, false);
	assert_works(open_layer(&l, &f, &err), &err);
	ck_layer_close(l);
	const struct ck_buf *x = &f.shelf.index;
	assert_fails(ck_sealed_read(&r, &g.spec, g.blob.len, x->data, x->len, &err), -EBADMSG, &err,
		     "commitment"); /* another layer's key */
	struct ck_layer_spec spec = f.spec;
	spec.digest[0] ^= 1;
	assert_fails(ck_sealed_read(&r, &spec, f.blob.len, x->data, x->len, &err), -EBADMSG, &err,
		     "commitment"); /* the same key, another blob */
	spec = f.spec;
	spec.diff_id[0] ^= 1;
	assert_fails(ck_sealed_read(&r, &spec, f.blob.len, x->data, x->len, &err), -EBADMSG, &err,
		     "diff_id"); /* a config of another image */
	struct ck_blob_key key = f.key;
	key.hmac[0] ^= 1;
	spec = f.spec;
	spec.key = &key;
	assert_fails(ck_sealed_read(&r, &spec, f.blob.len, x->data, x->len, &err), -EBADMSG, &err,
		     "HMAC"); /* a manifest with another HMAC */
	assert_fails(ck_sealed_read(&r, &f.spec, f.blob.len + 1, x->data, x->len, &err), -EBADMSG,
		     &err, "another blob");
	unmake(&f);
	unmake(&g);
}

/* Who holds the key can seal anything: numbers that lie are found, whatever they say. */
static void test_forged(void **state)
{
	struct fixture f;
	struct ck_layer *l = NULL;
	struct ck_err err = { 0 };
	uint64_t seed = 7;
	char text[96] = "cloakfs/index/v1";
	size_t n = sizeof "cloakfs/index/v1";
	(void)state;
	make(&f, 26, 5, 2000, false);
	assert_works(open_layer(&l, &f, &err), &err);
	ck_layer_close(l);
	ck_digest_str(text + n, f.spec.digest);
	const struct ck_chunked_context context = { text, n + CK_DIGEST_STR - 1 };
	uint64_t len;
	assert_works(ck_chunked_plain_len(f.shelf.index.len, &len, &err), &err);
	uint8_t *packed = malloc(len);
	assert_works(ck_chunked_unseal_all(f.key.symkey, &context, f.shelf.index.data,
					   f.shelf.index.len, packed, &err),
		     &err);
	size_t n_plain = (size_t)ZSTD_getFrameContentSize(packed, len);
	size_t cap = ZSTD_compressBound(n_plain);
	uint8_t *plain = malloc(n_plain), *forged = malloc(n_plain), *again = malloc(cap);
	uint8_t *sealed = malloc(ck_chunked_sealed_len(cap));
	assert_int_equal(ZSTD_decompress(plain, n_plain, packed, len), n_plain);
	size_t refused = 0;
	static const uint64_t lies[] = { 0, 1, UINT32_MAX, 1ULL << 31, INT64_MAX, UINT64_MAX };
	for (size_t at = 0; at + 8 <= n_plain; at += 4) {
		uint64_t lie = lies[mk_random(&seed) % 6];
		struct ck_pass_result r = { 0 };
		memcpy(forged, plain, n_plain);
		memcpy(forged + at, &lie, mk_random(&seed) % 2 ? 4 : 8);
		size_t n_again = ZSTD_compress(again, cap, forged, n_plain, 1);
		assert_works(
		    ck_chunked_seal_all(f.key.symkey, &context, again, n_again, sealed, &err),
		    &err);
		int rc = ck_sealed_read(&r, &f.spec, f.blob.len, sealed,
					ck_chunked_sealed_len(n_again), &err);
		assert_true(rc == 0 || rc == -EBADMSG);
		refused += rc < 0;
		/* What is taken can be walked without a step outside (the sanitizer looks). */
		for (size_t i = 0; rc == 0 && i < r.index.n_entries; i++) {
			const struct ck_entry *e = &r.index.entries[i];
			assert_int_equal(strlen(ck_index_bytes(&r.index, e->path)) <= e->path.len,
					 1);
		}
		if (rc == 0)
			ck_pass_result_free(&r);
	}
	assert_true(refused > 50);
	free(packed);
	free(plain);
	free(forged);
	free(again);
	free(sealed);
	unmake(&f);
}

/* Paths that no tar leaves in an index: they would become names like "..". */
static void test_paths(void **state)
{
	static const struct {
		const char *path;
		size_t len;
		bool good;
	} rows[] = {
		{ "", 0, true },	{ "a", 1, true },      { "a/b", 3, true },
		{ "..a/b..", 7, true }, { "..", 2, false },    { ".", 1, false },
		{ "/a", 2, false },	{ "a/", 2, false },    { "a//b", 4, false },
		{ "a/../b", 6, false }, { "a/./b", 5, false }, { "a/..", 4, false },
		{ "a\0b", 3, false },
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		for (int as_link = 0; as_link < 2; as_link++) {
			CK_AUTO(ck_index_builder_freep) struct ck_index_builder *b = NULL;
			struct ck_entry e = { .kind = as_link ? CK_ENTRY_HARDLINK : CK_ENTRY_NODE,
					      .mode = as_link ? 0 : 0100644 };
			struct ck_index x = { 0 };
			struct ck_err err = { 0 };
			assert_works(ck_index_builder_new(&b, &err), &err);
			assert_works(ck_index_add_bytes(b, rows[i].path, rows[i].len,
							as_link ? &e.link : &e.path, &err),
				     &err);
			assert_works(ck_index_add_entry(b, &e, &err), &err);
			ck_index_finish(b, &x);
			int rc = ck_index_check(&x, 0, &err);
			if (rc != (rows[i].good ? 0 : -EBADMSG))
				fail_msg("\"%s\": %d", rows[i].path, rc);
			ck_index_free(&x);
		}
	}
}

static long peak_kib(void)
{
	struct rusage u;

	assert_int_equal(getrusage(RUSAGE_SELF, &u), 0);
	return u.ru_maxrss;
}

/* Whoever can write a layout can leave a large index in it; no memory is spent on what was
 * not sealed under the layer's key. */
static void test_large_stranger(void **state)
{
	enum { LEN = 256 << 20 };
	struct fixture f;
	struct ck_pass_result r;
	struct ck_err err = { 0 };
	(void)state;
	make(&f, 7, 3, 1000, false);
	void *p = mmap(NULL, LEN, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	long before = peak_kib();
	assert_fails(ck_sealed_read(&r, &f.spec, f.blob.len, p, LEN, &err), -EBADMSG, &err,
		     "commitment differs");
	assert_in_range(peak_kib() - before, 0, 32 << 10);
	(void)munmap(p, LEN);
	unmake(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kept),	       cmocka_unit_test(test_changed_blob),
		cmocka_unit_test(test_damaged),	       cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_forged),	       cmocka_unit_test(test_paths),
		cmocka_unit_test(test_large_stranger),
	};
	struct ck_err err;
	if (ck_secret_init(&err) < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
