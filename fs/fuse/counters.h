/*
 * counters - what a mount did so far.
 * Threads: any.
 */
#ifndef CK_COUNTERS_H
#define CK_COUNTERS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum { CK_LAST_ERROR = 1152 };

struct ck_counters {
	_Atomic uint64_t reads, bytes_served; /* answered */
	_Atomic uint64_t reads_failed;
	pthread_mutex_t lock; /* over what follows */
	char last_error[CK_LAST_ERROR];
	time_t last_error_at; /* 0: none */
};

static inline void ck_counters_read(struct ck_counters *c, size_t nbytes)
{
	atomic_fetch_add_explicit(&c->reads, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&c->bytes_served, nbytes, memory_order_relaxed);
}

void ck_counters_init(struct ck_counters *c);

/* A read that failed; and what is told about it, once where it fails again and again. */
void ck_counters_failed(struct ck_counters *c);
void ck_counters_error(struct ck_counters *c, const char *line);

/* The last error, cut to CAP; returns when it was, 0: none. */
time_t ck_counters_last_error(struct ck_counters *c, char *out, size_t cap);

#endif
