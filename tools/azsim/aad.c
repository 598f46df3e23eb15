#include "tools/azsim/aad.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "tools/azsim/routes.h"

#define TOKEN_ISSUER   "https://sts.windows.net/" AZ_TENANT "/"
#define FED_AUDIENCE   "api://AzureADTokenExchange"
#define ASSERTION_TYPE "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

static int sign(struct ck_buf *out, EVP_PKEY *key, const json_t *payload, struct ck_err *err)
{
	CK_BUF kid = { 0 };
	int rc = az_jwk_thumbprint(&kid, CK_B64_URL, key, err);

	if (rc < 0)
		return rc;
	CK_JSON *header = json_pack("{s:s}", "kid", ck_buf_str(&kid));
	if (!header || !payload)
		return ck_nomem(err, "writing a token");
	return az_jws_sign(out, header, payload, key, AZ_NO_FAULT, err);
}

int az_aad_access_token(struct ck_buf *out, EVP_PKEY *key, const char *resource, time_t now,
			long life_s, struct ck_err *err)
{
	CK_JSON *payload = json_pack("{s:s,s:s,s:I,s:I,s:I,s:s,s:s,s:s}", "aud", resource, "iss",
				     TOKEN_ISSUER, "iat", (json_int_t)now, "nbf", (json_int_t)now,
				     "exp", (json_int_t)now + life_s, "appid", AZ_CLIENT_ID, "tid",
				     AZ_TENANT, "ver", "1.0");

	return sign(out, key, payload, err);
}

int az_aad_federated_token(struct ck_buf *out, EVP_PKEY *key, long life_s, struct ck_err *err)
{
	json_int_t now = time(NULL);
	CK_JSON *payload =
	    json_pack("{s:s,s:s,s:s,s:I,s:I,s:I}", "iss", AZ_FED_ISSUER, "sub", AZ_FED_SUBJECT,
		      "aud", FED_AUDIENCE, "iat", now, "nbf", now, "exp", now + life_s);

	return sign(out, key, payload, err);
}

static const char *claim(const struct az_jwt *t, const char *name)
{
	const char *s = json_string_value(json_object_get(t->payload, name));

	return s ? s : "";
}

int az_aad_check_bearer(const char *authorization, EVP_PKEY *key, const char *resource,
			struct ck_err *err)
{
	AZ_JWT t = { 0 };

	if (!authorization || strncasecmp(authorization, "Bearer ", 7) != 0)
		return ck_fail(err, -EPERM,
			       "Request is missing a Bearer or PoP token in its Authorization "
			       "header");
	if (az_jwt_parse(&t, authorization + 7, err) < 0 ||
	    az_jwt_verify(&t, key, time(NULL), err) < 0) {
		ck_wrap(err, "the bearer token is not good");
		return err->code = -EPERM;
	}
	if (strcmp(claim(&t, "iss"), TOKEN_ISSUER) != 0)
		return ck_fail(err, -EPERM, "the bearer token has another issuer");
	if (strcmp(claim(&t, "aud"), resource) != 0)
		return ck_fail(err, -EPERM, "the bearer token is for %s, not for %s",
			       claim(&t, "aud"), resource);
	return 0;
}

/* A form field (application/x-www-form-urlencoded), decoded; "" when absent. */
static int field(struct ck_buf *out, const struct ck_buf *form, const char *name,
		 struct ck_err *err)
{
	const char *p = ck_buf_str(form);
	size_t n = strlen(name);
	int rc = 0;

	while (*p && !(strncmp(p, name, n) == 0 && p[n] == '=')) {
		p += strcspn(p, "&");
		p += *p == '&';
	}
	if (!*p)
		return 0;
	for (p += n + 1; rc == 0 && *p && *p != '&'; p++) {
		char hex[3] = { 0 };
		uint8_t c = *p == '+' ? ' ' : (uint8_t)*p;
		if (*p == '%') {
			memcpy(hex, p + 1, strnlen(p + 1, 2));
			if (!ck_unhex(&c, 1, hex))
				return ck_fail(err, -EINVAL, "the form is not URL-encoded");
			p += 2;
		}
		rc = ck_buf_add(out, &c, 1, err);
	}
	return rc;
}

struct form {
	struct ck_buf grant_type, assertion_type, client_id, scope, assertion;
};

static void form_free(struct form *f)
{
	ck_buf_free(&f->grant_type);
	ck_buf_free(&f->assertion_type);
	ck_buf_free(&f->client_id);
	ck_buf_free(&f->scope);
	ck_buf_free(&f->assertion);
}

static int read_form(struct form *f, const struct az_req *req, struct ck_err *err)
{
	const char *type = az_req_header(req, "Content-Type");

	if (!type || strncmp(type, "application/x-www-form-urlencoded", 33) != 0)
		return ck_fail(err, -EINVAL, "the Content-Type is not a form's");
	if (memchr(req->body.data ? req->body.data : (const uint8_t *)"", 0, req->body.len))
		return ck_fail(err, -EINVAL, "the form holds a NUL");
	int rc = field(&f->grant_type, &req->body, "grant_type", err);
	if (rc == 0)
		rc = field(&f->assertion_type, &req->body, "client_assertion_type", err);
	if (rc == 0)
		rc = field(&f->client_id, &req->body, "client_id", err);
	if (rc == 0)
		rc = field(&f->scope, &req->body, "scope", err);
	return rc < 0 ? rc : field(&f->assertion, &req->body, "client_assertion", err);
}

/* The error code of what is wrong with the request, its words in *ERR; NULL when nothing is. */
static const char *judge(const struct form *f, const char *tenant, EVP_PKEY *federated,
			 struct ck_err *err)
{
	AZ_JWT t = { 0 };
	static const char suffix[] = "/.default";
	const size_t n = sizeof suffix - 1;

	if (strcmp(tenant, AZ_TENANT) != 0)
		return ck_fail(err, -EINVAL, "AADSTS90002: Tenant '%s' not found", tenant),
		       "invalid_request";
	if (strcmp(ck_buf_str(&f->grant_type), "client_credentials") != 0)
		return ck_fail(err, -EINVAL, "AADSTS70003: grant_type is not client_credentials"),
		       "unsupported_grant_type";
	if (strcmp(ck_buf_str(&f->client_id), AZ_CLIENT_ID) != 0)
		return ck_fail(err, -EINVAL, "AADSTS700016: no such application"),
		       "unauthorized_client";
	if (f->scope.len <= n || strcmp(ck_buf_str(&f->scope) + f->scope.len - n, suffix) != 0)
		return ck_fail(err, -EINVAL, "AADSTS1002012: the scope does not end in /.default"),
		       "invalid_scope";
	if (strcmp(ck_buf_str(&f->assertion_type), ASSERTION_TYPE) != 0)
		return ck_fail(err, -EINVAL, "AADSTS50027: client_assertion_type is wrong"),
		       "invalid_client";
	if (az_jwt_parse(&t, ck_buf_str(&f->assertion), err) < 0 ||
	    az_jwt_verify(&t, federated, time(NULL), err) < 0)
		return ck_wrap(err, "AADSTS700024: the client assertion is not good"),
		       "invalid_client";
	if (strcmp(claim(&t, "iss"), AZ_FED_ISSUER) != 0 ||
	    strcmp(claim(&t, "sub"), AZ_FED_SUBJECT) != 0 ||
	    strcmp(claim(&t, "aud"), FED_AUDIENCE) != 0)
		return ck_fail(err, -EINVAL,
			       "AADSTS700213: no federated identity matches the assertion's "
			       "issuer, subject and audience"),
		       "invalid_client";
	return NULL;
}

int az_aad_token(struct az_sim *s, const struct az_req *req, struct az_res *res, struct ck_err *err)
{
	enum { LIFE_S = 3600 };
	CK_AUTO(form_free) struct form f = { 0 };
	CK_BUF token = { 0 };
	int rc = read_form(&f, req, err);

	if (rc == -EINVAL)
		return az_refuse(req, res, 400, "invalid_request", err->msg, err);
	if (rc < 0)
		return rc;
	const char *code = judge(&f, req->arg[0], s->federated_key, err);
	if (code)
		return az_refuse(req, res, strcmp(code, "invalid_client") == 0 ? 401 : 400, code,
				 err->msg, err);
	/* "<resource>/.default" asks for a token of audience <resource>. */
	f.scope.data[f.scope.len - strlen("/.default")] = 0;
	rc = az_aad_access_token(&token, s->aad_key, ck_buf_str(&f.scope), time(NULL), LIFE_S, err);
	if (rc < 0)
		return rc;
	return az_answer(res, 200,
			 json_pack("{s:s,s:i,s:i,s:s}", "token_type", "Bearer", "expires_in",
				   LIFE_S, "ext_expires_in", LIFE_S, "access_token",
				   ck_buf_str(&token)),
			 err);
}
