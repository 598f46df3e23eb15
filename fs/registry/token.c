#include "fs/registry/token.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/json.h"
#include "base/url.h"

enum {
	TOKEN_MAX = 32 << 10,
	ANSWER_MAX = 128 << 10,
	/* The specification's, where the answer does not say. */
	LIFETIME_S = 60,
	/* So long a token is used at least, though by our clock it has expired: a clock that is
	 * wrong must not cost a token for each request. A refused one is renewed anyway. */
	LIFETIME_MIN_S = 30,
	LIFETIME_MAX_S = 24 * 3600,
	TRY_MS = 10000,
};

int ck_token_realm_check(const char *realm, const char *origin, bool with_creds, struct ck_err *err)
{
	CK_AUTO(ck_url_free) struct ck_url r = { 0 }, o = { 0 };
	int rc = ck_url_read(&r, NULL, realm, err);

	if (rc == 0)
		rc = ck_url_read(&o, NULL, origin, err);
	if (rc < 0) {
		ck_wrap(err, "the registry's token service");
		return rc == -ENOMEM ? rc : -EPROTO;
	}
	if (r.tls)
		return 0;
	bool local = ck_url_is_loopback(o.name) && ck_url_is_loopback(r.name);
	if (o.tls && !local)
		return ck_fail(err, -EPROTO,
			       "the registry names a token service without TLS, %s, which is not "
			       "asked",
			       r.origin);
	if (with_creds && !local && strcmp(o.name, r.name) != 0)
		return ck_fail(err, -EPROTO,
			       "credentials for the registry are not sent without TLS to another "
			       "host, %s",
			       r.origin);
	return 0;
}

/* Seconds of the epoch, or -1. Source: RFC 3339 section 5.6. */
static int64_t read_time(const char *s)
{
	struct tm t = { 0 };
	int n = 0, h = 0, m = 0;
	char sign[2] = "Z";

	if (sscanf(s, "%4d-%2d-%2d%*1[Tt ]%2d:%2d:%2d%n", &t.tm_year, &t.tm_mon, &t.tm_mday,
		   &t.tm_hour, &t.tm_min, &t.tm_sec, &n) != 6 ||
	    n == 0)
		return -1;
	s += n;
	if (*s == '.')
		s += 1 + strspn(s + 1, "0123456789");
	if (*s != 'Z' && *s != 'z' && sscanf(s, "%1[+-]%2d:%2d", sign, &h, &m) != 3)
		return -1;
	t.tm_year -= 1900;
	t.tm_mon -= 1;
	int64_t off = (int64_t)h * 3600 + (int64_t)m * 60;
	return (int64_t)timegm(&t) - (*sign == '-' ? -off : *sign == '+' ? off : 0);
}

bool ck_token_is(const char *s)
{
	while (*s > ' ' && *s <= '~')
		s++;
	return !*s;
}

int ck_token_parse(struct ck_buf *out, uint64_t *lifetime_ms, const void *p, size_t nbytes,
		   int64_t now_s, struct ck_err *err)
{
	CK_JSON *j = NULL;
	const char *token = NULL, *issued = NULL;
	uint64_t left = LIFETIME_S;
	int rc = ck_json_parse_secret(&j, p, nbytes, "the token", err);

	if (rc == 0 && !json_is_object(j))
		rc = ck_fail(err, -EPROTO, "the token's answer is no object");
	if (rc == 0)
		rc = ck_json_str(&token, j, "token", false, err);
	if (rc == 0 && (!token || !*token))
		rc = ck_json_str(&token, j, "access_token", true, err);
	if (rc == 0)
		rc = ck_json_u64(&left, j, "expires_in", false, err);
	if (rc == 0)
		rc = ck_json_str(&issued, j, "issued_at", false, err);
	if (rc < 0)
		return rc == -ENOMEM ? rc : -EPROTO;
	size_t len = strlen(token);
	if (!ck_token_is(token))
		return ck_fail(err, -EPROTO, "the token has bytes that no token has");
	if (len == 0 || len > TOKEN_MAX)
		return ck_fail(err, -EPROTO, "the token has %zu bytes", len);
	int64_t at = issued ? read_time(issued) : -1;
	uint64_t age = at >= 0 && now_s > at ? (uint64_t)(now_s - at) : 0;
	left = left > LIFETIME_MAX_S ? LIFETIME_MAX_S : left;
	uint64_t least = left < LIFETIME_MIN_S ? left : LIFETIME_MIN_S;
	left = left > age ? left - age : 0;
	*lifetime_ms = 1000 * (left > least ? left : least);
	return ck_buf_add(out, token, len, err);
}

static int add_pair(struct ck_buf *b, const char *name, const char *value, struct ck_err *err)
{
	char last = b->len ? (char)b->data[b->len - 1] : '&';
	int rc = last == '&' || last == '?' ? 0 : ck_buf_adds(b, "&", err);

	if (rc == 0)
		rc = ck_buf_addf(b, err, "%s=", name);
	return rc < 0 ? rc : ck_url_escape(b, value, err);
}

static int add_scopes(struct ck_buf *b, const struct ck_token_req *req, struct ck_err *err)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < req->n_scopes; i++)
		rc = add_pair(b, "scope", req->scopes[i], err);
	return rc;
}

static const char *text_of(const struct ck_secret *s)
{
	return s->len ? (const char *)s->data : "";
}

/* Fills URL and, with an identity token, BODY; else HEADER where there are credentials. */
static int make_request(const struct ck_token_req *req, struct ck_buf *url, struct ck_buf *body,
			struct ck_buf *header, struct ck_err *err)
{
	const struct ck_creds *c = req->creds;
	CK_BUF pair = { 0 }, scopes = { 0 };
	int rc = ck_buf_adds(url, req->realm, err);

	if (rc == 0 && c->identity.len) {
		/* Of this form there is one scope, which may be a list (RFC 6749 section 3.3). */
		for (size_t i = 0; rc == 0 && i < req->n_scopes; i++)
			rc = ck_buf_addf(&scopes, err, "%s%s", i ? " " : "", req->scopes[i]);
		if (rc == 0)
			rc = add_pair(body, "grant_type", "refresh_token", err);
		if (rc == 0 && req->service)
			rc = add_pair(body, "service", req->service, err);
		if (rc == 0)
			rc = add_pair(body, "client_id", "cloakfs", err);
		if (rc == 0)
			rc = add_pair(body, "scope", ck_buf_str(&scopes), err);
		return rc < 0 ? rc : add_pair(body, "refresh_token", text_of(&c->identity), err);
	}
	if (rc == 0 && !strchr(req->realm, '?'))
		rc = ck_buf_adds(url, "?", err);
	if (rc == 0 && req->service)
		rc = add_pair(url, "service", req->service, err);
	if (rc == 0)
		rc = add_scopes(url, req, err);
	if (rc < 0 || !c->user.len)
		return rc;
	rc = add_pair(url, "account", text_of(&c->user), err);
	if (rc == 0)
		rc = ck_buf_addf(&pair, err, "%s:%s", text_of(&c->user), text_of(&c->password));
	if (rc == 0)
		rc = ck_buf_adds(header, "Authorization: Basic ", err);
	return rc < 0 ? rc : ck_b64_encode(header, CK_B64_STD, pair.data, pair.len, err);
}

static int judge(const struct ck_token_req *req, const struct ck_http_res *res, struct ck_err *err)
{
	char whose[CK_CREDS_WHOSE];
	int where = (int)strcspn(req->realm, "?");

	if (res->status == 200)
		return 0;
	if (res->status == 429 || res->status >= 500)
		return ck_fail(err, -EBUSY, "the token service %.*s answered %ld", where,
			       req->realm, res->status);
	if (res->status != 400 && res->status != 401 && res->status != 403)
		return ck_fail(err, -EPROTO, "the token service %.*s answered %ld", where,
			       req->realm, res->status);
	ck_creds_whose(whose, req->creds);
	if (*whose)
		return ck_fail(err, -EACCES,
			       "credentials %s were refused by %.*s (%ld) (" CK_ADVICE_LOGIN ")",
			       whose, where, req->realm, res->status);
	return ck_fail(err, -EACCES,
		       "%.*s gives no token without credentials (%ld), and none were found "
		       "(" CK_ADVICE_LOGIN ")",
		       where, req->realm, res->status);
}

int ck_token_get(struct ck_buf *out, uint64_t *lifetime_ms, const struct ck_token_req *req,
		 struct ck_err *err)
{
	CK_BUF url = { 0 }, body = { 0 }, header = { 0 };
	CK_HTTP_RES res = { 0 };
	uint64_t now = ck_now_ms();
	int rc = make_request(req, &url, &body, &header, err);

	if (rc < 0)
		return rc;
	if (now >= req->deadline_ms)
		return ck_fail(err, -ETIMEDOUT, "no time is left to get a token");
	uint64_t left = req->deadline_ms - now;
	const char *headers[] = { ck_buf_str(&header) };
	struct ck_http_req q = {
		.url = ck_buf_str(&url),
		.headers = headers,
		.n_headers = header.len != 0,
		.body = body.len ? body.data : NULL,
		.body_len = body.len,
		.timeout_ms = left < TRY_MS ? (unsigned)left : TRY_MS,
		.deadline_ms = left < TRY_MS ? (unsigned)left : TRY_MS,
		.tries = 1,
		.max_body = ANSWER_MAX,
		.cancel = req->cancel,
	};
	rc = ck_http_do(req->http, &q, &res, err);
	if (rc < 0) {
		ck_wrap(err, "getting a token");
		if (!res.no_trust)
			return rc;
		/* Whom nobody vouches for is not asked over and over. */
		ck_advise(err, CK_ADVICE_ROOTS_ELSEWHERE);
		if (err)
			err->code = -EACCES;
		return -EACCES;
	}
	rc = judge(req, &res, err);
	return rc < 0 ? rc
		      : ck_token_parse(out, lifetime_ms, res.body.data, res.body.len,
				       (int64_t)time(NULL), err);
}
