/* blobcache: what goes when there is no room. */
#include <errno.h>
#include <sys/syscall.h>
#include <time.h>

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

/* Of those that are as old as each other, no more than needed. */
static void test_same_age(void **state)
{
	struct stand s;
	(void)state;
	stand_up(&s, 0);
	struct ck_cached_blob *b = open_blob(s.c, 1, 100 * BLOCK);
	put_all(b, 1);
	for (uint64_t i = 0; i < 100; i++)
		age_block(b, i, i < 10 ? 500 : i > 90 ? 100 : 300);
	prune(s.c, 60 * BLOCK);
	assert_in_range(ck_cached_blob_bytes(b), 56 * BLOCK, 60 * BLOCK);
	for (uint64_t i = 0; i < 100; i++)
		if (i < 10 || i > 90)
			assert_int_equal(has(b, i), i > 90);
	/* A file of which one block is left is no empty one. */
	ck_cached_blob_close(b);
	prune(s.c, BLOCK + 8192);
	b = open_blob(s.c, 1, 100 * BLOCK);
	assert_int_equal(count_right(b, 1), 1);
	ck_cached_blob_close(b);
	stand_down(&s);
}

/* Files that say nothing of their blobs are of no use. */
static void test_damaged(void **state)
{
	struct stand s;
	(void)state;
	stand_up(&s, 0);
	for (uint32_t i = 0; i < 2; i++) {
		struct ck_cached_blob *b = open_blob(s.c, i, 20 * BLOCK);
		put_all(b, i);
		ck_cached_blob_close(b);
	}
	assert_int_equal(truncate(path_of(s.dir, "blobs", 1), 20 * BLOCK), 0);
	prune(s.c, 30 * BLOCK);
	assert_int_equal(access(path_of(s.dir, "blobs", 1), F_OK), -1);
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
	age_block(b, 5, -50); /* only just */
	save(s.c, "doc", 1, BLOCK - 1000);
	age_file(path_of(s.dir, "doc", 1), -86400);
	save(s.c, "doc", 2, BLOCK - 1000);
	age_file(path_of(s.dir, "doc", 2), 777 * 86400L);
	prune(s.c, 4 * BLOCK);
	for (uint64_t i = 0; i < 6; i++)
		assert_int_equal(has(b, i), i >= 3);
	assert_int_equal(access(path_of(s.dir, "doc", 1), F_OK), -1);
	assert_int_equal(access(path_of(s.dir, "doc", 2), F_OK), -1);
	save(s.c, "doc", 1, BLOCK - 1000);
	age_file(path_of(s.dir, "doc", 1), -50);
	prune(s.c, 3 * BLOCK);
	for (uint64_t i = 0; i < 6; i++)
		assert_int_equal(has(b, i), i == 3 + 2);
	assert_int_equal(access(path_of(s.dir, "doc", 1), F_OK), 0);
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
		/* time() may be behind by a tick, and so by a second. */
		assert_in_range(time(NULL) + 1 - st.st_mtime, i == 2 ? 50 : 0, i == 2 ? 61 : 11);
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

/* Processes that each write less than what is between two looks at the total. */
static void test_bound_short(void **state)
{
	const uint64_t limit = 4 << 20;
	struct stand s;
	(void)state;
	stand_up(&s, limit);
	for (uint32_t i = 0; i < 400; i++) {
		struct ck_blobcache *c = open_cache(s.dir, limit);
		struct ck_cached_blob *b = open_blob(c, i / 50, 50 * BLOCK);
		put(b, i / 50, i % 50);
		assert_int_equal(look(b, i / 50, i % 50), 1);
		ck_cached_blob_close(b);
		ck_blobcache_close(c);
		assert_true(disk_under(s.dir) <= limit);
	}
	assert_true(disk_under(s.dir) > limit / 2);
	stand_down(&s);
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
	/* Large ones make room for themselves, but for more than there ever is. */
	for (uint32_t i = 400; i < 410; i++) {
		save(s.c, "index", i, 700000);
		assert_true(is_small_there(s.c, "index", i));
		assert_true(disk_under(s.dir) <= limit);
	}
	struct ck_err err = { 0 };
	uint8_t digest[CK_SHA256_LEN] = { 0 }, *p = calloc(1, limit + 1);
	assert_fails(ck_blobcache_save(s.c, "index", digest, p, limit + 1, &err), -ENOSPC, &err,
		     "no room");
	free(p);
	assert_true(is_small_there(s.c, "index", 409));
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
		s.c->no_punch = punching == CANNOT; /* it was tried before */
		prune(s.c, 60 * BLOCK);
		b = open_blob(s.c, 2, 40 * BLOCK);
		assert_int_equal(count_right(used, 1), 0);
		assert_in_range(count_right(b, 2), punching == CANNOT ? 40 : 1, 40);
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
		/* Also one that did not make the file. */
		ck_cached_blob_close(b);
		ck_cached_blob_close(m);
		b = open_blob(other, 1, 4 * BLOCK);
		m = open_blob(memory, 1, 4 * BLOCK);
		save(s.c, "doc", 1, 10);
		assert_works(ck_blobcache_prune(&p, s.c, 0, all, &err), &err);
		assert_works(ck_blobcache_prune(&p, memory, 0, all, &err), &err);
		assert_int_equal(access(path_of(s.dir, "blobs", 1), F_OK), 0);
		assert_int_equal(access(path_of(s.dir, "doc", 1), F_OK), -1);
		assert_int_equal(count_right(b, 1), all ? 4 : 0);
		struct ck_cached_blob *again = open_blob(memory, 1, 4 * BLOCK);
		assert_int_equal(count_right(again, 1), all ? 4 : 0);
		ck_cached_blob_close(again);
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

/* What somebody was let write and has not yet is not forgotten when another one looks at what is
 * there. */
static void test_let_not_written(void **state)
{
	struct stand s;

	(void)state;
	stand_up(&s, 3 << 20);
	assert_true(ck_cache_room(s.c, 2 << 20));
	assert_false(ck_cache_room(s.c, 2 << 20));
	assert_true(ck_cache_room(s.c, 1 << 20));
	assert_false(ck_cache_room(s.c, BLOCK));
	ck_cache_room_used(s.c, 2 << 20); /* in vain: it is not there */
	assert_true(ck_cache_room(s.c, 2 << 20));
	assert_false(ck_cache_room(s.c, BLOCK));
	stand_down(&s);
	stand_up(&s, UINT64_MAX); /* as much as there is */
	assert_true(ck_cache_room(s.c, BLOCK));
	stand_down(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),		cmocka_unit_test(test_wrong_clock),
		cmocka_unit_test(test_same_age),	cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_touch),		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_bound_small),	cmocka_unit_test(test_bound_short),
		cmocka_unit_test(test_no_room),		cmocka_unit_test(test_whole_files),
		cmocka_unit_test(test_sweep),		cmocka_unit_test(test_unused),
		cmocka_unit_test(test_let_not_written),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
