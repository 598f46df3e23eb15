/* push_steps - what the files of the push store share. */
#ifndef CK_PUSH_STEPS_H
#define CK_PUSH_STEPS_H

#include "fs/oci/blobstore.h"
#include "fs/registry/registry.h"

/* Puts a manifest or an index of TYPE, P[0..NBYTES), as REFERENCE, a tag or a digest; sends it
 * again where nobody knows what came of it. *RES is the caller's to free either way.
 * Errors: -EBADMSG (it has another digest there), those of ck_registry_do and
 * ck_registry_refused. */
CK_MUST_CHECK int ck_push_manifest(struct ck_registry *r, const char *reference, const char *type,
				   const void *p, size_t nbytes, struct ck_http_res *res,
				   struct ck_err *err);

/* Lists the artifact D among what refers to SUBJECT, where the registry does not by itself.
 * Errors: as above, -EBUSY. */
CK_MUST_CHECK int ck_push_listed(struct ck_registry *r, const struct ck_descriptor *subject,
				 const struct ck_descriptor *d, struct ck_err *err);

#endif
