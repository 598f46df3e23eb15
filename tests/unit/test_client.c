/* Wrapping by another provider. Unwrapping, and the configuration: test_keyring.c. */
#include "tests/unit/lib/rc.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/json.h"
#include "keyprov/client.h"
#include "keyprov/envelope.h"
#include "keyprov/grpc.h"

static char dir[64], config[96];

static const char optsdata[] = "{\"symkey\":\"SECRET\"}";

/* Makes ENTRY the configuration of the one provider "p". */
static void put_config(json_t *entry)
{
	CK_JSON *doc = json_pack("{s:{s:o}}", "key-providers", "p", entry);
	CK_BUF b = { 0 };

	assert_int_equal(ck_json_dump(&b, doc, NULL), 0);
	assert_int_equal(ck_file_write(config, b.data, b.len, 0600, NULL), 0);
}

/* Wraps OPTSDATA by "p" with VALUE. */
static int wrap(const char *value, struct ck_buf *out, struct ck_err *err)
{
	struct ck_client *c;
	CK_SECRET opts = { 0 };

	assert_rc(ck_client_open(&c, "p", value, err), 0, err);
	assert_rc(ck_secret_new(&opts, strlen(optsdata), err), 0, err);
	memcpy(opts.data, optsdata, opts.len);
	int rc = ck_client_wrap(c, &opts, out, err);
	ck_client_close(c);
	return rc;
}

/* ---- a program ---- */

static json_t *echo(const char *answer)
{
	return json_pack("{s:{s:s, s:[s,s]}}", "cmd", "path", "printf", "args", "%s", answer);
}

/* Byte for byte what skopeo 1.18 sends, for its values. */
static void a_program_gets_ocicrypts_request(void **state)
{
	(void)state;
	static const struct {
		const char *value, *b64;
	} rows[] = { { "aasp:imagekey000", "YWFzcDppbWFnZWtleTAwMA==" },
		     { NULL, "RW5hYmxlZA==" },
		     { "", "RW5hYmxlZA==" },
		     { "a:b", "YTpi" } };
	char seen[96];

	snprintf(seen, sizeof seen, "%s/seen", dir);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		CK_BUF script = { 0 }, want = { 0 }, got = { 0 }, out = { 0 };
		struct ck_err err = { 0 };
		assert_rc(
		    ck_buf_addf(&script, &err,
				"cat >%s; echo '{\"keywrapresults\":{\"annotation\":\"YWI=\"},"
				"\"keyunwrapresults\":{\"optsdata\":null}}'",
				seen),
		    0, &err);
		put_config(json_pack("{s:{s:s, s:[s,s]}, s:s}", "cmd", "path", "/bin/sh", "args",
				     "-c", ck_buf_str(&script), "grpc", "nowhere:1"));
		assert_rc(ck_buf_adds(&out, "-", &err), 0, &err); /* it appends */
		assert_rc(wrap(rows[i].value, &out, &err), 0, &err);
		assert_string_equal(ck_buf_str(&out), "-ab");
		assert_rc(ck_file_read(&got, seen, &err), 0, &err);
		assert_rc(
		    ck_buf_addf(&want, &err,
				"{\"op\":\"keywrap\",\"keywrapparams\":{\"ec\":{\"Parameters\":{"
				"\"p\":[\"%s\"]},\"DecryptConfig\":{\"Parameters\":{}}},"
				"\"optsdata\":\"eyJzeW1rZXkiOiJTRUNSRVQifQ==\"},"
				"\"keyunwrapparams\":{\"dc\":null,\"annotation\":null}}",
				rows[i].b64),
		    0, &err);
		assert_string_equal(ck_buf_str(&got), ck_buf_str(&want));
		(void)unlink(seen);
	}
}

static const struct {
	const char *why, *answer;
	int want;
	const char *says; /* or, where it works, the packet */
} answers[] = {
	{ "Go's", "{\"keywrapresults\":{\"annotation\":\"eHl6\"},\"keyunwrapresults\":{}}", 0,
	  "xyz" },
	{ "Rust's", "{\"keywrapresults\":{\"annotation\":[120,121,122]}}", 0, "xyz" },
	{ "in another case", "{\"KeyWrapResults\":{\"Annotation\":\"eHl6\"}}", 0, "xyz" },
	{ "nothing", "", -EBADMSG, "not valid JSON" },
	{ "a list", "[]", -EBADMSG, "not an object" },
	{ "no results", "{}", -EBADMSG, "no \"annotation\"" },
	{ "the other's results", "{\"keyunwrapresults\":{\"annotation\":\"eHl6\"}}", -EBADMSG,
	  "no \"annotation\"" },
	{ "empty", "{\"keywrapresults\":{\"annotation\":\"\"}}", -EBADMSG, "no \"annotation\"" },
	{ "empty too", "{\"keywrapresults\":{\"annotation\":[]}}", -EBADMSG, "no \"annotation\"" },
	{ "null", "{\"keywrapresults\":{\"annotation\":null}}", -EBADMSG, "no \"annotation\"" },
	{ "no base64", "{\"keywrapresults\":{\"annotation\":\"SECRET!\"}}", -EBADMSG, "base64" },
	{ "no bytes", "{\"keywrapresults\":{\"annotation\":[1,256]}}", -EBADMSG, "not a byte" },
	{ "a number", "{\"keywrapresults\":{\"annotation\":1}}", -EBADMSG, "neither base64 nor" },
	{ "what is no JSON is not quoted", "SECRET", -EBADMSG, "not valid JSON" },
};

static void answers_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
		CK_BUF out = { 0 };
		struct ck_err err = { 0 };
		put_config(echo(answers[i].answer));
		if (wrap("v", &out, &err) != answers[i].want)
			fail_msg("%s: %s", answers[i].why, err.msg);
		if (answers[i].want == 0) {
			assert_string_equal(ck_buf_str(&out), answers[i].says);
			continue;
		}
		assert_says(&err, "key provider p: ");
		assert_says(&err, answers[i].says);
		assert_null(strstr(err.msg, "SECRET"));
		assert_int_equal(out.len, 0);
	}
}

/* The largest packet that an envelope may hold, and one more byte. */
static void packets_are_bounded(void **state)
{
	(void)state;
	char path[96];

	snprintf(path, sizeof path, "%s/answer", dir);
	for (size_t more = 0; more < 2; more++) {
		CK_BUF answer = { 0 }, packet = { 0 }, out = { 0 };
		struct ck_err err = { 0 };
		size_t len = CK_ENVELOPE_PACKET_MAX + more;
		assert_rc(ck_buf_reserve(&packet, len, &err), 0, &err);
		memset(packet.data, 'x', len);
		assert_rc(ck_buf_adds(&answer, "{\"keywrapresults\":{\"annotation\":\"", &err), 0,
			  &err);
		assert_rc(ck_b64_encode(&answer, CK_B64_STD, packet.data, len, &err), 0, &err);
		assert_rc(ck_buf_adds(&answer, "\"}}", &err), 0, &err);
		assert_rc(ck_file_write(path, answer.data, answer.len, 0600, &err), 0, &err);
		put_config(json_pack("{s:{s:s, s:[s]}}", "cmd", "path", "cat", "args", path));
		assert_rc(wrap("v", &out, &err), more ? -EFBIG : 0, &err);
		assert_int_equal(out.len, more ? 0 : len);
	}
	(void)unlink(path);
}

static void programs_that_fail(void **state)
{
	(void)state;
	CK_BUF out = { 0 };
	struct ck_err err = { 0 };

	put_config(json_pack("{s:{s:s, s:[s,s]}}", "cmd", "path", "/bin/sh", "args", "-c",
			     "echo no such key >&2; exit 3"));
	assert_rc(wrap("v", &out, &err), -EIO, &err);
	assert_says(&err, "no such key");
	put_config(json_pack("{s:{s:s}}", "cmd", "path", "/nonexistent/provider"));
	assert_rc(wrap("v", &out, &err), -ENOENT, &err);
	assert_int_equal(out.len, 0);
}

static void split_table(void **state)
{
	(void)state;
	static const struct {
		const char *spec, *name, *value; /* name NULL: refused */
	} rows[] = {
		{ "a", "a", NULL },	 { "a:", "a", "" },	{ "a:b", "a", "b" },
		{ "a:b:c", "a", "b:c" }, { "a::b", "a", ":b" }, { "", NULL, NULL },
		{ ":b", NULL, NULL },
	};
	char name[CK_CLIENT_NAME_MAX], many[CK_CLIENT_NAME_MAX + 1];
	struct ck_err err = { 0 };

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *value = "?";
		assert_rc(ck_client_split(name, &value, rows[i].spec, &err),
			  rows[i].name ? 0 : -EINVAL, &err);
		if (!rows[i].name)
			continue;
		assert_string_equal(name, rows[i].name);
		assert_true((value == NULL) == (rows[i].value == NULL));
		if (value)
			assert_string_equal(value, rows[i].value);
	}
	const char *value;
	memset(many, 'a', sizeof many);
	many[CK_CLIENT_NAME_MAX] = 0;
	assert_rc(ck_client_split(name, &value, many, &err), -EINVAL, &err);
	many[CK_CLIENT_NAME_MAX - 1] = 0;
	assert_rc(ck_client_split(name, &value, many, &err), 0, &err);
}

/* ---- a gRPC server that is not ours: it knows what it is told to ---- */

struct peer {
	int listener;
	const char *method; /* the one it has; others are UNIMPLEMENTED */
	size_t n_calls;	    /* connections to serve */
	char paths[4][80];
	struct ck_buf request, answer; /* the last one's body; what is answered, framed */
	/* of the call at hand */
	size_t at, sent;
	bool done;
	pthread_t thread;
};

static int peer_header(nghttp2_session *h2, const nghttp2_frame *f, const uint8_t *name,
		       size_t name_len, const uint8_t *value, size_t len, uint8_t flags, void *ctx)
{
	struct peer *p = ctx;

	(void)h2, (void)f, (void)flags;
	if (name_len == 5 && memcmp(name, ":path", 5) == 0)
		snprintf(p->paths[p->at], sizeof p->paths[0], "%.*s", (int)len, value);
	return 0;
}

static int peer_data(nghttp2_session *h2, uint8_t flags, int32_t id, const uint8_t *p, size_t len,
		     void *ctx)
{
	(void)h2, (void)flags, (void)id;
	return ck_buf_add(&((struct peer *)ctx)->request, p, len, NULL);
}

static ssize_t peer_answer(nghttp2_session *h2, int32_t id, uint8_t *buf, size_t cap,
			   uint32_t *flags, nghttp2_data_source *src, void *ctx)
{
	struct peer *p = ctx;
	nghttp2_nv trailer = CK_NV("grpc-status", "0");
	size_t left = p->answer.len - p->sent, n = left < cap ? left : cap;

	(void)src;
	memcpy(buf, p->answer.data + p->sent, n);
	p->sent += n;
	if (p->sent == p->answer.len) {
		*flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
		nghttp2_submit_trailer(h2, id, &trailer, 1);
	}
	return (ssize_t)n;
}

static int peer_frame(nghttp2_session *h2, const nghttp2_frame *f, void *ctx)
{
	struct peer *p = ctx;
	nghttp2_nv head[] = { CK_NV(":status", "200"), CK_NV("content-type", "application/grpc"),
			      CK_NV("grpc-status", "12"),
			      CK_NV("grpc-message", p->at ? "not this either" : "no such method") };
	nghttp2_data_provider body = { .read_callback = peer_answer };

	if (f->hd.type != NGHTTP2_DATA || !(f->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	if (strcmp(p->paths[p->at], p->method) == 0)
		nghttp2_submit_response(h2, f->hd.stream_id, head, 2, &body);
	else
		nghttp2_submit_response(h2, f->hd.stream_id, head, 4, NULL);
	return 0;
}

static int peer_closed(nghttp2_session *h2, int32_t id, uint32_t code, void *ctx)
{
	(void)h2, (void)id, (void)code;
	((struct peer *)ctx)->done = true;
	return 0;
}

static bool peer_flush(nghttp2_session *h2, int fd)
{
	const uint8_t *out;
	ssize_t n;

	while ((n = nghttp2_session_mem_send(h2, &out)) > 0)
		if (send(fd, out, (size_t)n, MSG_NOSIGNAL) != n)
			return false;
	return n == 0;
}

static void peer_serve_one(struct peer *p, nghttp2_session_callbacks *cbs)
{
	CK_AUTO(ck_closep) int fd = accept(p->listener, NULL, NULL);
	nghttp2_session *h2;
	uint8_t in[4096];
	ssize_t n;

	nghttp2_session_server_new(&h2, cbs, p);
	nghttp2_submit_settings(h2, NGHTTP2_FLAG_NONE, NULL, 0);
	p->done = false;
	p->sent = 0;
	ck_buf_free(&p->request);
	while (peer_flush(h2, fd) && !p->done && (n = recv(fd, in, sizeof in, 0)) > 0)
		if (nghttp2_session_mem_recv(h2, in, (size_t)n) < 0)
			break;
	nghttp2_session_del(h2);
	/* Closing with something unread would take the answer back. */
	(void)shutdown(fd, SHUT_WR);
	while (recv(fd, in, sizeof in, 0) > 0)
		;
}

static void *peer_main(void *arg)
{
	struct peer *p = arg;
	nghttp2_session_callbacks *cbs;

	nghttp2_session_callbacks_new(&cbs);
	nghttp2_session_callbacks_set_on_header_callback(cbs, peer_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cbs, peer_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cbs, peer_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(cbs, peer_closed);
	for (p->at = 0; p->at < p->n_calls; p->at++)
		peer_serve_one(p, cbs);
	nghttp2_session_callbacks_del(cbs);
	return NULL;
}

static void peer_start(struct peer *p, const char *method, size_t n_calls)
{
	static const char answer[] = "{\"keywrapresults\":{\"annotation\":[120,121,122]}}";
	struct sockaddr_storage ss = { .ss_family = AF_INET };
	socklen_t len = sizeof ss;
	unsigned char addr[16] = { AF_INET, 0, 0, 0, 127, 0, 0, 1 };
	char target[32];

	*p = (struct peer){ .method = method, .n_calls = n_calls };
	assert_int_equal(ck_grpc_encode(&p->answer, CK_GRPC_OUTPUT, answer, strlen(answer), NULL),
			 0);
	p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(p->listener, (struct sockaddr *)addr, sizeof addr), 0);
	assert_int_equal(listen(p->listener, 4), 0);
	assert_int_equal(getsockname(p->listener, (struct sockaddr *)&ss, &len), 0);
	const unsigned char *port = (const unsigned char *)&ss + 2;
	snprintf(target, sizeof target, "127.0.0.1:%d", port[0] << 8 | port[1]);
	put_config(json_pack("{s:s}", "grpc", target));
	assert_int_equal(pthread_create(&p->thread, NULL, peer_main, p), 0);
}

static void peer_free(struct peer *p)
{
	ck_closep(&p->listener);
	ck_buf_free(&p->request);
	ck_buf_free(&p->answer);
}

static void over_grpc_by_either_name(void **state)
{
	(void)state;
	static const char ocicrypts[] = "/keyprovider.KeyProviderService/WrapKey",
			  microsofts[] = "/key_provider.KeyProviderService/WrapKey";
	static const struct {
		const char *method;
		size_t n_calls;
		int want;
	} rows[] = { { ocicrypts, 1, 0 }, { microsofts, 2, 0 }, { "/none", 2, -ENOSYS } };

	for (size_t i = 0; i < 3; i++) {
		struct peer p;
		CK_BUF out = { 0 }, request = { 0 };
		struct ck_err err = { 0 };
		peer_start(&p, rows[i].method, rows[i].n_calls);
		int rc = wrap("aasp:k", &out, &err);
		(void)shutdown(p.listener, SHUT_RDWR); /* if it still waits for a call */
		assert_int_equal(pthread_join(p.thread, NULL), 0);
		assert_rc(rc, rows[i].want, &err);
		if (rc == 0)
			assert_string_equal(ck_buf_str(&out), "xyz");
		else
			assert_says(&err, "no such method"); /* of the name that counts */
		assert_string_equal(p.paths[0], ocicrypts);
		assert_string_equal(p.paths[1], rows[i].n_calls > 1 ? microsofts : "");
		assert_rc(
		    ck_grpc_decode(&request, CK_GRPC_INPUT, p.request.data, p.request.len, &err), 0,
		    &err);
		assert_memory_equal(request.data, "{\"op\":\"keywrap\",", 16);
		peer_free(&p);
	}
}

static int init(void **state)
{
	struct ck_err err;

	(void)state;
	snprintf(dir, sizeof dir, "/tmp/ck-test-client.XXXXXX");
	if (ck_secret_init(&err) || !mkdtemp(dir))
		return -1;
	snprintf(config, sizeof config, "%s/config.json", dir);
	return setenv("OCICRYPT_KEYPROVIDER_CONFIG", config, 1);
}

static int clean(void **state)
{
	(void)state;
	(void)unlink(config);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_program_gets_ocicrypts_request),
		cmocka_unit_test(answers_table),
		cmocka_unit_test(packets_are_bounded),
		cmocka_unit_test(programs_that_fail),
		cmocka_unit_test(split_table),
		cmocka_unit_test(over_grpc_by_either_name),
	};

	return cmocka_run_group_tests(tests, init, clean);
}
