/* Remote blobs against a registry that the test plays: what is asked for, how often, and what
 * readers get of it; runs under TSan. */
#include <errno.h>
#include <sched.h>

#include "base/file.h"
#include "tests/unit/lib/make.h"
#include "tests/unit/played/played.h"

/* Any range, with and without a cache: just the blocks that hold it, and not twice. */
static void test_ranges(void **state)
{
	static const struct {
		uint64_t off;
		size_t nbytes;
		size_t n_calls; /* so far */
	} reads[] = {
		{ 0, 0, 0 },		      /* nothing */
		{ 0, 1, 1 },		      /* the first block */
		{ B - 1, 1, 1 },	      /* is there */
		{ B - 1, 2, 2 },	      /* the second */
		{ 10 * B + 5, 3 * B, 3 },     /* four blocks at once */
		{ 9 * B, 6 * B, 5 },	      /* both neighbours, not what lies between */
		{ 100 * B + 17 - 5, 5, 6 },   /* the last, which is short */
		{ 99 * B + 3, B + 17 - 3, 7 } /* one before it */
	};
	struct stand s;

	(void)state;
	for (int cached = 0; cached < 2; cached++) {
		stand_up(&s, 100 * B + 17, 0, cached);
		for (size_t i = 0; i < N_OF(reads); i++) {
			read_ok(&s, reads[i].off, reads[i].nbytes);
			assert_int_equal(n_calls(&s), reads[i].n_calls);
		}
		assert_int_equal(most_asked(&s), 1);
		while (ck_remote_fetched(s.remote) < 9 * B + 17) /* counted when it is over */
			sched_yield();
		assert_int_equal(ck_remote_fetched(s.remote), 9 * B + 17);
		assert_int_equal(ck_remote_kept(s.remote), cached ? 9 * B + 17 : 0);
		stand_down(&s);
	}
}

/* Sizes at which blocks end. */
static void test_sizes(void **state)
{
	static const size_t sizes[] = { 1, B - 1, B, B + 1, 2 * B };
	struct stand s;

	(void)state;
	for (size_t i = 0; i < N_OF(sizes); i++) {
		stand_up(&s, sizes[i], 0, i % 2);
		read_ok(&s, 0, sizes[i]);
		assert_int_equal(n_calls(&s), 1);
		assert_int_equal(s.registry.calls[0].len, sizes[i]);
		stand_down(&s);
	}
}

struct job {
	struct stand *s;
	uint64_t off;
	size_t nbytes;
	int rc;
	struct ck_err err;
};

static void *run_job(void *arg)
{
	struct job *j = arg;

	j->rc = read_at(j->s, j->off, j->nbytes, &j->err);
	return NULL;
}

static void start(pthread_t *t, struct job *j)
{
	assert_int_equal(pthread_create(t, NULL, run_job, j), 0);
}

/* Sixteen readers come for the same blocks while they are on their way: one request. */
static void test_once(void **state)
{
	enum { N = 16 };
	struct job jobs[N];
	pthread_t threads[N];
	struct stand s;

	(void)state;
	for (int cached = 0; cached < 2; cached++) {
		stand_up(&s, 64 * B, 0, cached);
		gate(&s, true);
		jobs[0] = (struct job){ .s = &s, .off = 3 * B, .nbytes = 4 * B };
		start(&threads[0], &jobs[0]);
		await_waiting(&s, 1);
		for (size_t i = 1; i < N; i++) {
			jobs[i] = (struct job){ .s = &s, .off = 3 * B + i * 100, .nbytes = 2 * B };
			start(&threads[i], &jobs[i]);
		}
		gate(&s, false);
		for (size_t i = 0; i < N; i++) {
			pthread_join(threads[i], NULL);
			assert_works(jobs[i].rc, &jobs[i].err);
		}
		assert_int_equal(n_calls(&s), 1);
		stand_down(&s);
	}
}

/* A copy that is wrong is fetched again, from the origin, and only that. */
static void test_refetch(void **state)
{
	struct stand s;
	uint8_t buf[8];
	struct ck_err err = { 0 };

	(void)state;
	for (int cached = 0; cached < 2; cached++) {
		stand_up(&s, 64 * B, 0, cached);
		s.registry.lies = true;
		assert_works(ck_reader_pread(s.reader, buf, 8, 5 * B, &err), &err);
		assert_memory_not_equal(buf, s.data.data + 5 * B, 8);
		assert_works(ck_reader_pread(s.reader, buf, 8, 6 * B, &err), &err);
		assert_int_equal(n_calls(&s), 2);
		assert_false(s.registry.calls[0].afresh);
		assert_true(ck_reader_refetch(s.reader, 5 * B + 3, 10));
		read_ok(&s, 5 * B, 8);
		assert_int_equal(n_calls(&s), 3);
		assert_true(s.registry.calls[2].afresh);
		assert_int_equal(s.registry.calls[2].off, 5 * B);
		/* What lies beside it was not said to be wrong. */
		assert_works(ck_reader_pread(s.reader, buf, 8, 6 * B, &err), &err);
		assert_int_equal(n_calls(&s), 3);
		/* And what lies beside it does not come from the origin. */
		assert_true(ck_reader_refetch(s.reader, 20 * B, 1));
		assert_works(ck_reader_pread(s.reader, buf, 8, 21 * B, &err), &err);
		assert_works(ck_reader_pread(s.reader, buf, 8, 19 * B, &err), &err);
		assert_false(s.registry.calls[s.registry.n_calls - 1].afresh);
		assert_false(s.registry.calls[s.registry.n_calls - 2].afresh);
		read_ok(&s, 20 * B, 8);
		assert_true(ck_reader_refetch(s.reader, 20 * B, 1));
		read_ok(&s, 20 * B, 8);
		struct ck_net_stats stats;
		ck_net_stats(s.net, &stats);
		assert_int_equal(stats.refetched, 3);
		stand_down(&s);
	}
}

/* A fetch that fails, fails the reads that began with it; the next read has another. What came
 * before it was cut is there. */
static void test_failures(void **state)
{
	struct ck_err err = { 0 };
	struct stand s;

	(void)state;
	for (int cached = 0; cached < 2; cached++) {
		stand_up(&s, 64 * B, 0, cached);
		s.registry.fails = 1;
		assert_fails(read_at(&s, 0, 10, &err), -ECONNREFUSED, &err, "nobody there");
		read_ok(&s, 0, 10);
		assert_int_equal(n_calls(&s), 2);
		s.registry.cut = 3 * B;
		assert_fails(read_at(&s, 10 * B, 5 * B, &err), -EPROTO, &err, "it was cut");
		s.registry.cut = 0;
		read_ok(&s, 10 * B, 3 * B);
		assert_int_equal(n_calls(&s), 3);
		read_ok(&s, 10 * B, 5 * B);
		assert_int_equal(n_calls(&s), 4);
		stand_down(&s);
	}
}

/* Who comes late to a fetch that fails has one of his own. */
static void test_late(void **state)
{
	struct job first, late;
	pthread_t t1, t2;
	struct stand s;

	(void)state;
	stand_up(&s, 64 * B, 0, false);
	gate(&s, true);
	s.registry.fails = 1;
	first = (struct job){ .s = &s, .nbytes = 10 };
	late = (struct job){ .s = &s, .nbytes = 10 };
	start(&t1, &first);
	await_waiting(&s, 1);
	start(&t2, &late);
	uint64_t now = ck_now_ms();
	while (ck_now_ms() < now + 20) /* to be in time; what follows holds if it is not, too */
		sched_yield();
	gate(&s, false);
	pthread_join(t1, NULL);
	pthread_join(t2, NULL);
	assert_int_equal(first.rc, -ECONNREFUSED);
	assert_works(late.rc, &late.err);
	stand_down(&s);
}

/* Nothing comes: the read fails in time, and heals when it comes after all. */
static void test_timeout(void **state)
{
	struct ck_err err = { 0 };
	struct stand s;

	(void)state;
	stand_up(&s, 64 * B, 50, true);
	gate(&s, true);
	uint64_t begun = ck_now_ms();
	assert_fails(read_at(&s, 2 * B, 10, &err), -ETIMEDOUT, &err,
		     "registry.test has not sent bytes 32768 to 49151 of the blob within 50 ms");
	assert_true(ck_now_ms() - begun >= 50);
	gate(&s, false);
	while (ck_remote_kept(s.remote) < B)
		sched_yield();
	read_ok(&s, 2 * B, 10);
	assert_int_equal(n_calls(&s), 1);
	stand_down(&s);
}

/* Cancelled, or closed: whatever is on its way ends. */
static void test_cancel(void **state)
{
	struct job j;
	struct stand s;
	struct ck_err err = { 0 };
	pthread_t t;

	(void)state;
	stand_up(&s, 64 * B, 0, true);
	gate(&s, true);
	j = (struct job){ .s = &s, .nbytes = 10 };
	start(&t, &j);
	await_waiting(&s, 1);
	ck_net_cancel(s.net);
	pthread_join(t, NULL);
	assert_int_equal(j.rc, -ECANCELED);
	assert_int_equal(read_at(&s, 5 * B, 1, &err), -ECANCELED);
	/* Nor does a blob that is opened now. */
	ck_reader_close(s.reader);
	const uint8_t digest[CK_SHA256_LEN] = { 2 };
	assert_works(
	    ck_remote_open(&s.reader, NULL, s.net, &s.registry, NULL, digest, 64 * B, &err), &err);
	assert_int_equal(read_at(&s, 5 * B, 1, &err), -ECANCELED);
	stand_down(&s);

	stand_up(&s, 64 * B, 0, true);
	gate(&s, true);
	ck_reader_advise(s.reader, 0, 64 * B);
	await_waiting(&s, 1);
	stand_down(&s); /* does not wait for the gate */
}

/* What is said to be needed soon is fetched at once, in pieces that are large. */
static void test_advise(void **state)
{
	struct stand s;

	(void)state;
	stand_up(&s, 64 * B, 0, true);
	ck_reader_advise(s.reader, 3 * B + 1, 2 * B);
	read_ok(&s, 3 * B, 3 * B);
	assert_int_equal(n_calls(&s), 1);
	ck_reader_advise(s.reader, 0, 1ULL << 40);
	read_ok(&s, 0, 64 * B);
	assert_int_equal(most_asked(&s), 1);
	assert_true(n_calls(&s) <= 1 + 1 + 61 / PIECE + 1);
	for (size_t i = 0; i < s.registry.n_calls; i++)
		assert_true(s.registry.calls[i].len <= PIECE * B);
	ck_reader_advise(s.reader, 64 * B, 1); /* outside */
	stand_down(&s);
}

/* Who reads in order finds it fetched already; who does not is left alone. */
static void test_in_order(void **state)
{
	struct stand s;

	(void)state;
	stand_up(&s, 512 * B, 0, true);
	for (uint64_t b = 0; b < PROVED - 1; b++)
		read_ok(&s, b * B, B);
	assert_int_equal(n_calls(&s), PROVED - 1);
	read_ok(&s, (PROVED - 1) * B, B);
	while (ck_remote_kept(s.remote) < (PROVED + 2 * PIECE) * B)
		sched_yield();
	size_t before = n_calls(&s);
	read_ok(&s, PROVED * B, PIECE * B);
	assert_true(n_calls(&s) <= before + 2); /* what comes next */
	read_ok(&s, 300 * B, B);
	read_ok(&s, 400 * B, B);
	read_ok(&s, 350 * B, B);
	assert_int_equal(most_asked(&s), 1);
	assert_true(ck_remote_kept(s.remote) < (PROVED + 5 * PIECE) * B);
	stand_down(&s);
}

/* However much fits into the network: ahead of a reader no more is fetched than he has read. */
static void test_grows(void **state)
{
	struct stand s;

	(void)state;
	stand_up(&s, 1024 * B, 0, true);
	for (uint64_t b = 0, n = PROVED; n <= 4 * PROVED; n *= 2) {
		for (; b < n; b++) {
			for (int i = 0; i < 30; i++) /* whatever it proves to be */
				ck_net_note(s.net, 12500000, 80000, 1000000, 0, false);
			assert_true(ck_net_piece(s.net) >= 12 * PIECE * B);
			read_ok(&s, b * B, B);
		}
		while (ck_remote_kept(s.remote) < n * 3 / 2 * B)
			sched_yield();
		for (size_t i = 0; i < n_calls(&s); i++)
			assert_true(s.registry.calls[i].off + s.registry.calls[i].len <= 2 * n * B);
	}
	assert_int_equal(most_asked(&s), 1);
	stand_down(&s);
}

/* A registry without ranges: the blob comes once, for all who wait, and is kept. */
static void test_whole(void **state)
{
	struct stand s;
	struct job jobs[3];
	pthread_t t[3];

	(void)state;
	stand_up(&s, 64 * B + 100, 0, true);
	s.registry.no_ranges = true;
	s.registry.hold_at = 20 * B;
	gate(&s, true);
	jobs[0] = (struct job){ .s = &s, .off = 10 * B, .nbytes = 2 * B };
	start(&t[0], &jobs[0]);
	await_waiting(&s, 1);
	pthread_join(t[0], NULL); /* it has what it needs */
	assert_works(jobs[0].rc, &jobs[0].err);
	read_ok(&s, 3 * B, B); /* what passed by */
	for (size_t i = 1; i < 3; i++) {
		jobs[i] = (struct job){ .s = &s, .off = (20 + i * 20) * B, .nbytes = 3 * B };
		start(&t[i], &jobs[i]);
	}
	gate(&s, false);
	for (size_t i = 1; i < 3; i++) {
		pthread_join(t[i], NULL);
		assert_works(jobs[i].rc, &jobs[i].err);
	}
	read_ok(&s, 0, 64 * B + 100);
	assert_int_equal(n_calls(&s), 1);
	stand_down(&s);

	/* From its very start, and with a cut in the middle: the next one begins anew. */
	stand_up(&s, 64 * B + 100, 0, true);
	s.registry.no_ranges = true;
	s.registry.cut = 30 * B + 5;
	read_ok(&s, 0, B);
	read_ok(&s, 29 * B, B);
	struct ck_err err = { 0 };
	assert_fails(read_at(&s, 40 * B, B, &err), -EPROTO, &err, "it was cut");
	s.registry.cut = 0;
	read_ok(&s, 40 * B, B);
	stand_down(&s);
}

/* Two whole blobs at once: the second one waits for the first. */
static void test_whole_twice(void **state)
{
	struct stand s;
	struct job jobs[2];
	pthread_t t[2];

	(void)state;
	stand_up(&s, 64 * B, 0, true);
	s.registry.no_ranges = true;
	s.registry.hold_at = 20 * B;
	s.registry.together = 2; /* both have asked before it is known that there are no ranges */
	gate(&s, true);
	for (size_t i = 0; i < 2; i++) {
		jobs[i] = (struct job){ .s = &s, .off = (25 + i * 20) * B, .nbytes = 3 * B };
		start(&t[i], &jobs[i]);
	}
	await_waiting(&s, 1);
	while (ck_remote_fetched(s.remote) == 0) /* of the one that was ended */
		sched_yield();
	gate(&s, false);
	for (size_t i = 0; i < 2; i++) {
		pthread_join(t[i], NULL);
		assert_works(jobs[i].rc, &jobs[i].err);
	}
	while (ck_remote_kept(s.remote) < 64 * B)
		sched_yield();
	assert_int_equal(n_calls(&s), 2);
	stand_down(&s);
}

/* Bytes that come out of order are not taken. */
static void test_order(void **state)
{
	struct ck_err err = { 0 };
	struct stand s;

	(void)state;
	stand_up(&s, 64 * B, 0, true);
	s.registry.skips = true;
	assert_fails(read_at(&s, 0, 3 * B, &err), -EPROTO, &err, "not asked for");
	s.registry.skips = false;
	read_ok(&s, 0, 3 * B);
	stand_down(&s);
}

/* Without a cache, a few windows are kept for a moment; what comes again later is no exception. */
static void test_idle(void **state)
{
	struct stand s;

	(void)state;
	stand_up(&s, 64 * B, 0, false);
	assert_true(ck_reader_refetch(s.reader, 0, 1));
	for (uint64_t b = 0; b < 40; b += 2)
		read_ok(&s, b * B, 10);
	assert_int_equal(n_calls(&s), 20);
	assert_true(s.registry.calls[0].afresh);
	for (uint64_t b = 24; b < 40; b += 2)
		read_ok(&s, b * B, 10);
	assert_int_equal(n_calls(&s), 20);
	read_ok(&s, 0, 10);
	assert_int_equal(n_calls(&s), 21);
	assert_false(s.registry.calls[20].afresh);
	stand_down(&s);
}

/* What is fetched in the background: all that is missing, and not while somebody waits. */
static void *prefetch_all(void *arg)
{
	struct job *j = arg;

	j->rc = ck_remote_prefetch(j->s->remote, 0, UINT64_MAX, false, &j->err);
	return NULL;
}

static void test_prefetch(void **state)
{
	struct stand s;
	struct job j, reader;
	struct ck_err err = { 0 };
	pthread_t t, t2;

	(void)state;
	stand_up(&s, 64 * B + 3, 0, true);
	read_ok(&s, 20 * B, B);
	assert_works(ck_remote_prefetch(s.remote, 10 * B + 1, 20 * B, false, &err), &err);
	assert_int_equal(ck_remote_kept(s.remote), 21 * B);
	assert_works(ck_remote_prefetch(s.remote, 0, UINT64_MAX, true, &err), &err);
	assert_int_equal(ck_remote_kept(s.remote), 64 * B + 3);
	assert_int_equal(most_asked(&s), 1);
	stand_down(&s);

	stand_up(&s, 64 * B + 3, 0, true);
	gate(&s, true);
	reader = (struct job){ .s = &s, .off = 0, .nbytes = 10 };
	start(&t, &reader);
	await_waiting(&s, 1);
	/* The reader may only be about to wait; once the statistics have seen him, he does. */
	j = (struct job){ .s = &s };
	assert_int_equal(pthread_create(&t2, NULL, prefetch_all, &j), 0);
	gate(&s, false);
	pthread_join(t, NULL);
	pthread_join(t2, NULL);
	assert_works(reader.rc, &reader.err);
	assert_works(j.rc, &j.err);
	assert_int_equal(ck_remote_kept(s.remote), 64 * B + 3);
	assert_int_equal(most_asked(&s), 1);
	stand_down(&s);
}

/* The net: who waits holds up who does not; what is measured sets sizes. */
static void *wait_idle(void *arg)
{
	void **a = arg;

	*(bool *)a[2] = ck_net_idle(a[0], a[1]);
	return NULL;
}

static void test_net(void **state)
{
	struct ck_net_user u = { 0 };
	struct ck_net *n = NULL;
	struct ck_err err = { 0 };
	struct ck_net_stats stats;
	bool idle = false;
	pthread_t t;

	(void)state;
	assert_works(ck_net_open(&n, 7, &err), &err);
	assert_int_equal(ck_net_timeout_ms(n), 7);
	ck_net_join(n, &u);
	assert_int_equal(ck_net_piece(n), 256 << 10);
	/* 20 ms, 100 Mbit/s: 250 kB are under way. */
	for (int i = 0; i < 20; i++)
		ck_net_note(n, 125000, 20000, 10000, 0, false);
	assert_in_range(ck_net_piece(n), 990000, 1000000);
	ck_net_note(n, 5000, 20000, 1, 0, false); /* too little to tell a rate from */
	assert_in_range(ck_net_piece(n), 990000, 1000000);
	ck_net_note(n, 5, 9000000, 1, 3, false); /* tries say nothing of a round trip */
	ck_net_note(n, 5, 9000000, 1, 0, true);
	ck_net_stats(n, &stats);
	assert_int_equal(stats.requests, 23);
	assert_int_equal(stats.retries, 3);
	assert_int_equal(stats.failed, 1);
	assert_int_equal(stats.bytes_fetched, 20 * 125000 + 5010);
	assert_in_range(stats.wait_us, 19990, 20000);
	for (int i = 0; i < 20; i++) /* 200 ms, 10 Gbit/s */
		ck_net_note(n, 12500000, 200000, 10000, 0, false);
	assert_int_equal(ck_net_piece(n), 4 << 20);

	assert_true(ck_net_idle(n, &u));
	ck_net_wait_begin(n);
	ck_net_wait_begin(n);
	void *arg[] = { n, &u, &idle };
	assert_int_equal(pthread_create(&t, NULL, wait_idle, arg), 0);
	ck_net_wait_end(n);
	uint64_t before = ck_now_ms();
	ck_net_wait_end(n);
	pthread_join(t, NULL);
	assert_true(idle);
	assert_true(ck_now_ms() - before >= 4); /* they come again after less */
	ck_net_wait_begin(n);
	assert_int_equal(pthread_create(&t, NULL, wait_idle, arg), 0);
	ck_net_cancel(n);
	pthread_join(t, NULL);
	assert_false(idle);
	ck_net_leave(n, &u);
	ck_net_close(n);
}

/* Many readers at random places, some of what comes wrong, some failing: never a wrong byte that
 * nobody was told of, and it ends. */
struct walker {
	struct stand *s;
	uint64_t seed;
	size_t n_read;
};

static void *walk(void *arg)
{
	struct walker *w = arg;
	uint8_t buf[3 * B];
	struct ck_err err;

	for (int i = 0; i < 300; i++) {
		size_t n = 1 + mk_random(&w->seed) % sizeof buf;
		uint64_t off = mk_random(&w->seed) % (w->s->registry.size - n);
		if (ck_reader_pread(w->s->reader, buf, n, off, &err) < 0)
			continue;
		if (memcmp(buf, w->s->data.data + off, n) != 0) {
			assert_true(ck_reader_refetch(w->s->reader, off, n));
			continue;
		}
		w->n_read++;
	}
	return NULL;
}

static void test_many(void **state)
{
	enum { N = 6 };
	struct walker w[N];
	pthread_t t[N];
	struct stand s;

	(void)state;
	for (int cached = 0; cached < 2; cached++) {
		stand_up(&s, 200 * B + 77, 0, cached);
		s.registry.lies = true;
		s.registry.fails = 20;
		for (size_t i = 0; i < N; i++) {
			w[i] = (struct walker){ &s, i + 1, 0 };
			assert_int_equal(pthread_create(&t[i], NULL, walk, &w[i]), 0);
		}
		for (size_t i = 0; i < N; i++) {
			pthread_join(t[i], NULL);
			assert_true(w[i].n_read > 0);
		}
		stand_down(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ranges),	    cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_once),	    cmocka_unit_test(test_refetch),
		cmocka_unit_test(test_failures),    cmocka_unit_test(test_late),
		cmocka_unit_test(test_timeout),	    cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_advise),	    cmocka_unit_test(test_in_order),
		cmocka_unit_test(test_grows),	    cmocka_unit_test(test_whole),
		cmocka_unit_test(test_whole_twice), cmocka_unit_test(test_prefetch),
		cmocka_unit_test(test_net),	    cmocka_unit_test(test_many),
		cmocka_unit_test(test_order),	    cmocka_unit_test(test_idle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
