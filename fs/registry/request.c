#include "fs/registry/request.h"

#include <errno.h>
#include <string.h>

#include "base/file.h"
#include "base/url.h"
#include "fs/registry/steps.h"
#include "fs/registry/token.h"

enum { CHALLENGES_MAX = 2, HEADERS_MAX = 96, TIMEOUT_MAX_MS = 24 * 3600 * 1000 };

/* Sends REQ to URL; TRUSTED: to the endpoint itself, with AUTH and what else is its own. */
static int send_to(struct ck_endpoint *e, const struct ck_request *req, const char *url,
		   bool trusted, const char *auth, struct ck_http_res *res, struct ck_err *err)
{
	const char *headers[HEADERS_MAX];
	uint64_t now = ck_now_ms();
	size_t n = 0;

	if (now >= req->need.deadline_ms)
		return ck_fail(err, -ETIMEDOUT, "%.*s: no time left", (int)strcspn(url, "?"), url);
	uint64_t left = req->need.deadline_ms - now;
	if (left > TIMEOUT_MAX_MS)
		left = TIMEOUT_MAX_MS;
	if (req->n_headers + e->n_headers + 1 > HEADERS_MAX)
		return ck_fail(err, -EINVAL, "a request of too many headers");
	for (size_t i = 0; i < req->n_headers; i++)
		headers[n++] = req->headers[i];
	for (size_t i = 0; trusted && i < e->n_headers; i++)
		headers[n++] = e->headers[i];
	if (trusted && *auth)
		headers[n++] = auth;
	struct ck_http_req q = {
		.method = req->method,
		.url = url,
		.headers = headers,
		.n_headers = n,
		.body = req->body,
		.body_len = req->body_len,
		.timeout_ms = (unsigned)left,
		.deadline_ms = (unsigned)left,
		.tries = 1,
		.max_body = req->max_body,
		.stall_ms = req->stall_ms,
		.sink = req->sink,
		.cancel = req->need.cancel,
		.once = req->once,
	};
	return ck_http_do(e->http, &q, res, err);
}

static bool is_url(const char *path)
{
	return strncmp(path, "http://", 7) == 0 || strncmp(path, "https://", 8) == 0;
}

/* Where REQ goes to first. */
static int first_url(const struct ck_endpoint *e, const struct ck_request *req, struct ck_buf *url,
		     struct ck_err *err)
{
	int rc;

	if (is_url(req->path))
		return ck_buf_adds(url, req->path, err);
	if (*req->path == '/')
		return ck_buf_addf(url, err, "%s%s", ck_endpoint_origin(e), req->path);
	rc = ck_buf_addf(url, err, "%s/%s/%s", ck_endpoint_base(e), req->repo, req->path);
	if (rc == 0 && e->ns) {
		rc = ck_buf_adds(url, strchr(req->path, '?') ? "&ns=" : "?ns=", err);
		if (rc == 0)
			rc = ck_url_escape(url, e->ns, err);
	}
	return rc;
}

/* Whether URL is the endpoint's own. Elsewhere it is not less safe than there. */
static int is_own(const struct ck_endpoint *e, const char *url, bool *own, struct ck_err *err)
{
	CK_AUTO(ck_url_free) struct ck_url u = { 0 };
	const char *origin = ck_endpoint_origin(e);
	int rc = ck_url_read(&u, NULL, url, err);

	if (rc < 0)
		return rc == -ENOMEM ? rc : -EPROTO;
	*own = strcmp(u.origin, origin) == 0;
	if (!u.tls && strncmp(origin, "https:", 6) == 0)
		return ck_fail(err, -EPROTO, "%s sends us to %s, without TLS", origin, u.origin);
	return 0;
}

/* Whether a request to a loopback host goes out again, without TLS: on this machine itself nobody
 * listens in. Who has once been spoken to with TLS is not, whoever it is that has its port by now.
 * Another thread may have found out meanwhile; either way the next URL is a plain one. */
static bool falls_back(struct ck_endpoint *e, const struct ck_request *req, int rc,
		       const struct ck_http_res *res)
{
	if (!e->plain_base || is_url(req->path))
		return false;
	if (rc == 0 || res->no_trust)
		atomic_store(&e->settled, true);
	if (rc == 0 || !res->no_tls || (atomic_load(&e->settled) && !atomic_load(&e->plain)))
		return false;
	atomic_store(&e->plain, true);
	return true;
}

/* Puts what to do behind an error that is not about this request alone. OWN: it is the endpoint
 * itself that was asked. */
static void advise(const struct ck_endpoint *e, const struct ck_http_res *res, bool own,
		   struct ck_err *err)
{
	if (res->no_tls && own)
		ck_advise(err, "if plain HTTP is meant, --plain-http or plain_http allow it");
	else if (res->no_root && own)
		ck_advise(err, "the CA's certificate may be put into %s, as *.crt", e->certs);
	else if (res->no_trust && !own)
		ck_advise(err, CK_ADVICE_ROOTS_ELSEWHERE);
}

/* Whether hosts.toml says who we are. */
static bool has_own_auth(const struct ck_endpoint *e)
{
	for (size_t i = 0; i < e->n_headers; i++)
		if (strncasecmp(e->headers[i], "Authorization:", 14) == 0)
			return true;
	return false;
}

/* Notes with the answer RES of URL, where it is none that was hoped for, who gave it if that is not
 * the endpoint itself (ELSEWHERE), and as whom that was asked where it is about rights. */
static void note(struct ck_endpoint *e, const struct ck_request *req, const char *url,
		 bool elsewhere, struct ck_http_res *res)
{
	if (res->status < 400 || (!elsewhere && res->status != 401 && res->status != 403))
		return;
	if (elsewhere)
		snprintf(res->note, sizeof res->note,
			 "so answered, asked without credentials, %.*s, where it sent us",
			 (int)strcspn(url, "?"), url);
	else if (has_own_auth(e))
		snprintf(res->note, sizeof res->note,
			 "asked with the Authorization header of hosts.toml");
	else
		ck_auth_tell(e->auth, &req->need, res->note, sizeof res->note);
}

/* Asks the endpoint itself, or where it sent us at another time (a URL as path), with what it
 * wants to see. AUTH keeps what that was in the end. */
static int ask_with_auth(struct ck_endpoint *e, const struct ck_request *req, struct ck_buf *url,
			 struct ck_buf *auth, struct ck_http_res *res, struct ck_err *err)
{
	unsigned n_challenges = 0;

	for (;;) {
		bool own = false;
		ck_buf_free(url);
		ck_buf_free(auth);
		int rc = first_url(e, req, url, err);
		if (rc == 0)
			rc = is_own(e, ck_buf_str(url), &own, err);
		if (rc == 0 && own)
			rc = ck_auth_header(e->auth, &req->need, ck_endpoint_origin(e), auth, err);
		if (rc < 0)
			return rc;
		rc = send_to(e, req, ck_buf_str(url), own, ck_buf_str(auth), res, err);
		if (falls_back(e, req, rc, res))
			continue;
		if (rc < 0)
			advise(e, res, own, err);
		if (rc < 0 || res->status != 401 || !own)
			return rc;
		if (n_challenges++ == CHALLENGES_MAX) {
			note(e, req, ck_buf_str(url), false, res);
			return ck_registry_refused(res, err);
		}
		rc = ck_auth_challenged(e->auth, &req->need, ck_endpoint_origin(e),
					ck_buf_str(auth), res, err);
		if (rc < 0)
			return rc;
	}
}

static bool is_redirect(const struct ck_request *req, long status)
{
	bool safe = !req->method
			? !req->body
			: strcmp(req->method, "GET") == 0 || strcmp(req->method, "HEAD") == 0;

	if (status == 307 || status == 308)
		return true;
	return safe && (status == 301 || status == 302 || status == 303);
}

/* Follows what RES says for as long as it is a redirect. URL becomes the last one, ELSEWHERE
 * whether that is not the endpoint's own. */
static int follow(struct ck_endpoint *e, const struct ck_request *req, struct ck_buf *url,
		  const char *auth, bool *elsewhere, struct ck_http_res *res, struct ck_err *err)
{
	for (unsigned n = 0; is_redirect(req, res->status); n++) {
		CK_AUTO(ck_url_free) struct ck_url from = { 0 }, to = { 0 };
		const char *location = ck_http_res_header(res, "Location");

		if (!location || !*location)
			return 0;
		if (n == CK_REDIRECTS_FOLLOWED)
			return ck_fail(err, -EPROTO, "%s: more than %d redirects", e->origin,
				       CK_REDIRECTS_FOLLOWED);
		int rc = ck_url_read(&from, NULL, ck_buf_str(url), err);
		if (rc == 0)
			rc = ck_url_read(&to, ck_buf_str(url), location, err);
		if (rc < 0) {
			ck_wrap(err, "a redirect of %s", e->origin);
			return rc == -ENOMEM ? rc : -EPROTO;
		}
		if (from.tls && !to.tls)
			return ck_fail(err, -EPROTO, "%s redirects to %s, without TLS", from.origin,
				       to.origin);
		bool own = strcmp(to.origin, ck_endpoint_origin(e)) == 0;
		*elsewhere = !own;
		ck_buf_free(url);
		rc = ck_buf_adds(url, to.text, err);
		if (rc == 0)
			rc = send_to(e, req, to.text, own, auth, res, err);
		if (rc < 0) {
			advise(e, res, own, err);
			return rc;
		}
	}
	return 0;
}

/* Asks where the blob was last. True: *RC is the outcome. */
static bool ask_remembered(struct ck_endpoint *e, const struct ck_request *req,
			   struct ck_http_res *res, int *rc, struct ck_err *err)
{
	CK_AUTO(ck_freep) char *url = NULL;

	if (!req->blob)
		return false;
	if (req->afresh)
		ck_endpoint_set_redirect(e, req->blob, NULL);
	else
		url = ck_endpoint_redirect(e, req->blob);
	if (!url)
		return false;
	*rc = send_to(e, req, url, false, "", res, err);
	if (*rc == 0 && (res->status == 200 || res->status == 206))
		return true;
	/* Its time is up, or it moved; what failed half-way the caller goes on with. */
	ck_endpoint_set_redirect(e, req->blob, NULL);
	return *rc < 0 && *rc != -ECONNREFUSED;
}

int ck_request_send(struct ck_endpoint *e, const struct ck_request *req, struct ck_http_res *res,
		    struct ck_err *err)
{
	CK_BUF url = { 0 }, auth = { 0 };
	bool elsewhere = false;
	int rc;

	if (ask_remembered(e, req, res, &rc, err))
		return rc;
	rc = ask_with_auth(e, req, &url, &auth, res, err);
	if (rc == 0)
		rc = follow(e, req, &url, ck_buf_str(&auth), &elsewhere, res, err);
	if (rc < 0)
		return rc;
	note(e, req, ck_buf_str(&url), elsewhere, res);
	bool served = res->status == 200 || res->status == 206;
	if (req->blob && served && elsewhere)
		ck_endpoint_set_redirect(e, req->blob, ck_buf_str(&url));
	return 0;
}
