/*
 * The bytes of a client of the key provider, after the HTTP/2 preface and settings: a
 * connection survives them, holds no more than it may, and frees all.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "keyprov/conn.h"
#include "tests/unit/lib/fake_attest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char hello[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";

/* Gives the connection NBYTES bytes and what time it wants; false when it hung up. */
static bool feed(struct ck_conn *c, int peer, const void *p, size_t nbytes)
{
	uint8_t sink[4096];

	if (send(peer, p, nbytes, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return false;
	bool ok = ck_conn_io(c, POLLIN | POLLOUT, 1000) && ck_conn_tick(c, 1000);
	while (recv(peer, sink, sizeof sink, MSG_DONTWAIT) > 0)
		;
	return ok;
}

static void collect(struct ck_callpool *pool)
{
	struct ck_call *call;

	while (ck_callpool_busy(pool))
		while ((call = ck_callpool_done(pool)))
			ck_conn_answer(call, 1000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fake_attest fake = { .fail = -EACCES, .block_fd = -1 };
	static struct ck_provider provider = { .hsm_host = "h", .maa_host = "m" };
	static struct ck_conn_env env;
	struct ck_conn *c;
	int fds[2];

	provider.attest = fake_as_attest(&fake);
	if (!env.pool && ck_callpool_open(&env.pool, &provider, NULL) < 0)
		abort();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0 ||
	    ck_conn_open(&c, fds[0], &env, 1000, NULL) < 0)
		abort();
	bool ok = feed(c, fds[1], hello, sizeof hello - 1);
	if (!ok)
		abort(); /* that much is right */
	for (size_t at = 0, n; ok && at < size; at += n) {
		/* In pieces of uneven size: frames come cut anywhere. */
		n = 1 + data[at] % 97;
		if (n > size - at)
			n = size - at;
		ok = feed(c, fds[1], data + at, n);
		collect(env.pool);
	}
	/* Long after, nothing of it is left: calls ended, then the connection. */
	if (ok && ck_conn_tick(c, 1000 + 300000) && ck_conn_tick(c, 1000 + 600000))
		abort();
	ck_conn_close(c);
	collect(env.pool);
	if (env.n_body != 0)
		abort();
	close(fds[1]);
	return 0;
}
