/*
 * attest - a private key out of a Managed HSM, by attestation and release.
 *
 * The only door of this room. One handle per process: it remembers every
 * released key in secret memory for its life, and concurrent calls for one key
 * share one release (single-flight): one release per key (and attestation service
 * that the callers name for it), however many layers.
 * Threads: any number at once; close overlaps nothing.
 */
#ifndef CK_ATTEST_H
#define CK_ATTEST_H

#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/http.h"

struct ck_attest; /* opaque */

/* Everything is copied by ck_attest_open. NULL strings mean the default named. */
struct ck_attest_opts {
	/* Hosts that may be asked: exact names, or suffixes that start with '.'.
	 * NULL-ended lists, NULL allowed (then nothing is). What an image names is
	 * only ever matched against these. */
	const char *const *hsm_hosts;
	const char *const *maa_hosts;
	const char *tsm_dir;   /* /sys/kernel/config/tsm/report */
	const char *sev_guest; /* /dev/sev-guest */
	const char
	    *host_certs;      /* file: base64 of the THIM JSON ("host-amd-cert-base64"), or none */
	const char *imds_url; /* http://169.254.169.254 */
	const char
	    *authority_url;	  /* AZURE_AUTHORITY_HOST, else https://login.microsoftonline.com */
	const char *hsm_resource; /* https://managedhsm.azure.net: the token's audience */
	/* Managed identity to ask IMDS for; NULL: AZURE_CLIENT_ID, else the only one. Where
	 * AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_FEDERATED_TOKEN_FILE are all set, that
	 * workload identity is used instead. */
	const char *client_id;
	struct ck_http_opts http; /* CA file, address map */
};

/* *OUT is the caller's to close. Touches neither network nor device.
 * Errors: -EINVAL (malformed host or URL), -ENOMEM. */
CK_MUST_CHECK int ck_attest_open(struct ck_attest **out, const struct ck_attest_opts *opts,
				 struct ck_err *err);
void ck_attest_close(struct ck_attest *a); /* NULL is allowed; wipes the keys */

static inline void ck_attest_closep(struct ck_attest **a)
{
	ck_attest_close(*a);
}

/* The key KID of HSM_HOST, that is to be released against a token of MAA_HOST. */
struct ck_attest_key_id {
	const char *hsm_host; /* "hsm1.managedhsm.azure.net", no scheme */
	const char *maa_host; /* "sharedeus.eus.attest.azure.net"; unused for the public half */
	const char *kid;      /* "imagekey000" or "imagekey000/<version>" */
};

/*
 * The private key, released by the HSM on first use, remembered after. *OUT is a
 * counted reference, the caller's to EVP_PKEY_free.
 * Ends within about 50 s, whatever the services do.
 * Errors: -EPERM (host or kid not allowed by the configuration), -ENODEV (no
 * evidence device) or its errno, -EACCES (refused by MAA, AAD or the HSM; the message
 * is the service's own and names the claim where it does), -EBADMSG (evidence or an
 * answer that fails a check), -ETIMEDOUT, -ECONNREFUSED, -EPROTO (TLS, a cut answer, a
 * service that stays busy), -EFBIG, -ENOMEM.
 * A failure goes to all who waited for it and is not remembered: the next call tries
 * again.
 */
CK_MUST_CHECK int ck_attest_private_key(struct ck_attest *a, const struct ck_attest_key_id *id,
					EVP_PKEY **out, struct ck_err *err);

/* How many keys were released so far. */
uint64_t ck_attest_n_released(const struct ck_attest *a);

/* The public half as GET /keys/<kid> gives it (bearer token, no attestation).
 * Errors: as above. */
CK_MUST_CHECK int ck_attest_public_key(struct ck_attest *a, const struct ck_attest_key_id *id,
				       EVP_PKEY **out, struct ck_err *err);

#endif
