/*
 * blobstore - where an image, or what refers to one, is written to: a layout
 * (fs/oci/layoutstore.h) or a repository of a registry (fs/registry/push.h). Blobs, which
 * nobody finds until all of them are there, and then the manifest that leads to them.
 * Threads: all but add and close may run on any number of threads at once, one at a time for
 * each blob.
 */
#ifndef CK_BLOBSTORE_H
#define CK_BLOBSTORE_H

#include <jansson.h>

#include "base/err.h"
#include "base/reader.h"
#include "fs/oci/manifest.h"
#include "tar/layer.h"

struct ck_blobstore; /* opaque */

/* Forgets what was not added. Its new blobs must have been dropped. NULL is allowed. */
void ck_blobstore_close(struct ck_blobstore *s);

static inline void ck_blobstore_closep(struct ck_blobstore **s)
{
	ck_blobstore_close(*s);
}

/* What it is called in messages: a directory, "HOST/REPO". Borrowed. */
const char *ck_blobstore_name(const struct ck_blobstore *s);

/* A blob in the making. */
struct ck_new_blob; /* opaque */

/* *OUT is the caller's to drop, before the store is closed. Errors: errnos, -ENOMEM. */
CK_MUST_CHECK int ck_blobstore_blob(struct ck_new_blob **out, struct ck_blobstore *s,
				    struct ck_err *err);

/* Appends to the blob, and hashes. Errors: errnos, -EFBIG; -ESTALE (a registry has lost what
 * it took, and may take it if it is written once more). */
CK_MUST_CHECK int ck_new_blob_write(struct ck_new_blob *b, const void *p, size_t nbytes,
				    struct ck_err *err);

/* Ends the blob: its bytes are on the disk or with the registry, and a manifest may name it.
 * Nothing but dropping it makes sense afterwards. Errors: as above. */
CK_MUST_CHECK int ck_new_blob_end(struct ck_new_blob *b, uint8_t digest[CK_SHA256_LEN],
				  uint64_t *size, struct ck_err *err);

/* Frees B; a blob that was not ended is forgotten. NULL is allowed. */
void ck_new_blob_drop(struct ck_new_blob *b);

static inline void ck_new_blob_dropp(struct ck_new_blob **b)
{
	ck_new_blob_drop(*b);
}

/* A small blob at once. Errors: errnos. */
CK_MUST_CHECK int ck_blobstore_put(struct ck_blobstore *s, const void *p, size_t nbytes,
				   uint8_t digest[CK_SHA256_LEN], struct ck_err *err);

/*
 * Copies FROM, whose bytes must have DIGEST. What is there already, by name and size, is not
 * read. PROGRESS may be NULL.
 * Errors: -EBADMSG (they do not), those of the reader, errnos.
 */
CK_MUST_CHECK int ck_blobstore_copy(struct ck_blobstore *s, struct ck_reader *from,
				    const uint8_t digest[CK_SHA256_LEN], ck_progress_fn *progress,
				    void *ctx, struct ck_err *err);

/* A manifest, and what it is. All borrowed. */
struct ck_new_manifest {
	const void *p;
	struct ck_descriptor d; /* of P[0..d.size) */
	const char *name;	/* of an image: a layout's REF, a registry's tag; may be NULL */
	const json_t *platform; /* of an image, for an index; may be NULL */
	const struct ck_descriptor *subject; /* NULL: it is an image; else an artifact of ours
						about that image, in the place of older ones */
};

/*
 * Makes everything visible: blobs first, then what leads to them. Once only. On failure the
 * old state is there still, but for what the kind of store says.
 * Errors: -EINVAL (an image's blob was not written and is not there), -EFBIG (a document grows
 * above 4 MiB), those of ck_manifest_parse, errnos.
 */
CK_MUST_CHECK int ck_blobstore_add(struct ck_blobstore *s, const struct ck_new_manifest *m,
				   struct ck_err *err);

#endif
