#include "tests/unit/lib/regstand.h"

uint8_t blob[BLOB_LEN], blob_digest[CK_SHA256_LEN];
char blob_str[CK_DIGEST_STR], tmp_dir[] = "/tmp/test_registry.XXXXXX";
const char manifest[] = "{\"schemaVersion\":2,\"config\":{}}";
char manifest_str[CK_DIGEST_STR];

static bool is(const char *act, const char *what)
{
	return strcmp(act, what) == 0;
}

/* The part of the blob that a request is for; false: it has no Range. */
static bool range_of(const struct stub_req *q, size_t *off, size_t *end)
{
	const char *v = stub_header(q, "Range");
	unsigned long a, b;

	*off = 0;
	*end = BLOB_LEN;
	if (!v)
		return false;
	assert_int_equal(sscanf(v, "bytes=%lu-%lu", &a, &b), 2);
	assert_true(a <= b && b < BLOB_LEN);
	*off = a;
	*end = b + 1;
	return true;
}

static void send_part(struct stub_conn *c, size_t off, size_t end, size_t said_off, size_t said_end,
		      size_t total, size_t length, const char *more)
{
	stub_sendf(c,
		   "HTTP/1.1 206 Partial Content\r\nContent-Type: application/octet-stream\r\n"
		   "Content-Range: bytes %zu-%zu/%zu\r\nContent-Length: %zu\r\n%s\r\n",
		   said_off, said_end - 1, total, length, more);
	stub_send(c, blob + off, end - off);
}

static void send_blob(struct stand *st, const char *act, const struct stub_req *q,
		      struct stub_conn *c)
{
	size_t off, end, n;
	bool ranged = range_of(q, &off, &end);

	(void)st;
	n = end - off;
	if (is(act, "page")) {
		stub_replys(c, "200 OK", "Content-Type: text/html\r\n", "<h1>Sorry</h1>");
	} else if (is(act, "whole-cut")) {
		stub_sendf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", BLOB_LEN);
		stub_send(c, blob, 1000);
		stub_end(c);
	} else if (is(act, "whole-slow") || is(act, "whole-drip")) {
		size_t step = is(act, "whole-slow") ? BLOB_LEN / 20 : 1;
		stub_sendf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", BLOB_LEN);
		for (size_t i = 0; i < 20; i++) {
			(void)poll(NULL, 0, 75);
			stub_send(c, blob + i * step, step);
		}
		stub_end(c);
	} else if (is(act, "whole") || !ranged) {
		stub_reply(c, "200 OK", "Content-Type: application/octet-stream\r\n", blob,
			   BLOB_LEN);
	} else if (is(act, "cut") || is(act, "reset")) { /* half of it, and the rest is owed */
		send_part(c, off, off + n / 2, off, end, BLOB_LEN, n, "");
		is(act, "cut") ? stub_end(c) : stub_cut(c);
	} else if (is(act, "two")) { /* bytes, and no more */
		send_part(c, off, off + 2, off, end, BLOB_LEN, n, "");
		stub_end(c);
	} else if (is(act, "stall")) {
		send_part(c, off, off + n / 2, off, end, BLOB_LEN, n, "");
		stub_hold(c);
	} else if (is(act, "drip")) {
		send_part(c, off, off + 1, off, end, BLOB_LEN, n, "");
		for (size_t i = 1; i < 20 && i < n; i++) {
			(void)poll(NULL, 0, 100);
			stub_send(c, blob + off + i, 1);
		}
		stub_end(c);
	} else if (is(act, "early")) { /* it says so */
		send_part(c, off, off + n / 2, off, off + n / 2, BLOB_LEN, n / 2, "");
	} else if (is(act, "start")) {
		send_part(c, off, end, off + 1, end + 1, BLOB_LEN, n, "");
	} else if (is(act, "before")) {
		send_part(c, 0, n, 0, n, BLOB_LEN, n, "");
	} else if (is(act, "total")) {
		send_part(c, off, end, off, end, BLOB_LEN + 1, n, "");
	} else if (is(act, "beyond")) {
		send_part(c, off, end, off, end + 1, BLOB_LEN, n + 1, "");
	} else if (is(act, "longer")) {
		send_part(c, off, end, off, end, BLOB_LEN, n + 5, "");
		stub_send(c, "xxxxx", 5);
	} else if (is(act, "gzip")) {
		send_part(c, off, end, off, end, BLOB_LEN, n, "Content-Encoding: gzip\r\n");
	} else if (is(act, "identity")) {
		send_part(c, off, end, off, end, BLOB_LEN, n, "Content-Encoding: identity\r\n");
	} else if (is(act, "unsaid")) {
		stub_reply(c, "206 Partial Content", "", blob + off, n);
	} else if (is(act, "multipart")) {
		stub_replys(c, "206 Partial Content",
			    "Content-Type: multipart/byteranges; boundary=x\r\n", "--x\r\n");
	} else if (is(act, "star")) {
		stub_sendf(c,
			   "HTTP/1.1 206 X\r\nContent-Range: bytes %zu-%zu/*\r\n"
			   "Content-Length: %zu\r\n\r\n",
			   off, end - 1, n);
		stub_send(c, blob + off, n);
	} else if (is(act, "page-close")) {
		stub_sendf(c, "HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<h1>Sorry</h1>");
		stub_end(c);
	} else if (is(act, "whole-close")) {
		stub_sendf(c, "HTTP/1.0 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n");
		stub_send(c, blob, BLOB_LEN);
		stub_end(c);
	} else if (is(act, "close")) { /* HTTP/1.0 without a length */
		stub_sendf(c, "HTTP/1.0 206 X\r\nContent-Range: bytes %zu-%zu/%d\r\n\r\n", off,
			   end - 1, BLOB_LEN);
		stub_send(c, blob + off, n);
		stub_end(c);
	} else if (is(act, "close-more")) {
		stub_sendf(c, "HTTP/1.0 206 X\r\nContent-Range: bytes %zu-%zu/%d\r\n\r\n", off,
			   off + n / 2 - 1, BLOB_LEN);
		stub_send(c, blob + off, n);
		stub_end(c);
	} else if (is(act, "close-cut")) {
		stub_sendf(c, "HTTP/1.0 206 X\r\nContent-Range: bytes %zu-%zu/%d\r\n\r\n", off,
			   end - 1, BLOB_LEN);
		stub_send(c, blob + off, n / 2);
		stub_end(c);
	} else {
		send_part(c, off, end, off, end, BLOB_LEN, n, "");
	}
}

static void answer_blob(struct stand *st, const struct stub_req *q, struct stub_conn *c)
{
	const char *act = "";

	if (st->n_script) {
		act = st->script[0];
		memmove(st->script, st->script + 1, --st->n_script * sizeof st->script[0]);
	}
	if (strncmp(act, "to ", 3) == 0) {
		stub_sendf(c, "HTTP/1.1 307 X\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n",
			   act + 3);
	} else if (is(act, "wait")) {
		stub_replys(c, "429 Too Many Requests", "Retry-After: 1\r\n", "");
	} else if (is(act, "silent")) {
		stub_hold(c);
	} else if (is(act, "416")) {
		stub_replys(c, stub_header(q, "Range") ? "416 X" : "500 X", "", "");
	} else if (act[0] >= '3' && act[0] <= '5') {
		char status[32];
		snprintf(status, sizeof status, "%s X", act);
		stub_replys(c, status, "",
			    "{\"errors\":[{\"code\":\"SOME_CODE\",\"message\":\"some text\"}]}");
	} else {
		send_blob(st, act, q, c);
	}
}

static void answer(void *ctx, const struct stub_req *q, struct stub_conn *c)
{
	struct stand *st = ctx;
	const char *auth = stub_header(q, "Authorization");

	snprintf(st->said, sizeof st->said, "%s %s\n%s", q->method, q->target, q->head);
	if (strncmp(q->target, "/token", 6) == 0) {
		snprintf(st->token_auth, sizeof st->token_auth, "%s %s %s", q->target,
			 auth ? auth : "-", q->body);
		stub_replys(c, st->token ? "200 OK" : "401 X", "", st->token ? st->token : "");
		return;
	}
	snprintf(st->auth, sizeof st->auth, "%s", auth ? auth : "");
	if (st->needs && (!auth || strcmp(auth, st->needs) != 0)) {
		st->n_refused++;
		stub_replys(c, "401 Unauthorized", st->challenge, "");
	} else if (strstr(q->target, "/blobs/")) {
		answer_blob(st, q, c);
	} else if (strstr(q->target, "/manifests/") && !st->no_manifest) {
		stub_replys(c, "200 OK",
			    "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n",
			    manifest);
	} else {
		stub_replys(c, "404 Not Found", "",
			    "{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\",\"message\":\"none\"}]}");
	}
}

void stand_open(struct stand *st)
{
	struct stub_opts o = { .answer = answer, .ctx = st };

	*st = (struct stand){ 0 };
	st->s = stub_open(&o);
}

void stand_close(struct stand *st)
{
	stub_close(st->s);
}

void script_all(struct stand *st, const char *act, size_t n)
{
	stub_pause(st->s);
	for (st->n_script = 0; st->n_script < n; st->n_script++)
		st->script[st->n_script] = act;
	stub_resume(st->s);
}

void script(struct stand *st, const char *const *acts, size_t n)
{
	stub_pause(st->s);
	memcpy(st->script, acts, n * sizeof *acts);
	st->n_script = n;
	stub_resume(st->s);
}

const char *said(struct stand *st)
{
	static char text[sizeof st->said];

	stub_pause(st->s);
	memcpy(text, st->said, sizeof text);
	stub_resume(st->s);
	return text;
}

const char *tmp_path(const char *name)
{
	static char text[64][256];
	static unsigned n;
	char *out = text[n++ % 64];

	snprintf(out, sizeof text[0], "%s/%s", tmp_dir, name);
	return out;
}

void tmp_file(const char *name, const char *text)
{
	assert_int_equal(ck_file_write(tmp_path(name), text, strlen(text), 0600, NULL), 0);
}

struct ck_registry *client_of(struct stand *st, struct ck_registry_opts o)
{
	struct ck_registry *r = NULL;
	struct ck_err err = { 0 };

	o.hosts_dir = o.hosts_dir ? o.hosts_dir : tmp_path("none");
	o.certs_dir = o.certs_dir ? o.certs_dir : tmp_path("none");
	assert_works(ck_registry_open(&r, stub_host(st->s), "r/x", &o, &err), &err);
	return r;
}

int take(void *ctx, uint64_t off, const void *p, size_t nbytes, struct ck_err *err)
{
	struct taken *t = ctx;

	if (t->fail)
		return ck_fail(err, t->fail, "not taken");
	assert_true(off <= BLOB_LEN && nbytes <= BLOB_LEN - off);
	memcpy(t->bytes + off, p, nbytes);
	memset(t->has + off, 1, nbytes);
	t->n += nbytes;
	t->last_off = off;
	if (atomic_load(&t->cancel_at_data))
		atomic_store(&t->cancel, true);
	return 0;
}

struct ck_registry_want want_of(uint64_t off, uint64_t len)
{
	struct ck_registry_want w = { .size = BLOB_LEN, .off = off, .len = len };

	memcpy(w.digest, blob_digest, sizeof w.digest);
	return w;
}

void assert_has(const struct taken *t, uint64_t off, uint64_t len)
{
	for (uint64_t i = off; i < off + len; i++)
		if (!t->has[i] || t->bytes[i] != blob[i])
			fail_msg("byte %zu is %s", (size_t)i, t->has[i] ? "wrong" : "missing");
}

int stand_group_setup(void **state)
{
	uint8_t digest[CK_SHA256_LEN];

	(void)state;
	for (size_t i = 0; i < BLOB_LEN; i++)
		blob[i] = (uint8_t)(i * 2654435761U >> 13);
	ck_sha256(blob_digest, blob, BLOB_LEN);
	ck_digest_str(blob_str, blob_digest);
	ck_sha256(digest, manifest, sizeof manifest - 1);
	ck_digest_str(manifest_str, digest);
	assert_non_null(mkdtemp(tmp_dir));
	setenv("HOME", tmp_dir, 1);
	unsetenv("REGISTRY_AUTH_FILE");
	unsetenv("XDG_RUNTIME_DIR");
	unsetenv("XDG_CONFIG_HOME");
	unsetenv("DOCKER_CONFIG");
	return 0;
}

int stand_group_teardown(void **state)
{
	char cmd[128];

	(void)state;
	snprintf(cmd, sizeof cmd, "rm -rf %s", tmp_dir);
	return system(cmd);
}
