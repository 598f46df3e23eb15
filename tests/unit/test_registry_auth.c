/* Credentials, tokens, and whom they are shown to. */
#include "tests/unit/lib/regstand.h"

#include "fs/registry/authfile.h"
#include "fs/registry/challenge.h"
#include "fs/registry/token.h"

static struct stand st;

static int setup(void **state)
{
	(void)state;
	stand_open(&st);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	stand_close(&st);
	return 0;
}

static int fetch(struct ck_registry *r, struct ck_err *err)
{
	static struct taken taken;
	struct ck_registry_taker taker = { take, &taken };
	struct ck_registry_want w = want_of(10, 100);
	struct ck_registry_fetched f;

	memset(&taken, 0, sizeof taken);
	memset(err, 0, sizeof *err);
	int rc = ck_registry_fetch(r, &w, &taker, &f, err);
	if (rc == 0)
		assert_has(&taken, 10, 100);
	return rc;
}

/* What ST wants to see from now on. */
static void demand(struct stand *s, const char *needs, const char *challenge, const char *token)
{
	stub_pause(s->s);
	s->needs = needs;
	s->challenge = challenge;
	s->token = token;
	stub_resume(s->s);
}

static const char *bearer_at(struct stand *s)
{
	static char text[256];

	snprintf(text, sizeof text,
		 "WWW-Authenticate: Bearer realm=\"http://%s/token\",service=\"reg\","
		 "scope=\"repository:r/x:pull\"\r\n",
		 stub_host(s->s));
	return text;
}

/* A file of credentials for ST; ENTRY is what is behind its name. */
static const char *auth_file(struct stand *s, const char *entry)
{
	char text[1024];

	snprintf(text, sizeof text, "{\"auths\":{\"%s\":%s}}", stub_host(s->s), entry);
	tmp_file("auth.json", text);
	return tmp_path("auth.json");
}

/* base64 of me:secret */
#define ME "{\"auth\":\"bWU6c2VjcmV0\"}"

static struct ck_registry *client(const char *file)
{
	return client_of(&st, (struct ck_registry_opts){ .timeout_ms = 2000, .auth_file = file });
}

static void anonymous_token(void **state)
{
	CK_AUTO(ck_registry_closep) struct ck_registry *r = client(NULL);
	struct ck_err err;

	(void)state;
	demand(&st, "Bearer t0k3n", bearer_at(&st), "{\"token\":\"t0k3n\",\"expires_in\":300}");
	assert_works(fetch(r, &err), &err);
	assert_string_equal(st.token_auth, "/token?service=reg&scope=repository%3Ar%2Fx%3Apull - ");
	assert_works(fetch(r, &err), &err);
	assert_works(fetch(r, &err), &err);
	assert_int_equal(stub_count(st.s, "GET /token"), 1);
	assert_int_equal(st.n_refused, 1);
	/* It is refused in mid-mount: a new one. */
	demand(&st, "Bearer second", bearer_at(&st), "{\"access_token\":\"second\"}");
	assert_works(fetch(r, &err), &err);
	assert_int_equal(stub_count(st.s, "GET /token"), 2);
	assert_int_equal(st.n_refused, 2);
	/* One that is never good enough. */
	demand(&st, "Bearer third", bearer_at(&st), "{\"token\":\"other\"}");
	assert_fails(fetch(r, &err), -EACCES, &err, "401 (unauthorized)");
	assert_int_equal(st.n_refused, 5);
}

/* A token that is about to expire is replaced before it is refused. */
static void expiring_token(void **state)
{
	CK_AUTO(ck_registry_closep) struct ck_registry *r = client(NULL);
	struct ck_err err;

	(void)state;
	demand(&st, "Bearer a", bearer_at(&st), "{\"token\":\"a\",\"expires_in\":1}");
	assert_works(fetch(r, &err), &err);
	(void)poll(NULL, 0, 1010);
	demand(&st, "Bearer b", bearer_at(&st), "{\"token\":\"b\",\"expires_in\":100}");
	assert_works(fetch(r, &err), &err);
	assert_int_equal(st.n_refused, 1);
	assert_int_equal(stub_count(st.s, "GET /token"), 2);
}

static void token_with_password(void **state)
{
	CK_AUTO(ck_registry_closep) struct ck_registry *r = client(auth_file(&st, ME));
	struct ck_err err;

	(void)state;
	demand(&st, "Bearer x", bearer_at(&st), "{\"token\":\"x\"}");
	assert_works(fetch(r, &err), &err);
	assert_string_equal(st.token_auth,
			    "/token?service=reg&scope=repository%3Ar%2Fx%3Apull&account=me "
			    "Basic bWU6c2VjcmV0 ");
	/* The service refuses them. */
	CK_AUTO(ck_registry_closep) struct ck_registry *again = client(tmp_path("auth.json"));
	demand(&st, "Bearer x", bearer_at(&st), NULL);
	assert_fails(fetch(again, &err), -EACCES, &err, "were refused by");
	assert_null(strstr(err.msg, "c2VjcmV0"));
}

static void token_with_identity(void **state)
{
	CK_AUTO(ck_registry_closep)
	struct ck_registry *r =
	    client(auth_file(&st, "{\"auth\":\"bWU6c2VjcmV0\",\"identitytoken\":\"id&1\"}"));
	struct ck_err err;

	(void)state;
	demand(&st, "Bearer x", bearer_at(&st), "{\"access_token\":\"x\"}");
	assert_works(fetch(r, &err), &err);
	assert_string_equal(st.token_auth,
			    "/token - grant_type=refresh_token&service=reg&client_id=cloakfs&"
			    "scope=repository%3Ar%2Fx%3Apull&refresh_token=id%261");
}

static void token_from_file(void **state)
{
	CK_AUTO(ck_registry_closep)
	struct ck_registry *r = client(auth_file(&st, "{\"registrytoken\":\"ready\"}"));
	struct ck_err err;

	(void)state;
	demand(&st, "Bearer ready", bearer_at(&st), NULL);
	assert_works(fetch(r, &err), &err);
	assert_int_equal(stub_count(st.s, "GET /token"), 0);
}

static void basic(void **state)
{
	static const char challenge[] = "WWW-Authenticate: Negotiate\r\n"
					"WWW-Authenticate: Basic realm=\"r\"\r\n";
	CK_AUTO(ck_registry_closep) struct ck_registry *r = client(auth_file(&st, ME));
	struct ck_err err;

	(void)state;
	demand(&st, "Basic bWU6c2VjcmV0", challenge, NULL);
	assert_works(fetch(r, &err), &err);
	assert_works(fetch(r, &err), &err);
	assert_int_equal(st.n_refused, 1);
	/* The password was changed in the file, too: read anew. */
	demand(&st, "Basic bWU6bmV3", challenge, NULL);
	(void)auth_file(&st, "{\"username\":\"me\",\"password\":\"new\"}");
	assert_works(fetch(r, &err), &err);
	demand(&st, "Basic nothing", challenge, NULL);
	assert_fails(fetch(r, &err), -EACCES, &err, "auth.json were refused");
	CK_AUTO(ck_registry_closep) struct ck_registry *nobody = client(NULL);
	assert_fails(fetch(nobody, &err), -EACCES, &err, "none were found for 127.0.0.1");
}

/* The token service is out of order for a moment. */
static void token_service_fails(void **state)
{
	CK_AUTO(ck_registry_closep) struct ck_registry *r = client(NULL);
	struct stand service;
	struct ck_err err;

	(void)state;
	stand_open(&service);
	demand(&st, "Bearer x", bearer_at(&service), NULL);
	stand_close(&service);
	assert_fails(fetch(r, &err), -ECONNREFUSED, &err, "getting a token");
	demand(&st, "Bearer x", bearer_at(&st), "{\"token\":\"a b\"}");
	assert_fails(fetch(r, &err), -EPROTO, &err, "bytes that no token has");
	demand(&st, "Bearer x", bearer_at(&st), "{\"token\":\"x\"}");
	assert_works(fetch(r, &err), &err);
}

/* Who sees the credentials: the registry and its token service, and nobody that they redirect to.
 */
static void kept_from_others(void **state)
{
	CK_AUTO(ck_registry_closep) struct ck_registry *r = client(auth_file(&st, ME));
	char to[128], own[128];
	struct stand store;
	struct ck_err err;

	(void)state;
	stand_open(&store);
	demand(&st, "Basic bWU6c2VjcmV0", "WWW-Authenticate: Basic realm=\"r\"\r\n", NULL);
	snprintf(to, sizeof to, "to http://%s/blobs/x", stub_host(store.s));
	snprintf(own, sizeof own, "to http://%s/blobs/x", stub_host(st.s));
	SCRIPT(&st, to);
	assert_works(fetch(r, &err), &err);
	assert_int_equal(stub_count(store.s, "GET /blobs/x"), 1);
	assert_null(strcasestr(said(&store), "authorization"));
	/* A challenge of theirs is not met. */
	CK_AUTO(ck_registry_closep) struct ck_registry *again = client(tmp_path("auth.json"));
	demand(&store, "Basic bWU6c2VjcmV0", "WWW-Authenticate: Basic realm=\"r\"\r\n", NULL);
	SCRIPT(&st, to);
	assert_fails(fetch(again, &err), -EACCES, &err, "401");
	assert_null(strcasestr(said(&store), "authorization"));
	/* To itself they go along. */
	SCRIPT(&st, own);
	assert_works(fetch(again, &err), &err);
	assert_int_equal(stub_count(st.s, "GET /blobs/x"), 1);
	stand_close(&store);
}

/* A URL of the registry's choice that is somebody else's gets nothing, and cannot ask for it. */
static void foreign_locations(void **state)
{
	CK_AUTO(ck_registry_closep) struct ck_registry *r = client(auth_file(&st, ME));
	struct stand other;
	char url[128];
	struct ck_registry_req q = { .method = "PUT", .path = url, .push = true };
	struct ck_err err = { 0 };
	CK_HTTP_RES res = { 0 };

	(void)state;
	stand_open(&other);
	snprintf(url, sizeof url, "http://%s/v2/r/x/blobs/uploads/1", stub_host(other.s));
	demand(&other, "Bearer x", bearer_at(&other), "{\"token\":\"x\"}");
	assert_int_equal(fetch(r, &err), 0);
	assert_fails(ck_registry_do(r, &q, &res, &err), -EACCES, &err, "401");
	assert_null(strcasestr(said(&other), "authorization"));
	assert_int_equal(stub_count(other.s, "GET /token"), 0);
	stand_close(&other);
}

static void realms(void **state)
{
	static const struct {
		const char *realm, *origin;
		bool anonymous, with_creds;
	} rows[] = {
		{ "https://auth.example/t", "https://r.example", true, true },
		{ "https://auth.example/t", "http://r.example", true, true },
		{ "https://r.example/t?a=b", "https://r.example", true, true },
		{ "http://r.example/t", "https://r.example", false, false },
		{ "http://auth.example/t", "https://r.example", false, false },
		{ "http://r.example:8080/t", "http://r.example", true, true },
		{ "http://auth.example/t", "http://r.example", true, false },
		{ "http://r.example.evil/t", "http://r.example", true, false },
		{ "http://127.0.0.1:5001/t", "https://127.0.0.1:5000", true, true },
		{ "http://localhost/t", "http://127.0.0.1:5000", true, true },
		{ "http://[::1]:5/t", "http://localhost:5000", true, true },
		{ "http://auth.example/t", "http://localhost:5000", true, false },
		{ "http://127.0.0.1/t", "https://r.example", false, false },
		{ "http://127.0.0.1.evil/t", "https://127.0.0.1", false, false },
		{ "http://user@r.example/t", "http://r.example", false, false },
		{ "ftp://r.example/t", "http://r.example", false, false },
		{ "/t", "http://r.example", false, false },
		{ "", "http://r.example", false, false },
		{ "https://r.example/a b", "https://r.example", false, false },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		int a = ck_token_realm_check(rows[i].realm, rows[i].origin, false, NULL);
		int b = ck_token_realm_check(rows[i].realm, rows[i].origin, true, NULL);
		if (a != (rows[i].anonymous ? 0 : -EPROTO) ||
		    b != (rows[i].with_creds ? 0 : -EPROTO))
			fail_msg("%s from %s: %d %d", rows[i].realm, rows[i].origin, a, b);
	}
}

static void token_answers(void **state)
{
	enum { NOW = 1800000000 }; /* 2027-01-15T08:00:00Z */
	static const struct {
		const char *text, *token; /* NULL: refused */
		uint64_t lifetime_s;
	} rows[] = {
		{ "{\"token\":\"a\"}", "a", 60 },
		{ "{\"access_token\":\"a\"}", "a", 60 },
		{ "{\"token\":\"\",\"access_token\":\"b\"}", "b", 60 },
		{ "{\"token\":\"a\",\"expires_in\":300}", "a", 300 },
		{ "{\"token\":\"a\",\"expires_in\":5}", "a", 5 },
		{ "{\"token\":\"a\",\"expires_in\":9999999999}", "a", 86400 },
		{ "{\"token\":\"a\",\"expires_in\":300,\"issued_at\":\"2027-01-15T07:59:00Z\"}",
		  "a", 240 },
		{ "{\"token\":\"a\",\"expires_in\":300,"
		  "\"issued_at\":\"2027-01-15T09:59:00.123456789+02:00\"}",
		  "a", 240 },
		{ "{\"token\":\"a\",\"expires_in\":300,\"issued_at\":\"2027-01-15T02:29:00-05:"
		  "30\"}",
		  "a", 240 },
		/* Clocks that do not agree. */
		{ "{\"token\":\"a\",\"expires_in\":300,\"issued_at\":\"2027-01-15T06:00:00Z\"}",
		  "a", 30 },
		{ "{\"token\":\"a\",\"expires_in\":300,\"issued_at\":\"2027-01-15T09:00:00Z\"}",
		  "a", 300 },
		{ "{\"token\":\"a\",\"expires_in\":300,\"issued_at\":\"yesterday\"}", "a", 300 },
		{ "{\"token\":\"a\",\"more\":[1,{}]}", "a", 60 },
		{ "{}", NULL, 0 },
		{ "[]", NULL, 0 },
		{ "", NULL, 0 },
		{ "{\"token\":1}", NULL, 0 },
		{ "{\"token\":\"a\\nb\"}", NULL, 0 },
		{ "{\"token\":\"a\\r\\nX: y\"}", NULL, 0 },
		{ "{\"token\":\"a\",\"expires_in\":-1}", NULL, 0 },
		{ "{\"token\":\"a\",\"expires_in\":\"300\"}", NULL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		CK_BUF out = { 0 };
		uint64_t ms = 0;
		struct ck_err err = { 0 };
		int rc = ck_token_parse(&out, &ms, rows[i].text, strlen(rows[i].text), NOW, &err);
		if (!rows[i].token && rc != -EPROTO)
			fail_msg("%s: %d", rows[i].text, rc);
		if (rows[i].token && (rc < 0 || strcmp(ck_buf_str(&out), rows[i].token) != 0 ||
				      ms != rows[i].lifetime_s * 1000))
			fail_msg("%s: %d %s, %zu ms", rows[i].text, rc, err.msg, (size_t)ms);
	}
}

static void challenges(void **state)
{
	static const struct {
		const char *value;
		int rc;
		bool basic, bearer;
		const char *realm, *service, *scope;
	} rows[] = {
		{ "Bearer realm=\"https://a/t\",service=\"s\",scope=\"x y\"", 0, false, true,
		  "https://a/t", "s", "x y" },
		{ "bearer Realm=https, SERVICE = s", 0, false, true, "https", "s", NULL },
		{ "Bearer realm=\"a\\\"b\\\\c\"", 0, false, true, "a\"b\\c", NULL, NULL },
		{ "Bearer realm=\"a,b=c\",error=\"x\"", 0, false, true, "a,b=c", NULL, NULL },
		{ "Basic realm=\"x\"", 0, true, false, NULL, NULL, NULL },
		{ "Basic", 0, true, false, NULL, NULL, NULL },
		{ "Negotiate, Basic realm=\"x\", Bearer realm=\"y\"", 0, true, true, "y", NULL,
		  NULL },
		{ "Bearer realm=\"y\", Basic realm=\"x\", charset=\"UTF-8\"", 0, true, true, "y",
		  NULL, NULL },
		{ "Negotiate YWJj==, Bearer realm=\"y\"", 0, false, true, "y", NULL, NULL },
		{ "Bearer realm=\"1\", Bearer realm=\"2\", service=\"3\"", 0, false, true, "1",
		  NULL, NULL },
		{ "Bearer realm=\"1\",realm=\"2\"", 0, false, true, "1", NULL, NULL },
		{ " , ,Bearer  realm=\"1\" , , service=\"2\",", 0, false, true, "1", "2", NULL },
		{ "Bearer", 0, false, true, NULL, NULL, NULL },
		{ "Digest realm=\"x\"", 0, false, false, NULL, NULL, NULL },
		{ "", 0, false, false, NULL, NULL, NULL },
		{ "Bearer realm=\"x", -EBADMSG, false, true, NULL, NULL, NULL },
		{ "Bearer realm=\"x\\", -EBADMSG, false, true, NULL, NULL, NULL },
		{ "Bearer realm=\"x\"service=\"y\"", -EBADMSG, false, true, "x", NULL, NULL },
		{ "realm=\"x\"", -EBADMSG, false, false, NULL, NULL, NULL },
		{ "\"Bearer\"", -EBADMSG, false, false, NULL, NULL, NULL },
		{ "Bearer \x80", -EBADMSG, false, true, NULL, NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		struct ck_challenge c = { 0 };
		struct ck_err err = { 0 };
		int rc = ck_challenge_parse(&c, rows[i].value, &err);
#define SAME(a, b) ((a) && (b) ? strcmp(a, b) == 0 : (a) == (b))
		if (rc != rows[i].rc || c.basic != rows[i].basic || c.bearer != rows[i].bearer ||
		    !SAME(c.realm, rows[i].realm) || !SAME(c.service, rows[i].service) ||
		    !SAME(c.scope, rows[i].scope))
			fail_msg("%s: %d %s, %d %d %s %s %s", rows[i].value, rc, err.msg, c.basic,
				 c.bearer, c.realm, c.service, c.scope);
		ck_challenge_free(&c);
	}
}

/* ---- files ------------------------------------------------------------------------- */

static const char *text_of(const struct ck_secret *s)
{
	return s->len ? (const char *)s->data : "";
}

static void entries(void **state)
{
	static const struct {
		const char *auths, *host, *repo, *user;
	} rows[] = {
		{ "\"r.example\":{\"auth\":\"YTox\"}", "r.example", "x/y", "a" },
		{ "\"r.example\":{\"auth\":\"YTox\"}", "r.example:5000", "x/y", "" },
		{ "\"r.example:5000\":{\"auth\":\"YTox\"}", "r.example", "x/y", "" },
		{ "\"r.example\":{\"auth\":\"YTox\"}", "other.r.example", "x/y", "" },
		{ "\"r.example\":{\"auth\":\"YTox\"},\"r.example/x\":{\"auth\":\"Yjoy\"}",
		  "r.example", "x/y", "b" },
		{ "\"r.example/x/y\":{\"auth\":\"Yzoz\"},\"r.example/x\":{\"auth\":\"Yjoy\"},"
		  "\"r.example\":{\"auth\":\"YTox\"}",
		  "r.example", "x/y", "c" },
		{ "\"r.example/x/y\":{\"auth\":\"Yzoz\"},\"r.example/x\":{\"auth\":\"Yjoy\"}",
		  "r.example", "x/yy", "b" },
		{ "\"r.example/x\":{\"auth\":\"Yjoy\"},\"r.example\":{\"auth\":\"YTox\"}",
		  "r.example", "xx", "a" },
		{ "\"r.example/x/y/z\":{\"auth\":\"Yjoy\"}", "r.example", "x/y", "" },
		{ "\"https://r.example/v1/\":{\"auth\":\"YTox\"}", "r.example", "x", "a" },
		{ "\"http://r.example\":{\"auth\":\"YTox\"}", "r.example", "x", "a" },
		{ "\"R.Example\":{\"auth\":\"YTox\"}", "r.example", "x", "a" },
		{ "\"https://index.docker.io/v1/\":{\"auth\":\"YTox\"}", "docker.io", "library/x",
		  "a" },
		{ "\"docker.io\":{\"auth\":\"YTox\"}", "docker.io", "library/x", "a" },
		{ "\"docker.io/"
		  "library\":{\"auth\":\"Yjoy\"},\"index.docker.io\":{\"auth\":\"YTox\"}",
		  "docker.io", "library/x", "b" },
		{ "\"index.docker.io\":{\"auth\":\"YTox\"}", "r.example", "x", "" },
		{ "\"r.example\":{}", "r.example", "x", "" },
		{ "\"r.example\":{\"username\":\"u\",\"password\":\"p\"}", "r.example", "x", "u" },
		{ "", "r.example", "x", "" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		CK_CREDS c = { 0 };
		struct ck_err err = { 0 };
		char text[1024];
		snprintf(text, sizeof text, "{\"auths\":{%s},\"HttpHeaders\":{}}", rows[i].auths);
		tmp_file("a.json", text);
		int rc = ck_authfile_find(&c, tmp_path("a.json"), rows[i].host, rows[i].repo,
					  UINT64_MAX, NULL, &err);
		if (rc < 0 || strcmp(text_of(&c.user), rows[i].user) != 0)
			fail_msg("row %zu: %d %s, \"%s\"", i, rc, err.msg, text_of(&c.user));
		assert_int_equal(c.source[0] != 0, rows[i].user[0] != 0);
	}
}

static void bad_files(void **state)
{
	static const struct {
		const char *text;
		int rc;
		const char *says;
	} rows[] = {
		{ "{", -EBADMSG, "bad.json" },
		{ "[]", -EBADMSG, "bad.json is not a JSON object" },
		{ "{\"auths\":[]}", -EBADMSG, "bad.json" },
		{ "{\"auths\":{\"h\":1}}", -EBADMSG, "\"h\" is not an object" },
		{ "{\"auths\":{\"h\":{\"auth\":1}}}", -EBADMSG, "the entry \"h\"" },
		{ "{\"auths\":{\"h\":{\"auth\":\"secret!\"}}}", -EBADMSG, "the entry \"h\"" },
		{ "{\"auths\":{\"h\":{\"auth\":\"c2VjcmV0\"}}}", -EBADMSG, "user:password" },
		{ "{\"credHelpers\":{\"h\":1}}", -EBADMSG, "is not a string" },
		{ "{\"credHelpers\":{\"h\":\"../x\"}}", -EBADMSG, "no name of a helper" },
		{ "{\"credsStore\":\"a b\"}", -EBADMSG, "no name of a helper" },
		{ "{\"credsStore\":\"is-not-there\"}", -EACCES, "docker-credential-is-not-there" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		CK_CREDS c = { 0 };
		struct ck_err err = { 0 };
		tmp_file("bad.json", rows[i].text);
		assert_fails(ck_authfile_find(&c, tmp_path("bad.json"), "h", "x",
					      ck_now_ms() + 5000, NULL, &err),
			     rows[i].rc, &err, rows[i].says);
		if (strstr(err.msg, "secret"))
			fail_msg("row %zu tells: %s", i, err.msg);
	}
	CK_CREDS c = { 0 };
	struct ck_err err = { 0 };
	assert_int_equal(ck_authfile_find(&c, tmp_path("no.json"), "h", "x", 0, NULL, &err),
			 -ENOENT);
	tmp_file("file", "{}");
	assert_int_equal(ck_authfile_find(&c, tmp_path("file/no.json"), "h", "x", 0, NULL, &err),
			 -ENOENT);
	/* A client says so when it is opened. */
	struct ck_registry *r = NULL;
	struct ck_registry_opts o = { .auth_file = tmp_path("no.json") };
	assert_fails(ck_registry_open(&r, "h", "x", &o, &err), -ENOENT, &err, "no.json");
	tmp_file("bad.json", "{");
	o.auth_file = tmp_path("bad.json");
	assert_fails(ck_registry_open(&r, "h", "x", &o, &err), -EBADMSG, &err, "bad.json");
}

/* Each place is looked at in its turn. */
static void places(void **state)
{
	static const char *const dirs[] = { "run/containers", ".config/containers", ".docker" };
	static const char *const files[] = { "run/containers/auth.json",
					     ".config/containers/auth.json",
					     ".docker/config.json" };
	static const char *const auths[] = { "{\"auths\":{\"a\":{\"auth\":\"YTox\"}}}",
					     "{\"auths\":{\"b\":{\"auth\":\"Yjoy\"}}}",
					     "{\"auths\":{\"c\":{\"auth\":\"Yzoz\"},"
					     "\"a\":{\"auth\":\"Yzoz\"}}}" };
	static const char *const hosts[] = { "a", "b", "c" };

	(void)state;
	(void)mkdir(tmp_path("run"), 0700);
	(void)mkdir(tmp_path(".config"), 0700);
	setenv("XDG_RUNTIME_DIR", tmp_path("run"), 1);
	for (size_t i = 0; i < 3; i++) {
		(void)mkdir(tmp_path(dirs[i]), 0700);
		tmp_file(files[i], auths[i]);
	}
	for (size_t i = 0; i < 3; i++) {
		CK_CREDS c = { 0 };
		struct ck_err err = { 0 };
		assert_works(ck_authfile_find(&c, NULL, hosts[i], "x", 0, NULL, &err), &err);
		assert_string_equal(text_of(&c.user), hosts[i]);
		assert_string_equal(c.source, tmp_path(files[i]));
	}
	/* A name that was given is the only place. */
	tmp_file("only.json", "{}");
	setenv("REGISTRY_AUTH_FILE", tmp_path("only.json"), 1);
	CK_CREDS c = { 0 };
	struct ck_err err = { 0 };
	assert_works(ck_authfile_find(&c, NULL, "a", "x", 0, NULL, &err), &err);
	assert_int_equal(c.user.len, 0);
	unsetenv("REGISTRY_AUTH_FILE");
	unsetenv("XDG_RUNTIME_DIR");
	/* docker's own directory. */
	(void)mkdir(tmp_path("d"), 0700);
	tmp_file("d/config.json", "{\"auths\":{\"e\":{\"auth\":\"YTox\"}}}");
	setenv("DOCKER_CONFIG", tmp_path("d"), 1);
	assert_works(ck_authfile_find(&c, NULL, "e", "x", 0, NULL, &err), &err);
	assert_string_equal(text_of(&c.user), "a");
	unsetenv("DOCKER_CONFIG");
}

/* ---- helpers ------------------------------------------------------------------------ */

static void helper(const char *name, const char *script)
{
	char file[64], text[1024], path[4096];

	snprintf(path, sizeof path, "%s:%s", tmp_dir, getenv("PATH"));
	if (strncmp(getenv("PATH"), tmp_dir, strlen(tmp_dir)) != 0)
		setenv("PATH", path, 1);
	snprintf(file, sizeof file, "docker-credential-%s", name);
	snprintf(text, sizeof text, "#!/bin/sh\n%s\n", script);
	tmp_file(file, text);
	assert_int_equal(chmod(tmp_path(file), 0700), 0);
}

static void helpers(void **state)
{
	static const struct {
		const char *name, *script, *file;
		int rc;
		const char *user, *password, *identity, *says;
	} rows[] = {
		{ "good",
		  "read s; [ \"$1\" = get ] && printf '{\"ServerURL\":\"%s\",\"Username\":\"%s\","
		  "\"Secret\":\"pw\"}' \"$s\" \"$s\"",
		  "{\"credsStore\":\"good\"}", 0, "h:1", "pw", "", NULL },
		{ "tok", "echo '{\"Username\":\"<token>\",\"Secret\":\"idt\"}'",
		  "{\"credHelpers\":{\"h:1\":\"tok\"}}", 0, "", "", "idt", NULL },
		{ "none", "echo 'credentials not found in native keychain'; exit 1",
		  "{\"credsStore\":\"none\"}", 0, "", "", "", NULL },
		{ "none2", "echo 'credentials not found in native keychain'; exit 1",
		  "{\"credHelpers\":{\"h:1\":\"none2\"},\"auths\":{\"h:1\":{\"auth\":\"YTox\"}}}",
		  0, "a", "1", "", NULL },
		{ "before", "echo '{\"Username\":\"helper\",\"Secret\":\"s\"}'",
		  "{\"credHelpers\":{\"h:1\":\"before\"},\"auths\":{\"h:1\":{\"auth\":\"YTox\"}}}",
		  0, "helper", "s", "", NULL },
		{ "behind", "echo '{\"Username\":\"helper\",\"Secret\":\"s\"}'",
		  "{\"credsStore\":\"behind\",\"auths\":{\"h:1\":{}}}", 0, "helper", "s", "",
		  NULL },
		{ "other", "echo '{\"Username\":\"helper\",\"Secret\":\"s\"}'",
		  "{\"credHelpers\":{\"h:2\":\"other\"}}", 0, "", "", "", NULL },
		{ "broken", "echo locked >&2; exit 3", "{\"credsStore\":\"broken\"}", -EACCES, "",
		  "", "", "docker-credential-broken ended with status 3: locked" },
		{ "noise", "echo hello", "{\"credsStore\":\"noise\"}", -EBADMSG, "", "", "",
		  "docker-credential-noise" },
		{ "flood", "yes", "{\"credsStore\":\"flood\"}", -EACCES, "", "", "", "flood" },
		{ "slow", "sleep 100", "{\"credsStore\":\"slow\"}", -EACCES, "", "", "",
		  "no answer in time" },
	};
	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		CK_CREDS c = { 0 };
		struct ck_err err = { 0 };
		helper(rows[i].name, rows[i].script);
		tmp_file("h.json", rows[i].file);
		int rc = ck_authfile_find(&c, tmp_path("h.json"), "h:1", "x", ck_now_ms() + 1000,
					  NULL, &err);
		if (rc != rows[i].rc || strcmp(text_of(&c.user), rows[i].user) != 0 ||
		    strcmp(text_of(&c.password), rows[i].password) != 0 ||
		    strcmp(text_of(&c.identity), rows[i].identity) != 0 ||
		    (rows[i].says && !strstr(err.msg, rows[i].says)))
			fail_msg("%s: %d %s, %s", rows[i].name, rc, err.msg, text_of(&c.user));
	}
	/* The last one, which is slow, given up long before its time is up. */
	CK_CREDS c = { 0 };
	struct ck_err err = { 0 };
	const atomic_bool cancel = true;
	int rc = ck_authfile_find(&c, tmp_path("h.json"), "h:1", "x", ck_now_ms() + 20000, &cancel,
				  &err);
	assert_int_equal(rc, -ECANCELED);
	assert_int_equal(err.code, -ECANCELED);
}

/* Who is asked for credentials and says nothing does not hold up who has given up. */
static void *cancel_once_asked(void *arg)
{
	struct stat s;

	while (stat(tmp_path("asked"), &s) < 0 || s.st_size == 0)
		(void)poll(NULL, 0, 5);
	atomic_store((atomic_bool *)arg, true);
	return NULL;
}

static void helper_given_up(void **state)
{
	char text[512];
	struct ck_registry_taker none = { take, NULL };
	struct ck_registry_want w = want_of(10, 100);
	struct ck_registry_fetched f;
	struct ck_err err = { 0 };
	atomic_bool cancel = false;
	pthread_t t;

	(void)state;
	snprintf(text, sizeof text, "echo $$ >%s; exec sleep 1000", tmp_path("asked"));
	helper("hangs", text);
	tmp_file("h.json", "{\"credsStore\":\"hangs\"}");
	CK_AUTO(ck_registry_closep)
	struct ck_registry *r = client_of(&st, (struct ck_registry_opts){
						   .timeout_ms = 60000,
						   .auth_file = tmp_path("h.json"),
					       });
	demand(&st, "Basic x", "WWW-Authenticate: Basic realm=\"r\"\r\n", NULL);
	w.cancel = &cancel;
	uint64_t start = ck_now_ms();
	assert_int_equal(pthread_create(&t, NULL, cancel_once_asked, &cancel), 0);
	int rc = ck_registry_fetch(r, &w, &none, &f, &err);
	pthread_join(t, NULL);
	assert_fails(rc, -ECANCELED, &err, "given up");
	CK_CREDS c = { 0 };
	assert_int_equal(
	    ck_authfile_find(&c, tmp_path("h.json"), "h", "x", start + 60000, &cancel, &err),
	    -ECANCELED);
	assert_true(ck_now_ms() - start < 5000);
}

int main(void)
{
#define STAND(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		STAND(anonymous_token),		 STAND(expiring_token),
		STAND(token_with_password),	 STAND(token_with_identity),
		STAND(token_from_file),		 STAND(basic),
		STAND(token_service_fails),	 STAND(kept_from_others),
		STAND(foreign_locations),	 cmocka_unit_test(realms),
		cmocka_unit_test(token_answers), cmocka_unit_test(challenges),
		cmocka_unit_test(entries),	 cmocka_unit_test(bad_files),
		cmocka_unit_test(places),	 cmocka_unit_test(helpers),
		STAND(helper_given_up),
	};
	struct ck_err err = { 0 };

	if (ck_secret_init(&err) < 0)
		return 1;
	return cmocka_run_group_tests(tests, stand_group_setup, stand_group_teardown);
}
