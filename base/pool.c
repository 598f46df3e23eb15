#include "base/pool.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>

struct job {
	void (*fn)(void *arg);
	void *arg;
};

struct ck_pool {
	pthread_mutex_t lock;
	pthread_cond_t more; /* a job was queued, or the end has come */
	bool ending;
	size_t first, n_jobs, cap; /* a ring */
	struct job *jobs;
	size_t n_threads;
	pthread_t threads[];
};

static void *work(void *arg)
{
	struct ck_pool *p = arg;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		while (!p->n_jobs && !p->ending)
			pthread_cond_wait(&p->more, &p->lock);
		if (!p->n_jobs)
			break;
		struct job j = p->jobs[p->first];
		p->first = (p->first + 1) % p->cap;
		p->n_jobs--;
		pthread_mutex_unlock(&p->lock);
		j.fn(j.arg);
		pthread_mutex_lock(&p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

size_t ck_pool_n_cpus(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;

	return n > 0 ? (size_t)n : 1;
}

/* Signals stay with the program's own threads: one that ends a mount must not find a thread
 * here that has not blocked it. */
static int start_threads(struct ck_pool *p, size_t n)
{
	sigset_t all, old;
	int rc = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (rc == 0 && p->n_threads < n) {
		rc = pthread_create(&p->threads[p->n_threads], NULL, work, p);
		p->n_threads += rc == 0;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc;
}

int ck_pool_open(struct ck_pool **out, size_t n_threads, size_t max_queued, struct ck_err *err)
{
	size_t n = n_threads ? n_threads : ck_pool_n_cpus();
	CK_AUTO(ck_pool_closep) struct ck_pool *p = calloc(1, sizeof *p + n * sizeof p->threads[0]);

	if (!p)
		return ck_nomem(err, "starting worker threads");
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->more, NULL);
	p->cap = max_queued ? max_queued : 1;
	p->jobs = calloc(p->cap, sizeof *p->jobs);
	if (!p->jobs)
		return ck_nomem(err, "starting worker threads");
	if (start_threads(p, n) != 0)
		return ck_fail(err, -EAGAIN, "cannot start a thread");
	*out = ck_take(p);
	return 0;
}

void ck_pool_close(struct ck_pool *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->ending = true;
	pthread_cond_broadcast(&p->more);
	pthread_mutex_unlock(&p->lock);
	for (size_t i = 0; i < p->n_threads; i++)
		pthread_join(p->threads[i], NULL);
	pthread_cond_destroy(&p->more);
	pthread_mutex_destroy(&p->lock);
	free(p->jobs);
	free(p);
}

size_t ck_pool_n_threads(const struct ck_pool *p)
{
	return p->n_threads;
}

bool ck_pool_submit(struct ck_pool *p, void (*fn)(void *arg), void *arg)
{
	pthread_mutex_lock(&p->lock);
	bool room = p->n_jobs < p->cap;
	if (room) {
		p->jobs[(p->first + p->n_jobs) % p->cap] = (struct job){ fn, arg };
		p->n_jobs++;
		pthread_cond_signal(&p->more);
	}
	pthread_mutex_unlock(&p->lock);
	return room;
}
