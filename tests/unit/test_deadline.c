/*
 * deadline: the table of reads: each is answered once, by its worker or by the clock, in time;
 * and what is refused while others hang.
 */
#include "fs/fuse/deadline.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/file.h"
#include "tests/unit/lib/unit.h"

#define N_ROWS(rows) (sizeof(rows) / sizeof *(rows))

enum { LONG_MS = 600000, SOON_MS = 20000, N_THREADS = 8, N_READS = 3000 };

/* Who answered what: a read's req is an element. */
struct stand {
	struct ck_deadline *d;
	atomic_uint answered[N_THREADS * N_READS];
	atomic_uint n_by_clock, n_stuck_calls, n_ticks;
};

static void pause_ms(long ms)
{
	const struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&t, NULL);
}

static void on_overdue(void *ctx, const struct ck_deadline_read *r)
{
	struct stand *s = ctx;

	atomic_fetch_add((atomic_uint *)r->req, 1);
	atomic_fetch_add(&s->n_by_clock, 1);
}

static void on_stuck(void *ctx)
{
	atomic_fetch_add(&((struct stand *)ctx)->n_stuck_calls, 1);
}

static void on_tick(void *ctx)
{
	atomic_fetch_add(&((struct stand *)ctx)->n_ticks, 1);
}

static struct stand *stand_open(uint64_t timeout_ms)
{
	static const struct ck_deadline_ops ops = { on_overdue, on_stuck, on_tick };
	struct stand *s = calloc(1, sizeof *s);
	struct ck_err err;

	assert_non_null(s);
	assert_works(ck_deadline_open(&s->d, timeout_ms, &ops, s, &err), &err);
	assert_int_equal(ck_deadline_timeout_ms(s->d), timeout_ms);
	return s;
}

static void stand_close(struct stand *s)
{
	ck_deadline_close(s->d);
	free(s);
}

static struct ck_deadline_stats stats(struct stand *s)
{
	struct ck_deadline_stats now;

	ck_deadline_stats(s->d, &now);
	return now;
}

static void await_stuck(struct stand *s, unsigned n)
{
	uint64_t end = ck_now_ms() + SOON_MS;

	while (stats(s).stuck != n) {
		if (ck_now_ms() >= end)
			fail_msg("%u are stuck, not %u", stats(s).stuck, n);
		pause_ms(2);
	}
}

/* Read number I of those whose answers are counted. */
static int begin(struct stand *s, unsigned i, uint32_t layer, uint64_t id, uint64_t off)
{
	struct ck_deadline_read r = { &s->answered[i], layer, id, off, 100 };

	return ck_deadline_begin(s->d, &r);
}

static void in_time(void **state)
{
	(void)state;
	struct stand *s = stand_open(LONG_MS);
	int a = begin(s, 0, 0, 1, 0), b = begin(s, 1, 0, 1, 0);

	assert_true(a >= 0 && b >= 0 && a != b);
	assert_int_equal(stats(s).under_way, 2);
	assert_true(ck_deadline_end(s->d, a));
	assert_true(ck_deadline_end(s->d, b));
	assert_int_equal(stats(s).under_way, 0);
	assert_int_equal(stats(s).overdue, 0);
	assert_int_equal(s->n_by_clock, 0);
	assert_int_equal(s->n_stuck_calls, 0);
	assert_int_equal(s->n_ticks, 0);
	stand_close(s);
}

/* Not before its time, once, and not by the worker too; its slot is good for another then. */
static void late(void **state)
{
	(void)state;
	struct stand *s = stand_open(300);

	for (unsigned i = 0; i < 3; i++) {
		pause_ms(150); /* two ticks: the clock sleeps */
		uint64_t from = ck_now_ms();
		int a = begin(s, i, 0, 1, 0);
		assert_true(a >= 0);
		await_stuck(s, 1);
		assert_true(ck_now_ms() - from >= 300);
		while (s->n_stuck_calls < 3 * (i + 1)) /* it goes on, and answers no more */
			pause_ms(2);
		assert_int_equal(s->answered[i], 1);
		assert_false(ck_deadline_end(s->d, a));
		assert_int_equal(stats(s).under_way, 0);
		assert_int_equal(stats(s).stuck, 0);
	}
	assert_int_equal(s->n_by_clock, 3);
	assert_int_equal(stats(s).overdue, 3);
	assert_true(s->n_ticks >= 3 * 8);
	stand_close(s);
}

/* While one read is well, nothing is to be given up. */
static void not_all_stuck(void **state)
{
	(void)state;
	struct stand *s = stand_open(600);
	int hung = begin(s, 0, 0, 1, 0);
	assert_true(hung >= 0);
	pause_ms(300);
	int well = begin(s, 1, 1, 1, 0);
	assert_true(well >= 0);
	for (;;) {
		unsigned calls = s->n_stuck_calls; /* before: what is stuck remains so */
		if (stats(s).stuck == 2)
			break;
		assert_int_equal(calls, 0);
		pause_ms(2);
	}
	assert_false(ck_deadline_end(s->d, hung));
	assert_false(ck_deadline_end(s->d, well));
	stand_close(s);
}

static void refuses(void **state)
{
	(void)state;
	struct stand *s = stand_open(50);
	int slots[CK_DEADLINE_SLOTS], a = begin(s, 0, 3, 7, 1000);

	assert_true(a >= 0);
	await_stuck(s, 1);
	/* The same bytes, and no others. */
	static const struct {
		const char *why;
		uint32_t layer;
		uint64_t id, off;
		int rc;
	} rows[] = {
		{ "the same", 3, 7, 1000, -EBUSY },	 { "its first byte", 3, 7, 901, -EBUSY },
		{ "its last byte", 3, 7, 1099, -EBUSY }, { "what lies before", 3, 7, 900, 0 },
		{ "what lies behind", 3, 7, 1100, 0 },	 { "another file", 3, 8, 1000, 0 },
		{ "another layer", 4, 7, 1000, 0 },
	};
	unsigned n_refused = 0;
	for (size_t i = 0; i < N_ROWS(rows); i++) {
		int slot = begin(s, 1, rows[i].layer, rows[i].id, rows[i].off);
		if (slot >= 0)
			(void)!ck_deadline_end(s->d, slot);
		n_refused += slot < 0;
		if (rows[i].rc < 0 ? slot != rows[i].rc : slot < 0)
			fail_msg("%s: %d", rows[i].why, slot);
	}
	assert_int_equal(stats(s).refused, n_refused);
	/* No more than a few of the layer, those that are not stuck (yet) among them. */
	unsigned n = 0;
	for (uint64_t off = 2000; n < CK_DEADLINE_SLOTS; off += 100, n++)
		if ((slots[n] = begin(s, 2 + n, 3, 7, off)) < 0)
			break;
	assert_int_equal(n + 1, CK_DEADLINE_PER_LAYER);
	await_stuck(s, n + 1);
	assert_int_equal(begin(s, 60, 3, 7, 9000), -EBUSY);
	int other = begin(s, 61, 4, 7, 9000);
	assert_true(other >= 0);
	(void)!ck_deadline_end(s->d, other);
	/* One that comes back makes room, the last for all. */
	assert_false(ck_deadline_end(s->d, slots[--n]));
	slots[n] = begin(s, 62, 3, 7, 9000);
	assert_true(slots[n++] >= 0);
	while (n)
		(void)!ck_deadline_end(s->d, slots[--n]);
	assert_false(ck_deadline_end(s->d, a));
	assert_int_equal(stats(s).under_way, 0);
	a = begin(s, 63, 3, 7, 1000);
	assert_true(a >= 0);
	(void)!ck_deadline_end(s->d, a);
	stand_close(s);
}

/* Whatever layers they are of: half of the slots, but all while none is late. */
static void refuses_all(void **state)
{
	(void)state;
	struct stand *s = stand_open(LONG_MS);
	int slots[CK_DEADLINE_SLOTS];

	for (unsigned i = 0; i < CK_DEADLINE_SLOTS; i++)
		assert_true((slots[i] = begin(s, i, 0, 1, 0)) >= 0);
	assert_int_equal(begin(s, 64, 1, 1, 0), -EBUSY);
	for (unsigned i = 0; i < CK_DEADLINE_SLOTS; i++)
		assert_true(ck_deadline_end(s->d, slots[i]));
	stand_close(s);
	s = stand_open(50);
	unsigned n = CK_DEADLINE_SLOTS / 2;
	for (unsigned i = 0; i < n; i++) {
		assert_true((slots[i] = begin(s, i, i, 1, 0)) >= 0);
		if (i + 1 == n - 1) {
			await_stuck(s, n - 1);
			assert_int_equal(stats(s).refused, 0);
		}
	}
	await_stuck(s, n);
	assert_int_equal(begin(s, 64, 1000, 1, 0), -EBUSY);
	assert_int_equal(stats(s).refused, 1);
	assert_false(ck_deadline_end(s->d, slots[0]));
	slots[0] = begin(s, 65, 1000, 1, 0);
	assert_true(slots[0] >= 0);
	for (unsigned i = 0; i < n; i++)
		(void)!ck_deadline_end(s->d, slots[i]);
	stand_close(s);
}

struct worker {
	struct stand *s;
	unsigned first;
	unsigned n_mine;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	uint64_t random = w->first + 1;

	for (unsigned i = w->first; i < w->first + N_READS; i++) {
		int slot = begin(w->s, i, i % 5, i, 0);
		random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
		if (random >> 57 == 0) /* one in 128 takes about as long as it may */
			pause_ms(3 + (long)(random >> 40) % 8);
		if (slot < 0 || ck_deadline_end(w->s->d, slot)) {
			atomic_fetch_add(&w->s->answered[i], 1);
			w->n_mine++;
		}
	}
	return NULL;
}

/* Workers and clock beside each other, with a deadline that both are near to. */
static void answered_once(void **state)
{
	struct worker w[N_THREADS];
	pthread_t t[N_THREADS];
	unsigned n_mine = 0;

	(void)state;
	struct stand *s = stand_open(5);
	for (unsigned i = 0; i < N_THREADS; i++) {
		w[i] = (struct worker){ .s = s, .first = i * N_READS };
		assert_int_equal(pthread_create(&t[i], NULL, work, &w[i]), 0);
	}
	for (unsigned i = 0; i < N_THREADS; i++) {
		pthread_join(t[i], NULL);
		n_mine += w[i].n_mine;
	}
	struct ck_deadline_stats at_end = stats(s);
	ck_deadline_close(ck_take(s->d)); /* it may be about to answer one it took */
	for (unsigned i = 0; i < N_THREADS * N_READS; i++)
		if (s->answered[i] != 1)
			fail_msg("read %u was answered %u times", i, s->answered[i]);
	assert_int_equal(at_end.under_way, 0);
	assert_int_equal(at_end.stuck, 0);
	assert_int_equal(at_end.overdue, s->n_by_clock);
	assert_int_equal(n_mine + s->n_by_clock, N_THREADS * N_READS);
	assert_true(s->n_by_clock > 0);
	assert_true(n_mine > 0);
	stand_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_time),	 cmocka_unit_test(late),
		cmocka_unit_test(not_all_stuck), cmocka_unit_test(refuses),
		cmocka_unit_test(refuses_all),	 cmocka_unit_test(answered_once),
	};

	ck_deadline_close(NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
