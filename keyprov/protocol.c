#include "keyprov/protocol.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "keyprov/gojson.h"
#include "keyprov/kek.h"

static const char usual_name[] = "attestation-agent";

/* Whether S[0..LEN) is WORD, without regard to case. */
static bool is_word(const char *s, size_t len, const char *word)
{
	return len == strlen(word) && strncasecmp(s, word, len) == 0;
}

bool ck_agent_parse(char kid[CK_KID_MAX], const char *value)
{
	size_t agent_len = strcspn(value, ":");

	if (!is_word(value, agent_len, "aasp") && !is_word(value, agent_len, "skr"))
		return false;
	const char *rest = value + agent_len + (value[agent_len] == ':');
	size_t len = strcspn(rest, ":");
	/* One that is cut could be another key's. */
	snprintf(kid, CK_KID_MAX, "%.*s", len < CK_KID_MAX ? (int)len : 0, rest);
	return true;
}

/* The same for the first of VALUES. */
static bool is_ours(const json_t *values, char kid[CK_KID_MAX])
{
	CK_SECRET text = { 0 };
	char s[CK_KID_MAX + 8] = "";

	if (!json_is_array(values) ||
	    ck_gojson_bytes(&text, json_array_get(values, 0), "", sizeof s - 1, NULL) < 0)
		return false;
	memcpy(s, text.data, text.len);
	/* No NUL within. */
	return strlen(s) == text.len && ck_agent_parse(kid, s);
}

static int find_kid(const json_t *parameters, char kid[CK_KID_MAX], struct ck_err *err)
{
	const json_t *usual = json_object_get(parameters, usual_name);
	size_t n = 0;
	const char *name;
	json_t *values;

	if (usual) {
		n = is_ours(usual, kid);
	} else {
		json_object_foreach ((json_t *)(uintptr_t)parameters, name, values) {
			char other[CK_KID_MAX];
			if (is_ours(values, n ? other : kid))
				n++;
		}
	}
	if (n == 0 || (n == 1 && !kid[0]))
		return ck_fail(err, -EINVAL,
			       "the request names no key: use "
			       "provider:%s:aasp:<key id> when encrypting",
			       usual_name);
	if (n > 1)
		return ck_fail(err, -EINVAL, "several parameters name a key; call this provider %s",
			       usual_name);
	return ck_kid_check(kid, err);
}

static int parse_wrap(struct ck_request *out, const json_t *doc, struct ck_err *err)
{
	json_t *params, *ec, *parameters, *data;
	int rc;

	if ((rc = ck_gojson_get(&params, doc, "keywrapparams", err)) < 0 ||
	    (rc = ck_gojson_get(&ec, params, "ec", err)) < 0 ||
	    (rc = ck_gojson_get(&parameters, ec, "Parameters", err)) < 0 ||
	    (rc = ck_gojson_get(&data, params, "optsdata", err)) < 0 ||
	    (rc = find_kid(parameters, out->kid, err)) < 0 ||
	    (rc = ck_gojson_bytes(&out->data, data, "optsdata", CK_PACKET_DATA_MAX, err)) < 0)
		return rc;
	return out->data.len ? 0 : ck_fail(err, -EINVAL, "there is no \"optsdata\" to wrap");
}

static int parse_unwrap(struct ck_request *out, const json_t *doc, struct ck_err *err)
{
	json_t *params, *annotation;
	int rc;

	if ((rc = ck_gojson_get(&params, doc, "keyunwrapparams", err)) < 0 ||
	    (rc = ck_gojson_get(&annotation, params, "annotation", err)) < 0 ||
	    (rc = ck_gojson_bytes(&out->data, annotation, "annotation", CK_PACKET_MAX, err)) < 0)
		return rc;
	return out->data.len ? 0 : ck_fail(err, -EINVAL, "there is no \"annotation\" to unwrap");
}

static int parse_op(enum ck_op *out, const json_t *doc, struct ck_err *err)
{
	json_t *op;
	int rc = ck_gojson_get(&op, doc, "op", err);

	if (rc < 0)
		return rc;
	const char *s = json_is_string(op) ? json_string_value(op) : "";
	if (strcmp(s, "keywrap") == 0)
		*out = CK_OP_WRAP;
	else if (strcmp(s, "keyunwrap") == 0)
		*out = CK_OP_UNWRAP;
	else
		return ck_fail(err, -EINVAL, "\"op\" is neither keywrap nor keyunwrap");
	return 0;
}

int ck_request_parse(struct ck_request *out, const enum ck_op *op, const void *in, size_t nbytes,
		     struct ck_err *err)
{
	CK_JSON *doc = NULL;
	int rc;

	*out = (struct ck_request){ .op = op ? *op : CK_OP_WRAP };
	if ((rc = ck_json_parse_secret(&doc, in, nbytes, "the request", err)) < 0)
		return rc;
	if (!json_is_object(doc))
		return ck_fail(err, -EBADMSG, "the request is not a JSON object");
	if (!op && (rc = parse_op(&out->op, doc, err)) < 0)
		return rc;
	return out->op == CK_OP_WRAP ? parse_wrap(out, doc, err) : parse_unwrap(out, doc, err);
}

void ck_request_free(struct ck_request *r)
{
	ck_secret_free(&r->data);
}

static int answer(struct ck_buf *out, const char *head, const void *p, size_t nbytes,
		  struct ck_err *err)
{
	int rc = ck_buf_adds(out, head, err);

	if (rc == 0)
		rc = ck_gojson_add_bytes(out, p, nbytes, err);
	return rc < 0 ? rc : ck_buf_adds(out, "}}", err);
}

int ck_request_perform(const struct ck_provider *p, const struct ck_request *r, struct ck_buf *out,
		       struct ck_err *err)
{
	CK_BUF annotation = { 0 };
	CK_SECRET opts = { 0 };
	CK_PACKET packet = { 0 };
	int rc;

	if (r->op == CK_OP_WRAP) {
		rc = ck_kek_wrap(p, r->kid, r->data.data, r->data.len, &annotation, err);
		return rc < 0 ? rc
			      : answer(out, "{\"keywrapresults\":{\"annotation\":", annotation.data,
				       annotation.len, err);
	}
	if ((rc = ck_packet_parse(&packet, r->data.data, r->data.len, err)) < 0 ||
	    (rc = ck_kek_unwrap(p, &packet, &opts, err)) < 0)
		return rc;
	return answer(out, "{\"keyunwrapresults\":{\"optsdata\":", opts.data, opts.len, err);
}
