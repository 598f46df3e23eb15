#include "attest/certsource.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>

#include "attest/certchain.h"
#include "base/file.h"
#include "base/text.h"

enum { THIM_MAX = 256 << 10 };

struct ck_certsource {
	char *host_certs, *imds_url;
	pthread_mutex_t lock;
	struct ck_certchain thim; /* THIM's last answer; under the lock */
};

int ck_certsource_open(struct ck_certsource **out, const char *host_certs, const char *imds_url,
		       struct ck_err *err)
{
	struct ck_certsource *s = calloc(1, sizeof *s);

	if (!s)
		return ck_nomem(err, "opening the certificate source");
	pthread_mutex_init(&s->lock, NULL);
	s->imds_url = strdup(imds_url);
	s->host_certs = host_certs ? strdup(host_certs) : NULL;
	if (!s->imds_url || (host_certs && !s->host_certs)) {
		ck_certsource_close(s);
		return ck_nomem(err, "opening the certificate source");
	}
	*out = s;
	return 0;
}

void ck_certsource_close(struct ck_certsource *s)
{
	if (!s)
		return;
	ck_certchain_free(&s->thim);
	pthread_mutex_destroy(&s->lock);
	free(s->host_certs);
	free(s->imds_url);
	free(s);
}

/* -ESTALE: for another TCB; -EBADMSG: not of the key that signed. */
static int fits(const struct ck_certchain *c, const struct ck_snp_report *r, const char *name,
		struct ck_err *err)
{
	if (c->has_tcb && c->tcb != r->reported_tcb)
		return ck_fail(err, -ESTALE,
			       "the certificates from %s are for TCB %016" PRIx64
			       ", the SNP report is of TCB %016" PRIx64,
			       name, c->tcb, r->reported_tcb);
	int rc = ck_snp_report_verify(r, c->leaf, err);
	return rc < 0 ? ck_wrap(err, "certificates from %s", name) : 0;
}

/* The file is read anew each time: the host may replace it. */
static int from_file(struct ck_certchain *out, const char *path, struct ck_err *err)
{
	CK_BUF text = { .max = THIM_MAX };
	CK_BUF json = { .max = THIM_MAX };

	int rc = ck_file_read(&text, path, err);
	if (rc < 0)
		return rc;
	size_t len = text.len;
	while (len && strchr(" \t\r\n", text.data[len - 1]))
		len--;
	rc = ck_b64_decode(&json, CK_B64_STD, ck_buf_str(&text), len, err);
	if (rc < 0)
		return ck_wrap(err, "host certificate file %s", path);
	return ck_certchain_from_thim(out, json.data, json.len, path, err);
}

static int from_thim(struct ck_certchain *out, struct ck_certsource *s, const struct ck_call *call,
		     struct ck_err *err)
{
	static const char *const headers[] = { "Metadata: true" };
	CK_HTTP_RES res = { 0 };
	CK_BUF url = { 0 };

	int rc = ck_buf_addf(&url, err, "%s/metadata/THIM/amd/certification", s->imds_url);
	if (rc < 0)
		return rc;
	struct ck_http_req req = { .url = ck_buf_str(&url),
				   .headers = headers,
				   .n_headers = 1,
				   .no_proxy = true,
				   .max_body = THIM_MAX };
	rc = ck_service_do(call, &req, &res, err);
	if (rc < 0)
		return ck_wrap(err, "VCEK certificates from THIM");
	if (res.status != 200)
		return ck_service_refused(&res, err, "VCEK certificates refused by THIM at %s",
					  s->imds_url);
	return ck_certchain_from_thim(out, res.body.data, res.body.len, "THIM's answer", err);
}

/* The remembered chain, where it fits. */
static bool remembered(struct ck_certsource *s, const struct ck_snp_report *r, struct ck_buf *pem)
{
	bool ok = false;

	pthread_mutex_lock(&s->lock);
	if (s->thim.leaf && fits(&s->thim, r, "THIM", NULL) == 0)
		ok = ck_buf_add(pem, s->thim.pem.data, s->thim.pem.len, NULL) == 0;
	pthread_mutex_unlock(&s->lock);
	return ok;
}

static int ask_thim(struct ck_certsource *s, const struct ck_call *call,
		    const struct ck_snp_report *r, struct ck_buf *pem, struct ck_err *err)
{
	CK_CERTCHAIN c = { 0 };

	if (remembered(s, r, pem))
		return 0;
	int rc = from_thim(&c, s, call, err);
	if (rc == 0)
		rc = fits(&c, r, "THIM", err);
	if (rc == 0)
		rc = ck_buf_add(pem, c.pem.data, c.pem.len, err);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&s->lock);
	struct ck_certchain old = s->thim;
	s->thim = c;
	c = old; /* freed with the scope */
	pthread_mutex_unlock(&s->lock);
	return 0;
}

int ck_certsource_find(struct ck_certsource *s, const struct ck_call *call,
		       const struct ck_snp_report *r, const struct ck_buf *table,
		       struct ck_buf *pem, struct ck_err *err)
{
	struct ck_err beside_why = { 0 }, file_why = { 0 };
	CK_CERTCHAIN beside = { 0 };
	CK_CERTCHAIN file = { 0 };

	int rc = ck_certchain_from_table(&beside, table->data, table->len, r->vlek, &beside_why);
	if (rc == 0)
		rc = fits(&beside, r, "the host's table", &beside_why);
	if (rc == 0)
		return ck_buf_add(pem, beside.pem.data, beside.pem.len, err);
	/* A host that never had any is no news; one that has the wrong ones is. */
	bool told = rc != -ENODATA;
	if (s->host_certs) {
		rc = from_file(&file, s->host_certs, &file_why);
		if (rc == 0)
			rc = fits(&file, r, s->host_certs, &file_why);
		if (rc == 0)
			return ck_buf_add(pem, file.pem.data, file.pem.len, err);
	}
	rc = ask_thim(s, call, r, pem, err);
	if (rc < 0 && s->host_certs)
		ck_wrap(err, "%s", file_why.msg);
	if (rc < 0 && told)
		ck_wrap(err, "%s", beside_why.msg);
	return rc;
}
