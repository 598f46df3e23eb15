/* What registries, and those between us and them, could do to get at credentials, or to keep us
 * busy. */
#include "tests/unit/lib/regstand.h"


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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(past_proxies, setup, teardown),
	};

	return cmocka_run_group_tests(tests, stand_group_setup, stand_group_teardown);
}
