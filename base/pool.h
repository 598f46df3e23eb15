/*
 * pool - a few threads that work off a bounded queue.
 * Threads: any may submit; jobs run beside each other in no order, with all signals blocked.
 */
#ifndef CK_POOL_H
#define CK_POOL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/err.h"

struct ck_pool; /* opaque */

/* N_THREADS (0: one for each CPU that we may use), started now; at most MAX_QUEUED jobs
 * wait. *OUT is the caller's to close. Errors: -EAGAIN (no threads), -ENOMEM. */
CK_MUST_CHECK int ck_pool_open(struct ck_pool **out, size_t n_threads, size_t max_queued,
			       struct ck_err *err);
/* Waits for all jobs, queued ones too. NULL is allowed. */
void ck_pool_close(struct ck_pool *p);

static inline void ck_pool_closep(struct ck_pool **p)
{
	ck_pool_close(*p);
}

/* CPUs that this process may use: at least 1. */
size_t ck_pool_n_cpus(void);

size_t ck_pool_n_threads(const struct ck_pool *p);

/* Has FN(ARG) run on one of the threads; false, and nothing is done, when the queue is full. */
CK_MUST_CHECK bool ck_pool_submit(struct ck_pool *p, void (*fn)(void *arg), void *arg);

#endif
