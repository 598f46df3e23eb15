/* The unit cache: one fill for many callers, a bound that holds, failures not kept. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "tar/unitcache.h"
#include "tests/unit/lib/make.h"
#include "tests/unit/lib/unit.h"

/* An owner whose units hold their own number; counts fills, may fail. */
struct owner {
	atomic_int fills[64];
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

static void touch(struct ck_unitcache *c, struct owner *o, uint32_t idx, size_t nbytes)
{
	struct ck_err err = { 0 };
	struct ck_unit *u;
	const uint8_t *p;
	assert_works(ck_unitcache_get(c, o, idx, nbytes, fill, &u, &p, &err), &err);
	assert_int_equal(p[0], idx + 1);
	assert_int_equal(p[nbytes - 1], idx + 1);
	ck_unitcache_put(c, u);
}

static void test_lru(void **state)
{
	struct ck_unitcache *c;
	struct ck_err err = { 0 };
	struct owner a = { 0 }, b = { 0 };
	(void)state;
	assert_works(ck_unitcache_open(&c, 300, &err), &err);
	for (uint32_t i = 0; i < 3; i++)
		touch(c, &a, i, 100);
	touch(c, &a, 0, 100); /* a hit, and the newest now */
	touch(c, &a, 3, 100); /* drops 1 */
	touch(c, &a, 0, 100);
	touch(c, &a, 2, 100);
	touch(c, &a, 1, 100);
	assert_int_equal(a.fills[0], 1);
	assert_int_equal(a.fills[1], 2);
	assert_int_equal(a.fills[2], 1);
	touch(c, &b, 1, 100); /* another owner's unit 1 is another unit */
	assert_int_equal(b.fills[1], 1);
	ck_unitcache_drop(c, &b);
	touch(c, &b, 1, 100);
	assert_int_equal(b.fills[1], 2);
	touch(c, &a, 5, 1000); /* larger than the cache: served, not kept */
	touch(c, &a, 5, 1000);
	assert_int_equal(a.fills[5], 2);
	ck_unitcache_close(c);
}

static void test_failure(void **state)
{
	struct ck_unitcache *c;
	struct ck_err err = { 0 };
	struct owner a = { .fail = 1 };
	struct ck_unit *u;
	const uint8_t *p;
	(void)state;
	assert_works(ck_unitcache_open(&c, 300, &err), &err);
	assert_fails(ck_unitcache_get(c, &a, 7, 10, fill, &u, &p, &err), -EIO, &err,
		     "unit 7 is bad");
	touch(c, &a, 7, 10);
	assert_int_equal(a.fills[7], 2);
	ck_unitcache_close(c);
}

/* Units in use stay, whatever the bound says. */
static void test_in_use(void **state)
{
	struct ck_unitcache *c;
	struct ck_err err = { 0 };
	struct owner a = { 0 };
	struct ck_unit *u[8];
	const uint8_t *p[8];
	(void)state;
	assert_works(ck_unitcache_open(&c, 100, &err), &err);
	for (uint32_t i = 0; i < 8; i++)
		assert_works(ck_unitcache_get(c, &a, i, 100, fill, &u[i], &p[i], &err), &err);
	for (uint32_t i = 0; i < 8; i++)
		assert_int_equal(p[i][99], i + 1);
	for (uint32_t i = 0; i < 8; i++)
		ck_unitcache_put(c, u[i]);
	touch(c, &a, 7, 100); /* the last one put is still there, the others are not */
	assert_int_equal(a.fills[7], 1);
	touch(c, &a, 0, 100);
	assert_int_equal(a.fills[0], 2);
	ck_unitcache_close(c);
}

static struct ck_unitcache *shared;
static struct owner everyone;
static pthread_barrier_t gate;

static void *many(void *arg)
{
	uint64_t seed = (uint64_t)(uintptr_t)arg;

	pthread_barrier_wait(&gate);
	for (int i = 0; i < 4000; i++) {
		struct ck_err err = { 0 };
		struct ck_unit *u;
		const uint8_t *p;
		uint32_t idx = (uint32_t)(mk_random(&seed) % 64);
		if (ck_unitcache_get(shared, &everyone, idx, 100 + idx, fill, &u, &p, &err) < 0)
			continue;
		for (uint32_t k = 0; k < 100 + idx; k++)
			if (p[k] != idx + 1)
				abort();
		ck_unitcache_put(shared, u);
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
	(void)state;
	assert_works(ck_unitcache_open(&shared, 3000, &err), &err);
	atomic_store(&everyone.fail, 100);
	in_threads(many, 8);
	ck_unitcache_drop(shared, &everyone);
	atomic_store(&everyone.fills[9], 0);
	in_threads(same, 16);
	assert_int_equal(everyone.fills[9], 1); /* one fill served them all */
	ck_unitcache_close(shared);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lru),
		cmocka_unit_test(test_failure),
		cmocka_unit_test(test_in_use),
		cmocka_unit_test(test_threads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
