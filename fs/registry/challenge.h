/*
 * challenge - what a WWW-Authenticate header asks for.
 * Source: RFC 9110 section 11.2, 11.6.1 (grammar); RFC 6750 section 3, Docker Registry token
 * authentication (realm, service, scope).
 * All bytes here are hostile.
 */
#ifndef CK_CHALLENGE_H
#define CK_CHALLENGE_H

#include <stdbool.h>

#include "base/err.h"

/* Of several challenges of one scheme the first counts; other schemes are passed over. */
struct ck_challenge {
	bool basic, bearer;
	char *realm, *service, *scope; /* of bearer; owned, NULL where it does not say */
};

/*
 * Adds what VALUE, one header's value, asks for to OUT, which is zeroed before the first.
 * Errors: -EBADMSG (what was read before it stays), -ENOMEM.
 */
CK_MUST_CHECK int ck_challenge_parse(struct ck_challenge *out, const char *value,
				     struct ck_err *err);
void ck_challenge_free(struct ck_challenge *c); /* {0} is allowed */

#endif
