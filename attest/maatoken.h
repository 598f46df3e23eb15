/*
 * maatoken - whether a token is MAA's, current, and about this VM and our key.
 */
#ifndef CK_MAATOKEN_H
#define CK_MAATOKEN_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "attest/evidence.h"
#include "attest/runtimekey.h"

struct ck_maatoken_expect {
	const char *host; /* lower case */
	const struct ck_tee *tee;
	const struct ck_runtime_key *key;
	const char *nonce;
};

/*
 * Checks TOKEN[0..LEN) against the key set KEYS of https://HOST/certs at time NOW:
 * RS256 by the key that it names, issuer, times, attestation type, not debuggable,
 * report data, our runtime key and no other, and the nonce where it is echoed.
 * Errors: -EBADMSG naming the check, -ENOMEM.
 */
CK_MUST_CHECK int ck_maatoken_check(const char *token, size_t len, const json_t *keys,
				    const struct ck_maatoken_expect *expect, int64_t now,
				    struct ck_err *err);

#endif
