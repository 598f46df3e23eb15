#include "tests/unit/lib/rc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/rsa.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "base/file.h"
#include "base/json.h"
#include "base/secret.h"
#include "keyprov/dial.h"
#include "keyprov/grpc.h"
#include "keyprov/grpccall.h"
#include "tests/unit/lib/provider_thread.h"

#define WRAP   "/keyprovider.KeyProviderService/WrapKey"
#define UNWRAP "/keyprovider.KeyProviderService/UnWrapKey"

static const char wrap_json[] =
    "{\"op\":\"keywrap\",\"keywrapparams\":{\"ec\":{\"Parameters\":{\"attestation-agent\":["
    "\"YWFzcDppbWFnZWtleTAwMA==\"]}},\"optsdata\":\"e30=\"}}";
static const char opened[] = "{\"keyunwrapresults\":{\"optsdata\":[123,125]}}";

static char dir[64], sock[80], listen_unix[96];
static EVP_PKEY *key;
static char *unwrap_json; /* of a packet that KEY opens */

static struct fake_attest fake_hsm(void)
{
	return (struct fake_attest){ .key = key, .block_fd = -1 };
}

static int call(const char *target, const char *method, const char *json, struct ck_buf *out,
		struct ck_err *err)
{
	return ck_grpccall(target, method, json, strlen(json), ck_now_ms() + 100000, out, err);
}

static void assert_serves(const char *target)
{
	CK_BUF out = { 0 };
	struct ck_err err = { 0 };

	assert_rc(call(target, UNWRAP, unwrap_json, &out, &err), 0, &err);
	assert_string_equal(ck_buf_str(&out), opened);
}

/* ---- a client that may misbehave ---- */

struct raw {
	int fd;
	nghttp2_session *h2;
	const uint8_t *body;
	size_t body_len, n_sent;
	int http, grpc, n_closed;
	char text[256];
};

static ssize_t raw_read(nghttp2_session *h2, int32_t id, uint8_t *buf, size_t cap, uint32_t *flags,
			nghttp2_data_source *src, void *ctx)
{
	struct raw *r = ctx;
	size_t *sent = src->ptr, n = r->body_len - *sent < cap ? r->body_len - *sent : cap;

	(void)h2, (void)id;
	memcpy(buf, r->body + *sent, n);
	*sent += n;
	if (*sent == r->body_len)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

static int raw_header(nghttp2_session *h2, const nghttp2_frame *f, const uint8_t *name,
		      size_t name_len, const uint8_t *value, size_t len, uint8_t flags, void *ctx)
{
	struct raw *r = ctx;

	(void)h2, (void)f, (void)flags;
	if (name_len == 7 && memcmp(name, ":status", 7) == 0)
		r->http = atoi((const char *)value);
	if (name_len == 11 && memcmp(name, "grpc-status", 11) == 0)
		r->grpc = atoi((const char *)value);
	if (name_len == 12 && memcmp(name, "grpc-message", 12) == 0)
		snprintf(r->text, sizeof r->text, "%.*s", (int)len, value);
	return 0;
}

static int raw_closed(nghttp2_session *h2, int32_t id, uint32_t code, void *ctx)
{
	(void)h2, (void)id, (void)code;
	((struct raw *)ctx)->n_closed++;
	return 0;
}

static void raw_open(struct raw *r, const char *target)
{
	nghttp2_session_callbacks *cbs;
	struct ck_err err = { 0 };

	*r = (struct raw){ .http = -1, .grpc = -1 };
	r->fd = ck_dial(target, ck_now_ms() + 5000, &err);
	assert_true(r->fd >= 0);
	nghttp2_session_callbacks_new(&cbs);
	nghttp2_session_callbacks_set_on_header_callback(cbs, raw_header);
	nghttp2_session_callbacks_set_on_stream_close_callback(cbs, raw_closed);
	nghttp2_session_client_new(&r->h2, cbs, r);
	nghttp2_session_callbacks_del(cbs);
	nghttp2_submit_settings(r->h2, NGHTTP2_FLAG_NONE, NULL, 0);
}

static void raw_close(struct raw *r)
{
	nghttp2_session_del(r->h2);
	ck_closep(&r->fd);
}

static void raw_flush(struct raw *r)
{
	const uint8_t *p;
	ssize_t n;

	while ((n = nghttp2_session_mem_send(r->h2, &p)) > 0)
		for (ssize_t at = 0, w; at < n; at += w) {
			w = send(r->fd, p + at, (size_t)(n - at), MSG_NOSIGNAL);
			if (w < 0 && errno != EAGAIN)
				return;
			if (w < 0) {
				w = 0;
				assert_int_equal(ck_dial_wait(r->fd, POLLOUT, ck_now_ms() + 5000),
						 0);
			}
		}
}

/* Until N streams are closed or the peer has gone; false when it took too long. */
static bool raw_run(struct raw *r, int n)
{
	uint64_t deadline = ck_now_ms() + 100000;
	uint8_t chunk[8192];

	while (r->n_closed < n) {
		raw_flush(r);
		if (r->n_closed >= n)
			break;
		if (ck_dial_wait(r->fd, POLLIN, deadline) < 0)
			return false;
		ssize_t got = recv(r->fd, chunk, sizeof chunk, 0);
		if (got == 0 || (got < 0 && errno != EAGAIN))
			return true;
		if (got > 0 && nghttp2_session_mem_recv(r->h2, chunk, (size_t)got) < 0)
			return true;
	}
	return true;
}

static void raw_request(struct raw *r, const char *const headers[][2], size_t *sent)
{
	nghttp2_nv nv[12];
	size_t n = 0;
	nghttp2_data_provider body = { .source.ptr = sent, .read_callback = raw_read };

	for (; headers[n][0]; n++)
		nv[n] = CK_NV(headers[n][0], headers[n][1]);
	assert_true(nghttp2_submit_request(r->h2, NULL, nv, n, r->body_len ? &body : NULL, NULL) >
		    0);
}

/* ---- tests ---- */

static void wrap_and_unwrap_on(const char *listen, const char *method_package)
{
	struct fake_attest fake = fake_hsm();
	struct provider_thread t;
	CK_BUF out = { 0 }, none = { 0 };
	char method[80];
	struct ck_err err = { 0 };

	provider_start(&t, &fake, listen);
	if (t.rc != 1)
		fail_msg("%s", t.err.msg);
	snprintf(method, sizeof method, "/%s.KeyProviderService/WrapKey", method_package);
	assert_rc(call(t.target, method, wrap_json, &out, &err), 0, &err);
	assert_memory_equal(out.data, "{\"keywrapresults\":{\"annotation\":[", 33);
	snprintf(method, sizeof method, "/%s.KeyProviderService/UnWrapKey", method_package);
	ck_buf_free(&out);
	assert_rc(call(t.target, method, unwrap_json, &out, &err), 0, &err);
	assert_string_equal(ck_buf_str(&out), opened);

	assert_rc(call(t.target, "/keyprovider.KeyProviderService/SayHello", "{}", &none, &err),
		  -ENOSYS, &err);
	assert_says(&err, "no such method");
	assert_rc(call(t.target, WRAP, "{", &none, &err), -EIO, &err);
	assert_says(&err, "grpc-status 3");
	fake.fail = -EACCES;
	assert_rc(call(t.target, UNWRAP, unwrap_json, &none, &err), -EIO, &err);
	assert_says(&err, "grpc-status 2");
	assert_says(&err, "release of key imagekey000 refused (fake): 100% no\xc3\xbc");
	fake.fail = -ENODEV;
	assert_rc(call(t.target, UNWRAP, unwrap_json, &none, &err), -EIO, &err);
	assert_says(&err, "grpc-status 9");
	assert_rc(call(t.target, WRAP, wrap_json, &none, &err), -EIO, &err);
	assert_int_equal(none.len, 0);
	fake.fail = 0;
	assert_int_equal(provider_stop(&t), 0);
}

static void over_tcp(void **state)
{
	(void)state;
	wrap_and_unwrap_on("127.0.0.1:0", "keyprovider");
	wrap_and_unwrap_on("localhost:0", "key_provider");
}

static void over_ipv6(void **state)
{
	(void)state;
	struct sockaddr_in6 sa = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool have = fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof sa) == 0;

	ck_closep(&fd);
	if (have) /* where the machine has any */
		wrap_and_unwrap_on("[::1]:0", "keyprovider");
}

static void over_unix(void **state)
{
	(void)state;
	struct stat st;

	wrap_and_unwrap_on(listen_unix, "keyprovider");
	assert_int_equal(lstat(sock, &st), -1); /* removed when stopped */
}

static void unix_socket_file(void **state)
{
	(void)state;
	struct fake_attest fake = fake_hsm();
	struct provider_thread t, second;
	struct stat st;
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	/* A stale one, left by a server that was killed. */
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	memcpy(sa.sun_path, sock, strlen(sock));
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	ck_closep(&fd);
	provider_start(&t, &fake, listen_unix);
	assert_int_equal(lstat(sock, &st), 0);
	assert_int_equal(st.st_mode, S_IFSOCK | 0600);
	assert_serves(t.target);

	/* A live one is not taken over, and not removed by the one refused. */
	provider_start(&second, &fake, listen_unix);
	assert_int_equal(provider_stop(&second), -EADDRINUSE);
	assert_says(&second.err, "in use");
	assert_serves(t.target);

	/* Nor is the file of a successor removed. */
	assert_int_equal(unlink(sock), 0);
	provider_start(&second, &fake, listen_unix);
	assert_int_equal(provider_stop(&t), 0);
	assert_int_equal(lstat(sock, &st), 0);
	assert_serves(second.target);
	assert_int_equal(provider_stop(&second), 0);

	/* A server that is too busy to take us now is live all the same. */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	assert_int_equal(listen(fd, 0), 0);
	int waiting[2];
	for (int i = 0; i < 2; i++) {
		waiting[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		int rc = connect(waiting[i], (struct sockaddr *)&sa, sizeof sa);
		assert_int_equal(rc < 0 ? errno : 0, i ? EAGAIN : 0);
	}
	provider_start(&t, &fake, listen_unix);
	assert_int_equal(provider_stop(&t), -EADDRINUSE);
	ck_closep(&waiting[0]);
	ck_closep(&waiting[1]);
	ck_closep(&fd);
	assert_int_equal(unlink(sock), 0);

	/* What is no socket stays. */
	assert_int_equal(ck_file_write(sock, "data", 4, 0600, NULL), 0);
	provider_start(&t, &fake, listen_unix);
	assert_int_equal(provider_stop(&t), -EADDRINUSE);
	assert_int_equal(lstat(sock, &st), 0);
	assert_int_equal(unlink(sock), 0);
}

static void addresses_table(void **state)
{
	(void)state;
	static const struct {
		const char *listen, *says;
	} rows[] = {
		{ "0.0.0.0:0", "loopback" },
		{ "[::]:0", "loopback" },
		{ "192.0.2.1:0", "loopback" },
		{ "127.0.0.1", "neither" },
		{ "127.0.0.1:", "neither" },
		{ ":5000", "names no host" },
		{ "[]:5000", "look up" },
		{ "127.0.0.1:http", "neither" },
		{ "127.0.0.1:65536", "neither" },
		{ "127.0.0.1:-1", "neither" },
		{ "unix:", "empty" },
		{ "unix:/0123456789012345678901234567890123456789012345678901234567890123456789012"
		  "34567890123456789012345678901234567890123456789",
		  "above 107" },
	};
	struct fake_attest fake = fake_hsm();

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct provider_thread t;
		provider_start(&t, &fake, rows[i].listen);
		assert_rc(provider_stop(&t), -EINVAL, &t.err);
		assert_says(&t.err, rows[i].says);
	}
}

/* Connects as nobody, which one thread alone may be; returns what it then reads. */
static void *nobody_main(void *target)
{
	intptr_t n = -1;
	uint8_t b;

	if (syscall(SYS_setresuid, -1, 65534, -1) < 0)
		return (void *)(intptr_t)-2;
	int fd = ck_dial(target, ck_now_ms() + 5000, NULL);
	if (fd >= 0 && ck_dial_wait(fd, POLLIN, ck_now_ms() + 5000) == 0)
		n = recv(fd, &b, 1, 0);
	ck_closep(&fd);
	return (void *)n;
}

/* Mode 0600 alone would do, until somebody changes it. */
static void other_users_are_turned_away(void **state)
{
	(void)state;
	struct fake_attest fake = fake_hsm();
	struct provider_thread t;
	pthread_t nobody;
	void *n;

	if (geteuid() != 0)
		return; /* only root can be another user */
	provider_start(&t, &fake, listen_unix);
	assert_int_equal(chmod(sock, 0666), 0);
	assert_int_equal(pthread_create(&nobody, NULL, nobody_main, t.target), 0);
	pthread_join(nobody, &n);
	assert_int_equal((intptr_t)n, 0); /* no settings frame, just the end */
	assert_serves(t.target);
	assert_int_equal(provider_stop(&t), 0);
}

#define GRPC_HEADERS(method)                                                                       \
	{ ":method", "POST" }, { ":scheme", "http" }, { ":path", method }, { ":authority", "x" },  \
	{                                                                                          \
		"content-type", "application/grpc"                                                 \
	}

static const struct {
	const char *why;
	const char *headers[9][2];
	const char *body;
	size_t body_len;
	int http, grpc;
	const char *says;
} requests[] = {
	{ "as it should be, malformed JSON",
	  { GRPC_HEADERS(UNWRAP) },
	  "\0\0\0\0\3\n\1{",
	  8,
	  200,
	  3,
	  "not valid JSON" },
	{ "+proto",
	  { { ":method", "POST" },
	    { ":scheme", "http" },
	    { ":path", WRAP },
	    { ":authority", "x" },
	    { "content-type", "application/grpc+proto" } },
	  "\0\0\0\0\3\n\1{",
	  8,
	  200,
	  3,
	  "not valid JSON" },
	{ "no body at all", { GRPC_HEADERS(UNWRAP) }, NULL, 0, 200, 3, "missing" },
	{ "two messages",
	  { GRPC_HEADERS(UNWRAP) },
	  "\0\0\0\0\0\0\0\0\0\0",
	  10,
	  200,
	  3,
	  "more than one" },
	{ "compressed message", { GRPC_HEADERS(UNWRAP) }, "\1\0\0\0\0", 5, 200, 12, "compressed" },
	{ "compressed call",
	  { GRPC_HEADERS(UNWRAP), { "grpc-encoding", "gzip" } },
	  "\0\0\0\0\0",
	  5,
	  200,
	  12,
	  "compressed" },
	{ "identity is no compression",
	  { GRPC_HEADERS(UNWRAP), { "grpc-encoding", "identity" } },
	  "\0\0\0\0\0",
	  5,
	  200,
	  3,
	  "not valid JSON" },
	{ "bad time limit",
	  { GRPC_HEADERS(UNWRAP), { "grpc-timeout", "soon" } },
	  "\0\0\0\0\0",
	  5,
	  200,
	  3,
	  "grpc-timeout" },
	{ "no time at all",
	  { GRPC_HEADERS(UNWRAP), { "grpc-timeout", "0n" } },
	  "\0\0\0\0\0",
	  5,
	  200,
	  -1,
	  "" },
	{ "other service",
	  { GRPC_HEADERS("/grpc.health.v1.Health/Check") },
	  "\0\0\0\0\0",
	  5,
	  200,
	  12,
	  "no such method" },
	{ "not gRPC",
	  { { ":method", "POST" },
	    { ":scheme", "http" },
	    { ":path", WRAP },
	    { ":authority", "x" },
	    { "content-type", "application/grpcx" } },
	  "\0\0\0\0\0",
	  5,
	  415,
	  -1,
	  "" },
	{ "a browser",
	  { { ":method", "GET" }, { ":scheme", "http" }, { ":path", "/" }, { ":authority", "x" } },
	  NULL,
	  0,
	  405,
	  -1,
	  "" },
};

static void requests_table(void **state)
{
	(void)state;
	struct fake_attest fake = fake_hsm();
	struct provider_thread t;

	provider_start(&t, &fake, "127.0.0.1:0");
	for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
		struct raw r;
		size_t sent = 0;
		raw_open(&r, t.target);
		r.body = (const uint8_t *)requests[i].body;
		r.body_len = requests[i].body_len;
		raw_request(&r, requests[i].headers, &sent);
		assert_true(raw_run(&r, 1));
		if (r.http != requests[i].http ||
		    (requests[i].grpc != -1 && r.grpc != requests[i].grpc) ||
		    !strstr(r.text, requests[i].says))
			fail_msg("%s: HTTP %d, grpc %d, \"%s\"", requests[i].why, r.http, r.grpc,
				 r.text);
		raw_close(&r);
	}
	assert_serves(t.target);
	assert_int_equal(provider_stop(&t), 0);
}

static void oversize_message(void **state)
{
	(void)state;
	static const char *const headers[][2] = { GRPC_HEADERS(UNWRAP), { NULL, NULL } };
	struct fake_attest fake = fake_hsm();
	struct provider_thread t;
	struct raw r;
	size_t sent = 0;
	uint8_t *big = calloc(1, 6 << 20);

	assert_non_null(big);
	provider_start(&t, &fake, listen_unix);
	raw_open(&r, t.target);
	r.body = big;
	r.body_len = 6 << 20;
	raw_request(&r, headers, &sent);
	assert_true(raw_run(&r, 1));
	assert_int_equal(r.grpc, 8);
	assert_non_null(strstr(r.text, "larger than 4 MiB"));
	assert_true(sent < r.body_len); /* it was told to stop */
	raw_close(&r);
	free(big);
	assert_serves(t.target);
	assert_int_equal(provider_stop(&t), 0);
}

static void many_calls_on_one_connection(void **state)
{
	(void)state;
	static const char *const headers[][2] = { GRPC_HEADERS(UNWRAP), { NULL, NULL } };
	struct fake_attest fake = fake_hsm();
	struct provider_thread t;
	struct raw r;
	size_t sent[50] = { 0 };
	CK_BUF body = { 0 };

	assert_int_equal(
	    ck_grpc_encode(&body, CK_GRPC_INPUT, unwrap_json, strlen(unwrap_json), NULL), 0);
	provider_start(&t, &fake, "127.0.0.1:0");
	raw_open(&r, t.target);
	r.body = body.data;
	r.body_len = body.len;
	/* The settings first, so that nghttp2 keeps to our limit of streams. */
	while (nghttp2_session_get_remote_settings(r.h2, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS) !=
	       16) {
		uint8_t chunk[512];
		raw_flush(&r);
		assert_int_equal(ck_dial_wait(r.fd, POLLIN, ck_now_ms() + 5000), 0);
		ssize_t n = recv(r.fd, chunk, sizeof chunk, 0);
		assert_true(n > 0);
		assert_true(nghttp2_session_mem_recv(r.h2, chunk, (size_t)n) == n);
	}
	for (int i = 0; i < 50; i++)
		raw_request(&r, headers, &sent[i]);
	assert_true(raw_run(&r, 50));
	assert_int_equal(r.n_closed, 50);
	assert_int_equal(r.grpc, 0);
	assert_int_equal(fake.n_private, 50);
	raw_close(&r);
	assert_int_equal(provider_stop(&t), 0);
}

/* More streams than allowed, from a client that does not care: refused one by one. */
static void too_many_streams(void **state)
{
	(void)state;
	static const char *const headers[][2] = { GRPC_HEADERS(UNWRAP), { NULL, NULL } };
	struct fake_attest fake = fake_hsm();
	struct provider_thread t;
	struct raw r;
	size_t sent[40] = { 0 };
	CK_BUF body = { 0 };

	assert_int_equal(
	    ck_grpc_encode(&body, CK_GRPC_INPUT, unwrap_json, strlen(unwrap_json), NULL), 0);
	fake.block_fd = eventfd(0, EFD_CLOEXEC);
	provider_start(&t, &fake, "127.0.0.1:0");
	raw_open(&r, t.target);
	r.body = body.data;
	r.body_len = body.len;
	for (int i = 0; i < 40; i++)
		raw_request(&r, headers, &sent[i]);
	assert_true(raw_run(&r, 24));
	assert_int_equal(r.n_closed, 24);
	assert_int_equal(eventfd_write(fake.block_fd, 1), 0);
	assert_true(raw_run(&r, 40));
	assert_int_equal(r.n_closed, 40);
	raw_close(&r);
	assert_int_equal(provider_stop(&t), 0);
	ck_closep(&fake.block_fd);
}

/* ---- clients that are no clients ---- */

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

static void malformed_http2(void **state)
{
	(void)state;
	static const struct {
		const char *why, *p;
		size_t len;
	} rows[] = {
		{ "HTTP/1.1", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27 },
		{ "TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11 },
		{ "frame of 16 MiB", PREFACE "\xff\xff\xff\x00\x00\x00\x00\x00\x01", 33 },
		{ "not settings first",
		  PREFACE "\x00\x00\x08\x06\x00\x00\x00\x00\x00"
			  "01234567",
		  41 },
		{ "settings of 5 bytes",
		  PREFACE "\x00\x00\x05\x04\x00\x00\x00\x00\x00"
			  "01234",
		  38 },
		{ "data on no stream",
		  PREFACE "\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00"
			  "\x01x",
		  43 },
		{ "headers that HPACK does not know",
		  PREFACE "\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x02\x01\x05\x00\x00\x00"
			  "\x01\xff\xff",
		  44 },
		{ "even stream",
		  PREFACE "\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01\x01\x05\x00\x00\x00"
			  "\x02\x82",
		  43 },
	};
	struct fake_attest fake = fake_hsm();
	struct provider_thread t;

	provider_start(&t, &fake, listen_unix);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		uint64_t deadline = ck_now_ms() + 5000;
		int fd = ck_dial(t.target, deadline, NULL);
		ssize_t n = -1;
		uint8_t chunk[4096];
		assert_true(fd >= 0);
		assert_int_equal(send(fd, rows[i].p, rows[i].len, MSG_NOSIGNAL), rows[i].len);
		while (ck_dial_wait(fd, POLLIN, deadline) == 0 &&
		       (n = recv(fd, chunk, sizeof chunk, 0)) > 0)
			;
		/* Hung up on at once, not when idle. */
		if (n > 0 || (n < 0 && errno == EAGAIN) || ck_now_ms() >= deadline)
			fail_msg("%s: still connected", rows[i].why);
		ck_closep(&fd);
		assert_serves(t.target);
	}
	assert_int_equal(provider_stop(&t), 0);
}

/* As many as the server takes, some mute, some with half a request: others are served. */
static void silent_clients_block_nobody(void **state)
{
	(void)state;
	static const char *const headers[][2] = { GRPC_HEADERS(UNWRAP), { NULL, NULL } };
	struct fake_attest fake = fake_hsm();
	struct provider_thread t;
	int fds[70];
	struct raw half[3];
	size_t sent[3] = { 0 };

	provider_start(&t, &fake, "127.0.0.1:0");
	for (int i = 0; i < 3; i++) {
		raw_open(&half[i], t.target);
		half[i].body = (const uint8_t *)"";
		half[i].body_len = 100; /* never sent: the headers only */
		raw_request(&half[i], headers, &sent[i]);
		const uint8_t *p;
		ssize_t n = nghttp2_session_mem_send(half[i].h2, &p); /* the preface */
		assert_int_equal(send(half[i].fd, p, (size_t)n, MSG_NOSIGNAL), n);
	}
	for (int i = 0; i < 70; i++) {
		fds[i] = ck_dial(t.target, ck_now_ms() + 5000, NULL);
		assert_true(fds[i] >= 0);
		if (i % 2)
			assert_int_equal(send(fds[i], PREFACE, 10, MSG_NOSIGNAL), 10);
	}
	for (int i = 0; i < 3; i++)
		assert_serves(t.target);
	for (int i = 0; i < 70; i++)
		ck_closep(&fds[i]);
	for (int i = 0; i < 3; i++)
		raw_close(&half[i]);
	assert_int_equal(provider_stop(&t), 0);
}

struct caller {
	pthread_t thread;
	const char *target;
	int n_calls, rc;
	struct ck_err err;
	struct ck_buf out;
};

static void *caller_main(void *arg)
{
	struct caller *c = arg;

	for (int i = 0; i < c->n_calls && c->rc == 0; i++) {
		ck_buf_free(&c->out);
		c->rc = call(c->target, UNWRAP, unwrap_json, &c->out, &c->err);
	}
	return NULL;
}

static void caller_start(struct caller *c, const char *target, int n_calls)
{
	*c = (struct caller){ .target = target, .n_calls = n_calls };
	assert_int_equal(pthread_create(&c->thread, NULL, caller_main, c), 0);
}

static void caller_join(struct caller *c)
{
	pthread_join(c->thread, NULL);
	assert_rc(c->rc, 0, &c->err);
	assert_string_equal(ck_buf_str(&c->out), opened);
	ck_buf_free(&c->out);
}

static void many_clients(void **state)
{
	(void)state;
	const char *listens[] = { "127.0.0.1:0", listen_unix };

	for (int k = 0; k < 2; k++) {
		struct fake_attest fake = fake_hsm();
		struct provider_thread t;
		struct caller callers[80];
		provider_start(&t, &fake, listens[k]);
		for (int i = 0; i < 80; i++)
			caller_start(&callers[i], t.target, 2);
		for (int i = 0; i < 80; i++)
			caller_join(&callers[i]);
		assert_int_equal(fake.n_private, 160);
		assert_int_equal(provider_stop(&t), 0);
	}
}

/* A release that hangs holds up only its own call, which its time limit ends. */
static void slow_release(void **state)
{
	(void)state;
	struct fake_attest fake = fake_hsm();
	struct provider_thread t;
	CK_BUF out = { 0 };
	struct ck_err err = { 0 };

	fake.block_fd = eventfd(0, EFD_CLOEXEC);
	provider_start(&t, &fake, "127.0.0.1:0");
	struct raw r;
	size_t sent = 0;
	CK_BUF body = { 0 };
	static const char *const headers[][2] = { GRPC_HEADERS(UNWRAP),
						  { "grpc-timeout", "200m" },
						  { NULL, NULL } };
	assert_int_equal(
	    ck_grpc_encode(&body, CK_GRPC_INPUT, unwrap_json, strlen(unwrap_json), NULL), 0);
	raw_open(&r, t.target);
	r.body = body.data;
	r.body_len = body.len;
	uint64_t start = ck_now_ms();
	raw_request(&r, headers, &sent);
	assert_true(raw_run(&r, 1));
	assert_int_equal(r.grpc, 4);
	assert_true(ck_now_ms() - start >= 200);
	raw_close(&r);
	/* Our own client gives up by its own clock. */
	assert_rc(ck_grpccall(t.target, UNWRAP, unwrap_json, strlen(unwrap_json), ck_now_ms() + 100,
			      &out, &err),
		  -ETIMEDOUT, &err);
	assert_int_equal(eventfd_write(fake.block_fd, 1), 0);
	assert_serves(t.target);
	assert_int_equal(provider_stop(&t), 0);
	ck_closep(&fake.block_fd);
}

static void *stop_main(void *arg)
{
	struct provider_thread *t = arg;

	return (void *)(intptr_t)provider_stop(t);
}

/* Stopping: what runs is answered, what waits is turned away, nothing new comes in. */
static void stop_while_busy(void **state)
{
	(void)state;
	struct fake_attest fake = fake_hsm();
	struct provider_thread t;
	struct caller running;
	pthread_t stopper;
	void *rc;
	struct stat st;
	struct raw idle;

	fake.block_fd = eventfd(0, EFD_CLOEXEC);
	provider_start(&t, &fake, listen_unix);
	raw_open(&idle, t.target);
	raw_flush(&idle);
	caller_start(&running, t.target, 1);
	while (atomic_load(&fake.n_private) == 0)
		(void)poll(NULL, 0, 1);
	assert_int_equal(pthread_create(&stopper, NULL, stop_main, &t), 0);
	while (lstat(sock, &st) == 0)
		(void)poll(NULL, 0, 1);
	assert_int_equal(ck_dial(t.target, ck_now_ms() + 1000, NULL), -ENOENT);
	(void)poll(NULL, 0, 2500); /* more than the last answers have to be read */
	assert_int_equal(eventfd_write(fake.block_fd, 1), 0);
	caller_join(&running);
	pthread_join(stopper, &rc);
	assert_int_equal((intptr_t)rc, 0);
	raw_close(&idle);
	ck_closep(&fake.block_fd);
}

static int init(void **state)
{
	struct fake_attest fake = { .block_fd = -1 };
	struct ck_provider p = { .attest = fake_as_attest(&fake),
				 .hsm_host = "h",
				 .maa_host = "m" };
	CK_BUF answer = { 0 }, request = { 0 };
	struct ck_err err = { 0 };

	(void)state;
	snprintf(dir, sizeof dir, "/tmp/ck-test-server.XXXXXX");
	if (ck_secret_init(&err) || !mkdtemp(dir) || chmod(dir, 0755) || !(key = EVP_RSA_gen(2048)))
		return -1;
	snprintf(sock, sizeof sock, "%s/s", dir);
	snprintf(listen_unix, sizeof listen_unix, "unix:%s", sock);
	fake.key = key;
	if (ck_provider_handle(&p, wrap_json, strlen(wrap_json), &answer, &err))
		return -1;
	CK_JSON *doc = NULL;
	if (ck_json_parse(&doc, answer.data, answer.len, "", &err))
		return -1;
	CK_JSON *ask = json_pack(
	    "{s:s, s:n, s:{s:n, s:O}}", "op", "keyunwrap", "keywrapparams", "keyunwrapparams", "dc",
	    "annotation", json_object_get(json_object_get(doc, "keywrapresults"), "annotation"));
	if (ck_json_dump(&request, ask, &err))
		return -1;
	unwrap_json = strdup(ck_buf_str(&request));
	return 0;
}

static int clean(void **state)
{
	(void)state;
	free(unwrap_json);
	EVP_PKEY_free(key);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(over_tcp),
		cmocka_unit_test(over_ipv6),
		cmocka_unit_test(over_unix),
		cmocka_unit_test(unix_socket_file),
		cmocka_unit_test(addresses_table),
		cmocka_unit_test(other_users_are_turned_away),
		cmocka_unit_test(requests_table),
		cmocka_unit_test(oversize_message),
		cmocka_unit_test(many_calls_on_one_connection),
		cmocka_unit_test(too_many_streams),
		cmocka_unit_test(malformed_http2),
		cmocka_unit_test(silent_clients_block_nobody),
		cmocka_unit_test(many_clients),
		cmocka_unit_test(slow_release),
		cmocka_unit_test(stop_while_busy),
	};

	return cmocka_run_group_tests(tests, init, clean);
}
