/* How long a peer may take, by a clock that the test turns. */
#include "tests/unit/lib/rc.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "keyprov/conn.h"
#include "tests/unit/lib/fake_attest.h"

static struct fake_attest fake = { .fail = -EACCES, .block_fd = -1 };
static struct ck_provider provider = { .hsm_host = "h", .maa_host = "m" };
static struct ck_conn_env env;

/* Preface, settings; then headers of UnWrapKey on stream 1 (POST, http, path, authority x,
 * content-type application/grpc), its message not yet ended. */
static const char hello[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
static const char headers[] = "\0\0\x42\1\4\0\0\0\1\x83\x86\x04\x29/keyprovider.KeyProviderService/"
			      "UnWrapKey\x41\1x\x5f\x10"
			      "application/grpc";
static const char data[] = "\0\0\5\0\1\0\0\0\1\0\0\0\0\0";

static struct ck_conn *conn_at(uint64_t now_ms, int *peer)
{
	struct ck_conn *c;
	int fds[2];
	struct ck_err err = { 0 };

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	assert_rc(ck_conn_open(&c, fds[0], &env, now_ms, &err), 0, &err);
	*peer = fds[1];
	return c;
}

static bool feed(struct ck_conn *c, int peer, const char *p, size_t nbytes, uint64_t now_ms)
{
	assert_int_equal(send(peer, p, nbytes, MSG_NOSIGNAL), nbytes);
	return ck_conn_io(c, POLLIN, now_ms);
}

static void collect(uint64_t now_ms)
{
	struct ck_call *call;

	while (ck_callpool_busy(env.pool))
		while ((call = ck_callpool_done(env.pool)))
			ck_conn_answer(call, now_ms);
}

static void a_new_connection_has_ten_seconds_for_a_call(void **state)
{
	(void)state;
	int peer;
	struct ck_conn *c = conn_at(5000, &peer);

	assert_int_equal(ck_conn_next_ms(c), 15000);
	assert_int_equal(ck_conn_idle_since(c), 5000);
	/* Bytes that make no call, pings and such, gain nothing. */
	assert_true(feed(c, peer, hello, sizeof hello - 1, 14000));
	assert_true(feed(c, peer,
			 "\0\0\x08\6\0\0\0\0\0"
			 "01234567",
			 17, 14900));
	assert_true(ck_conn_tick(c, 14999));
	assert_false(ck_conn_tick(c, 15000));
	ck_conn_close(c);
	close(peer);
}

static void a_call_has_sixty_seconds_however_it_trickles(void **state)
{
	(void)state;
	int peer;
	struct ck_conn *c = conn_at(0, &peer);

	assert_true(feed(c, peer, hello, sizeof hello - 1, 0));
	assert_true(feed(c, peer, headers, sizeof headers - 1, 1000));
	assert_int_equal(ck_conn_idle_since(c), UINT64_MAX);
	assert_int_equal(ck_conn_next_ms(c), 61000);
	assert_true(feed(c, peer, data, 10, 60000)); /* some of its message */
	assert_true(ck_conn_tick(c, 60999));
	assert_int_equal(ck_conn_idle_since(c), UINT64_MAX);
	assert_true(ck_conn_tick(c, 61000));
	/* Answered, told to stop, and done with; the next call may come. */
	assert_int_equal(ck_conn_idle_since(c), 61000);
	assert_true(ck_conn_tick(c, 61000 + 59999));
	assert_false(ck_conn_tick(c, 61000 + 60000));
	ck_conn_close(c);
	close(peer);
}

static void answers_that_are_not_read_end_the_connection(void **state)
{
	(void)state;
	int peer;
	struct ck_conn *c = conn_at(0, &peer);
	/* A window of no bytes: nothing of an answer's body may be sent. */
	static const char no_window[] = "\0\0\6\4\0\0\0\0\0\0\4\0\0\0\0";

	assert_true(feed(c, peer, hello, sizeof hello - 1, 0));
	assert_true(feed(c, peer, no_window, sizeof no_window - 1, 0));
	assert_true(feed(c, peer, headers, sizeof headers - 1, 1000));
	assert_true(feed(c, peer, data, sizeof data - 1, 1000));
	struct ck_call *call = NULL;
	while (!call)
		call = ck_callpool_done(env.pool);
	/* Whatever it became: let it be a success with a body. */
	call->status = CK_GRPC_OK;
	assert_int_equal(ck_grpc_encode(&call->out, CK_GRPC_OUTPUT, "{}", 2, NULL), 0);
	ck_conn_answer(call, 2000);
	assert_true(ck_conn_tick(c, 2000));
	assert_int_equal(ck_conn_next_ms(c), 61000 + 10000);
	assert_true(ck_conn_tick(c, 70999));
	assert_false(ck_conn_tick(c, 71000));
	ck_conn_close(c);
	close(peer);
}

static void closing_gives_everything_back(void **state)
{
	(void)state;
	int peer;
	struct ck_conn *c = conn_at(0, &peer);

	assert_true(feed(c, peer, hello, sizeof hello - 1, 0));
	assert_true(feed(c, peer, headers, sizeof headers - 1, 0));
	assert_true(feed(c, peer, data, 12, 0));
	assert_int_equal(env.n_body, 3);
	close(peer);
	assert_false(ck_conn_io(c, POLLIN | POLLHUP, 0));
	ck_conn_close(c);
	assert_int_equal(env.n_body, 0);
	collect(0);
}

static int init(void **state)
{
	(void)state;
	provider.attest = fake_as_attest(&fake);
	return ck_callpool_open(&env.pool, &provider, NULL);
}

static int clean(void **state)
{
	(void)state;
	ck_callpool_close(env.pool);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_connection_has_ten_seconds_for_a_call),
		cmocka_unit_test(a_call_has_sixty_seconds_however_it_trickles),
		cmocka_unit_test(answers_that_are_not_read_end_the_connection),
		cmocka_unit_test(closing_gives_everything_back),
	};

	return cmocka_run_group_tests(tests, init, clean);
}
