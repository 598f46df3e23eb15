/* The instance metadata service: managed identity tokens, host certificates (THIM). */
#include <stdio.h>
#include <string.h>

#include "tools/azsim/aad.h"
#include "tools/azsim/routes.h"

/* Every request must show that it was meant for this service and came directly. 0, or
 * 1 when RES holds a refusal. */
static int check_headers(const struct az_req *req, struct az_res *res, struct ck_err *err)
{
	const char *m = az_req_header(req, "Metadata"), *why = NULL;

	if (!m || strcmp(m, "true") != 0)
		why = "Required metadata header not specified";
	else if (az_req_header(req, "X-Forwarded-For"))
		why = "X-Forwarded-For must not be set";
	if (!why)
		return 0;
	int rc = az_refuse(req, res, 400, "invalid_request", why, err);
	return rc < 0 ? rc : 1;
}

static int answer_token(struct az_sim *s, struct az_res *res, const char *resource,
			struct ck_err *err)
{
	enum { LIFE_S = 86400 };
	CK_BUF token = { 0 };
	time_t now = time(NULL);
	char at[3][24];
	int rc = az_aad_access_token(&token, s->aad_key, resource, now, LIFE_S, err);

	if (rc < 0)
		return rc;
	snprintf(at[0], sizeof at[0], "%d", LIFE_S);
	snprintf(at[1], sizeof at[1], "%lld", (long long)now + LIFE_S);
	snprintf(at[2], sizeof at[2], "%lld", (long long)now);
	return az_answer(res, 200,
			 json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "access_token",
				   ck_buf_str(&token), "client_id", AZ_CLIENT_ID, "expires_in",
				   at[0], "expires_on", at[1], "not_before", at[2], "resource",
				   resource, "token_type", "Bearer", "refresh_token", ""),
			 err);
}

int az_imds_token(struct az_sim *s, const struct az_req *req, struct az_res *res,
		  struct ck_err *err)
{
	static const char *const versions[] = { "2018-02-01", "2019-08-01", "2021-02-01", NULL };
	const char *resource = az_req_query(req, "resource");
	const char *client = az_req_query(req, "client_id");
	int rc = check_headers(req, res, err);

	if (rc)
		return rc < 0 ? rc : 0;
	if (az_req_api_version(req, versions, err) < 0)
		return az_refuse(req, res, 400, "invalid_request", err->msg, err);
	if (!resource || strncmp(resource, "https://", 8) != 0)
		return az_refuse(req, res, 400, "invalid_resource",
				 "the resource is missing or no https URL", err);
	if (client && strcmp(client, AZ_CLIENT_ID) != 0)
		return az_refuse(req, res, 400, "invalid_request", "Identity not found", err);
	return answer_token(s, res, resource, err);
}

int az_imds_thim(struct az_sim *s, const struct az_req *req, struct az_res *res, struct ck_err *err)
{
	json_t *j = NULL;
	int rc = check_headers(req, res, err);

	if (rc)
		return rc < 0 ? rc : 0;
	rc = az_amd_thim(&j, &s->amd, req->fault, err);
	return rc < 0 ? rc : az_answer(res, 200, j, err);
}

int az_imds_location(struct az_sim *s, const struct az_req *req, struct az_res *res,
		     struct ck_err *err)
{
	int rc = check_headers(req, res, err);

	(void)s;
	if (rc)
		return rc < 0 ? rc : 0;
	if (!az_req_query(req, "api-version"))
		return az_refuse(req, res, 400, "Bad request", "api-version is missing", err);
	res->status = 200;
	res->content_type = "text/plain; charset=utf-8";
	return ck_buf_adds(&res->body, "eastus", err);
}
