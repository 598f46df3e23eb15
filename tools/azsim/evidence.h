/* evidence - what a guest sends to be attested, taken apart and checked. */
#ifndef AZ_EVIDENCE_H
#define AZ_EVIDENCE_H

#include <jansson.h>

#include "tools/azsim/snp.h"

struct az_evidence {
	struct az_snp_report report;
	json_t *runtime;   /* parsed runtime data; NULL when it was sent as Binary */
	json_t *init_time; /* NULL when none was sent */
	json_t *nonce;	   /* NULL, a string or a number, as sent */
};

/*
 * Reads the request BODY of /attest/SevSnpVm and checks all of it against the AMD
 * root ARK. Errors: -EINVAL (malformed), -EACCES (a check failed), -ENOMEM, -EIO.
 */
CK_MUST_CHECK int az_evidence_read(struct az_evidence *out, const json_t *body, X509 *ark,
				   struct ck_err *err);
void az_evidence_free(struct az_evidence *e);

#endif
