/*
 * 2Q (Johnson and Shasha, "2Q: A Low Overhead High Performance Buffer Management Replacement
 * Algorithm", VLDB 1994), in bytes and over several shards.
 *
 * A shard holds the units whose key hashes to it, under a lock of its own, in two queues. What
 * goes first is settled over all shards: a unit's place in its queue has a stamp of the cache's
 * one clock, each shard shows the stamps of its oldest units, and the oldest of all is the
 * victim. No thread ever holds two locks.
 */
#include "tar/unitcache.h"

#include <errno.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/cleanup.h"
#include "base/secret.h"

/* N_GHOSTS, of a shard: more than half a cache of 512 MiB has in the smallest units. */
enum { N_SHARDS = 8, N_BUCKETS = 128, N_GHOSTS = 512 };

/* FIFO: asked for once, or several times in a row. MAIN: asked for again after that. */
enum queue { FIFO, MAIN, N_QUEUES };

struct ck_unit {
	void *owner;
	uint32_t idx;
	size_t nbytes;
	size_t cap; /* bytes that data has room for, and that count */
	uint8_t *data;
	unsigned users; /* callers between get and put, the filling one too */
	bool filling;	/* data is not there yet: wait */
	int code;	/* why filling failed; the unit is then out of table and queue */
	struct ck_err err;
	enum queue queue;
	uint64_t stamp;	       /* of its place in the queue */
	struct ck_unit *chain; /* next in the bucket */
	TAILQ_ENTRY(ck_unit) link;
};

TAILQ_HEAD(units, ck_unit);

/* The key of a unit that fell out of the FIFO. */
struct ghost {
	const void *owner; /* NULL: none */
	uint32_t idx;
	uint64_t fell; /* the cache's count by then */
};

struct shard {
	alignas(64) pthread_mutex_t lock;
	pthread_cond_t filled;
	struct units queues[N_QUEUES];	       /* oldest first */
	atomic_uint_fast64_t oldest[N_QUEUES]; /* stamp of the oldest unused unit, or NONE */
	struct ck_unit *buckets[N_BUCKETS];
	struct ghost ghosts[N_GHOSTS]; /* a ring */
	size_t next_ghost;
	struct ck_unitcache_stats stats; /* its bytes and n_ghosts are not used */
};

#define NONE UINT64_MAX

struct ck_unitcache {
	size_t max_bytes;
	atomic_size_t bytes, fifo_bytes; /* of all units in the tables; of those in FIFOs */
	atomic_uint_fast64_t clock;	 /* for stamps */
	atomic_uint_fast64_t fell;	 /* bytes that ever fell out of FIFOs */
	struct shard shards[N_SHARDS];
};

int ck_unitcache_open(struct ck_unitcache **out, size_t max_bytes, struct ck_err *err)
{
	struct ck_unitcache *c = aligned_alloc(alignof(struct ck_unitcache), sizeof *c);

	if (!c)
		return ck_nomem(err, "making the unit cache");
	memset(c, 0, sizeof *c);
	c->max_bytes = max_bytes;
	for (size_t i = 0; i < N_SHARDS; i++) {
		struct shard *s = &c->shards[i];
		pthread_mutex_init(&s->lock, NULL);
		pthread_cond_init(&s->filled, NULL);
		for (int q = 0; q < N_QUEUES; q++) {
			TAILQ_INIT(&s->queues[q]);
			atomic_init(&s->oldest[q], NONE);
		}
	}
	*out = c;
	return 0;
}

static uint64_t hash(const void *owner, uint32_t idx)
{
	uint64_t h = ((uint64_t)(uintptr_t)owner >> 4) * 0x9e3779b97f4a7c15ULL + idx;

	return h * 0x9e3779b97f4a7c15ULL;
}

static struct shard *shard(struct ck_unitcache *c, const void *owner, uint32_t idx)
{
	return &c->shards[hash(owner, idx) >> 61];
}

static struct ck_unit **bucket(struct shard *s, const void *owner, uint32_t idx)
{
	return &s->buckets[(hash(owner, idx) >> 54) % N_BUCKETS];
}

static struct ck_unit *find(struct shard *s, const void *owner, uint32_t idx)
{
	struct ck_unit *u = *bucket(s, owner, idx);

	while (u && (u->owner != owner || u->idx != idx))
		u = u->chain;
	return u;
}

static void unit_free(struct ck_unit *u)
{
	if (u->data)
		ck_wipe(u->data, u->cap);
	free(u->data);
	free(u);
}

static struct ck_unit *oldest_unused(struct shard *s, enum queue q)
{
	struct ck_unit *u = TAILQ_FIRST(&s->queues[q]);

	while (u && u->users) /* as many as threads are at work, at most */
		u = TAILQ_NEXT(u, link);
	return u;
}

/* Shows the others what the shard has to give; after each change of users or queues. */
static void publish(struct shard *s, enum queue q)
{
	const struct ck_unit *u = oldest_unused(s, q);

	atomic_store(&s->oldest[q], u ? u->stamp : NONE);
}

static void add_newest(struct ck_unitcache *c, struct shard *s, struct ck_unit *u)
{
	u->stamp = atomic_fetch_add(&c->clock, 1);
	TAILQ_INSERT_TAIL(&s->queues[u->queue], u, link);
}

/* Counts NBYTES more (modulo SIZE_MAX + 1: or less) for U. */
static void count(struct ck_unitcache *c, const struct ck_unit *u, size_t nbytes)
{
	atomic_fetch_add(&c->bytes, nbytes);
	if (u->queue == FIFO)
		atomic_fetch_add(&c->fifo_bytes, nbytes);
}

/* Takes U out of table and queue; it can be found no more. */
static void forget(struct ck_unitcache *c, struct shard *s, struct ck_unit *u)
{
	struct ck_unit **at = bucket(s, u->owner, u->idx);

	while (*at != u)
		at = &(*at)->chain;
	*at = u->chain;
	TAILQ_REMOVE(&s->queues[u->queue], u, link);
	publish(s, u->queue);
	count(c, u, -u->cap);
}

static void add_ghost(struct ck_unitcache *c, struct shard *s, const struct ck_unit *u)
{
	uint64_t fell = atomic_fetch_add(&c->fell, u->nbytes) + u->nbytes;

	s->ghosts[s->next_ghost] = (struct ghost){ u->owner, u->idx, fell };
	s->next_ghost = (s->next_ghost + 1) % N_GHOSTS;
}

/* Ghosts live while as much as half a cache falls after them: what 2Q's authors found best. */
static bool ghost_lives(struct ck_unitcache *c, const struct ghost *g)
{
	return g->owner && atomic_load(&c->fell) - g->fell < c->max_bytes / 2;
}

/* Whether the unit fell out of the FIFO not long ago; that is then forgotten. */
static bool take_ghost(struct ck_unitcache *c, struct shard *s, const void *owner, uint32_t idx)
{
	for (size_t i = 0; i < N_GHOSTS; i++) {
		struct ghost *g = &s->ghosts[i];
		if (g->owner != owner || g->idx != idx)
			continue;
		bool lives = ghost_lives(c, g);
		g->owner = NULL;
		if (lives)
			return true;
	}
	return false;
}

/* The shard whose oldest unused unit in Q is the oldest of all; NULL: all are in use. */
static struct shard *shard_to_rob(struct ck_unitcache *c, enum queue q)
{
	struct shard *best = NULL;
	uint64_t least = NONE;

	for (size_t i = 0; i < N_SHARDS; i++) {
		uint64_t stamp = atomic_load(&c->shards[i].oldest[q]);
		if (stamp < least) {
			least = stamp;
			best = &c->shards[i];
		}
	}
	return best;
}

/* The oldest unused unit of Q, now the caller's to free. NULL: none is left, or the bound holds. */
static struct ck_unit *evict(struct ck_unitcache *c, enum queue q)
{
	struct ck_unit *u = NULL;
	bool needed = true;
	struct shard *s;

	while (!u && needed && (s = shard_to_rob(c, q))) {
		pthread_mutex_lock(&s->lock);
		/* Others may have been here in between. */
		needed = atomic_load(&c->bytes) > c->max_bytes;
		u = needed ? oldest_unused(s, q) : NULL;
		if (u) {
			forget(c, s, u);
			s->stats.evictions++;
			if (q == FIFO)
				add_ghost(c, s, u);
		}
		pthread_mutex_unlock(&s->lock);
	}
	return u;
}

/* HEIR, not yet filled, takes over U's buffer where that is hardly too large. Most units of a
 * layer are of one size, and to wipe memory that nobody looked at for long takes as much as a
 * tenth of the time in which a unit is made. */
static void inherit(struct ck_unitcache *c, struct ck_unit *heir, struct ck_unit *u)
{
	if (heir->data || u->cap < heir->cap || u->cap - heir->cap > heir->cap / 8)
		return;
	count(c, heir, u->cap - heir->cap);
	heir->cap = u->cap;
	heir->data = ck_take(u->data);
}

/* Drops unused units until the bound holds. The FIFO gives while it has more than its
 * quarter, else the main queue; each, when the other has nothing left to give. */
static void shrink(struct ck_unitcache *c, struct ck_unit *heir)
{
	while (atomic_load(&c->bytes) > c->max_bytes) {
		bool fifo = atomic_load(&c->fifo_bytes) > c->max_bytes / 4;
		struct ck_unit *u = evict(c, fifo ? FIFO : MAIN);
		if (!u)
			u = evict(c, fifo ? MAIN : FIFO);
		if (!u)
			break;
		if (heir)
			inherit(c, heir, u);
		unit_free(u);
	}
}

/* A unit to be filled by the caller; its bytes count from now on. */
static struct ck_unit *unit_new(struct ck_unitcache *c, struct shard *s, void *owner, uint32_t idx,
				size_t nbytes)
{
	struct ck_unit *u = calloc(1, sizeof *u);

	if (!u)
		return NULL;
	u->owner = owner;
	u->idx = idx;
	u->nbytes = u->cap = nbytes;
	u->users = 1;
	u->filling = true;
	u->queue = take_ghost(c, s, owner, idx) ? MAIN : FIFO;
	struct ck_unit **at = bucket(s, owner, idx);
	u->chain = *at;
	*at = u;
	add_newest(c, s, u);
	count(c, u, nbytes);
	return u;
}

/* Fills U, which this caller made, while others wait for it; lock held on both sides. */
static void fill_unit(struct ck_unitcache *c, struct shard *s, struct ck_unit *u,
		      ck_unit_fill_fn *fill)
{
	pthread_mutex_unlock(&s->lock);
	shrink(c, u);
	if (!u->data)
		u->data = malloc(u->cap ? u->cap : 1);
	int rc = u->data ? fill(u->owner, u->idx, u->data, u->nbytes, &u->err)
			 : ck_nomem(&u->err, "reading a layer");
	pthread_mutex_lock(&s->lock);
	u->code = rc < 0 ? rc : 0;
	if (u->code)
		forget(c, s, u);
	u->filling = false;
	pthread_cond_broadcast(&s->filled);
}

/* One more user of U, which is there or will be. */
static void join(struct ck_unitcache *c, struct shard *s, struct ck_unit *u)
{
	u->users++;
	if (u->queue == MAIN) {
		TAILQ_REMOVE(&s->queues[MAIN], u, link);
		add_newest(c, s, u);
	}
	publish(s, u->queue);
	while (u->filling)
		pthread_cond_wait(&s->filled, &s->lock);
}

/* One user less; ends the hold of the lock. */
static void release(struct ck_unitcache *c, struct shard *s, struct ck_unit *u)
{
	bool last = --u->users == 0, failed = u->code;

	if (last && !failed)
		publish(s, u->queue);
	pthread_mutex_unlock(&s->lock);
	if (last && failed)
		unit_free(u);
	shrink(c, NULL);
}

int ck_unitcache_get(struct ck_unitcache *c, void *owner, uint32_t idx, size_t nbytes,
		     ck_unit_fill_fn *fill, struct ck_unit **handle, const uint8_t **data,
		     struct ck_err *err)
{
	struct shard *s = shard(c, owner, idx);

	pthread_mutex_lock(&s->lock);
	struct ck_unit *u = find(s, owner, idx);
	if (u) {
		s->stats.hits++;
		join(c, s, u);
	} else {
		s->stats.misses++;
		u = unit_new(c, s, owner, idx, nbytes);
		if (u)
			fill_unit(c, s, u, fill);
	}
	int rc = u ? u->code : ck_nomem(err, "reading a layer");
	if (u && rc < 0) {
		if (err)
			*err = u->err;
		release(c, s, u);
		return rc;
	}
	pthread_mutex_unlock(&s->lock);
	if (u) {
		*handle = u;
		*data = u->data;
	}
	return rc;
}

void ck_unitcache_put(struct ck_unitcache *c, struct ck_unit *handle)
{
	struct shard *s = shard(c, handle->owner, handle->idx);

	pthread_mutex_lock(&s->lock);
	release(c, s, handle);
}

bool ck_unitcache_has(struct ck_unitcache *c, const void *owner, uint32_t idx)
{
	struct shard *s = shard(c, owner, idx);

	pthread_mutex_lock(&s->lock);
	bool has = find(s, owner, idx);
	pthread_mutex_unlock(&s->lock);
	return has;
}

/* Moves to GONE what OWNER (NULL: anybody) has unused in the queue. */
static void drop_queue(struct ck_unitcache *c, struct shard *s, enum queue q, const void *owner,
		       struct units *gone)
{
	for (struct ck_unit *u = TAILQ_FIRST(&s->queues[q]), *next; u; u = next) {
		next = TAILQ_NEXT(u, link);
		if ((owner && u->owner != owner) || u->users)
			continue;
		forget(c, s, u);
		TAILQ_INSERT_TAIL(gone, u, link);
	}
}

static void drop_shard(struct ck_unitcache *c, struct shard *s, const void *owner)
{
	struct units gone = TAILQ_HEAD_INITIALIZER(gone);
	struct ck_unit *u;

	pthread_mutex_lock(&s->lock);
	for (int q = 0; q < N_QUEUES; q++)
		drop_queue(c, s, q, owner, &gone);
	for (size_t i = 0; i < N_GHOSTS; i++)
		if (!owner || s->ghosts[i].owner == owner)
			s->ghosts[i].owner = NULL;
	pthread_mutex_unlock(&s->lock);
	while ((u = TAILQ_FIRST(&gone))) {
		TAILQ_REMOVE(&gone, u, link);
		unit_free(u);
	}
}

void ck_unitcache_drop(struct ck_unitcache *c, const void *owner)
{
	for (size_t i = 0; i < N_SHARDS; i++)
		drop_shard(c, &c->shards[i], owner);
}

void ck_unitcache_stats(struct ck_unitcache *c, struct ck_unitcache_stats *out)
{
	*out = (struct ck_unitcache_stats){ .bytes = atomic_load(&c->bytes),
					    .max_bytes = c->max_bytes };
	for (size_t i = 0; i < N_SHARDS; i++) {
		struct shard *s = &c->shards[i];
		pthread_mutex_lock(&s->lock);
		out->hits += s->stats.hits;
		out->misses += s->stats.misses;
		out->evictions += s->stats.evictions;
		for (size_t k = 0; k < N_GHOSTS; k++)
			out->n_ghosts += ghost_lives(c, &s->ghosts[k]);
		pthread_mutex_unlock(&s->lock);
	}
}

void ck_unitcache_close(struct ck_unitcache *c)
{
	if (!c)
		return;
	ck_unitcache_drop(c, NULL);
	for (size_t i = 0; i < N_SHARDS; i++) {
		pthread_cond_destroy(&c->shards[i].filled);
		pthread_mutex_destroy(&c->shards[i].lock);
	}
	free(c);
}
