/* steps - what the parts of a registry client share. Private to fs/registry. */
#ifndef CK_REGISTRY_STEPS_H
#define CK_REGISTRY_STEPS_H

#include "fs/registry/endpoint.h"
#include "fs/registry/request.h"
#include "fs/registry/turns.h"

enum { CK_REGISTRY_MAX_DOC = 4 << 20 };

struct ck_registry {
	char *host, *repo;
	struct ck_endpoint *endpoints[CK_ENDPOINTS_MAX]; /* the host itself is the last */
	size_t n_endpoints;
	uint64_t timeout_ms;
};

/* Without a byte for so long a try is over, when all of them have TOTAL_MS. */
unsigned ck_registry_stall_ms(uint64_t total_ms);

/* Whether it may be different another time: 408, 429, 5xx. */
bool ck_registry_status_passes(long status);

/* Whether an error of ck_request_send will be the same next time. */
bool ck_registry_error_stays(int rc, const struct ck_http_res *res);

/* Why the last turn failed, RC and ERR, and why the one before did, OLD_RC and OLD: where time was
 * up in the middle of it, the one before says more. */
void ck_registry_keep_reason(int *rc, struct ck_err *err, int old_rc, const struct ck_err *old);

/* Puts who failed in what before the error. */
void ck_registry_blame(const struct ck_endpoint *e, struct ck_err *err);

#endif
