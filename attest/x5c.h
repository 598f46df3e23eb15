/*
 * x5c - a certificate chain carried in a JWS header (RFC 7515 section 4.1.6), that
 * must be as good as a TLS server's for the host that sent it.
 */
#ifndef CK_X5C_H
#define CK_X5C_H

#include <jansson.h>
#include <openssl/evp.h>

#include "base/err.h"

/*
 * Verifies the chain in HEADER up to the roots of CA_FILE (PEM; NULL: the system's),
 * for the purpose SSL server, now, and for HOST; and "x5t#S256" where present.
 * *OUT is the leaf's public key, the caller's to free.
 * Errors: -EBADMSG naming the check, -ENOMEM, -EINVAL (roots cannot be read).
 */
CK_MUST_CHECK int ck_x5c_verify(EVP_PKEY **out, const json_t *header, const char *host,
				const char *ca_file, struct ck_err *err);

#endif
