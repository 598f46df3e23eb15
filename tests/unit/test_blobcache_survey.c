/* blobcache: small things, what its owner sees of it, and what he finds wrong. */
#include <errno.h>

#include "fs/cache/indexstore.h"
#include "tests/unit/test_blobcache_stand.h"

static void test_small(void **state)
{
	static const char *const bad[] = { "",	  "blobs",  "Doc", "../x",
					   "a/b", "sha256", "a.b", "seventeenletterss" };
	struct ck_err err = { 0 };
	struct stand s;
	struct stat st;
	(void)state;
	stand_up(&s, 0);
	struct ck_blobcache *memory = open_cache(NULL, 0);
	uint8_t digest[CK_SHA256_LEN];
	digest_of(digest, 1);
	for (size_t i = 0; i < N_OF(bad); i++) {
		CK_BUF out = { 0 };
		assert_fails(load(s.c, bad[i], 1, &out, &err), -EINVAL, &err, "no kind");
		assert_fails(ck_blobcache_save(s.c, bad[i], digest, "x", 1, &err), -EINVAL, &err,
			     "no kind");
	}
	for (int i = 0; i < 2; i++) {
		struct ck_blobcache *c = i ? memory : s.c;
		CK_BUF out = { .max = 7 };
		assert_fails(load(c, "doc", 1, &out, &err), -ENOENT, &err, "No such file");
		assert_works(ck_blobcache_save(c, "doc", digest, "old text", 8, &err), &err);
		assert_works(ck_blobcache_save(c, "doc", digest, "new", 3, &err), &err);
		assert_works(ck_buf_adds(&out, "and ", &err), &err);
		assert_works(load(c, "doc", 1, &out, &err), &err);
		assert_string_equal(ck_buf_str(&out), "and new");
		ck_buf_free(&out);
		assert_fails(load(c, "other", 1, &out, &err), -ENOENT, &err, "No such file");
		assert_works(ck_blobcache_save(c, "doc", digest, "12345678", 8, &err), &err);
		assert_fails(load(c, "doc", 1, &out, &err), -EFBIG, &err, "");
		assert_works(ck_blobcache_save(c, "doc", digest, "", 0, &err), &err);
		ck_buf_free(&out);
		assert_works(load(c, "doc", 1, &out, &err), &err);
		assert_int_equal(out.len, 0);
	}
	assert_int_equal(stat(path_of(s.dir, "doc", 1), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	ck_blobcache_close(memory);
	stand_down(&s);
}

static char *file_in(const struct stand *s, const char *name)
{
	static char path[200];

	snprintf(path, sizeof path, "%s/%s", s->dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_int_equal(write(fd, "sealed", 6), 6);
	close(fd);
	return path;
}

/* What killed processes left goes when it is old; all else in the directory is not ours. */
static void test_litter(void **state)
{
	static const char *const others[] = {
		"doc/notes",
		"doc/.tmp",
		"notes",
		"lock2",
		"doc/aabb",
		"Doc/x",
		"doc/0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef"
	};
	char path[200];
	struct stand s;
	(void)state;
	stand_up(&s, 0);
	save(s.c, "doc", 1, 10);
	snprintf(path, sizeof path, "%s/Doc", s.dir);
	assert_int_equal(mkdir(path, 0700), 0);
	for (size_t i = 0; i < N_OF(others); i++)
		age_file(file_in(&s, others[i]), 7200);
	age_file(file_in(&s, "doc/.tmp-0123456789abcdef"), 3500);
	age_file(file_in(&s, "doc/.tmp-0123456789abcdee"), 3700);
	prune(s.c, 0 + 4096);
	snprintf(path, sizeof path, "%s/doc/.tmp-0123456789abcdef", s.dir);
	assert_int_equal(access(path, F_OK), 0);
	snprintf(path, sizeof path, "%s/doc/.tmp-0123456789abcdee", s.dir);
	assert_int_equal(access(path, F_OK), -1);
	for (size_t i = 0; i < N_OF(others); i++) {
		snprintf(path, sizeof path, "%s/%s", s.dir, others[i]);
		assert_int_equal(access(path, F_OK), 0);
	}
	stand_down(&s);
}

/* Indexes of versions before the cache are taken over. */
static void test_old_indexes(void **state)
{
	uint8_t digest[CK_SHA256_LEN];
	char name[100], hex[CK_PLACE_HEX], text[CK_DIGEST_STR];
	struct ck_err err = { 0 };
	struct stand s;
	CK_BUF out = { 0 };
	(void)state;
	stand_up(&s, 0);
	ck_blobcache_close(s.c);
	digest_of(digest, 7);
	ck_hex(hex, digest, sizeof digest);
	ck_digest_str(text, digest);
	snprintf(name, sizeof name, "sha256-%s.index", hex);
	(void)file_in(&s, name);
	(void)file_in(&s, "sha256-0123.index");
	s.c = open_cache(s.dir, 0);
	struct ck_index_store store = ck_blobcache_indexes(s.c);
	assert_works(store.load(store.ctx, text, &out, &err), &err);
	assert_string_equal(ck_buf_str(&out), "sealed");
	assert_int_equal(access(path_of(s.dir, "index", 7), F_OK), 0);
	assert_fails(store.load(store.ctx, "sha256:../../etc/passwd", &out, &err), -EBADMSG, &err,
		     "digest");
	assert_works(store.save(store.ctx, text, "new", 3, NULL, &err), &err);
	ck_buf_free(&out);
	assert_works(store.load(store.ctx, text, &out, &err), &err);
	assert_string_equal(ck_buf_str(&out), "new");
	snprintf(name, sizeof name, "%s/sha256-0123.index", s.dir);
	assert_int_equal(access(name, F_OK), 0);
	stand_down(&s);
}

static const struct ck_cache_item *item(const struct ck_cache_items *l, const char *kind,
					uint32_t name)
{
	uint8_t digest[CK_SHA256_LEN];

	digest_of(digest, name);
	for (size_t i = 0; i < l->n; i++)
		if (strcmp(l->v[i].kind, kind) == 0 &&
		    memcmp(l->v[i].digest, digest, sizeof digest) == 0)
			return &l->v[i];
	fail_msg("%s %u is not listed", kind, name);
	return NULL;
}

static void test_list(void **state)
{
	struct ck_cache_items l;
	struct ck_err err = { 0 };
	struct stand s;
	(void)state;
	stand_up(&s, 123456789);
	assert_int_equal(ck_blobcache_limit(s.c), 123456789);
	struct ck_cached_blob *b = open_blob(s.c, 1, 4 * BLOCK + 10);
	put(b, 1, 0);
	put(b, 1, 4);
	age_block(b, 0, 50);
	age_block(b, 4, 100);
	ck_cached_blob_close(open_blob(s.c, 2, 5));
	ck_cached_blob_close(open_blob(s.c, 3, 5));
	assert_int_equal(truncate(path_of(s.dir, "blobs", 3), 5), 0);
	save(s.c, "index", 9, 1000);
	assert_works(ck_blobcache_list(&l, s.c, &err), &err);
	assert_int_equal(l.n, 4);
	assert_int_equal(l.disk, disk_under(s.dir));
	const struct ck_cache_item *it = item(&l, "blobs", 1);
	assert_true(it->blob && !it->damaged && it->size == 4 * BLOCK + 10);
	assert_int_equal(it->there, BLOCK + 10);
	assert_in_range((uint64_t)time(NULL) - it->used, 49, 60);
	assert_true(it->disk >= BLOCK + 8192);
	it = item(&l, "blobs", 2);
	assert_true(it->size == 5 && it->there == 0 && it->used == 0 && !it->damaged);
	assert_true(item(&l, "blobs", 3)->damaged);
	it = item(&l, "index", 9);
	assert_true(!it->blob && it->size == 1000 && it->there == 1000 && it->disk == 4096);
	assert_true((uint64_t)time(NULL) - it->used < 10);
	ck_cache_items_free(&l);
	ck_cached_blob_close(b);
	stand_down(&s);
}

/* A blob whose bytes have its digest, unlike those of the stand. */
static struct ck_cached_blob *true_blob(struct ck_blobcache *c, const uint8_t *p, uint64_t size)
{
	struct ck_cached_blob *b = NULL;
	struct ck_err err = { 0 };
	uint8_t digest[CK_SHA256_LEN];

	ck_sha256(digest, p, size);
	assert_works(ck_cached_blob_open(&b, c, digest, size, &err), &err);
	for (uint64_t i = 0; i < b->file.n_blocks; i++)
		ck_cached_blob_put(b, i, p + i * BLOCK);
	return b;
}

static void check_verdict(struct ck_blobcache *c, const struct ck_cache_verdict *want)
{
	struct ck_cache_verdict got;
	struct ck_err err = { 0 };

	assert_works(ck_blobcache_verify(&got, c, &err), &err);
	assert_int_equal(got.blobs, want->blobs);
	assert_int_equal(got.blocks, want->blocks);
	assert_int_equal(got.whole, want->whole);
	assert_int_equal(got.bad_blobs, want->bad_blobs);
	assert_int_equal(got.bad_blocks, want->bad_blocks);
	assert_int_equal(got.files, want->files);
	assert_int_equal(got.bad_files, want->bad_files);
	assert_int_equal(got.unchecked, want->unchecked);
}

static void test_verify(void **state)
{
	enum { SIZE = 2 * BLOCK + 99 };
	static uint8_t bytes[SIZE];
	struct ck_err err = { 0 };
	uint8_t digest[CK_SHA256_LEN], bad = 0;
	struct stand s;
	(void)state;
	stand_up(&s, 0);
	block_of(bytes, 5, 5, SIZE - SIZE % 8);
	struct ck_cached_blob *good = true_blob(s.c, bytes, SIZE);
	struct ck_cached_blob *part = open_blob(s.c, 1, 8 * BLOCK);
	put(part, 1, 3);
	put(part, 1, 5);
	age_block(part, 3, 7777);
	uint32_t used = used_of(part, 3);
	ck_sha256(digest, "text", 4);
	assert_works(ck_blobcache_save(s.c, "doc", digest, "text", 4, &err), &err);
	save(s.c, "index", 1, 10);
	ck_cached_blob_close(open_blob(s.c, 8, 0));
	char doc[200], hex[CK_PLACE_HEX];
	ck_hex(hex, digest, sizeof digest);
	snprintf(doc, sizeof doc, "%s/doc/%s", s.dir, hex);
	age_file(doc, 7777);
	check_verdict(s.c, &(struct ck_cache_verdict){
			       .blobs = 3, .blocks = 5, .whole = 1, .files = 1, .unchecked = 1 });
	assert_int_equal(used_of(part, 3), used);
	struct stat st;
	assert_int_equal(stat(doc, &st), 0);
	assert_true(time(NULL) - st.st_mtime >= 7777);
	/* A block, a blob whose blocks are all as they were put, a header, a small file. */
	assert_int_equal(pwrite(part->fd, &bad, 1, 5 * BLOCK + 3), 1);
	bytes[BLOCK] ^= 1;
	ck_cached_blob_put(good, 1, bytes + BLOCK);
	ck_cached_blob_close(open_blob(s.c, 3, 5));
	assert_int_equal(truncate(path_of(s.dir, "blobs", 3), 5), 0);
	assert_works(ck_blobcache_save(s.c, "doc", digest, "test", 4, &err), &err);
	check_verdict(s.c, &(struct ck_cache_verdict){ .blobs = 4,
						       .blocks = 5,
						       .whole = 1,
						       .bad_blobs = 2,
						       .bad_blocks = 1,
						       .files = 1,
						       .bad_files = 1,
						       .unchecked = 1 });
	check_verdict(s.c, &(struct ck_cache_verdict){ .blobs = 3, .blocks = 1, .unchecked = 1 });
	assert_int_equal(ck_cached_blob_bytes(good), 0);
	assert_int_equal(count_right(part, 1), 1);
	ck_cached_blob_close(good);
	ck_cached_blob_close(part);
	stand_down(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_small),	    cmocka_unit_test(test_litter),
		cmocka_unit_test(test_old_indexes), cmocka_unit_test(test_list),
		cmocka_unit_test(test_verify),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
