#include "tests/unit/lib/rc.h"

#include <errno.h>
#include <openssl/rsa.h>
#include <sys/eventfd.h>

#include "base/secret.h"
#include "base/text.h"
#include "keyprov/callpool.h"
#include "tests/unit/lib/fake_attest.h"

static EVP_PKEY *key;
static struct ck_buf request; /* a framed call that unwraps with KEY */

static const char wrap_json[] =
    "{\"op\":\"keywrap\",\"keywrapparams\":{\"ec\":{\"Parameters\":{\"attestation-agent\":["
    "\"YWFzcDppbWFnZWtleTAwMA==\"]}},\"optsdata\":\"e30=\"}}";

/* More than there are threads, so that the last ones wait in the queue. */
enum { MANY = 64, QUEUE = 256 };

static struct ck_call *submit_op(struct ck_callpool *pool, enum ck_op op, int *rc)
{
	struct ck_call *c = calloc(1, sizeof *c);
	struct ck_err err = { 0 };

	assert_non_null(c);
	c->owner = &key;
	c->op = op;
	assert_rc(ck_buf_add(&c->in, request.data, request.len, &err), 0, &err);
	*rc = ck_callpool_submit(pool, c);
	if (*rc < 0)
		ck_call_free(c);
	return *rc < 0 ? NULL : c;
}

static struct ck_call *submit(struct ck_callpool *pool, int *rc)
{
	return submit_op(pool, CK_OP_UNWRAP, rc);
}

/* However many unwrapping calls hang and wait, one that wraps is done. */
static void hanging_hsm_leaves_wrapping(void **state)
{
	struct fake_attest fake = { .key = key, .block_fd = eventfd(0, EFD_CLOEXEC) };
	struct ck_provider p = { fake_as_attest(&fake), NULL, "h", "m" };
	struct ck_callpool *pool = NULL;
	struct ck_call *done;
	struct ck_err err = { 0 };
	int rc = 0;

	(void)state;
	assert_rc(ck_callpool_open(&pool, &p, &err), 0, &err);
	for (int i = 0; i < MANY; i++) {
		(void)submit(pool, &rc);
		assert_int_equal(rc, 0);
	}
	struct ck_call *wraps = submit_op(pool, CK_OP_WRAP, &rc);
	struct pollfd fd = { ck_callpool_fd(pool), POLLIN, 0 };
	assert_int_equal(poll(&fd, 1, 10000), 1);
	assert_ptr_equal(ck_callpool_done(pool), wraps);
	/* An unwrapping request: it is the answer that counts here. */
	assert_int_equal(wraps->status, CK_GRPC_INVALID_ARGUMENT);
	ck_call_free(wraps);
	assert_int_equal(eventfd_write(fake.block_fd, 1), 0);
	for (int i = 0; i < MANY; i++) {
		while (!(done = ck_callpool_done(pool)))
			(void)poll(NULL, 0, 1);
		assert_rc(done->status, CK_GRPC_OK, &done->err);
		ck_call_free(done);
	}
	ck_callpool_close(pool);
	ck_closep(&fake.block_fd);
}

/* Threads hang on an HSM; whoever gives up meanwhile leaves nothing behind: neither the
 * body of the call nor a place in the queue. */
static void abandoned_calls_leave_the_queue(void **state)
{
	struct fake_attest fake = { .key = key, .block_fd = eventfd(0, EFD_CLOEXEC) };
	struct ck_provider p = { fake_as_attest(&fake), NULL, "h", "m" };
	struct ck_callpool *pool = NULL;
	struct ck_call *held[MANY + QUEUE], *done;
	struct ck_err err = { 0 };
	size_t n = 0, n_running;
	int rc = 0;

	(void)state;
	assert_rc(ck_callpool_open(&pool, &p, &err), 0, &err);
	while (n < MANY && rc == 0)
		if ((held[n] = submit(pool, &rc)))
			n++;
	/* As many as there are threads begin, and stay. */
	for (int before = -1; before != atomic_load(&fake.n_private) || before <= 0;) {
		before = atomic_load(&fake.n_private);
		(void)poll(NULL, 0, 50);
	}
	n_running = (size_t)atomic_load(&fake.n_private);
	assert_in_range(n_running, 1, MANY - 1);
	while (rc == 0 && n < MANY + QUEUE)
		if ((held[n] = submit(pool, &rc)))
			n++;
	assert_int_equal(rc, -EAGAIN);
	assert_int_equal(n, n_running + QUEUE);
	/* From the middle, the end and the beginning of the queue: the order of giving up
	 * is the clients'. */
	for (size_t i = 0; i < QUEUE; i++) {
		size_t at = n_running + (i * 131 + 77) % QUEUE;
		ck_callpool_abandon(pool, held[at]);
		done = ck_callpool_done(pool);
		assert_ptr_equal(done, held[at]);
		assert_null(done->owner);
		ck_call_free(done);
	}
	assert_null(ck_callpool_done(pool));
	struct ck_call *late = submit(pool, &rc);
	assert_int_equal(rc, 0);
	assert_int_equal(eventfd_write(fake.block_fd, 1), 0);
	for (size_t i = 0; i < n_running + 1; i++) {
		while (!(done = ck_callpool_done(pool)))
			(void)poll(NULL, 0, 1);
		assert_rc(done->status, CK_GRPC_OK, &done->err);
		assert_non_null(done->owner);
		late = done == late ? NULL : late;
		ck_call_free(done);
	}
	assert_null(late);
	ck_callpool_close(pool);
	ck_closep(&fake.block_fd);
}

/* While the HSM is asked, a call holds what is to be unwrapped, not the megabytes that it
 * came in. */
static void running_calls_hold_no_body(void **state)
{
	struct fake_attest fake = { .key = key, .block_fd = eventfd(0, EFD_CLOEXEC) };
	struct ck_provider p = { fake_as_attest(&fake), NULL, "h", "m" };
	struct ck_callpool *pool = NULL;
	struct ck_call *done;
	struct ck_err err = { 0 };
	int rc;

	(void)state;
	assert_rc(ck_callpool_open(&pool, &p, &err), 0, &err);
	struct ck_call *c = submit(pool, &rc);
	while (atomic_load(&fake.n_private) == 0)
		(void)poll(NULL, 0, 1);
	assert_null(c->in.data);
	assert_int_equal(eventfd_write(fake.block_fd, 1), 0);
	while (!(done = ck_callpool_done(pool)))
		(void)poll(NULL, 0, 1);
	assert_rc(done->status, CK_GRPC_OK, &done->err);
	ck_call_free(done);
	ck_callpool_close(pool);
	ck_closep(&fake.block_fd);
}

static int init(void **state)
{
	struct fake_attest fake = { .block_fd = -1 };
	struct ck_provider p = { fake_as_attest(&fake), NULL, "h", "m" };
	CK_BUF answer = { 0 }, ask = { 0 };
	struct ck_err err = { 0 };

	(void)state;
	if (ck_secret_init(&err) || !(fake.key = key = EVP_RSA_gen(2048)) ||
	    ck_provider_handle(&p, wrap_json, strlen(wrap_json), &answer, &err))
		return -1;
	/* {"keywrapresults":{"annotation":[..]}} turned into the question. */
	const char *array = strchr(ck_buf_str(&answer), '[');
	int len = (int)strcspn(array, "]") + 1;
	if (ck_buf_addf(&ask, &err, "{\"keyunwrapparams\":{\"annotation\":%.*s}}", len, array) ||
	    ck_grpc_encode(&request, CK_GRPC_INPUT, ask.data, ask.len, &err))
		return -1;
	return 0;
}

static int clean(void **state)
{
	(void)state;
	ck_buf_free(&request);
	EVP_PKEY_free(key);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(abandoned_calls_leave_the_queue),
		cmocka_unit_test(running_calls_hold_no_body),
		cmocka_unit_test(hanging_hsm_leaves_wrapping),
	};
	return cmocka_run_group_tests(tests, init, clean);
}
