/*
 * played - a registry that the test plays, as far as remote blobs see it, in the place of the real
 * one; and a remote blob of it. Everything aborts on failure.
 */
#ifndef CK_TEST_PLAYED_H
#define CK_TEST_PLAYED_H

#include <pthread.h>

#include "fs/registry/remote.h"
#include "tests/unit/lib/unit.h"

/* PIECE: blocks that are asked for at once, at least. PROVED: blocks after which who reads in order
 * has proved it. */
enum { B = CK_CACHE_BLOCK, PIECE = (256 << 10) / B, PROVED = 5 * PIECE, PLAYED_CALLS = 4096 };

/* The part of a registry that a remote blob sees. */
struct ck_registry {
	pthread_mutex_t lock;
	pthread_cond_t moved;
	const uint8_t *data;
	uint64_t size;
	struct ck_registry_want calls[PLAYED_CALLS];
	size_t n_calls, n_waiting;
	bool gate;	    /* nothing comes until it is opened */
	bool gate_next;	    /* the same, at hold_next */
	bool no_ranges;	    /* the whole blob comes, whatever is asked for */
	bool skips;	    /* a piece is left out */
	bool lies;	    /* a byte in each block is wrong, unless asked afresh */
	size_t together;    /* so many calls come before any of them is answered */
	unsigned fails;	    /* so many fetches fail */
	uint64_t cut;	    /* fetches fail after so many bytes; 0: they do not */
	bool heals;	    /* a blob whose whole was cut has ranges from then on */
	uint64_t hold_at;   /* of a whole blob: waits there for the gate ... */
	uint64_t hold_next; /* ... and there for the next one */
};

struct stand {
	struct ck_registry registry;
	struct ck_buf data;
	struct ck_net *net;
	struct ck_blobcache *cache;
	struct ck_reader *reader;
	struct ck_remote *remote;
};

/* NBYTES of noise, and a net that waits TIMEOUT_MS; CACHED: in memory. */
void stand_up(struct stand *s, size_t nbytes, uint64_t timeout_ms, bool cached);
void stand_down(struct stand *s);

void gate(struct stand *s, bool closed);
void gate_next(struct stand *s, bool closed);
/* Until N fetches wait at the gate. */
void await_waiting(struct stand *s, size_t n);

size_t n_calls(struct stand *s);
/* How often each block was asked for, at most. */
unsigned most_asked(struct stand *s);

/* Reads, and compares what comes. */
int read_at(struct stand *s, uint64_t off, size_t nbytes, struct ck_err *err);
void read_ok(struct stand *s, uint64_t off, size_t nbytes);

#endif
