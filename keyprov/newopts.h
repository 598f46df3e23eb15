/*
 * newopts - the options of a layer that is being encrypted, as ocicrypt writes them.
 * Source: ocicrypt PrivateLayerBlockCipherOptions and PublicLayerBlockCipherOptions:
 *     {"symkey":b64,"digest":"sha256:..","cipheroptions":{"nonce":b64}}
 *     {"cipher":NAME,"hmac":b64,"cipheroptions":{}}
 * Members stand in this order, without white space. Where the cipher is chunked,
 * "cipheroptions" and "hmac" are empty, but there: ocicrypt-rs insists on all of them.
 */
#ifndef CK_NEWOPTS_H
#define CK_NEWOPTS_H

#include <jansson.h>

#include "base/err.h"
#include "base/secret.h"
#include "keyprov/keyring.h"

/*
 * The private options of KEY, which recipients' packets wrap. DIGEST is that of the blob
 * before it was encrypted, "sha256:.."; readers do not rely on it. *OUT is the caller's.
 * Errors: -EINVAL (DIGEST is not an OCI digest), -ENOMEM.
 */
CK_MUST_CHECK int ck_newopts_private(struct ck_secret *out, const struct ck_layer_key *key,
				     const char *digest, struct ck_err *err);

/* Sets annotation "org.opencontainers.image.enc.pubopts" of the JSON object ANNOTATIONS to
 * KEY's public options; one that is there is replaced. Errors: -ENOMEM. */
CK_MUST_CHECK int ck_newopts_public(json_t *annotations, const struct ck_layer_key *key,
				    struct ck_err *err);

#endif
