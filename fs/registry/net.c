#include "fs/registry/net.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/file.h"
#include "base/pool.h"

/* THREADS: connections at most, but for redirects. CROWD: fetches that nobody waits for yet. */
enum { THREADS = 16, CROWD = 256, TIMEOUT_MS = 30000 };

/* Of a request: while its answer comes the next one must have left. */
enum { PIECE_LEAST = 256 << 10, PIECE_MOST = 4 << 20 };

/* MEMORY: of what lies idle. QUIET_MS: readers come again after less than that; UNREAD_MS: who
 * reads a blob in order does. */
enum { MEMORY = 8 << 20, QUIET_MS = 5, UNREAD_MS = 1000 };

/* An average over the last few: each counts for a quarter. */
enum { WEIGHT = 4, SAMPLE_LEAST = 32 << 10 };

TAILQ_HEAD(queue, ck_net_job);

struct ck_net {
	uint64_t timeout_ms;
	struct ck_pool *pool;
	pthread_mutex_t lock;
	struct queue urgent, later;
	size_t n_later, n_working; /* jobs there; threads that work, or soon will */
	pthread_cond_t quiet;
	TAILQ_HEAD(, ck_net_user) users;
	bool cancelled;
	unsigned n_waiting;
	uint64_t waited_ms; /* when the last one stopped waiting */
	int64_t idle_memory;
	struct ck_net_stats stats;
};

int ck_net_open(struct ck_net **out, uint64_t timeout_ms, struct ck_err *err)
{
	pthread_condattr_t attr;
	struct ck_net *n = calloc(1, sizeof *n);

	if (!n)
		return ck_nomem(err, "opening the way to registries");
	int rc = ck_pool_open(&n->pool, THREADS, THREADS, err);
	if (rc < 0) {
		free(n);
		return rc;
	}
	n->timeout_ms = timeout_ms ? timeout_ms : TIMEOUT_MS;
	pthread_mutex_init(&n->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&n->quiet, &attr);
	pthread_condattr_destroy(&attr);
	TAILQ_INIT(&n->users);
	TAILQ_INIT(&n->urgent);
	TAILQ_INIT(&n->later);
	*out = n;
	return 0;
}

void ck_net_close(struct ck_net *n)
{
	if (!n)
		return;
	ck_net_cancel(n);
	ck_pool_close(n->pool);
	pthread_cond_destroy(&n->quiet);
	pthread_mutex_destroy(&n->lock);
	free(n);
}

void ck_net_cancel(struct ck_net *n)
{
	struct ck_net_user *u;

	pthread_mutex_lock(&n->lock);
	n->cancelled = true;
	TAILQ_FOREACH(u, &n->users, link)
	atomic_store(&u->cancel, true);
	pthread_cond_broadcast(&n->quiet);
	pthread_mutex_unlock(&n->lock);
}

void ck_net_stats(struct ck_net *n, struct ck_net_stats *out)
{
	pthread_mutex_lock(&n->lock);
	*out = n->stats;
	pthread_mutex_unlock(&n->lock);
}

void ck_net_join(struct ck_net *n, struct ck_net_user *u)
{
	pthread_mutex_lock(&n->lock);
	atomic_init(&u->cancel, n->cancelled);
	TAILQ_INSERT_TAIL(&n->users, u, link);
	pthread_mutex_unlock(&n->lock);
}

void ck_net_leave(struct ck_net *n, struct ck_net_user *u)
{
	pthread_mutex_lock(&n->lock);
	atomic_store(&u->cancel, true);
	pthread_cond_broadcast(&n->quiet);
	TAILQ_REMOVE(&n->users, u, link);
	pthread_mutex_unlock(&n->lock);
}

/* With the lock, as what follows. */
static void enqueue(struct ck_net *n, struct ck_net_job *j, bool urgent)
{
	j->queued = true;
	j->urgent = urgent;
	n->n_later += !urgent;
	TAILQ_INSERT_TAIL(urgent ? &n->urgent : &n->later, j, link);
}

static void dequeue(struct ck_net *n, struct ck_net_job *j)
{
	TAILQ_REMOVE(j->urgent ? &n->urgent : &n->later, j, link);
	n->n_later -= !j->urgent;
	j->queued = false;
}

static struct ck_net_job *next(const struct ck_net *n)
{
	struct ck_net_job *j = TAILQ_FIRST(&n->urgent);

	return j ? j : TAILQ_FIRST(&n->later);
}

/* On a thread of the pool. */
static void work(void *arg)
{
	struct ck_net *n = arg;
	struct ck_net_job *j;

	pthread_mutex_lock(&n->lock);
	while ((j = next(n))) {
		dequeue(n, j);
		pthread_mutex_unlock(&n->lock);
		j->fn(j);
		pthread_mutex_lock(&n->lock);
	}
	n->n_working--;
	pthread_mutex_unlock(&n->lock);
}

void ck_net_run(struct ck_net *n, struct ck_net_job *j, bool urgent)
{
	pthread_mutex_lock(&n->lock);
	bool one_more = n->n_working < THREADS;
	n->n_working += one_more;
	enqueue(n, j, urgent);
	pthread_mutex_unlock(&n->lock);
	if (one_more && !ck_pool_submit(n->pool, work, n)) /* there is room for all */
		work(n);
}

void ck_net_hurry(struct ck_net *n, struct ck_net_job *j)
{
	pthread_mutex_lock(&n->lock);
	if (j->queued && !j->urgent) {
		dequeue(n, j);
		enqueue(n, j, true);
	}
	pthread_mutex_unlock(&n->lock);
}

bool ck_net_crowded(struct ck_net *n)
{
	pthread_mutex_lock(&n->lock);
	bool crowded = n->n_later >= CROWD;
	pthread_mutex_unlock(&n->lock);
	return crowded;
}

uint64_t ck_net_timeout_ms(const struct ck_net *n)
{
	return n->timeout_ms;
}

/* What fits into a round trip; 0: not known. With the lock. */
static uint64_t product(const struct ck_net *n)
{
	return n->stats.rate * n->stats.wait_us / 1000000;
}

uint64_t ck_net_piece(struct ck_net *n)
{
	pthread_mutex_lock(&n->lock);
	uint64_t piece = 4 * product(n);
	pthread_mutex_unlock(&n->lock);
	return piece < PIECE_LEAST ? PIECE_LEAST : piece > PIECE_MOST ? PIECE_MOST : piece;
}

static uint64_t average(uint64_t old, uint64_t sample)
{
	return old ? old - old / WEIGHT + sample / WEIGHT : sample;
}

void ck_net_note(struct ck_net *n, uint64_t nbytes, uint64_t wait_us, uint64_t body_us,
		 unsigned n_tries, bool failed)
{
	pthread_mutex_lock(&n->lock);
	struct ck_net_stats *s = &n->stats;
	s->requests++;
	s->retries += n_tries;
	s->bytes_fetched += nbytes;
	s->failed += failed;
	if (!failed && n_tries == 0) {
		s->wait_us = average(s->wait_us, wait_us ? wait_us : 1);
		if (nbytes >= SAMPLE_LEAST)
			s->rate = average(s->rate, nbytes * 1000000 / (body_us ? body_us : 1));
	}
	pthread_mutex_unlock(&n->lock);
}

void ck_net_note_kept(struct ck_net *n, uint64_t nbytes)
{
	pthread_mutex_lock(&n->lock);
	n->stats.bytes_kept += nbytes;
	pthread_mutex_unlock(&n->lock);
}

void ck_net_note_refetch(struct ck_net *n)
{
	pthread_mutex_lock(&n->lock);
	n->stats.refetched++;
	pthread_mutex_unlock(&n->lock);
}

void ck_net_wait_begin(struct ck_net *n)
{
	pthread_mutex_lock(&n->lock);
	n->n_waiting++;
	pthread_mutex_unlock(&n->lock);
}

void ck_net_wait_end(struct ck_net *n)
{
	pthread_mutex_lock(&n->lock);
	n->waited_ms = ck_now_ms();
	if (--n->n_waiting == 0)
		pthread_cond_broadcast(&n->quiet);
	pthread_mutex_unlock(&n->lock);
}

bool ck_net_idle(struct ck_net *n, const struct ck_net_user *u)
{
	pthread_mutex_lock(&n->lock);
	while (!atomic_load(&u->cancel)) {
		uint64_t now = ck_now_ms();
		if (n->n_waiting) {
			pthread_cond_wait(&n->quiet, &n->lock);
			continue;
		}
		if (now - n->waited_ms >= QUIET_MS)
			break;
		uint64_t until = n->waited_ms + QUIET_MS;
		struct timespec t = { (time_t)(until / 1000), (long)(until % 1000) * 1000000 };
		pthread_cond_timedwait(&n->quiet, &n->lock, &t);
	}
	bool idle = !atomic_load(&u->cancel);
	pthread_mutex_unlock(&n->lock);
	return idle;
}

/* Else blobs that were read once would keep what those need that are being read. With the lock. */
static void collect(struct ck_net *n)
{
	uint64_t now = ck_now_ms();
	struct ck_net_user *u;

	TAILQ_FOREACH(u, &n->users, link)
	{
		if (n->idle_memory <= MEMORY)
			return;
		if (u->give && atomic_load(&u->read_ms) + UNREAD_MS <= now)
			n->idle_memory -= (int64_t)u->give(u, (uint64_t)(n->idle_memory - MEMORY));
	}
}

bool ck_net_idle_memory(struct ck_net *n, int64_t change)
{
	pthread_mutex_lock(&n->lock);
	n->idle_memory += change;
	if (change > 0)
		collect(n);
	bool much = n->idle_memory > MEMORY;
	pthread_mutex_unlock(&n->lock);
	return much;
}
