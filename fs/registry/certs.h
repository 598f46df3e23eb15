/*
 * certs - certificates for a host, from directories named after it.
 * Source: containers-certs.d(5): DIR/HOST[:PORT]/ *.crt are roots, NAME.cert with NAME.key is
 * the client's own.
 */
#ifndef CK_CERTS_H
#define CK_CERTS_H

#include "base/buf.h"
#include "base/err.h"

/* Adds the certificates of a PEM file to ROOTS. Errors: -EBADMSG (there is none in it), errnos,
 * -ENOMEM. */
CK_MUST_CHECK int ck_certs_add_roots(struct ck_buf *roots, const char *path, struct ck_err *err);

struct ck_certs {
	struct ck_buf roots;	    /* PEM text; empty: none */
	char *cert_file, *key_file; /* NULL: none; owned */
};

/*
 * Adds what is in DIR/HOST to OUT, where there is such a directory; a pair that OUT has already
 * stays. Errors: those of ck_certs_add_roots, -ENOENT (a certificate without its key, or the other
 * way round), errnos, -ENOMEM.
 */
CK_MUST_CHECK int ck_certs_read(struct ck_certs *out, const char *dir, const char *host,
				struct ck_err *err);
void ck_certs_free(struct ck_certs *c); /* {0} is allowed */

#endif
