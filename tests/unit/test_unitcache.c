/* The unit cache: one fill for many callers, a bound that holds, a hot set that survives a
 * scan, failures not kept. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "tar/unitcache.h"
#include "tests/unit/lib/make.h"
#include "tests/unit/lib/unit.h"

enum { N_UNITS = 4096 };

/* An owner whose units hold their own number; counts fills, may fail. */
struct owner {
	atomic_int fills[N_UNITS];
	atomic_int fail; /* as many fills fail */
};

static int fill(void *owner, uint32_t idx, uint8_t *buf, size_t nbytes, struct ck_err *err)
{
	struct owner *o = owner;

	atomic_fetch_add(&o->fills[idx], 1);
	if (atomic_load(&o->fail) > 0) {
		atomic_fetch_sub(&o->fail, 1);
		return ck_fail(err, -EIO, "unit %u is bad", idx);
	}
	memset(buf, (int)idx + 1, nbytes);
	return 0;
}

/* Whether it was a hit. */
static bool touch(struct ck_unitcache *c, struct owner *o, uint32_t idx, size_t nbytes)
{
	struct ck_err err = { 0 };
	struct ck_unit *u;
	const uint8_t *p;
	int before = o->fills[idx];
	assert_works(ck_unitcache_get(c, o, idx, nbytes, fill, &u, &p, &err), &err);
	assert_int_equal(p[0], (uint8_t)(idx + 1));
	assert_int_equal(p[nbytes - 1], (uint8_t)(idx + 1));
	ck_unitcache_put(c, u);
	return o->fills[idx] == before;
}

/* Touches FIRST .. END in order; how many were hits. */
static size_t scan(struct ck_unitcache *c, struct owner *o, uint32_t first, uint32_t end,
		   size_t nbytes)
{
	size_t hits = 0;

	for (uint32_t i = first; i < end; i++)
		hits += touch(c, o, i, nbytes);
	return hits;
}

static struct ck_unitcache_stats stats(struct ck_unitcache *c)
{
	struct ck_unitcache_stats s;

	ck_unitcache_stats(c, &s);
	return s;
}

static void test_queues(void **state)
{
	struct ck_unitcache *c;
	struct ck_err err = { 0 };
	static struct owner a, b;
	(void)state;
	assert_works(ck_unitcache_open(&c, 400, &err), &err);
	assert_int_equal(scan(c, &a, 0, 4, 100), 0);
	for (int again = 0; again < 5; again++) /* all that fits stays */
		assert_int_equal(scan(c, &a, 0, 4, 100), 4);
	assert_int_equal(stats(c).evictions, 0);
	/* A hit makes nothing younger in the FIFO: 0 goes first all the same. */
	assert_true(touch(c, &a, 0, 100));
	assert_false(touch(c, &a, 4, 100));
	assert_false(ck_unitcache_has(c, &a, 0));
	assert_true(ck_unitcache_has(c, &a, 1) && ck_unitcache_has(c, &a, 4));
	/* Asked for again it is in the main queue, and outlives what came with it. */
	assert_false(touch(c, &a, 0, 100));
	scan(c, &a, 10, 20, 100);
	assert_true(touch(c, &a, 0, 100));
	assert_false(ck_unitcache_has(c, &a, 1) || ck_unitcache_has(c, &a, 4));
	/* Another owner's unit 19 is another unit. */
	assert_true(ck_unitcache_has(c, &a, 19));
	assert_false(ck_unitcache_has(c, &b, 19));
	assert_false(touch(c, &b, 19, 100));
	ck_unitcache_drop(c, &b);
	assert_false(ck_unitcache_has(c, &b, 19));
	assert_true(touch(c, &a, 0, 100));
	assert_false(touch(c, &a, 50, 1000)); /* larger than the cache: served, not kept */
	assert_false(touch(c, &a, 50, 1000));
	struct ck_unitcache_stats s = stats(c);
	assert_int_equal(s.bytes, 0); /* it needed all there was */
	assert_true(s.hits == 23 && s.misses == 19);
	ck_unitcache_close(c);
}

/* The main queue is LRU, in order over all shards; it gives when the FIFO is within its quarter. */
static void test_main_is_lru(void **state)
{
	struct ck_unitcache *c;
	struct ck_err err = { 0 };
	static struct owner a;
	(void)state;
	assert_works(ck_unitcache_open(&c, 1600, &err), &err);
	scan(c, &a, 0, 24, 100); /* 0 .. 7 have fallen out */
	assert_int_equal(scan(c, &a, 0, 8, 100), 0);
	/* 8 .. 15 fell for them. Twelve in the main queue, the FIFO has its quarter. */
	assert_int_equal(scan(c, &a, 8, 12, 100), 0);
	assert_int_equal(scan(c, &a, 0, 12, 100), 12);
	assert_true(touch(c, &a, 3, 100)); /* the youngest now; 0 is the oldest */
	for (uint32_t i = 0, order[] = { 0, 1, 2, 4, 5 }; i < 5; i++) {
		assert_true(ck_unitcache_has(c, &a, order[i]));
		/* 12 .. 16 fell last: each becomes one of the main queue, and pushes one out. */
		assert_false(touch(c, &a, 12 + i, 100));
		assert_false(ck_unitcache_has(c, &a, order[i]));
	}
	assert_true(ck_unitcache_has(c, &a, 3) && ck_unitcache_has(c, &a, 6));
	ck_unitcache_close(c);
}

/* What plain LRU of N units would hit, played the same accesses. */
struct lru {
	size_t n, len;
	uint32_t at[256]; /* newest last */
};

static bool lru_touch(struct lru *l, uint32_t idx)
{
	size_t i = 0;

	while (i < l->len && l->at[i] != idx)
		i++;
	bool hit = i < l->len;
	if (!hit && l->len < l->n)
		l->len++;
	else if (!hit)
		i = 0;
	memmove(&l->at[i], &l->at[i + 1], (l->len - 1 - i) * sizeof l->at[0]);
	l->at[l->len - 1] = idx;
	return hit;
}

/* Somebody works on 40 units of a cache of 100, and somebody else reads 1000 others once, each
 * several times in a row: five of them between two of the first one's accesses. */
static void test_scan(void **state)
{
	enum { N = 100, HOT = 40, SCANNED = 10 * N, BETWEEN = 5, BYTES = 1000 };
	struct ck_unitcache *c;
	struct ck_err err = { 0 };
	static struct owner a;
	struct lru lru = { .n = N };
	size_t hits = 0, lru_hits = 0, asked = 0, afterwards = 0, lru_afterwards = 0;
	uint32_t next = 1000;
	(void)state;
	assert_works(ck_unitcache_open(&c, N * BYTES, &err), &err);
	/* Until they are known: they fall out of the FIFO once. */
	for (int i = 0; i < 3; i++) {
		scan(c, &a, 0, HOT, BYTES);
		scan(c, &a, next, next + N - HOT / 2, BYTES);
		next += N - HOT / 2;
	}
	for (uint32_t i = 0; i < HOT; i++)
		(void)lru_touch(&lru, i);
	for (uint32_t i = 0; i < SCANNED; i++, next++) {
		for (int k = 0; k < 8; k++) {
			touch(c, &a, next, BYTES);
			(void)lru_touch(&lru, next);
		}
		if (i % BETWEEN == 0) {
			hits += touch(c, &a, i / BETWEEN % HOT, BYTES);
			lru_hits += lru_touch(&lru, i / BETWEEN % HOT);
			asked++;
		}
	}
	/* And a scan of ten caches while nobody asks for any of them. */
	for (uint32_t i = 0; i < SCANNED; i++, next++) {
		touch(c, &a, next, BYTES);
		(void)lru_touch(&lru, next);
	}
	for (uint32_t i = 0; i < HOT; i++) {
		afterwards += touch(c, &a, i, BYTES);
		lru_afterwards += lru_touch(&lru, i);
	}
	print_message("hits of %zu during the scan: %zu (LRU: %zu); of %d after another: %zu (LRU: "
		      "%zu)\n",
		      asked, hits, lru_hits, HOT, afterwards, lru_afterwards);
	assert_true(hits == asked && afterwards == HOT);
	assert_true(lru_hits < asked / 4 && lru_afterwards == 0);
	ck_unitcache_close(c);
}

/* However much falls out: keys of half a cache are remembered, and never more than there is
 * room for. */
static void test_ghosts(void **state)
{
	struct ck_unitcache *c;
	struct ck_err err = { 0 };
	static struct owner a, b;
	size_t most = 0;
	(void)state;
	assert_works(ck_unitcache_open(&c, 10000, &err), &err);
	for (uint32_t i = 0; i < N_UNITS; i++) {
		touch(c, &a, i, 100);
		size_t n = stats(c).n_ghosts;
		most = n > most ? n : most;
	}
	assert_int_equal(most, 50);
	/* The last of them comes into the main queue; one that fell before them does not. */
	touch(c, &a, N_UNITS - 101, 100);
	touch(c, &a, N_UNITS - 151, 100);
	scan(c, &b, 0, 1000, 100);
	assert_true(ck_unitcache_has(c, &a, N_UNITS - 101));
	assert_false(ck_unitcache_has(c, &a, N_UNITS - 151));
	ck_unitcache_close(c);
	/* Units far smaller than any there are. */
	assert_works(ck_unitcache_open(&c, 20000, &err), &err);
	for (uint32_t i = 0; i < 4 * 20000; i++)
		touch(c, i % 2 ? &a : &b, i / 20 % N_UNITS, 1);
	assert_true(stats(c).n_ghosts <= 4096);
	assert_true(stats(c).bytes <= 20000);
	ck_unitcache_close(c);
}

/* The unit holds its owner's address. */
static int fill_owner(void *owner, uint32_t idx, uint8_t *buf, size_t nbytes, struct ck_err *err)
{
	(void)idx, (void)err;
	memcpy(buf, &owner, nbytes);
	return 0;
}

/* Units of the same number, more than there are places in the table. */
static void test_many_owners(void **state)
{
	enum { N_OWNERS = 3000 };
	static char owners[N_OWNERS * 16];
	struct ck_unitcache *c;
	struct ck_err err = { 0 };
	(void)state;
	assert_works(ck_unitcache_open(&c, N_OWNERS * sizeof(void *), &err), &err);
	for (size_t i = 0; i < 2 * N_OWNERS; i++) {
		void *owner = &owners[i % N_OWNERS * 16];
		struct ck_unit *u;
		const uint8_t *p;
		assert_works(ck_unitcache_get(c, owner, 7, sizeof owner, fill_owner, &u, &p, &err),
			     &err);
		assert_memory_equal(p, &owner, sizeof owner);
		ck_unitcache_put(c, u);
	}
	assert_true(stats(c).hits == N_OWNERS && stats(c).misses == N_OWNERS);
	ck_unitcache_close(c);
}

static struct ck_unitcache *shared;

/* Fails where there is not yet room for what it fills. */
static int fill_in_bound(void *owner, uint32_t idx, uint8_t *buf, size_t nbytes, struct ck_err *err)
{
	if (stats(shared).bytes > 1000)
		return ck_fail(err, -ENOSPC, "%zu bytes", stats(shared).bytes);
	return fill(owner, idx, buf, nbytes, err);
}

/* Room is made before memory is taken. */
static void test_room_first(void **state)
{
	struct ck_err err = { 0 };
	static struct owner a;
	struct ck_unit *u;
	const uint8_t *p;
	(void)state;
	assert_works(ck_unitcache_open(&shared, 1000, &err), &err);
	for (uint32_t i = 0; i < 50; i++) {
		assert_works(ck_unitcache_get(shared, &a, i, 300 + i, fill_in_bound, &u, &p, &err),
			     &err);
		ck_unitcache_put(shared, u);
	}
	ck_unitcache_close(shared);
}

static const void *where(uint32_t idx, size_t nbytes)
{
	static struct owner a;
	struct ck_err err = { 0 };
	struct ck_unit *u;
	const uint8_t *p;

	assert_works(ck_unitcache_get(shared, &a, idx, nbytes, fill, &u, &p, &err), &err);
	ck_unitcache_put(shared, u);
	return p;
}

/* A unit takes over the memory of the one that makes room for it, where it fits well; and all
 * of that memory counts. (That others get memory of their own shows where freed memory is not
 * used again at once: under ASan.) */
static void test_inherited_memory(void **state)
{
	struct ck_err err = { 0 };
	(void)state;
	assert_works(ck_unitcache_open(&shared, 100000, &err), &err);
	const void *p = where(0, 80000);
	assert_ptr_equal(where(1, 80000), p);
	assert_ptr_equal(where(2, 72000), p);
	assert_int_equal(stats(shared).bytes, 80000);
	assert_ptr_equal(where(3, 79999), p);
	(void)where(4, 60000); /* far too large for it */
	assert_int_equal(stats(shared).bytes, 60000);
	(void)where(5, 61000); /* too small */
	assert_int_equal(stats(shared).bytes, 61000);
	ck_unitcache_close(shared);
}

/* A new owner at an old one's address finds neither its units nor its ghosts. */
static void test_address_used_again(void **state)
{
	struct ck_unitcache *c;
	struct ck_err err = { 0 };
	static struct owner a, b;
	(void)state;
	assert_works(ck_unitcache_open(&c, 1000, &err), &err);
	for (int dropped = 0; dropped < 2; dropped++) {
		scan(c, &a, 0, 14, 100); /* 0 .. 3 have fallen out */
		assert_true(stats(c).n_ghosts >= 4);
		if (dropped) {
			ck_unitcache_drop(c, &a);
			assert_int_equal(stats(c).n_ghosts, 0);
			assert_int_equal(stats(c).bytes, 0);
			assert_false(ck_unitcache_has(c, &a, 13));
		}
		assert_false(touch(c, &a, 0, 100));
		scan(c, &b, 0, 40, 100); /* in the main queue or not: a scan tells */
		assert_int_equal(ck_unitcache_has(c, &a, 0), !dropped);
		ck_unitcache_drop(c, &b);
		ck_unitcache_drop(c, &a);
	}
	ck_unitcache_close(c);
}

/* Served, and gone when nobody has it any more; not even remembered. */
static void test_keeps_nothing(void **state)
{
	struct ck_unitcache *c;
	struct ck_err err = { 0 };
	static struct owner a;
	struct ck_unit *u[2];
	const uint8_t *p[2];
	(void)state;
	assert_works(ck_unitcache_open(&c, 0, &err), &err);
	for (int i = 0; i < 2; i++)
		assert_works(ck_unitcache_get(c, &a, 3, 10, fill, &u[i], &p[i], &err), &err);
	assert_int_equal(a.fills[3], 1);
	assert_ptr_equal(p[0], p[1]);
	ck_unitcache_put(c, u[0]);
	assert_true(ck_unitcache_has(c, &a, 3));
	ck_unitcache_put(c, u[1]);
	assert_false(ck_unitcache_has(c, &a, 3));
	assert_int_equal(scan(c, &a, 0, 100, 10), 0);
	assert_int_equal(stats(c).bytes, 0);
	assert_int_equal(stats(c).n_ghosts, 0);
	ck_unitcache_close(c);
}

static void test_failure(void **state)
{
	struct ck_unitcache *c;
	struct ck_err err = { 0 };
	static struct owner a = { .fail = 1 };
	struct ck_unit *u;
	const uint8_t *p;
	(void)state;
	assert_works(ck_unitcache_open(&c, 300, &err), &err);
	assert_fails(ck_unitcache_get(c, &a, 7, 10, fill, &u, &p, &err), -EIO, &err,
		     "unit 7 is bad");
	assert_false(ck_unitcache_has(c, &a, 7));
	assert_int_equal(stats(c).bytes, 0);
	touch(c, &a, 7, 10);
	assert_int_equal(a.fills[7], 2);
	ck_unitcache_close(c);
}

/* Units in use stay, whatever the bound says. */
static void test_in_use(void **state)
{
	struct ck_unitcache *c;
	struct ck_err err = { 0 };
	static struct owner a;
	struct ck_unit *u[8];
	const uint8_t *p[8];
	(void)state;
	assert_works(ck_unitcache_open(&c, 100, &err), &err);
	for (uint32_t i = 0; i < 8; i++)
		assert_works(ck_unitcache_get(c, &a, i, 100, fill, &u[i], &p[i], &err), &err);
	for (uint32_t i = 0; i < 8; i++)
		assert_int_equal(p[i][99], i + 1);
	for (uint32_t i = 8; i--;)
		ck_unitcache_put(c, u[i]);
	assert_int_equal(stats(c).bytes, 100);
	assert_true(touch(c, &a, 0, 100)); /* the last one put is still there, the others are not */
	assert_false(touch(c, &a, 7, 100));
	ck_unitcache_close(c);
}

static struct owner everyone;
static pthread_barrier_t gate;

enum { MANY = 8, MANY_UNITS = 64, MANY_MAX = 3000 };

static void *many(void *arg)
{
	uint64_t seed = (uint64_t)(uintptr_t)arg;

	pthread_barrier_wait(&gate);
	for (int i = 0; i < 4000; i++) {
		struct ck_err err = { 0 };
		struct ck_unit *u;
		const uint8_t *p;
		uint32_t idx = (uint32_t)(mk_random(&seed) % MANY_UNITS);
		if (ck_unitcache_get(shared, &everyone, idx, 100 + idx, fill, &u, &p, &err) < 0)
			continue;
		for (uint32_t k = 0; k < 100 + idx; k++)
			if (p[k] != idx + 1)
				abort();
		ck_unitcache_put(shared, u);
		/* Each thread has one at most, in use or about to be dropped. */
		if (stats(shared).bytes > MANY_MAX + MANY * (100 + MANY_UNITS))
			abort();
	}
	return NULL;
}

static void *same(void *arg)
{
	(void)arg;
	pthread_barrier_wait(&gate);
	touch(shared, &everyone, 9, 2000);
	return NULL;
}

static void in_threads(void *(*fn)(void *), size_t n)
{
	pthread_t t[16];

	pthread_barrier_init(&gate, NULL, (unsigned)n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(pthread_create(&t[i], NULL, fn, (void *)(uintptr_t)i), 0);
	for (size_t i = 0; i < n; i++)
		pthread_join(t[i], NULL);
	pthread_barrier_destroy(&gate);
}

static void test_threads(void **state)
{
	struct ck_err err = { 0 };
	uint64_t fills = 0;
	(void)state;
	assert_works(ck_unitcache_open(&shared, MANY_MAX, &err), &err);
	atomic_store(&everyone.fail, 100);
	in_threads(many, MANY);
	struct ck_unitcache_stats s = stats(shared);
	assert_true(s.bytes <= MANY_MAX);
	assert_true(s.evictions > 0 && s.hits > 0);
	assert_int_equal(s.hits + s.misses, MANY * 4000);
	for (size_t i = 0; i < MANY_UNITS; i++)
		fills += (uint64_t)everyone.fills[i];
	assert_int_equal(fills, s.misses);
	ck_unitcache_drop(shared, &everyone);
	assert_int_equal(stats(shared).bytes, 0);
	atomic_store(&everyone.fills[9], 0);
	in_threads(same, 16);
	assert_int_equal(everyone.fills[9], 1); /* one fill served them all */
	ck_unitcache_close(shared);
}

enum { WAITERS = 8 };

/* Ends once all the others wait for it; fails or not as the first unit's owner says. */
static int fill_awaited(void *owner, uint32_t idx, uint8_t *buf, size_t nbytes, struct ck_err *err)
{
	while (stats(shared).hits < WAITERS - 1)
		sched_yield();
	return fill(owner, idx, buf, nbytes, err);
}

static atomic_int n_served, n_refused;

static void *await(void *arg)
{
	struct ck_err err = { 0 };
	struct ck_unit *u;
	const uint8_t *p;

	(void)arg;
	pthread_barrier_wait(&gate);
	int rc = ck_unitcache_get(shared, &everyone, 5, 100, fill_awaited, &u, &p, &err);
	if (rc == 0) {
		atomic_fetch_add(&n_served, p[99] == 6);
		ck_unitcache_put(shared, u);
	} else {
		atomic_fetch_add(&n_refused, rc == -EIO && strstr(err.msg, "unit 5 is bad"));
	}
	return NULL;
}

/* Those who wait for a fill get what it gave: the unit, or its error. */
static void test_waiters(void **state)
{
	struct ck_err err = { 0 };
	(void)state;
	for (int fails = 0; fails < 2; fails++) {
		assert_works(ck_unitcache_open(&shared, 1000, &err), &err);
		atomic_store(&everyone.fills[5], 0);
		atomic_store(&everyone.fail, fails);
		n_served = n_refused = 0;
		in_threads(await, WAITERS);
		assert_int_equal(everyone.fills[5], 1);
		assert_int_equal(n_served, fails ? 0 : WAITERS);
		assert_int_equal(n_refused, fails ? WAITERS : 0);
		assert_int_equal(ck_unitcache_has(shared, &everyone, 5), !fails);
		assert_int_equal(stats(shared).bytes, fails ? 0 : 100);
		ck_unitcache_close(shared);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_queues),
		cmocka_unit_test(test_main_is_lru),
		cmocka_unit_test(test_scan),
		cmocka_unit_test(test_ghosts),
		cmocka_unit_test(test_many_owners),
		cmocka_unit_test(test_room_first),
		cmocka_unit_test(test_inherited_memory),
		cmocka_unit_test(test_address_used_again),
		cmocka_unit_test(test_keeps_nothing),
		cmocka_unit_test(test_failure),
		cmocka_unit_test(test_in_use),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_waiters),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
