/*
 * bench/cache - the cache of blobs on the disk beside SQLite with a table of blocks.
 *
 * usage: cache DIR [MIB [ROUNDS]]
 * In DIR, which must be empty, a blob of MIB (1024) is put block by block, here and there, blocks
 * are got at random, by one thread and by two, and a sixteenth of it is evicted: by us, and by
 * SQLite, in turn. SQLite has what helps it: a write-ahead log, no syncing (we have none, either),
 * pages of a block, prepared statements, and an index by last use; and it makes the same checksum.
 * Prints medians.
 */
#include <fcntl.h>
#include <isa-l/crc.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fs/cache/survey.h"

enum { BLOCK = CK_CACHE_BLOCK, N_STARTS = 64, ROUNDS_MAX = 33, N_GETS = 40000 };

/* Blocks come in this order, and are evicted so, too: hardly any beside another. */
#define SPREAD ((size_t)40503)

static size_t n_blocks;

static void die(const char *what, const char *why)
{
	fprintf(stderr, "cache: %s: %s\n", what, why);
	exit(1);
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t random_of(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* A way to keep blocks; a handle is one thread's. */
struct way {
	const char *name;
	void *(*open)(const char *dir);
	void (*put)(void *h, uint64_t idx, const void *buf);
	void (*get)(void *h, uint64_t idx, void *buf);
	void (*evict)(void *h); /* a sixteenth */
	void (*close)(void *h);
};

struct ours {
	struct ck_blobcache *c;
	struct ck_cached_blob *b;
};

static void *our_open(const char *dir)
{
	static const uint8_t digest[CK_SHA256_LEN] = { 1 };
	struct ours *h = calloc(1, sizeof *h);
	struct ck_err err = { 0 };

	if (!h || ck_blobcache_open(&h->c, dir, (uint64_t)1 << 40, &err) < 0 ||
	    ck_cached_blob_open(&h->b, h->c, digest, n_blocks * BLOCK, &err) < 0)
		die(dir, err.msg);
	return h;
}

static void our_put(void *h, uint64_t idx, const void *buf)
{
	ck_cached_blob_put(((struct ours *)h)->b, idx, buf);
}

static void our_get(void *h, uint64_t idx, void *buf)
{
	if (!ck_cached_blob_get(((struct ours *)h)->b, idx, buf))
		die("ours", "a block is not there");
}

static void our_evict(void *h)
{
	struct ck_cache_pruned p;
	struct ck_err err = { 0 };

	if (ck_blobcache_prune(&p, ((struct ours *)h)->c, n_blocks * BLOCK / 16 * 15, false, &err) <
	    0)
		die("ours", err.msg);
}

static void our_close(void *p)
{
	struct ours *h = p;

	ck_cached_blob_close(h->b);
	ck_blobcache_close(h->c);
	free(h);
}

struct sqlite {
	sqlite3 *db;
	sqlite3_stmt *put, *get, *evict;
};

static void *sqlite_open(const char *dir)
{
	static const char setup[] =
	    "PRAGMA page_size = 16384; PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;"
	    "PRAGMA busy_timeout = 10000;"
	    "CREATE TABLE IF NOT EXISTS blocks (id INTEGER PRIMARY KEY, used INTEGER, sum INTEGER,"
	    " data BLOB);"
	    "CREATE INDEX IF NOT EXISTS by_use ON blocks (used)";
	struct sqlite *h = calloc(1, sizeof *h);
	char path[4096];

	snprintf(path, sizeof path, "%s/cache.sqlite", dir);
	if (!h || sqlite3_open(path, &h->db) != SQLITE_OK ||
	    sqlite3_exec(h->db, setup, NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_prepare_v2(h->db, "REPLACE INTO blocks VALUES (?, ?, ?, ?)", -1, &h->put,
			       NULL) != SQLITE_OK ||
	    sqlite3_prepare_v2(h->db, "SELECT used, sum, data FROM blocks WHERE id = ?", -1,
			       &h->get, NULL) != SQLITE_OK ||
	    sqlite3_prepare_v2(h->db,
			       "DELETE FROM blocks WHERE id IN"
			       " (SELECT id FROM blocks ORDER BY used LIMIT ?)",
			       -1, &h->evict, NULL) != SQLITE_OK)
		die(path, h ? sqlite3_errmsg(h->db) : "no memory");
	return h;
}

static uint32_t sum_of(const void *buf, uint64_t idx)
{
	return crc32_iscsi((unsigned char *)buf, BLOCK, (unsigned)idx);
}

static void sqlite_put(void *p, uint64_t idx, const void *buf)
{
	struct sqlite *h = p;

	sqlite3_bind_int64(h->put, 1, (sqlite3_int64)idx);
	sqlite3_bind_int64(h->put, 2, (sqlite3_int64)time(NULL));
	sqlite3_bind_int64(h->put, 3, sum_of(buf, idx));
	sqlite3_bind_blob(h->put, 4, buf, BLOCK, SQLITE_STATIC);
	if (sqlite3_step(h->put) != SQLITE_DONE)
		die("SQLite", sqlite3_errmsg(h->db));
	sqlite3_reset(h->put);
}

static void sqlite_get(void *p, uint64_t idx, void *buf)
{
	struct sqlite *h = p;

	sqlite3_bind_int64(h->get, 1, (sqlite3_int64)idx);
	if (sqlite3_step(h->get) != SQLITE_ROW || sqlite3_column_bytes(h->get, 2) != BLOCK)
		die("SQLite", sqlite3_errmsg(h->db));
	memcpy(buf, sqlite3_column_blob(h->get, 2), BLOCK);
	if (sum_of(buf, idx) != sqlite3_column_int64(h->get, 1))
		die("SQLite", "a checksum is wrong");
	sqlite3_reset(h->get);
}

static void sqlite_evict(void *p)
{
	struct sqlite *h = p;

	sqlite3_bind_int64(h->evict, 1, (sqlite3_int64)n_blocks / 16);
	if (sqlite3_step(h->evict) != SQLITE_DONE)
		die("SQLite", sqlite3_errmsg(h->db));
	sqlite3_reset(h->evict);
}

static void sqlite_close(void *p)
{
	struct sqlite *h = p;

	sqlite3_finalize(h->put);
	sqlite3_finalize(h->get);
	sqlite3_finalize(h->evict);
	sqlite3_close(h->db);
	free(h);
}

static const struct way ways[] = {
	{ "files", our_open, our_put, our_get, our_evict, our_close },
	{ "SQLite", sqlite_open, sqlite_put, sqlite_get, sqlite_evict, sqlite_close },
};
enum { N_WAYS = sizeof ways / sizeof ways[0] };

enum what { PUT, PUT_AGAIN, GET, GET_2, EVICT, N_WHATS };
static const char *const names[N_WHATS] = { "put, us a block", "put again, us a block",
					    "get, us a block", "get, two threads, us a block",
					    "evict a sixteenth, ms" };

struct getter {
	const struct way *w;
	const char *dir;
	uint64_t seed;
	double us;
};

static void *get_many(void *arg)
{
	struct getter *g = arg;
	static _Thread_local uint8_t buf[BLOCK];
	void *h = g->w->open(g->dir);

	for (size_t i = 0; i < 2000; i++)
		g->w->get(h, random_of(&g->seed) % n_blocks, buf);
	double t = now_s();
	for (size_t i = 0; i < N_GETS; i++)
		g->w->get(h, random_of(&g->seed) % n_blocks, buf);
	g->us = (now_s() - t) * 1e6 / N_GETS;
	g->w->close(h);
	return NULL;
}

static double put_all(const struct way *w, void *h, const uint8_t *noise)
{
	double t = now_s();

	for (size_t i = 0; i < n_blocks; i++)
		w->put(h, i * SPREAD % n_blocks, noise + i % N_STARTS * 512);
	return (now_s() - t) * 1e6 / (double)n_blocks;
}

static void empty(const char *dir)
{
	char cmd[9000];

	snprintf(cmd, sizeof cmd, "rm -rf '%s' && mkdir '%s'", dir, dir);
	if (system(cmd) != 0) /* NOLINT: a benchmark's own directory */
		die(dir, "cannot be emptied");
}

static void measure(const struct way *w, const char *top, const uint8_t *noise, double out[N_WHATS])
{
	char dir[4096];
	pthread_t thread;

	snprintf(dir, sizeof dir, "%s/%s", top, w->name);
	empty(dir);
	void *h = w->open(dir);
	out[PUT] = put_all(w, h, noise);
	out[PUT_AGAIN] = put_all(w, h, noise);
	struct getter g[2] = { { w, dir, 1, 0 }, { w, dir, 2, 0 } };
	(void)get_many(&g[0]);
	out[GET] = g[0].us;
	if (pthread_create(&thread, NULL, get_many, &g[1]) != 0)
		die("a thread", "cannot be made");
	(void)get_many(&g[0]);
	pthread_join(thread, NULL);
	out[GET_2] = (g[0].us + g[1].us) / 2;
	double t = now_s();
	w->evict(h);
	out[EVICT] = (now_s() - t) * 1e3;
	w->close(h);
	empty(dir);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	static double v[N_WAYS][N_WHATS][ROUNDS_MAX];
	static uint8_t noise[N_STARTS * 512 + BLOCK];
	size_t rounds = argc > 3 ? strtoul(argv[3], NULL, 10) : 5;
	uint64_t seed = 7;

	if (argc < 2 || rounds < 1 || rounds > ROUNDS_MAX)
		die("usage", "cache DIR [MIB [ROUNDS]]");
	n_blocks = (argc > 2 ? strtoul(argv[2], NULL, 10) : 1024) * (1024 * 1024 / BLOCK);
	for (size_t i = 0; i < sizeof noise; i += 8)
		memcpy(noise + i, &(uint64_t){ random_of(&seed) }, 8);
	for (size_t r = 0; r < rounds; r++)
		for (size_t w = 0; w < N_WAYS; w++) {
			double out[N_WHATS];
			measure(&ways[w], argv[1], noise, out);
			for (size_t i = 0; i < N_WHATS; i++)
				v[w][i][r] = out[i];
		}
	for (size_t i = 0; i < N_WHATS; i++)
		for (size_t w = 0; w < N_WAYS; w++) {
			double *x = v[w][i], m;
			qsort(x, rounds, sizeof *x, by_value);
			m = x[rounds / 2];
			printf("%-30s %-7s %8.2f  (%.2f .. %.2f)", w ? "" : names[i], ways[w].name,
			       m, x[0], x[rounds - 1]);
			if (i != EVICT)
				printf("  %.2f GB/s", BLOCK / m / 1e3);
			putchar('\n');
		}
	return 0;
}
