/*
 * reference - an image as the command line names it.
 * Source: containers-transports(5): "oci:path[:reference]", "dir:path",
 * "docker://[host[:port]/]name[:tag]"; a digest pin "@sha256:<64 hex>" may follow each.
 */
#ifndef CK_REFERENCE_H
#define CK_REFERENCE_H

#include <stdbool.h>

#include "base/err.h"
#include "base/text.h"

enum ck_transport { CK_TRANSPORT_OCI, CK_TRANSPORT_DIR, CK_TRANSPORT_DOCKER };

struct ck_reference {
	enum ck_transport transport;
	char *dir;		 /* owned; NULL with a registry */
	char *host, *repo;	 /* owned; of a registry, else NULL: "docker.io", "library/x" */
	char *name;		 /* owned; NULL when not given; of a registry the tag: "latest"
				    where neither it nor a pin is given */
	char pin[CK_DIGEST_STR]; /* "" when not given */
};

/* *OUT is the caller's to ck_reference_free. Errors: -EINVAL, -ENOTSUP, -ENOMEM. */
CK_MUST_CHECK int ck_reference_parse(struct ck_reference *out, const char *text,
				     struct ck_err *err);
/* Whether TEXT names an image in a registry, at first sight. */
bool ck_reference_remote(const char *text);
void ck_reference_free(struct ck_reference *r); /* {0} is allowed */

#endif
