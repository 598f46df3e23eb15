#include "tests/unit/lib/unit.h"

#include <errno.h>
#include <openssl/pem.h>
#include <poll.h>
#include <pthread.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/http.h"
#include "tests/unit/lib/mint.h"
#include "tests/unit/lib/stubhttpd.h"

static char dir[] = "/tmp/test_http.XXXXXX";

static const char *path(const char *name)
{
	static char text[4][256];
	static unsigned n;
	char *out = text[n++ % 4];

	snprintf(out, sizeof text[0], "%s/%s", dir, name);
	return out;
}

static void pem_key(const char *name, EVP_PKEY *key)
{
	FILE *f = fopen(path(name), "w");

	assert_true(f && PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL));
	assert_int_equal(fclose(f), 0);
}

/* Two CAs, a server's certificate from each, and a client's of the first. */
static int group_setup(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(dir));
	for (int i = 0; i < 2; i++) {
		char name[16], ca_file[16];
		struct mint_cert ca = { .cn = i ? "CA 1" : "CA 0", .ca = true };
		struct mint_cert leaf = { .cn = "server", .san = "IP:127.0.0.1" };
		X509 *root = mint_cert(&ca, mint_rsa(i), NULL, NULL);
		X509 *cert = mint_cert(&leaf, mint_rsa(2), root, mint_rsa(i));
		snprintf(name, sizeof name, "leaf%d", i);
		snprintf(ca_file, sizeof ca_file, "ca%d", i);
		mint_pem_file(path(name), cert);
		mint_pem_file(path(ca_file), root);
		X509_free(cert);
		X509_free(root);
	}
	pem_key("key", mint_rsa(2));
	return 0;
}

static int group_teardown(void **state)
{
	static const char *const names[] = { "leaf0", "leaf1", "ca0", "ca1", "key" };

	(void)state;
	for (size_t i = 0; i < N_OF(names); i++)
		(void)unlink(path(names[i]));
	return rmdir(dir);
}

/* ---- a server and a client ------------------------------------------------------- */

static const char *request_headers; /* of the last request to /echo */
static char echo[4096];
static unsigned n_flaky;

static void answer(void *ctx, const struct stub_req *q, struct stub_conn *c)
{
	const char *t = q->target;

	(void)ctx;
	if (strcmp(t, "/hello") == 0) {
		stub_replys(c, "200 OK", "X-One: first \r\nx-one: second\r\nETag:\r\n", "hello");
	} else if (strcmp(t, "/echo") == 0) {
		snprintf(echo, sizeof echo, "%s %s\n%s\n%s", q->method, t, q->head, q->body);
		request_headers = echo;
		stub_replys(c, "200 OK", "", strcmp(q->method, "HEAD") == 0 ? "" : "ok");
	} else if (strcmp(t, "/head") == 0) {
		stub_sendf(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
	} else if (strcmp(t, "/interim") == 0) {
		stub_sendf(c, "HTTP/1.1 103 Early Hints\r\nX-Early: 1\r\n\r\n");
		stub_sendf(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
			      "3\r\nabc\r\n0\r\nX-Late: 1\r\n\r\n");
	} else if (strcmp(t, "/closing") == 0) {
		stub_replys(c, "200 OK", "", "bye");
		stub_end(c);
	} else if (strcmp(t, "/short") == 0 || strcmp(t, "/short?sig=secret") == 0) {
		stub_sendf(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
		stub_end(c);
	} else if (strcmp(t, "/reset") == 0) {
		stub_sendf(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
		stub_cut(c);
	} else if (strcmp(t, "/stalled") == 0) {
		stub_sendf(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
		stub_hold(c);
	} else if (strcmp(t, "/silent") == 0) {
		stub_hold(c);
	} else if (strcmp(t, "/drip") == 0) {
		stub_sendf(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
		for (int i = 0; i < 10; i++) {
			(void)poll(NULL, 0, 100);
			stub_sendf(c, "%d", i);
		}
	} else if (strcmp(t, "/slow") == 0) {
		(void)poll(NULL, 0, 120);
		stub_sendf(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234");
		(void)poll(NULL, 0, 60);
		stub_sendf(c, "56789");
	} else if (strcmp(t, "/gzip") == 0) {
		stub_reply(c, "200 OK", "Content-Encoding: gzip\r\n", "\x1f\x8b", 2);
	} else if (strcmp(t, "/flaky") == 0 && n_flaky > 0) {
		n_flaky--;
		stub_replys(c, "503 X", "Retry-After: 1\r\n", "later");
	} else if (strcmp(t, "/flaky") == 0) {
		stub_replys(c, "200 OK", "", "now");
	} else if (strcmp(t, "/busy") == 0) {
		stub_replys(c, "429 X", "Retry-After: 20\r\n", "later");
	} else if (strcmp(t, "/big") == 0) {
		static const char zeros[100000];
		stub_reply(c, "206 Partial Content", "", zeros, sizeof zeros);
	} else if (strcmp(t, "/many") == 0) {
		stub_sendf(c, "HTTP/1.1 200 OK\r\n");
		for (int i = 0; i < 3000; i++)
			stub_sendf(c, "X-%d: %0100d\r\n", i, i);
		stub_sendf(c, "Content-Length: 0\r\n\r\n");
	} else {
		stub_replys(c, "404 Not Found", "", "no such thing");
	}
}

struct stand {
	struct stub *s;
	struct ck_http *h;
};

static int setup(void **state)
{
	static struct stand st;
	struct stub_opts o = { .answer = answer };
	struct ck_http_opts none = { 0 };
	struct ck_err err;

	st.s = stub_open(&o);
	assert_works(ck_http_open(&st.h, &none, &err), &err);
	*state = &st;
	return 0;
}

static int teardown(void **state)
{
	struct stand *st = *state;

	ck_http_close(st->h);
	stub_close(st->s);
	return 0;
}

static const char *url_of(const struct stand *st, const char *target)
{
	static _Thread_local char url[256];

	snprintf(url, sizeof url, "http://%s%s", stub_host(st->s), target);
	return url;
}

static int get(const struct stand *st, const char *target, struct ck_http_res *res,
	       struct ck_err *err)
{
	struct ck_http_req req = { .url = url_of(st, target), .tries = 1 };

	return ck_http_do(st->h, &req, res, err);
}

/* ---- connections ------------------------------------------------------------------ */

static void kept_alive(void **state)
{
	struct stand *st = *state;
	struct ck_err err;
	CK_HTTP_RES res = { 0 };

	for (int i = 0; i < 5; i++) {
		assert_works(get(st, "/hello", &res, &err), &err);
		assert_string_equal(ck_buf_str(&res.body), "hello");
	}
	assert_int_equal(stub_conns(st->s), 1);
}

/* One that the server closed meanwhile, and one that a cut body spoilt, are not used again. */
static void dead_connections(void **state)
{
	struct stand *st = *state;
	struct ck_err err;
	CK_HTTP_RES res = { 0 };

	for (int i = 0; i < 3; i++)
		assert_works(get(st, "/closing", &res, &err), &err);
	assert_fails(get(st, "/short", &res, &err), -EPROTO, &err, "/short");
	assert_works(get(st, "/hello", &res, &err), &err);
	assert_fails(get(st, "/reset", &res, &err), -EPROTO, &err, "/reset");
	assert_works(get(st, "/hello", &res, &err), &err);
	assert_string_equal(ck_buf_str(&res.body), "hello");
}

static void *get_ten(void *arg)
{
	for (int i = 0; i < 10; i++) {
		struct ck_err err;
		CK_HTTP_RES res = { 0 };
		assert_works(get(arg, "/hello", &res, &err), &err);
		assert_string_equal(ck_buf_str(&res.body), "hello");
	}
	return NULL;
}

static void many_threads(void **state)
{
	struct stand *st = *state;
	pthread_t t[8];

	for (size_t i = 0; i < N_OF(t); i++)
		assert_int_equal(pthread_create(&t[i], NULL, get_ten, st), 0);
	for (size_t i = 0; i < N_OF(t); i++)
		pthread_join(t[i], NULL);
	unsigned n = stub_conns(st->s);
	assert_in_range(n, 1, N_OF(t));
	get_ten(st);
	assert_int_equal(stub_conns(st->s), n);
	assert_int_equal(stub_count(st->s, "GET /hello"), 90);
}

/* ---- messages --------------------------------------------------------------------- */

static void headers(void **state)
{
	struct ck_err err;
	CK_HTTP_RES res = { 0 };

	assert_null(ck_http_res_header(&res, "x"));
	assert_works(get(*state, "/hello", &res, &err), &err);
	assert_string_equal(ck_http_res_header(&res, "x-ONE"), "first");
	assert_string_equal(ck_http_res_header(&res, "etag"), "");
	assert_string_equal(ck_http_res_header(&res, "content-length"), "5");
	const char *v = ck_http_res_header_next(&res, "X-One", NULL);
	assert_string_equal(v, "first");
	v = ck_http_res_header_next(&res, "X-One", v);
	assert_string_equal(v, "second");
	assert_null(ck_http_res_header_next(&res, "X-One", v));
	assert_null(ck_http_res_header(&res, "first"));
	assert_null(ck_http_res_header(&res, "X-On"));
	assert_works(get(*state, "/interim", &res, &err), &err);
	assert_int_equal(res.status, 200);
	assert_string_equal(ck_buf_str(&res.body), "abc");
	assert_null(ck_http_res_header(&res, "x-early"));
	assert_null(ck_http_res_header(&res, "x-late"));
	assert_null(ck_http_res_header(&res, "x-one"));
	assert_fails(get(*state, "/many", &res, &err), -EPROTO, &err, "headers have no end");
}

static void methods(void **state)
{
	static const char *const typed[] = { "Content-Type: application/x" };
	static const struct {
		const char *method, *body;
		const char *const *headers;
		const char *has[3];
		const char *hasnt[3];
	} rows[] = {
		{ NULL, NULL, NULL, { "GET /echo" }, { "Content-Length", "Content-Type" } },
		{ NULL, "x=1", NULL, { "POST /echo", "Content-Length: 3", "\nx=1" }, { 0 } },
		{ "HEAD", NULL, NULL, { "HEAD /echo" }, { "Content-Length" } },
		{ "PUT", NULL, NULL, { "PUT /echo", "Content-Length: 0" }, { "Content-Type" } },
		{ "POST", NULL, NULL, { "POST /echo", "Content-Length: 0" }, { "Content-Type" } },
		{ "PATCH", NULL, typed, { "Content-Length: 0", "application/x" }, { "urlenc" } },
		{ "PUT", "", typed, { "Content-Length: 0", "application/x" }, { "urlenc" } },
		{ "PUT", "abc", typed, { "PUT", "application/x", "\nabc" }, { "urlenc" } },
		{ "DELETE", NULL, NULL, { "DELETE /echo" }, { "Content-Type" } },
	};
	struct stand *st = *state;

	for (size_t i = 0; i < N_OF(rows); i++) {
		struct ck_err err;
		CK_HTTP_RES res = { 0 };
		struct ck_http_req req = { .url = url_of(st, "/echo"),
					   .method = rows[i].method,
					   .body = rows[i].body,
					   .body_len = rows[i].body ? strlen(rows[i].body) : 0,
					   .headers = rows[i].headers,
					   .n_headers = rows[i].headers != NULL };
		assert_works(ck_http_do(st->h, &req, &res, &err), &err);
		for (int j = 0; j < 3; j++) {
			if (rows[i].has[j] && !strstr(request_headers, rows[i].has[j]))
				fail_msg("row %zu: no %s in %s", i, rows[i].has[j],
					 request_headers);
			if (rows[i].hasnt[j] && strstr(request_headers, rows[i].hasnt[j]))
				fail_msg("row %zu: %s in %s", i, rows[i].hasnt[j], request_headers);
		}
		/* Bytes of a blob are wanted as they are. */
		assert_null(strcasestr(request_headers, "accept-encoding"));
		assert_null(strcasestr(request_headers, "expect"));
	}
}

static void nothing_decoded(void **state)
{
	struct ck_err err;
	CK_HTTP_RES res = { 0 };

	assert_works(get(*state, "/gzip", &res, &err), &err);
	assert_string_equal(ck_http_res_header(&res, "Content-Encoding"), "gzip");
	assert_int_equal(res.body.len, 2);
}

static void head_has_no_body(void **state)
{
	struct stand *st = *state;
	struct ck_http_req req = { .url = url_of(st, "/head"), .method = "HEAD", .tries = 1 };
	struct ck_err err;
	CK_HTTP_RES res = { 0 };

	assert_works(ck_http_do(st->h, &req, &res, &err), &err);
	assert_string_equal(ck_http_res_header(&res, "content-length"), "1000000");
}

/* Signed URLs do not get into logs. */
static void queries_unsaid(void **state)
{
	struct ck_err err;
	CK_HTTP_RES res = { 0 };

	assert_fails(get(*state, "/short?sig=secret", &res, &err), -EPROTO, &err, "/short");
	assert_null(strstr(err.msg, "secret"));
}

static void times(void **state)
{
	struct ck_err err;
	CK_HTTP_RES res = { 0 };

	assert_works(get(*state, "/slow", &res, &err), &err);
	assert_in_range(res.wait_us, 119000, 5000000);
	assert_in_range(res.body_us, 55000, 5000000);
	assert_true(res.wait_us > res.body_us);
}

/* ---- sinks ------------------------------------------------------------------------ */

struct taken {
	unsigned n_begun, n_data;
	size_t nbytes;
	long status;
	char text[16];
	int begin_rc, data_rc;
	atomic_bool cancel;
	bool cancel_at_data;
};

static int begin(void *ctx, const struct ck_http_res *res, struct ck_err *err)
{
	struct taken *t = ctx;

	t->n_begun++;
	t->status = res->status;
	assert_non_null(ck_http_res_header(res, "content-length"));
	return t->begin_rc < 0 ? ck_fail(err, t->begin_rc, "not begun") : t->begin_rc;
}

static int data(void *ctx, const void *p, size_t nbytes, struct ck_err *err)
{
	struct taken *t = ctx;

	assert_int_equal(t->n_begun, 1);
	if (t->nbytes + nbytes < sizeof t->text)
		memcpy(t->text + t->nbytes, p, nbytes);
	t->nbytes += nbytes;
	t->n_data++;
	atomic_store(&t->cancel, t->cancel_at_data);
	return t->data_rc ? ck_fail(err, t->data_rc, "not taken") : 0;
}

static int sink_get(struct stand *st, const char *target, struct taken *t, struct ck_http_req req,
		    struct ck_http_res *res, struct ck_err *err)
{
	struct ck_http_sink sink = { begin, data, t };

	req.url = url_of(st, target);
	req.sink = &sink;
	req.tries = 1;
	return ck_http_do(st->h, &req, res, err);
}

static void sinks(void **state)
{
	struct ck_http_req plain = { 0 }, bounded = { .max_body = 99999 };
	struct ck_err err;
	CK_HTTP_RES res = { 0 };
	struct taken t = { 0 };

	assert_works(sink_get(*state, "/hello", &t, plain, &res, &err), &err);
	assert_string_equal(t.text, "hello");
	assert_int_equal(t.n_begun, 1);
	assert_int_equal(t.status, 200);
	assert_int_equal(res.body.len, 0);

	t = (struct taken){ 0 };
	assert_works(sink_get(*state, "/big", &t, plain, &res, &err), &err);
	assert_int_equal(t.nbytes, 100000);
	assert_int_equal(t.status, 206);

	t = (struct taken){ 0 };
	assert_int_equal(sink_get(*state, "/big", &t, bounded, &res, &err), -EFBIG);
	assert_true(t.nbytes < 100000);

	t = (struct taken){ 0 };
	assert_works(sink_get(*state, "/none", &t, plain, &res, &err), &err);
	assert_int_equal(res.status, 404);
	assert_int_equal(t.n_begun + t.n_data, 0);
	assert_string_equal(ck_buf_str(&res.body), "no such thing");

	t = (struct taken){ .begin_rc = -ESTALE };
	assert_fails(sink_get(*state, "/big", &t, plain, &res, &err), -ESTALE, &err, "not begun");
	assert_int_equal(t.n_data, 0);
	assert_int_equal(res.status, 206);
	t = (struct taken){ .data_rc = -ESTALE };
	assert_fails(sink_get(*state, "/big", &t, plain, &res, &err), -ESTALE, &err, "not taken");
	assert_int_equal(t.n_data, 1);
	t = (struct taken){ 0 };
	assert_works(sink_get(*state, "/hello", &t, plain, &res, &err), &err);
	assert_string_equal(t.text, "hello");
	t = (struct taken){ 0 };
	assert_int_equal(sink_get(*state, "/short", &t, plain, &res, &err), -EPROTO);
	assert_string_equal(t.text, "abc");
}

/* ---- time ------------------------------------------------------------------------- */

static void stalls(void **state)
{
	struct ck_http_req req = { .stall_ms = 250 };
	uint64_t start = ck_now_ms();
	struct ck_err err;
	CK_HTTP_RES res = { 0 };
	struct taken t = { 0 };

	assert_fails(sink_get(*state, "/stalled", &t, req, &res, &err), -ETIMEDOUT, &err,
		     "no byte came for 250 ms");
	assert_string_equal(t.text, "abc");
	assert_in_range(ck_now_ms() - start, 250, 2000);
	t = (struct taken){ 0 };
	assert_works(sink_get(*state, "/drip", &t, req, &res, &err), &err);
	assert_string_equal(t.text, "0123456789");
	start = ck_now_ms();
	t = (struct taken){ 0 };
	assert_fails(sink_get(*state, "/silent", &t, req, &res, &err), -ETIMEDOUT, &err,
		     "no byte came");
	assert_in_range(ck_now_ms() - start, 250, 2000);
	assert_works(get(*state, "/hello", &res, &err), &err);
}

/* A body may take its time when the sink says so, and only then. */
static void lifted_limits(void **state)
{
	struct ck_http_req req = { .timeout_ms = 500 };
	uint64_t start = ck_now_ms();
	struct ck_err err;
	CK_HTTP_RES res = { 0 };
	struct taken t = { 0 };

	assert_fails(sink_get(*state, "/drip", &t, req, &res, &err), -ETIMEDOUT, &err,
		     "not whole in time");
	assert_in_range(ck_now_ms() - start, 500, 5000);
	t = (struct taken){ .begin_rc = 1 };
	req.timeout_ms = 900; /* the server is busy with the other for half a second */
	assert_works(sink_get(*state, "/drip", &t, req, &res, &err), &err);
	assert_string_equal(t.text, "0123456789");
	t = (struct taken){ .begin_rc = 1 };
	assert_int_equal(sink_get(*state, "/silent", &t, req, &res, &err), -ETIMEDOUT);
	t = (struct taken){ .begin_rc = 1 };
	req.stall_ms = 300;
	assert_fails(sink_get(*state, "/stalled", &t, req, &res, &err), -ETIMEDOUT, &err,
		     "no byte came");
}

static void *cancel_later(void *arg)
{
	(void)poll(NULL, 0, 100);
	atomic_store((atomic_bool *)arg, true);
	return NULL;
}

/* While it waits for an answer, in the middle of one, and between two tries. */
static void cancelled(void **state)
{
	static const char *const targets[] = { "/silent", "/stalled", "/flaky" };
	struct stand *st = *state;

	for (size_t i = 0; i < N_OF(targets); i++) {
		atomic_bool cancel = false;
		struct ck_http_req req = { .url = url_of(st, targets[i]), .cancel = &cancel };
		uint64_t start = ck_now_ms();
		struct ck_err err;
		CK_HTTP_RES res = { 0 };
		pthread_t later;

		n_flaky = 5;
		assert_int_equal(pthread_create(&later, NULL, cancel_later, &cancel), 0);
		assert_fails(ck_http_do(st->h, &req, &res, &err), -ECANCELED, &err, "given up");
		assert_true(ck_now_ms() - start < 900);
		pthread_join(later, NULL);
	}
	struct taken t = { .cancel_at_data = true };
	struct ck_http_req req = { .cancel = &t.cancel };
	struct ck_err err;
	CK_HTTP_RES res = { 0 };
	assert_int_equal(sink_get(*state, "/drip", &t, req, &res, &err), -ECANCELED);
	assert_in_range(t.nbytes, 1, 5);
}

static void retries(void **state)
{
	struct stand *st = *state;
	struct ck_http_req req = { .url = url_of(st, "/flaky") };
	uint64_t start = ck_now_ms();
	struct ck_err err;
	CK_HTTP_RES res = { 0 };

	n_flaky = 1;
	assert_works(ck_http_do(st->h, &req, &res, &err), &err);
	assert_string_equal(ck_buf_str(&res.body), "now");
	assert_null(ck_http_res_header(&res, "retry-after"));
	assert_in_range(ck_now_ms() - start, 1000, 5000);
	/* A pause past the deadline is not worth its while. */
	start = ck_now_ms();
	req = (struct ck_http_req){ .url = url_of(st, "/busy"), .deadline_ms = 5000 };
	assert_works(ck_http_do(st->h, &req, &res, &err), &err);
	assert_int_equal(res.status, 429);
	assert_int_equal(ck_http_res_retry_ms(&res), 20000);
	assert_true(ck_now_ms() - start < 1000);
}

static void retry_after(void **state)
{
	static const struct {
		const char *value;
		uint64_t least, most;
	} rows[] = {
		{ "7", 7000, 7000 },
		{ "0", 0, 0 },
		{ "7200", 3600000, 3600000 },
		{ "99999999999999999999999", 3600000, 3600000 },
		{ "Wed, 21 Oct 2015 07:28:00 GMT", 0, 0 },
		{ "Wed, 21 Oct 2065 07:28:00 GMT", 3600000, 3600000 },
		{ "soon", 0, 0 },
		{ "-5", 0, 0 },
		{ "", 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		CK_HTTP_RES res = { 0 };
		assert_int_equal(ck_buf_add(&res.headers, "Retry-After", 12, NULL), 0);
		assert_int_equal(
		    ck_buf_add(&res.headers, rows[i].value, strlen(rows[i].value) + 1, NULL), 0);
		assert_in_range(ck_http_res_retry_ms(&res), rows[i].least, rows[i].most);
	}
}

/* ---- TLS -------------------------------------------------------------------------- */

static int tls_get(struct stub *s, const struct ck_http_opts *o, struct ck_http_res *res,
		   struct ck_err *err)
{
	CK_AUTO(ck_http_closep) struct ck_http *h = NULL;
	char url[128];
	struct ck_http_req req = { .url = url, .tries = 1 };

	snprintf(url, sizeof url, "https://%s/hello", stub_host(s));
	int rc = ck_http_open(&h, o, err);
	return rc < 0 ? rc : ck_http_do(h, &req, res, err);
}

static void roots(void **state)
{
	CK_BUF ca1 = { 0 };
	char ca0_file[256], ca1_file[256];
	struct stub *s[2];

	(void)state;
	snprintf(ca0_file, sizeof ca0_file, "%s", path("ca0"));
	snprintf(ca1_file, sizeof ca1_file, "%s", path("ca1"));
	assert_int_equal(ck_file_read(&ca1, ca1_file, NULL), 0);
	for (int i = 0; i < 2; i++) {
		struct stub_opts o = { .answer = answer,
				       .cert = path(i ? "leaf1" : "leaf0"),
				       .key = path("key") };
		s[i] = stub_open(&o);
	}
	const struct {
		struct ck_http_opts o;
		bool works[2];
	} rows[] = {
		{ { 0 }, { false, false } },
		{ { .ca_file = ca0_file }, { true, false } },
		{ { .ca_file = ca1_file }, { false, true } },
		{ { .more_ca = ck_buf_str(&ca1) }, { false, true } },
		{ { .ca_file = ca0_file, .more_ca = ck_buf_str(&ca1) }, { true, true } },
		{ { .insecure_name = "127.0.0.1" }, { true, true } },
		{ { .insecure_name = "127.0.0.2" }, { false, false } },
	};
	for (size_t i = 0; i < N_OF(rows); i++) {
		for (int j = 0; j < 2; j++) {
			struct ck_err err = { 0 };
			CK_HTTP_RES res = { 0 };
			int rc = tls_get(s[j], &rows[i].o, &res, &err);
			if (rc != (rows[i].works[j] ? 0 : -EPROTO) || res.no_tls ||
			    res.no_trust == rows[i].works[j] || res.no_root != res.no_trust)
				fail_msg("row %zu, server %d: %d %s", i, j, rc, err.msg);
		}
	}
	stub_close(s[0]);
	stub_close(s[1]);
}

static void client_certificates(void **state)
{
	char cert[256], key[256];
	struct stub_opts o = { .answer = answer,
			       .cert = path("leaf0"),
			       .key = path("key"),
			       .client_ca = path("ca1") };
	struct stub *s = stub_open(&o);
	struct ck_http_opts with = { .insecure_name = "127.0.0.1" }, without = with;
	struct ck_err err;
	CK_HTTP_RES res = { 0 };

	(void)state;
	snprintf(cert, sizeof cert, "%s", path("leaf1"));
	snprintf(key, sizeof key, "%s", path("key"));
	with.cert_file = cert;
	with.key_file = key;
	assert_works(tls_get(s, &with, &res, &err), &err);
	assert_string_equal(ck_buf_str(&res.body), "hello");
	assert_int_equal(tls_get(s, &without, &res, &err), -EPROTO);
	assert_false(res.no_tls && res.status);
	stub_close(s);
}

/* A server of plain HTTP is told from one whose certificate is wrong. */
static void no_tls(void **state)
{
	struct stand *st = *state;
	struct ck_http_opts o = { 0 };
	struct ck_err err;
	CK_HTTP_RES res = { 0 };

	assert_int_equal(tls_get(st->s, &o, &res, &err), -EPROTO);
	assert_true(res.no_tls);
	assert_false(res.no_trust);
}

int main(void)
{
#define STAND(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		STAND(kept_alive),
		STAND(dead_connections),
		STAND(many_threads),
		STAND(headers),
		STAND(methods),
		STAND(nothing_decoded),
		STAND(head_has_no_body),
		STAND(queries_unsaid),
		STAND(times),
		STAND(sinks),
		STAND(stalls),
		STAND(cancelled),
		STAND(retries),
		STAND(no_tls),
		STAND(lifted_limits),
		cmocka_unit_test(retry_after),
		cmocka_unit_test(roots),
		cmocka_unit_test(client_certificates),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
