#include "tar/unitcache.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"

enum { N_BUCKETS = 1024 };

struct ck_unit {
	void *owner;
	uint32_t idx;
	size_t nbytes;
	uint8_t *data;
	unsigned users; /* callers between get and put, the filling one too */
	bool filling;	/* data is not there yet: wait */
	int code;	/* why filling failed; the unit is then out of the table */
	struct ck_err err;
	struct ck_unit *chain;	       /* next in the bucket */
	struct ck_unit *newer, *older; /* in the LRU ring, while users is 0 */
};

struct ck_unitcache {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	size_t max_bytes, bytes; /* bytes: of all units in the table */
	struct ck_unit lru;	 /* ring head: lru.newer is the oldest unit */
	struct ck_unit *buckets[N_BUCKETS];
};

int ck_unitcache_open(struct ck_unitcache **out, size_t max_bytes, struct ck_err *err)
{
	struct ck_unitcache *c = calloc(1, sizeof *c);

	if (!c)
		return ck_nomem(err, "making the unit cache");
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->filled, NULL);
	c->max_bytes = max_bytes;
	c->lru.newer = c->lru.older = &c->lru;
	*out = c;
	return 0;
}

static struct ck_unit **bucket(struct ck_unitcache *c, const void *owner, uint32_t idx)
{
	uint64_t h = ((uint64_t)(uintptr_t)owner >> 4) * 0x9e3779b97f4a7c15ULL + idx;

	h *= 0x9e3779b97f4a7c15ULL;
	return &c->buckets[h >> 54];
}

static void lru_remove(struct ck_unit *u)
{
	u->newer->older = u->older;
	u->older->newer = u->newer;
}

static void lru_add_newest(struct ck_unitcache *c, struct ck_unit *u)
{
	u->newer = &c->lru;
	u->older = c->lru.older;
	u->older->newer = u;
	c->lru.older = u;
}

static void unit_free(struct ck_unit *u)
{
	if (u->data)
		ck_wipe(u->data, u->nbytes);
	free(u->data);
	free(u);
}

/* Takes U out of its bucket; it can be found no more. */
static void forget(struct ck_unitcache *c, struct ck_unit *u)
{
	struct ck_unit **at = bucket(c, u->owner, u->idx);

	while (*at != u)
		at = &(*at)->chain;
	*at = u->chain;
	c->bytes -= u->nbytes;
}

/* Frees the oldest unused units until the bound holds. */
static void shrink(struct ck_unitcache *c, size_t max)
{
	while (c->bytes > max && c->lru.newer != &c->lru) {
		struct ck_unit *u = c->lru.newer;
		lru_remove(u);
		forget(c, u);
		unit_free(u);
	}
}

static struct ck_unit *find(struct ck_unitcache *c, const void *owner, uint32_t idx)
{
	struct ck_unit *u = *bucket(c, owner, idx);

	while (u && (u->owner != owner || u->idx != idx))
		u = u->chain;
	return u;
}

static struct ck_unit *unit_new(struct ck_unitcache *c, void *owner, uint32_t idx, size_t nbytes)
{
	struct ck_unit *u = calloc(1, sizeof *u);

	if (!u || !(u->data = malloc(nbytes ? nbytes : 1))) {
		free(u);
		return NULL;
	}
	u->owner = owner;
	u->idx = idx;
	u->nbytes = nbytes;
	u->users = 1;
	u->filling = true;
	struct ck_unit **at = bucket(c, owner, idx);
	u->chain = *at;
	*at = u;
	c->bytes += nbytes;
	return u;
}

/* One user less; with the lock held. */
static void release(struct ck_unitcache *c, struct ck_unit *u)
{
	if (--u->users)
		return;
	if (u->code)
		unit_free(u);
	else
		lru_add_newest(c, u);
	shrink(c, c->max_bytes);
}

/* Fills U, which this caller made, while others wait for it; lock held on both sides. */
static void fill_unit(struct ck_unitcache *c, struct ck_unit *u, ck_unit_fill_fn *fill)
{
	pthread_mutex_unlock(&c->lock);
	int rc = fill(u->owner, u->idx, u->data, u->nbytes, &u->err);
	pthread_mutex_lock(&c->lock);
	u->code = rc < 0 ? rc : 0;
	if (u->code)
		forget(c, u);
	u->filling = false;
	pthread_cond_broadcast(&c->filled);
}

int ck_unitcache_get(struct ck_unitcache *c, void *owner, uint32_t idx, size_t nbytes,
		     ck_unit_fill_fn *fill, struct ck_unit **handle, const uint8_t **data,
		     struct ck_err *err)
{
	int rc = 0;

	pthread_mutex_lock(&c->lock);
	struct ck_unit *u = find(c, owner, idx);
	if (u) {
		if (u->users++ == 0)
			lru_remove(u);
		while (u->filling)
			pthread_cond_wait(&c->filled, &c->lock);
	} else {
		shrink(c, c->max_bytes > nbytes ? c->max_bytes - nbytes : 0);
		u = unit_new(c, owner, idx, nbytes);
		if (u)
			fill_unit(c, u, fill);
	}
	if (!u) {
		rc = ck_nomem(err, "reading a layer");
	} else if (u->code) {
		rc = u->code;
		if (err)
			*err = u->err;
		release(c, u);
	} else {
		*handle = u;
		*data = u->data;
	}
	pthread_mutex_unlock(&c->lock);
	return rc;
}

void ck_unitcache_put(struct ck_unitcache *c, struct ck_unit *handle)
{
	pthread_mutex_lock(&c->lock);
	release(c, handle);
	pthread_mutex_unlock(&c->lock);
}

void ck_unitcache_drop(struct ck_unitcache *c, const void *owner)
{
	pthread_mutex_lock(&c->lock);
	for (struct ck_unit *u = c->lru.newer, *next; u != &c->lru; u = next) {
		next = u->newer;
		if (u->owner != owner)
			continue;
		lru_remove(u);
		forget(c, u);
		unit_free(u);
	}
	pthread_mutex_unlock(&c->lock);
}

void ck_unitcache_close(struct ck_unitcache *c)
{
	if (!c)
		return;
	shrink(c, 0);
	pthread_cond_destroy(&c->filled);
	pthread_mutex_destroy(&c->lock);
	free(c);
}
