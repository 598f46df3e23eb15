#include "attest/service.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"

/* Room for a claim's name and two measurements in hex. */
enum { SAID_MAX = 400 };

int ck_service_do(const struct ck_call *call, struct ck_http_req *req, struct ck_http_res *res,
		  struct ck_err *err)
{
	uint64_t now = ck_now_ms();

	if (now >= call->end_ms)
		return ck_fail(err, -ETIMEDOUT, "%s: no time left", req->url);
	uint64_t left = call->end_ms - now;
	req->deadline_ms = left < 30000 ? (unsigned)left : 30000;
	return ck_http_do(call->http, req, res, err);
}

static const char *reason(long status)
{
	static const struct {
		long status;
		const char *text;
	} known[] = {
		{ 400, "Bad Request" },
		{ 401, "Unauthorized" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 408, "Request Timeout" },
		{ 409, "Conflict" },
		{ 410, "Gone" },
		{ 413, "Content Too Large" },
		{ 429, "Too Many Requests" },
		{ 500, "Internal Error" },
		{ 502, "Bad Gateway" },
		{ 503, "Service Unavailable" },
		{ 504, "Gateway Timeout" },
	};

	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (known[i].status == status)
			return known[i].text;
	return "unexpected status";
}

static bool token_char(char c)
{
	return isalnum((unsigned char)c) || (c && strchr("-_.~+/=", c) != NULL);
}

/* A service may quote the token that it was sent; a measurement in hex is none. */
static bool like_token(const char *s, size_t run)
{
	return run >= 64 && strspn(s, "0123456789abcdefABCDEF") < run;
}

/* Appends S to OUT, whatever is like a token masked. Stops at a whole UTF-8 character
 * within SAID_MAX bytes. */
static int add_said(struct ck_buf *out, const char *s, struct ck_err *err)
{
	size_t start = out->len;

	while (*s) {
		size_t run = 0, step = 1;
		while (token_char(s[run]))
			run++;
		if (run)
			step = run;
		else
			while (((unsigned char)s[step] & 0xc0) == 0x80)
				step++;
		bool mask = like_token(s, run);
		const char *text = mask ? "[masked]" : s;
		size_t nbytes = mask ? strlen(text) : step;
		if (nbytes > SAID_MAX - (out->len - start))
			return ck_buf_adds(out, "...", err);
		int rc = ck_buf_add(out, text, nbytes, err);
		if (rc < 0)
			return rc;
		s += step;
	}
	return 0;
}

/* The service's message: {"error":{"code","message"}} (MAA, HSM) or
 * {"error","error_description"} (AAD, IMDS; RFC 6749 section 5.2). */
static int add_message(struct ck_buf *out, const struct ck_http_res *res, struct ck_err *err)
{
	CK_JSON *j = NULL;

	if (ck_json_parse(&j, res->body.data, res->body.len, "error", NULL) < 0)
		return 0;
	const json_t *e = json_object_get(j, "error");
	const char *said = json_string_value(json_object_get(e, "message"));
	const char *code = json_string_value(json_object_get(e, "code"));
	if (json_is_string(e)) {
		said = json_string_value(json_object_get(j, "error_description"));
		code = json_string_value(e);
	}
	if (!said || !*said)
		said = code;
	if (!said || !*said)
		return 0;
	int rc = ck_buf_adds(out, ": ", err);
	return rc < 0 ? rc : add_said(out, said, err);
}

int ck_service_refused(const struct ck_http_res *res, struct ck_err *err, const char *what, ...)
{
	long s = res->status;
	int code = (s >= 400 && s <= 404) || s == 409 || s == 410 ? -EACCES : -EPROTO;
	CK_BUF said = { 0 };
	char head[384];
	va_list ap;

	va_start(ap, what);
	vsnprintf(head, sizeof head, what, ap);
	va_end(ap);
	int rc = add_message(&said, res, err);
	if (rc < 0)
		return rc;
	if (res->request_id[0])
		ck_log(CK_LOG_DEBUG, "%s: x-ms-request-id %s", head, res->request_id);
	return ck_fail(err, code, "%s (%ld %s)%s", head, s, reason(s), ck_buf_str(&said));
}

int ck_service_json(json_t **out, const struct ck_http_res *res, const char *name,
		    struct ck_err *err)
{
	CK_JSON *j = NULL;
	int rc = ck_json_parse_secret(&j, res->body.data, res->body.len, name, err);

	if (rc < 0)
		return rc;
	if (!json_is_object(j))
		return ck_fail(err, -EBADMSG, "%s is not a JSON object", name);
	*out = ck_take(j);
	return 0;
}
