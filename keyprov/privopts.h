/*
 * privopts - a layer's private options ("optsdata"): the plaintext of every packet.
 * Source: ocicrypt PrivateLayerBlockCipherOptions:
 *     {"symkey":b64,"digest":"sha256:..","cipheroptions":{"nonce":b64}}
 */
#ifndef CK_PRIVOPTS_H
#define CK_PRIVOPTS_H

#include "base/err.h"
#include "base/secret.h"
#include "keyprov/envelope.h"
#include "keyprov/keyring.h"

enum { CK_PRIVOPTS_MAX = 8 << 10 };

/* -ENOTSUP unless E is of the cipher whose private options these are, -EBADMSG unless
 * it has an HMAC: what must hold before any key is asked for. */
CK_MUST_CHECK int ck_privopts_expected(const struct ck_envelope *e, struct ck_err *err);

/*
 * Reads OPTS, the private options of the layer whose envelope is E: symkey of 32
 * bytes, a nonce of 16 bytes that stands here (a public one may only repeat it); the
 * HMAC is E's. "digest" is not read: it is not an authority.
 * *OUT is the caller's to ck_layer_key_free. Errors: -EBADMSG, -ENOMEM.
 */
CK_MUST_CHECK int ck_privopts_read(const struct ck_secret *opts, const struct ck_envelope *e,
				   struct ck_layer_key **out, struct ck_err *err);

#endif
