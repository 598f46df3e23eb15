/*
 * fault - what can be told to go wrong, and where.
 *
 * A fault is data: the server takes at most one per request, acts on those of the
 * transport itself and hands the others down; each is consulted at one place.
 */
#ifndef AZ_FAULT_H
#define AZ_FAULT_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* What is counted, and where faults are set. */
enum az_endpoint {
	AZ_IMDS_TOKEN,
	AZ_THIM,
	AZ_AAD_TOKEN,
	AZ_MAA_DISCOVERY,
	AZ_MAA_CERTS,
	AZ_MAA_ATTEST,
	AZ_HSM_CREATE,
	AZ_HSM_IMPORT,
	AZ_HSM_GET,
	AZ_HSM_RELEASE,		/* counts answers of 200 alone */
	AZ_HSM_RELEASE_REFUSED, /* every other end of one; a counter only */
	AZ_TSM_REPORT,
	AZ_N_ENDPOINTS,
	AZ_UNCOUNTED = AZ_N_ENDPOINTS,
};

enum az_fault {
	AZ_NO_FAULT,
	AZ_STATUS, /* the answer is an error of az_fault_mode.status */
	/* of the transport */
	AZ_HANG,
	AZ_RESET,
	AZ_TRUNCATE,
	AZ_OVERSIZE,
	AZ_NOTJSON,
	/* of signed documents (MAA token, release, evidence) */
	AZ_BADSIG,
	AZ_ALGNONE,
	AZ_HS256,
	AZ_WRONGKID,
	AZ_EXPIRED,
	AZ_FUTURE,
	AZ_WRONGISS,
	AZ_WRONGKEY,
	AZ_WRONGREPORTDATA,
	AZ_DEBUGGABLE,
	AZ_ROTATE,
	/* of the release */
	AZ_EXPIREDLEAF,
	AZ_SANMISMATCH,
	AZ_UNKNOWNROOT,
	AZ_NOX5C,
	AZ_NONONCE,
	AZ_WRONGNONCE,
	AZ_SHORTCT,
	AZ_BADKWP,
	AZ_OTHERKEY,
	AZ_KEYMISMATCH,
	AZ_NOTRSA,
	/* of the metadata service and the evidence device */
	AZ_TCBMISMATCH,
	AZ_MISSINGFIELD,
	AZ_EBUSY,
	AZ_EIO,
	AZ_WRONGDATA,
};

struct az_fault_mode {
	const char *name;
	enum az_fault fault;
	unsigned status;    /* HTTP, 0 when the mode is not a status */
	uint32_t endpoints; /* bit 1 << endpoint: where the mode has a meaning */
};

const char *az_endpoint_name(enum az_endpoint e);

/* AZ_N_ENDPOINTS when no endpoint has that name. */
enum az_endpoint az_endpoint_find(const char *name);

/* Static storage. Errors: -EINVAL naming the modes that ENDPOINT knows. */
CK_MUST_CHECK int az_fault_find(const struct az_fault_mode **out, enum az_endpoint endpoint,
				const char *name, struct ck_err *err);

/* Appends "endpoint: mode mode ..." lines, for --help. */
CK_MUST_CHECK int az_fault_list(struct ck_buf *out, struct ck_err *err);

#endif
