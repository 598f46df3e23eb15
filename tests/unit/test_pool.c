/* The worker pool: every job runs once, the queue is bounded, closing waits, signals stay out. */
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>

#include "base/pool.h"
#include "tests/unit/lib/unit.h"

static atomic_int n_run;
static sem_t reached, go_on;

static void count(void *arg)
{
	(void)arg;
	atomic_fetch_add(&n_run, 1);
}

static void block(void *arg)
{
	sem_post(&reached);
	while (sem_wait(&go_on) < 0)
		;
	count(arg);
}

static void wait_for(sem_t *s)
{
	while (sem_wait(s) < 0)
		;
}

static void test_every_job(void **state)
{
	struct ck_pool *pool = NULL;
	struct ck_err err = { 0 };
	(void)state;
	n_run = 0;
	assert_works(ck_pool_open(&pool, 3, 5, &err), &err);
	assert_int_equal(ck_pool_n_threads(pool), 3);
	for (int i = 0; i < 1000; i++)
		while (!ck_pool_submit(pool, count, NULL))
			sched_yield();
	ck_pool_close(pool); /* and those that are still queued */
	assert_int_equal(n_run, 1000);
	assert_works(ck_pool_open(&pool, 0, 5, &err), &err);
	assert_int_equal(ck_pool_n_threads(pool), ck_pool_n_cpus());
	ck_pool_close(pool);
}

static void test_full_queue(void **state)
{
	struct ck_pool *pool = NULL;
	struct ck_err err = { 0 };
	(void)state;
	n_run = 0;
	assert_works(ck_pool_open(&pool, 1, 3, &err), &err);
	assert_true(ck_pool_submit(pool, block, NULL));
	wait_for(&reached); /* it is running, and no longer queued */
	for (int i = 0; i < 3; i++)
		assert_true(ck_pool_submit(pool, count, NULL));
	assert_false(ck_pool_submit(pool, count, NULL));
	assert_int_equal(n_run, 0);
	sem_post(&go_on);
	ck_pool_close(pool);
	assert_int_equal(n_run, 4);
}

static sigset_t mask;

static void look_at_mask(void *arg)
{
	(void)arg;
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
}

/* A signal that ends the program must find its way to the thread that waits for it. */
static void test_signals(void **state)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGURG, SIGCHLD };
	struct ck_pool *pool = NULL;
	struct ck_err err = { 0 };
	sigset_t before, after;
	(void)state;
	pthread_sigmask(SIG_SETMASK, NULL, &before);
	assert_works(ck_pool_open(&pool, 1, 1, &err), &err);
	assert_true(ck_pool_submit(pool, look_at_mask, NULL));
	ck_pool_close(pool);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	for (size_t i = 0; i < N_OF(signals); i++) {
		assert_int_equal(sigismember(&mask, signals[i]), 1);
		assert_int_equal(sigismember(&after, signals[i]), sigismember(&before, signals[i]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_signals),	  /* first: others could leave signals blocked */
		cmocka_unit_test(test_every_job), /* runs under TSan */
		cmocka_unit_test(test_full_queue),
	};
	sem_init(&reached, 0, 0);
	sem_init(&go_on, 0, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
