/*
 * maa - Microsoft Azure Attestation: evidence in, a signed token out.
 * Source: MAA REST API 2022-08-01.
 */
#ifndef CK_MAA_H
#define CK_MAA_H

#include "attest/evidence.h"
#include "attest/runtimekey.h"
#include "attest/service.h"

struct ck_maa_ask {
	const char *host; /* admitted by the configuration */
	const struct ck_tee *tee;
	const struct ck_buf *evidence; /* text, from ck_evidence_endorsed */
	const struct ck_runtime_key *key;
};

/*
 * Appends to TOKEN a token for the evidence, after every check of maatoken.h.
 * Errors: -EACCES (MAA refuses the evidence), -EBADMSG, those of ck_http_do.
 */
CK_MUST_CHECK int ck_maa_attest(const struct ck_call *call, const struct ck_maa_ask *ask,
				struct ck_buf *token, struct ck_err *err);

#endif
