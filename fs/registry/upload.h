/*
 * upload - one blob on its way into a repository, through a buffer.
 *
 * What fits in the buffer goes in one request at the end, unless it is there already. More goes
 * in chunks, and when one is cut the registry is asked how much of it came: the rest is sent
 * again from there. Where the registry has lost the upload, what had left the buffer is lost
 * with it: -ESTALE, and the blob may be written once more from its start.
 * A registry that takes no chunks gets the blob in one piece of at most 64 MiB.
 * Threads: one at a time.
 */
#ifndef CK_UPLOAD_H
#define CK_UPLOAD_H

#include <stdatomic.h>

#include "fs/registry/registry.h"

struct ck_upload; /* opaque */

struct ck_upload_opts {
	size_t chunk;		/* bytes; 0: 8 MiB */
	atomic_bool *one_piece; /* that the registry takes no chunks: learned, and heeded */
	const uint8_t *digest;	/* NULL, or what it will be ... */
	const char *from;	/* ... and the repository of the same registry that it may be in */
};

/* Returns 0 with *OUT the caller's to close, or 1: the blob was mounted, and is there.
 * R is borrowed. Errors: -ENOMEM, those of ck_uploadstep_open where a mount is tried. */
CK_MUST_CHECK int ck_upload_open(struct ck_upload **out, struct ck_registry *r,
				 const struct ck_upload_opts *opts, struct ck_err *err);

/* Errors: -ESTALE (see above), -ENOTSUP (no chunks are taken, and it is too large for one piece),
 * those of ck_registry_do and ck_registry_refused. */
CK_MUST_CHECK int ck_upload_write(struct ck_upload *u, const void *p, size_t nbytes,
				  struct ck_err *err);

/* All that was written has DIGEST, and is to be there when this returns 0. Once only.
 * Errors: as above, -EBADMSG (the registry says it has another digest). */
CK_MUST_CHECK int ck_upload_end(struct ck_upload *u, const uint8_t digest[CK_SHA256_LEN],
				struct ck_err *err);

/* Gives up what was not ended. NULL is allowed. */
void ck_upload_close(struct ck_upload *u);

#endif
