#include <errno.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "fs/oci/dockername.h"
#include "fs/registry/certs.h"
#include "fs/registry/steps.h"

enum { TIMEOUT_MS = 30000, TRIES = 5, STALL_MIN_MS = 500, STALL_MAX_MS = 10000, SAID_MAX = 300 };

void ck_registry_close(struct ck_registry *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n_endpoints; i++)
		ck_endpoint_free(r->endpoints[i]);
	free(r->host);
	free(r->repo);
	free(r);
}

const char *ck_registry_host(const struct ck_registry *r)
{
	return r->host;
}

const char *ck_registry_repo(const struct ck_registry *r)
{
	return r->repo;
}

static int make_endpoints(struct ck_registry *r, const struct ck_hosts *hosts,
			  const struct ck_registry_opts *opts, struct ck_err *err)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < hosts->n_mirrors; i++) {
		rc = ck_endpoint_new(&r->endpoints[r->n_endpoints], &hosts->mirrors[i], false,
				     r->host, r->repo, opts, err);
		r->n_endpoints += rc == 0;
	}
	if (rc == 0)
		rc = ck_endpoint_new(&r->endpoints[r->n_endpoints], &hosts->server, true, r->host,
				     r->repo, opts, err);
	r->n_endpoints += rc == 0;
	return rc;
}

/* A file that was named must be there, and not only when it is needed. */
static int check_auth_file(const struct ck_registry_opts *opts, struct ck_err *err)
{
	CK_BUF text = { .max = 1 << 20 };
	CK_JSON *j = NULL;

	if (!opts->auth_file)
		return 0;
	int rc = ck_file_read(&text, opts->auth_file, err);
	return rc < 0 ? rc : ck_json_parse_secret(&j, text.data, text.len, opts->auth_file, err);
}

/* Where containerd finds no hosts.toml, it takes certificates from its place. */
static int take_certs(struct ck_hosts_entry *e, const char *dir, const char *host,
		      struct ck_err *err)
{
	CK_AUTO(ck_certs_free) struct ck_certs c = { 0 };
	int rc = ck_certs_read(&c, dir, host, err);

	if (rc < 0)
		return rc;
	e->ca = c.roots;
	c.roots = (struct ck_buf){ 0 };
	e->cert_file = ck_take(c.cert_file);
	e->key_file = ck_take(c.key_file);
	return 0;
}

static int open_all(struct ck_registry *r, const struct ck_registry_opts *opts, struct ck_err *err)
{
	CK_AUTO(ck_hosts_free) struct ck_hosts hosts = { 0 };
	const char *dir = opts->hosts_dir ? opts->hosts_dir : "/etc/containerd/certs.d";
	int rc = check_auth_file(opts, err);

	if (rc == 0)
		rc = ck_hosts_read(&hosts, dir, r->host, err);
	if (rc == 0 && !hosts.found)
		rc = take_certs(&hosts.server, dir, r->host, err);
	return rc < 0 ? rc : make_endpoints(r, &hosts, opts, err);
}

int ck_registry_open(struct ck_registry **out, const char *host, const char *repo,
		     const struct ck_registry_opts *opts, struct ck_err *err)
{
	static const struct ck_registry_opts none;
	CK_AUTO(ck_registry_closep) struct ck_registry *r = calloc(1, sizeof *r);

	if (!r || !(r->host = strdup(host)) || !(r->repo = strdup(repo)))
		return ck_nomem(err, "opening a registry");
	if (!ck_dockername_is_host(host) || !ck_dockername_is_repo(repo))
		return ck_fail(err, -EINVAL, "%.300s/%.300s can be no repository", host, repo);
	if (!opts)
		opts = &none;
	r->timeout_ms = opts->timeout_ms ? opts->timeout_ms : TIMEOUT_MS;
	int rc = open_all(r, opts, err);
	if (rc < 0) {
		ck_wrap(err, "registry %s", host);
		return rc;
	}
	*out = ck_take(r);
	return 0;
}

unsigned ck_registry_stall_ms(uint64_t total_ms)
{
	uint64_t ms = total_ms / 4;

	return (unsigned)(ms < STALL_MIN_MS ? STALL_MIN_MS : ms > STALL_MAX_MS ? STALL_MAX_MS : ms);
}

bool ck_registry_status_passes(long status)
{
	return status == 408 || status == 429 || status >= 500;
}

bool ck_registry_error_stays(int rc, const struct ck_http_res *res)
{
	return rc == -EACCES || rc == -ENOMEM || rc == -EINVAL || (rc < 0 && res->no_trust);
}

void ck_registry_keep_reason(int *rc, struct ck_err *err, int old_rc, const struct ck_err *old)
{
	if (*rc != -ETIMEDOUT || old_rc == 0 || old_rc == -ETIMEDOUT)
		return;
	*rc = old_rc;
	if (err)
		*err = *old;
}

void ck_registry_blame(const struct ck_endpoint *e, struct ck_err *err)
{
	/* Of the transport's errors the URL says it. */
	if (err && !strstr(err->msg, ck_endpoint_origin(e)))
		ck_wrap(err, "%s", ck_endpoint_origin(e));
}

/* The first of the registry's own errors: {"errors":[{"code","message"}]}. */
static void add_said(struct ck_buf *b, const struct ck_http_res *res)
{
	CK_JSON *j = NULL;
	const json_t *first;

	if (res->body.len == 0 ||
	    ck_json_parse(&j, res->body.data, res->body.len, "its answer", NULL) < 0)
		return;
	first = json_array_get(json_object_get(j, "errors"), 0);
	const char *code = json_string_value(json_object_get(first, "code"));
	const char *message = json_string_value(json_object_get(first, "message"));
	if (code || message)
		(void)!ck_buf_addf(b, NULL, ": %.60s%s%.*s", code ? code : "",
				   code && message ? ", " : "", SAID_MAX, message ? message : "");
}

int ck_registry_refused(const struct ck_http_res *res, struct ck_err *err)
{
	CK_BUF said = { 0 };
	long s = res->status;
	int code = s == 404 ? -ENOENT : s == 401 || s == 403 ? -EACCES : -EPROTO;

	add_said(&said, res);
	(void)ck_fail(err, code, "the registry answered %ld%s%s", s,
		      s == 404	 ? " (not found)"
		      : s == 401 ? " (unauthorized)"
		      : s == 403 ? " (forbidden)"
				 : "",
		      ck_buf_str(&said));
	if (res->note[0])
		ck_advise(err, "%s", res->note);
	return code;
}

/* One turn. 0: RES is the answer. */
static int take_turn(struct ck_registry *r, struct ck_endpoint *e, const struct ck_registry_req *q,
		     struct ck_turns *t, struct ck_http_res *res, struct ck_err *err)
{
	const struct ck_request req = {
		.method = q->method,
		.repo = r->repo,
		.path = q->path,
		.headers = q->headers,
		.n_headers = q->n_headers,
		.body = q->body,
		.body_len = q->body_len,
		.need = { q->push, q->mount_from, t->end_ms, NULL },
		.max_body = q->max_body ? q->max_body : CK_REGISTRY_MAX_DOC,
		.stall_ms = q->stall_ms ? q->stall_ms : ck_registry_stall_ms(r->timeout_ms),
		.once = q->tries == 1,
	};
	int rc = ck_request_send(e, &req, res, err);

	if (rc < 0) {
		ck_registry_blame(e, err);
		ck_turns_end(t, ck_registry_error_stays(rc, res) ? CK_TURN_FINAL : CK_TURN_FAILED,
			     0);
		return rc;
	}
	if (res->status == 401 || ck_registry_status_passes(res->status)) {
		ck_turns_end(t, res->status == 401 ? CK_TURN_FINAL : CK_TURN_FAILED,
			     ck_http_res_retry_ms(res));
		rc = ck_registry_refused(res, err);
		ck_registry_blame(e, err);
		return rc;
	}
	/* A mirror's no is not the last word. */
	bool last = q->push || e == r->endpoints[r->n_endpoints - 1];
	if (res->status >= 400 && !last) {
		rc = ck_registry_refused(res, err);
		ck_turns_end(t, CK_TURN_FINAL, 0);
		return rc;
	}
	return 0;
}

int ck_registry_do(struct ck_registry *r, const struct ck_registry_req *req,
		   struct ck_http_res *res, struct ck_err *err)
{
	uint64_t timeout = req->timeout_ms > r->timeout_ms ? req->timeout_ms : r->timeout_ms;
	if (req->hurry_ms && req->hurry_ms < timeout)
		timeout = req->hurry_ms;
	struct ck_turns t = { .end_ms = ck_now_ms() + timeout,
			      .one_round = req->hurry_ms != 0,
			      .tries_left = req->tries ? req->tries : TRIES };
	struct ck_endpoint *e;
	struct ck_err last = { 0 };
	int rc = ck_fail(err, -ETIMEDOUT, "no time left"), old = 0;

	/* What stands behind a URL is for the host itself to answer. */
	bool alone = req->push || *req->path == '/' || strstr(req->path, "://");
	ck_turns_start(&t, r->endpoints, r->n_endpoints, CK_CAN_RESOLVE, alone);
	/* With mirrors, each has its tries. */
	t.tries_left = t.tries_left == 1 ? 1 : t.tries_left * (unsigned)(t.n ? t.n : 1);
	while ((e = ck_turns_next(&t, &rc, err))) {
		rc = take_turn(r, e, req, &t, res, err);
		if (rc == 0)
			return 0;
		ck_registry_keep_reason(&rc, err, old, &last);
		old = rc;
		if (err)
			last = *err;
	}
	/* An answer is one, though it is not a good one. */
	return rc == -EPROTO && ck_registry_status_passes(res->status) ? 0 : rc;
}
