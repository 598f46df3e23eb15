/* ca - the simulator's own TLS authority: a root, an issuing authority below it, leaves. */
#ifndef AZ_CA_H
#define AZ_CA_H

#include "tools/azsim/cert.h"

struct az_ca {
	EVP_PKEY *root_key, *issuing_key;
	X509 *root, *issuing;
};

/* Loads DIR/ca/, making what is missing; also DIR/ca.pem, the root that clients trust. */
CK_MUST_CHECK int az_ca_open(struct az_ca *ca, const char *dir, struct ck_err *err);
void az_ca_close(struct az_ca *ca);

/* A server certificate for the N_NAMES host NAMES, valid FROM_S..TO_S seconds from now. */
CK_MUST_CHECK int az_ca_leaf(X509 **out, const struct az_ca *ca, EVP_PKEY *key,
			     const char *const *names, size_t n_names, long from_s, long to_s,
			     struct ck_err *err);

#endif
