/*
 * survey - a cache as its owner sees it: what is in it, making it smaller, checking it.
 * Threads and processes: any; the cache may be in use meanwhile.
 */
#ifndef CK_SURVEY_H
#define CK_SURVEY_H

#include "fs/cache/blobcache.h"

struct ck_cache_item {
	char kind[17]; /* "blobs", or that of a small thing */
	uint8_t digest[CK_SHA256_LEN];
	bool blob;
	bool damaged;	/* a blob's file that says nothing of its blob */
	uint64_t size;	/* bytes, of a blob all of them */
	uint64_t there; /* bytes of it that are in the cache */
	uint64_t disk;	/* bytes that its file takes */
	uint64_t used;	/* when last, seconds since the epoch; 0: never, or nobody knows */
};

struct ck_cache_items {
	struct ck_cache_item *v; /* by kind, the newest first */
	size_t n;
	uint64_t disk; /* bytes that all files take */
};

uint64_t ck_blobcache_limit(const struct ck_blobcache *c);

/* *OUT is the caller's to free either way. Errors: errnos, -ENOMEM. */
CK_MUST_CHECK int ck_blobcache_list(struct ck_cache_items *out, struct ck_blobcache *c,
				    struct ck_err *err);
void ck_cache_items_free(struct ck_cache_items *l);

struct ck_cache_pruned {
	uint64_t before, after; /* bytes that files take */
};

/* Makes the cache take at most GOAL bytes, the oldest first; with ALL whatever nobody uses goes.
 * Waits for others who make room. Errors: errnos, -ENOMEM. */
CK_MUST_CHECK int ck_blobcache_prune(struct ck_cache_pruned *out, struct ck_blobcache *c,
				     uint64_t goal, bool all, struct ck_err *err);

struct ck_cache_verdict {
	uint64_t blobs, blocks, whole;	/* checked; blobs whose digest could be, too */
	uint64_t bad_blobs, bad_blocks; /* dropped: whole ones of another digest, damaged ones */
	uint64_t files, bad_files;	/* small things, by their digests */
	uint64_t unchecked;		/* sealed indexes, which only their layers' keys open */
};

/* Reads everything, and drops what is wrong. Uses nothing: the oldest stays the oldest. Errors:
 * errnos, -ENOMEM; what is wrong is none. */
CK_MUST_CHECK int ck_blobcache_verify(struct ck_cache_verdict *out, struct ck_blobcache *c,
				      struct ck_err *err);

#endif
