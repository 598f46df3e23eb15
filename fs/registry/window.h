/*
 * window - a run of blocks of a remote blob that are being fetched, or were a moment ago.
 * Private to fs/registry. All under the lock of the blob whose list it is in, but for the bytes of
 * blocks that are done, which do not change while somebody holds the window.
 */
#ifndef CK_WINDOW_H
#define CK_WINDOW_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/err.h"
#include "fs/registry/net.h"

struct ck_window {
	uint64_t first;	 /* block */
	uint64_t n;	 /* blocks */
	uint64_t n_done; /* whose bytes are there, from the first on */
	uint8_t *buf;	 /* owned: n blocks */
	bool running;
	bool attached; /* what comes for another one passes by here, too, and ends it */
	bool stale;    /* what it has, or will have, proved wrong: not for new readers; ... */
	uint64_t wrong_first, wrong_end; /* ... and that lies within these blocks: not to be kept */
	bool afresh;
	uint64_t keeps;		/* the block that is being kept, and 1; 0: none */
	struct ck_net_job *job; /* of who fetches; NULL: attached, or over */
	uint64_t ticket;	/* the later it began, the higher */
	unsigned refs;		/* readers, and who fetches */
	int code;		/* how it ended, when it did */
	struct ck_err err;
	TAILQ_ENTRY(ck_window) link;
};

TAILQ_HEAD(ck_windows, ck_window);

/* A window in the list, held once, for whoever fetches; NULL: no memory. */
struct ck_window *ck_window_new(struct ck_windows *list, uint64_t first, uint64_t n);

/* Holds W once more; lets go of it. What nobody holds stays for a moment, as far as NET has memory
 * for it. */
void ck_window_take(struct ck_window *w, struct ck_net *net);
void ck_window_put(struct ck_windows *list, struct ck_window *w, struct ck_net *net);

/* Nobody new shall use what overlaps the blocks [FIRST, END). */
void ck_windows_disown(struct ck_windows *list, uint64_t first, uint64_t end, struct ck_net *net);
/* Frees idle ones, the oldest first, until WANT bytes are free; returns how many are. Tells no net.
 */
uint64_t ck_windows_give(struct ck_windows *list, uint64_t want);
/* Frees all; nobody holds any. */
void ck_windows_free(struct ck_windows *list, struct ck_net *net);

/* The window that has block IDX, or will; or that failed to get it, where it began after TICKET:
 * who came before that shares its fate, unless that is -EAGAIN; others may try again. NULL: none.
 */
struct ck_window *ck_windows_find(struct ck_windows *list, uint64_t idx, uint64_t ticket);

static inline bool ck_window_has(const struct ck_window *w, uint64_t idx)
{
	return idx >= w->first && idx - w->first < w->n;
}

#endif
