/* What registries, and those between us and them, could do to get at credentials, or to keep us
 * busy. */
#include "tests/unit/lib/regstand.h"

#include <openssl/pem.h>

#include "fs/registry/endpoint.h"
#include "tests/unit/lib/mint.h"

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

static int resolve(struct ck_registry *r, struct ck_err *err)
{
	CK_AUTO(ck_freep) char *type = NULL;
	CK_BUF doc = { 0 };
	char digest[CK_DIGEST_STR];

	return ck_registry_resolve(r, "t", &doc, &type, digest, err);
}

static void demand(const char *needs, const char *challenge, const char *token)
{
	stub_pause(st.s);
	st.needs = needs;
	st.challenge = challenge;
	st.token = token;
	stub_resume(st.s);
}

/* A client of ST with ENTRY as its credentials. */
static struct ck_registry *client(const char *entry)
{
	char text[1024];

	snprintf(text, sizeof text, "{\"auths\":{\"%s\":%s}}", stub_host(st.s), entry);
	tmp_file("auth.json", text);
	return client_of(&st, (struct ck_registry_opts){ .timeout_ms = 2000,
							 .auth_file = tmp_path("auth.json") });
}

/* What is on this machine is not asked for from another, in plain HTTP and with a password. */
static void past_proxies(void **state)
{
	CK_AUTO(ck_registry_closep)
	struct ck_registry *r = client("{\"auth\":\"bWU6c2VjcmV0\"}");
	struct stand proxy;
	struct ck_err err = { 0 };
	char url[64];

	(void)state;
	stand_open(&proxy);
	snprintf(url, sizeof url, "http://%s", stub_host(proxy.s));
	demand("Basic bWU6c2VjcmV0", "WWW-Authenticate: Basic realm=\"r\"\r\n", NULL);
	setenv("http_proxy", url, 1);
	setenv("all_proxy", url, 1);
	int rc = resolve(r, &err);
	unsetenv("http_proxy");
	unsetenv("all_proxy");
	assert_int_equal(stub_conns(proxy.s), 0);
	stand_close(&proxy);
	assert_works(rc, &err);
}

/* A port that is the usual one of a scheme: addresses stay each other's all the same. */
static void usual_ports(void **state)
{
	static const char *const hosts[][2] = {
		{ "localhost:80", "http://localhost" },
		{ "127.0.0.1:443", "http://127.0.0.1:443" },
		{ "[::1]:5000", "http://[::1]:5000" },
		{ "localhost", "http://localhost" },
	};
	const struct ck_hosts_entry entry = { .can = CK_CAN_ALL };
	const struct ck_registry_opts opts = { .certs_dir = "/none" };

	(void)state;
	for (size_t i = 0; i < N_OF(hosts); i++) {
		struct ck_endpoint *e = NULL;
		struct ck_err err = { 0 };
		assert_works(ck_endpoint_new(&e, &entry, true, hosts[i][0], "r/x", &opts, &err),
			     &err);
		atomic_store(&e->plain, true);
		assert_string_equal(ck_endpoint_origin(e), hosts[i][1]);
		ck_endpoint_free(e);
	}
}

/* Many at once find out that it has no TLS: nobody's request fails for it. */
struct crowd {
	struct ck_registry *r;
	pthread_barrier_t together;
	atomic_uint n_tries;
};

static void *fetch_one(void *arg)
{
	struct crowd *c = arg;
	struct taken *t = calloc(1, sizeof *t);
	const struct ck_registry_taker taker = { take, t };
	struct ck_registry_want w = want_of(10, 100);
	struct ck_registry_fetched f;

	pthread_barrier_wait(&c->together);
	if (!t || ck_registry_fetch(c->r, &w, &taker, &f, NULL) < 0)
		abort();
	atomic_fetch_add(&c->n_tries, f.n_tries);
	free(t);
	return NULL;
}

static void many_without_tls(void **state)
{
	enum { CROWD = 8, TIMES = 30 };

	(void)state;
	for (int n = 0; n < TIMES; n++) {
		CK_AUTO(ck_registry_closep) struct ck_registry *r = client("{}");
		struct crowd c = { .r = r };
		pthread_t threads[CROWD];
		assert_int_equal(pthread_barrier_init(&c.together, NULL, CROWD), 0);
		for (int i = 0; i < CROWD; i++)
			assert_int_equal(pthread_create(&threads[i], NULL, fetch_one, &c), 0);
		for (int i = 0; i < CROWD; i++)
			pthread_join(threads[i], NULL);
		pthread_barrier_destroy(&c.together);
		assert_int_equal(atomic_load(&c.n_tries), 0);
	}
}

static void say_hello(void *ctx, const struct stub_req *q, struct stub_conn *c)
{
	(void)ctx;
	(void)q;
	stub_replys(c, "200 OK", "Content-Type: application/vnd.oci.image.index.v1+json\r\n",
		    "{\"schemaVersion\":2,\"manifests\":[]}");
}

/* Once a loopback registry has spoken TLS, somebody else on its port who does not gets nothing:
 * whether its certificate was liked or not. */
static void no_way_back_from_tls(void **state)
{
	struct mint_cert leaf = { .cn = "server", .san = "IP:127.0.0.1", .ca = true };
	X509 *cert = mint_cert(&leaf, mint_rsa(1), NULL, NULL);
	FILE *key = fopen(tmp_path("tls.key"), "w");

	(void)state;
	mint_pem_file(tmp_path("tls.pem"), cert);
	X509_free(cert);
	assert_true(key && PEM_write_PrivateKey(key, mint_rsa(1), NULL, NULL, 0, NULL, NULL));
	assert_int_equal(fclose(key), 0);
	for (int trusted = 0; trusted < 2; trusted++) {
		struct stub_opts o = { .answer = say_hello,
				       .cert = tmp_path("tls.pem"),
				       .key = tmp_path("tls.key") };
		struct stand with_tls = { .s = stub_open(&o) };
		struct ck_http_opts http = { .ca_file = trusted ? tmp_path("tls.pem") : NULL };
		CK_AUTO(ck_registry_closep)
		struct ck_registry *r = client_of(
		    &with_tls, (struct ck_registry_opts){ .timeout_ms = 500, .http = &http });
		struct ck_err err = { 0 };

		assert_int_equal(resolve(r, &err), trusted ? 0 : -EPROTO);
		assert_true(trusted || strstr(err.msg, "may be put into"));
		o.port = (unsigned)atoi(strchr(stub_host(with_tls.s), ':') + 1);
		o.cert = NULL;
		stub_close(with_tls.s);
		struct stub *other = stub_open(&o);
		assert_fails(resolve(r, &err), -EPROTO, &err, "--plain-http");
		assert_int_equal(stub_count(other, "GET"), 0);
		stub_close(other);
	}
}

/* Tokens that are refused: whose they were is told, and one that cannot become better is not sent
 * again. */
static void refused_tokens(void **state)
{
	CK_AUTO(ck_registry_closep)
	struct ck_registry *fixed = client("{\"registrytoken\":\"worn\"}");
	struct ck_err err = { 0 };
	char challenge[256];

	(void)state;
	snprintf(challenge, sizeof challenge,
		 "WWW-Authenticate: Bearer realm=\"http://%s/token\",service=\"reg\"\r\n",
		 stub_host(st.s));
	demand("Bearer fresh", challenge, "{\"token\":\"other\"}");
	assert_fails(resolve(fixed, &err), -EACCES, &err, "auth.json was refused");
	assert_null(strstr(err.msg, "worn"));
	assert_int_equal(st.n_refused, 2);
	CK_AUTO(ck_registry_closep)
	struct ck_registry *r = client("{\"auth\":\"bWU6c2VjcmV0\"}");
	assert_fails(resolve(r, &err), -EACCES, &err, "with credentials of user me from");
	assert_null(strstr(err.msg, "secret"));
	assert_int_equal(st.n_refused, 5);
	CK_AUTO(ck_registry_closep) struct ck_registry *nobody = client("{}");
	assert_fails(resolve(nobody, &err), -EACCES, &err, "none being found for 127.0.0.1");
}

/* A token service that is not there is asked again for a document, too; one that nobody vouches for
 * is not. */
static void token_services(void **state)
{
	CK_AUTO(ck_registry_closep) struct ck_registry *r = client("{}");
	struct mint_cert leaf = { .cn = "server", .san = "IP:127.0.0.1" };
	X509 *cert = mint_cert(&leaf, mint_rsa(1), NULL, NULL);
	FILE *key = fopen(tmp_path("token.key"), "w");
	struct ck_err err = { 0 };
	char challenge[256];
	struct stand gone;

	(void)state;
	mint_pem_file(tmp_path("token.pem"), cert);
	X509_free(cert);
	assert_true(key && PEM_write_PrivateKey(key, mint_rsa(1), NULL, NULL, 0, NULL, NULL));
	assert_int_equal(fclose(key), 0);
	stand_open(&gone);
	snprintf(challenge, sizeof challenge,
		 "WWW-Authenticate: Bearer realm=\"http://%s/token\",service=\"reg\"\r\n",
		 stub_host(gone.s));
	stand_close(&gone);
	demand("Bearer x", challenge, NULL);
	assert_fails(resolve(r, &err), -ECONNREFUSED, &err, "getting a token");
	unsigned n = st.n_refused;
	assert_true(n > 1);

	struct stub_opts o = { .answer = say_hello,
			       .cert = tmp_path("token.pem"),
			       .key = tmp_path("token.key") };
	struct stub *strange = stub_open(&o);
	snprintf(challenge, sizeof challenge,
		 "WWW-Authenticate: Bearer realm=\"https://%s/token\",service=\"reg\"\r\n",
		 stub_host(strange));
	demand("Bearer x", challenge, NULL);
	assert_fails(resolve(r, &err), -EACCES, &err, "certificate");
	assert_int_equal(st.n_refused, n + 1);
	stub_close(strange);
}

/* Who may not, though he is known, is told as whom he asked, and not what with; of the stores that
 * he is sent to it is they who are named. */
static void refused_rights(void **state)
{
	const struct {
		const char *entry, *needs, *challenge, *says;
	} rows[] = {
		{ "{}", NULL, NULL, "asked without credentials, none being found for 127.0.0.1" },
		{ "{\"auth\":\"bWU6c2VjcmV0\"}", "Basic bWU6c2VjcmV0",
		  "WWW-Authenticate: Basic realm=\"r\"\r\n", "credentials of user me from" },
		{ "{\"auth\":\"bWU6c2VjcmV0\"}", "Bearer t", "", "credentials of user me from" },
		{ "{\"identitytoken\":\"secret\"}", "Bearer t", "", "credentials from" },
		{ "{\"registrytoken\":\"secret\"}", "Bearer secret", "", "credentials from" },
		{ "{}", "Bearer t", "",
		  "asked without credentials, none being found for 127.0.0.1" },
	};
	struct ck_registry_want w = want_of(10, 100);
	struct ck_registry_fetched f;
	struct stand store;
	char bearer[256], to[256];

	(void)state;
	stand_open(&store);
	snprintf(bearer, sizeof bearer, "WWW-Authenticate: Bearer realm=\"http://%s/token\"\r\n",
		 stub_host(st.s));
	snprintf(to, sizeof to, "to http://%s/blobs/there?sig=secret", stub_host(store.s));
	for (size_t i = 0; i < N_OF(rows); i++) {
		CK_AUTO(ck_registry_closep) struct ck_registry *r = client(rows[i].entry);
		struct ck_registry_taker none = { take, NULL };
		struct ck_err err = { 0 };
		bool file = !strstr(rows[i].says, "without");
		demand(rows[i].needs,
		       rows[i].challenge && !*rows[i].challenge ? bearer : rows[i].challenge,
		       "{\"token\":\"t\"}");
		SCRIPT(&st, "403");
		assert_fails(ck_registry_fetch(r, &w, &none, &f, &err), -EACCES, &err,
			     rows[i].says);
		if (!strstr(err.msg, "403 (forbidden)") || strstr(err.msg, "secret") ||
		    !strstr(err.msg, "--authfile") || file != !!strstr(err.msg, "auth.json"))
			fail_msg("row %zu: %s", i, err.msg);
		SCRIPT(&st, to);
		SCRIPT(&store, "403");
		assert_fails(ck_registry_fetch(r, &w, &none, &f, &err), -EACCES, &err,
			     "/there, where it sent us");
		if (strstr(err.msg, "secret") || strstr(err.msg, "auth.json"))
			fail_msg("row %zu: %s", i, err.msg);
	}
	stand_close(&store);
}

/* A token of the file's becomes one header's value and no more. */
static void no_header_in_a_token(void **state)
{
	CK_AUTO(ck_registry_closep)
	struct ck_registry *r = client("{\"registrytoken\":\"a\\r\\nx-more: b\"}");
	struct ck_err err = { 0 };

	(void)state;
	demand("Bearer x", "WWW-Authenticate: Bearer realm=\"https://x.test/\"\r\n", NULL);
	assert_fails(resolve(r, &err), -EBADMSG, &err, "auth.json");
	assert_null(strstr(said(&st), "x-more"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(past_proxies, setup, teardown),
		cmocka_unit_test(usual_ports),
		cmocka_unit_test_setup_teardown(many_without_tls, setup, teardown),
		cmocka_unit_test(no_way_back_from_tls),
		cmocka_unit_test_setup_teardown(refused_tokens, setup, teardown),
		cmocka_unit_test_setup_teardown(token_services, setup, teardown),
		cmocka_unit_test_setup_teardown(refused_rights, setup, teardown),
		cmocka_unit_test_setup_teardown(no_header_in_a_token, setup, teardown),
	};

	return cmocka_run_group_tests(tests, stand_group_setup, stand_group_teardown);
}
