#include "tools/azsim/client.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"

static int open_http(struct az_client *c, struct ck_err *err)
{
	json_t *map = json_object_get(c->config, "addresses"), *to;
	struct ck_http_address a[64];
	struct ck_http_opts opts = { .ca_file =
					 json_string_value(json_object_get(c->config, "ca_file")),
				     .addresses = a };
	const char *host;

	json_object_foreach (map, host, to)
		if (opts.n_addresses < sizeof a / sizeof *a)
			a[opts.n_addresses++] =
			    (struct ck_http_address){ host, json_string_value(to) };
	return ck_http_open(&c->http, &opts, err);
}

int az_client_open(struct az_client *c, const char *state, struct ck_err *err)
{
	pid_t pid;

	memset(c, 0, sizeof *c);
	int rc = az_dir_find(c->dir, state, err);
	if (rc == 0)
		rc = az_dir_holder(c->dir, &pid, err);
	if (rc == 0 && pid == 0)
		return ck_fail(err, -ESRCH,
			       "no simulator runs with state %s; start it with: azsim start "
			       "--state %s",
			       c->dir, c->dir);
	if (rc == 0)
		rc = ck_json_file(&c->config, az_path(c->dir, "cloakfs.json").s, 1 << 20, err);
	return rc < 0 ? rc : open_http(c, err);
}

void az_client_close(struct az_client *c)
{
	ck_http_close(c->http);
	json_decref(c->config);
}

/* The message of an error answer, in either of the services' forms. */
static const char *words(const json_t *answer)
{
	const char *s =
	    json_string_value(json_object_get(json_object_get(answer, "error"), "message"));

	if (!s)
		s = json_string_value(json_object_get(answer, "error_description"));
	return s ? s : "no reason given";
}

int az_client_call(json_t **out, struct az_client *c, const char *method, const char *url,
		   const char *authorization, const json_t *body, struct ck_err *err)
{
	CK_BUF text = { 0 };
	CK_BUF auth = { 0 };
	CK_HTTP_RES res = { 0 };
	CK_JSON *answer = NULL;
	const char *headers[2] = { "Content-Type: application/json" };
	struct ck_http_req req = { .method = method,
				   .url = url,
				   .headers = headers,
				   .n_headers = 1,
				   .no_proxy = true,
				   .timeout_ms = 30000, /* an RSA-4096 key may take that long */
				   .tries = 1 };
	int rc = 0;

	if (authorization)
		rc = ck_buf_addf(&auth, err, "Authorization: Bearer %s", authorization);
	if (rc == 0 && authorization)
		headers[req.n_headers++] = ck_buf_str(&auth);
	if (rc == 0 && body)
		rc = ck_json_dump(&text, body, err);
	if (body) {
		req.body = text.data;
		req.body_len = text.len;
	}
	if (rc == 0)
		rc = ck_http_do(c->http, &req, &res, err);
	if (rc == 0)
		rc = ck_json_parse(&answer, res.body.data, res.body.len, url, err);
	if (rc < 0)
		return rc;
	if (res.status != 200)
		return ck_fail(err, -EPROTO, "%s (%ld)", words(answer), res.status);
	*out = ck_take(answer);
	return 0;
}

int az_client_control(json_t **out, struct az_client *c, const char *method, const char *path,
		      const json_t *body, struct ck_err *err)
{
	CK_BUF url = { 0 };
	const char *base = json_string_value(json_object_get(c->config, "imds_url"));
	int rc = ck_buf_addf(&url, err, "%s%s", base ? base : "", path);

	return rc < 0 ? rc : az_client_call(out, c, method, ck_buf_str(&url), NULL, body, err);
}
