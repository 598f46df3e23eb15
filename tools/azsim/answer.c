/* Reading requests and making answers, in the words of each service. */
#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "tools/azsim/server.h"

const char *az_req_query(const struct az_req *req, const char *name)
{
	return MHD_lookup_connection_value(req->conn, MHD_GET_ARGUMENT_KIND, name);
}

const char *az_req_header(const struct az_req *req, const char *name)
{
	return MHD_lookup_connection_value(req->conn, MHD_HEADER_KIND, name);
}

int az_req_json(json_t **out, const struct az_req *req, struct ck_err *err)
{
	const char *type = az_req_header(req, "Content-Type");

	if (!type || strncmp(type, "application/json", 16) != 0)
		return ck_fail(err, -EINVAL, "the Content-Type is not application/json");
	if (ck_json_parse(out, req->body.data, req->body.len, "the request", err) < 0)
		return err->code = -EINVAL;
	if (!json_is_object(*out))
		return ck_fail(err, -EINVAL, "the request is not a JSON object");
	return 0;
}

int az_req_api_version(const struct az_req *req, const char *const *allowed, struct ck_err *err)
{
	const char *v = az_req_query(req, "api-version");

	if (!v)
		return ck_fail(err, -EINVAL, "the api-version is missing");
	for (; *allowed; allowed++)
		if (strcmp(*allowed, v) == 0)
			return 0;
	return ck_fail(err, -EINVAL, "the api-version %s is not supported", v);
}

int az_answer(struct az_res *res, unsigned status, json_t *j, struct ck_err *err)
{
	CK_JSON *doc = j;

	if (!doc)
		return ck_nomem(err, "answering");
	ck_buf_free(&res->body);
	int rc = ck_json_dump(&res->body, doc, err);
	if (rc == 0)
		res->status = status;
	return rc;
}

int az_refuse(const struct az_req *req, struct az_res *res, unsigned status, const char *code,
	      const char *message, struct ck_err *err)
{
	json_t *j;

	res->content_type = NULL;
	if (req->site == AZ_SITE_METADATA || req->site == AZ_SITE_LOGIN)
		/* RFC 6749 section 5.2 */
		j = json_pack("{s:s,s:s}", "error", code, "error_description", message);
	else if (res->inner_code)
		j = json_pack("{s:{s:s,s:s,s:{s:s}}}", "error", "code", code, "message", message,
			      "innererror", "code", res->inner_code);
	else
		j = json_pack("{s:{s:s,s:s}}", "error", "code", code, "message", message);
	return az_answer(res, status, j, err);
}
