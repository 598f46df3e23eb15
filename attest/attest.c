#include "attest/attest.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "attest/evidence.h"
#include "attest/hostlist.h"
#include "attest/hsm.h"
#include "attest/keycache.h"
#include "attest/maa.h"
#include "attest/release.h"
#include "base/file.h"
#include "base/log.h"

/* Below the 60 s that a caller of our key provider is given. */
enum { FLOW_MS = 50000 };

struct ck_attest {
	struct ck_hostlist hsm_hosts, maa_hosts;
	char *tsm_dir, *sev_guest, *ca_file;
	struct ck_http *http;
	struct ck_identity *identity;
	struct ck_certsource *certs;
	struct ck_keycache *keys;
	_Atomic uint64_t n_released;
};

static int copy(char **out, const char *s, const char *otherwise, struct ck_err *err)
{
	if (!s && !otherwise)
		return 0;
	*out = strdup(s ? s : otherwise);
	return *out ? 0 : ck_nomem(err, "opening the attestation client");
}

static int open_services(struct ck_attest *a, const struct ck_attest_opts *o, struct ck_err *err)
{
	CK_AUTO(ck_freep) char *imds = NULL;

	int rc = ck_base_url(&imds, o->imds_url ? o->imds_url : "http://169.254.169.254", false,
			     "imds_url", err);
	if (rc < 0)
		return rc;
	const struct ck_identity_opts id = {
		.imds_url = imds,
		.authority_url = o->authority_url,
		.resource = o->hsm_resource ? o->hsm_resource : "https://managedhsm.azure.net",
		.client_id = o->client_id,
	};
	rc = ck_http_open(&a->http, &o->http, err);
	if (rc == 0)
		rc = ck_identity_open(&a->identity, &id, err);
	if (rc == 0)
		rc = ck_certsource_open(&a->certs, o->host_certs, imds, err);
	if (rc == 0)
		rc = ck_keycache_open(&a->keys, err);
	return rc;
}

int ck_attest_open(struct ck_attest **out, const struct ck_attest_opts *opts, struct ck_err *err)
{
	CK_AUTO(ck_attest_closep) struct ck_attest *a = calloc(1, sizeof *a);

	if (!a)
		return ck_nomem(err, "opening the attestation client");
	int rc = ck_hostlist_init(&a->hsm_hosts, opts->hsm_hosts, "hsm_hosts", err);
	if (rc == 0)
		rc = ck_hostlist_init(&a->maa_hosts, opts->maa_hosts, "maa_hosts", err);
	if (rc == 0)
		rc = copy(&a->tsm_dir, opts->tsm_dir, "/sys/kernel/config/tsm/report", err);
	if (rc == 0)
		rc = copy(&a->sev_guest, opts->sev_guest, "/dev/sev-guest", err);
	if (rc == 0)
		rc = copy(&a->ca_file, opts->http.ca_file, NULL, err);
	if (rc == 0)
		rc = open_services(a, opts, err);
	if (rc == 0)
		*out = ck_take(a);
	return rc;
}

void ck_attest_close(struct ck_attest *a)
{
	if (!a)
		return;
	ck_keycache_close(a->keys);
	ck_certsource_close(a->certs);
	ck_identity_close(a->identity);
	ck_http_close(a->http);
	ck_hostlist_free(&a->hsm_hosts);
	ck_hostlist_free(&a->maa_hosts);
	free(a->tsm_dir);
	free(a->sev_guest);
	free(a->ca_file);
	free(a);
}

/* A key id as admitted. */
struct admitted {
	char hsm[CK_HOST_MAX + 1], maa[CK_HOST_MAX + 1];
	const char *kid;
};

static int admit(const struct ck_attest *a, const struct ck_attest_key_id *id, bool maa,
		 struct admitted *out, struct ck_err *err)
{
	out->maa[0] = 0;
	out->kid = id->kid;
	if (!id->kid || !ck_kid_ok(id->kid))
		return ck_fail(err, -EPERM,
			       "key id \"%.80s\" is neither a key's name nor NAME/VERSION",
			       id->kid ? id->kid : "");
	int rc = ck_hostlist_admit(out->hsm, &a->hsm_hosts, id->hsm_host, "Managed HSM", err);
	if (rc == 0 && maa)
		rc = ck_hostlist_admit(out->maa, &a->maa_hosts, id->maa_host, "attestation", err);
	return rc < 0 ? ck_wrap(err, "key %s", id->kid) : 0;
}

struct flow {
	struct ck_attest *a;
	const struct admitted *id;
};

static int release_flow(void *ctx, EVP_PKEY **out, struct ck_err *err)
{
	const struct flow *f = ctx;
	struct ck_attest *a = f->a;
	const struct ck_call call = { a->http, ck_now_ms() + FLOW_MS };
	const struct ck_evidence_paths paths = { a->tsm_dir, a->sev_guest };
	const struct ck_tee *tee = NULL;
	CK_RUNTIME_KEY key = { 0 };
	CK_BUF evidence = { 0 };
	CK_BUF token = { .max = 256 << 10 };

	int rc = ck_runtime_key_new(&key, err);
	if (rc == 0)
		rc = ck_evidence_endorsed(&paths, key.report_data, a->certs, &call, &tee, &evidence,
					  err);
	if (rc == 0) {
		const struct ck_maa_ask ask = { f->id->maa, tee, &evidence, &key };
		rc = ck_maa_attest(&call, &ask, &token, err);
	}
	if (rc < 0)
		rc = ck_wrap(err, "key %s of %s", f->id->kid, f->id->hsm);
	if (rc == 0) {
		const struct ck_release_ask ask = { f->id->hsm, f->id->kid, &token, &key,
						    a->ca_file };
		rc = ck_release(out, a->identity, &call, &ask, err);
	}
	if (rc == 0)
		atomic_fetch_add(&a->n_released, 1);
	/* What failed on the way (another key's certificate, say) is told; the thread's
	 * queue must not surprise the next user of OpenSSL. */
	ERR_clear_error();
	return rc;
}

uint64_t ck_attest_n_released(const struct ck_attest *a)
{
	return atomic_load(&a->n_released);
}

int ck_attest_private_key(struct ck_attest *a, const struct ck_attest_key_id *id, EVP_PKEY **out,
			  struct ck_err *err)
{
	struct admitted ok;
	CK_BUF name = { 0 };

	int rc = admit(a, id, true, &ok, err);
	/* The attestation service too: whoever names one that is allowed but dead must not
	 * have others wait for it and fail with it. */
	if (rc == 0)
		rc = ck_buf_addf(&name, err, "https://%s/keys/%s by %s", ok.hsm, ok.kid, ok.maa);
	if (rc < 0)
		return rc;
	struct flow f = { a, &ok };
	return ck_keycache_get(a->keys, ck_buf_str(&name), release_flow, &f, out, err);
}

int ck_attest_public_key(struct ck_attest *a, const struct ck_attest_key_id *id, EVP_PKEY **out,
			 struct ck_err *err)
{
	const struct ck_call call = { a->http, ck_now_ms() + FLOW_MS };
	struct admitted ok;

	int rc = admit(a, id, false, &ok, err);
	if (rc == 0)
		rc = ck_hsm_get_public(out, a->identity, &call, ok.hsm, ok.kid, err);
	ERR_clear_error();
	return rc;
}
