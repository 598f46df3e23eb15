/* blobcache: what is put is what is got, or nothing; whatever happens to the files. */
#include <errno.h>

#include "tests/unit/test_blobcache_stand.h"

static void check_size(struct ck_blobcache *c, uint32_t blob, uint64_t size)
{
	struct ck_cached_blob *b = open_blob(c, blob, size);
	uint64_t n = (size + BLOCK - 1) / BLOCK;
	bool have[40];

	assert_int_equal(count_right(b, blob), 0);
	assert_int_equal(ck_cached_blob_bytes(b), 0);
	put(b, blob, n); /* outside: nothing */
	assert_int_equal(look(b, blob, n), 0);
	for (uint64_t i = n; i--;) {
		assert_false(has(b, i));
		put(b, blob, i);
		assert_true(has(b, i));
		assert_int_equal(look(b, blob, i), 1);
		assert_int_equal(ck_cached_blob_bytes(b), size - i * BLOCK);
	}
	memset(have, 1, sizeof have);
	ck_cached_blob_have(b, n / 2, N_OF(have), have);
	for (size_t i = 0; i < N_OF(have); i++)
		assert_int_equal(have[i], n / 2 + i < n);
	/* The same by another handle, and after all are closed. */
	struct ck_cached_blob *other = open_blob(c, blob, size);
	assert_int_equal(count_right(other, blob), n);
	ck_cached_blob_close(b);
	ck_cached_blob_close(other);
	b = open_blob(c, blob, size);
	assert_int_equal(count_right(b, blob), n);
	assert_int_equal(ck_cached_blob_forget(b, n, 1), 0);
	if (n) {
		assert_int_equal(ck_cached_blob_forget(b, n - 1, UINT64_MAX), 1);
		assert_int_equal(ck_cached_blob_forget(b, n - 1, 1), 0);
		assert_int_equal(count_right(b, blob), n - 1);
		assert_int_equal(ck_cached_blob_forget(b, 0, n), n - 1);
	}
	assert_int_equal(ck_cached_blob_bytes(b), 0);
	ck_cached_blob_close(b);
}

static void test_sizes(void **state)
{
	static const uint64_t sizes[] = { 0,	     1,		4095,	   BLOCK - 1,	   BLOCK,
					  BLOCK + 1, 2 * BLOCK, 5 * BLOCK, 20 * BLOCK + 77 };
	struct stand s;
	(void)state;
	stand_up(&s, 0);
	struct ck_blobcache *memory = open_cache(NULL, 0);
	for (uint32_t i = 0; i < N_OF(sizes); i++) {
		check_size(s.c, i, sizes[i]);
		check_size(memory, i, sizes[i]);
	}
	ck_blobcache_close(memory);
	stand_down(&s);
}

/* More blocks than one look at the map takes, far from the beginning; and a blob of a size that
 * no disk has. */
static void test_large(void **state)
{
	const uint64_t size = ((uint64_t)40 << 30) + 5, n = size / BLOCK + 1;
	bool *have = calloc(3000, sizeof *have);
	struct stand s;
	(void)state;
	stand_up(&s, 0);
	struct ck_cached_blob *b = open_blob(s.c, 1, size);
	for (uint64_t i = 0; i < 3000; i += 7)
		put(b, 1, n - 3000 + i);
	ck_cached_blob_have(b, n - 3000, 3000, have);
	for (uint64_t i = 0; i < 3000; i++)
		assert_int_equal(have[i], i % 7 == 0);
	for (uint64_t i = 0; i < 3000; i++)
		assert_int_equal(look(b, 1, n - 3000 + i), i % 7 == 0);
	assert_int_equal(ck_cached_blob_bytes(b), (uint64_t)429 * BLOCK);
	assert_int_equal(ck_cached_blob_forget(b, n - 3000, 2993), 428);
	assert_int_equal(ck_cached_blob_bytes(b), BLOCK);
	ck_cached_blob_close(b);
	const uint64_t impossible[] = { (uint64_t)1 << 44, INT64_MAX, UINT64_MAX };
	for (size_t i = 0; i < N_OF(impossible); i++) {
		b = open_blob(s.c, 2, impossible[i]);
		ck_cached_blob_put(b, 0, have);
		assert_int_equal(b->fd, -1);
		assert_int_equal(b->file.n_blocks, 0);
		assert_false(has(b, 0));
		ck_cached_blob_close(b);
	}
	assert_int_equal(s.c->paused_until, 0); /* it is no trouble with the disk */
	free(have);
	stand_down(&s);
}

/* Block 1 reads as zeros would where it was never written. */
static void test_zeros(void **state)
{
	static uint8_t zeros[BLOCK], got[BLOCK];
	struct stand s;
	(void)state;
	stand_up(&s, 0);
	struct ck_cached_blob *b = open_blob(s.c, 1, 3 * BLOCK);
	ck_cached_blob_put(b, 1, zeros);
	memset(got, 1, sizeof got);
	assert_true(ck_cached_blob_get(b, 1, got));
	assert_memory_equal(got, zeros, BLOCK);
	assert_false(ck_cached_blob_get(b, 0, got));
	/* One whose checksum comes out as 0, which says "absent": its first bytes are what the sum
	 * starts from. */
	uint32_t start;
	memcpy(&start, b->file.digest, sizeof start);
	start ^= 2;
	memcpy(zeros, &start, sizeof start);
	ck_cached_blob_put(b, 2, zeros);
	assert_true(ck_cached_blob_get(b, 2, got));
	assert_memory_equal(got, zeros, BLOCK);
	ck_cached_blob_close(b);
	stand_down(&s);
}

static void flip(const char *path, uint64_t off, uint8_t bits)
{
	uint8_t v;
	int fd = open(path, O_RDWR);

	assert_int_equal(pread(fd, &v, 1, (off_t)off), 1);
	v ^= bits;
	assert_int_equal(pwrite(fd, &v, 1, (off_t)off), 1);
	close(fd);
}

/* Flips a byte of a whole blob's file, and looks by a handle that was open and by a new one. */
static void flip_and_look(struct stand *s, uint64_t off, uint8_t bits, uint64_t victim, bool header)
{
	enum { N = 4 };
	const uint64_t size = 3 * BLOCK + 1234;
	struct ck_cached_blob *b = open_blob(s->c, 1, size);

	put_all(b, 1);
	flip(path_of(s->dir, "blobs", 1), off, bits);
	for (uint64_t i = 0; i < N; i++)
		assert_int_equal(look(b, 1, i), i != victim);
	ck_cached_blob_close(b);
	b = open_blob(s->c, 1, size);
	for (uint64_t i = 0; i < N; i++)
		assert_int_equal(look(b, 1, i), !header && i != victim);
	/* What was wrong is not even said to be there. */
	assert_int_equal(has(b, victim % N), !header && victim >= N);
	put_all(b, 1);
	assert_int_equal(count_right(b, 1), N);
	ck_cached_blob_close(b);
}

static void test_flips(void **state)
{
	const uint64_t end = 3 * BLOCK + 1234, head = 4 * BLOCK, map = head + CK_BLOBFILE_HEADER;
	struct stand s;
	(void)state;
	stand_up(&s, 0);
	for (uint64_t off = 0; off < end; off += off % BLOCK < 8 ? 1 : 1021)
		flip_and_look(&s, off, (uint8_t)(1 << (off % 8)), off / BLOCK, false);
	flip_and_look(&s, end - 1, 0x80, 3, false);
	for (uint64_t off = head; off < map; off++)
		flip_and_look(&s, off, (uint8_t)(1 << (off % 8)), 99, true);
	for (uint64_t off = map; off < map + 32; off++) {
		bool sum = (off - map) % 8 < 4;
		flip_and_look(&s, off, 0x41, sum ? (off - map) / 8 : 99, false);
	}
	stand_down(&s);
}

/* Block and word go together to another place: of the same blob, and of another one. */
static void test_misplaced(void **state)
{
	static uint8_t block[BLOCK], word[8];
	const uint64_t map = 4 * BLOCK + CK_BLOBFILE_HEADER;
	struct stand s;
	(void)state;
	stand_up(&s, 0);
	struct ck_cached_blob *a = open_blob(s.c, 1, 4 * BLOCK), *b = open_blob(s.c, 2, 4 * BLOCK);
	put_all(a, 1);
	put_all(b, 2);
	int from = open(path_of(s.dir, "blobs", 1), O_RDWR);
	int to = open(path_of(s.dir, "blobs", 2), O_RDWR);
	assert_int_equal(pread(from, block, BLOCK, 0), BLOCK);
	assert_int_equal(pread(from, word, 8, (off_t)map), 8);
	assert_int_equal(pwrite(from, block, BLOCK, BLOCK), BLOCK);
	assert_int_equal(pwrite(from, word, 8, (off_t)map + 8), 8);
	assert_int_equal(pwrite(to, block, BLOCK, 0), BLOCK);
	assert_int_equal(pwrite(to, word, 8, (off_t)map), 8);
	close(from);
	close(to);
	assert_int_equal(count_right(a, 1), 3);
	assert_int_equal(count_right(b, 2), 3);
	assert_int_equal(look(a, 1, 1), 0);
	assert_int_equal(look(b, 2, 0), 0);
	ck_cached_blob_close(a);
	/* Another blob's file under its name. */
	assert_int_equal(rename(path_of(s.dir, "blobs", 1), path_of(s.dir, "blobs", 2)), 0);
	a = open_blob(s.c, 2, 4 * BLOCK);
	assert_int_equal(count_right(a, 2), 0);
	put_all(a, 2);
	assert_int_equal(count_right(a, 2), 4);
	ck_cached_blob_close(a);
	/* Who has the old one open does no harm, and finds the new one once he puts something. */
	assert_int_equal(count_right(b, 2), 3);
	put(b, 2, 1);
	assert_int_equal(count_right(b, 2), 4);
	/* The same blob, of another size. */
	a = open_blob(s.c, 2, 4 * BLOCK - 1);
	assert_int_equal(count_right(a, 2), 0);
	ck_cached_blob_close(a);
	ck_cached_blob_close(b);
	stand_down(&s);
}

/* While it is open. */
static void test_truncated(void **state)
{
	const uint64_t size = 3 * BLOCK + 1234, head = 4 * BLOCK, map = head + CK_BLOBFILE_HEADER;
	const uint64_t lens[] = { 0,	      1,
				  BLOCK,      2 * BLOCK + 5,
				  size,	      head,
				  head + 1,   map - 1,
				  map,	      map + 4,
				  map + 8,    map + 27,
				  map + 31,   map + 32 /* all */,
				  map + 4000, head + 9 * BLOCK };
	struct stand s;
	(void)state;
	for (size_t i = 0; i < N_OF(lens); i++) {
		stand_up(&s, 0);
		struct ck_cached_blob *b = open_blob(s.c, 1, size);
		put_all(b, 1);
		assert_int_equal(truncate(path_of(s.dir, "blobs", 1), (off_t)lens[i]), 0);
		uint64_t n = count_right(b, 1);
		assert_int_equal(n, lens[i] < map	  ? 0
				    : lens[i] >= map + 32 ? 4
							  : (lens[i] - map) / 8);
		put_all(b, 1);
		assert_int_equal(count_right(b, 1), 4);
		ck_cached_blob_close(b);
		b = open_blob(s.c, 1, size);
		(void)count_right(b, 1);
		put_all(b, 1);
		assert_int_equal(count_right(b, 1), 4);
		ck_cached_blob_close(b);
		stand_down(&s);
	}
}

/* Files, their directory, and the whole cache go while they are in use: they come again. */
static void test_removed(void **state)
{
	struct stat st;
	struct stand s;
	char blobs[100];
	(void)state;
	stand_up(&s, 0);
	snprintf(blobs, sizeof blobs, "%s/blobs", s.dir);
	struct ck_cached_blob *b = open_blob(s.c, 1, 4 * BLOCK), *idle = open_blob(s.c, 2, BLOCK);
	for (int how = 0; how < 3; how++) {
		put_all(b, 1);
		put_all(idle, 2);
		if (how == 0)
			assert_int_equal(unlink(path_of(s.dir, "blobs", 1)), 0);
		else if (how == 1)
			remove_dir(blobs);
		else
			remove_dir(s.dir);
		assert_int_equal(count_right(b, 1), 4); /* as long as nobody puts anything */
		put(b, 1, 2);
		assert_int_equal(stat(path_of(s.dir, "blobs", 1), &st), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
		assert_int_equal(stat(blobs, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0700);
		assert_int_equal(count_right(b, 1), 1);
	}
	assert_int_equal(stat(s.dir, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	/* Where they cannot come again, what is lost does not go on growing. */
	remove_dir(s.dir);
	close(open(s.dir, O_WRONLY | O_CREAT, 0600));
	put(b, 1, 1);
	assert_int_equal(count_right(b, 1), 0);
	assert_int_equal(fstat(b->fd, &st), 0);
	assert_true(S_ISDIR(st.st_mode));
	assert_int_equal(unlink(s.dir), 0);
	s.c->paused_until = 0;
	put(b, 1, 1);
	assert_int_equal(count_right(b, 1), 1);
	ck_cached_blob_close(b);
	ck_cached_blob_close(idle);
	stand_down(&s);
}

enum foreign { LINK, DANGLING, FIFO, DIRECTORY, THEIRS, LONG_ZEROS, N_FOREIGN };

static void plant(enum foreign what, const char *path, const char *target)
{
	int fd;

	switch (what) {
	case LINK:
	case DANGLING:
		assert_int_equal(symlink(what == LINK ? target : "nowhere", path), 0);
		break;
	case FIFO:
		assert_int_equal(mkfifo(path, 0600), 0);
		break;
	case DIRECTORY:
		assert_int_equal(mkdir(path, 0700), 0);
		break;
	default:
		fd = open(path, O_RDWR | O_CREAT, 0666);
		assert_int_equal(ftruncate(fd, what == THEIRS ? 100 : 1 << 20), 0);
		if (what == THEIRS)
			assert_int_equal(fchown(fd, 12345, 12345), 0);
		close(fd);
	}
}

/* In the places of files of ours: not followed, not waited for, replaced where that can be. */
static void test_foreign(void **state)
{
	struct stand s;
	char target[100], kind[100], buf[8];
	(void)state;
	for (enum foreign what = 0; what < N_FOREIGN; what++) {
		struct ck_err err = { 0 };
		uint8_t digest[CK_SHA256_LEN];
		CK_BUF out = { 0 };
		stand_up(&s, 0);
		snprintf(target, sizeof target, "%s/target", s.dir);
		snprintf(kind, sizeof kind, "%s/blobs", s.dir);
		FILE *f = fopen(target, "w");
		fputs("target", f);
		fclose(f);
		assert_int_equal(mkdir(kind, 0700), 0);
		snprintf(kind, sizeof kind, "%s/doc", s.dir);
		assert_int_equal(mkdir(kind, 0700), 0);
		plant(what, path_of(s.dir, "blobs", 1), target);
		plant(what, path_of(s.dir, "doc", 1), target);
		struct ck_cached_blob *b = open_blob(s.c, 1, 2 * BLOCK);
		assert_int_equal(count_right(b, 1), 0);
		put_all(b, 1);
		assert_int_equal(count_right(b, 1), what == DIRECTORY ? 0 : 2);
		ck_cached_blob_close(b);
		digest_of(digest, 1);
		out.max = 4096; /* the long one is too long */
		assert_true(ck_blobcache_load(s.c, "doc", digest, &out, &err) < 0);
		int rc = ck_blobcache_save(s.c, "doc", digest, "x", 1, &err);
		assert_int_equal(rc < 0, what == DIRECTORY);
		f = fopen(target, "r");
		assert_int_equal(fread(buf, 1, sizeof buf, f), 6);
		fclose(f);
		struct ck_cache_items items;
		assert_works(ck_blobcache_list(&items, s.c, &err), &err);
		assert_int_equal(items.n, what == DIRECTORY ? 0 : 2);
		ck_cache_items_free(&items);
		stand_down(&s);
	}
}

/* A directory of a kind that is a link, or someone else's. */
static void test_foreign_kind(void **state)
{
	char elsewhere[100], kind[100];
	struct stand s;
	(void)state;
	for (int theirs = 0; theirs < 2; theirs++) {
		stand_up(&s, 0);
		snprintf(elsewhere, sizeof elsewhere, "%s/Elsewhere", s.dir);
		snprintf(kind, sizeof kind, "%s/blobs", s.dir);
		assert_int_equal(mkdir(elsewhere, 0700), 0);
		if (theirs) {
			assert_int_equal(mkdir(kind, 0777), 0);
			assert_int_equal(chown(kind, 12345, 12345), 0);
		} else {
			assert_int_equal(symlink(elsewhere, kind), 0);
		}
		struct ck_cached_blob *b = open_blob(s.c, 1, 2 * BLOCK);
		put_all(b, 1);
		assert_int_equal(count_right(b, 1), 0);
		ck_cached_blob_close(b);
		assert_int_equal(disk_under(theirs ? kind : elsewhere), 0);
		struct ck_cache_items items;
		struct ck_err err = { 0 };
		close(open(path_of(s.dir, "blobs", 1), O_WRONLY | O_CREAT, 0600));
		assert_works(ck_blobcache_list(&items, s.c, &err), &err);
		assert_int_equal(items.n, 0);
		ck_cache_items_free(&items);
		stand_down(&s);
	}
}

/* Names are given once, or anew; and taken only from the file that has them. */
static void test_names(void **state)
{
	struct ck_place_name name;
	struct stand s;
	(void)state;
	stand_up(&s, 0);
	struct ck_blobcache *memory = open_cache(NULL, 0);
	for (int i = 0; i < 2; i++) {
		struct ck_place *p = i ? &memory->place : &s.c->place;
		struct ck_place_temp t[3];
		uint8_t digest[CK_SHA256_LEN] = { 3 };
		assert_true(ck_place_name(&name, "doc", digest));
		for (int k = 0; k < 3; k++) {
			assert_int_equal(ck_place_temp(p, "doc", &t[k]), 0);
			assert_int_equal(write(t[k].fd, "abc" + k, 1), 1);
			int rc = ck_place_commit(p, &t[k], &name, k == 2, false);
			assert_int_equal(rc, k == 1 ? -EEXIST : 0);
		}
		int fd = ck_place_file(p, &name, false, false);
		char c = 0;
		assert_int_equal(pread(fd, &c, 1, 0), 1);
		assert_int_equal(c, 'c');
		if (!i) {
			assert_true(ck_place_lost(p, t[0].fd));
			assert_false(ck_place_remove_unused(p, &name, t[0].fd));
		}
		assert_false(ck_place_lost(p, fd));
		assert_true(ck_place_remove_unused(p, &name, t[2].fd));
		assert_int_equal(ck_place_file(p, &name, false, false), -ENOENT);
		close(fd);
		for (int k = 0; k < 3; k++)
			ck_place_temp_drop(&t[k]);
	}
	ck_blobcache_close(memory);
	stand_down(&s);
}

static uint64_t fds(void)
{
	uint64_t n = 0;
	DIR *d = opendir("/proc/self/fd");

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void test_many_blobs(void **state)
{
	enum { N = 600 };
	struct stand s;
	(void)state;
	uint64_t before = fds();
	stand_up(&s, 4 << 20);
	struct ck_blobcache *memory = open_cache(NULL, 4 << 20);
	for (uint32_t i = 0; i < N; i++) {
		struct ck_cached_blob *b = open_blob(i % 2 ? memory : s.c, i, 2 * BLOCK);
		put_all(b, i);
		(void)count_right(b, i);
		unlink(path_of(s.dir, "blobs", i));
		put(b, i, 1);
		ck_cached_blob_close(b);
	}
	/* In memory one is open for each blob that is there, no more than have room. */
	assert_true(fds() - before < 2 * ((4 << 20) / (2 * BLOCK)));
	ck_blobcache_close(memory);
	stand_down(&s);
	assert_int_equal(fds(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),	     cmocka_unit_test(test_large),
		cmocka_unit_test(test_zeros),	     cmocka_unit_test(test_flips),
		cmocka_unit_test(test_misplaced),    cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_removed),	     cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_foreign_kind), cmocka_unit_test(test_many_blobs),
		cmocka_unit_test(test_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
