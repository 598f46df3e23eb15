/* aad - access tokens: issuing them, judging them, and the workload's federated token. */
#ifndef AZ_AAD_H
#define AZ_AAD_H

#include <time.h>

#include "tools/azsim/jose.h"

/* Appends an access token for RESOURCE, valid LIFE_S seconds from NOW. */
CK_MUST_CHECK int az_aad_access_token(struct ck_buf *out, EVP_PKEY *key, const char *resource,
				      time_t now, long life_s, struct ck_err *err);

/* AUTHORIZATION (the header, may be NULL) carries an access token for RESOURCE.
 * Errors: -EPERM with the reason. */
CK_MUST_CHECK int az_aad_check_bearer(const char *authorization, EVP_PKEY *key,
				      const char *resource, struct ck_err *err);

/* Appends a federated token for the workload identity, valid LIFE_S seconds from now. */
CK_MUST_CHECK int az_aad_federated_token(struct ck_buf *out, EVP_PKEY *key, long life_s,
					 struct ck_err *err);

#endif
