/* What to fetch first: from files to ranges of the tar stream, into an index and out of it, and
 * to ranges of the blob, which are all that reading those files takes. */
#include <errno.h>
#include <sys/stat.h>
#include <zlib.h>
#include <zstd.h>

#include "base/log.h"
#include "base/secret.h"
#include "tar/convert.h"
#include "tar/index/check.h"
#include "tar/indexfile.h"
#include "tar/sealed.h"
#include "tests/unit/lib/seal.h"
#include "tests/unit/lib/unit.h"

/* ---- files to ranges of the tar stream ---- */

static void add(struct ck_index_builder *b, const char *path, const char *link, uint64_t size,
		const struct ck_extent *x, size_t n)
{
	struct ck_entry e = { .size = size, .mode = S_IFREG | 0644 };
	struct ck_err err = { 0 };

	assert_works(ck_index_add_path(b, path, &e.path, &err), &err);
	if (link) {
		e.kind = CK_ENTRY_HARDLINK;
		e.mode = 0;
		assert_works(ck_index_add_path(b, link, &e.link, &err), &err);
	} else if (!size) {
		e.mode = S_IFDIR | 0755;
	}
	for (size_t i = 0; i < n; i++)
		assert_works(ck_index_add_extent(b, &x[i], &err), &err);
	assert_works(ck_index_add_entry(b, &e, &err), &err);
}

enum { TAR_LEN = 10000100 }; /* its last block is cut short */

static void mk_index(struct ck_index *x)
{
	static const struct ck_extent plain = { 0, 1024, 3000 }, far = { 0, 500224, 100000 },
				      twice = { 0, 900096, 10 }, again = { 0, 1000448, 2000 },
				      last = { 0, 9999872, 228 },
				      sparse[] = { { 4096, 2000384, 512 },
						   { 1 << 20, 2000896, 1000 } };
	struct ck_index_builder *b = NULL;
	struct ck_err err = { 0 };

	assert_works(ck_index_builder_new(&b, &err), &err);
	add(b, "d", NULL, 0, NULL, 0);
	add(b, "d/plain", NULL, 3000, &plain, 1);
	add(b, "d/far", NULL, 100000, &far, 1);
	add(b, "d/link", "d/plain", 0, NULL, 0);
	add(b, "d/twice", NULL, 10, &twice, 1);
	add(b, "d/twice", NULL, 2000, &again, 1);
	add(b, "d/sparse", NULL, 2 << 20, sparse, 2);
	add(b, "d/nowhere", "d/none", 0, NULL, 0);
	add(b, "d/loop", "d/loop", 0, NULL, 0);
	add(b, "last", NULL, 228, &last, 1);
	ck_index_finish(b, x);
	ck_index_builder_free(b);
}

struct fill_case {
	const char *why;
	struct ck_wanted want[4];
	size_t n_missing;
	struct ck_range range[4];
};

static const struct fill_case fill_cases[] = {
	{ "a whole file: whole blocks", { { "d/plain", 0, 3000 } }, 0, { { 1024, 3072 } } },
	{ "more than it has", { { "d/plain", 0, 1 << 30 } }, 0, { { 1024, 3072 } } },
	{ "a number that wraps", { { "d/far", 99999, UINT64_MAX } }, 0, { { 600064, 512 } } },
	{ "a part", { { "d/plain", 600, 1 } }, 0, { { 1536, 512 } } },
	{ "on both sides of a border", { { "d/plain", 511, 2 } }, 0, { { 1024, 1024 } } },
	{ "in the order of use",
	  { { "d/far", 0, 512 }, { "d/plain", 0, 512 } },
	  0,
	  { { 500224, 512 }, { 1024, 512 } } },
	{ "near ones become one",
	  { { "d/far", 0, 1 }, { "d/far", 66048, 1 } },
	  0,
	  { { 500224, 66560 } } },
	{ "farther ones do not",
	  { { "d/far", 0, 1 }, { "d/far", 66560, 1 } },
	  0,
	  { { 500224, 512 }, { 566784, 512 } } },
	{ "what was named is not named again",
	  { { "d/far", 0, 2000 }, { "d/far", 500, 100 } },
	  0,
	  { { 500224, 2048 } } },
	{ "a hard link's file", { { "d/link", 0, 10 } }, 0, { { 1024, 512 } } },
	{ "the last of a name", { { "d/twice", 0, 2000 } }, 0, { { 1000448, 2048 } } },
	{ "holes have nothing", { { "d/sparse", 0, 4096 } }, 0, { { 0, 0 } } },
	{ "data between holes", { { "d/sparse", 0, 2 << 20 } }, 0, { { 2000384, 512 + 1024 } } },
	{ "the stream's end is no whole block", { { "last", 0, 228 } }, 0, { { 9999872, 228 } } },
	{ "not there",
	  { { "d/none", 0, 1 }, { "d/plai", 0, 1 }, { "d/plainn", 0, 1 } },
	  3,
	  { { 0, 0 } } },
	{ "no file, and behind the end",
	  { { "d", 0, 1 }, { "d/plain", 3000, 1 } },
	  2,
	  { { 0, 0 } } },
	{ "links to nothing", { { "d/nowhere", 0, 1 }, { "d/loop", 0, 1 } }, 2, { { 0, 0 } } },
};

static void test_fill(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_OF(fill_cases); i++) {
		const struct fill_case *c = &fill_cases[i];
		struct ck_wants w = { .v = c->want };
		struct ck_index x;
		struct ck_err err = { 0 };
		size_t n = 0;
		mk_index(&x);
		while (w.n < N_OF(c->want) && c->want[w.n].path)
			w.n++;
		while (n < N_OF(c->range) && c->range[n].len)
			n++;
		assert_works(ck_prefetch_fill(&x, TAR_LEN, &w, &err), &err);
		assert_true(w.placed && !w.cut);
		if (w.n_missing != c->n_missing || x.n_prefetch != n ||
		    (n && memcmp(x.prefetch, c->range, n * sizeof *c->range) != 0))
			fail_msg("%s: %zu missing, %zu ranges, the first %llu + %llu", c->why,
				 w.n_missing, x.n_prefetch,
				 (unsigned long long)(x.n_prefetch ? x.prefetch->off : 0),
				 (unsigned long long)(x.n_prefetch ? x.prefetch->len : 0));
		assert_works(ck_index_check(&x, TAR_LEN, &err), &err);
		ck_index_free(&x);
	}
}

/* More ranges than an index has room for: the first ones stay. */
static void test_full(void **state)
{
	enum { N = CK_PREFETCH_MAX + 10, STEP = 200 << 10 };
	struct ck_wanted *v = calloc(N, sizeof *v);
	const struct ck_extent big = { 0, 512, (uint64_t)N * STEP };
	struct ck_index_builder *b = NULL;
	struct ck_wants w = { .v = v, .n = N };
	struct ck_index x;
	struct ck_err err = { 0 };
	(void)state;
	assert_works(ck_index_builder_new(&b, &err), &err);
	add(b, "big", NULL, big.len, &big, 1);
	ck_index_finish(b, &x);
	ck_index_builder_free(b);
	for (size_t i = 0; i < N; i++)
		v[i] = (struct ck_wanted){ "big", i * STEP, 1 };
	assert_works(ck_prefetch_fill(&x, big.len + 512, &w, &err), &err);
	assert_true(w.cut);
	assert_int_equal(x.n_prefetch, CK_PREFETCH_MAX);
	assert_int_equal(x.prefetch[CK_PREFETCH_MAX - 1].off,
			 512 + (uint64_t)(CK_PREFETCH_MAX - 1) * STEP);
	assert_works(ck_index_check(&x, big.len + 512, &err), &err);
	ck_index_free(&x);
	free(v);
}

/* ---- lists that come from outside ---- */

static void test_checked(void **state)
{
	static const struct {
		const char *why;
		struct ck_range range[3];
		const char *says; /* NULL: it is taken */
	} cases[] = {
		{ "in any order", { { 5120, 512 }, { 0, 512 }, { 512, 1024 } }, NULL },
		{ "the stream's end", { { TAR_LEN - 228, 228 } }, NULL },
		{ "one byte past it", { { TAR_LEN - 228, 229 } }, "malformed" },
		{ "a block past it", { { TAR_LEN - 228, 512 } }, "malformed" },
		{ "empty", { { 512, 0 }, { 512, 512 } }, "malformed" },
		{ "behind the end", { { 10000384, 512 } }, "malformed" },
		{ "far behind", { { UINT64_MAX - 511, 512 } }, "malformed" },
		{ "wrapping", { { 512, UINT64_MAX - 511 } }, "malformed" },
		{ "off no block", { { 100, 512 } }, "malformed" },
		{ "of no block", { { 512, 100 } }, "malformed" },
		{ "twice", { { 512, 512 }, { 512, 512 } }, "overlap" },
		{ "overlapping", { { 1024, 512 }, { 512, 1024 } }, "overlap" },
	};
	struct ck_index x;
	(void)state;
	mk_index(&x);
	for (size_t i = 0; i < N_OF(cases); i++) {
		struct ck_err err = { 0 };
		struct ck_index own = x;
		own.prefetch = cases[i].range;
		while (own.n_prefetch < 3 &&
		       (own.prefetch[own.n_prefetch].off || own.prefetch[own.n_prefetch].len))
			own.n_prefetch++;
		int rc = ck_index_check(&own, TAR_LEN, &err);
		if (cases[i].says ? rc != -EBADMSG || !strstr(err.msg, cases[i].says) : rc != 0)
			fail_msg("%s: %d %s", cases[i].why, rc, err.msg);
	}
	struct ck_range *many = calloc(CK_PREFETCH_MAX + 1, sizeof *many);
	struct ck_index own = x;
	struct ck_err err = { 0 };
	for (size_t i = 0; i <= CK_PREFETCH_MAX; i++)
		many[i] = (struct ck_range){ i * 512, 512 };
	own.prefetch = many;
	own.n_prefetch = CK_PREFETCH_MAX;
	assert_works(ck_index_check(&own, (uint64_t)1 << 30, &err), &err);
	own.n_prefetch++;
	assert_fails(ck_index_check(&own, (uint64_t)1 << 30, &err), -EBADMSG, &err, "65537");
	free(many);
	ck_index_free(&x);
}

/* Version 2 as ever where there is no list, else version 3; what is written is read. */
static void test_file(void **state)
{
	static const struct ck_range list[] = { { 5120, 512 }, { 0, 1024 } };
	struct ck_indexfile_about about = { 0 }, back;
	struct ck_err err = { 0 };
	(void)state;
	for (size_t n = 0; n <= 2; n++) {
		CK_BUF packed = { 0 };
		struct ck_pass_result what = { 0 }, got = { 0 };
		uint8_t plain[4096];
		uint32_t version;
		mk_index(&what.index);
		what.units = (struct ck_units){ .len = 0, .in_len = TAR_LEN };
		/* Units of a stream of that length: frames that begin where they end. */
		for (uint64_t off = 0; off < TAR_LEN; off += 4 << 20)
			assert_works(
			    ck_units_add_point(&what.units,
					       &(struct ck_point){ .out_off = off, .in_off = off },
					       NULL, 0, &err),
			    &err);
		assert_works(ck_units_finish(&what.units, TAR_LEN, TAR_LEN, &err), &err);
		what.units.compression = CK_COMPRESSION_ZSTD;
		what.index.prefetch = n ? list : NULL;
		what.index.n_prefetch = n;
		assert_works(ck_indexfile_pack(&packed, &what, &about, &err), &err);
		size_t len = ZSTD_decompress(plain, sizeof plain, packed.data, packed.len);
		assert_false(ZSTD_isError(len));
		memcpy(&version, plain + 8, sizeof version);
		assert_int_equal(version, n ? 3 : 2);
		uint64_t first; /* the first section comes behind the header, which others know */
		memcpy(&first, plain + 160, sizeof first);
		assert_int_equal(first, n ? 304 : 288);
		assert_works(
		    ck_indexfile_unpack(&got, &back, TAR_LEN, packed.data, packed.len, &err), &err);
		assert_int_equal(got.index.n_prefetch, n);
		if (n)
			assert_memory_equal(got.index.prefetch, list, n * sizeof *list);
		assert_true(ck_index_equal(&got.index, &what.index));
		ck_pass_result_free(&got);
		/* Cut, and of another version, which has no such section or more. */
		for (size_t cut = 0; cut <= len; cut += 8) {
			packed.len = ZSTD_compress(packed.data, packed.cap, plain, cut, 1);
			int rc = ck_indexfile_unpack(&got, &back, TAR_LEN, packed.data, packed.len,
						     &err);
			if (rc == 0) {
				assert_true(cut > len - 8);
				ck_pass_result_free(&got);
			}
		}
		for (version = 0; version < 6; version++) {
			memcpy(plain + 8, &version, sizeof version);
			packed.len = ZSTD_compress(packed.data, packed.cap, plain, len, 1);
			int rc = ck_indexfile_unpack(&got, &back, TAR_LEN, packed.data, packed.len,
						     &err);
			if (version < 2 || version > 4)
				assert_fails(rc, -EBADMSG, &err, "version 2 to 4");
			if (rc == 0)
				ck_pass_result_free(&got);
		}
		what.index.prefetch = NULL;
		ck_pass_result_free(&what);
	}
}

/* ---- ranges of the blob ---- */

/* A blob of which, once it is STRICT, only some bytes are there. */
struct gate {
	const struct ck_buf *blob;
	bool *have;
	bool strict;
};

static ssize_t gate_pread(void *ctx, void *buf, size_t nbytes, uint64_t off, struct ck_err *err)
{
	const struct gate *g = ctx;

	for (uint64_t i = off; g->strict && i < off + nbytes; i++)
		if (!g->have[i])
			return ck_fail(err, -ENETDOWN, "byte %llu was not prefetched",
				       (unsigned long long)i);
	memcpy(buf, g->blob->data + off, nbytes);
	return (ssize_t)nbytes;
}

/* A kept index. */
static int load(void *ctx, const char *digest, struct ck_buf *out, struct ck_err *err)
{
	const struct ck_buf *kept = ctx;

	(void)digest;
	return kept->len ? ck_buf_add(out, kept->data, kept->len, err)
			 : ck_fail(err, -ENOENT, "none");
}

static int save(void *ctx, const char *digest, const void *p, size_t nbytes,
		const struct ck_buf *windows, struct ck_err *err)
{
	(void)digest, (void)windows;
	return ck_buf_add(ctx, p, nbytes, err);
}

static const struct ck_wanted wanted[] = {
	{ "d/30", 0, 300000 }, { "d/7", 100000, 4096 }, { "d/8", 0, 1 },
	{ "d/31", 0, 1000 },   { "d/7", 90000, 20000 },
};

/* Where file I's byte OFF is in a tar of mk_tar(.., FILE_LEN). */
enum { N_FILES = 40, FILE_LEN = 300000 };

static uint64_t tar_off(unsigned i, uint64_t off)
{
	return i * (512 + (FILE_LEN + 511) / 512 * 512) + 512 + off;
}

static void check_reads(struct ck_layer *l, const struct ck_buf *tar)
{
	uint8_t *buf = malloc(FILE_LEN);
	struct ck_err err = { 0 };

	for (size_t i = 0; i < N_OF(wanted); i++) {
		uint64_t off = tar_off((unsigned)atoi(wanted[i].path + 2), wanted[i].off);
		assert_works(ck_layer_pread(l, buf, wanted[i].len, off, &err), &err);
		assert_memory_equal(buf, tar->data + off, wanted[i].len);
	}
	free(buf);
}

/* Opens the layer, takes only what is to be prefetched, and reads what was wanted.
 * Returns the bytes that this took. */
static uint64_t check_blob(const char *name, const struct ck_layer_spec *spec,
			   const struct ck_buf *blob, const struct ck_buf *tar, struct ck_buf *kept)
{
	static const struct ck_reader_ops ops = { .pread = gate_pread };
	const struct ck_index_store store = { .load = load, .ctx = kept };
	struct gate g = { .blob = blob, .have = calloc(blob->len, 1) };
	struct ck_unitcache *cache = NULL;
	struct ck_range *r = NULL;
	struct ck_reader *reader = NULL;
	struct ck_layer *l = NULL;
	struct ck_err err = { 0 };
	uint64_t sum = 0;
	size_t n;

	assert_works(ck_unitcache_open(&cache, 1 << 20, &err), &err);
	assert_works(ck_reader_open(&reader, &ops, &g, blob->len, &err), &err);
	assert_works(ck_layer_open(&l, spec, reader, cache, &store, NULL, NULL, &err), &err);
	assert_true(ck_layer_proof(l) != CK_LAYER_IN_FULL);
	assert_works(ck_layer_prefetch(l, false, &r, &n, &err), &err);
	assert_true(n > 0);
	for (size_t i = 0; i < n; i++) {
		assert_true(r[i].off < blob->len && r[i].len <= blob->len - r[i].off && r[i].len);
		for (uint64_t b = r[i].off; b < r[i].off + r[i].len; b++) {
			if (g.have[b])
				fail_msg("%s: byte %llu twice", name, (unsigned long long)b);
			g.have[b] = true;
		}
		sum += r[i].len;
	}
	g.strict = true;
	check_reads(l, tar);
	/* The bytes of the first file come first. */
	assert_true(r[0].off <= blob->len * 31 / 40 && r[0].off + r[0].len >= blob->len * 30 / 40);
	free(r);
	/* All: each byte once, those first. */
	memset(g.have, 0, blob->len);
	assert_works(ck_layer_prefetch(l, true, &r, &n, &err), &err);
	uint64_t all = 0;
	for (size_t i = 0; i < n; i++) {
		assert_true(r[i].off < blob->len && r[i].len <= blob->len - r[i].off && r[i].len);
		all += r[i].len;
		memset(g.have + r[i].off, 1, r[i].len);
	}
	assert_int_equal(all, blob->len);
	assert_null(memchr(g.have, 0, blob->len));
	free(r);
	ck_layer_close(l);
	ck_unitcache_close(cache);
	free(g.have);
	return sum;
}

static void pack(struct ck_buf *out, const struct ck_buf *tar, int form)
{
	if (form == 0)
		assert_int_equal(ck_buf_add(out, tar->data, tar->len, NULL), 0);
	else if (form == 1)
		mk_gzip(out, tar->data, tar->len, 6, Z_DEFAULT_STRATEGY);
	else if (form == 2)
		mk_zstd(out, tar->data, tar->len, 3);
	else
		for (size_t off = 0; off < tar->len; off += 1 << 20)
			mk_zstd(out, tar->data + off,
				tar->len - off < 1 << 20 ? tar->len - off : 1 << 20, 3);
}

static const char *const forms[] = { "raw", "gzip", "one zstd frame", "zstd frames" };

/* Indexes outside: of CTR blobs, and of streams that are sealed as they were. */
static void test_outside(void **state)
{
	CK_BUF tar = { 0 };
	(void)state;
	mk_tar(&tar, 3, N_FILES, FILE_LEN);
	for (int i = 0; i < 8; i++) {
		CK_BUF blob = { 0 }, kept = { 0 };
		CK_AUTO(ck_reader_closep) struct ck_reader *r = NULL;
		CK_AUTO(ck_unitcache_closep) struct ck_unitcache *cache = NULL;
		struct ck_blob_key key = { 0 };
		struct ck_wants w = { .v = wanted, .n = N_OF(wanted) };
		struct mk_sealed f = { 0 };
		struct ck_layer_spec spec;
		struct ck_layer *l = NULL;
		struct ck_err err = { 0 };
		pack(&blob, &tar, i % 4);
		if (i < 4) {
			mk_encrypt(&blob, &key, 5);
			spec = mk_spec(&blob, &tar, &key);
		} else {
			mk_seal(&f, &tar, 3);
			f.spec.index_off = 0;
			mk_reseal(&f, blob.data, blob.len);
			spec = f.spec;
		}
		const struct ck_buf *b = i < 4 ? &blob : &f.blob;
		const struct ck_index_store store = { .load = load, .save = save, .ctx = &kept };
		spec.wants = &w;
		assert_works(ck_unitcache_open(&cache, 1 << 20, &err), &err);
		assert_works(ck_reader_open_mem(&r, b->data, b->len, &err), &err);
		assert_works(ck_layer_open(&l, &spec, r, cache, &store, NULL, NULL, &err), &err);
		r = NULL;
		ck_layer_close(l);
		assert_true(w.placed && w.n_missing == 0 && kept.len);
		spec.wants = NULL;
		uint64_t took = check_blob(forms[i % 4], &spec, b, &tar, &kept);
		/* Some 310 KB were wanted of 12 MB; of a raw stream that is that, and chunks. */
		if (i % 4 != 2 && took > (i % 4 ? b->len / 2 : i ? 500000 : 1000000))
			fail_msg("%s: %llu of %zu", forms[i % 4], (unsigned long long)took, b->len);
		mk_sealed_free(&f);
	}
}

static int to_buf(void *ctx, const void *p, size_t nbytes, struct ck_err *err)
{
	return ck_buf_add(ctx, p, nbytes, err);
}

/* The index inside a sealed layer. */
static void test_inside(void **state)
{
	CK_AUTO(ck_pool_closep) struct ck_pool *pool = NULL;
	CK_AUTO(ck_reader_closep) struct ck_reader *from = NULL;
	CK_BUF tar = { 0 }, blob = { 0 }, none = { 0 };
	const struct ck_sink sink = { to_buf, &blob };
	struct ck_blob_key key = { .cipher = CK_CIPHER_CHUNKED, .symkey = { 7 } };
	struct ck_wants w = { .v = wanted, .n = N_OF(wanted) };
	struct ck_converted made;
	struct ck_err err = { 0 };
	(void)state;
	mk_tar(&tar, 3, N_FILES, FILE_LEN);
	assert_works(ck_pool_open(&pool, 1, 4, &err), &err);
	assert_works(ck_reader_open_mem(&from, tar.data, tar.len, &err), &err);
	struct ck_layer_spec spec = mk_spec(&tar, &tar, NULL);
	const struct ck_conversion how = { .key = &key,
					   .media_type = MK_ZSTD_TYPE,
					   .recompress = true,
					   .level = 1,
					   .pool = pool };
	spec.wants = &w;
	assert_works(ck_convert(&made, &spec, from, &how, &sink, NULL, NULL, &err), &err);
	assert_true(w.placed && w.n_missing == 0);
	struct ck_layer_spec got = mk_spec(&blob, &tar, &key);
	got.media_type = MK_ZSTD_TYPE;
	got.index_off = made.index_off;
	uint64_t took = check_blob("sealed", &got, &blob, &tar, &none);
	assert_true(took < blob.len / 12); /* frames of 128 KiB, chunks of 16 */
	/* Who reads all of it finds the index as it should be, list and all. */
	CK_AUTO(ck_unitcache_closep) struct ck_unitcache *cache = NULL;
	struct ck_reader *r = NULL;
	struct ck_layer *l = NULL;
	got.full = true;
	assert_works(ck_unitcache_open(&cache, 1 << 20, &err), &err);
	assert_works(ck_reader_open_mem(&r, blob.data, blob.len, &err), &err);
	assert_works(ck_layer_open(&l, &got, r, cache, NULL, NULL, NULL, &err), &err);
	ck_layer_close(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fill),	cmocka_unit_test(test_full),
		cmocka_unit_test(test_checked), cmocka_unit_test(test_file),
		cmocka_unit_test(test_outside), cmocka_unit_test(test_inside),
	};
	struct ck_err err;
	ck_log_init("test", CK_LOG_ERROR);
	if (ck_secret_init(&err) < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
