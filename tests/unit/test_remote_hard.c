/* Remote blobs where much goes wrong at once: registries without ranges that are slow, cut, or not
 * cached, copies that prove wrong while they are being kept, registries that are dead. */
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "fs/registry/remote_steps.h"
#include "tests/unit/lib/make.h"
#include "tests/unit/played/played.h"

/* A disk that can be made to wait once, when a block is written. */
enum { GOES, HOLDS, HELD };
static atomic_int disk = GOES;

ssize_t pwrite(int fd, const void *p, size_t nbytes, off_t off)
{
	int holds = HOLDS;

	if (nbytes == B && atomic_compare_exchange_strong(&disk, &holds, HELD))
		while (atomic_load(&disk) == HELD)
			sched_yield();
	return syscall(SYS_pwrite64, fd, p, nbytes, off);
}

struct job {
	struct stand *s;
	uint64_t off;
	size_t nbytes;
	int rc;
	struct ck_err err;
	pthread_t thread;
};

static void *run_job(void *arg)
{
	struct job *j = arg;

	j->rc = read_at(j->s, j->off, j->nbytes, &j->err);
	return NULL;
}

static void start(struct job *j, struct stand *s, uint64_t off, size_t nbytes)
{
	*j = (struct job){ .s = s, .off = off, .nbytes = nbytes };
	assert_int_equal(pthread_create(&j->thread, NULL, run_job, j), 0);
}

static void join_ok(struct job *j)
{
	pthread_join(j->thread, NULL);
	assert_works(j->rc, &j->err);
}

static uint64_t passed(struct stand *s)
{
	pthread_mutex_lock(&s->remote->lock);
	uint64_t at = s->remote->whole_next;
	pthread_mutex_unlock(&s->remote->lock);
	return at;
}

static uint64_t blocks_in_windows(struct stand *s)
{
	struct ck_window *w;
	uint64_t n = 0;

	pthread_mutex_lock(&s->remote->lock);
	TAILQ_FOREACH(w, &s->remote->windows, link)
	n += w->n;
	pthread_mutex_unlock(&s->remote->lock);
	return n;
}

/* Until as many windows wait for a whole blob as N says. */
static void await_attached(struct stand *s, size_t n)
{
	struct ck_window *w;

	for (size_t is = 0; is < n; sched_yield()) {
		is = 0;
		pthread_mutex_lock(&s->remote->lock);
		TAILQ_FOREACH(w, &s->remote->windows, link)
		is += w->attached;
		pthread_mutex_unlock(&s->remote->lock);
	}
}

/* Until nothing is being fetched. */
static void await_over(struct stand *s)
{
	for (unsigned n = 1; n; sched_yield()) {
		pthread_mutex_lock(&s->remote->lock);
		n = s->remote->n_running;
		pthread_mutex_unlock(&s->remote->lock);
	}
}

/* What a whole blob brought for those who waited is not held until its end. */
static void test_memory_of_whole(void **state)
{
	enum { N = 190 * PIECE };
	struct stand s;

	(void)state;
	stand_up(&s, N * B, 0, true);
	s.registry.no_ranges = true;
	s.registry.hold_at = 10 * B;
	s.registry.hold_next = (N - 5) * B;
	gate_next(&s, true);
	gate(&s, true);
	read_ok(&s, 0, B);
	while (passed(&s) < 9) /* it is known that there are no ranges */
		sched_yield();
	ck_reader_advise(s.reader, 10 * B, (N - 20) * B);
	await_attached(&s, 150);
	gate(&s, false);
	while (passed(&s) < N - 5)
		sched_yield();
	assert_true(blocks_in_windows(&s) <= 10 * PIECE);
	gate_next(&s, false);
	read_ok(&s, (N - 2) * B, B);
	assert_int_equal(n_calls(&s), 1);
	stand_down(&s);
}

/* What has passed by, and is not kept, is asked for once; then it is waited for until the whole
 * blob can come again. */
static void test_passed_by(void **state)
{
	struct stand s;
	struct job j[2];

	(void)state;
	stand_up(&s, 64 * B, 0, false);
	s.registry.no_ranges = true;
	s.registry.hold_at = 20 * B;
	gate(&s, true);
	read_ok(&s, 10 * B, B);
	while (passed(&s) < 19)
		sched_yield();
	start(&j[0], &s, 3 * B, 10);
	start(&j[1], &s, 5 * B, 10);
	await_attached(&s, 2);
	assert_int_equal(n_calls(&s), 3);
	gate(&s, false);
	join_ok(&j[0]);
	join_ok(&j[1]);
	assert_true(n_calls(&s) <= 12);
	stand_down(&s);
}

/* A copy that is wrong may just be on its way into the cache when it is complained of: there it is
 * not to stay. */
struct complaint {
	struct stand *s;
	atomic_bool done;
};

static void *complain(void *arg)
{
	struct complaint *c = arg;

	assert_true(ck_reader_refetch(c->s->reader, 3 * B, 8));
	read_ok(c->s, 3 * B, 8);
	while (ck_remote_kept(c->s->remote) < B)
		sched_yield();
	atomic_store(&c->done, true);
	return NULL;
}

static void test_refetch_while_kept(void **state)
{
	struct stand s;
	struct complaint c = { .s = &s };
	uint8_t buf[B];
	struct ck_err err = { 0 };
	pthread_t t;

	(void)state;
	stand_up(&s, 64 * B, 0, true);
	s.registry.lies = true;
	atomic_store(&disk, HOLDS);
	assert_works(ck_reader_pread(s.reader, buf, 8, 3 * B, &err), &err);
	assert_memory_not_equal(buf, s.data.data + 3 * B, 8);
	while (atomic_load(&disk) != HELD)
		sched_yield();
	assert_int_equal(pthread_create(&t, NULL, complain, &c), 0);
	/* It has waited long enough if it waits at all. */
	for (uint64_t now = ck_now_ms(); !atomic_load(&c.done) && ck_now_ms() < now + 200;)
		sched_yield();
	atomic_store(&disk, GOES);
	pthread_join(t, NULL);
	while (ck_remote_fetched(s.remote) < 2 * B)
		sched_yield();
	if (ck_cached_blob_get(s.remote->kept, 3, buf))
		assert_memory_equal(buf, s.data.data + 3 * B, B);
	stand_down(&s);
}

/* A disk on which room has to be made first holds up no reader, also not of the next block. */
static void test_slow_disk(void **state)
{
	struct stand s;

	(void)state;
	stand_up(&s, 64 * B, 2000, true);
	atomic_store(&disk, HOLDS);
	read_ok(&s, 3 * B, 5 * B);
	while (atomic_load(&disk) != HELD)
		sched_yield();
	read_ok(&s, 3 * B, 5 * B);
	assert_int_equal(n_calls(&s), 1);
	atomic_store(&disk, GOES);
	while (ck_remote_kept(s.remote) < 5 * B)
		sched_yield();
	stand_down(&s);
}

/* Blobs that were read once and are no more do not keep the memory from one that is, and of which
 * nothing is kept on a disk; those that are read keep theirs, and all of it has its bound. */
static void test_idle_of_others(void **state)
{
	enum { OTHERS = 6, N = 8 * 2 * PIECE };
	struct stand s;
	struct ck_reader *readers[OTHERS];
	struct ck_remote *others[OTHERS];
	struct ck_err err = { 0 };
	uint8_t digest[CK_SHA256_LEN] = { 2 };
	static uint8_t buf[PIECE * B];

	(void)state;
	for (int unread = 0; unread < 2; unread++) {
		stand_up(&s, N * B, 0, false);
		for (size_t i = 0; i < OTHERS; i++) {
			assert_works(ck_remote_open(&readers[i], &others[i], s.net, &s.registry,
						    NULL, digest, N * B, &err),
				     &err);
			for (uint64_t b = 0; b < N; b += 2 * PIECE) /* not in order */
				assert_works(ck_reader_pread(readers[i], buf, sizeof buf,
							     (N - 2 * PIECE - b) * B, &err),
					     &err);
			while (ck_remote_fetched(others[i]) < N / 2 * B)
				sched_yield();
		}
		/* As much as there may be, with what is let go of while we look. */
		assert_false(ck_net_idle_memory(s.net, 0));
		assert_true(ck_net_idle_memory(s.net, PIECE * B + 1));
		(void)ck_net_idle_memory(s.net, -(PIECE * B + 1));
		for (size_t i = 0; unread && i < OTHERS; i++)
			atomic_store(&others[i]->user.read_ms, 0);
		size_t before = n_calls(&s);
		ck_reader_advise(s.reader, 0, PIECE * B);
		while (ck_remote_fetched(s.remote) < PIECE * B)
			sched_yield();
		read_ok(&s, 0, PIECE * B);
		read_ok(&s, 0, PIECE * B);
		assert_int_equal(n_calls(&s) > before + 1, !unread);
		assert_false(ck_net_idle_memory(s.net, 0));
		before = n_calls(&s); /* what the last one was given first is there still */
		assert_works(ck_reader_pread(readers[OTHERS - 3], buf, sizeof buf, 0, &err), &err);
		assert_int_equal(n_calls(&s), before);
		for (size_t i = 0; i < OTHERS; i++)
			ck_reader_close(readers[i]);
		stand_down(&s);
	}
}

/* What is complained of before it is kept is not, nor what lies between; its neighbours are. */
static void test_wrong_before_kept(void **state)
{
	struct stand s;
	bool have[5];

	(void)state;
	stand_up(&s, 64 * B, 0, true);
	atomic_store(&disk, HOLDS);
	read_ok(&s, 3 * B, 5 * B);
	while (atomic_load(&disk) != HELD)
		sched_yield();
	assert_true(ck_reader_refetch(s.reader, 6 * B, 8));
	assert_true(ck_reader_refetch(s.reader, 4 * B, 8));
	atomic_store(&disk, GOES);
	while (ck_remote_fetched(s.remote) < 5 * B)
		sched_yield();
	ck_cached_blob_have(s.remote->kept, 3, 5, have);
	assert_true(have[0] && !have[1] && !have[2] && !have[3] && have[4]);
	stand_down(&s);
}

/* What was wrong counts as such until all of it came from the origin, and no longer. */
static void test_long_refetch(void **state)
{
	struct stand s;

	(void)state;
	stand_up(&s, 64 * B, 0, true);
	assert_true(ck_reader_refetch(s.reader, 0, 20 * B));
	read_ok(&s, 0, 20 * B);
	for (size_t i = 0; i < n_calls(&s); i++)
		assert_int_equal(s.registry.calls[i].afresh, s.registry.calls[i].off < 20 * B);
	size_t before = n_calls(&s);
	(void)ck_cached_blob_forget(s.remote->kept, 0, 64);
	pthread_mutex_lock(&s.remote->lock);
	ck_windows_disown(&s.remote->windows, 0, 64, s.net);
	pthread_mutex_unlock(&s.remote->lock);
	read_ok(&s, 0, 20 * B);
	for (size_t i = before; i < n_calls(&s); i++)
		assert_false(s.registry.calls[i].afresh);
	stand_down(&s);
}

/* A whole blob is cut before what is wanted, and then there are ranges after all. */
static void test_ranges_after_all(void **state)
{
	struct stand s;

	(void)state;
	for (int cached = 0; cached < 2; cached++) {
		stand_up(&s, 64 * B, 0, cached);
		s.registry.no_ranges = s.registry.heals = true;
		s.registry.cut = 5 * B + 7;
		read_ok(&s, 10 * B, 3 * B);
		assert_int_equal(n_calls(&s), 1);
		read_ok(&s, 10 * B + 9, B);
		assert_int_equal(n_calls(&s), 1);
		stand_down(&s);
	}
}

/* Nothing comes any more, however much is asked for: advice does not wait, what is kept is read,
 * what is not fails in time. */
static void test_dead(void **state)
{
	enum { N = 500 * PIECE, RUN = PROVED + 4 };
	struct stand s;
	struct ck_err err = { 0 };

	(void)state;
	stand_up(&s, N * B, 300, true);
	for (uint64_t b = 0; b < RUN; b++)
		read_ok(&s, b * B, B);
	while (ck_remote_kept(s.remote) < RUN * B)
		sched_yield();
	gate(&s, true);
	ck_reader_advise(s.reader, 0, (N - 1) * B);
	for (uint64_t b = 0; b < RUN; b++) /* in order, so that it looks ahead */
		read_ok(&s, b * B, B);
	uint64_t begun = ck_now_ms();
	assert_fails(read_at(&s, (N - 1) * B, B, &err), -ETIMEDOUT, &err, "within 300 ms");
	assert_true(ck_now_ms() - begun < 2000);
	assert_true(blocks_in_windows(&s) < 400 * PIECE);
	/* When it comes back, it is not asked for what nobody waits for any more. */
	while (ck_now_ms() - begun < 2 * 300)
		sched_yield();
	size_t before = n_calls(&s);
	gate(&s, false);
	read_ok(&s, (N - 1) * B, B);
	await_over(&s);
	assert_true(n_calls(&s) <= before + 1);
	gate(&s, true);
	ck_reader_advise(s.reader, 1000 * B, 1000 * B);
	begun = ck_now_ms();
	stand_down(&s);
	assert_true(ck_now_ms() - begun < 2000);
}

static size_t turn_of(struct stand *s, uint64_t block)
{
	size_t n = n_calls(s), i = 0;

	while (i < n && (s->registry.calls[i].off > block * B ||
			 s->registry.calls[i].off + s->registry.calls[i].len <= block * B))
		i++;
	return i;
}

/* Who waits goes before what was only said to be needed soon. */
static void test_first(void **state)
{
	enum { N = 125 * PIECE };
	struct stand s;
	struct job j[2];

	(void)state;
	stand_up(&s, N * B, 0, true);
	gate(&s, true);
	ck_reader_advise(s.reader, 0, 100 * PIECE * B);
	await_waiting(&s, 16);
	start(&j[0], &s, 112 * PIECE * B, B); /* not asked for yet */
	while (blocks_in_windows(&s) <= 100 * PIECE)
		sched_yield();
	start(&j[1], &s, (100 * PIECE - 10) * B, B); /* among the last that are */
	for (bool asked = false; !asked; sched_yield()) {
		pthread_mutex_lock(&s.remote->lock);
		struct ck_window *w = ck_windows_find(&s.remote->windows, 100 * PIECE - 10, 0);
		asked = w && w->refs > 1;
		pthread_mutex_unlock(&s.remote->lock);
	}
	gate(&s, false);
	join_ok(&j[0]);
	join_ok(&j[1]);
	/* Behind those that had their threads, and maybe others that began meanwhile. */
	assert_true(turn_of(&s, 112 * PIECE) < 2 * 16 + 2);
	assert_true(turn_of(&s, 100 * PIECE - 10) < 2 * 16 + 2);
	stand_down(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory_of_whole),
		cmocka_unit_test(test_passed_by),
		cmocka_unit_test(test_refetch_while_kept),
		cmocka_unit_test(test_slow_disk),
		cmocka_unit_test(test_wrong_before_kept),
		cmocka_unit_test(test_idle_of_others),
		cmocka_unit_test(test_long_refetch),
		cmocka_unit_test(test_ranges_after_all),
		cmocka_unit_test(test_dead),
		cmocka_unit_test(test_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
