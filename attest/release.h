/*
 * release - a Managed HSM's secure key release: an attestation token in, the private
 * key out, wrapped to the key that the token vouches for.
 */
#ifndef CK_RELEASE_H
#define CK_RELEASE_H

#include <openssl/evp.h>

#include "attest/identity.h"
#include "attest/runtimekey.h"
#include "attest/service.h"

struct ck_release_ask {
	const char *host, *kid; /* admitted by the configuration */
	const struct ck_buf *token;
	const struct ck_runtime_key *key;
	const char *ca_file; /* roots of the answer's signature; NULL: the system's */
};

/* *OUT is the caller's. Errors: -EACCES (the HSM refuses; the message is its own),
 * -EBADMSG (the answer fails a check of released.h), those of ck_hsm_call. */
CK_MUST_CHECK int ck_release(EVP_PKEY **out, struct ck_identity *id, const struct ck_call *call,
			     const struct ck_release_ask *ask, struct ck_err *err);

#endif
