/*
 * envelope - what ocicrypt writes on an encrypted layer's descriptor: who can
 * unwrap its key, and the public options.
 * Source: ocicrypt annotations "org.opencontainers.image.enc.*".
 */
#ifndef CK_ENVELOPE_H
#define CK_ENVELOPE_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

/* Annotations: the public options, and packets by their scheme. */
#define CK_ENC		"org.opencontainers.image.enc."
#define CK_ENC_PUBOPTS	CK_ENC "pubopts"
#define CK_ENC_JWE	CK_ENC "keys.jwe"
#define CK_ENC_PROVIDER CK_ENC "keys.provider." /* and the provider's name */

enum {
	CK_ENVELOPE_RECIPIENTS_MAX = 64,
	CK_ENVELOPE_PACKET_MAX = 256 << 10 /* bytes of one decoded packet */
};

enum ck_scheme {
	CK_SCHEME_PROVIDER,
	CK_SCHEME_JWE,
	CK_SCHEME_PKCS7,
	CK_SCHEME_PGP,
	CK_SCHEME_PKCS11
};

/* One wrapped copy of the layer's private options. Strings are borrowed from the
 * envelope, NULL where the scheme or packet does not say. */
struct ck_recipient {
	enum ck_scheme scheme;
	const char *provider;  /* annotation suffix, e.g. "attestation-agent" */
	const uint8_t *packet; /* decoded packet bytes */
	size_t packet_len;
	const char *kid, *wrap_type;	 /* provider packets; JWE: alg in wrap_type */
	const char *hsm_host, *maa_host; /* AASP packets: kms_endpoint, attester_endpoint */
};

struct ck_envelope {
	const char *cipher; /* "AES_256_CTR_HMAC_SHA256", ... as written */
	uint8_t hmac[32];   /* zero when n_hmac is 0 */
	size_t n_hmac;	    /* bytes in the annotation: 32 or 0 */
	uint8_t public_nonce[16];
	size_t n_public_nonce; /* 0 normally; a public nonce is an attack or a bug */
	const struct ck_recipient *recipients;
	size_t n_recipients;
	/* private to envelope.c follows */
	void *store;
};

/* "jwe", "provider", ... */
const char *ck_scheme_name(enum ck_scheme s);

/*
 * Parses ANNOTATIONS (a JSON object of strings, may be NULL). Sizes and the number
 * of recipients are bounded. A packet that is not understood is still listed.
 * *OUT is the caller's to free. Errors: -ENODATA (no enc annotation at all),
 * -EBADMSG (missing pubopts, bad base64 or JSON, lengths), -ENOMEM.
 */
CK_MUST_CHECK int ck_envelope_parse(struct ck_envelope **out, const json_t *annotations,
				    struct ck_err *err);
void ck_envelope_free(struct ck_envelope *e);

static inline void ck_envelope_freep(struct ck_envelope **e)
{
	ck_envelope_free(*e);
}

#endif
