/*
 * privopts - a layer's private options ("optsdata"): the plaintext of every packet.
 * Source: ocicrypt PrivateLayerBlockCipherOptions:
 *     {"symkey":b64,"digest":"sha256:..","cipheroptions":{"nonce":b64}}
 * A sealed layer's are the same without a nonce: its blob holds what one is made from.
 */
#ifndef CK_PRIVOPTS_H
#define CK_PRIVOPTS_H

#include "base/err.h"
#include "base/secret.h"
#include "keyprov/envelope.h"
#include "keyprov/keyring.h"

enum { CK_PRIVOPTS_MAX = 8 << 10 };

/* C's name in public options. */
const char *ck_layer_cipher_name(enum ck_layer_cipher c);

/* -ENOTSUP unless E is of a cipher that we know, -EBADMSG unless its public options are
 * that cipher's (CTR: an HMAC; chunked: neither HMAC nor nonce): what must hold before
 * any key is asked for. */
CK_MUST_CHECK int ck_privopts_expected(const struct ck_envelope *e, struct ck_err *err);

/*
 * Reads OPTS, the private options of the layer whose envelope is E: symkey of 32 bytes;
 * for CTR a nonce of 16 bytes that stands here (a public one may only repeat it), and the
 * HMAC is E's; for chunked no nonce. "digest" is not read: it is not an authority.
 * *OUT is the caller's to ck_layer_key_free. Errors: those of ck_privopts_expected,
 * -EBADMSG, -ENOMEM.
 */
CK_MUST_CHECK int ck_privopts_read(const struct ck_secret *opts, const struct ck_envelope *e,
				   struct ck_layer_key **out, struct ck_err *err);

#endif
