#include "fs/cache/blobcache.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/log.h"
#include "fs/cache/evict.h"
#include "fs/cache/inside.h"

#define MIB ((uint64_t)1 << 20)

enum { PAUSE_MS = 60 * 1000, TELL_AGAIN_MS = 3600 * 1000 };

uint32_t ck_cache_ticks(const struct timespec *t)
{
	return (uint32_t)((uint64_t)t->tv_sec * CK_TICKS +
			  (uint64_t)t->tv_nsec * CK_TICKS / 1000000000);
}

uint32_t ck_cache_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME_COARSE, &t);
	return ck_cache_ticks(&t);
}

static uint64_t default_limit(const struct ck_place *p)
{
	uint64_t tenth = ck_place_capacity(p) / 10;

	if (!p->path)
		return 256 * MIB;
	if (tenth == 0 || tenth > 10240 * MIB)
		return 10240 * MIB;
	return tenth > MIB ? tenth : MIB;
}

int ck_blobcache_open(struct ck_blobcache **out, const char *dir, uint64_t limit,
		      struct ck_err *err)
{
	CK_AUTO(ck_freep) struct ck_blobcache *c = calloc(1, sizeof *c);

	if (!c)
		return ck_nomem(err, "opening the cache");
	int rc = ck_place_open(&c->place, dir, err);
	if (rc < 0)
		return rc;
	pthread_mutex_init(&c->bounding, NULL);
	pthread_mutex_init(&c->telling, NULL);
	c->limit = limit ? limit : default_limit(&c->place);
	if (c->limit > INT64_MAX / 2)
		c->limit = INT64_MAX / 2;
	c->step = c->limit / 64 < 4 * MIB ? c->limit / 64 : 4 * MIB;
	c->since = c->step; /* nothing is known yet */
	*out = ck_take(c);
	return 0;
}

void ck_blobcache_close(struct ck_blobcache *c)
{
	if (!c)
		return;
	ck_place_close(&c->place);
	pthread_mutex_destroy(&c->bounding);
	pthread_mutex_destroy(&c->telling);
	free(c);
}

/* What all files take now, after room was made for NBYTES where that is needed, and nobody else
 * does it: less what this process has written so far. */
static int64_t look(struct ck_blobcache *c, uint64_t nbytes)
{
	int64_t written = atomic_load(&c->written); /* what comes later may be listed or not */
	struct ck_place_list l = { 0 };
	CK_AUTO(ck_closep) int lock = -1;
	/* Seldom: of ten thousand blobs it takes most of a second to find which blocks are the
	 * oldest. Not much at once: a hole of a block costs ext4 0.1 ms. No reader waits for us. */
	uint64_t room = c->limit / 16 < 64 * MIB ? c->limit / 16 : 64 * MIB;
	int rc = ck_place_list(&c->place, &l);

	room = nbytes > room ? nbytes : room;
	if (rc == 0 && l.disk + nbytes > c->limit - c->step &&
	    ck_place_lock(&c->place, false, &lock) == 0)
		rc = ck_evict(c, &l, c->limit - room);
	/* Not known: nothing more is kept. */
	int64_t base = rc < 0 ? (int64_t)c->limit : (int64_t)l.disk - written;
	ck_place_list_free(&l);
	return base;
}

bool ck_cache_room(struct ck_blobcache *c, uint64_t nbytes)
{
	if (nbytes > c->limit || ck_now_ms() < atomic_load(&c->paused_until))
		return false;
	if (atomic_fetch_add(&c->since, nbytes) + nbytes > c->step &&
	    pthread_mutex_trylock(&c->bounding) == 0) {
		atomic_store(&c->since, nbytes);
		atomic_store(&c->base, look(c, nbytes));
		pthread_mutex_unlock(&c->bounding);
	}
	int64_t n = (int64_t)nbytes;
	if (atomic_fetch_add(&c->reserved, n) + n + atomic_load(&c->base) <= (int64_t)c->limit)
		return true;
	atomic_fetch_sub(&c->reserved, n);
	return false;
}

void ck_cache_room_used(struct ck_blobcache *c, uint64_t nbytes)
{
	atomic_fetch_add(&c->written, (int64_t)nbytes);
}

void ck_cache_trouble(struct ck_blobcache *c, int rc)
{
	uint64_t now = ck_now_ms();

	atomic_store(&c->paused_until, now + PAUSE_MS);
	pthread_mutex_lock(&c->telling);
	bool tell = c->told != rc || now - c->told_ms >= TELL_AGAIN_MS;
	if (tell) {
		c->told = rc;
		c->told_ms = now;
	}
	pthread_mutex_unlock(&c->telling);
	if (tell)
		ck_log(CK_LOG_WARNING,
		       "what is fetched is not kept for now: cannot write to %s: %s",
		       c->place.path ? c->place.path : "the cache in memory", strerror(-rc));
}

/* Errors of opening a file that say that it is none of ours; in its place comes one that is. */
static bool is_foreign(int rc)
{
	return rc == -EPERM || rc == -EACCES || rc == -ELOOP || rc == -ENXIO || rc == -ENODEV;
}

/* The blob's file as it should be, or what it may be overwritten with: -EBADMSG. */
static int open_there(struct ck_cached_blob *b, bool *writable)
{
	struct ck_place *p = &b->cache->place;

	*writable = true;
	int fd = ck_place_file(p, &b->name, true, true);
	if (fd == -EROFS || fd == -EACCES) {
		*writable = false;
		fd = ck_place_file(p, &b->name, false, true);
	}
	if (fd < 0)
		return is_foreign(fd) ? -EBADMSG : fd;
	if (ck_blobfile_sound(&b->file, fd))
		return fd;
	ck_place_done(p, &b->name, fd);
	return -EBADMSG;
}

static int make_file(struct ck_cached_blob *b, bool replace)
{
	struct ck_place_temp t = CK_PLACE_NO_TEMP;
	struct ck_place *p = &b->cache->place;
	int rc = ck_place_temp(p, b->name.kind, &t);

	if (rc < 0)
		return rc;
	rc = ck_blobfile_format(&b->file, t.fd);
	if (rc == 0)
		rc = ck_place_commit(p, &t, &b->name, replace, true);
	if (rc == 0) {
		/* Its header, and the map's first words. */
		atomic_fetch_add(&b->cache->reserved, 2 * CK_CACHE_DISK_UNIT);
		ck_cache_room_used(b->cache, 2 * CK_CACHE_DISK_UNIT);
		atomic_fetch_add(&b->cache->since, 2 * CK_CACHE_DISK_UNIT);
		rc = ck_take_fd(&t.fd);
	}
	ck_place_temp_drop(&t);
	return rc;
}

/* A descriptor of the blob's file, which is made where there is none, or no sound one. */
static int open_file(struct ck_cached_blob *b, bool *writable)
{
	int rc = -EAGAIN;

	/* Others make and remove it, too. */
	for (int tries = 0; tries < 8; tries++) {
		rc = open_there(b, writable);
		if (rc != -ENOENT && rc != -EBADMSG)
			return rc;
		*writable = true;
		rc = make_file(b, rc == -EBADMSG);
		if (rc != -EEXIST)
			return rc;
	}
	return rc;
}

/* A file that can be written, where there was none, or only one that could not, or one that lost
 * its name and so would grow where nobody sees it. */
static int renew(struct ck_cached_blob *b)
{
	bool writable;

	pthread_mutex_lock(&b->lock);
	int old = b->fd;
	bool lost = old >= 0 && ck_place_lost(&b->cache->place, old);
	int rc = 0;
	if (old < 0 || lost || !b->writable) {
		int fd = open_file(b, &writable);
		rc = fd < 0 ? fd : writable ? 0 : -EROFS;
		if (fd < 0) {
			b->writable = false;
			/* Reads from a directory find nothing; and the lost file is gone. */
			if (lost)
				(void)dup3(b->cache->place.dir, old, O_CLOEXEC);
		} else if (old < 0) {
			b->fd = fd;
			b->writable = writable;
		} else {
			rc = dup3(fd, old, O_CLOEXEC) < 0 ? -errno : rc;
			b->writable = writable;
			(void)close(fd);
		}
	}
	pthread_mutex_unlock(&b->lock);
	return rc;
}

int ck_cached_blob_open(struct ck_cached_blob **out, struct ck_blobcache *c,
			const uint8_t digest[CK_SHA256_LEN], uint64_t size, struct ck_err *err)
{
	struct ck_cached_blob *b = calloc(1, sizeof *b);

	if (!b)
		return ck_nomem(err, "opening the cache");
	pthread_mutex_init(&b->lock, NULL);
	b->cache = c;
	b->fd = -1;
	(void)ck_place_name(&b->name, CK_PLACE_BLOBS, digest);
	if (ck_blobfile_init(&b->file, digest, size))
		(void)renew(b); /* whoever puts something hears of it */
	*out = b;
	return 0;
}

void ck_cached_blob_close(struct ck_cached_blob *b)
{
	if (!b)
		return;
	ck_place_done(&b->cache->place, &b->name, b->fd);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

void ck_cached_blob_have(struct ck_cached_blob *b, uint64_t first, size_t n, bool *have)
{
	enum { WORDS = 256 };
	struct ck_blobfile_word w[WORDS];
	uint64_t end = b->fd < 0 ? 0 : b->file.n_blocks;

	for (size_t done = 0; done < n;) {
		uint64_t at = first + done;
		size_t k = n - done < WORDS ? n - done : WORDS;
		if (at >= end) {
			memset(have + done, 0, (n - done) * sizeof *have);
			return;
		}
		k = k < end - at ? k : (size_t)(end - at);
		ck_blobfile_words(&b->file, b->fd, at, k, w);
		for (size_t i = 0; i < k; i++)
			have[done + i] = w[i].sum != 0;
		done += k;
	}
}

bool ck_cached_blob_get(struct ck_cached_blob *b, uint64_t idx, void *buf)
{
	return idx < b->file.n_blocks && b->fd >= 0 &&
	       ck_blobfile_get(&b->file, b->fd, idx, buf, ck_cache_now());
}

void ck_cached_blob_put(struct ck_cached_blob *b, uint64_t idx, const void *buf)
{
	int rc = 0;

	if (idx >= b->file.n_blocks || !ck_cache_room(b->cache, CK_CACHE_BLOCK))
		return;
	if (b->fd < 0 || !b->writable || ck_place_lost(&b->cache->place, b->fd))
		rc = renew(b);
	if (rc == 0)
		rc = ck_blobfile_put(&b->file, b->fd, idx, buf, ck_cache_now());
	ck_cache_room_used(b->cache, CK_CACHE_BLOCK);
	if (rc < 0)
		ck_cache_trouble(b->cache, rc);
}

size_t ck_cached_blob_forget(struct ck_cached_blob *b, uint64_t first, uint64_t n)
{
	uint64_t dropped = 0;

	if (b->fd < 0 || first >= b->file.n_blocks)
		return 0;
	if (n > b->file.n_blocks - first)
		n = b->file.n_blocks - first;
	(void)ck_blobfile_drop(&b->file, b->fd, first, n, true, &dropped);
	return (size_t)dropped;
}

uint64_t ck_cached_blob_bytes(struct ck_cached_blob *b)
{
	uint64_t nbytes = 0;

	if (b->fd >= 0)
		(void)ck_blobfile_there(&b->file, b->fd, &nbytes);
	return nbytes;
}
