/*
 * push - a repository of a registry that an image, or what refers to one, is written to
 * (fs/oci/blobstore.h).
 *
 * Blobs go there as they are written (fs/registry/upload.h); what is there already does not go
 * again. Nobody finds any of them before the manifest, which comes last: an image's by its tag,
 * once all its blobs are there; an artifact's by its digest. What refers to an image is listed
 * by the registry itself, and where it says that it does not, by the index with the tag that
 * ck_referrers_name says: read, changed, put back, and read again, because somebody else may
 * be at it.
 * A process that is killed leaves blobs that nothing leads to, and uploads half-done, for the
 * registry to collect.
 * Source: OCI distribution spec v1.1, "Push" and "Listing Referrers".
 */
#ifndef CK_PUSH_H
#define CK_PUSH_H

#include "fs/oci/blobstore.h"
#include "fs/registry/registry.h"

struct ck_push_opts {
	const char *mount_from; /* NULL, or a repository of the same registry that blobs which
				   are copied may be in */
	size_t chunk;		/* of uploads, bytes; 0: 8 MiB */
};

/*
 * R becomes the store's, also on failure. Asks nothing yet. *OUT is the caller's to close.
 * Beyond those of fs/oci/blobstore.h, adding has these errors: -EBADMSG (the registry says that
 * a manifest has another digest, or lists what cannot be read), -EBUSY (others keep changing the
 * list), those of ck_registry_do and ck_registry_refused. Errors: -ENOMEM.
 */
CK_MUST_CHECK int ck_push_open(struct ck_blobstore **out, struct ck_registry *r,
			       const struct ck_push_opts *opts, struct ck_err *err);

#endif
