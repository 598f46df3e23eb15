#include "fs/background.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/log.h"

/* N_THREADS: requests at once for what is urgent; the rest has time. PAUSE_MS: before what failed
 * is tried again, doubled each time. */
enum { N_THREADS = 4, PAUSE_MS = 2000, PAUSE_MOST_MS = 60000 };

struct ck_background {
	struct ck_background_item *items; /* owned */
	size_t n, n_urgent, counted;	  /* from there on, for the progress */
	struct ck_prefetch_progress *progress;
	pthread_mutex_t lock; /* over what follows */
	pthread_cond_t ending;
	size_t next;
	bool end;
	bool failing; /* it was told */
	size_t n_threads;
	pthread_t threads[N_THREADS];
};

/* Waits for MS, or until the end. With the lock. */
static void rest(struct ck_background *p, uint64_t ms)
{
	uint64_t until = ck_now_ms() + ms;
	struct timespec t = { (time_t)(until / 1000), (long)(until % 1000) * 1000000 };

	while (!p->end && pthread_cond_timedwait(&p->ending, &p->lock, &t) == 0)
		;
}

static void tell(struct ck_background *p, int rc, const struct ck_err *err)
{
	if (rc < 0 && !p->failing)
		ck_log(CK_LOG_WARNING, "prefetching waits: %s", err->msg);
	if (rc == 0 && p->failing)
		ck_log(CK_LOG_INFO, "prefetching goes on");
	p->failing = rc < 0;
}

/* Until it is there, or the end has come. With the lock. */
static void fetch(struct ck_background *p, size_t idx)
{
	const struct ck_background_item *i = &p->items[idx];
	uint64_t pause = PAUSE_MS;

	while (!p->end) {
		struct ck_err err = { 0 };
		pthread_mutex_unlock(&p->lock);
		int rc = ck_remote_prefetch(i->remote, i->off, i->len, idx < p->n_urgent, &err);
		pthread_mutex_lock(&p->lock);
		if (rc == -ECANCELED)
			p->end = true;
		if (p->end)
			return;
		tell(p, rc, &err);
		if (rc == 0) {
			if (idx >= p->counted)
				atomic_fetch_add(&p->progress->done, i->len);
			return;
		}
		rest(p, pause);
		pause = 2 * pause < PAUSE_MOST_MS ? 2 * pause : PAUSE_MOST_MS;
	}
}

static void *work(void *arg)
{
	struct ck_background *p = arg;

	pthread_mutex_lock(&p->lock);
	bool first = pthread_equal(pthread_self(), p->threads[0]);
	while (!p->end && p->next < (first ? p->n : p->n_urgent))
		fetch(p, p->next++);
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static int start_threads(struct ck_background *p, size_t n)
{
	sigset_t all, old;
	int rc = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_mutex_lock(&p->lock); /* until all have names */
	while (rc == 0 && p->n_threads < n) {
		rc = pthread_create(&p->threads[p->n_threads], NULL, work, p);
		p->n_threads += rc == 0;
	}
	pthread_mutex_unlock(&p->lock);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return p->n_threads ? 0 : rc;
}

int ck_background_start(struct ck_background **out, const struct ck_background_item *items,
			size_t n, size_t n_urgent, struct ck_prefetch_progress *progress,
			struct ck_err *err)
{
	pthread_condattr_t attr;
	struct ck_background *p = calloc(1, sizeof *p);
	uint64_t total = 0;

	if (!p || !(p->items = reallocarray(NULL, n + 1, sizeof *items))) {
		free(p);
		return ck_nomem(err, "prefetching");
	}
	p->counted = n_urgent < n ? n_urgent : 0;
	for (size_t i = 0; i < n; i++) {
		p->items[i] = items[i];
		total += i >= p->counted ? items[i].len : 0;
	}
	p->n = n;
	p->n_urgent = n_urgent;
	p->progress = progress;
	atomic_store(&progress->done, 0);
	atomic_store(&progress->total, total);
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&p->ending, &attr);
	pthread_condattr_destroy(&attr);
	int rc = start_threads(p, n_urgent > 1 ? N_THREADS : 1);
	if (rc) {
		ck_background_stop(p);
		return ck_fail(err, -rc, "cannot start a thread: %s", strerror(rc));
	}
	*out = p;
	return 0;
}

void ck_background_stop(struct ck_background *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->end = true;
	pthread_cond_broadcast(&p->ending);
	pthread_mutex_unlock(&p->lock);
	for (size_t i = 0; i < p->n_threads; i++)
		pthread_join(p->threads[i], NULL);
	pthread_cond_destroy(&p->ending);
	pthread_mutex_destroy(&p->lock);
	free(p->items);
	free(p);
}
