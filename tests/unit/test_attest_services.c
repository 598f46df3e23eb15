/*
 * identity, certsource, service and the HTTP client below them, against prepared
 * answers: what is asked, what is remembered, what is tried again, what is refused.
 */
#include "attest/service.h"

#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <time.h>
#include <unistd.h>

#include "attest/certsource.h"
#include "attest/identity.h"
#include "base/file.h"
#include "base/json.h"
#include "tests/unit/lib/canned.h"
#include "tests/unit/lib/mint.h"
#include "tests/unit/lib/unit.h"

static struct ck_http *http;

static struct ck_call in_time(void)
{
	return (struct ck_call){ http, ck_now_ms() + 20000 };
}

static int get(struct canned *c, unsigned tries, struct ck_http_res *res, struct ck_err *err)
{
	const struct ck_call call = in_time();
	struct ck_http_req req = { .url = canned_url(c), .tries = tries };

	return ck_service_do(&call, &req, res, err);
}

/* ---- the HTTP client ---------------------------------------------------------- */

#define RETRY(status, after)                                                                       \
	"HTTP/1.1 " status "\r\nRetry-After: " after "\r\nContent-Length: 0\r\n"                   \
	"x-ms-request-id: old\r\nConnection: close\r\n\r\n"

static void tried_again(void **state)
{
	static const char *const answers[] = { CANNED_JSON("408 X", "{}"),
					       CANNED_JSON("500 X", "{}"),
					       CANNED_JSON("200 OK", "{\"a\":1}") };
	struct canned *c = canned_open(answers, N_OF(answers));
	struct ck_err err = { 0 };
	CK_HTTP_RES res = { 0 };

	(void)state;
	assert_works(get(c, 0, &res, &err), &err);
	assert_int_equal(res.status, 200);
	assert_string_equal(ck_buf_str(&res.body), "{\"a\":1}");
	assert_int_equal(canned_count(c), 3);
	canned_close(c);
}

static void retry_after(void **state)
{
	static const char *const answers[] = { RETRY("429 X", "1"), CANNED_JSON("200 OK", "{}") };
	struct canned *c = canned_open(answers, N_OF(answers));
	struct ck_err err = { 0 };
	CK_HTTP_RES res = { 0 };
	uint64_t start = ck_now_ms();

	(void)state;
	assert_works(get(c, 0, &res, &err), &err);
	assert_int_equal(res.status, 200);
	assert_true(ck_now_ms() - start >= 1000);
	assert_string_equal(res.request_id, ""); /* not the earlier try's */
	canned_close(c);
	/* Longer than there is time: the answer as it is, at once. */
	static const char *const later[] = { RETRY("429 X", "3600") };
	CK_HTTP_RES cut = { 0 };
	c = canned_open(later, N_OF(later));
	start = ck_now_ms();
	assert_works(get(c, 0, &cut, &err), &err);
	assert_int_equal(cut.status, 429);
	assert_true(ck_now_ms() - start < 1000);
	assert_int_equal(canned_count(c), 1);
	canned_close(c);
}

static void bounded_tries(void **state)
{
	static const char *const answers[] = { RETRY("503 X", "0"), RETRY("503 X", "0"),
					       RETRY("503 X", "0"), RETRY("503 X", "0") };
	struct canned *c = canned_open(answers, N_OF(answers));
	struct ck_err err = { 0 };
	CK_HTTP_RES res = { 0 };

	(void)state;
	assert_works(get(c, 3, &res, &err), &err);
	assert_int_equal(res.status, 503);
	assert_int_equal(canned_count(c), 3);
	canned_close(c);
}

/* A request that was sent is not sent again: the service may have acted on it. */
static void not_tried_again(void **state)
{
	static const struct {
		const char *answer;
		int rc;
	} rows[] = {
		{ CANNED_JSON("400 X", "{}"), 0 },
		{ CANNED_JSON("401 X", "{}"), 0 },
		{ CANNED_JSON("403 X", "{}"), 0 },
		{ CANNED_JSON("302 X\r\nLocation: http://127.0.0.1:1/", "{}"), 0 },
		{ "", -EPROTO },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nabc",
		  -EPROTO },
		{ "SSH-2.0-nothing\r\n", -EPROTO },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		struct canned *c = canned_open(&rows[i].answer, 1);
		struct ck_err err = { 0 };
		CK_HTTP_RES res = { 0 };
		int rc = get(c, 0, &res, &err);
		if (rc != rows[i].rc || canned_count(c) != 1)
			fail_msg("row %zu: %d %s, %zu requests", i, rc, err.msg, canned_count(c));
		canned_close(c);
	}
}

static void too_late(void **state)
{
	static const char *const silent[] = { NULL };
	struct canned *c = canned_open(silent, 1);
	const struct ck_call call = { http, ck_now_ms() + 300 };
	struct ck_http_req req = { .url = canned_url(c) };
	struct ck_err err = { 0 };
	CK_HTTP_RES res = { 0 };
	uint64_t start = ck_now_ms();

	(void)state;
	assert_fails(ck_service_do(&call, &req, &res, &err), -ETIMEDOUT, &err, "127.0.0.1");
	assert_true(ck_now_ms() - start < 3000);
	while (ck_now_ms() < call.end_ms) /* curl rounds, and may end a moment before */
		usleep(200);
	assert_fails(ck_service_do(&call, &req, &res, &err), -ETIMEDOUT, &err, "no time left");
	assert_int_equal(canned_count(c), 1);
	canned_close(c);
}

static void nobody_there(void **state)
{
	struct ck_http_req req = { .url = "http://127.0.0.1:1/", .tries = 3 };
	const struct ck_call call = in_time();
	struct ck_err err = { 0 };
	CK_HTTP_RES res = { 0 };
	uint64_t start = ck_now_ms();

	(void)state;
	assert_fails(ck_service_do(&call, &req, &res, &err), -ECONNREFUSED, &err, "127.0.0.1");
	/* Two pauses: at least half of 250 and of 500 ms. */
	assert_true(ck_now_ms() - start >= 375);
}

#define SILENT "silent.example"

static sem_t names_answered, names_ended;

/* The C library's, but for one name whose servers are silent. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
		struct addrinfo **out)
{
	int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

	if (!node || strcmp(node, SILENT) != 0) {
		*(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
		return real(node, service, hints, out);
	}
	while (sem_wait(&names_answered) < 0)
		;
	sem_post(&names_ended);
	return EAI_AGAIN;
}

static void *answer_in_time(void *arg)
{
	(void)poll(NULL, 0, 3000);
	sem_post(&names_answered);
	sem_wait(&names_ended);
	return arg;
}

/* Name servers that say nothing do not make a request outlive its deadline. */
static void silent_name_servers(void **state)
{
	struct ck_http_req req = { .url = "http://" SILENT "/", .tries = 1 };
	const struct ck_call call = { http, ck_now_ms() + 300 };
	struct ck_err err = { 0 };
	CK_HTTP_RES res = { 0 };
	pthread_t later;
	uint64_t start = ck_now_ms();

	(void)state;
	sem_init(&names_answered, 0, 0);
	sem_init(&names_ended, 0, 0);
	assert_int_equal(pthread_create(&later, NULL, answer_in_time, NULL), 0);
	assert_fails(ck_service_do(&call, &req, &res, &err), -ETIMEDOUT, &err, SILENT);
	assert_true(ck_now_ms() - start < 2000);
	pthread_join(later, NULL);
}

static void too_big(void **state)
{
	static const char *const answers[] = { CANNED_JSON("200 OK", "0123456789") };
	struct canned *c = canned_open(answers, 1);
	const struct ck_call call = in_time();
	struct ck_http_req req = { .url = canned_url(c), .max_body = 9 };
	struct ck_err err = { 0 };
	CK_HTTP_RES res = { 0 };

	(void)state;
	assert_int_equal(ck_service_do(&call, &req, &res, &err), -EFBIG);
	canned_close(c);
}

/* ---- refusals ------------------------------------------------------------------ */

#define TOKEN64 "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9abcdefghijklmnopqrstuvwxyz012345"
#define HEX96                                                                                      \
	"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223242526272829"     \
	"2a2b2c2d2e2f"

static void refusals(void **state)
{
	static const struct {
		long status;
		const char *body;
		int rc;
		const char *msg;
	} rows[] = {
		{ 403,
		  "{\"error\":{\"code\":\"Forbidden\",\"message\":\"policy wants "
		  "x-ms-sevsnpvm-vmpl = 0, token has 2\"}}",
		  -EACCES,
		  "Release of key k refused by h (403 Forbidden): policy wants x-ms-sevsnpvm-vmpl "
		  "= 0, token has 2" },
		{ 400,
		  "{\"error\":\"invalid_request\",\"error_description\":\"Identity not found\"}",
		  -EACCES, "Release of key k refused by h (400 Bad Request): Identity not found" },
		{ 400, "{\"error\":\"invalid_scope\"}", -EACCES,
		  "Release of key k refused by h (400 Bad Request): invalid_scope" },
		{ 404, "{\"error\":{\"code\":\"KeyNotFound\"}}", -EACCES,
		  "Release of key k refused by h (404 Not Found): KeyNotFound" },
		{ 403, "", -EACCES, "Release of key k refused by h (403 Forbidden)" },
		{ 403, "<html>", -EACCES, "Release of key k refused by h (403 Forbidden)" },
		{ 403, "{\"error\":[1]}", -EACCES,
		  "Release of key k refused by h (403 Forbidden)" },
		{ 403, "{\"error\":{\"message\":7}}", -EACCES,
		  "Release of key k refused by h (403 Forbidden)" },
		{ 401, "{\"error\":{\"message\":\"token " TOKEN64 " is bad\"}}", -EACCES,
		  "Release of key k refused by h (401 Unauthorized): token [masked] is bad" },
		{ 403, "{\"error\":{\"message\":\"wants " HEX96 "\"}}", -EACCES,
		  "Release of key k refused by h (403 Forbidden): wants " HEX96 },
		{ 403, "{\"error\":{\"message\":\"two\\nlines\\u001b[31m\"}}", -EACCES,
		  "Release of key k refused by h (403 Forbidden): two?lines?[31m" },
		{ 503, "{}", -EPROTO, "Release of key k refused by h (503 Service Unavailable)" },
		{ 299, "{}", -EPROTO, "Release of key k refused by h (299 unexpected status)" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		struct ck_http_res res = { .status = rows[i].status };
		struct ck_err err = { 0 };
		assert_int_equal(ck_buf_adds(&res.body, rows[i].body, NULL), 0);
		int rc =
		    ck_service_refused(&res, &err, "Release of key %s refused by %s", "k", "h");
		assert_int_equal(rc, rows[i].rc);
		assert_string_equal(err.msg, rows[i].msg);
		ck_http_res_free(&res);
	}
	/* Very long: cut at a whole character, and said so. */
	struct ck_http_res res = { .status = 403 };
	struct ck_err err = { 0 };
	assert_int_equal(ck_buf_adds(&res.body, "{\"error\":{\"message\":\"x", NULL), 0);
	for (int i = 0; i < 2000; i++)
		assert_int_equal(ck_buf_adds(&res.body, "\xc3\xa4", NULL), 0);
	assert_int_equal(ck_buf_adds(&res.body, "\"}}", NULL), 0);
	assert_int_equal(ck_service_refused(&res, &err, "No"), -EACCES);
	size_t n = strlen(err.msg);
	assert_true(n > 300 && n < 500);
	assert_string_equal(err.msg + n - 5, "\xc3\xa4...");
	ck_http_res_free(&res);
}

/* ---- tokens -------------------------------------------------------------------- */

#define IMDS_TOKEN(t, till)                                                                        \
	CANNED_JSON("200 OK", "{\"access_token\":\"" t "\",\"expires_on\":\"" till "\","           \
			      "\"token_type\":\"Bearer\"}")
#define FOREVER "4102444800" /* 2100 */

static struct ck_identity *identity(const char *imds, const char *authority, const char *client)
{
	const struct ck_identity_opts o = { .imds_url = imds,
					    .authority_url = authority,
					    .resource = "https://managedhsm.azure.net",
					    .client_id = client };
	struct ck_identity *i = NULL;
	struct ck_err err = { 0 };

	assert_works(ck_identity_open(&i, &o, &err), &err);
	return i;
}

static int token(struct ck_identity *i, struct ck_buf *out, struct ck_err *err)
{
	const struct ck_call call = in_time();

	ck_buf_free(out);
	return ck_identity_token(i, &call, out, err);
}

static void imds_token_remembered(void **state)
{
	static const char *const answers[] = { IMDS_TOKEN("one", FOREVER),
					       IMDS_TOKEN("two", FOREVER) };
	struct canned *c = canned_open(answers, N_OF(answers));
	struct ck_identity *i = identity(canned_url(c), NULL, "client 1&x=y");
	CK_BUF t = { 0 };
	struct ck_err err = { 0 };

	(void)state;
	assert_works(token(i, &t, &err), &err);
	assert_string_equal(ck_buf_str(&t), "one");
	assert_non_null(strstr(canned_request(c, 0),
			       "GET /metadata/identity/oauth2/token?api-version=2018-02-01"
			       "&resource=https%3A%2F%2Fmanagedhsm.azure.net"
			       "&client_id=client%201%26x%3Dy HTTP/1.1\r\n"));
	assert_non_null(strstr(canned_request(c, 0), "\r\nMetadata: true\r\n"));
	assert_null(strcasestr(canned_request(c, 0), "x-forwarded-for"));
	assert_works(token(i, &t, &err), &err);
	assert_string_equal(ck_buf_str(&t), "one");
	assert_int_equal(canned_count(c), 1);
	/* Only the token that was refused is forgotten. */
	ck_identity_reject(i, "another");
	assert_works(token(i, &t, &err), &err);
	assert_int_equal(canned_count(c), 1);
	ck_identity_reject(i, "one");
	assert_works(token(i, &t, &err), &err);
	assert_string_equal(ck_buf_str(&t), "two");
	ck_identity_close(i);
	canned_close(c);
}

static void token_soon_over(void **state)
{
	char soon[256], later[256];
	const char *const answers[] = { soon, later };

	(void)state;
	snprintf(soon, sizeof soon,
		 CANNED_JSON("200 OK", "{\"access_token\":\"soon\",\"expires_on\":\"%lld\"}"),
		 (long long)time(NULL) + 290); /* within the five minutes */
	snprintf(later, sizeof later,
		 CANNED_JSON("200 OK", "{\"access_token\":\"later\",\"expires_in\":400}"));
	struct canned *c = canned_open(answers, N_OF(answers));
	struct ck_identity *i = identity(canned_url(c), NULL, NULL);
	CK_BUF t = { 0 };
	struct ck_err err = { 0 };
	assert_works(token(i, &t, &err), &err);
	assert_string_equal(ck_buf_str(&t), "soon");
	for (int n = 0; n < 3; n++) {
		assert_works(token(i, &t, &err), &err);
		assert_string_equal(ck_buf_str(&t), "later");
	}
	assert_int_equal(canned_count(c), 2);
	assert_null(strstr(canned_request(c, 0), "client_id"));
	ck_identity_close(i);
	canned_close(c);
}

static void bad_token_answers(void **state)
{
	static const struct {
		const char *answer;
		int rc;
		const char *says;
	} rows[] = {
		{ CANNED_JSON("400 Bad", "{\"error\":\"invalid_request\",\"error_description\":"
					 "\"Identity not found\"}"),
		  -EACCES, "refused by IMDS at http://127.0.0.1" },
		{ CANNED_JSON("410 Gone", "{}"), -EACCES, "410 Gone" },
		{ CANNED_JSON("200 OK", "no JSON"), -EBADMSG, "not valid JSON" },
		{ CANNED_JSON("200 OK", "{\"access_token\" \"s3cret\"}"), -EBADMSG,
		  "not valid JSON (line 1" },
		{ CANNED_JSON("200 OK", "[]"), -EBADMSG, "not a JSON object" },
		{ CANNED_JSON("200 OK", "{}"), -EBADMSG, "\"access_token\" is missing" },
		{ CANNED_JSON("200 OK", "{\"access_token\":\"a\"}"), -EBADMSG, "end is not given" },
		{ CANNED_JSON("200 OK", "{\"access_token\":\"a\",\"expires_on\":\"x\"}"), -EBADMSG,
		  "end is not given" },
		{ IMDS_TOKEN("", FOREVER), -EBADMSG, "empty" },
		{ IMDS_TOKEN("a\\r\\nX-Evil: 1", FOREVER), -EBADMSG, "malformed" },
		{ IMDS_TOKEN("a b", FOREVER), -EBADMSG, "malformed" },
	};

	(void)state;
	for (size_t n = 0; n < N_OF(rows); n++) {
		struct canned *c = canned_open(&rows[n].answer, 1);
		struct ck_identity *i = identity(canned_url(c), NULL, NULL);
		CK_BUF t = { 0 };
		struct ck_err err = { 0 };
		assert_fails(token(i, &t, &err), rows[n].rc, &err, rows[n].says);
		assert_null(strstr(err.msg, "s3cret"));
		assert_int_equal(t.len, 0);
		ck_identity_close(i);
		canned_close(c);
	}
}

static void workload_identity(void **state)
{
	static const char *const answers[] = {
		CANNED_JSON("200 OK", "{\"access_token\":\"aad1\",\"expires_in\":3600}"),
		CANNED_JSON("200 OK", "{\"access_token\":\"aad2\",\"expires_in\":3600}"),
		CANNED_JSON("401 X",
			    "{\"error\":\"invalid_client\",\"error_description\":"
			    "\"AADSTS700024: Client assertion is not within its valid time\"}"),
	};
	struct canned *c = canned_open(answers, N_OF(answers));
	char file[] = "/tmp/ck-federated-XXXXXX";
	CK_BUF t = { 0 };
	struct ck_err err = { 0 };

	(void)state;
	close(mkstemp(file));
	setenv("AZURE_CLIENT_ID", "11111111-2222", 1);
	setenv("AZURE_TENANT_ID", "tenant-1", 1);
	setenv("AZURE_FEDERATED_TOKEN_FILE", file, 1);
	setenv("AZURE_AUTHORITY_HOST", canned_url(c), 1);
	assert_works(ck_file_write(file, "first+/=\n", 9, 0600, &err), &err);
	struct ck_identity *i = identity("http://127.0.0.1:1", NULL, "unused");
	assert_works(token(i, &t, &err), &err);
	assert_string_equal(ck_buf_str(&t), "aad1");
	assert_non_null(strstr(canned_request(c, 0), "POST /tenant-1/oauth2/v2.0/token HTTP/1.1"));
	assert_non_null(strstr(canned_request(c, 0), "application/x-www-form-urlencoded"));
	assert_non_null(strstr(
	    canned_request(c, 0),
	    "\r\n\r\nclient_id=11111111-2222"
	    "&scope=https%3A%2F%2Fmanagedhsm.azure.net%2F.default"
	    "&grant_type=client_credentials&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth"
	    "%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=first%2B%2F%3D"));
	/* The file rotates: read anew for each exchange. */
	assert_works(ck_file_write(file, "second", 6, 0600, &err), &err);
	ck_identity_reject(i, "aad1");
	assert_works(token(i, &t, &err), &err);
	assert_non_null(strstr(canned_request(c, 1), "client_assertion=second"));
	ck_identity_reject(i, "aad2");
	assert_fails(token(i, &t, &err), -EACCES, &err, "AADSTS700024");
	assert_int_equal(unlink(file), 0);
	assert_fails(token(i, &t, &err), -ENOENT, &err, "AZURE_FEDERATED_TOKEN_FILE");
	ck_identity_close(i);
	/* What is configured goes before AZURE_AUTHORITY_HOST. */
	i = identity("http://127.0.0.1:1", "http://127.0.0.1:2", NULL);
	assert_works(ck_file_write(file, "third", 5, 0600, &err), &err);
	assert_fails(token(i, &t, &err), -ECONNREFUSED, &err, "127.0.0.1:2/tenant-1");
	ck_identity_close(i);
	unlink(file);
	/* Two of three are not a workload identity; the client is then IMDS's. */
	unsetenv("AZURE_TENANT_ID");
	static const char *const imds_answers[] = { IMDS_TOKEN("imds", FOREVER) };
	struct canned *imds = canned_open(imds_answers, 1);
	i = identity(canned_url(imds), NULL, NULL);
	assert_works(token(i, &t, &err), &err);
	assert_non_null(strstr(canned_request(imds, 0), "&client_id=11111111-2222 "));
	ck_identity_close(i);
	canned_close(imds);
	unsetenv("AZURE_CLIENT_ID");
	unsetenv("AZURE_FEDERATED_TOKEN_FILE");
	unsetenv("AZURE_AUTHORITY_HOST");
	canned_close(c);
}

static void base_urls(void **state)
{
	static const struct {
		const char *url;
		bool tls;
		const char *out; /* NULL: refused */
	} rows[] = {
		{ "http://169.254.169.254", false, "http://169.254.169.254" },
		{ "https://login.microsoftonline.com/", true, "https://login.microsoftonline.com" },
		{ "https://host/a//", true, "https://host/a" },
		{ "http://127.0.0.1:80", true, "http://127.0.0.1:80" },
		{ "http://localhost", true, "http://localhost" },
		{ "http://[::1]:8", true, "http://[::1]:8" },
		{ "http://login.microsoftonline.com", true, NULL },
		{ "http://127.0.0.1.evil.example", true, NULL },
		{ "http://localhost@evil.example", true, NULL },
		{ "ftp://host", false, NULL },
		{ "https://", false, NULL },
		{ "https:///", false, NULL },
		{ "http://", false, NULL },
		{ "", false, NULL },
		{ "https://host?x", false, NULL },
		{ "https://host#x", false, NULL },
		{ "https://user@host", false, NULL },
		{ "https://host x", false, NULL },
		{ "https://host\n", false, NULL },
	};
	struct ck_err err = { 0 };

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		CK_AUTO(ck_freep) char *out = NULL;
		int rc = ck_base_url(&out, rows[i].url, rows[i].tls, "the_url", &err);
		if (rc != (rows[i].out ? 0 : -EINVAL))
			fail_msg("%s: %d", rows[i].url, rc);
		if (rows[i].out)
			assert_string_equal(out, rows[i].out);
	}
}

/* ---- certificates --------------------------------------------------------------- */

static EVP_PKEY *p384;
static char *leaf_pem, *other_pem; /* p384's certificate; somebody else's */

/* A report of TCB 0x11, signed by p384. */
static void make_report(uint8_t b[CK_SNP_REPORT_LEN])
{
	unsigned char der[160];
	const unsigned char *at = der;
	size_t n = sizeof der;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	memset(b, 0, CK_SNP_REPORT_LEN);
	b[0] = 2;
	b[0x34] = 1;
	b[0x180] = 0x11;
	assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha384(), NULL, p384), 1);
	assert_int_equal(EVP_DigestSign(ctx, der, &n, b, 0x2a0), 1);
	EVP_MD_CTX_free(ctx);
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)n);
	assert_true(BN_bn2lebinpad(ECDSA_SIG_get0_r(sig), b + 0x2a0, 72) == 72 &&
		    BN_bn2lebinpad(ECDSA_SIG_get0_s(sig), b + 0x2a0 + 72, 72) == 72);
	ECDSA_SIG_free(sig);
}

static char *thim_json(const char *leaf, const char *tcbm)
{
	CK_BUF text = { 0 };
	CK_JSON *j = json_pack("{s:s,s:s,s:s}", "vcekCert", leaf, "tcbm", tcbm, "certificateChain",
			       other_pem);

	assert_int_equal(ck_json_dump(&text, j, NULL), 0);
	return strdup(ck_buf_str(&text));
}

static char *thim_answer(const char *leaf, const char *tcbm)
{
	CK_AUTO(ck_freep) char *json = thim_json(leaf, tcbm);
	char *out = NULL;

	assert_true(asprintf(&out, CANNED_JSON("200 OK", "%s"), json) > 0);
	return out;
}

static int find(struct ck_certsource *s, const uint8_t *b, struct ck_buf *pem, struct ck_err *err)
{
	const struct ck_call call = in_time();
	static const struct ck_buf no_table;
	struct ck_snp_report r;

	ck_buf_free(pem);
	assert_works(ck_snp_report_parse(&r, b, CK_SNP_REPORT_LEN, err), err);
	return ck_certsource_find(s, &call, &r, &no_table, pem, err);
}

static void thim_remembered_as_one(void **state)
{
	CK_AUTO(ck_freep) char *stale = thim_answer(leaf_pem, "0000000000000010");
	CK_AUTO(ck_freep) char *fits = thim_answer(leaf_pem, "0000000000000011");
	CK_AUTO(ck_freep) char *other = thim_answer(other_pem, "0000000000000011");
	const char *const answers[] = { stale, other, fits };
	struct canned *c = canned_open(answers, N_OF(answers));
	struct ck_certsource *s = NULL;
	uint8_t b[CK_SNP_REPORT_LEN];
	CK_BUF pem = { 0 };
	struct ck_err err = { 0 };

	(void)state;
	make_report(b);
	assert_works(ck_certsource_open(&s, NULL, canned_url(c), &err), &err);
	assert_fails(find(s, b, &pem, &err), -ESTALE, &err,
		     "for TCB 0000000000000010, the SNP report is of TCB 0000000000000011");
	/* The TCB alone is not enough: the certificate beside it must have signed. */
	assert_fails(find(s, b, &pem, &err), -EBADMSG, &err, "no P-384 key");
	for (int i = 0; i < 3; i++) {
		assert_works(find(s, b, &pem, &err), &err);
		assert_true(strncmp(ck_buf_str(&pem), leaf_pem, strlen(leaf_pem)) == 0);
		assert_string_equal(ck_buf_str(&pem) + strlen(leaf_pem), other_pem);
	}
	assert_int_equal(canned_count(c), 3);
	assert_non_null(
	    strstr(canned_request(c, 0), "GET /metadata/THIM/amd/certification HTTP/1.1"));
	assert_non_null(strstr(canned_request(c, 0), "\r\nMetadata: true\r\n"));
	ck_certsource_close(s);
	canned_close(c);
}

static void host_file_first(void **state)
{
	CK_AUTO(ck_freep) char *json = thim_json(leaf_pem, "0000000000000011");
	char file[] = "/tmp/ck-host-certs-XXXXXX";
	static const char *const refused[] = { CANNED_JSON("404 X", "{}") };
	struct canned *c = canned_open(refused, 1);
	struct ck_certsource *s = NULL;
	uint8_t b[CK_SNP_REPORT_LEN];
	CK_BUF pem = { 0 };
	CK_BUF text = { 0 };
	struct ck_err err = { 0 };

	(void)state;
	close(mkstemp(file));
	make_report(b);
	assert_works(ck_b64_encode(&text, CK_B64_STD, json, strlen(json), &err), &err);
	assert_works(ck_buf_adds(&text, "\n", &err), &err);
	assert_works(ck_file_write(file, text.data, text.len, 0600, &err), &err);
	assert_works(ck_certsource_open(&s, file, canned_url(c), &err), &err);
	assert_works(find(s, b, &pem, &err), &err);
	assert_int_equal(canned_count(c), 0);
	/* It does not fit, or is no such file: THIM is asked. */
	assert_works(ck_file_write(file, "!!", 2, 0600, &err), &err);
	assert_fails(find(s, b, &pem, &err), -EACCES, &err,
		     "VCEK certificates refused by THIM at http://127.0.0.1");
	assert_int_equal(canned_count(c), 1);
	ck_certsource_close(s);
	unlink(file);
	canned_close(c);
}

static char *pem_of(X509 *cert)
{
	BIO *mem = BIO_new(BIO_s_mem());
	char *p;

	assert_true(PEM_write_bio_X509(mem, cert));
	long n = BIO_get_mem_data(mem, &p);
	char *out = strndup(p, (size_t)n);
	BIO_free(mem);
	X509_free(cert);
	return out;
}

static int setup(void **state)
{
	const struct mint_cert c = { .cn = "SEV-VCEK" };
	const struct ck_http_opts o = { 0 };
	struct ck_err err = { 0 };

	(void)state;
	unsetenv("http_proxy");
	p384 = EVP_EC_gen("P-384");
	leaf_pem = pem_of(mint_cert(&c, p384, NULL, NULL));
	other_pem = pem_of(mint_cert(&c, mint_rsa(0), NULL, NULL));
	return ck_http_open(&http, &o, &err);
}

static int teardown(void **state)
{
	(void)state;
	ck_http_close(http);
	EVP_PKEY_free(p384);
	free(leaf_pem);
	free(other_pem);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tried_again),
		cmocka_unit_test(retry_after),
		cmocka_unit_test(bounded_tries),
		cmocka_unit_test(not_tried_again),
		cmocka_unit_test(too_late),
		cmocka_unit_test(nobody_there),
		cmocka_unit_test(silent_name_servers),
		cmocka_unit_test(too_big),
		cmocka_unit_test(refusals),
		cmocka_unit_test(imds_token_remembered),
		cmocka_unit_test(token_soon_over),
		cmocka_unit_test(bad_token_answers),
		cmocka_unit_test(workload_identity),
		cmocka_unit_test(base_urls),
		cmocka_unit_test(thim_remembered_as_one),
		cmocka_unit_test(host_file_first),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
