/*
 * reference - an image as the command line names it.
 * Source: containers-transports(5): "oci:path[:reference]", "dir:path"; a digest pin
 * "@sha256:<64 hex>" may follow either.
 */
#ifndef CK_REFERENCE_H
#define CK_REFERENCE_H

#include <stdbool.h>

#include "base/err.h"
#include "base/text.h"

enum ck_transport { CK_TRANSPORT_OCI, CK_TRANSPORT_DIR };

struct ck_reference {
	enum ck_transport transport;
	char *dir;		 /* owned */
	char *name;		 /* owned; NULL when not given */
	char pin[CK_DIGEST_STR]; /* "" when not given */
};

/* *OUT is the caller's to ck_reference_free. Errors: -EINVAL, -ENOTSUP, -ENOMEM. */
CK_MUST_CHECK int ck_reference_parse(struct ck_reference *out, const char *text,
				     struct ck_err *err);
void ck_reference_free(struct ck_reference *r); /* {0} is allowed */

#endif
