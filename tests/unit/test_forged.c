/* Indexes in the hands of strangers, and of who holds the key: whoever can seal can tell lies,
 * but never makes us read outside our memory, nor run for days, and who checks in full finds
 * out. A layer whose index is no good is as good as its stream. */
#include <errno.h>
#include <sys/stat.h>
#include <zlib.h>
#include <zstd.h>

#include "base/log.h"
#include "base/secret.h"
#include "base/text.h"
#include "fs/tree.h"
#include "tar/cipher/chunked.h"
#include "tar/convert.h"
#include "tar/embedded.h"
#include "tar/index/check.h"
#include "tar/indexfile.h"
#include "tar/pass.h"
#include "tar/sealed.h"
#include "tests/unit/lib/seal.h"
#include "tests/unit/lib/unit.h"

static struct ck_unitcache *cache;

static void on_progress(void *ctx, uint64_t nbytes, uint64_t total)
{
	(void)nbytes, (void)total;
	*(bool *)ctx = true;
}

/* Opens F's blob and reads as much as there is of its tar stream: right bytes or an error,
 * never any behind its end. *PASSED (may be NULL): whether all of it was verified first. */
static int try_layer(const struct mk_sealed *f, const struct ck_index_store *store, bool *passed,
		     size_t *n_failed, struct ck_err *err)
{
	static uint8_t buf[50000];
	CK_AUTO(ck_reader_closep) struct ck_reader *blob = NULL;
	CK_AUTO(ck_layer_closep) struct ck_layer *l = NULL;
	bool own_passed = false;

	assert_works(ck_reader_open_mem(&blob, f->blob.data, f->blob.len, err), err);
	int rc = ck_layer_open(&l, &f->spec, blob, cache, store, on_progress, &own_passed, err);
	if (passed)
		*passed = own_passed;
	if (rc < 0)
		return rc;
	blob = NULL;
	uint64_t len = ck_layer_len(l);
	for (uint64_t off = 0, n; off < len; off += n) {
		n = len - off < sizeof buf ? len - off : sizeof buf;
		rc = ck_layer_pread(l, buf, n, off, err);
		if (rc < 0 && rc != -EIO)
			fail_msg("%d: %s", rc, err->msg);
		if (rc == 0 && (off > f->tar.len || n > f->tar.len - off))
			fail_msg("bytes behind the end of the tar stream");
		if (rc == 0)
			assert_memory_equal(buf, f->tar.data + off, n);
		*n_failed += rc < 0;
		if (off > f->tar.len) /* what is said to come is far too much to try */
			break;
	}
	return 0;
}

static void make(struct mk_sealed *f, size_t n_files, size_t file_len)
{
	CK_BUF tar = { 0 };

	mk_light_tar(&tar, 4, n_files, file_len);
	mk_seal(f, &tar, 2);
}

/* The parts of a sealed layer's plaintext. */
struct parts {
	struct ck_buf plain; /* all of it as it was */
	size_t stream_len;   /* the frames' bytes */
	struct ck_buf index; /* unpacked */
	struct ck_seek_frame frames[64];
	size_t n_frames;
};

static void take_apart(struct parts *p, const struct mk_sealed *f)
{
	*p = (struct parts){ 0 };
	mk_unseal(&p->plain, f);
	p->stream_len = (size_t)f->index_off - CK_SKIPPABLE_HEADER;
	p->n_frames = mk_frames(p->frames, N_OF(p->frames), p->plain.data, p->stream_len);
	const uint8_t *packed = p->plain.data + f->index_off;
	int64_t len = ck_skippable_len(packed - CK_SKIPPABLE_HEADER, CK_SKIPPABLE_INDEX);
	assert_true(len > 0);
	size_t n = (size_t)ZSTD_getFrameContentSize(packed, (size_t)len);
	assert_int_equal(ck_buf_reserve(&p->index, n, NULL), 0);
	assert_int_equal(ZSTD_decompress(p->index.data, n, packed, (size_t)len), n);
	p->index.len = n;
}

static void parts_free(struct parts *p)
{
	ck_buf_free(&p->plain);
	ck_buf_free(&p->index);
}

/* The plaintext of P again, with the N bytes at INDEX for an index. */
static void put_together(struct ck_buf *out, const struct parts *p, const void *index, size_t n)
{
	CK_BUF packed = { 0 };
	struct ck_seek_frame all[65];

	assert_int_equal(ck_buf_reserve(&packed, ZSTD_compressBound(n), NULL), 0);
	packed.len = ZSTD_compress(packed.data, packed.cap, index, n, 1);
	assert_int_equal(ck_buf_add(out, p->plain.data, p->stream_len, NULL), 0);
	mk_skippable(out, CK_SKIPPABLE_INDEX, packed.data, packed.len);
	memcpy(all, p->frames, p->n_frames * sizeof *all);
	all[p->n_frames] =
	    (struct ck_seek_frame){ (uint32_t)(packed.len + CK_SKIPPABLE_HEADER), 0 };
	assert_int_equal(ck_seektable_write(out, all, p->n_frames + 1, NULL), 0);
}

/* Looks at everything in X as the filesystem does (the sanitizer watches). */
static void walk(const struct ck_index *x)
{
	CK_AUTO(ck_tree_freep) struct ck_tree *t = NULL;
	uint64_t sum = 0;

	for (size_t i = 0; i < x->n_xattrs; i++)
		sum += strlen(ck_index_bytes(x, x->xattrs[i].name));
	for (size_t i = 0; i < x->n_entries; i++) {
		const struct ck_entry *e = &x->entries[i];
		sum += strlen(ck_index_bytes(x, e->path)) + strlen(ck_index_bytes(x, e->link));
		for (uint32_t k = 0; k < e->n_extents; k++)
			sum += x->extents[e->first_extent + k].len;
		for (uint32_t k = 0; k < e->n_xattrs; k++)
			sum += x->xattrs[e->first_xattr + k].value.len;
	}
	assert_true(sum < UINT64_MAX);
	for (int view = 0; view < 2; view++) {
		int rc =
		    ck_tree_build(&t, &x, 1, view ? CK_WHITEOUTS_SHOW : CK_WHITEOUTS_APPLY, NULL);
		assert_int_equal(rc == 0, t != NULL);
		ck_tree_free(ck_take(t));
	}
}

/* Numbers at the edges of what 4 and 8 bytes hold. */
static const uint64_t lies[] = {
	0x7ffffffe,	    0x7fffffff,		0x80000000,	    0x80000001,
	0xfffffffe,	    0xffffffff, /* the ones up to here fit in 4 bytes */
	0x100000000,	    0x100000001,	0x7ffffffffffffffe, 0x7fffffffffffffff,
	0x8000000000000000, 0x8000000000000001, 0xfffffffffffffffe, 0xffffffffffffffff,
};
enum { N_SHORT_LIES = 6 };

/* Every number of an embedded index, forged by who can seal it. */
static void test_numbers(void **state)
{
	struct mk_sealed f;
	struct parts p;
	size_t n_refused = 0, n_taken = 0, n_failed = 0;
	(void)state;
	make(&f, 2, 270000);
	take_apart(&p, &f);
	for (size_t i = 0; i < p.index.len / 4 * (N_SHORT_LIES + N_OF(lies)); i++) {
		size_t at = i / (N_SHORT_LIES + N_OF(lies)) * 4;
		size_t k = i % (N_SHORT_LIES + N_OF(lies)), width = k < N_SHORT_LIES ? 4 : 8;
		CK_BUF forged = { 0 }, plain = { 0 };
		CK_AUTO(ck_reader_closep) struct ck_reader *r = NULL;
		struct ck_pass_result what = { 0 };
		struct ck_err err = { 0 };
		if (width == 8 && (at % 8 || at + 8 > p.index.len))
			continue;
		assert_works(ck_buf_add(&forged, p.index.data, p.index.len, &err), &err);
		memcpy(forged.data + at, &lies[width == 4 ? k : k - N_SHORT_LIES], width);
		put_together(&plain, &p, forged.data, forged.len);
		assert_works(ck_reader_open_mem(&r, plain.data, plain.len, &err), &err);
		int rc = ck_embedded_read(&what, r, 0, f.spec.diff_id, &err);
		if (rc < 0) {
			assert_int_equal(rc, -EBADMSG);
			n_refused++;
			continue;
		}
		walk(&what.index);
		ck_pass_result_free(&what);
		mk_reseal(&f, plain.data, plain.len);
		assert_works(try_layer(&f, NULL, NULL, &n_failed, &err), &err);
		n_taken++;
	}
	/* Owners, times and modes may be anything; what leads to bytes may not. */
	if (n_refused < 2 * n_taken || n_taken < 100)
		fail_msg("%zu refused, %zu taken, %zu reads failed", n_refused, n_taken, n_failed);
	parts_free(&p);
	mk_sealed_free(&f);
}

/* Every number of the seek table: then the stream is read whole, or it is malformed. */
static void test_seek_table(void **state)
{
	struct mk_sealed f;
	struct parts p;
	size_t n_failed = 0;
	(void)state;
	make(&f, 2, 270000);
	take_apart(&p, &f);
	size_t start =
	    p.plain.len - CK_SKIPPABLE_HEADER - (p.n_frames + 1) * 8 - CK_SEEKTABLE_FOOTER;
	for (size_t at = start; at + 4 <= p.plain.len; at++) {
		for (size_t k = 0; k < N_SHORT_LIES + 2; k++) {
			CK_BUF plain = { 0 };
			struct ck_err err = { 0 };
			uint32_t lie = k < N_SHORT_LIES ? (uint32_t)lies[k] : (uint32_t)k & 1;
			assert_works(ck_buf_add(&plain, p.plain.data, p.plain.len, &err), &err);
			memcpy(plain.data + at, &lie, sizeof lie);
			mk_reseal(&f, plain.data, plain.len);
			int rc = try_layer(&f, NULL, NULL, &n_failed, &err);
			if (rc < 0)
				assert_fails(rc, -EBADMSG, &err, "zstd: ");
		}
	}
	assert_int_equal(n_failed, 0);
	parts_free(&p);
	mk_sealed_free(&f);
}

/* No index that can be used: all of the layer is read, and right. The stream damaged too: the
 * chunk is named. */
static void test_fallback(void **state)
{
	struct mk_sealed f;
	struct parts p;
	struct ck_err err = { 0 };
	size_t n_failed = 0;
	bool passed;
	(void)state;
	make(&f, 3, 300000);
	take_apart(&p, &f);
	assert_works(try_layer(&f, NULL, &passed, &n_failed, &err), &err);
	assert_false(passed);
	for (size_t at = (size_t)f.index_off; at < p.plain.len; at += 37) {
		p.plain.data[at] ^= 0xff;
		mk_reseal(&f, p.plain.data, p.plain.len);
		int rc = try_layer(&f, NULL, &passed, &n_failed, &err);
		if (rc < 0)
			assert_fails(rc, -EBADMSG, &err, "zstd: ");
		p.plain.data[at] ^= 0xff;
	}
	memset(p.plain.data + f.index_off, 0x55, 100);
	mk_reseal(&f, p.plain.data, p.plain.len);
	assert_works(try_layer(&f, NULL, &passed, &n_failed, &err), &err);
	assert_true(passed);
	assert_int_equal(n_failed, 0);
	for (uint64_t i = 0; i < f.blob.len / CK_CHUNK_SEALED; i++) {
		char text[64];
		snprintf(text, sizeof text, "chunk %zu is not authentic", (size_t)i);
		f.blob.data[CK_CHUNKED_HEADER + i * CK_CHUNK_SEALED + 999] ^= 1;
		mk_redigest(&f);
		assert_fails(try_layer(&f, NULL, &passed, &n_failed, &err), -EBADMSG, &err, text);
		f.blob.data[CK_CHUNKED_HEADER + i * CK_CHUNK_SEALED + 999] ^= 1;
	}
	parts_free(&p);
	mk_sealed_free(&f);
}

static int to_buf(void *ctx, const void *p, size_t nbytes, struct ck_err *err)
{
	return ck_buf_add(ctx, p, nbytes, err);
}

/* Who reads all of F's layer, or seals its zstd stream as it is, sees that its index lies. */
static void found_in_full(struct mk_sealed *f, const struct ck_buf *plain, const char *text)
{
	CK_AUTO(ck_reader_closep) struct ck_reader *r = NULL;
	CK_BUF out = { 0 };
	const struct ck_sink sink = { to_buf, &out };
	const struct ck_conversion keep = { .key = &f->key, .media_type = MK_ZSTD_TYPE };
	struct ck_layer_spec spec = mk_spec(plain, &f->tar, NULL);
	struct ck_converted made;
	struct ck_err err = { 0 };
	size_t n_failed = 0;

	f->spec.full = true;
	assert_fails(try_layer(f, NULL, NULL, &n_failed, &err), -EBADMSG, &err, text);
	f->spec.full = false;
	assert_works(ck_reader_open_mem(&r, plain->data, plain->len, &err), &err);
	assert_fails(ck_convert(&made, &spec, r, &keep, &sink, NULL, NULL, &err), -EBADMSG, &err,
		     text);
}

/* The index of another stream: refused by its diff_id; with that changed to fit, it may be
 * taken, but not by who looks at all of it. */
static void test_other_stream(void **state)
{
	struct mk_sealed f, g;
	struct parts p, q;
	struct ck_err err = { 0 };
	CK_BUF plain = { 0 };
	size_t n_failed = 0;
	bool passed;
	(void)state;
	make(&f, 3, 300000);
	make(&g, 2, 290000);
	take_apart(&p, &f);
	take_apart(&q, &g);
	put_together(&plain, &p, q.index.data, q.index.len);
	mk_reseal(&f, plain.data, plain.len);
	assert_works(try_layer(&f, NULL, &passed, &n_failed, &err), &err);
	assert_true(passed);
	assert_int_equal(n_failed, 0);
	found_in_full(&f, &plain, "diff_id check");
	uint8_t *at = memmem(q.index.data, q.index.len, g.spec.diff_id, 32);
	memcpy(at, f.spec.diff_id, 32);
	plain.len = 0;
	put_together(&plain, &p, q.index.data, q.index.len);
	mk_reseal(&f, plain.data, plain.len);
	assert_works(try_layer(&f, NULL, &passed, &n_failed, &err), &err);
	assert_false(passed);
	found_in_full(&f, &plain, "own index is not that of its tar stream");
	parts_free(&p);
	parts_free(&q);
	mk_sealed_free(&f);
	mk_sealed_free(&g);
}

/* Appends the stream of P with, before its frame AT, another one that says something else,
 * hidden in a skippable frame. Gives how long that is. */
static size_t hide(struct ck_buf *out, const struct mk_sealed *f, const struct parts *p,
		   const struct ck_units *u, uint32_t at)
{
	CK_BUF other = { 0 }, packed = { 0 };
	size_t in_off = (size_t)u->points[at].in_off, off = (size_t)u->units[at].out_off;

	assert_int_equal(ck_buf_add(&other, f->tar.data + off, ck_units_end(u, at) - off, NULL), 0);
	other.data[other.len / 2] ^= 1;
	mk_zstd(&packed, other.data, other.len, 1);
	assert_int_equal(ck_buf_add(out, p->plain.data, in_off, NULL), 0);
	mk_skippable(out, 0, packed.data, packed.len);
	assert_int_equal(ck_buf_add(out, p->plain.data + in_off, p->stream_len - in_off, NULL), 0);
	return packed.len + CK_SKIPPABLE_HEADER;
}

/*
 * Another tar stream's frame, in a skippable one that who reads the whole stream passes over;
 * one of the index's units leads into it. Who mounts would see another file than who verifies.
 */
static void test_hidden_frame(void **state)
{
	struct mk_sealed f;
	struct parts p;
	struct ck_pass_result what;
	struct ck_seek_frame frames[64];
	struct ck_err err = { 0 };
	uint64_t index_len;
	size_t n_failed = 0;
	(void)state;
	make(&f, 3, 300000);
	take_apart(&p, &f);
	for (uint32_t at = 0; at < p.n_frames; at++) {
		CK_BUF plain = { 0 };
		CK_AUTO(ck_reader_closep) struct ck_reader *r = NULL;
		assert_works(ck_reader_open_mem(&r, p.plain.data, p.plain.len, &err), &err);
		assert_works(ck_embedded_read(&what, r, 0, f.spec.diff_id, &err), &err);
		size_t shift = hide(&plain, &f, &p, &what.units, at);
		for (size_t i = at; i < what.units.n_points; i++)
			what.units.points[i].in_off += shift;
		size_t stream_len = plain.len;
		size_t n_frames = mk_frames(frames, N_OF(frames), plain.data, plain.len);
		for (int lying = 0; lying < 2; lying++) {
			plain.len = stream_len;
			if (lying)
				what.units.points[at].in_off -= shift - CK_SKIPPABLE_HEADER;
			assert_works(ck_embedded_write(&plain, &what, f.spec.diff_id, frames,
						       n_frames, &index_len, &err),
				     &err);
			f.spec.index_off = stream_len + CK_SKIPPABLE_HEADER;
			mk_reseal(&f, plain.data, plain.len);
			f.spec.full = true;
			if (!lying)
				assert_works(try_layer(&f, NULL, NULL, &n_failed, &err), &err);
		}
		found_in_full(&f, &plain, "own index is not that of its tar stream");
		ck_pass_result_free(&what);
	}
	parts_free(&p);
	mk_sealed_free(&f);
}

/* Numbers that lie within their tables, all of them, and would have us walk for days, or look
 * where nobody checked. */
static void test_shared(void **state)
{
	enum { N = 300000, LONG = 3000 };
	struct ck_entry *e = calloc(N, sizeof *e);
	struct ck_extent *t = calloc(N, sizeof *t);
	struct ck_xattr *a = calloc(N, sizeof *a), wild = { { UINT32_MAX, 1 }, { 0, 0 } };
	char *heap = calloc(1, N);
	const struct ck_index x = { .entries = e,
				    .n_entries = N,
				    .extents = t,
				    .n_extents = N,
				    .xattrs = a,
				    .n_xattrs = N,
				    .heap = heap,
				    .heap_len = N };
	struct ck_index alone = x, unused = x;
	struct ck_err err = { 0 };
	(void)state;
	memset(heap + 1, 'a', LONG);
	for (uint32_t i = 0; i < N; i++)
		e[i] = (struct ck_entry){ .mode = S_IFREG, .seq = i };
	assert_works(ck_index_check(&x, 0, &err), &err);
	for (uint32_t i = 0; i < N; i++)
		e[i].n_extents = N;
	assert_fails(ck_index_check(&x, 0, &err), -EBADMSG, &err, "entry 1 ");
	for (uint32_t i = 0; i < N; i++)
		e[i] = (struct ck_entry){ .mode = S_IFREG, .seq = i, .n_xattrs = N };
	assert_fails(ck_index_check(&x, 0, &err), -EBADMSG, &err, "entry 1 ");
	for (uint32_t i = 0; i < N; i++)
		e[i] = (struct ck_entry){ .mode = S_IFREG, .seq = i, .path = { 1, LONG } };
	assert_fails(ck_index_check(&x, 0, &err), -EBADMSG, &err, "entry 100 ");
	for (uint32_t i = 0; i < N; i++)
		a[i].value = (struct ck_span){ 1, LONG };
	assert_fails(ck_index_check(&x, 0, &err), -EBADMSG, &err, "attribute 100 ");
	for (uint32_t i = 0; i < N; i++) /* up to the heap's end, where no NUL follows */
		e[i] = (struct ck_entry){ .mode = S_IFREG, .seq = i, .path = { 0, N } };
	alone.n_xattrs = 0;
	assert_fails(ck_index_check(&alone, 0, &err), -EBADMSG, &err, "entry 0 ");
	/* An attribute that no entry has is looked at too, when a mount asks for ACLs. */
	alone.n_entries = unused.n_entries = 0;
	alone.n_xattrs = unused.n_xattrs = 1;
	assert_works(ck_index_check(&alone, 0, &err), &err);
	unused.xattrs = &wild;
	assert_fails(ck_index_check(&unused, 0, &err), -EBADMSG, &err, "attribute 0 ");
	wild = (struct ck_xattr){ { 1, 0 }, { 0, 0 } }; /* shorter than it is */
	assert_fails(ck_index_check(&unused, 0, &err), -EBADMSG, &err, "attribute 0 ");
	free(e);
	free(t);
	free(a);
	free(heap);
}

/* Extents of a file of 100 bytes, in a tar stream of 1000. */
static void test_extents(void **state)
{
	static const struct {
		const char *why;
		struct ck_extent x[2];
		bool good;
	} rows[] = {
		{ "one", { { 0, 900, 100 } }, true },
		{ "with a hole", { { 0, 10, 5 }, { 60, 10, 40 } }, true },
		{ "side by side", { { 0, 10, 50 }, { 50, 60, 50 } }, true },
		{ "behind the tar's end", { { 0, 901, 100 } }, false },
		{ "behind it with no byte", { { 0, 1001, 0 } }, false },
		{ "offset wraps", { { 0, UINT64_MAX - 50, 100 } }, false },
		{ "behind the file's end", { { 50, 0, 51 } }, false },
		{ "file offset behind it", { { 101, 0, 0 } }, false },
		{ "length wraps", { { 50, 0, UINT64_MAX - 20 } }, false },
		{ "overlap", { { 0, 10, 50 }, { 49, 60, 50 } }, false },
		{ "backwards", { { 50, 10, 50 }, { 0, 60, 50 } }, false },
	};
	struct ck_entry e = { .mode = S_IFREG, .size = 100 };
	struct ck_index x = { .entries = &e, .n_entries = 1, .n_extents = 2, .heap_len = 1 };
	(void)state;
	x.heap = "";
	for (size_t i = 0; i < N_OF(rows); i++) {
		x.extents = rows[i].x;
		e.n_extents = rows[i].x[1].len ? 2 : 1;
		if (ck_index_check(&x, 1000, NULL) != (rows[i].good ? 0 : -EBADMSG))
			fail_msg("%s", rows[i].why);
	}
	/* Ranges of the tables that pass their ends. */
	for (uint32_t first = 0; first < 4; first++) {
		static const struct ck_xattr attributes[2];
		x.extents = rows[1].x;
		x.xattrs = attributes;
		x.n_xattrs = 2;
		for (uint32_t n = 0; n < 4; n++) {
			int want = first + n <= 2 ? 0 : -EBADMSG;
			e = (struct ck_entry){ .mode = S_IFREG,
					       .first_xattr = first,
					       .n_xattrs = n };
			assert_int_equal(ck_index_check(&x, 1000, NULL), want);
			e = (struct ck_entry){
				.mode = S_IFREG, .size = 100, .first_extent = first, .n_extents = n
			};
			assert_int_equal(ck_index_check(&x, 1000, NULL), want);
		}
	}
}

static void test_units(void **state)
{
	static const struct {
		const char *why;
		uint32_t point[3];   /* of the units, which begin at 0, 10 and 20 */
		uint64_t out_off[3]; /* of the points */
		bool good;
	} rows[] = {
		{ "each its own", { 0, 1, 2 }, { 0, 10, 20 }, true },
		{ "all from one point", { 0, 0, 0 }, { 0, 10, 20 }, true },
		{ "one more from the first", { 0, 0, 2 }, { 0, 10, 20 }, true },
		{ "back to a point passed", { 0, 1, 0 }, { 0, 10, 20 }, false },
		{ "first not at its point", { 1, 1, 2 }, { 0, 10, 20 }, false },
		{ "a new point that lies behind", { 0, 1, 2 }, { 0, 10, 21 }, false },
		{ "a new point that lies before", { 0, 1, 2 }, { 0, 10, 19 }, false },
		{ "all points at the start", { 0, 1, 2 }, { 0, 0, 0 }, false },
		{ "no such point", { 0, 1, 3 }, { 0, 10, 20 }, false },
	};
	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		struct ck_point points[3] = { 0 };
		struct ck_unit_start starts[3];
		for (size_t k = 0; k < 3; k++) {
			points[k].out_off = rows[i].out_off[k];
			starts[k] = (struct ck_unit_start){ k * 10, rows[i].point[k] };
		}
		const struct ck_units u = { .compression = CK_COMPRESSION_ZSTD,
					    .len = 30,
					    .points = points,
					    .n_points = 3,
					    .units = starts,
					    .n_units = 3 };
		if (ck_units_check(&u, NULL) != (rows[i].good ? 0 : -EBADMSG))
			fail_msg("%s", rows[i].why);
	}
	/* A point, alone in 30 bytes that were 20, with 5 bytes of windows. */
	static const struct {
		struct ck_point p;
		bool good;
	} points[] = {
		{ { 0, 20, 0, 5, 7, 1 }, true },   { { 0, 21, 0, 5, 7, 1 }, false },
		{ { 0, 20, 1, 5, 7, 1 }, false },  { { 0, 20, 6, 0, 7, 1 }, false },
		{ { 0, 20, 0, 5, 8, 1 }, false },  { { 0, 20, 0, 5, 7, 2 }, false },
		{ { 31, 20, 0, 5, 7, 1 }, false }, { { 0, 20, UINT64_MAX, 1, 7, 1 }, false },
	};
	for (size_t i = 0; i < N_OF(points); i++) {
		struct ck_point p = points[i].p;
		struct ck_unit_start start = { 0, 0 };
		const struct ck_units u = { .len = 30,
					    .in_len = 20,
					    .points = &p,
					    .n_points = 1,
					    .units = &start,
					    .n_units = 1,
					    .windows_len = 5 };
		assert_int_equal(ck_units_check(&u, NULL), points[i].good ? 0 : -EBADMSG);
	}
}

/* The bits of a seek table's descriptor: reserved ones announce what we do not know. */
static void test_descriptor(void **state)
{
	CK_BUF table = { 0 };
	const struct ck_seek_frame frames[2] = { { 5, 6 }, { 7, 8 } };
	struct ck_seek_frame last;
	struct ck_err err = { 0 };
	(void)state;
	assert_works(ck_seektable_write(&table, frames, 2, &err), &err);
	uint8_t *footer = table.data + table.len - CK_SEEKTABLE_FOOTER;
	assert_works(ck_seektable_last(&last, table.data, table.len, 12, &err), &err);
	assert_memory_equal(&last, &frames[1], sizeof last);
	for (unsigned d = 0; d < 256; d++) {
		footer[4] = (uint8_t)d;
		uint64_t want = d & 0x7c ? 0 : d & 0x80 ? table.len + 8 : table.len;
		assert_int_equal(ck_seektable_len(footer), want);
	}
}

/* Zeros that count. */
static ssize_t zeros_pread(void *ctx, void *buf, size_t nbytes, uint64_t off, struct ck_err *err)
{
	(void)off, (void)err;
	*(uint64_t *)ctx += nbytes;
	memset(buf, 0, nbytes);
	return (ssize_t)nbytes;
}

/* An annotation says where the index is, and anybody can write it: it costs little. */
static void test_hint(void **state)
{
	static const struct ck_reader_ops ops = { .pread = zeros_pread };
	static const uint64_t len = (uint64_t)900 << 20;
	static const uint64_t hints[] = { 1, 8, 4096, len / 2, len - 1, len, len + 1, UINT64_MAX };
	static const uint8_t diff_id[32];
	(void)state;
	for (size_t i = 0; i < N_OF(hints); i++) {
		CK_AUTO(ck_reader_closep) struct ck_reader *r = NULL;
		struct ck_pass_result what;
		struct ck_err err = { 0 };
		uint64_t nbytes = 0;
		assert_works(ck_reader_open(&r, &ops, &nbytes, len, &err), &err);
		assert_fails(ck_embedded_read(&what, r, hints[i], diff_id, &err), -ENOENT, &err,
			     "no seek table");
		assert_true(nbytes <= 1 << 20);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),	     cmocka_unit_test(test_seek_table),
		cmocka_unit_test(test_fallback),     cmocka_unit_test(test_other_stream),
		cmocka_unit_test(test_hidden_frame), cmocka_unit_test(test_shared),
		cmocka_unit_test(test_units),	     cmocka_unit_test(test_extents),
		cmocka_unit_test(test_descriptor),   cmocka_unit_test(test_hint),
	};
	struct ck_err err;
	ck_log_init("test", CK_LOG_ERROR);
	if (ck_secret_init(&err) < 0 || ck_unitcache_open(&cache, 8 << 20, &err) < 0)
		return 1;
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	ck_unitcache_close(cache);
	return rc;
}
