/* The windows of an index in a blob of their own: a layer opens without a byte of them, and reads
 * those alone that it needs; whatever is wrong with one, what comes is right or an error. */
#include <errno.h>
#include <zlib.h>
#include <zstd.h>

#include "base/text.h"
#include "tar/indexfile.h"
#include "tar/windowblob.h"
#include "tests/unit/lib/make.h"
#include "tests/unit/lib/unit.h"

/* A blob in memory, of which a copy may be wrong until it is dropped. */
struct place {
	const struct ck_buf *origin, *copy; /* COPY NULL: there is none */
	uint64_t n_read, n_advised;
	unsigned n_refetched;
};

static ssize_t place_pread(void *ctx, void *buf, size_t nbytes, uint64_t off, struct ck_err *err)
{
	struct place *p = ctx;

	(void)err;
	memcpy(buf, (p->copy ? p->copy : p->origin)->data + off, nbytes);
	p->n_read += nbytes;
	return (ssize_t)nbytes;
}

static bool place_refetch(void *ctx, uint64_t off, uint64_t nbytes)
{
	struct place *p = ctx;

	(void)off, (void)nbytes;
	p->n_refetched++;
	p->copy = NULL;
	return true;
}

static void place_advise(void *ctx, uint64_t off, uint64_t nbytes)
{
	struct place *p = ctx;

	(void)off;
	p->n_advised += nbytes;
}

static int place_open(struct ck_reader **out, struct place *p, struct ck_err *err)
{
	static const struct ck_reader_ops ops = { .pread = place_pread,
						  .refetch = place_refetch,
						  .advise = place_advise };

	return ck_reader_open(out, &ops, p, p->origin->len, err);
}

/* ---- the blob alone ---- */

enum { N_POINTS = 5, LEN = 1000 };

struct windows {
	uint8_t raw[N_POINTS][LEN];
	struct ck_point points[N_POINTS]; /* with those of the blob */
	struct ck_units units;		  /* with those in memory; but for its points */
	struct ck_point in_memory[N_POINTS];
	struct ck_windows_apart apart;
	struct ck_buf blob;
};

/* Of noise, so that all are packed into as many bytes; the second point has none. */
static void make_windows(struct windows *w)
{
	struct ck_err err = { 0 };
	uint64_t seed = 3;

	*w = (struct windows){ .units.points = w->in_memory, .units.n_points = N_POINTS };
	w->units.windows = malloc(N_POINTS * ZSTD_compressBound(LEN));
	for (size_t i = 0; i < N_POINTS; i++) {
		for (size_t k = 0; k < LEN; k++)
			w->raw[i][k] = (uint8_t)mk_random(&seed);
		if (i == 1)
			continue;
		uint8_t *to = w->units.windows + w->units.windows_len;
		size_t n = ZSTD_compress(to, ZSTD_compressBound(LEN), w->raw[i], LEN, 1);
		w->in_memory[i].window_off = w->units.windows_len;
		w->in_memory[i].window_len = (uint32_t)n;
		w->units.windows_len += n;
	}
	memcpy(w->points, w->in_memory, sizeof w->points);
	assert_works(ck_windowblob_make(&w->blob, &w->apart, w->points, &w->units, &err), &err);
	assert_int_equal(w->apart.len, w->blob.len);
	assert_int_equal(w->blob.len, w->units.windows_len + 4 * CK_GCM_TAG);
}

static void unmake_windows(struct windows *w)
{
	ck_windows_apart_free(&w->apart);
	ck_buf_free(&w->blob);
	free(w->units.windows);
}

/* What the window of point I is, read from P; the blob's name is "layer 7". */
static int read_one(const struct windows *w, struct place *p, uint32_t i,
		    uint8_t out[CK_WINDOW_LEN], size_t *len, struct ck_err *err)
{
	struct ck_windowblob *blob = NULL;
	struct ck_reader *r = NULL;
	struct ck_units u = { .points = (struct ck_point *)w->points, .n_points = N_POINTS };

	assert_works(place_open(&r, p, err), err);
	assert_works(ck_windowblob_open(&blob, r, &w->apart, "layer 7", err), err);
	u.store = ck_windowblob_store(blob);
	int rc = ck_units_window(&u, &u.points[i], out, len, err);
	ck_windowblob_close(blob);
	return rc;
}

static void test_each(void **state)
{
	struct windows w;
	uint8_t out[CK_WINDOW_LEN];
	struct ck_err err = { 0 };
	size_t len;

	(void)state;
	make_windows(&w);
	struct place p = { .origin = &w.blob };
	for (uint32_t i = 0; i < N_POINTS; i++) {
		p.n_read = 0;
		assert_works(read_one(&w, &p, i, out, &len, &err), &err);
		assert_int_equal(len, i == 1 ? 0 : LEN);
		assert_int_equal(p.n_read, i == 1 ? 0 : w.points[i].window_len + CK_GCM_TAG);
		assert_memory_equal(out, w.raw[i], len);
	}
	assert_int_equal(p.n_refetched, 0);
	unmake_windows(&w);
}

/* Nothing of a window can be read without its key. */
static void test_enciphered(void **state)
{
	struct windows w;

	(void)state;
	make_windows(&w);
	for (size_t i = 0; i < N_POINTS; i++)
		assert_null(memmem(w.blob.data, w.blob.len, w.raw[i] + 100, 16));
	unmake_windows(&w);
}

/* A copy that differs in any bit is dropped, and the origin asked; one that stays wrong is an
 * error. */
static void test_flipped(void **state)
{
	struct windows w;
	uint8_t out[CK_WINDOW_LEN];
	struct ck_err err = { 0 };
	size_t len;

	(void)state;
	make_windows(&w);
	for (size_t at = 0; at < w.points[0].window_len + CK_GCM_TAG; at += 97) {
		CK_BUF bad = { 0 };
		assert_works(ck_buf_add(&bad, w.blob.data, w.blob.len, &err), &err);
		bad.data[at] ^= (uint8_t)(1 << at % 8);
		struct place p = { .origin = &w.blob, .copy = &bad };
		assert_works(read_one(&w, &p, 0, out, &len, &err), &err);
		assert_memory_equal(out, w.raw[0], LEN);
		assert_int_equal(p.n_refetched, 1);
		struct place always = { .origin = &bad };
		assert_fails(read_one(&w, &always, 0, out, &len, &err), -EIO, &err,
			     "window 0 is not authentic");
		assert_int_equal(always.n_refetched, 2);
		assert_works(read_one(&w, &always, 2, out, &len, &err), &err);
	}
	unmake_windows(&w);
}

/* One window in the place of another. */
static void test_exchanged(void **state)
{
	struct windows w;
	uint8_t out[CK_WINDOW_LEN];
	struct ck_err err = { 0 };
	CK_BUF bad = { 0 };
	size_t len;

	(void)state;
	make_windows(&w);
	assert_int_equal(w.points[2].window_len, w.points[3].window_len);
	assert_works(ck_buf_add(&bad, w.blob.data, w.blob.len, &err), &err);
	memcpy(bad.data + w.points[2].window_off, w.blob.data + w.points[3].window_off,
	       w.points[2].window_len + CK_GCM_TAG);
	struct place p = { .origin = &bad };
	assert_fails(read_one(&w, &p, 2, out, &len, &err), -EIO, &err, "window 2 is not authentic");
	unmake_windows(&w);
}

/* A blob of another length is not it. */
static void test_length(void **state)
{
	struct windows w;
	struct ck_windowblob *blob = NULL;
	struct ck_reader *r = NULL;
	struct ck_err err = { 0 };

	(void)state;
	make_windows(&w);
	w.blob.len--;
	struct place p = { .origin = &w.blob };
	assert_works(place_open(&r, &p, &err), &err);
	assert_fails(ck_windowblob_open(&blob, r, &w.apart, "x", &err), -EIO, &err,
		     "as their index says");
	ck_reader_close(r);
	unmake_windows(&w);
}

static void test_ranges(void **state)
{
	struct windows w;

	(void)state;
	make_windows(&w);
	struct ck_units u = { .points = w.points, .n_points = N_POINTS };
	struct ck_range all = ck_windowblob_range(&u, 0, N_POINTS - 1);
	assert_int_equal(all.off, 0);
	assert_int_equal(all.len, w.blob.len);
	struct ck_range none = ck_windowblob_range(&u, 1, 1), one = ck_windowblob_range(&u, 1, 2);
	struct ck_range before = ck_windowblob_range(&u, 0, 1);
	assert_int_equal(none.len, 0);
	assert_int_equal(before.off, 0);
	assert_int_equal(before.len, w.points[0].window_len + CK_GCM_TAG);
	assert_int_equal(one.off, w.points[2].window_off);
	assert_int_equal(one.len, w.points[2].window_len + CK_GCM_TAG);
	u.points[4].window_off = 0; /* an index that lies */
	assert_int_equal(ck_windowblob_range(&u, 3, 4).len, 0);
	unmake_windows(&w);
}

/* ---- a layer ---- */

struct fixture {
	struct ck_buf tar, blob, index, windows;
	struct ck_blob_key key;
	struct ck_layer_spec spec;
	struct ck_unitcache *cache;
	struct place place;
	bool missing; /* the blob of windows */
	int n_passes;
};

static int load(void *ctx, const char *digest, struct ck_buf *out, struct ck_err *err)
{
	struct fixture *f = ctx;

	(void)digest;
	return f->index.len ? ck_buf_add(out, f->index.data, f->index.len, err)
			    : ck_fail(err, -ENOENT, "none");
}

static int save(void *ctx, const char *digest, const void *p, size_t nbytes,
		const struct ck_buf *windows, struct ck_err *err)
{
	struct fixture *f = ctx;

	(void)digest;
	f->n_passes++;
	ck_buf_free(&f->index);
	ck_buf_free(&f->windows);
	assert_works(ck_buf_add(&f->index, p, nbytes, err), err);
	return windows->len ? ck_buf_add(&f->windows, windows->data, windows->len, err) : 0;
}

static int blob(void *ctx, const uint8_t digest[32], uint64_t size, struct ck_reader **out,
		struct ck_err *err)
{
	struct fixture *f = ctx;
	uint8_t is[32];

	if (f->missing)
		return ck_fail(err, -ENOENT, "gone");
	ck_sha256(is, f->windows.data, f->windows.len);
	assert_memory_equal(is, digest, sizeof is);
	assert_int_equal(size, f->windows.len);
	f->place.origin = &f->windows;
	return place_open(out, &f->place, err);
}

static void make(struct fixture *f)
{
	struct ck_err err = { 0 };

	*f = (struct fixture){ 0 };
	mk_tar(&f->tar, 11, 60, 150000);
	mk_gzip(&f->blob, f->tar.data, f->tar.len, 6, Z_DEFAULT_STRATEGY);
	mk_encrypt(&f->blob, &f->key, 11);
	f->spec = mk_spec(&f->blob, &f->tar, &f->key);
	assert_works(ck_unitcache_open(&f->cache, 8 << 20, &err), &err);
}

static void unmake(struct fixture *f)
{
	ck_unitcache_close(f->cache);
	ck_buf_free(&f->tar);
	ck_buf_free(&f->blob);
	ck_buf_free(&f->index);
	ck_buf_free(&f->windows);
}

/* STORE: the first to be asked. */
static struct ck_layer *open_by(struct fixture *f, const struct ck_index_store *store)
{
	struct ck_layer *l = NULL;
	struct ck_reader *r = NULL;
	struct ck_err err = { 0 };

	f->place.n_read = f->place.n_advised = 0;
	assert_works(ck_reader_open_mem(&r, f->blob.data, f->blob.len, &err), &err);
	assert_works(ck_layer_open(&l, &f->spec, r, f->cache, store, NULL, NULL, &err), &err);
	return l;
}

static struct ck_layer *open_layer(struct fixture *f)
{
	const struct ck_index_store store = {
		.load = load, .save = save, .apart = true, .blob = blob, .ctx = f
	};

	return open_by(f, &store);
}

static void test_layer(void **state)
{
	static uint8_t buf[5000];
	struct fixture f;
	struct ck_err err = { 0 };
	uint64_t len;

	(void)state;
	make(&f);
	struct ck_layer *l = open_layer(&f);
	assert_int_equal(f.n_passes, 1);
	assert_null(ck_layer_windows(l, &len)); /* a pass has its own */
	ck_layer_close(l);
	assert_true(f.windows.len > 5 * f.index.len); /* what all this is for */
	l = open_layer(&f);
	assert_int_equal(f.n_passes, 1);
	assert_int_equal(f.place.n_read, 0);
	assert_non_null(ck_layer_windows(l, &len));
	assert_int_equal(len, f.windows.len);
	assert_works(ck_layer_pread(l, buf, 100, f.tar.len / 2, &err), &err);
	assert_memory_equal(buf, f.tar.data + f.tar.len / 2, 100);
	/* One window, which was asked for together with the bytes. */
	assert_in_range(f.place.n_read, 1, CK_WINDOW_PACKED_MAX);
	assert_int_equal(f.place.n_read, f.place.n_advised);
	for (uint64_t off = 0; off + sizeof buf < f.tar.len; off += 99991) {
		assert_works(ck_layer_pread(l, buf, sizeof buf, off, &err), &err);
		assert_memory_equal(buf, f.tar.data + off, sizeof buf);
	}
	ck_layer_close(l);
	/* A copy that is wrong counts as such. */
	CK_BUF bad = { 0 };
	assert_works(ck_buf_add(&bad, f.windows.data, f.windows.len, &err), &err);
	for (size_t i = 0; i < bad.len; i += 1000)
		bad.data[i] ^= 1;
	l = open_layer(&f);
	f.place.copy = &bad;
	assert_int_equal(ck_layer_n_wrong(l), 0);
	assert_works(ck_layer_pread(l, buf, 100, f.tar.len / 2, &err), &err);
	assert_memory_equal(buf, f.tar.data + f.tar.len / 2, 100);
	assert_int_equal(ck_layer_n_wrong(l), 1);
	ck_layer_close(l);
	unmake(&f);
}

/* An index whose windows cannot be had is of no use: another pass. */
static void test_missing(void **state)
{
	struct fixture f;
	const struct ck_index_store none = { .load = load, .save = save, .apart = true, .ctx = &f };
	const struct ck_index_store other = { .load = load, .blob = blob, .ctx = &f };

	(void)state;
	make(&f);
	ck_layer_close(open_layer(&f));
	f.missing = true;
	ck_layer_close(open_layer(&f));
	assert_int_equal(f.n_passes, 2);
	f.missing = false;
	ck_layer_close(open_by(&f, &none));
	assert_int_equal(f.n_passes, 3);
	/* Another store may have them. */
	struct ck_index_store first = none;
	first.next = &other;
	ck_layer_close(open_by(&f, &first));
	assert_int_equal(f.n_passes, 3);
	unmake(&f);
}

/* What is to be fetched first takes its windows along. */
static void test_prefetch(void **state)
{
	struct fixture f;
	struct ck_range *r = NULL;
	struct ck_err err = { 0 };
	size_t n = 9;

	(void)state;
	make(&f);
	ck_layer_close(open_layer(&f));
	struct ck_layer *l = open_layer(&f);
	assert_works(ck_layer_prefetch_windows(l, &r, &n, &err), &err);
	assert_int_equal(n, 0); /* nothing is */
	free(r);
	/* The first one is where inflating begins anyway. */
	struct ck_range wants[] = { { 0, 512 }, { 3 << 20, 512 } }, want = wants[1];
	struct ck_index *x = (struct ck_index *)ck_layer_index(l);
	x->prefetch = wants;
	x->n_prefetch = 2;
	assert_works(ck_layer_prefetch_windows(l, &r, &n, &err), &err);
	assert_int_equal(n, 1);
	uint8_t byte;
	assert_works(ck_layer_pread(l, &byte, 1, want.off, &err), &err);
	assert_int_equal(f.place.n_read, r[0].len);
	free(r);
	x->n_prefetch = 0;
	ck_layer_close(l);
	unmake(&f);
}

/* ---- an index that lies ---- */

static int unpack(const struct ck_pass_result *what, uint64_t in_len, struct ck_err *err)
{
	struct ck_indexfile_about about = { .blob_len = 0 };
	struct ck_pass_result back = { 0 };
	CK_BUF packed = { 0 };

	assert_works(ck_indexfile_pack(&packed, what, &about, err), err);
	int rc = ck_indexfile_unpack(&back, &about, in_len, packed.data, packed.len, err);
	if (rc == 0) {
		assert_int_equal(back.apart.len, what->apart.len);
		assert_memory_equal(back.apart.digest, what->apart.digest, 32);
		assert_memory_equal(back.apart.key.data, what->apart.key.data, 32);
		ck_pass_result_free(&back);
	}
	return rc;
}

/* Windows both in the index and apart. */
static void test_both(void **state)
{
	struct ck_point point = { .window_len = 0 };
	struct ck_unit_start unit = { 0 };
	struct ck_err err = { 0 };
	struct ck_indexfile_about about = { .blob_len = 0 };
	CK_BUF packed = { 0 };
	uint8_t plain[2000];

	(void)state;
	struct ck_pass_result back = { 0 }, what = { .units = { .compression = CK_COMPRESSION_GZIP,
								.len = 10,
								.points = &point,
								.n_points = 1,
								.units = &unit,
								.n_units = 1 },
						     .apart = { .len = 1000 } };
	assert_works(ck_secret_new(&what.apart.key, 32, &err), &err);
	assert_works(ck_indexfile_pack(&packed, &what, &about, &err), &err);
	size_t n = ZSTD_decompress(plain, sizeof plain, packed.data, packed.len);
	assert_false(ZSTD_isError(n));
	/* The header: 160 bytes, then where each section is and what it has; windows are the 7th.
	 */
	const uint64_t section[] = { 0, 8 };
	memcpy(plain + 160 + 6 * 16, section, sizeof section);
	assert_works(ck_buf_reserve(&packed, ZSTD_compressBound(n), &err), &err);
	size_t len = ZSTD_compress(packed.data, packed.cap, plain, n, 1);
	assert_fails(ck_indexfile_unpack(&back, &about, 10, packed.data, len, &err), -EBADMSG, &err,
		     "the index's windows are malformed");
	ck_secret_free(&what.apart.key);
}

static void test_lies(void **state)
{
	static const uint64_t lengths[] = { CK_GCM_TAG, (1ULL << 30) + 1, UINT64_MAX };
	struct ck_point point = { .window_off = 100, .window_len = 50 };
	struct ck_unit_start unit = { 0 };
	struct ck_err err = { 0 };

	(void)state;
	struct ck_pass_result what = { .units = { .compression = CK_COMPRESSION_GZIP,
						  .len = 10,
						  .points = &point,
						  .n_points = 1,
						  .units = &unit,
						  .n_units = 1 },
				       .apart = { .digest = { 7 }, .len = 166 } };
	assert_works(ck_secret_new(&what.apart.key, 32, &err), &err);
	memset(what.apart.key.data, 5, 32);
	assert_works(unpack(&what, 10, &err), &err);
	what.apart.len = 165; /* its tag is outside */
	assert_fails(unpack(&what, 10, &err), -EBADMSG, &err, "point 0 of the index is malformed");
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		what.apart.len = lengths[i];
		assert_fails(unpack(&what, 10, &err), -EBADMSG, &err,
			     "the index's windows are malformed");
	}
	what.apart.len = 1 << 20; /* larger than any window is */
	point.window_len = CK_WINDOW_PACKED_MAX;
	assert_works(unpack(&what, 10, &err), &err);
	point.window_len++;
	assert_fails(unpack(&what, 10, &err), -EBADMSG, &err, "point 0 of the index is malformed");
	ck_secret_free(&what.apart.key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each),	cmocka_unit_test(test_enciphered),
		cmocka_unit_test(test_flipped), cmocka_unit_test(test_exchanged),
		cmocka_unit_test(test_ranges),	cmocka_unit_test(test_length),
		cmocka_unit_test(test_both),	cmocka_unit_test(test_layer),
		cmocka_unit_test(test_missing), cmocka_unit_test(test_prefetch),
		cmocka_unit_test(test_lies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
