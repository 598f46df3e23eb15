/* A cache in a throw-away directory, and blobs whose bytes follow from their number. */
#ifndef TEST_BLOBCACHE_STAND_H
#define TEST_BLOBCACHE_STAND_H

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fs/cache/inside.h"
#include "fs/cache/survey.h"
#include "tests/unit/lib/make.h"
#include "tests/unit/lib/unit.h"

enum { BLOCK = CK_CACHE_BLOCK };

struct stand {
	char dir[64];
	struct ck_blobcache *c;
};

static inline int remove_one(const char *path, const struct stat *st, int flag, struct FTW *f)
{
	(void)st, (void)flag, (void)f;
	return remove(path);
}

static inline void remove_dir(const char *dir)
{
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline struct ck_blobcache *open_cache(const char *dir, uint64_t limit)
{
	struct ck_blobcache *c = NULL;
	struct ck_err err = { 0 };

	assert_works(ck_blobcache_open(&c, dir, limit, &err), &err);
	return c;
}

static inline void stand_up(struct stand *s, uint64_t limit)
{
	snprintf(s->dir, sizeof s->dir, "/tmp/cloakfs-blobcache.XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	s->c = open_cache(s->dir, limit);
}

static inline void stand_down(struct stand *s)
{
	ck_blobcache_close(s->c);
	remove_dir(s->dir);
}

static inline void digest_of(uint8_t out[CK_SHA256_LEN], uint32_t blob)
{
	ck_sha256(out, &blob, sizeof blob);
}

/* DIR/KIND/<hex>, in one of a few places that are used in turn. */
static inline const char *path_of(const char *dir, const char *kind, uint32_t blob)
{
	static char paths[4][256];
	static unsigned next;
	uint8_t digest[CK_SHA256_LEN];
	char hex[CK_PLACE_HEX];

	digest_of(digest, blob);
	ck_hex(hex, digest, sizeof digest);
	char *path = paths[next++ % 4];
	snprintf(path, sizeof paths[0], "%s/%s/%s", dir, kind, hex);
	return path;
}

static inline void block_of(uint8_t *out, uint32_t blob, uint64_t idx, size_t len)
{
	uint64_t seed = (uint64_t)blob << 32 | (idx + 1);

	for (size_t i = 0; i < len; i += 8) {
		uint64_t v = mk_random(&seed);
		memcpy(out + i, &v, len - i < 8 ? len - i : 8);
	}
}

static inline struct ck_cached_blob *open_blob(struct ck_blobcache *c, uint32_t blob, uint64_t size)
{
	struct ck_cached_blob *b = NULL;
	struct ck_err err = { 0 };
	uint8_t digest[CK_SHA256_LEN];

	digest_of(digest, blob);
	assert_works(ck_cached_blob_open(&b, c, digest, size, &err), &err);
	return b;
}

static inline void put(struct ck_cached_blob *b, uint32_t blob, uint64_t idx)
{
	uint8_t buf[BLOCK];
	size_t len = ck_blobfile_len(&b->file, idx);

	block_of(buf, blob, idx, len);
	ck_cached_blob_put(b, idx, buf);
}

static inline void put_all(struct ck_cached_blob *b, uint32_t blob)
{
	for (uint64_t i = 0; i < b->file.n_blocks; i++)
		put(b, blob, i);
}

/* 1: there, 0: not there, -1: there and wrong, which must never be. Nothing is written behind a
 * block's end. */
static inline int look(struct ck_cached_blob *b, uint32_t blob, uint64_t idx)
{
	uint8_t got[BLOCK + 16], want[BLOCK];
	size_t len = idx < b->file.n_blocks ? ck_blobfile_len(&b->file, idx) : 0;

	memset(got, 0xa5, sizeof got);
	if (!ck_cached_blob_get(b, idx, got))
		return 0;
	block_of(want, blob, idx, len);
	for (size_t i = len; i < sizeof got; i++)
		if (got[i] != 0xa5)
			return -1;
	return memcmp(got, want, len) == 0 ? 1 : -1;
}

/* How many blocks are there; all of them are right. */
static inline uint64_t count_right(struct ck_cached_blob *b, uint32_t blob)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < b->file.n_blocks; i++) {
		int is = look(b, blob, i);
		if (is < 0)
			fail_msg("block %llu of blob %u is wrong", (unsigned long long)i, blob);
		n += (uint64_t)is;
	}
	return n;
}

static inline bool has(struct ck_cached_blob *b, uint64_t idx)
{
	bool have = true;

	ck_cached_blob_have(b, idx, 1, &have);
	return have;
}

/* Bytes that the files under DIR take. */
static inline uint64_t disk_under(const char *dir)
{
	uint64_t sum = 0;
	DIR *d = opendir(dir);

	for (struct dirent *e; d && (e = readdir(d));) {
		char *path = NULL;
		struct stat st;
		if (e->d_name[0] == '.' && e->d_name[1] != 't')
			continue;
		assert_true(asprintf(&path, "%s/%s", dir, e->d_name) > 0);
		if (lstat(path, &st) == 0)
			sum +=
			    S_ISDIR(st.st_mode) ? disk_under(path) : (uint64_t)st.st_blocks * 512;
		free(path);
	}
	if (d)
		closedir(d);
	return sum;
}

/* Sets when a block was used last: so many seconds ago. */
static inline void age_block(struct ck_cached_blob *b, uint64_t idx, double seconds)
{
	uint32_t used = ck_cache_now() - (uint32_t)(int64_t)(seconds * CK_TICKS);

	assert_int_equal(
	    pwrite(b->fd, &used, 4, (off_t)(b->file.head + CK_BLOBFILE_HEADER + idx * 8 + 4)), 4);
}

static inline uint32_t used_of(struct ck_cached_blob *b, uint64_t idx)
{
	struct ck_blobfile_word w;

	ck_blobfile_words(&b->file, b->fd, idx, 1, &w);
	return w.used;
}

static inline void save(struct ck_blobcache *c, const char *kind, uint32_t name, size_t nbytes)
{
	uint8_t *p = calloc(1, nbytes), digest[CK_SHA256_LEN];
	struct ck_err err = { 0 };

	digest_of(digest, name);
	assert_works(ck_blobcache_save(c, kind, digest, p, nbytes, &err), &err);
	free(p);
}

static inline int load(struct ck_blobcache *c, const char *kind, uint32_t name, struct ck_buf *out,
		       struct ck_err *err)
{
	uint8_t digest[CK_SHA256_LEN];

	digest_of(digest, name);
	return ck_blobcache_load(c, kind, digest, out, err);
}

static inline bool is_small_there(struct ck_blobcache *c, const char *kind, uint32_t name)
{
	struct ck_err err = { 0 };
	CK_BUF out = { 0 };

	return load(c, kind, name, &out, &err) == 0;
}

static inline void age_file(const char *path, time_t seconds)
{
	const struct timespec t[2] = { { .tv_nsec = UTIME_OMIT }, { time(NULL) - seconds, 0 } };

	assert_int_equal(utimensat(AT_FDCWD, path, t, 0), 0);
}

static inline void prune(struct ck_blobcache *c, uint64_t goal)
{
	struct ck_cache_pruned p;
	struct ck_err err = { 0 };

	assert_works(ck_blobcache_prune(&p, c, goal, false, &err), &err);
	assert_true(p.after <= goal);
}

#endif
