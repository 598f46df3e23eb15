#include "keyprov/jwe.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "keyprov/jwekey.h"

struct ck_jwe {
	json_t *doc;	      /* the whole object */
	json_t *prot;	      /* decoded protected header, or NULL */
	const char *prot_b64; /* as written: it is authenticated; "" when absent */
	json_t *recipients;   /* borrowed from doc; NULL: flattened, doc is the recipient */
	const struct ck_enc *enc;
	struct ck_buf iv, data, tag, aad;
};

/* Looks NAME up in the three headers of a recipient, which may not overlap. */
static int header(json_t **out, const struct ck_jwe *j, const json_t *recipient, const char *name,
		  struct ck_err *err)
{
	json_t *places[] = { j->prot, json_object_get(j->doc, "unprotected"),
			     json_object_get(recipient, "header") };

	*out = NULL;
	for (size_t i = 0; i < 3; i++) {
		json_t *v = json_object_get(places[i], name);
		if (v && *out)
			return ck_fail(err, -EBADMSG, "header \"%s\" stands in two places", name);
		if (v)
			*out = v;
	}
	return 0;
}

/* The same for a string without NUL; NULL in *OUT when absent and not REQUIRED. */
static int header_str(const char **out, const struct ck_jwe *j, const json_t *recipient,
		      const char *name, bool required, struct ck_err *err)
{
	json_t *v;
	int rc = header(&v, j, recipient, name, err);

	*out = NULL;
	if (rc < 0)
		return rc;
	if (!v)
		return required ? ck_fail(err, -EBADMSG, "header \"%s\" is missing", name) : 0;
	if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v))
		return ck_fail(err, -EBADMSG, "header \"%s\" is not a string", name);
	*out = json_string_value(v);
	return 0;
}

static int header_b64(struct ck_buf *out, const struct ck_jwe *j, const json_t *recipient,
		      const char *name, struct ck_err *err)
{
	const char *s;
	int rc = header_str(&s, j, recipient, name, false, err);

	if (rc < 0 || !s)
		return rc;
	return ck_b64_decode(out, CK_B64_URL, s, strlen(s), err);
}

static size_t n_recipients(const struct ck_jwe *j)
{
	return j->recipients ? json_array_size(j->recipients) : 1;
}

static const json_t *recipient_at(const struct ck_jwe *j, size_t idx)
{
	return j->recipients ? json_array_get(j->recipients, idx) : j->doc;
}

static int read_protected(struct ck_jwe *j, struct ck_err *err)
{
	CK_BUF text = { 0 };
	const char *s;
	int rc = ck_json_str(&s, j->doc, "protected", false, err);

	if (rc < 0)
		return rc;
	j->prot_b64 = s ? s : "";
	if (!s || !*s)
		return 0;
	if (ck_b64_decode(&text, CK_B64_URL, s, strlen(s), err) < 0)
		return ck_wrap(err, "protected header");
	return ck_json_parse(&j->prot, text.data, text.len, "the protected header", err);
}

/* AAD of RFC 7516 section 5.1 step 14: protected, and "." and aad where there is one. */
static int read_aad(struct ck_jwe *j, struct ck_err *err)
{
	const char *aad;
	int rc = ck_json_str(&aad, j->doc, "aad", false, err);

	if (rc == 0)
		rc = ck_buf_adds(&j->aad, j->prot_b64, err);
	if (rc == 0 && aad)
		rc = ck_buf_addf(&j->aad, err, ".%s", aad);
	return rc;
}

/* What must hold for every recipient: known headers, no surprises. */
static int check_recipient(const struct ck_jwe *j, const json_t *r, struct ck_err *err)
{
	static const char *const refused[] = { "zip", "crit" };
	json_t *v;
	const char *alg;
	int rc;

	if (!json_is_object(r))
		return ck_fail(err, -EBADMSG, "a recipient is not an object");
	for (size_t i = 0; i < 2; i++) {
		if ((rc = header(&v, j, r, refused[i], err)) < 0)
			return rc;
		if (v)
			return ck_fail(err, -ENOTSUP, "header \"%s\" is not supported", refused[i]);
	}
	return header_str(&alg, j, r, "alg", true, err);
}

static int read_recipients(struct ck_jwe *j, struct ck_err *err)
{
	const char *enc, *first = NULL;
	int rc = ck_json_arr(&j->recipients, j->doc, "recipients", false, err);

	if (rc < 0)
		return rc;
	if (n_recipients(j) == 0 || n_recipients(j) > CK_JWE_RECIPIENTS_MAX)
		return ck_fail(err, -EBADMSG, "%zu recipients; 1 to %d are allowed",
			       n_recipients(j), CK_JWE_RECIPIENTS_MAX);
	for (size_t i = 0; i < n_recipients(j); i++) {
		const json_t *r = recipient_at(j, i);
		if ((rc = check_recipient(j, r, err)) < 0 ||
		    (rc = header_str(&enc, j, r, "enc", true, err)) < 0)
			return rc;
		if (first && strcmp(first, enc) != 0)
			return ck_fail(err, -EBADMSG, "recipients disagree about \"enc\"");
		first = enc;
	}
	j->enc = ck_enc_find(first);
	if (!j->enc)
		return ck_fail(err, -ENOTSUP, "content encryption %.40s is not supported", first);
	return 0;
}

static int read_all(struct ck_jwe *j, const void *p, size_t nbytes, struct ck_err *err)
{
	int rc;

	if (nbytes > CK_JWE_MAX)
		return ck_fail(err, -EFBIG, "%zu bytes are above the limit of %d", nbytes,
			       CK_JWE_MAX);
	if ((rc = ck_json_parse(&j->doc, p, nbytes, "it", err)) < 0)
		return rc;
	if (!json_is_object(j->doc))
		return ck_fail(err, -EBADMSG, "it is not a JSON object");
	if ((rc = read_protected(j, err)) < 0 || (rc = read_recipients(j, err)) < 0 ||
	    (rc = read_aad(j, err)) < 0 ||
	    (rc = ck_json_b64(&j->iv, j->doc, "iv", CK_B64_URL, true, err)) < 0 ||
	    (rc = ck_json_b64(&j->data, j->doc, "ciphertext", CK_B64_URL, true, err)) < 0)
		return rc;
	return ck_json_b64(&j->tag, j->doc, "tag", CK_B64_URL, true, err);
}

int ck_jwe_parse(struct ck_jwe **out, const void *p, size_t nbytes, struct ck_err *err)
{
	struct ck_jwe *j = calloc(1, sizeof *j);

	if (!j)
		return ck_nomem(err, "reading a JWE");
	if (read_all(j, p, nbytes, err) < 0) {
		ck_jwe_free(j);
		return ck_wrap(err, "JWE");
	}
	*out = j;
	return 0;
}

void ck_jwe_free(struct ck_jwe *j)
{
	if (!j)
		return;
	json_decref(j->doc);
	json_decref(j->prot);
	ck_buf_free(&j->iv);
	ck_buf_free(&j->data);
	ck_buf_free(&j->tag);
	ck_buf_free(&j->aad);
	free(j);
}

int ck_jwe_describe(const struct ck_jwe *j, struct ck_buf *algs, struct ck_err *err)
{
	const char *alg;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n_recipients(j); i++) {
		rc = header_str(&alg, j, recipient_at(j, i), "alg", true, err);
		if (rc == 0)
			rc = ck_buf_addf(algs, err, "%s%.40s", i ? ", " : "", alg);
	}
	return rc;
}

const char *ck_jwe_kid(const struct ck_jwe *j)
{
	const char *kid;

	return header_str(&kid, j, recipient_at(j, 0), "kid", false, NULL) == 0 ? kid : NULL;
}

static int open_for(const struct ck_jwe *j, const json_t *recipient, EVP_PKEY *key,
		    struct ck_secret *out, struct ck_err *err)
{
	struct ck_jwekey r = { .enc = j->enc };
	json_t *epk;
	CK_SECRET cek = { 0 };
	int rc;

	if ((rc = header_str(&r.alg, j, recipient, "alg", true, err)) == 0 &&
	    (rc = header(&epk, j, recipient, "epk", err)) == 0 &&
	    (rc = header_b64(&r.apu, j, recipient, "apu", err)) == 0 &&
	    (rc = header_b64(&r.apv, j, recipient, "apv", err)) == 0 &&
	    (rc = ck_json_b64(&r.encrypted_key, recipient, "encrypted_key", CK_B64_URL, false,
			      err)) == 0) {
		r.epk = epk;
		rc = ck_jwekey_open(&r, key, &cek, err);
	}
	ck_buf_free(&r.apu);
	ck_buf_free(&r.apv);
	ck_buf_free(&r.encrypted_key);
	if (rc < 0)
		return rc;
	struct ck_sealed s = {
		.iv = j->iv.data,
		.iv_len = j->iv.len,
		.aad = j->aad.data,
		.aad_len = j->aad.len,
		.data = j->data.data,
		.data_len = j->data.len,
		.tag = j->tag.data,
		.tag_len = j->tag.len,
	};
	return ck_enc_open(j->enc, &cek, &s, out, err);
}

int ck_jwe_open(const struct ck_jwe *j, EVP_PKEY *key, struct ck_secret *out, struct ck_err *err)
{
	struct ck_err why = { 0 };

	for (size_t i = 0; i < n_recipients(j); i++) {
		int rc = open_for(j, recipient_at(j, i), key, out, &why);
		if (rc == 0)
			return 0;
		if (rc == -ENOMEM)
			return ck_fail(err, rc, "JWE: %s", why.msg);
	}
	size_t n = n_recipients(j);
	return ck_fail(err, -ENOKEY, "JWE: %s: %s",
		       n == 1 ? "its recipient is not this key"
			      : "none of its recipients is this key, the last one because",
		       why.msg);
}
