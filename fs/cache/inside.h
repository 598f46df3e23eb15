/* inside - what the files of fs/cache share; nobody else includes it but tests. */
#ifndef CK_CACHE_INSIDE_H
#define CK_CACHE_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "fs/cache/blobcache.h"
#include "fs/cache/blobfile.h"
#include "fs/cache/place.h"

enum { CK_CACHE_DISK_UNIT = 4096 }; /* what files are rounded up to on most disks */

struct ck_blobcache {
	struct ck_place place;
	uint64_t limit, step;	  /* bytes; what is written between two looks at the total */
	pthread_mutex_t bounding; /* held by the thread that looks and makes room */
	/* What there is, is BASE and RESERVED: all that anybody was to write, of which WRITTEN is
	 * done, and was there to be seen by a look that came later. */
	_Atomic int64_t base, reserved, written;
	_Atomic uint64_t since; /* bytes that somebody wanted to write since */
	atomic_bool no_punch;	/* the filesystem cannot give back parts of files */
	/* Of trouble with writing: */
	_Atomic uint64_t paused_until; /* of ck_now_ms */
	pthread_mutex_t telling;
	int told; /* errno, and when */
	uint64_t told_ms;
};

struct ck_cached_blob {
	struct ck_blobcache *cache;
	struct ck_place_name name;
	struct ck_blobfile file;
	/* The number stays; which file it is of is changed by dup3, under the lock, because others
	 * read from it. -1: none yet. */
	atomic_int fd;
	atomic_bool writable;
	pthread_mutex_t lock;
};

struct timespec;
uint32_t ck_cache_ticks(const struct timespec *t);
uint32_t ck_cache_now(void); /* ticks of blobfile.h */

/*
 * Whether NBYTES more may be written: within the limit as far as is known, and no trouble lately.
 * Now and then it looks at what all processes' files take, and makes room. Who was let says when he
 * has written, or failed to.
 */
bool ck_cache_room(struct ck_blobcache *c, uint64_t nbytes);
void ck_cache_room_used(struct ck_blobcache *c, uint64_t nbytes);

/* Writing failed with RC: nothing is written for a while. One log line, not often. */
void ck_cache_trouble(struct ck_blobcache *c, int rc);

/* ck_blobcache_load; without USE it stays as old as it is. */
CK_MUST_CHECK int ck_cache_load(struct ck_blobcache *c, const char *kind,
				const uint8_t digest[CK_SHA256_LEN], bool use, struct ck_buf *out,
				struct ck_err *err);

#endif
