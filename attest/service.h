/*
 * service - one call to an Azure service as this room makes it: within the time
 * of the whole flow, and with refusals told in the service's own words.
 */
#ifndef CK_SERVICE_H
#define CK_SERVICE_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/http.h"

/* One flow (an attestation and release, or the fetch of a public key). */
struct ck_call {
	struct ck_http *http; /* borrowed */
	uint64_t end_ms;      /* by ck_now_ms(): nothing goes on after this */
};

/* ck_http_do within what is left of CALL's time. REQ's deadline is set here.
 * Errors: those of ck_http_do. */
CK_MUST_CHECK int ck_service_do(const struct ck_call *call, struct ck_http_req *req,
				struct ck_http_res *res, struct ck_err *err);

/*
 * Fails with "WHAT (403 Forbidden): <the service's message>" for an answer that is no
 * success. The message is cut to 400 bytes and anything like a token in it is masked.
 * Returns -EACCES (the service refuses: 400..404, 409, 410) or -EPROTO.
 */
int ck_service_refused(const struct ck_http_res *res, struct ck_err *err, const char *what, ...)
    CK_PRINTF(3, 4);

/* Parses the body of a success as a JSON object, which may hold tokens: the message, that
 * begins with NAME, quotes nothing. *OUT is the caller's reference. Errors: those of
 * ck_json_parse_secret. */
CK_MUST_CHECK int ck_service_json(json_t **out, const struct ck_http_res *res, const char *name,
				  struct ck_err *err);

#endif
