/*
 * kek - a key-encryption key by its id: the public half from a key-info file or the
 * HSM, the private half by attestation and release.
 *
 * Key-info file: AASP's <kid>-info.json,
 *     {"public_key_path","kms_endpoint","attester_endpoint"}
 * with the PEM's path relative to the file's own directory.
 */
#ifndef CK_KEK_H
#define CK_KEK_H

#include <openssl/evp.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"
#include "keyprov/packet.h"
#include "keyprov/server.h"

/* A KID is a Managed HSM key's name, with "/<version>" or not: letters, digits, '-', '_'
 * and inner '.'; it becomes a part of paths and URLs. Errors: -EINVAL. */
CK_MUST_CHECK int ck_kid_check(const char *kid, struct ck_err *err);

/* A KEK's public half, and where its private one lives. */
struct ck_kek {
	EVP_PKEY *key;
	char *kid, *hsm_host, *maa_host;
};

/* Finds the KEK KID: reads its key-info file or asks the HSM. *OUT, zeroed before, is the
 * caller's to ck_kek_free, on failure too. Errors: -EINVAL (kid, key-info file), -ENOENT
 * (no such key here), -EBADMSG, those of the HSM, -ENOMEM. */
CK_MUST_CHECK int ck_kek_find(struct ck_kek *out, const struct ck_provider *p, const char *kid,
			      struct ck_err *err);
void ck_kek_free(struct ck_kek *kek); /* a zeroed one is allowed */

#define CK_KEK CK_AUTO(ck_kek_free) struct ck_kek

/* Appends to OUT a packet that wraps IN[0..NBYTES) with KEK. Threads: any number. Errors:
 * those of ck_packet_wrap. */
CK_MUST_CHECK int ck_kek_seal(const struct ck_kek *kek, const void *in, size_t nbytes,
			      struct ck_buf *out, struct ck_err *err);

/* Both at once. */
CK_MUST_CHECK int ck_kek_wrap(const struct ck_provider *p, const char *kid, const void *in,
			      size_t nbytes, struct ck_buf *out, struct ck_err *err);

/* The same with the key of the file <PREFIX>-info.json, the kid being PREFIX's last part. */
CK_MUST_CHECK int ck_kek_wrap_file(const char *prefix, const void *in, size_t nbytes,
				   struct ck_buf *out, struct ck_err *err);

/*
 * Opens PACKET with its KEK, released for it. Hosts that the packet does not name are
 * P's; those that it names are only matched, by attest. *OUT is the caller's to free.
 * Errors: -ENOTSUP (foreign), -EINVAL (kid), -ENODEV (no attest), those of attest.
 */
CK_MUST_CHECK int ck_kek_unwrap(const struct ck_provider *p, const struct ck_packet *packet,
				struct ck_secret *out, struct ck_err *err);

#endif
