/* blobcache: what goes when there is no room, and what is small. */
#include <errno.h>
#include <sys/syscall.h>
#include <time.h>

#include "fs/cache/evict.h"
#include "fs/cache/indexstore.h"
#include "tests/unit/test_blobcache_stand.h"

/* What the disk does when a hole is punched. */
static enum { PUNCH, CANNOT, FOR_NOTHING } punching;

int fallocate(int fd, int mode, off_t off, off_t len)
{
	if (punching == CANNOT) {
		errno = EOPNOTSUPP;
		return -1;
	}
	return punching == FOR_NOTHING ? 0 : (int)syscall(SYS_fallocate, fd, mode, off, len);
}

/* Sets when a block was used last: so many seconds ago. */
static void age_block(struct ck_cached_blob *b, uint64_t idx, double seconds)
{
	uint32_t used = ck_cache_now() - (uint32_t)(int64_t)(seconds * CK_TICKS);

	assert_int_equal(
	    pwrite(b->fd, &used, 4, (off_t)(b->file.head + CK_BLOBFILE_HEADER + idx * 8 + 4)), 4);
}

static uint32_t used_of(struct ck_cached_blob *b, uint64_t idx)
{
	struct ck_blobfile_word w;

	ck_blobfile_words(&b->file, b->fd, idx, 1, &w);
	return w.used;
}

static void save(struct ck_blobcache *c, const char *kind, uint32_t name, size_t nbytes)
{
	uint8_t *p = calloc(1, nbytes), digest[CK_SHA256_LEN];
	struct ck_err err = { 0 };

	digest_of(digest, name);
	assert_works(ck_blobcache_save(c, kind, digest, p, nbytes, &err), &err);
	free(p);
}

static int load(struct ck_blobcache *c, const char *kind, uint32_t name, struct ck_buf *out,
		struct ck_err *err)
{
	uint8_t digest[CK_SHA256_LEN];

	digest_of(digest, name);
	return ck_blobcache_load(c, kind, digest, out, err);
}

static bool is_small_there(struct ck_blobcache *c, const char *kind, uint32_t name)
{
	struct ck_err err = { 0 };
	CK_BUF out = { 0 };

	return load(c, kind, name, &out, &err) == 0;
}

static void age_file(const char *path, time_t seconds)
{
	const struct timespec t[2] = { { .tv_nsec = UTIME_OMIT }, { time(NULL) - seconds, 0 } };

	assert_int_equal(utimensat(AT_FDCWD, path, t, 0), 0);
}

static void prune(struct ck_blobcache *c, uint64_t goal)
{
	struct ck_cache_pruned p;
	struct ck_err err = { 0 };

	assert_works(ck_blobcache_prune(&p, c, goal, false, &err), &err);
	assert_true(p.after <= goal);
}

/* The oldest first, over all blobs and small files, whatever order they lie in. */
static void test_order(void **state)
{
	enum { N = 1100 }; /* more than a look at the map takes */
	struct stand s;
	(void)state;
	stand_up(&s, (uint64_t)1 << 30);
	struct ck_cached_blob *a = open_blob(s.c, 1, N * BLOCK), *b = open_blob(s.c, 2, N * BLOCK);
	put_all(a, 1);
	put_all(b, 2);
	/* Of A block I is I * 40 s old, of B (N - 1 - I) * 40 + 20 s: up to half a day, which is
	 * more than one upper half of the time. */
	for (uint64_t i = 0; i < N; i++) {
		age_block(a, i, (double)i * 40);
		age_block(b, i, (double)(N - 1 - i) * 40 + 20);
	}
	save(s.c, "doc", 1, 100000);
	age_file(path_of(s.dir, "doc", 1), 800 * 40 + 10); /* of an age with blocks 800 */
	save(s.c, "doc", 2, 100000);
	age_file(path_of(s.dir, "doc", 2), 400 * 40 + 10);
	for (uint64_t keep = 900; keep > 700; keep -= 100) {
		prune(s.c, 2 * keep * BLOCK + 200000);
		uint64_t in_a = ck_cached_blob_bytes(a) / BLOCK,
			 in_b = ck_cached_blob_bytes(b) / BLOCK;
		assert_in_range(in_a, keep - 6, keep + 2);
		assert_in_range(in_b, keep - 6, keep + 2);
		for (uint64_t i = 0; i < N; i++) {
			assert_int_equal(has(a, i), i < in_a);
			assert_int_equal(has(b, i), N - 1 - i < in_b);
		}
		assert_int_equal(access(path_of(s.dir, "doc", 1), F_OK) == 0, keep == 900);
	}
	assert_true(is_small_there(s.c, "doc", 2));
	assert_int_equal(look(a, 1, 0), 1);
	assert_int_equal(look(b, 2, N - 1), 1);
	ck_cached_blob_close(a);
	ck_cached_blob_close(b);
	stand_down(&s);
}

/* What a wrong clock put into the future is no longer the newest; nor what is older than can be
 * told, blocks and small files. */
static void test_wrong_clock(void **state)
{
	static const double oldest[] = { -3600, -400 * 86400.0, 389 * 86400.0 };
	struct stand s;
	(void)state;
	stand_up(&s, 0);
	struct ck_cached_blob *b = open_blob(s.c, 1, 6 * BLOCK);
	put_all(b, 1);
	for (uint64_t i = 0; i < 6; i++)
		age_block(b, i, i < 3 ? oldest[i] : 300 * 86400.0 + (double)i);
	save(s.c, "doc", 1, 30000);
	age_file(path_of(s.dir, "doc", 1), -86400);
	save(s.c, "doc", 2, 30000);
	age_file(path_of(s.dir, "doc", 2), 3000 * 86400L);
	prune(s.c, 4 * BLOCK);
	for (uint64_t i = 0; i < 6; i++)
		assert_int_equal(has(b, i), i >= 3);
	assert_int_equal(access(path_of(s.dir, "doc", 1), F_OK), -1);
	assert_int_equal(access(path_of(s.dir, "doc", 2), F_OK), -1);
	ck_cached_blob_close(b);
	stand_down(&s);
}

/* Use makes young, but is not written down each time. */
static void test_touch(void **state)
{
	struct stat st;
	struct stand s;
	(void)state;
	stand_up(&s, 0);
	struct ck_cached_blob *b = open_blob(s.c, 1, 4 * BLOCK);
	put_all(b, 1);
	for (int future = 0; future < 2; future++) {
		age_block(b, 0, future ? -7200 : 7200);
		age_block(b, 1, 50);
		uint32_t fresh = used_of(b, 1), now = ck_cache_now();
		assert_int_equal(count_right(b, 1), 4);
		assert_true(used_of(b, 0) - now < 10 * CK_TICKS);
		assert_int_equal(used_of(b, 1), fresh);
	}
	save(s.c, "doc", 1, 10);
	for (int i = 0; i < 3; i++) {
		static const time_t ages[] = { 7200, -7200, 50 };
		age_file(path_of(s.dir, "doc", 1), ages[i]);
		assert_true(is_small_there(s.c, "doc", 1));
		assert_int_equal(stat(path_of(s.dir, "doc", 1), &st), 0);
		assert_in_range(time(NULL) - st.st_mtime, i == 2 ? 50 : 0, i == 2 ? 60 : 10);
	}
	ck_cached_blob_close(b);
	stand_down(&s);
}

/* Twice as much as there is room for: never more than the limit, and the newest stay. */
static void write_past(const char *dir, struct ck_blobcache *c, uint64_t limit)
{
	enum { N_BLOBS = 8 };
	uint64_t each = limit / BLOCK / 4;
	struct ck_cached_blob *b[N_BLOBS];

	for (uint32_t i = 0; i < N_BLOBS; i++) {
		b[i] = open_blob(c, i, each * BLOCK);
		for (uint64_t k = 0; k < each; k++) {
			put(b[i], i, k);
			assert_int_equal(look(b[i], i, k), 1);
			if (dir)
				assert_true(disk_under(dir) <= limit);
		}
		/* What was there before is a minute older. */
		for (uint32_t j = 0; j <= i; j++)
			for (uint64_t k = 0; k < each; k++)
				if (has(b[j], k))
					age_block(b[j], k, 30 + 60 * (i - j));
	}
	struct ck_cache_items items;
	struct ck_err err = { 0 };
	assert_works(ck_blobcache_list(&items, c, &err), &err);
	assert_in_range(items.disk, limit / 4 * 3, limit);
	ck_cache_items_free(&items);
	for (uint32_t i = 0; i < N_BLOBS; i++) {
		uint64_t n = count_right(b[i], i);
		if (punching == PUNCH)
			assert_true(i < 4 ? n < each : i > 4 ? n == each : true);
		ck_cached_blob_close(b[i]);
	}
}

static void test_bound(void **state)
{
	static const uint64_t limits[] = { 2 << 20, 16 << 20, 40 << 20 };
	struct stand s;
	(void)state;
	for (size_t i = 0; i < N_OF(limits); i++) {
		stand_up(&s, limits[i]);
		write_past(i < 2 ? s.dir : NULL, s.c, limits[i]);
		stand_down(&s);
		struct ck_blobcache *memory = open_cache(NULL, limits[i]);
		write_past(NULL, memory, limits[i]);
		ck_blobcache_close(memory);
	}
}

/* Small files count, and go. */
static void test_bound_small(void **state)
{
	const uint64_t limit = 1 << 20;
	struct stand s;
	(void)state;
	stand_up(&s, limit);
	for (uint32_t i = 0; i < 400; i++) {
		save(s.c, "index", i, 5000);
		age_file(path_of(s.dir, "index", i), 30);
		assert_true(is_small_there(s.c, "index", i));
		assert_true(disk_under(s.dir) <= limit);
	}
	assert_true(disk_under(s.dir) > limit / 2);
	assert_true(is_small_there(s.c, "index", 399));
	stand_down(&s);
}

/* Nothing at all has room: no error, and nothing stays. */
static void test_no_room(void **state)
{
	struct stand s;
	(void)state;
	stand_up(&s, 20000);
	struct ck_cached_blob *b = open_blob(s.c, 1, 3 * BLOCK);
	put_all(b, 1);
	assert_int_equal(count_right(b, 1), 0);
	ck_cached_blob_close(b);
	stand_down(&s);
}

/* The bound is kept where holes cannot be punched, or give nothing back: whole files go, and those
 * that are in use become empty. */
static void test_whole_files(void **state)
{
	struct stand s;
	(void)state;
	for (punching = CANNOT; punching <= FOR_NOTHING; punching++) {
		stand_up(&s, 8 << 20);
		write_past(s.dir, s.c, 8 << 20);
		stand_down(&s);
	}
	for (punching = CANNOT; punching <= FOR_NOTHING; punching++) {
		stand_up(&s, 0);
		struct ck_cached_blob *used = open_blob(s.c, 1, 40 * BLOCK);
		struct ck_cached_blob *b = open_blob(s.c, 2, 40 * BLOCK);
		put_all(used, 1);
		put_all(b, 2);
		for (uint64_t i = 0; i < 40; i++) {
			age_block(used, i, 1000);
			age_block(b, i, i == 7 ? 0 : 2000); /* its newest counts */
		}
		ck_cached_blob_close(b);
		prune(s.c, 60 * BLOCK);
		b = open_blob(s.c, 2, 40 * BLOCK);
		assert_int_equal(count_right(used, 1), 0);
		assert_int_equal(count_right(b, 2) > 0, 1);
		put_all(used, 1);
		assert_int_equal(count_right(used, 1), 40);
		ck_cached_blob_close(b);
		ck_cached_blob_close(used);
		stand_down(&s);
	}
	punching = PUNCH;
}

/* A process was killed between a block and its word: its place is found when room is needed. */
static void test_sweep(void **state)
{
	const uint64_t map = 100 * BLOCK + CK_BLOBFILE_HEADER;
	static const uint8_t none[800];
	struct stand s;
	(void)state;
	stand_up(&s, 0);
	struct ck_cached_blob *b = open_blob(s.c, 1, 100 * BLOCK),
			      *c = open_blob(s.c, 2, 10 * BLOCK);
	put_all(b, 1);
	put_all(c, 2);
	age_block(b, 60, 100);
	int fd = open(path_of(s.dir, "blobs", 1), O_RDWR);
	assert_int_equal(pwrite(fd, none, 60 * 8, (off_t)map), 60 * 8);
	assert_int_equal(pwrite(fd, none, 39 * 8, (off_t)map + 61 * 8), 39 * 8);
	close(fd);
	prune(s.c, 90 * BLOCK);
	assert_true(disk_under(s.dir) < 14 * BLOCK);
	assert_int_equal(count_right(c, 2), 10);
	ck_cached_blob_close(b);
	ck_cached_blob_close(c);
	stand_down(&s);
}

/* Files go that hold nothing, unless somebody has them open: by this cache, by another one. */
static void test_unused(void **state)
{
	struct ck_err err = { 0 };
	struct ck_cache_pruned p;
	struct stand s;
	(void)state;
	stand_up(&s, 0);
	struct ck_blobcache *other = open_cache(s.dir, 0), *memory = open_cache(NULL, 0);
	for (int all = 0; all < 2; all++) {
		struct ck_cached_blob *b = open_blob(other, 1, 4 * BLOCK);
		struct ck_cached_blob *m = open_blob(memory, 1, 4 * BLOCK);
		put_all(b, 1);
		put_all(m, 1);
		save(s.c, "doc", 1, 10);
		assert_works(ck_blobcache_prune(&p, s.c, 0, all, &err), &err);
		assert_works(ck_blobcache_prune(&p, memory, 0, all, &err), &err);
		assert_int_equal(access(path_of(s.dir, "blobs", 1), F_OK), 0);
		assert_int_equal(access(path_of(s.dir, "doc", 1), F_OK), -1);
		assert_int_equal(count_right(b, 1), all ? 4 : 0);
		assert_int_equal(count_right(m, 1), all ? 4 : 0);
		ck_cached_blob_close(b);
		ck_cached_blob_close(m);
		assert_works(ck_blobcache_prune(&p, memory, 0, all, &err), &err);
		assert_int_equal(p.after, 0);
		assert_works(ck_blobcache_prune(&p, s.c, 0, all, &err), &err);
		assert_int_equal(p.after, 0);
		assert_int_equal(access(path_of(s.dir, "blobs", 1), F_OK), -1);
	}
	ck_blobcache_close(other);
	ck_blobcache_close(memory);
	stand_down(&s);
}

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
	assert_works(store.save(store.ctx, text, "new", 3, &err), &err);
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
	age_block(b, 0, 100);
	age_block(b, 4, 50);
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
	check_verdict(s.c, &(struct ck_cache_verdict){
			       .blobs = 2, .blocks = 5, .whole = 1, .files = 1, .unchecked = 1 });
	assert_int_equal(used_of(part, 3), used);
	/* A block, a blob whose blocks are all as they were put, a header, a small file. */
	assert_int_equal(pwrite(part->fd, &bad, 1, 5 * BLOCK + 3), 1);
	bytes[BLOCK] ^= 1;
	ck_cached_blob_put(good, 1, bytes + BLOCK);
	ck_cached_blob_close(open_blob(s.c, 3, 5));
	assert_int_equal(truncate(path_of(s.dir, "blobs", 3), 5), 0);
	assert_works(ck_blobcache_save(s.c, "doc", digest, "test", 4, &err), &err);
	check_verdict(s.c, &(struct ck_cache_verdict){ .blobs = 3,
						       .blocks = 5,
						       .whole = 1,
						       .bad_blobs = 2,
						       .bad_blocks = 1,
						       .files = 1,
						       .bad_files = 1,
						       .unchecked = 1 });
	check_verdict(s.c, &(struct ck_cache_verdict){ .blobs = 2, .blocks = 1, .unchecked = 1 });
	assert_int_equal(ck_cached_blob_bytes(good), 0);
	assert_int_equal(count_right(part, 1), 1);
	ck_cached_blob_close(good);
	ck_cached_blob_close(part);
	stand_down(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),	    cmocka_unit_test(test_wrong_clock),
		cmocka_unit_test(test_touch),	    cmocka_unit_test(test_bound),
		cmocka_unit_test(test_bound_small), cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_whole_files), cmocka_unit_test(test_sweep),
		cmocka_unit_test(test_unused),	    cmocka_unit_test(test_small),
		cmocka_unit_test(test_litter),	    cmocka_unit_test(test_old_indexes),
		cmocka_unit_test(test_list),	    cmocka_unit_test(test_verify),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
