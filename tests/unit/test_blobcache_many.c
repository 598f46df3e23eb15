/* blobcache: many threads, many processes, processes that are killed, disks that fill or can no
 * longer be written. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "base/file.h"
#include "base/log.h"
#include "tests/unit/test_blobcache_stand.h"

enum { N_BLOBS = 6, N_BLOCKS = 40 };
#define LIMIT ((uint64_t)3 << 20)

/* Puts, gets and forgets at random for a while; false: something wrong was got. */
static bool work(struct ck_blobcache *c, struct ck_cached_blob *const *shared, uint64_t seed,
		 int rounds)
{
	bool have[N_BLOCKS];

	for (int i = 0; i < rounds; i++) {
		uint64_t r = mk_random(&seed);
		uint32_t blob = (uint32_t)(r % N_BLOBS);
		uint64_t idx = r / N_BLOBS % N_BLOCKS;
		struct ck_cached_blob *b =
		    shared ? shared[blob] : open_blob(c, blob, N_BLOCKS * BLOCK - blob);
		if (look(b, blob, idx) < 0)
			return false;
		if (r >> 60 == 0)
			(void)ck_cached_blob_forget(b, idx, 3);
		else if (r >> 60 < 9)
			put(b, blob, idx);
		ck_cached_blob_have(b, 0, N_BLOCKS, have);
		if (!shared)
			ck_cached_blob_close(b);
	}
	return true;
}

struct worker {
	pthread_t thread;
	struct ck_blobcache *c;
	struct ck_cached_blob **shared;
	uint64_t seed;
	bool right;
};

static void *worker(void *arg)
{
	struct worker *w = arg;

	w->right = work(w->c, w->shared, w->seed, 1500);
	return NULL;
}

/* Two handles of a directory, one in memory; blobs opened by each thread, and shared. */
static void test_threads(void **state)
{
	enum { N = 8 };
	struct ck_cached_blob *shared[2][N_BLOBS];
	struct worker w[N];
	struct stand s;
	(void)state;
	stand_up(&s, LIMIT);
	struct ck_blobcache *other = open_cache(s.dir, LIMIT), *memory = open_cache(NULL, LIMIT);
	for (uint32_t i = 0; i < N_BLOBS; i++) {
		shared[0][i] = open_blob(s.c, i, N_BLOCKS * BLOCK - i);
		shared[1][i] = open_blob(memory, i, N_BLOCKS * BLOCK - i);
	}
	for (uint64_t i = 0; i < N; i++) {
		w[i] = (struct worker){ .c = i % 4 < 2	  ? s.c
					     : i % 4 == 2 ? other
							  : memory,
					.seed = i + 1 };
		if (i % 4 % 2)
			w[i].shared = i % 4 == 1 ? shared[0] : shared[1];
		assert_int_equal(pthread_create(&w[i].thread, NULL, worker, &w[i]), 0);
	}
	for (int i = 0; i < 200; i++) { /* somebody removes files meanwhile */
		(void)unlink(path_of(s.dir, "blobs", (uint32_t)(i % N_BLOBS)));
		sched_yield();
	}
	for (size_t i = 0; i < N; i++) {
		pthread_join(w[i].thread, NULL);
		assert_true(w[i].right);
	}
	for (uint32_t i = 0; i < N_BLOBS; i++) {
		(void)count_right(shared[0][i], i);
		(void)count_right(shared[1][i], i);
		ck_cached_blob_close(shared[0][i]);
		ck_cached_blob_close(shared[1][i]);
	}
	ck_blobcache_close(other);
	ck_blobcache_close(memory);
	stand_down(&s);
}

static pid_t start_child(const char *dir, uint64_t seed, int rounds)
{
	pid_t pid = fork();

	if (pid == 0) {
		struct ck_blobcache *c = open_cache(dir, LIMIT);
		bool right = work(c, NULL, seed, rounds);
		ck_blobcache_close(c);
		_exit(right ? 0 : 1);
	}
	assert_true(pid > 0);
	return pid;
}

/* Processes that share a directory: all is right, and within the bound, but for what each may
 * write between two looks at the total. */
static void test_processes(void **state)
{
	enum { N = 4 };
	/* A walk over files that change adds up what never was there at once. */
	const uint64_t most = LIMIT + LIMIT / 4;
	struct stand s;
	int status, left = N;
	(void)state;
	stand_up(&s, LIMIT);
	for (int i = 0; i < N; i++)
		(void)start_child(s.dir, (uint64_t)i + 1, 2500);
	while (left) {
		uint64_t disk = disk_under(s.dir);
		if (disk > most)
			fail_msg("%llu bytes", (unsigned long long)disk);
		pid_t pid = waitpid(-1, &status, WNOHANG);
		assert_true(pid >= 0);
		if (pid > 0) {
			assert_int_equal(status, 0);
			left--;
		}
	}
	assert_in_range(disk_under(s.dir), LIMIT / 2, LIMIT + N * (LIMIT / 64 + BLOCK));
	for (uint32_t i = 0; i < N_BLOBS; i++) {
		struct ck_cached_blob *b = open_blob(s.c, i, N_BLOCKS * BLOCK - i);
		(void)count_right(b, i);
		ck_cached_blob_close(b);
	}
	stand_down(&s);
}

/* Two at a time are killed at some moment, a hundred times; what they leave is right or absent, and
 * the bound holds. */
static void test_killed(void **state)
{
	uint64_t seed = 42, found = 0;
	struct stand s;
	(void)state;
	stand_up(&s, LIMIT);
	for (int i = 0; i < 100; i++) {
		pid_t pids[2];
		for (int k = 0; k < 2; k++)
			pids[k] = start_child(s.dir, mk_random(&seed), 1 << 30);
		const struct timespec t = { 0, (long)(mk_random(&seed) % 10000000) };
		nanosleep(&t, NULL);
		for (int k = 0; k < 2; k++) {
			int status;
			kill(pids[k], SIGKILL);
			assert_int_equal(waitpid(pids[k], &status, 0), pids[k]);
			assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		}
		for (uint32_t b = 0; b < N_BLOBS; b++) {
			struct ck_cached_blob *blob = open_blob(s.c, b, N_BLOCKS * BLOCK - b);
			found += count_right(blob, b);
			ck_cached_blob_close(blob);
		}
	}
	assert_true(found > 100);
	for (int i = 0; i < 300; i++)
		assert_true(work(s.c, NULL, mk_random(&seed), 1));
	assert_true(disk_under(s.dir) <= LIMIT + 2 * (LIMIT / 64 + BLOCK));
	stand_down(&s);
}

/* In a process of its own, with a filesystem of its own on DIR: exit status 0, and *LOG has its
 * stderr. */
static void on_own_disk(const struct stand *s, const char *options, void (*fn)(const char *dir),
			struct ck_buf *log)
{
	struct ck_err err = { 0 };
	int fds[2], status;

	assert_int_equal(pipe(fds), 0);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(fds[1], 2);
		close(fds[0]);
		close(fds[1]);
		if (unshare(CLONE_NEWNS) < 0 ||
		    mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		    mount("tmpfs", s->dir, "tmpfs", 0, options) < 0) {
			perror("a filesystem of its own");
			_exit(9);
		}
		fn(s->dir);
		_exit(0);
	}
	close(fds[1]);
	assert_works(ck_fd_read(log, fds[0], "stderr", &err), &err);
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status)
		fail_msg("status %x: %s", (unsigned)status, ck_buf_str(log));
}

static size_t occurrences(const char *text, const char *word)
{
	size_t n = 0;

	for (; (text = strstr(text, word)); text += strlen(word))
		n++;
	return n;
}

static void must(bool is, const char *what)
{
	if (is)
		return;
	fprintf(stderr, "not so: %s\n", what);
	_exit(1);
}
#define MUST(x) must(x, #x)

static void end_pause(struct ck_blobcache *c)
{
	c->paused_until = 0;
}

static void fill_disk(const char *dir)
{
	struct ck_blobcache *c = open_cache(dir, (uint64_t)1 << 30);
	struct ck_cached_blob *b = open_blob(c, 1, 100 * BLOCK),
			      *other = open_blob(c, 2, 4 * BLOCK);
	uint64_t n = 0;

	put_all(b, 1);
	n = count_right(b, 1);
	MUST(n > 20 && n < 33);
	for (int i = 0; i < 3; i++) { /* each finds it full; not each says so */
		end_pause(c);
		put(b, 1, 99);
		put(b, 1, 98);
		put_all(other, 2);
		MUST(count_right(b, 1) >= 20);
	}
	/* A block that is there is not lost by being written again. */
	end_pause(c);
	put(b, 1, 3);
	MUST(look(b, 1, 3) == 1);
	/* Nothing is tried during the pause; and it is over when there is room again. */
	MUST(ck_cached_blob_forget(b, 0, 10) == 10);
	uint64_t until = ck_now_ms() + 50000;
	c->paused_until = until;
	put(b, 1, 0);
	MUST(!has(b, 0));
	end_pause(c);
	put(b, 1, 0);
	put_all(other, 2);
	MUST(look(b, 1, 0) == 1);
	MUST(count_right(other, 2) == 4);
	end_pause(c);
	put_all(b, 1);
	MUST(c->paused_until > ck_now_ms() + 50000);
	ck_cached_blob_close(b);
	ck_cached_blob_close(other);
	ck_blobcache_close(c);
}

static void test_full_disk(void **state)
{
	struct stand s;
	CK_BUF log = { 0 };
	(void)state;
	stand_up(&s, 0);
	on_own_disk(&s, "size=512k", fill_disk, &log);
	assert_int_equal(occurrences(ck_buf_str(&log), "not kept for now"), 1);
	assert_int_equal(occurrences(ck_buf_str(&log), "No space left"), 1);
	stand_down(&s);
}

static void make_read_only(const char *dir, bool is)
{
	MUST(mount("", dir, NULL, MS_REMOUNT | (is ? MS_RDONLY : 0), NULL) == 0);
}

static void read_only(const char *dir)
{
	struct ck_err err = { 0 };
	uint8_t digest[CK_SHA256_LEN];
	CK_BUF out = { 0 };
	struct ck_blobcache *c = open_cache(dir, 0);
	struct ck_cached_blob *b = open_blob(c, 1, 4 * BLOCK);

	put(b, 1, 0);
	put(b, 1, 2);
	digest_of(digest, 1);
	MUST(ck_blobcache_save(c, "doc", digest, "text", 4, &err) == 0);
	ck_cached_blob_close(b);
	make_read_only(dir, true);
	/* Hits only, with one line of log. */
	b = open_blob(c, 1, 4 * BLOCK);
	struct ck_cached_blob *none = open_blob(c, 2, BLOCK);
	for (int i = 0; i < 3; i++) {
		MUST(count_right(b, 1) == 2);
		MUST(ck_blobcache_load(c, "doc", digest, &out, &err) == 0);
		end_pause(c);
		put(b, 1, 1);
		end_pause(c);
		put(none, 2, 0);
		MUST(count_right(none, 2) == 0);
		end_pause(c);
		MUST(ck_blobcache_save(c, "doc", digest, "test", 4, &err) == -EROFS);
	}
	MUST(out.len == 12);
	/* The same handles can be written once the disk can be. */
	make_read_only(dir, false);
	end_pause(c);
	put(b, 1, 1);
	put(none, 2, 0);
	MUST(count_right(b, 1) == 3);
	MUST(count_right(none, 2) == 1);
	ck_cached_blob_close(b);
	ck_cached_blob_close(none);
	ck_blobcache_close(c);
}

static void test_read_only(void **state)
{
	struct stand s;
	CK_BUF log = { 0 };
	(void)state;
	stand_up(&s, 0);
	on_own_disk(&s, "size=4m", read_only, &log);
	assert_int_equal(occurrences(ck_buf_str(&log), "not kept for now"), 1);
	assert_int_equal(occurrences(ck_buf_str(&log), "Read-only file system"), 1);
	stand_down(&s);
}

/* A tenth of the disk. */
static void look_at_limit(const char *dir)
{
	struct ck_blobcache *c = open_cache(dir, 0);

	MUST(ck_blobcache_limit(c) == (uint64_t)5 << 20);
	ck_blobcache_close(c);
	c = open_cache(NULL, 0);
	MUST(ck_blobcache_limit(c) == (uint64_t)256 << 20);
	ck_blobcache_close(c);
	make_read_only(dir, true);
	c = open_cache(dir, 0); /* it is there */
	ck_blobcache_close(c);
}

static void test_default_limit(void **state)
{
	struct stand s;
	CK_BUF log = { 0 };
	(void)state;
	stand_up(&s, 0);
	on_own_disk(&s, "size=50m", look_at_limit, &log);
	stand_down(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads),	  cmocka_unit_test(test_processes),
		cmocka_unit_test(test_killed),	  cmocka_unit_test(test_full_disk),
		cmocka_unit_test(test_read_only), cmocka_unit_test(test_default_limit),
	};
	ck_log_init("cloakfs", CK_LOG_WARNING);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
