#include "attest/identity.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/json.h"

enum { TOKEN_MAX = 64 << 10, EARLY_S = 300 };

struct ck_identity {
	char *imds_url, *authority_url, *resource, *client_id;
	char *tenant_id, *token_file; /* both or none: workload identity */
	pthread_mutex_t lock;
	struct ck_buf token; /* under the lock, as is: */
	uint64_t good_until; /* seconds since the epoch */
};

int ck_base_url(char **out, const char *s, bool tls, const char *what, struct ck_err *err)
{
	static const char *const loopback[] = { "http://127.0.0.1", "http://localhost",
						"http://[::1]" };
	bool https = strncmp(s, "https://", 8) == 0, ok = https || strncmp(s, "http://", 7) == 0;
	size_t len = strlen(s);

	for (size_t i = 0; i < len; i++)
		ok = ok && isgraph((unsigned char)s[i]) && !strchr("?#@\\\"", s[i]);
	while (len && s[len - 1] == '/')
		len--;
	if (!ok || len <= (https ? 8U : 7U) || len > 1024)
		return ck_fail(err, -EINVAL, "%s \"%.80s\" is not a plain http or https URL", what,
			       s);
	for (size_t i = 0; tls && !https && i < sizeof loopback / sizeof loopback[0]; i++) {
		size_t n = strlen(loopback[i]);
		if (strncmp(s, loopback[i], n) == 0 && (s[n] == ':' || s[n] == '/' || !s[n]))
			tls = false;
	}
	if (tls && !https)
		return ck_fail(err, -EINVAL, "%s \"%.80s\" must be https", what, s);
	*out = strndup(s, len);
	return *out ? 0 : ck_nomem(err, "copying a URL");
}

static const char *env(const char *name)
{
	const char *v = getenv(name);
	return v && *v ? v : NULL;
}

static int copy(char **out, const char *s, struct ck_err *err)
{
	if (!s)
		return 0;
	*out = strdup(s);
	return *out ? 0 : ck_nomem(err, "copying the identity");
}

static int copy_opts(struct ck_identity *i, const struct ck_identity_opts *o, struct ck_err *err)
{
	const char *client = env("AZURE_CLIENT_ID"), *tenant = env("AZURE_TENANT_ID"),
		   *file = env("AZURE_FEDERATED_TOKEN_FILE"), *host = env("AZURE_AUTHORITY_HOST"),
		   *authority = o->authority_url, *what = "authority_url";

	if (!authority && host) {
		authority = host;
		what = "AZURE_AUTHORITY_HOST";
	}
	if (!authority)
		authority = "https://login.microsoftonline.com";
	int rc = ck_base_url(&i->authority_url, authority, true, what, err);
	if (rc == 0)
		rc = ck_base_url(&i->imds_url, o->imds_url, false, "imds_url", err);
	if (rc == 0)
		rc = ck_base_url(&i->resource, o->resource, false, "hsm_resource", err);
	if (rc < 0)
		return rc;
	if (!client || !tenant || !file)
		return copy(&i->client_id, o->client_id ? o->client_id : client, err);
	if (strspn(tenant, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") !=
	    strlen(tenant))
		return ck_fail(err, -EINVAL, "AZURE_TENANT_ID \"%.80s\" is not a tenant", tenant);
	rc = copy(&i->client_id, client, err);
	if (rc == 0)
		rc = copy(&i->tenant_id, tenant, err);
	if (rc == 0)
		rc = copy(&i->token_file, file, err);
	return rc;
}

int ck_identity_open(struct ck_identity **out, const struct ck_identity_opts *opts,
		     struct ck_err *err)
{
	struct ck_identity *i = calloc(1, sizeof *i);

	if (!i)
		return ck_nomem(err, "opening the identity");
	pthread_mutex_init(&i->lock, NULL);
	i->token.max = TOKEN_MAX;
	int rc = copy_opts(i, opts, err);
	if (rc < 0)
		ck_identity_close(i);
	else
		*out = i;
	return rc;
}

void ck_identity_close(struct ck_identity *i)
{
	if (!i)
		return;
	ck_buf_free(&i->token);
	pthread_mutex_destroy(&i->lock);
	free(i->imds_url);
	free(i->authority_url);
	free(i->resource);
	free(i->client_id);
	free(i->tenant_id);
	free(i->token_file);
	free(i);
}

/* Appends "KEY=VALUE", form-encoded, with '&' before all but the first. */
static int add_param(struct ck_buf *b, const char *key, const char *value, struct ck_err *err)
{
	char *text = curl_easy_escape(NULL, value, (int)strlen(value));

	if (!text)
		return ck_nomem(err, "writing a request for a token");
	bool first = b->len == 0 || b->data[b->len - 1] == '?';
	int rc = ck_buf_addf(b, err, "%s%s=%s", first ? "" : "&", key, text);
	curl_free(text);
	return rc;
}

/* A number, or digits in a string: IMDS writes the latter. */
static bool seconds(uint64_t *out, const json_t *v)
{
	if (json_is_string(v)) {
		const char *s = json_string_value(v);
		size_t n = strlen(s);
		if (n == 0 || n > 18 || strspn(s, "0123456789") != n)
			return false;
		*out = strtoull(s, NULL, 10);
		return true;
	}
	*out = (uint64_t)json_integer_value(v);
	return json_is_integer(v) && json_integer_value(v) >= 0;
}

static int take_answer(const struct ck_http_res *res, struct ck_buf *token, uint64_t *good_until,
		       struct ck_err *err)
{
	CK_JSON *j = NULL;
	const char *t = "";
	uint64_t at = 0, now = (uint64_t)time(NULL);

	int rc = ck_service_json(&j, res, "the token answer", err);
	if (rc == 0)
		rc = ck_json_str(&t, j, "access_token", true, err);
	if (rc < 0)
		return rc;
	/* RFC 6750 section 2.1; what else it held would go into a header line. */
	for (const char *c = t; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("-._~+/=", *c))
			return ck_fail(err, -EBADMSG, "the access token is malformed");
	if (!*t || strlen(t) > TOKEN_MAX)
		return ck_fail(err, -EBADMSG, "the access token is empty or too long");
	if (!seconds(&at, json_object_get(j, "expires_on"))) {
		if (!seconds(&at, json_object_get(j, "expires_in")))
			return ck_fail(err, -EBADMSG, "the access token's end is not given");
		at = at < UINT32_MAX ? now + at : now;
	}
	*good_until = at > EARLY_S ? at - EARLY_S : 0;
	return ck_buf_adds(token, t, err);
}

static int from_imds(struct ck_identity *i, const struct ck_call *call, struct ck_http_res *res,
		     struct ck_err *err)
{
	static const char *const headers[] = { "Metadata: true" };
	CK_BUF url = { 0 };

	int rc = ck_buf_addf(&url, err, "%s/metadata/identity/oauth2/token?", i->imds_url);
	if (rc == 0)
		rc = add_param(&url, "api-version", "2018-02-01", err);
	if (rc == 0)
		rc = add_param(&url, "resource", i->resource, err);
	if (rc == 0 && i->client_id)
		rc = add_param(&url, "client_id", i->client_id, err);
	if (rc < 0)
		return rc;
	struct ck_http_req req = {
		.url = ck_buf_str(&url), .headers = headers, .n_headers = 1, .no_proxy = true
	};
	rc = ck_service_do(call, &req, res, err);
	if (rc < 0)
		return ck_wrap(err, "token of the managed identity");
	if (res->status != 200)
		return ck_service_refused(
		    res, err, "token of the managed identity refused by IMDS at %s", i->imds_url);
	return 0;
}

static int exchange_body(struct ck_identity *i, struct ck_buf *body, struct ck_err *err)
{
	CK_BUF assertion = { .max = TOKEN_MAX };
	CK_BUF scope = { 0 };

	int rc = ck_file_read(&assertion, i->token_file, err);
	if (rc < 0)
		return ck_wrap(err, "federated token (AZURE_FEDERATED_TOKEN_FILE)");
	while (assertion.len && isspace(assertion.data[assertion.len - 1]))
		assertion.data[--assertion.len] = 0;
	rc = ck_buf_addf(&scope, err, "%s/.default", i->resource);
	if (rc == 0)
		rc = add_param(body, "client_id", i->client_id, err);
	if (rc == 0)
		rc = add_param(body, "scope", ck_buf_str(&scope), err);
	if (rc == 0)
		rc = add_param(body, "grant_type", "client_credentials", err);
	if (rc == 0)
		rc = add_param(body, "client_assertion_type",
			       "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", err);
	if (rc == 0)
		rc = add_param(body, "client_assertion", ck_buf_str(&assertion), err);
	return rc;
}

static int from_aad(struct ck_identity *i, const struct ck_call *call, struct ck_http_res *res,
		    struct ck_err *err)
{
	static const char *const headers[] = { "Content-Type: application/x-www-form-urlencoded" };
	CK_BUF url = { 0 };
	CK_BUF body = { 0 };

	int rc = ck_buf_addf(&url, err, "%s/%s/oauth2/v2.0/token", i->authority_url, i->tenant_id);
	if (rc == 0)
		rc = exchange_body(i, &body, err);
	if (rc < 0)
		return rc;
	struct ck_http_req req = { .url = ck_buf_str(&url),
				   .headers = headers,
				   .n_headers = 1,
				   .body = body.data,
				   .body_len = body.len };
	rc = ck_service_do(call, &req, res, err);
	if (rc < 0)
		return ck_wrap(err, "token of the workload identity");
	if (res->status != 200)
		return ck_service_refused(res, err,
					  "token of the workload identity %s refused by %s",
					  i->client_id, i->authority_url);
	return 0;
}

int ck_identity_token(struct ck_identity *i, const struct ck_call *call, struct ck_buf *out,
		      struct ck_err *err)
{
	CK_HTTP_RES res = { 0 };
	CK_BUF token = { .max = TOKEN_MAX };
	uint64_t good_until = 0;
	int rc = 0;

	pthread_mutex_lock(&i->lock);
	bool known = i->token.len && (uint64_t)time(NULL) < i->good_until;
	if (known)
		rc = ck_buf_add(out, i->token.data, i->token.len, err);
	pthread_mutex_unlock(&i->lock);
	if (known)
		return rc;
	rc = i->token_file ? from_aad(i, call, &res, err) : from_imds(i, call, &res, err);
	if (rc < 0)
		return rc;
	rc = take_answer(&res, &token, &good_until, err);
	if (rc < 0)
		return ck_wrap(err, "token for %s", i->resource);
	rc = ck_buf_add(out, token.data, token.len, err);
	pthread_mutex_lock(&i->lock);
	struct ck_buf old = i->token;
	i->token = token;
	i->good_until = good_until;
	token = old; /* wiped with the scope */
	pthread_mutex_unlock(&i->lock);
	return rc;
}

void ck_identity_reject(struct ck_identity *i, const char *token)
{
	pthread_mutex_lock(&i->lock);
	if (strcmp(ck_buf_str(&i->token), token) == 0)
		ck_buf_free(&i->token);
	pthread_mutex_unlock(&i->lock);
}
