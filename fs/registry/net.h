/*
 * net - what the remote blobs of a process share: threads that fetch, what the network proved
 * to be like, who waits for it, and the memory of what was fetched and not read yet.
 * Threads: any.
 */
#ifndef CK_NET_H
#define CK_NET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/err.h"

struct ck_net; /* opaque */

/* TIMEOUT_MS: for how long a read waits for what it needs; 0: 30,000. *OUT is the caller's to
 * close. Errors: -EAGAIN (no threads), -ENOMEM. */
CK_MUST_CHECK int ck_net_open(struct ck_net **out, uint64_t timeout_ms, struct ck_err *err);
/* Nobody may use it any more. NULL is allowed. */
void ck_net_close(struct ck_net *n);

static inline void ck_net_closep(struct ck_net **n)
{
	ck_net_close(*n);
}

/* Ends what is being fetched, and whatever is asked for from now on, with -ECANCELED. */
void ck_net_cancel(struct ck_net *n);

struct ck_net_stats {
	uint64_t requests, retries; /* the latter beyond the first try */
	uint64_t bytes_fetched;	    /* of answers' bodies */
	uint64_t bytes_kept;	    /* read from the cache instead */
	uint64_t refetched;	    /* times that what came was found to be wrong */
	uint64_t failed;	    /* fetches that were given up */
	uint64_t wait_us, rate;	    /* a round trip; bytes a second: as measured, 0: not yet */
};

void ck_net_stats(struct ck_net *n, struct ck_net_stats *out);

/* What follows is for fs/registry/remote.c. */

/* One who fetches; its fetches look at CANCEL. */
struct ck_net_user {
	atomic_bool cancel;
	/* When somebody last read of it, or said he would, of ck_now_ms. From one of whom nobody
	 * has for a while GIVE (NULL: it has none) takes memory that lies idle, WANT bytes if it
	 * can be, and returns how much it was: at once or not at all, because others' locks are
	 * held, and without a call of these functions. */
	atomic_uint_fast64_t read_ms;
	uint64_t (*give)(struct ck_net_user *u, uint64_t want);
	TAILQ_ENTRY(ck_net_user) link;
};

void ck_net_join(struct ck_net *n, struct ck_net_user *u);
void ck_net_leave(struct ck_net *n, struct ck_net_user *u);

/* A fetch that waits for a thread, or has one; the caller's, part of something larger. */
struct ck_net_job {
	void (*fn)(struct ck_net_job *j); /* may free it */
	bool queued, urgent;
	TAILQ_ENTRY(ck_net_job) link;
};

/* Runs J on a thread for fetches: an URGENT one, for which somebody waits, before all others. */
void ck_net_run(struct ck_net *n, struct ck_net_job *j, bool urgent);
/* Somebody waits for J, which has not ended. */
void ck_net_hurry(struct ck_net *n, struct ck_net_job *j);
/* So many wait for their turn that what nobody waits for had better not be begun. */
bool ck_net_crowded(struct ck_net *n);

uint64_t ck_net_timeout_ms(const struct ck_net *n);

/* How much to ask for at once: while one answer comes, the next request is on its way. */
uint64_t ck_net_piece(struct ck_net *n);

/* A fetch ended. */
void ck_net_note(struct ck_net *n, uint64_t nbytes, uint64_t wait_us, uint64_t body_us,
		 unsigned n_tries, bool failed);
void ck_net_note_kept(struct ck_net *n, uint64_t nbytes);
void ck_net_note_refetch(struct ck_net *n);

/* A reader waits, and no longer. */
void ck_net_wait_begin(struct ck_net *n);
void ck_net_wait_end(struct ck_net *n);
/* Returns once no reader has waited for a moment, or false when U is cancelled. */
bool ck_net_idle(struct ck_net *n, const struct ck_net_user *u);

/* Memory of what was fetched and lies idle changed by so much; whether there is more of it than
 * there should be, though those gave theirs of whom nobody reads. */
bool ck_net_idle_memory(struct ck_net *n, int64_t change);

#endif
