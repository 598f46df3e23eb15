#include "tools/azsim/evidence.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"

/* Decodes the base64url string at KEY; an error names KEY and is -EINVAL. */
static int decode(struct ck_buf *out, const json_t *obj, const char *key, struct ck_err *err)
{
	int rc = ck_json_b64(out, obj, key, CK_B64_URL_PAD, true, err);

	return rc == -EBADMSG ? (err->code = -EINVAL) : rc;
}

/* An object of the base64url JSON at KEY, with no members but ALLOWED. */
static int decode_object(json_t **out, const json_t *obj, const char *key,
			 const char *const *allowed, struct ck_err *err)
{
	CK_BUF text = { 0 };
	int rc = decode(&text, obj, key, err);

	if (rc < 0)
		return rc;
	if (ck_json_parse(out, text.data, text.len, key, err) < 0)
		return err->code = -EINVAL;
	if (!json_is_object(*out))
		return ck_fail(err, -EINVAL, "%s is not a JSON object", key);
	return ck_json_only(*out, allowed, key, err);
}

static int read_report(struct az_snp_report *out, struct ck_buf *chain, const json_t *body,
		       struct ck_err *err)
{
	static const char *const allowed[] = { "SnpReport", "VcekCertChain", "Endorsements", NULL };
	CK_JSON *report = NULL;
	CK_BUF raw = { 0 };
	int rc = decode_object(&report, body, "report", allowed, err);

	if (rc == 0)
		rc = decode(&raw, report, "SnpReport", err);
	if (rc == 0)
		rc = decode(chain, report, "VcekCertChain", err);
	if (rc < 0)
		return rc;
	if (json_object_get(report, "Endorsements"))
		return ck_fail(err, -EINVAL, "Endorsements of an issuer that azsim does not know");
	if (raw.len != AZ_SNP_REPORT_LEN)
		return ck_fail(err, -EINVAL, "SnpReport has %zu bytes, not %d", raw.len,
			       AZ_SNP_REPORT_LEN);
	memcpy(out->b, raw.data, raw.len);
	return 0;
}

/* REPORT_DATA is the SHA-256 of the runtime data, then zeros. */
static int check_binding(const struct az_snp_report *r, const struct ck_buf *data,
			 struct ck_err *err)
{
	uint8_t want[AZ_SNP_DATA_LEN] = { 0 };

	ck_sha256(want, data->data ? data->data : (const uint8_t *)"", data->len);
	if (memcmp(want, r->b + AZ_SNP_REPORT_DATA, sizeof want) != 0)
		return ck_fail(err, -EACCES,
			       "the report data is not the SHA-256 of the runtime data and zeros");
	return 0;
}

static int read_runtime(struct az_evidence *e, const json_t *body, struct ck_err *err)
{
	static const char *const allowed[] = { "data", "dataType", NULL };
	CK_BUF data = { 0 };
	json_t *j;
	const char *type;

	if (ck_json_obj(&j, body, "runtimeData", true, err) < 0 ||
	    ck_json_only(j, allowed, "runtimeData", err) < 0 ||
	    ck_json_str(&type, j, "dataType", true, err) < 0)
		return err->code = -EINVAL;
	int rc = decode(&data, j, "data", err);
	if (rc == 0)
		rc = check_binding(&e->report, &data, err);
	if (rc < 0 || strcmp(type, "Binary") == 0)
		return rc;
	if (strcmp(type, "JSON") != 0)
		return ck_fail(err, -EINVAL, "dataType %s is neither JSON nor Binary", type);
	if (ck_json_parse(&e->runtime, data.data, data.len, "the runtime data", err) < 0)
		return err->code = -EINVAL;
	return 0;
}

/* Data given at launch: its SHA-256 must be the report's host data. Often sent empty. */
static int read_init_time(struct az_evidence *e, const json_t *body, struct ck_err *err)
{
	CK_BUF data = { 0 };
	uint8_t md[CK_SHA256_LEN];
	json_t *j;

	if (ck_json_obj(&j, body, "initTimeData", false, err) < 0)
		return err->code = -EINVAL;
	const char *text = json_string_value(json_object_get(j, "data"));
	if (!text || !*text)
		return 0;
	int rc = decode(&data, j, "data", err);
	if (rc < 0)
		return rc;
	ck_sha256(md, data.data, data.len);
	if (memcmp(md, e->report.b + AZ_SNP_HOST_DATA, sizeof md) != 0)
		return ck_fail(err, -EACCES, "the host data is not the SHA-256 of initTimeData");
	if (ck_json_parse(&e->init_time, data.data, data.len, "initTimeData", err) < 0)
		return err->code = -EINVAL;
	return 0;
}

int az_evidence_read(struct az_evidence *e, const json_t *body, X509 *ark, struct ck_err *err)
{
	static const char *const allowed[] = { "report", "runtimeData", "initTimeData", "nonce",
					       NULL };
	CK_BUF chain = { 0 };
	int rc = ck_json_only(body, allowed, "the request", err);

	if (rc == 0)
		rc = read_report(&e->report, &chain, body, err);
	if (rc == 0)
		rc = az_snp_check(&e->report, chain.data, chain.len, ark, err);
	if (rc == 0)
		rc = read_runtime(e, body, err);
	if (rc == 0)
		rc = read_init_time(e, body, err);
	if (rc < 0)
		return rc;
	json_t *nonce = json_object_get(body, "nonce");
	if (nonce && !json_is_string(nonce) && !json_is_number(nonce))
		return ck_fail(err, -EINVAL, "the nonce is neither a string nor a number");
	e->nonce = json_incref(nonce);
	return 0;
}

void az_evidence_free(struct az_evidence *e)
{
	json_decref(e->runtime);
	json_decref(e->init_time);
	json_decref(e->nonce);
}
