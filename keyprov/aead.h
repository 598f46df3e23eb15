/*
 * aead - small authenticated messages: AES-GCM and AES-CBC with HMAC-SHA-2.
 * Source: RFC 7518 section 5; NIST SP 800-38D.
 */
#ifndef CK_AEAD_H
#define CK_AEAD_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/secret.h"

enum { CK_GCM_IV = 12, CK_GCM_TAG = 16 };

/* One of the content encryptions of RFC 7518 section 5.1. */
struct ck_enc {
	const char *name;     /* "A256GCM" */
	size_t key_len;	      /* bytes of the whole key */
	size_t iv_len;	      /* bytes */
	size_t tag_len;	      /* bytes */
	const char *cipher;   /* OpenSSL's name */
	const char *mac_hash; /* of the CBC forms; NULL for GCM */
};

/* NULL when NAME is none that we know. */
const struct ck_enc *ck_enc_find(const char *name);

/* What an AEAD works on. All borrowed; lengths in bytes. */
struct ck_sealed {
	const uint8_t *iv, *aad, *data, *tag;
	size_t iv_len, aad_len, data_len, tag_len;
};

/*
 * Checks the tag and decrypts into secret memory. *OUT is the caller's to free.
 * Errors: -EBADMSG (lengths of key, IV or tag; does not authenticate), -ENOMEM, -EIO.
 */
CK_MUST_CHECK int ck_enc_open(const struct ck_enc *enc, const struct ck_secret *key,
			      const struct ck_sealed *s, struct ck_secret *out, struct ck_err *err);

/* What is encrypted and what is only authenticated with it (may be NULL, 0). Borrowed. */
struct ck_plain {
	const void *p, *aad;
	size_t nbytes, aad_len;
};

/* AES-256-GCM: encrypts IN to OUT (nbytes bytes, then the tag). No IV twice with one KEY.
 * Errors: -EIO. */
CK_MUST_CHECK int ck_gcm_seal(const uint8_t key[32], const uint8_t iv[CK_GCM_IV],
			      const struct ck_plain *in, uint8_t *out, struct ck_err *err);

#endif
