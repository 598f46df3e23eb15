#include "fs/fuse/counters.h"

#include <stdio.h>

void ck_counters_init(struct ck_counters *c)
{
	*c = (struct ck_counters){ .lock = PTHREAD_MUTEX_INITIALIZER };
}

void ck_counters_failed(struct ck_counters *c)
{
	atomic_fetch_add_explicit(&c->reads_failed, 1, memory_order_relaxed);
}

void ck_counters_error(struct ck_counters *c, const char *line)
{
	pthread_mutex_lock(&c->lock);
	snprintf(c->last_error, sizeof c->last_error, "%s", line);
	c->last_error_at = time(NULL);
	pthread_mutex_unlock(&c->lock);
}

time_t ck_counters_last_error(struct ck_counters *c, char *out, size_t cap)
{
	pthread_mutex_lock(&c->lock);
	snprintf(out, cap, "%s", c->last_error);
	time_t at = c->last_error_at;
	pthread_mutex_unlock(&c->lock);
	return at;
}
