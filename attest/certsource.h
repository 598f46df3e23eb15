/*
 * certsource - where the certificates of an SNP report come from, in this order:
 * the host's table beside the report, the host certificate file, THIM over IMDS.
 *
 * The rule (THIM's, section "tcbm"): a chain fits a report when it is for the
 * report's TCB version and its leaf's key signed the report. THIM's answer is
 * remembered and asked again only when it does not fit.
 * Threads: any; no lock is held while THIM is asked.
 */
#ifndef CK_CERTSOURCE_H
#define CK_CERTSOURCE_H

#include "attest/service.h"
#include "attest/snpreport.h"
#include "base/buf.h"

struct ck_certsource; /* opaque */

/* HOST_CERTS may be NULL: no such file. Both are copied. Errors: -ENOMEM. */
CK_MUST_CHECK int ck_certsource_open(struct ck_certsource **out, const char *host_certs,
				     const char *imds_url, struct ck_err *err);
void ck_certsource_close(struct ck_certsource *s); /* NULL is allowed */

/*
 * Appends to PEM the chain that fits R; TABLE is what came beside the report, maybe
 * empty. Errors: -ESTALE (even fresh certificates are for another TCB version),
 * -EBADMSG, -EACCES, those of ck_http_do.
 */
CK_MUST_CHECK int ck_certsource_find(struct ck_certsource *s, const struct ck_call *call,
				     const struct ck_snp_report *r, const struct ck_buf *table,
				     struct ck_buf *pem, struct ck_err *err);

#endif
