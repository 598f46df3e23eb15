/*
 * packet - what a provider annotation of the attestation-agent family holds: JSON
 * that names a KEK and carries the private options wrapped with it.
 *
 * Source: Microsoft's AASP and confidential-containers' keyprovider (one dialect,
 * different wrap types):
 *     {"kid","wrapped_data"(b64),"iv"(b64, optional),"wrap_type",
 *      "kms_endpoint","attester_endpoint"}
 *   rsa_2048, rsa_3072, rsa_4096   RSA-OAEP-SHA256 of the data; a mere label
 *   rsa_oaep_256+a256gcm           ours, when one block is too small: OAEP block of an
 *                                  AES-256 key, then ciphertext and tag; iv of 12 bytes
 *   A256GCM, A256CTR               confidential-containers: read, never opened here
 */
#ifndef CK_PACKET_H
#define CK_PACKET_H

#include <jansson.h>
#include <openssl/evp.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"

#define CK_WRAP_HYBRID "rsa_oaep_256+a256gcm"

enum {
	CK_PACKET_MAX = 32 << 10,    /* bytes of a packet's JSON */
	CK_PACKET_DATA_MAX = 8 << 10 /* bytes that may be wrapped: keys, not files */
};

enum ck_packet_kind {
	CK_PACKET_RSA,	  /* opens with an RSA KEK */
	CK_PACKET_HYBRID, /* the same, by way of a content key */
	CK_PACKET_FOREIGN /* of a symmetric KEK that another provider holds */
};

struct ck_packet {
	enum ck_packet_kind kind;
	const char *kid, *wrap_type;	 /* borrowed from doc; NULL where absent */
	const char *hsm_host, *maa_host; /* likewise */
	struct ck_buf wrapped, iv;
	json_t *doc;
};

/* Parses P[0..NBYTES). *OUT is the caller's to ck_packet_free, on failure too.
 * Errors: -EBADMSG, -EFBIG, -ENOMEM. */
CK_MUST_CHECK int ck_packet_parse(struct ck_packet *out, const void *p, size_t nbytes,
				  struct ck_err *err);
void ck_packet_free(struct ck_packet *packet); /* a zeroed one is allowed */

#define CK_PACKET CK_AUTO(ck_packet_free) struct ck_packet

/* Where the KEK of a new packet lives. */
struct ck_packet_names {
	const char *kid, *hsm_host, *maa_host;
};

/*
 * Appends a packet that wraps P[0..NBYTES) for the RSA public key KEY to OUT.
 * Errors: -EINVAL (key not RSA or under 2048 bits), -EFBIG (above CK_PACKET_DATA_MAX),
 * -EIO, -ENOMEM.
 */
CK_MUST_CHECK int ck_packet_wrap(EVP_PKEY *key, const struct ck_packet_names *names, const void *p,
				 size_t nbytes, struct ck_buf *out, struct ck_err *err);

/* Opens PACKET with the RSA private key KEY. *OUT is the caller's to free.
 * Errors: -ENOTSUP (foreign), -EINVAL (key), -EBADMSG (does not open), -ENOMEM. */
CK_MUST_CHECK int ck_packet_unwrap(const struct ck_packet *packet, EVP_PKEY *key,
				   struct ck_secret *out, struct ck_err *err);

#endif
