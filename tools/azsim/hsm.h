/* hsm - the Managed HSM's keys over REST: create, import, get. Release: release.c. */
#ifndef AZ_HSM_H
#define AZ_HSM_H

#include "tools/azsim/server.h"

/* Loads the signing key of HSM NAME from DIR/hsm/ and has CA certify it. */
CK_MUST_CHECK int az_hsm_open(struct az_hsm_host *h, const struct az_ca *ca, const char *dir,
			      const char *name, struct ck_err *err);
void az_hsm_close(struct az_hsm_host *h);

/* Subject names of a release-signing certificate of HSM NAME; OUT[1] is written to STAR. */
void az_hsm_names(const char *out[2], char star[260], const char *name);

/* The audience of access tokens for the key store HOST. */
const char *az_hsm_resource(const char *host);

/* The caller may use this HSM: bearer token and api-version. Errors: -EPERM, -EINVAL. */
CK_MUST_CHECK int az_hsm_admit(struct az_sim *s, const struct az_req *req, struct ck_err *err);

/* Answers the failure RC (with its words in *ERR) as the service would; a failure of the
 * simulator itself is returned. */
int az_hsm_refuse(const struct az_req *req, struct az_res *res, int rc, struct ck_err *err);

/* {"kid","kty","key_ops","n","e"} of K, a new reference. */
CK_MUST_CHECK int az_hsm_public_jwk(json_t **out, const struct az_key *k, struct ck_err *err);

#endif
