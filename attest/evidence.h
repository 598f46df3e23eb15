/*
 * evidence - a statement, signed by the hardware, that binds 64 bytes of ours to
 * this VM (RFC 9334).
 *
 * Two small interfaces keep other hardware out of the rest of the room: a *source*
 * is a device that gives raw evidence, and a *tee* says how one kind of raw
 * evidence is checked here and named to MAA.
 */
#ifndef CK_EVIDENCE_H
#define CK_EVIDENCE_H

#include <stdint.h>

#include "attest/certsource.h"
#include "attest/service.h"
#include "base/buf.h"

enum {
	CK_REPORT_DATA_LEN = 64,
	CK_EVIDENCE_MAX = 16384, /* a TDX quote is about 5 KiB, a report 1184 bytes */
	CK_AUX_MAX = 65536,	 /* certificates beside it; the kernel's own limit is 16 KiB */
};

struct ck_evidence;

struct ck_tee {
	const char *type;	       /* value of x-ms-attestation-type */
	const char *maa_path;	       /* "/attest/...?api-version=..." */
	const char *maa_member;	       /* member of the request that carries the evidence */
	const char *claim_report_data; /* hex */
	const char *claim_debuggable;  /* boolean */
	/*
	 * Checks RAW (is it about REPORT_DATA, whole, not debuggable, signed?) and
	 * appends to OUT the text that MAA_MEMBER is to hold. -ESTALE: certificates and
	 * evidence are of different TCB versions; fresh evidence may help.
	 */
	int (*endorse)(const struct ck_evidence *raw, const uint8_t *report_data,
		       struct ck_certsource *certs, const struct ck_call *call, struct ck_buf *out,
		       struct ck_err *err);
};

extern const struct ck_tee ck_tee_snp; /* AMD SEV-SNP: snp.c */

/* What a device gave. */
struct ck_evidence {
	const struct ck_tee *tee;
	struct ck_buf report;
	struct ck_buf aux; /* certificates that came with it; may be empty */
};

void ck_evidence_free(struct ck_evidence *e);
#define CK_EVIDENCE CK_AUTO(ck_evidence_free) struct ck_evidence

struct ck_evidence_paths {
	const char *tsm_dir, *sev_guest;
};

/* A source gives -ENODEV when its device is not there, and nothing else then: the next
 * source is asked. Any other failure is final. *OUT is the caller's to free. */
CK_MUST_CHECK int ck_tsm_collect(const struct ck_evidence_paths *p, const uint8_t *report_data,
				 struct ck_evidence *out, struct ck_err *err);
CK_MUST_CHECK int ck_sevguest_collect(const struct ck_evidence_paths *p, const uint8_t *report_data,
				      struct ck_evidence *out, struct ck_err *err);

/*
 * Takes evidence over REPORT_DATA from the first source there is, checks it, and
 * appends what MAA wants of it to OUT; *TEE says what it is.
 * Errors: -ENODEV (no source; the message names each), -EBADMSG (evidence or
 * certificates that fail a check), errnos of the device, those of ck_http_do.
 */
CK_MUST_CHECK int ck_evidence_endorsed(const struct ck_evidence_paths *p,
				       const uint8_t report_data[CK_REPORT_DATA_LEN],
				       struct ck_certsource *certs, const struct ck_call *call,
				       const struct ck_tee **tee, struct ck_buf *out,
				       struct ck_err *err);

#endif
