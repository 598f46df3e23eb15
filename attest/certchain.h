/*
 * certchain - the certificates behind an SNP report's signature: leaf (VCEK or
 * VLEK), then AMD's intermediate and root, and the TCB version they are for.
 * One unit: TCB and certificates never travel apart, or a refresh of one would be
 * sent with the other's stale half.
 */
#ifndef CK_CERTCHAIN_H
#define CK_CERTCHAIN_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct ck_certchain {
	bool has_tcb;
	uint64_t tcb;	   /* as REPORTED_TCB; where the source says it */
	X509 *leaf;	   /* owned */
	struct ck_buf pem; /* leaf first, as MAA wants them */
};

void ck_certchain_free(struct ck_certchain *c);
#define CK_CERTCHAIN CK_AUTO(ck_certchain_free) struct ck_certchain

/*
 * From the table of an extended report (GHCB specification, SNP Extended Guest
 * Request): entries {GUID, offset, length} up to a zero GUID, then DER or PEM. VLEK
 * says which leaf is wanted. *OUT is the caller's to free.
 * Errors: -ENODATA (no such leaf in the table), -EBADMSG, -ENOMEM.
 */
CK_MUST_CHECK int ck_certchain_from_table(struct ck_certchain *out, const void *p, size_t nbytes,
					  bool vlek, struct ck_err *err);

/* From THIM's JSON {"vcekCert", "tcbm", "certificateChain", ...}; NAME is for the
 * message. Errors: -EBADMSG, -ENOMEM. */
CK_MUST_CHECK int ck_certchain_from_thim(struct ck_certchain *out, const void *p, size_t nbytes,
					 const char *name, struct ck_err *err);

#endif
