/* keycache: one fetch for many callers, failures shared but forgotten. */
#include "attest/keycache.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "attest/jose.h"
#include "tests/unit/lib/mint.h"
#include "tests/unit/lib/unit.h"

enum { CALLERS = 16 };

/* A service that counts, and answers only when told to. */
struct service {
	atomic_int calls, active;
	int fail_with;
	sem_t begun, go;
};

static int fetch(void *ctx, EVP_PKEY **out, struct ck_err *err)
{
	struct service *s = ctx;

	atomic_fetch_add(&s->calls, 1);
	sem_post(&s->begun);
	sem_wait(&s->go);
	if (s->fail_with)
		return ck_fail(err, s->fail_with, "refused by the test");
	EVP_PKEY_up_ref(mint_rsa(0));
	*out = mint_rsa(0);
	return 0;
}

struct caller {
	pthread_t thread;
	struct ck_keycache *cache;
	struct service *service;
	const char *name;
	int rc;
	EVP_PKEY *key;
	struct ck_err err;
};

static void *call(void *arg)
{
	struct caller *c = arg;

	atomic_fetch_add(&c->service->active, 1);
	c->rc = ck_keycache_get(c->cache, c->name, fetch, c->service, &c->key, &c->err);
	return NULL;
}

static void start(struct caller *c, struct ck_keycache *cache, struct service *s, const char *name)
{
	*c = (struct caller){ .cache = cache, .service = s, .name = name };
	assert_int_equal(pthread_create(&c->thread, NULL, call, c), 0);
}

static void service_init(struct service *s, int fail_with)
{
	*s = (struct service){ .fail_with = fail_with };
	sem_init(&s->begun, 0, 0);
	sem_init(&s->go, 0, 0);
}

/* CALLERS threads for one key; the fetch is held until all have come in. */
static void crowd(struct caller *c, struct ck_keycache *cache, struct service *s)
{
	for (int i = 0; i < CALLERS; i++)
		start(&c[i], cache, s, "k");
	sem_wait(&s->begun);
	while (atomic_load(&s->active) < CALLERS)
		sched_yield();
	for (int i = 0; i < CALLERS; i++)
		sem_post(&s->go);
	for (int i = 0; i < CALLERS; i++)
		assert_int_equal(pthread_join(c[i].thread, NULL), 0);
}

static void many_callers_one_fetch(void **state)
{
	struct ck_keycache *cache = NULL;
	struct caller c[CALLERS];
	struct service s;
	struct ck_err err = { 0 };
	CK_PKEY *again = NULL;

	(void)state;
	service_init(&s, 0);
	assert_works(ck_keycache_open(&cache, &err), &err);
	crowd(c, cache, &s);
	for (int i = 0; i < CALLERS; i++) {
		assert_int_equal(c[i].rc, 0);
		assert_ptr_equal(c[i].key, mint_rsa(0));
	}
	assert_int_equal(atomic_load(&s.calls), 1);
	/* Remembered: no fetch even later. */
	assert_works(ck_keycache_get(cache, "k", fetch, &s, &again, &err), &err);
	assert_int_equal(atomic_load(&s.calls), 1);
	/* A caller's reference outlives the cache. */
	ck_keycache_close(cache);
	for (int i = 0; i < CALLERS; i++) {
		assert_int_equal(EVP_PKEY_get_bits(c[i].key), 2048);
		EVP_PKEY_free(c[i].key);
	}
}

static void failure_is_shared_and_forgotten(void **state)
{
	struct ck_keycache *cache = NULL;
	struct caller c[CALLERS];
	struct service s;
	struct ck_err err = { 0 };
	CK_PKEY *key = NULL;

	(void)state;
	service_init(&s, -EACCES);
	assert_works(ck_keycache_open(&cache, &err), &err);
	crowd(c, cache, &s);
	for (int i = 0; i < CALLERS; i++)
		assert_fails(c[i].rc, -EACCES, &c[i].err, "refused by the test");
	/* A thread that came in late may have tried again on its own; never all of them. */
	int calls = atomic_load(&s.calls);
	assert_true(calls >= 1 && calls < CALLERS);
	s.fail_with = 0;
	sem_post(&s.go);
	assert_works(ck_keycache_get(cache, "k", fetch, &s, &key, &err), &err);
	assert_int_equal(atomic_load(&s.calls), calls + 1);
	ck_keycache_close(cache);
}

static void keys_do_not_wait_for_each_other(void **state)
{
	struct ck_keycache *cache = NULL;
	struct caller c[2];
	struct service slow, quick;
	struct ck_err err = { 0 };

	(void)state;
	service_init(&slow, 0);
	service_init(&quick, 0);
	assert_works(ck_keycache_open(&cache, &err), &err);
	start(&c[0], cache, &slow, "slow");
	sem_wait(&slow.begun); /* it holds no lock now, or the next would hang */
	sem_post(&quick.go);
	start(&c[1], cache, &quick, "quick");
	assert_int_equal(pthread_join(c[1].thread, NULL), 0);
	assert_int_equal(c[1].rc, 0);
	sem_post(&slow.go);
	assert_int_equal(pthread_join(c[0].thread, NULL), 0);
	assert_int_equal(atomic_load(&slow.calls) + atomic_load(&quick.calls), 2);
	EVP_PKEY_free(c[0].key);
	EVP_PKEY_free(c[1].key);
	ck_keycache_close(cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_callers_one_fetch),
		cmocka_unit_test(failure_is_shared_and_forgotten),
		cmocka_unit_test(keys_do_not_wait_for_each_other),
	};
	mint_rsa(0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
