/* What is fetched in the background; runs under TSan. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "base/file.h"
#include "fs/background.h"
#include "tests/unit/played/played.h"

static void await_done(struct ck_prefetch_progress *p, uint64_t nbytes)
{
	while (atomic_load(&p->done) < nbytes)
		sched_yield();
}

/* Urgent ones first, then the rest in order; each byte once. */
static void test_order(void **state)
{
	struct ck_prefetch_progress progress;
	struct ck_background *p = NULL;
	struct ck_err err = { 0 };
	struct stand s;

	(void)state;
	stand_up(&s, 64 * B + 5, 0, true);
	const struct ck_background_item items[] = {
		{ s.remote, 50 * B, 2 * B },  { s.remote, 30 * B + 7, 10 }, { s.remote, 0, 32 * B },
		{ s.remote, 32 * B, 32 * B }, { s.remote, 64 * B, 5 },
	};
	gate(&s, true);
	assert_works(ck_background_start(&p, items, N_OF(items), 2, &progress, &err), &err);
	uint64_t total = 64 * B + 5; /* the rest, which has it all */
	assert_int_equal(atomic_load(&progress.total), total);
	await_waiting(&s, 2);
	gate(&s, false);
	await_done(&progress, total);
	ck_background_stop(p);
	assert_int_equal(ck_remote_kept(s.remote), 64 * B + 5);
	assert_int_equal(most_asked(&s), 1);
	uint64_t early = s.registry.calls[0].off + s.registry.calls[1].off;
	assert_int_equal(early, 80 * B); /* these two, in whichever order */
	stand_down(&s);
}

/* The rest waits while somebody reads; what is urgent does not. */
static void *read_one(void *arg)
{
	read_ok(arg, 60 * B, 10);
	return NULL;
}

static void test_gives_way(void **state)
{
	struct ck_prefetch_progress progress;
	struct ck_background *p = NULL;
	struct ck_err err = { 0 };
	struct stand s;
	pthread_t t;

	(void)state;
	stand_up(&s, 64 * B, 0, true);
	ck_net_wait_begin(s.net); /* one who waits, and goes on waiting */
	const struct ck_background_item items[] = { { s.remote, 0, B },
						    { s.remote, 10 * B, B },
						    { s.remote, 20 * B, B } };
	assert_works(ck_background_start(&p, items, N_OF(items), 2, &progress, &err), &err);
	while (n_calls(&s) < 2)
		sched_yield();
	assert_int_equal(pthread_create(&t, NULL, read_one, &s), 0);
	pthread_join(t, NULL); /* others are served meanwhile */
	assert_int_equal(atomic_load(&progress.done), 0);
	assert_int_equal(n_calls(&s), 3);
	ck_net_wait_end(s.net);
	await_done(&progress, B);
	ck_background_stop(p);
	stand_down(&s);
}

/* What fails is tried again. */
static void test_fails(void **state)
{
	struct ck_prefetch_progress progress;
	struct ck_background *p = NULL;
	struct ck_err err = { 0 };
	struct stand s;

	(void)state;
	stand_up(&s, 64 * B, 0, true);
	s.registry.fails = 1;
	const struct ck_background_item items[] = { { s.remote, 0, B } };
	uint64_t begun = ck_now_ms();
	assert_works(ck_background_start(&p, items, 1, 0, &progress, &err), &err);
	await_done(&progress, B);
	assert_true(ck_now_ms() - begun >= 1900); /* after a pause */
	assert_int_equal(n_calls(&s), 2);
	ck_background_stop(p);
	stand_down(&s);
}

/* It ends in the middle of a pause, of waiting for readers, and of a fetch that is cancelled. */
static void test_stop(void **state)
{
	struct ck_prefetch_progress progress;
	struct ck_background *p = NULL;
	struct ck_err err = { 0 };
	struct stand s;

	(void)state;
	for (int how = 0; how < 3; how++) {
		stand_up(&s, 64 * B, 0, true);
		const struct ck_background_item items[] = { { s.remote, 0, B },
							    { s.remote, B, B } };
		if (how == 0)
			s.registry.fails = 1000;
		if (how == 1)
			ck_net_wait_begin(s.net);
		if (how == 2)
			gate(&s, true);
		uint64_t begun = ck_now_ms();
		assert_works(ck_background_start(&p, items, 2, 0, &progress, &err), &err);
		if (how == 0)
			while (n_calls(&s) == 0)
				sched_yield();
		if (how == 2)
			await_waiting(&s, 1);
		ck_net_cancel(s.net);
		ck_background_stop(p);
		assert_true(ck_now_ms() - begun < 1900);
		assert_int_equal(atomic_load(&progress.done), 0);
		if (how == 1)
			ck_net_wait_end(s.net);
		stand_down(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_gives_way),
		cmocka_unit_test(test_fails),
		cmocka_unit_test(test_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
