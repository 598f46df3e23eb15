/*
 * keyring - every way this process may unwrap a layer's key, tried in turn.
 * Threads: ck_keyring_unwrap may run on any number of threads at once; adding
 * overlaps nothing.
 */
#ifndef CK_KEYRING_H
#define CK_KEYRING_H

#include "attest/attest.h"
#include "base/err.h"
#include "base/secret.h"
#include "keyprov/envelope.h"

struct ck_keyring; /* opaque */

/* ATTEST is borrowed and may be NULL (then key "hsm" is refused). *OUT is the caller's.
 * Errors: -ENOMEM. */
CK_MUST_CHECK int ck_keyring_open(struct ck_keyring **out, struct ck_attest *attest,
				  struct ck_err *err);
void ck_keyring_close(struct ck_keyring *k); /* NULL is allowed; wipes the keys */

static inline void ck_keyring_closep(struct ck_keyring **k)
{
	ck_keyring_close(*k);
}

/*
 * Adds a KEY as the command line writes it: "hsm", "provider:NAME[:VALUE]" (asked
 * as OCICRYPT_KEYPROVIDER_CONFIG says), or the path of a PEM private key for JWE
 * recipients. Files are read here; nothing is asked yet.
 * Errors: -EINVAL (not understood, encrypted PEM), -ENOENT, errnos, -ENOMEM.
 */
CK_MUST_CHECK int ck_keyring_add(struct ck_keyring *k, const char *key, struct ck_err *err);

/* When, by ck_now_ms, a layer's key was first unwrapped by an HSM's key or a provider, not by a
 * PEM key; 0: never. */
uint64_t ck_keyring_obtained_ms(const struct ck_keyring *k);

/* How many keys an HSM has released to this process; what providers did is not known. */
uint64_t ck_keyring_n_released(const struct ck_keyring *k);

enum ck_layer_cipher {
	CK_LAYER_CTR,	 /* "AES_256_CTR_HMAC_SHA256" */
	CK_LAYER_CHUNKED /* "C2SP_CHUNKED_V1_AES_256_GCM" */
};

/* A layer's key, checked: lengths are right, the nonce came from the private
 * options alone. Lives in secret memory. */
struct ck_layer_key {
	enum ck_layer_cipher cipher;
	uint8_t symkey[32];
	uint8_t nonce[16]; /* CTR: the whole initial counter block; else zero */
	uint8_t hmac[32];  /* CTR: expected HMAC-SHA256 of the ciphertext; else zero */
};

/*
 * Unwraps the layer's key with the first key and recipient that fit.
 * *OUT is the caller's to ck_layer_key_free.
 * Errors: -ENOKEY (no recipient fits a key we have: the message lists them),
 * -ENOTSUP (cipher), -EBADMSG (public nonce, lengths, malformed options), or why the
 * last fitting recipient failed.
 */
CK_MUST_CHECK int ck_keyring_unwrap(struct ck_keyring *k, const struct ck_envelope *e,
				    struct ck_layer_key **out, struct ck_err *err);

/*
 * The same, but *OPTS (the caller's to free) is the private options as they were
 * unwrapped, to be wrapped again for further recipients. They are checked all the same:
 * options that do not open E's layer are not handed on.
 */
CK_MUST_CHECK int ck_keyring_unwrap_opts(struct ck_keyring *k, const struct ck_envelope *e,
					 struct ck_secret *opts, struct ck_err *err);
void ck_layer_key_free(struct ck_layer_key *key); /* NULL is allowed; wipes */

static inline void ck_layer_key_freep(struct ck_layer_key **key)
{
	ck_layer_key_free(*key);
}

#endif
