/* release - a secure key release in the making: release.c judges, releasejws.c answers. */
#ifndef AZ_RELEASE_H
#define AZ_RELEASE_H

#include "tools/azsim/jose.h"
#include "tools/azsim/server.h"

struct az_release {
	struct az_sim *sim;
	const struct az_req *req;
	struct az_key key;
	json_t *body;
	const char *target, *enc, *nonce; /* of body; nonce may be NULL */
	const EVP_MD *hash;
	struct az_jwt token;
	EVP_PKEY *wrap_to; /* the guest's */
	const char *wrap_kid;
	struct ck_buf wrapped;
};

/* Appends the signed answer that carries R's wrapped key. */
CK_MUST_CHECK int az_release_sign(struct ck_buf *out, struct az_release *r, struct ck_err *err);

#endif
