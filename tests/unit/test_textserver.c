/*
 * The heads of HTTP requests; a server of one text, and that nobody who asks badly, or does not
 * take the answer, keeps the others waiting; the socket it listens on. Runs under TSan.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"
#include "base/httpreq.h"
#include "base/textserver.h"
#include "tests/unit/lib/unit.h"

enum { SOON_MS = 20000, LARGE = 7 << 20 };

/* ---- heads of requests ------------------------------------------------------------------------
 */

#define GET "GET /metrics HTTP/1.1\r\nHost: x\r\n"

static void test_heads(void **state)
{
	static const struct {
		const char *head;
		int want; /* -1: its length */
		const char *method, *path;
	} rows[] = {
		{ GET "\r\n", -1, "GET", "/metrics" },
		{ "GET /metrics HTTP/1.1\nhost:x\n\n", -1, "GET", "/metrics" },
		{ "GET / HTTP/1.0\r\n\r\n", -1, "GET", "/" },
		{ "HEAD /a?b=c HTTP/1.1\r\nHOST:\r\n\r\n", -1, "HEAD", "/a" },
		{ "x!#$%&'*+-.^_`|~9 /\xc3\xa4 HTTP/1.9\r\nHost: x\r\nA:\tb\r\n\r\n", -1,
		  "x!#$%&'*+-.^_`|~9", "/\xc3\xa4" },
		{ GET "Hosts: y\r\n\r\n", -1, "GET", "/metrics" },
		{ "", 0, "", "" },
		{ "GET /metrics HTTP/1.1", 0, "", "" },
		{ "GET /metrics HTTP/1.1\r\n", 0, "", "" },
		{ GET, 0, "", "" },
		{ GET "\r", 0, "", "" },
		{ GET "A", 0, "", "" },
		{ "GET /metrics HTTP/2.0\r\n", -505, "", "" },
		{ "GET /metrics HTTP/0.9\r\n\r\n", -505, "", "" },
		/* What is wrong is told before the rest has come. */
		{ "\r\n", -400, "", "" },
		{ "GET\r\n", -400, "", "" },
		{ "GET \r\n", -400, "", "" },
		{ "GET /metrics\r\n", -400, "", "" },
		{ "GET  HTTP/1.1\r\n", -400, "", "" },
		{ "GET  /metrics HTTP/1.1\r\n", -400, "", "" },
		{ "GET /metrics  HTTP/1.1\r\n", -400, "", "" },
		{ "GET /metrics HTTP/1.1 \r\n", -400, "", "" },
		{ "GET /met rics HTTP/1.1\r\n", -400, "", "" },
		{ "GET /met\trics HTTP/1.1\r\n", -400, "", "" },
		{ "GET\t/metrics HTTP/1.1\r\n", -400, "", "" },
		{ " GET /metrics HTTP/1.1\r\n", -400, "", "" },
		{ "G(T /metrics HTTP/1.1\r\n", -400, "", "" },
		{ "GET /metrics HTTP/1\r\n", -400, "", "" },
		{ "GET /metrics HTTP/1.10\r\n", -400, "", "" },
		{ "GET /metrics HTTP/1.x\r\n", -400, "", "" },
		{ "GET /metrics HTTP/x.1\r\n", -400, "", "" },
		{ "GET /metrics HTTP/1,1\r\n", -400, "", "" },
		{ "GET /metrics http/1.1\r\n", -400, "", "" },
		{ "GET /metr\rics HTTP/1.1\r\n", -400, "", "" },
		{ "GET /metr\x7fics HTTP/1.1\r\n", -400, "", "" },
		{ "GET /metrics HTTP/1.1\r\r\n", -400, "", "" },
		{ GET "no colon\r\n", -400, "", "" },
		{ GET ": no name\r\n", -400, "", "" },
		{ GET "A : b\r\n", -400, "", "" },
		{ GET "A\r\n", -400, "", "" },
		{ GET " folded\r\n", -400, "", "" },
		{ GET "A: b\x01\r\n", -400, "", "" },
		{ GET "A: b\rc\r\n", -400, "", "" },
		{ GET "host: y\r\n\r\n", -400, "", "" },
		{ "GET /metrics HTTP/1.1\r\n\r\n", -400, "", "" },
		{ "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", -400, "", "" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		struct ck_httpreq r = { 0 };
		size_t len = strlen(rows[i].head);
		char *copy = malloc(len + 1); /* so that reading on is seen */
		memcpy(copy, rows[i].head, len);
		int got = ck_httpreq_parse(&r, copy, len);
		if (got != (rows[i].want < 0 && rows[i].want > -400 ? (int)len : rows[i].want))
			fail_msg("row %zu: \"%s\": %d", i, rows[i].head, got);
		assert_true(ck_httpreq_is(got > 0 ? r.method : "", r.method_len, rows[i].method));
		assert_true(ck_httpreq_is(got > 0 ? r.path : "", r.path_len, rows[i].path));
		free(copy);
	}
	struct ck_httpreq r = { 0 };
	assert_int_equal(ck_httpreq_parse(&r, GET "\r\nGET", sizeof GET + 4), sizeof GET + 1);
	assert_int_equal(ck_httpreq_parse(&r, "G\0T / HTTP/1.0\r\n\r\n", 18), -400);
	assert_int_equal(ck_httpreq_parse(&r, "GET /\0 HTTP/1.0\r\n\r\n", 19), -400);
	assert_int_equal(ck_httpreq_parse(&r, "GET / HTTP/1.0\r\nA\0: b\r\n\r\n", 25), -400);
}

/* A head cut anywhere is one that is not there yet. */
static void test_cut_heads(void **state)
{
	static const char head[] =
	    "GET /metrics?a HTTP/1.1\r\nHost: x\r\nAccept: text/plain\r\n\r\n";
	struct ck_httpreq r;

	(void)state;
	for (size_t len = 0; len < sizeof head - 1; len++) {
		char *copy = malloc(len + 1);
		memcpy(copy, head, len);
		assert_int_equal(ck_httpreq_parse(&r, copy, len), 0);
		free(copy);
	}
	assert_int_equal(ck_httpreq_parse(&r, head, sizeof head - 1), sizeof head - 1);
}

/* ---- the server -------------------------------------------------------------------------------
 */

static struct ck_listener listener;
static struct ck_textserver *server;
static _Atomic size_t text_len; /* bytes */
static atomic_uint n_written;
static atomic_bool fails;

static int write_text(void *ctx, struct ck_buf *out, struct ck_err *err)
{
	size_t n = atomic_load(&text_len);

	(void)ctx;
	atomic_fetch_add(&n_written, 1);
	int rc = ck_buf_reserve(out, n, err);
	if (rc == 0) {
		memset(out->data, 't', n);
		out->len = n;
	}
	return rc == 0 && atomic_load(&fails) ? ck_fail(err, -EIO, "on purpose") : rc;
}

static void start(void)
{
	static const struct ck_text text = { "/metrics", "text/test", write_text, NULL };
	struct ck_err err = { 0 };

	assert_works(ck_textserver_start(&server, &listener, &text, &err), &err);
}

static int begin(void **state)
{
	struct ck_err err = { 0 };

	(void)state;
	atomic_store(&text_len, 10);
	atomic_store(&n_written, 0);
	atomic_store(&fails, false);
	assert_works(ck_listen_open(&listener, "127.0.0.1:0", &err), &err);
	start();
	return 0;
}

static int end(void **state)
{
	(void)state;
	ck_textserver_stop(ck_take(server));
	ck_listen_close(&listener);
	return 0;
}

static int join(void)
{
	struct sockaddr_in a;
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(getsockname(listener.fd, (struct sockaddr *)&a, &len), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static bool hears(int fd, int timeout_ms)
{
	struct pollfd on = { .fd = fd, .events = POLLIN };

	return poll(&on, 1, timeout_ms) > 0;
}

/* All that comes until the end; the descriptor is closed. */
static void drain(struct ck_buf *out, int fd)
{
	static char buf[65536];
	ssize_t n;

	ck_buf_free(out);
	do {
		assert_true(hears(fd, SOON_MS));
		n = recv(fd, buf, sizeof buf, 0);
		assert_int_equal(ck_buf_add(out, buf, n > 0 ? (size_t)n : 0, NULL), 0);
	} while (n > 0);
	close(fd);
}

/* The status of the answer to REQUEST, 0: none; all of it in OUT. */
static int ask(struct ck_buf *out, const char *request)
{
	int fd = join(), status = 0;

	say(fd, request);
	drain(out, fd);
	(void)sscanf(ck_buf_str(out), "HTTP/1.1 %d ", &status);
	return status;
}

static void test_serves(void **state)
{
	CK_BUF got = { 0 };

	(void)state;
	assert_int_equal(ask(&got, GET "\r\n"), 200);
	assert_string_equal(ck_buf_str(&got),
			    "HTTP/1.1 200 OK\r\nContent-Type: text/test\r\nContent-Length: 10\r\n"
			    "Cache-Control: no-store\r\nConnection: close\r\n\r\ntttttttttt");
	assert_int_equal(ask(&got, "GET /metrics?name=a HTTP/1.0\r\n\r\n"), 200);
	assert_int_equal(atomic_load(&n_written), 2);
	assert_int_equal(ask(&got, "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
	assert_non_null(strstr(ck_buf_str(&got), "Content-Length: 10\r\n"));
	assert_string_equal(strstr(ck_buf_str(&got), "\r\n\r\n"), "\r\n\r\n");
	/* In pieces; and what follows the head is none of ours. */
	int fd = join();
	const char *pieces[] = { "G", "ET /metrics HTT", "P/1.1\r", "\nHost: x\r\n\r",
				 "\nGET / HTTP/1.1\r\n" };
	for (size_t i = 0; i < N_OF(pieces); i++) {
		assert_false(hears(fd, 30));
		say(fd, pieces[i]);
	}
	drain(&got, fd);
	assert_memory_equal(ck_buf_str(&got), "HTTP/1.1 200", 12);
	atomic_store(&text_len, LARGE);
	assert_int_equal(ask(&got, GET "\r\n"), 200);
	assert_int_equal(strlen(strstr(ck_buf_str(&got), "\r\n\r\n")), 4 + LARGE);
}

static void test_refuses(void **state)
{
	static const struct {
		const char *request;
		int status;
		const char *text;
	} rows[] = {
		{ "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 404, "\r\n\r\n404 Not Found\n" },
		{ "GET /metrics/ HTTP/1.1\r\nHost: x\r\n\r\n", 404, "" },
		{ "GET /metric HTTP/1.1\r\nHost: x\r\n\r\n", 404, "" },
		{ "POST / HTTP/1.1\r\nHost: x\r\n\r\n", 404, "" },
		{ "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody", 405,
		  "Allow: GET, HEAD\r\n" },
		{ "get /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 405, "" },
		{ "DELETE /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 405, "" },
		{ "GET /metrics HTTP/1.1\r\n\r\n", 400, "\r\n\r\n400 Bad Request\n" },
		{ "\x16\x03\x01\x02\r\n", 400, "" },
		{ "GET /metrics HTTP/2.0\r\n\r\n", 505, "" },
		{ "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", 404, "Content-Length: 14\r\n" },
	};
	CK_BUF got = { 0 };

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		int status = ask(&got, rows[i].request);
		if (status != rows[i].status || !strstr(ck_buf_str(&got), rows[i].text))
			fail_msg("\"%s\": %s", rows[i].request, ck_buf_str(&got));
	}
	assert_string_equal(strstr(ck_buf_str(&got), "\r\n\r\n"), "\r\n\r\n"); /* of HEAD */
	assert_int_equal(atomic_load(&n_written), 0);
	atomic_store(&fails, true);
	assert_int_equal(ask(&got, GET "\r\n"), 500);
	assert_null(strstr(ck_buf_str(&got), "ttt"));
	atomic_store(&fails, false);
	atomic_store(&text_len, CK_TEXT_MAX + 1);
	assert_int_equal(ask(&got, GET "\r\n"), 500);
	atomic_store(&text_len, 10);
	assert_int_equal(ask(&got, GET "\r\n"), 200);
}

/* A head of LEN bytes in all, its last line end missing. */
static void long_head(struct ck_buf *out, size_t len)
{
	ck_buf_free(out);
	assert_int_equal(ck_buf_adds(out, GET "A: ", NULL), 0);
	while (out->len < len)
		assert_int_equal(ck_buf_adds(out, "a", NULL), 0);
}

static void test_bounds(void **state)
{
	CK_BUF head = { 0 };
	CK_BUF got = { 0 };

	(void)state;
	long_head(&head, CK_TEXT_HEAD_MAX - 4);
	assert_int_equal(ck_buf_adds(&head, "\r\n\r\n", NULL), 0);
	assert_int_equal(ask(&got, ck_buf_str(&head)), 200);
	long_head(&head, CK_TEXT_HEAD_MAX - 3);
	assert_int_equal(ck_buf_adds(&head, "\r\n\r\n", NULL), 0);
	assert_int_equal(ask(&got, ck_buf_str(&head)), 431);
	/* Who says much more hears it all the same. */
	long_head(&head, 100000);
	assert_int_equal(ask(&got, ck_buf_str(&head)), 431);
}

/* Who does not end his question is hung up on, whatever he trickles. */
static void test_slow(void **state)
{
	CK_BUF got = { 0 };
	uint64_t from = ck_now_ms();
	int silent = join(), slow = join();

	(void)state;
	say(slow, "GET /metrics HTTP/1.1\r\nHost: x\r\nA: ");
	while (!hears(slow, 100) && ck_now_ms() - from < SOON_MS)
		(void)send(slow, "a", 1, MSG_NOSIGNAL);
	assert_in_range(ck_now_ms() - from, 3000, SOON_MS - 1);
	drain(&got, silent);
	assert_int_equal(got.len, 0);
	close(slow);
	int half = join(); /* one that cannot say more */
	say(half, "GET /metrics HTTP/1.1\r\n");
	shutdown(half, SHUT_WR);
	from = ck_now_ms();
	drain(&got, half);
	assert_in_range(ck_now_ms() - from, 0, 2000);
	assert_int_equal(ask(&got, GET "\r\n"), 200);
}

/* More clients than there are places, none of whom says anything: the next one waits for the oldest
 * to make room, no longer. */
static void test_crowd(void **state)
{
	int crowd[CK_TEXT_CLIENTS + 4];
	CK_BUF got = { 0 };
	uint64_t from = ck_now_ms();

	(void)state;
	for (size_t i = 0; i < N_OF(crowd); i++)
		crowd[i] = join();
	assert_int_equal(ask(&got, GET "\r\n"), 200);
	assert_in_range(ck_now_ms() - from, 900, 4000);
	for (size_t i = 0; i < N_OF(crowd); i++) /* one went for each that came after the 16th */
		assert_int_equal(hears(crowd[i], i < 5 ? SOON_MS : 0), i < 5);
	from = ck_now_ms();
	ck_textserver_stop(ck_take(server));
	assert_in_range(ck_now_ms() - from, 0, 1000);
	for (size_t i = 0; i < N_OF(crowd); i++) {
		drain(&got, crowd[i]);
		assert_int_equal(got.len, 0);
	}
	start();
	assert_int_equal(ask(&got, GET "\r\n"), 200);
}

/* As many who ask and never take the answer. */
static void test_never_take(void **state)
{
	int crowd[CK_TEXT_CLIENTS + 4], small = 4096;
	CK_BUF got = { 0 };

	(void)state;
	atomic_store(&text_len, LARGE);
	for (size_t i = 0; i < N_OF(crowd); i++) {
		crowd[i] = join();
		assert_int_equal(setsockopt(crowd[i], SOL_SOCKET, SO_RCVBUF, &small, sizeof small),
				 0);
		say(crowd[i], GET "\r\n");
	}
	while (atomic_load(&n_written) < CK_TEXT_CLIENTS)
		usleep(1000);
	atomic_store(&text_len, 10);
	uint64_t from = ck_now_ms();
	assert_int_equal(ask(&got, GET "\r\n"), 200);
	assert_in_range(ck_now_ms() - from, 0, 4000);
	from = ck_now_ms();
	ck_textserver_stop(ck_take(server));
	assert_in_range(ck_now_ms() - from, 0, 1000);
	for (size_t i = 0; i < N_OF(crowd); i++)
		close(crowd[i]);
	start();
	assert_int_equal(ask(&got, GET "\r\n"), 200);
}

/* Who never hangs up after the answer, or goes on talking, is hung up on. */
static void test_lingering(void **state)
{
	CK_BUF got = { 0 };
	int fd = join();
	char buf[1024];

	(void)state;
	say(fd, GET "\r\n");
	while (recv(fd, buf, sizeof buf, 0) > 0)
		;
	uint64_t from = ck_now_ms();
	while (send(fd, buf, sizeof buf, MSG_NOSIGNAL) > 0 && ck_now_ms() - from < SOON_MS)
		usleep(1000);
	assert_in_range(ck_now_ms() - from, 500, SOON_MS - 1);
	close(fd);
	for (int i = 0; i < 200; i++) { /* those who leave at once */
		fd = join();
		if (i % 2)
			say(fd, GET "\r\n");
		close(fd);
	}
	assert_int_equal(ask(&got, GET "\r\n"), 200);
}

/* ---- the socket ------------------------------------------------------------------------------ */

/* A file that was named from another directory is removed all the same; a successor's is not. */
static void test_socket_file(void **state)
{
	char dir[] = "/tmp/ck-listen-XXXXXX", path[64], address[80];
	struct ck_listener one, two;
	struct ck_err err = { 0 };
	struct stat st;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/s", dir);
	snprintf(address, sizeof address, "unix:%s", path);
	assert_int_equal(chdir(dir), 0);
	assert_works(ck_listen_open(&one, "unix:s", &err), &err);
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode, S_IFSOCK | 0600);
	assert_int_equal(chdir("/"), 0);
	ck_listen_close(&one);
	ck_listen_close(&one);
	assert_int_equal(lstat(path, &st), -1);
	assert_works(ck_listen_open(&one, address, &err), &err);
	assert_fails(ck_listen_open(&two, address, &err), -EADDRINUSE, &err, "in use");
	ck_listen_close(&two); /* after a failure */
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(unlink(path), 0);
	assert_works(ck_listen_open(&two, address, &err), &err);
	ck_listen_close(&one);
	assert_int_equal(lstat(path, &st), 0);
	ck_listen_close(&two);
	assert_int_equal(rmdir(dir), 0);
	assert_fails(ck_listen_open(&one, address, &err), -ENOENT, &err, dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_heads),
		cmocka_unit_test(test_cut_heads),
		cmocka_unit_test_setup_teardown(test_serves, begin, end),
		cmocka_unit_test_setup_teardown(test_refuses, begin, end),
		cmocka_unit_test_setup_teardown(test_bounds, begin, end),
		cmocka_unit_test_setup_teardown(test_slow, begin, end),
		cmocka_unit_test_setup_teardown(test_crowd, begin, end),
		cmocka_unit_test_setup_teardown(test_never_take, begin, end),
		cmocka_unit_test_setup_teardown(test_lingering, begin, end),
		cmocka_unit_test(test_socket_file),
	};

	return cmocka_run_group_tests_name("textserver", tests, NULL, NULL);
}
