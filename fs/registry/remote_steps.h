/* remote_steps - what the files of the remote blob share. */
#ifndef CK_REMOTE_STEPS_H
#define CK_REMOTE_STEPS_H

#include <pthread.h>

#include "fs/registry/remote.h"
#include "fs/registry/window.h"

enum { CK_REMOTE_STREAMS = 4, CK_REMOTE_AFRESH = 8 };

/* Who reads in order. All in bytes of the blob. */
struct ck_stream {
	uint64_t next;	/* what is read next */
	uint64_t run;	/* how much was read in order so far */
	uint64_t asked; /* fetched for ahead up to here */
	uint64_t used;
};

/* Blocks that proved wrong, and come from the origin next time. */
struct ck_blocks {
	uint64_t first, end;
};

struct ck_remote {
	struct ck_net *net;
	struct ck_registry *registry;
	struct ck_cached_blob *kept; /* NULL: nothing is */
	uint8_t digest[CK_SHA256_LEN];
	uint64_t size, n_blocks;
	struct ck_net_user user;
	atomic_uint_fast64_t fetched;
	pthread_mutex_t lock; /* over what follows */
	pthread_cond_t news;  /* a block came, a fetch ended */
	struct ck_windows windows;
	unsigned n_running; /* fetches */
	struct ck_stream streams[CK_REMOTE_STREAMS];
	uint64_t clock;
	struct ck_blocks afresh[CK_REMOTE_AFRESH];
	/* The registry knows no ranges, and the whole blob comes, of which this block is next. */
	bool whole;
	uint64_t whole_next;
};

static inline size_t ck_remote_block_len(const struct ck_remote *r, uint64_t idx)
{
	return idx + 1 < r->n_blocks ? CK_CACHE_BLOCK : (size_t)(r->size - idx * CK_CACHE_BLOCK);
}

/* Begins to fetch N blocks from FIRST on, URGENT when somebody waits; with the lock. *OUT, when it
 * is not NULL, is the caller's to put. Errors: -ENOMEM. */
CK_MUST_CHECK int ck_remote_begin(struct ck_remote *r, uint64_t first, uint64_t n, bool urgent,
				  struct ck_window **out, struct ck_err *err);

/* The blocks [FIRST, END) come from the origin next time. With the lock. */
void ck_remote_distrust(struct ck_remote *r, uint64_t first, uint64_t end);

/* The first run of blocks in [FIRST, END) that are neither kept nor on their way, at most MOST of
 * them: its start, and how many in *N; END and 0: there is none. With the lock. */
uint64_t ck_remote_missing(struct ck_remote *r, uint64_t first, uint64_t end, uint64_t most,
			   uint64_t *n);

#endif
