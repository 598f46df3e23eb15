/* hosts.toml, certs.d, and the URLs that they lead to. */
#include "tests/unit/lib/regstand.h"

#include <openssl/pem.h>

#include "base/url.h"
#include "fs/registry/certs.h"
#include "fs/registry/hosts.h"
#include "fs/registry/toml.h"
#include "tests/unit/lib/mint.h"

#define N "\n"

static void toml(void **state)
{
	static const struct {
		const char *text, *json; /* NULL: refused, and what is said */
		const char *says;
	} rows[] = {
		{ "", "{}", 0 },
		{ "# nothing" N, "{}", 0 },
		{ "a = \"b\"", "{\"a\":\"b\"}", 0 },
		{ "a=true" N "b=false # yes" N, "{\"a\":true,\"b\":false}", 0 },
		{ "a = 12" N "b = -3" N "c = +4" N "d = 0", "{\"a\":12,\"b\":-3,\"c\":4,\"d\":0}",
		  0 },
		{ "a-b_1 = 'x\\n'" N "\"c d\" = \"x\\n\\t\\\"\\\\\\u00e4\\U0001F600\"",
		  "{\"a-b_1\":\"x\\\\n\",\"c d\":\"x\\n\\t\\\"\\\\\303\244\360\237\230\200\"}", 0 },
		{ "a = []" N "b = [ \"x\", 'y' ,]" N "c = [[1,2],[\"z\"]]",
		  "{\"a\":[],\"b\":[\"x\",\"y\"],\"c\":[[1,2],[\"z\"]]}", 0 },
		{ "a = [ # one" N N "  \"x\", # two" N "]" N, "{\"a\":[\"x\"]}", 0 },
		{ "[t]" N "a = 1" N "[u.\"v w\".x]" N "b = 2" N "[u]" N "c = 3",
		  "{\"t\":{\"a\":1},\"u\":{\"v w\":{\"x\":{\"b\":2}},\"c\":3}}", 0 },
		{ "[ a . b ] # c" N "x=1", "{\"a\":{\"b\":{\"x\":1}}}", 0 },
		{ "a = \"\"\r\n[b]\r\n", "{\"a\":\"\",\"b\":{}}", 0 },
		{ "a = \"\"" N "b = ''", "{\"a\":\"\",\"b\":\"\"}", 0 },
		{ "a", 0, "line 1: a key wants '='" },
		{ N N "a = ", 0, "line 3: this kind of value" },
		{ "a = b", 0, "this kind of value" },
		{ "a = 1.5", 0, "this kind of value" },
		{ "a = 2020-01-01", 0, "this kind of value" },
		{ "a = 0x10", 0, "this kind of value" },
		{ "a = 01", 0, "this kind of value" },
		{ "a = 1234567890123456789", 0, "too large" },
		{ "a = truest", 0, "this kind of value" },
		{ "a = {b = 1}", 0, "this kind of value" },
		{ "a.b = 1", 0, "dotted keys" },
		{ "a = 1 b = 2", 0, "something more" },
		{ "a = \"x\" \"y\"", 0, "something more" },
		{ "a = 1" N "a = 2", 0, "line 2: a key is there twice" },
		{ "[a]" N "[b]" N "[a]", 0, "line 3: a table is there twice" },
		{ "a = 1" N "[a]", 0, "the name of a value" },
		{ "[a.b]" N "[a.b.c]" N "[\"a\".b]", 0, "a table is there twice" },
		{ "[[a]]", 0, "arrays of tables" },
		{ "[a", 0, "wants ']'" },
		{ "[a]]", 0, "something more" },
		{ "[]", 0, "a key is expected" },
		{ "[a..b]", 0, "a key is expected" },
		{ "[a.b.c.d.e.f.g.h.i]", 0, "nested too deep" },
		{ "a = \"x", 0, "line 1: a string has no end" },
		{ "a = \"x\ny\"", 0, "a string has no end" },
		{ "a = \"\"\"x\"\"\"", 0, "over several lines" },
		{ "a = '''x'''", 0, "over several lines" },
		{ "a = \"\\q\"", 0, "no such escape" },
		{ "a = \"\\u12\"", 0, "more hex digits" },
		{ "a = \"\\ud800\"", 0, "names no character" },
		{ "a = \"\\u0000\"", 0, "names no character" },
		{ "a = \"\\UFFFFFFFF\"", 0, "names no character" },
		{ "a = \"x\001\"", 0, "control character" },
		{ "a = \"\xff\"", 0, "not UTF-8" },
		{ "\"\xff\" = 1", 0, "not UTF-8" },
		{ "a = [1 2]", 0, "wants ',' or ']'" },
		{ "a = [1,,2]", 0, "this kind of value" },
		{ "a = [", 0, "this kind of value" },
		{ "a = [[[[[[[[[[1]]]]]]]]]]", 0, "nested too deep" },
		{ "= 1", 0, "a key is expected" },
		{ "a = 1\rb = 2", 0, "something more" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		json_t *j = NULL;
		struct ck_err err = { 0 };
		int rc = ck_toml_parse(&j, rows[i].text, strlen(rows[i].text), "f", &err);
		char *text = json_dumps(j, JSON_COMPACT);
		if (rows[i].json && (rc < 0 || strcmp(text, rows[i].json) != 0))
			fail_msg("%s: %d %s, %s", rows[i].text, rc, err.msg, text);
		if (!rows[i].json && (rc != -EBADMSG || !strstr(err.msg, rows[i].says)))
			fail_msg("%s: %d %s, %s", rows[i].text, rc, err.msg, text);
		free(text);
		json_decref(j);
	}
	json_t *j = NULL;
	assert_int_equal(ck_toml_parse(&j, "a=\"\0\"", 6, "f", NULL), -EBADMSG);
}

/* A file with a certificate; TEXT gets what is read of it. */
static void pem_cert(const char *name, struct ck_buf *text)
{
	struct mint_cert c = { .cn = name, .ca = true };
	X509 *x = mint_cert(&c, mint_rsa(0), NULL, NULL);

	mint_pem_file(tmp_path(name), x);
	X509_free(x);
	assert_int_equal(ck_file_read(text, tmp_path(name), NULL), 0);
	assert_int_equal(ck_buf_adds(text, "\n", NULL), 0);
}

static void hosts(void **state)
{
	static const char text[] =
	    "server = \"https://upstream.example\"" N "skip_verify = true" N
	    "[host.\"https://m1.example\"]" N "  capabilities = [\"pull\"]" N "  ca = \"one.crt\"" N
	    "  client = [[\"c.pem\",\"/abs/k.pem\"],[\"x\",\"y\"]]" N "  dial_timeout = \"5s\"" N
	    "  [host.\"https://m1.example\".header]" N "    x-a = \"1\"" N
	    "    x-b = [\"2\", \"3\"]" N "    x-c = \"\"" N
	    "[host.\"http://m2.example:5000/v2/proxy/\"]" N "  override_path = true" N
	    "  client = \"both.pem\"" N "  ca = [\"one.crt\",\"two.crt\"]" N
	    "[host.\"m3.example/sub\"]" N "  capabilities = [\"resolve\",\"push\"]" N
	    "  client = [\"one.pem\", \"key.pem\"]" N "[host.\"https://m4.example/v2\"]" N;
	struct ck_hosts h = { 0 };
	struct ck_err err = { 0 };
	CK_BUF both = { 0 };

	(void)state;
	pem_cert("one.crt", &both);
	size_t len_one = both.len;
	pem_cert("two.crt", &both);
	assert_works(ck_hosts_parse(&h, text, strlen(text), tmp_dir, "f", &err), &err);
	assert_string_equal(h.server.url, "https://upstream.example/v2");
	assert_true(h.server.skip_verify);
	assert_int_equal(h.n_mirrors, 4);
	const struct ck_hosts_entry *m = h.mirrors;
	assert_string_equal(m[0].url, "https://m1.example/v2");
	assert_int_equal(m[0].can, CK_CAN_PULL);
	assert_int_equal(m[0].ca.len, len_one);
	assert_memory_equal(m[0].ca.data, both.data, len_one);
	assert_string_equal(m[0].cert_file, tmp_path("c.pem"));
	assert_string_equal(m[0].key_file, "/abs/k.pem");
	assert_false(m[0].skip_verify);
	assert_int_equal(m[0].n_headers, 4);
	assert_string_equal(m[0].headers[0], "x-a: 1");
	assert_string_equal(m[0].headers[1], "x-b: 2");
	assert_string_equal(m[0].headers[2], "x-b: 3");
	assert_string_equal(m[0].headers[3], "x-c;");
	assert_string_equal(m[1].url, "http://m2.example:5000/v2/proxy");
	assert_int_equal(m[1].can, CK_CAN_ALL);
	assert_string_equal(ck_buf_str(&m[1].ca), ck_buf_str(&both));
	assert_string_equal(m[1].cert_file, tmp_path("both.pem"));
	assert_string_equal(m[1].key_file, tmp_path("both.pem"));
	assert_string_equal(m[2].url, "https://m3.example/sub/v2");
	assert_int_equal(m[2].can, CK_CAN_RESOLVE | CK_CAN_PUSH);
	assert_string_equal(m[2].cert_file, tmp_path("one.pem"));
	assert_string_equal(m[3].url, "https://m4.example/v2");
	ck_hosts_free(&h);
}

static void bad_hosts(void **state)
{
	static const struct {
		const char *text, *says;
		int rc;
	} rows[] = {
		{ "server = 1", "f: server is not a string", -EBADMSG },
		{ "server = \"ftp://x\"", "not an http", -EBADMSG },
		{ "host = 1", "host is not a table", -EBADMSG },
		{ "[host]" N "a = 1", "host.\"a\" is not a table", -EBADMSG },
		{ "[host.\"\"]", "URL is empty", -EBADMSG },
		{ "[host.\"https://a b\"]", "not an http", -EBADMSG },
		{ "[host.\"https://u@h\"]", "not an http", -EBADMSG },
		{ "[host.\"https://h/?x=1\"]", "have a query", -EBADMSG },
		{ "[host.\"https://h\"]" N "capabilities = \"pull\"",
		  "f: [host.\"https://h\"]: capabilities is not an array", -EBADMSG },
		{ "[host.\"https://h\"]" N "capabilities = [\"fly\"]", "capabilities is not of",
		  -EBADMSG },
		{ "[host.\"https://h\"]" N "capabilities = [1]", "capabilities is not of",
		  -EBADMSG },
		{ "[host.\"https://h\"]" N "skip_verify = \"yes\"", "skip_verify is not true or",
		  -EBADMSG },
		{ "[host.\"https://h\"]" N "override_path = 1", "override_path is not true or",
		  -EBADMSG },
		{ "[host.\"https://h\"]" N "ca = 1", "ca is not a path", -EBADMSG },
		{ "[host.\"https://h\"]" N "ca = [1]", "ca is not a path", -EBADMSG },
		{ "[host.\"https://h\"]" N "ca = \"missing\"", "missing", -ENOENT },
		{ "[host.\"https://h\"]" N "client = 1", "client is not a path", -EBADMSG },
		{ "[host.\"https://h\"]" N "client = []", "client is not a path", -EBADMSG },
		{ "[host.\"https://h\"]" N "client = [[\"a\",\"b\",\"c\"]]", "client is not a path",
		  -EBADMSG },
		{ "[host.\"https://h\"]" N "header = 1", "header is not a table", -EBADMSG },
		{ "[host.\"https://h\".header]" N "a = 1", "header is not a table", -EBADMSG },
		{ "[host.\"https://h\".header]" N "\"a b\" = \"1\"", "header is not a table",
		  -EBADMSG },
		{ "[host.\"https://h\".header]" N "a = \"x\\r\\ny: z\"", "printable", -EBADMSG },
		{ "[host.\"https://h\"" N, "f line 1", -EBADMSG },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		struct ck_hosts h = { 0 };
		struct ck_err err = { 0 };
		int rc = ck_hosts_parse(&h, rows[i].text, strlen(rows[i].text), tmp_dir, "f", &err);
		if (rc != rows[i].rc || !strstr(err.msg, rows[i].says))
			fail_msg("%s: %d %s", rows[i].text, rc, err.msg);
	}
}

static void host_dir(const char *name, const char *text)
{
	char path[128];

	(void)mkdir(tmp_path("certs"), 0700);
	snprintf(path, sizeof path, "certs/%s", name);
	(void)mkdir(tmp_path(path), 0700);
	snprintf(path, sizeof path, "certs/%s/hosts.toml", name);
	tmp_file(path, text);
}

/* Which file is read for which host. */
static void directories(void **state)
{
	static const struct {
		const char *host, *url;
	} rows[] = {
		{ "a.example", "https://for-a/v2" },
		{ "b.example:5000", "https://for-b/v2" },
		{ "c.example:5000", "https://for-c/v2" },
		{ "other.example", "https://for-all/v2" },
		{ "a.example:5000", "https://for-all/v2" },
	};

	(void)state;
	host_dir("a.example", "[host.\"https://for-a\"]");
	host_dir("b.example:5000", "[host.\"https://for-b\"]");
	host_dir("c.example_5000_", "[host.\"https://for-c\"]");
	host_dir("_default", "[host.\"https://for-all\"]");
	for (size_t i = 0; i < N_OF(rows); i++) {
		struct ck_hosts h = { 0 };
		struct ck_err err = { 0 };
		assert_works(ck_hosts_read(&h, tmp_path("certs"), rows[i].host, &err), &err);
		assert_int_equal(h.n_mirrors, 1);
		assert_string_equal(h.mirrors[0].url, rows[i].url);
		ck_hosts_free(&h);
	}
	struct ck_hosts h = { 0 };
	assert_int_equal(ck_hosts_read(&h, tmp_path("nowhere"), "a.example", NULL), 0);
	assert_int_equal(h.n_mirrors, 0);
	assert_null(h.server.url);
	/* A broken one keeps the client from being opened, and says where. */
	struct ck_registry *r = NULL;
	struct ck_registry_opts o = { .hosts_dir = tmp_path("certs") };
	struct ck_err err = { 0 };
	host_dir("a.example", "[host.\"https://for-a\"]\nx = {}");
	assert_fails(ck_registry_open(&r, "a.example", "x", &o, &err), -EBADMSG, &err,
		     "certs/a.example/hosts.toml line 2");
}

/* Certificates in containerd's own directory count where it has no hosts.toml. */
static void containerds_certs(void **state)
{
	struct ck_registry_opts o = { .hosts_dir = tmp_path("cd"), .certs_dir = tmp_path("none") };
	struct ck_registry *r = NULL;
	struct ck_err err = { 0 };

	(void)state;
	(void)mkdir(tmp_path("cd"), 0700);
	(void)mkdir(tmp_path("cd/h.example"), 0700);
	tmp_file("cd/h.example/x.key", "");
	assert_fails(ck_registry_open(&r, "h.example", "x", &o, &err), -ENOENT, &err, "x.cert");
	tmp_file("cd/h.example/hosts.toml", "");
	assert_works(ck_registry_open(&r, "h.example", "x", &o, &err), &err);
	ck_registry_close(r);
}

static void certs(void **state)
{
	CK_AUTO(ck_certs_free) struct ck_certs c = { 0 };
	struct ck_err err = { 0 };
	CK_BUF both = { 0 };

	(void)state;
	(void)mkdir(tmp_path("d"), 0700);
	(void)mkdir(tmp_path("d/h:1"), 0700);
	assert_works(ck_certs_read(&c, tmp_path("d"), "none", &err), &err);
	assert_int_equal(c.roots.len, 0);
	pem_cert("d/h:1/a.crt", &both);
	pem_cert("d/h:1/b.crt", &both);
	tmp_file("d/h:1/readme", "C");
	tmp_file("d/h:1/x.cert", "");
	assert_fails(ck_certs_read(&c, tmp_path("d"), "h:1", &err), -ENOENT, &err, "x.key");
	tmp_file("d/h:1/x.key", "");
	tmp_file("d/h:1/y.cert", "");
	tmp_file("d/h:1/y.key", "");
	ck_certs_free(&c);
	assert_works(ck_certs_read(&c, tmp_path("d"), "h:1", &err), &err);
	assert_string_equal(ck_buf_str(&c.roots), ck_buf_str(&both));
	assert_string_equal(c.cert_file, tmp_path("d/h:1/x.cert"));
	assert_string_equal(c.key_file, tmp_path("d/h:1/x.key"));
	assert_int_equal(unlink(tmp_path("d/h:1/y.cert")), 0);
	assert_fails(ck_certs_read(&c, tmp_path("d"), "h:1", &err), -ENOENT, &err, "y.cert");
}

static void urls(void **state)
{
	static const struct {
		const char *base, *text, *out, *origin;
		bool tls;
	} rows[] = {
		{ 0, "https://H.Example/a?b=c#d", "https://H.Example/a?b=c", "https://h.example",
		  1 },
		{ 0, "http://h:80/", "http://h:80/", "http://h", 0 },
		{ 0, "https://h:443/x", "https://h:443/x", "https://h", 1 },
		{ 0, "https://h:80/x", "https://h:80/x", "https://h:80", 1 },
		{ 0, "http://[::1]:5/x", "http://[::1]:5/x", "http://[::1]:5", 0 },
		{ "https://h/v2/a/b?x=1", "/c", "https://h/c", "https://h", 1 },
		{ "https://h/v2/a/b?x=1", "c?y=2", "https://h/v2/a/c?y=2", "https://h", 1 },
		{ "https://h/v2/a", "//other/c", "https://other/c", "https://other", 1 },
		{ "https://h/v2/a", "http://other:1/c", "http://other:1/c", "http://other:1", 0 },
		{ 0, "ftp://h/", 0, 0, 0 },
		{ 0, "file:///etc/passwd", 0, 0, 0 },
		{ 0, "http://u@h/", 0, 0, 0 },
		{ 0, "http://u:p@h/", 0, 0, 0 },
		{ 0, "/x", 0, 0, 0 },
		{ 0, "h/x", 0, 0, 0 },
		{ 0, "", 0, 0, 0 },
		{ 0, "http://", 0, 0, 0 },
		{ 0, "http://h/a b", 0, 0, 0 },
		{ 0, "http://h/a\r\nX: y", 0, 0, 0 },
		{ 0, "http://h\\@evil/", 0, 0, 0 },
		{ 0, "http://h:99999/", 0, 0, 0 },
		{ "https://h/", "javascript:x", 0, 0, 0 },
		{ "https://h/", "http://u@h/", 0, 0, 0 },
	};
	static const struct {
		const char *name;
		bool is;
	} local[] = {
		{ "localhost", 1 },	    { "LOCALHOST", 1 },	  { "127.0.0.1", 1 },
		{ "127.255.0.9", 1 },	    { "[::1]", 1 },	  { "128.0.0.1", 0 },
		{ "127.0.0.1.example", 0 }, { "127.0.0.256", 0 }, { "127.1", 0 },
		{ "localhost.example", 0 }, { "[::2]", 0 },	  { "", 0 },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		struct ck_url u = { 0 };
		struct ck_err err = { 0 };
		int rc = ck_url_read(&u, rows[i].base, rows[i].text, &err);
		if (rc != (rows[i].out ? 0 : -EINVAL))
			fail_msg("%s: %d %s", rows[i].text, rc, err.msg);
		if (rc == 0 && (strcmp(u.text, rows[i].out) != 0 ||
				strcmp(u.origin, rows[i].origin) != 0 || u.tls != rows[i].tls))
			fail_msg("%s: %s, %s, %d", rows[i].text, u.text, u.origin, u.tls);
		ck_url_free(&u);
	}
	for (size_t i = 0; i < N_OF(local); i++)
		if (ck_url_is_loopback(local[i].name) != local[i].is)
			fail_msg("%s", local[i].name);
	CK_BUF b = { 0 };
	assert_int_equal(ck_url_escape(&b, "a-._~b/ \xc3\xa4&=", NULL), 0);
	assert_string_equal(ck_buf_str(&b), "a-._~b%2F%20%C3%A4%26%3D");
}

/* ---- TLS -------------------------------------------------------------------------- */

enum { ANSWER_LEN = 160 };

static void hello(void *ctx, const struct stub_req *q, struct stub_conn *c)
{
	const char *location = ctx;

	(void)q;
	if (location && *location)
		stub_replys(c, *location == 'L' ? "302 X" : "401 X", location, "");
	else
		stub_replys(c, "200 OK", "Content-Type: " CK_MEDIA_MANIFEST "\r\n", "{}");
}

static int resolve(const char *host, const struct ck_registry_opts *o, struct ck_err *err)
{
	CK_AUTO(ck_registry_closep) struct ck_registry *r = NULL;
	CK_AUTO(ck_freep) char *type = NULL;
	char digest[CK_DIGEST_STR];
	CK_BUF doc = { 0 };

	memset(err, 0, sizeof *err);
	int rc = ck_registry_open(&r, host, "x", o, err);
	return rc < 0 ? rc : ck_registry_resolve(r, "t", &doc, &type, digest, err);
}

static void pem_key(const char *name, EVP_PKEY *key)
{
	FILE *f = fopen(tmp_path(name), "w");

	assert_true(f && PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL));
	assert_int_equal(fclose(f), 0);
}

/* Whom S, whose certificate is not looked at, sends us to shows one that is: as a redirect, and as
 * the token service, which is not shown credentials. localhost is another host than 127.0.0.1. */
static void skipped_there_alone(struct stub *s, const struct ck_registry_opts *o, const char *cert,
				char answer[ANSWER_LEN])
{
	char auth[256];
	struct ck_registry_opts with = *o;
	struct stub *other = stub_open(
	    &(struct stub_opts){ .answer = hello, .cert = cert, .key = tmp_path("leaf.key") });
	unsigned port = (unsigned)atoi(strchr(stub_host(other), ':') + 1);
	struct ck_err err;

	snprintf(auth, sizeof auth, "{\"auths\":{\"%s\":{\"auth\":\"bWU6c2VjcmV0\"}}}",
		 stub_host(s));
	tmp_file("skip-auth.json", auth);
	with.auth_file = tmp_path("skip-auth.json");
	stub_pause(s);
	snprintf(answer, ANSWER_LEN, "Location: https://localhost:%u/x\r\n", port);
	stub_resume(s);
	assert_fails(resolve(stub_host(s), o, &err), -EPROTO, &err, "skip_verify does not");
	/* At another port of it, it is. */
	stub_pause(s);
	snprintf(answer, ANSWER_LEN, "Location: https://127.0.0.1:%u/x\r\n", port);
	stub_resume(s);
	assert_works(resolve(stub_host(s), o, &err), &err);
	assert_int_equal(stub_count(other, "GET"), 1);
	stub_pause(s);
	snprintf(answer, ANSWER_LEN,
		 "WWW-Authenticate: Bearer realm=\"https://localhost:%u/token\"\r\n", port);
	stub_resume(s);
	assert_fails(resolve(stub_host(s), &with, &err), -EACCES, &err, "skip_verify does not");
	assert_int_equal(stub_count(other, "GET"), 1);
	stub_pause(s);
	*answer = 0;
	stub_resume(s);
	stub_close(other);
}

static void tls(void **state)
{
	struct mint_cert ca = { .cn = "CA", .ca = true };
	struct mint_cert leaf = { .cn = "server", .san = "IP:127.0.0.1" };
	X509 *root = mint_cert(&ca, mint_rsa(0), NULL, NULL);
	X509 *cert = mint_cert(&leaf, mint_rsa(1), root, mint_rsa(0));
	struct ck_registry_opts o = { .timeout_ms = 20000,
				      .hosts_dir = tmp_path("tls-hosts"),
				      .certs_dir = tmp_path("tls-certs") };
	char name[256], other[64], location[ANSWER_LEN] = "";
	struct ck_err err;

	(void)state;
	mint_pem_file(tmp_path("leaf.pem"), cert);
	mint_pem_file(tmp_path("root.pem"), root);
	pem_key("leaf.key", mint_rsa(1));
	struct stub_opts so = { .answer = hello,
				.cert = tmp_path("leaf.pem"),
				.key = tmp_path("leaf.key"),
				.client_ca = tmp_path("root.pem") };
	struct stub *asks = stub_open(&so);
	so.client_ca = NULL;
	so.ctx = location;
	struct stub *s = stub_open(&so);

	/* A certificate that nobody vouches for is no reason to do without. */
	uint64_t start = ck_now_ms();
	assert_fails(resolve(stub_host(s), &o, &err), -EPROTO, &err, "certificate");
	snprintf(name, sizeof name, "may be put into %s/%s,", o.certs_dir, stub_host(s));
	assert_non_null(strstr(err.msg, name));
	assert_true(ck_now_ms() - start < 5000); /* not over and over */
	assert_null(strstr(err.msg, "http://"));
	/* Skipped where the file says so. */
	(void)mkdir(tmp_path("tls-hosts"), 0700);
	snprintf(name, sizeof name, "tls-hosts/%s", stub_host(s));
	(void)mkdir(tmp_path(name), 0700);
	strcat(name, "/hosts.toml");
	tmp_file(name, "skip_verify = true");
	assert_works(resolve(stub_host(s), &o, &err), &err);
	skipped_there_alone(s, &o, tmp_path("leaf.pem"), location);
	assert_int_equal(unlink(tmp_path(name)), 0);
	assert_int_equal(resolve(stub_host(s), &o, &err), -EPROTO);
	/* A root of the host's own. */
	(void)mkdir(tmp_path("tls-certs"), 0700);
	snprintf(name, sizeof name, "tls-certs/%s", stub_host(s));
	(void)mkdir(tmp_path(name), 0700);
	strcat(name, "/root.crt");
	mint_pem_file(tmp_path(name), root);
	assert_works(resolve(stub_host(s), &o, &err), &err);
	/* Which does not help a host that has another name than its certificate. */
	snprintf(other, sizeof other, "localhost%s", strchr(stub_host(s), ':'));
	snprintf(name, sizeof name, "tls-certs/%s", other);
	(void)mkdir(tmp_path(name), 0700);
	strcat(name, "/root.crt");
	mint_pem_file(tmp_path(name), root);
	assert_fails(resolve(other, &o, &err), -EPROTO, &err, "certificate");
	assert_null(strstr(err.msg, "may be put into"));
	/* A file that is something else is named. */
	tmp_file(name, "-----BEGIN CERTIFICATE-----\njunk\n");
	assert_fails(resolve(other, &o, &err), -EBADMSG, &err, "root.crt holds no certificate");
	/* One whose root is known may not send us away from TLS. */
	stub_pause(s);
	strcpy(location, "Location: http://127.0.0.1:1/x\r\n");
	stub_resume(s);
	assert_fails(resolve(stub_host(s), &o, &err), -EPROTO, &err, "without TLS");
	/* And a client's certificate. */
	snprintf(name, sizeof name, "tls-certs/%s", stub_host(asks));
	(void)mkdir(tmp_path(name), 0700);
	strcat(name, "/root.crt");
	mint_pem_file(tmp_path(name), root);
	assert_int_equal(resolve(stub_host(asks), &o, &err), -EPROTO);
	snprintf(name, sizeof name, "tls-certs/%s/me.cert", stub_host(asks));
	mint_pem_file(tmp_path(name), cert);
	snprintf(name, sizeof name, "tls-certs/%s/me.key", stub_host(asks));
	pem_key(name, mint_rsa(1));
	assert_works(resolve(stub_host(asks), &o, &err), &err);
	stub_close(s);
	stub_close(asks);
	X509_free(root);
	X509_free(cert);
}

/* A mirror's own headers and repository, and a registry that stands elsewhere. */
static char last_head[4096], last_target[512];

static void keep_head(void *ctx, const struct stub_req *q, struct stub_conn *c)
{
	const char *location = ctx;

	snprintf(last_head, sizeof last_head, "%s", q->head);
	snprintf(last_target, sizeof last_target, "%s", q->target);
	if (location && strncmp(q->target, "/v2/", 4) == 0)
		stub_replys(c, "307 X", location, "");
	else
		hello(NULL, q, c);
}

static void to_mirrors(void **state)
{
	struct stub_opts so = { .answer = keep_head };
	struct stub *s = stub_open(&so);
	struct ck_registry_opts o = { .timeout_ms = 1000,
				      .hosts_dir = tmp_path("m-hosts"),
				      .certs_dir = tmp_path("none") };
	char text[512];
	struct ck_err err;

	(void)state;
	(void)mkdir(tmp_path("m-hosts"), 0700);
	(void)mkdir(tmp_path("m-hosts/docker.io"), 0700);
	snprintf(text, sizeof text,
		 "server = \"http://127.0.0.1:1\"" N "[host.\"http://%s/v2/proxy\"]" N
		 "override_path = true" N "[host.\"http://%s/v2/proxy\".header]" N "x-me = \"1\"",
		 stub_host(s), stub_host(s));
	tmp_file("m-hosts/docker.io/hosts.toml", text);
	assert_works(resolve("docker.io", &o, &err), &err);
	assert_string_equal(last_target, "/v2/proxy/x/manifests/t?ns=docker.io");
	assert_non_null(strstr(last_head, "x-me: 1\r\n"));
	/* Its headers are for it alone. */
	char location[64];
	struct stub_opts away = { .answer = keep_head, .ctx = location };
	struct stub *s2 = stub_open(&away);
	snprintf(location, sizeof location, "Location: http://%s/x\r\n", stub_host(s));
	snprintf(text, sizeof text, "[host.\"http://%s\".header]" N "x-me = \"1\"", stub_host(s2));
	tmp_file("m-hosts/docker.io/hosts.toml", text);
	assert_works(resolve("docker.io", &o, &err), &err);
	assert_string_equal(last_target, "/x");
	assert_null(strstr(last_head, "x-me"));
	stub_close(s2);
	/* One that may not resolve tags is not asked for any. */
	snprintf(text, sizeof text,
		 "server = \"http://%s\"" N "[host.\"http://127.0.0.1:1\"]" N
		 "capabilities = [\"pull\"]",
		 stub_host(s));
	tmp_file("m-hosts/docker.io/hosts.toml", text);
	assert_works(resolve("docker.io", &o, &err), &err);
	assert_string_equal(last_target, "/v2/x/manifests/t?ns=docker.io");
	stub_close(s);
}

/* HTTP without TLS where it was asked for: TLS is not tried. */
static void plain_http(void **state)
{
	struct stub_opts so = { .answer = keep_head };
	struct stub *s = stub_open(&so);
	const char *port = strchr(stub_host(s), ':') + 1;
	char other[32];
	const char *plain[] = { "other.example", NULL, NULL };
	struct ck_registry_opts o = { .timeout_ms = 10000,
				      .hosts_dir = tmp_path("none"),
				      .certs_dir = tmp_path("none"),
				      .plain_http = plain };
	struct ck_err err;

	(void)state;
	snprintf(other, sizeof other, "127.0.0.1:1%s", port);
	plain[1] = other;
	assert_works(resolve(stub_host(s), &o, &err), &err);
	assert_int_equal(stub_conns(s), 2);
	plain[1] = stub_host(s);
	assert_works(resolve(stub_host(s), &o, &err), &err);
	assert_int_equal(stub_conns(s), 3);
	plain[1] = "127.0.0.1";
	assert_works(resolve(stub_host(s), &o, &err), &err);
	assert_int_equal(stub_conns(s), 4);
	stub_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(toml),
		cmocka_unit_test(hosts),
		cmocka_unit_test(bad_hosts),
		cmocka_unit_test(directories),
		cmocka_unit_test(certs),
		cmocka_unit_test(tls),
		cmocka_unit_test(to_mirrors),
		cmocka_unit_test(plain_http),
		cmocka_unit_test(containerds_certs),
		cmocka_unit_test(urls),
	};

	return cmocka_run_group_tests(tests, stand_group_setup, stand_group_teardown);
}
