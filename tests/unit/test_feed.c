/* The feed: every byte once and in order whoever takes it in, never more ahead than it has
 * room for, and the verdict on all of the blob. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "tar/feed.h"
#include "tests/unit/lib/make.h"
#include "tests/unit/lib/unit.h"

enum { N_BLOCKS = 3, BLOCKS = 10, LEN = BLOCKS * CK_INTAKE_BLOCK + 777 };

static struct ck_buf blob, seen;

static int see(void *ctx, const void *p, size_t nbytes, struct ck_err *err)
{
	(void)ctx;
	return ck_buf_add(&seen, p, nbytes, err);
}

static int see_two(void *ctx, const void *p, size_t nbytes, struct ck_err *err)
{
	(void)p, (void)nbytes;
	return ++*(int *)ctx > 2 ? ck_fail(err, -ENOSPC, "no room for more") : 0;
}

struct stand {
	struct ck_layer_spec spec;
	struct ck_reader *r;
	struct ck_feed *f;
};

/* SPOIL the manifest's digest. */
static void open_feed(struct stand *s, ck_feed_tap *tap, void *ctx, bool spoil)
{
	struct ck_err err = { 0 };

	s->spec = mk_spec(&blob, &blob, NULL);
	s->spec.digest[0] ^= spoil;
	seen.len = 0;
	assert_works(ck_reader_open_mem(&s->r, blob.data, blob.len, &err), &err);
	assert_works(ck_feed_open(&s->f, &s->spec, s->r, NULL, N_BLOCKS, tap, ctx, &err), &err);
}

static void close_feed(struct stand *s)
{
	ck_feed_close(s->f);
	ck_reader_close(s->r);
}

/* Reads to the end, and compares; returns how much there was. */
static size_t read_all(struct ck_feed *f)
{
	size_t at = 0;
	struct ck_block *b;

	for (; (b = ck_feed_take(f)); ck_feed_done(f, b)) {
		assert_true(b->len && b->len <= blob.len - at);
		assert_memory_equal(b->data, blob.data + at, b->len);
		at += b->len;
	}
	return at;
}

static void test_alone(void **state)
{
	struct ck_err err = { 0 };
	struct stand s;
	(void)state;
	open_feed(&s, see, NULL, false);
	assert_int_equal(read_all(s.f), LEN);
	assert_null(ck_feed_take(s.f));
	assert_false(ck_feed_ahead(s.f));
	assert_works(ck_feed_finish(s.f, &err), &err);
	assert_int_equal(ck_feed_through(s.f), LEN);
	assert_int_equal(seen.len, LEN);
	assert_memory_equal(seen.data, blob.data, LEN);
	close_feed(&s);
}

static void test_bounded(void **state)
{
	struct stand s;
	(void)state;
	open_feed(&s, NULL, NULL, false);
	for (int i = 0; i < N_BLOCKS; i++)
		assert_true(ck_feed_ahead(s.f));
	assert_false(ck_feed_ahead(s.f));
	assert_int_equal(ck_feed_through(s.f), N_BLOCKS * CK_INTAKE_BLOCK);
	struct ck_block *b = ck_feed_take(s.f);
	assert_memory_equal(b->data, blob.data, b->len);
	assert_false(ck_feed_ahead(s.f)); /* the reader still has it */
	ck_feed_done(s.f, b);
	assert_true(ck_feed_ahead(s.f));
	close_feed(&s);
}

static atomic_bool over;

static void *keep_ahead(void *arg)
{
	while (!atomic_load(&over))
		(void)ck_feed_ahead(arg);
	return NULL;
}

static void test_two_threads(void **state)
{
	struct ck_err err = { 0 };
	struct stand s;
	pthread_t t;
	(void)state;
	for (int i = 0; i < 10; i++) {
		open_feed(&s, see, NULL, false);
		atomic_store(&over, false);
		assert_int_equal(pthread_create(&t, NULL, keep_ahead, s.f), 0);
		assert_int_equal(read_all(s.f), LEN);
		atomic_store(&over, true);
		pthread_join(t, NULL);
		assert_works(ck_feed_finish(s.f, &err), &err);
		assert_int_equal(seen.len, LEN);
		assert_memory_equal(seen.data, blob.data, LEN);
		close_feed(&s);
	}
}

/* The verdict is on all of the blob, however little was read of it. */
static void test_verdict(void **state)
{
	struct ck_err err = { 0 };
	struct stand s;
	(void)state;
	open_feed(&s, NULL, NULL, false);
	ck_feed_done(s.f, ck_feed_take(s.f));
	assert_true(ck_feed_ahead(s.f));
	assert_works(ck_feed_finish(s.f, &err), &err);
	close_feed(&s);
	open_feed(&s, NULL, NULL, true);
	ck_feed_done(s.f, ck_feed_take(s.f));
	assert_fails(ck_feed_finish(s.f, &err), -EBADMSG, &err, "digest check failed");
	close_feed(&s);
}

static void test_failure(void **state)
{
	struct ck_err err = { 0 };
	struct stand s;
	int n = 0;
	(void)state;
	open_feed(&s, see_two, &n, false);
	assert_int_equal(read_all(s.f), 2 * CK_INTAKE_BLOCK);
	assert_false(ck_feed_ahead(s.f));
	assert_fails(ck_feed_finish(s.f, &err), -ENOSPC, &err, "no room for more");
	assert_int_equal(n, 3);
	close_feed(&s);
}

static int make_blob(void **state)
{
	(void)state;
	seen.max = blob.max = SIZE_MAX;
	mk_bytes(&blob, 5, LEN);
	return 0;
}

static int free_blob(void **state)
{
	(void)state;
	ck_buf_free(&blob);
	ck_buf_free(&seen);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alone),	    cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_two_threads), cmocka_unit_test(test_verdict),
		cmocka_unit_test(test_failure),
	};

	return cmocka_run_group_tests(tests, make_blob, free_blob);
}
