/*
 * blobstore - the files of a layout that is written to: blobs, which nobody sees until all
 * of them are there, and then the root document that leads to them.
 *
 * Blobs are files without names (fs/oci/tempfile.h) until the commit. The first 64 are kept
 * open; those after them get a temporary name each, because a process has few descriptors,
 * and the limit on them is its owner's to set. A process that is killed leaves nothing
 * behind, or such temporary names, or whole blobs that nothing leads to yet.
 * Threads: all but commit and close may run on any number of threads at once.
 */
#ifndef CK_BLOBSTORE_H
#define CK_BLOBSTORE_H

#include <stdbool.h>

#include "base/buf.h"
#include "fs/oci/layout.h"
#include "tar/layer.h"

struct ck_blobstore; /* opaque */

/* Opens DIR as ck_outdir_open does. *OUT is the caller's to close. */
CK_MUST_CHECK int ck_blobstore_open(struct ck_blobstore **out, enum ck_transport transport,
				    const char *dir, bool make, struct ck_err *err);
/* Forgets what was not committed, and removes a directory that was made for it. Its new
 * blobs must have been dropped. NULL is allowed. */
void ck_blobstore_close(struct ck_blobstore *s);

static inline void ck_blobstore_closep(struct ck_blobstore **s)
{
	ck_blobstore_close(*s);
}

/* For reading what is there. Borrowed. */
const struct ck_layout *ck_blobstore_layout(const struct ck_blobstore *s);

/* Whether the blob will be there after the commit. */
bool ck_blobstore_has(struct ck_blobstore *s, const uint8_t digest[CK_SHA256_LEN], uint64_t size);

/* A blob in the making. */
struct ck_new_blob; /* opaque */

/* *OUT is the caller's to drop, before the store is closed. Errors: errnos, -ENOMEM. */
CK_MUST_CHECK int ck_blobstore_blob(struct ck_new_blob **out, struct ck_blobstore *s,
				    struct ck_err *err);

/* Appends to the blob, and hashes. Errors: errnos, -EFBIG. */
CK_MUST_CHECK int ck_new_blob_write(struct ck_new_blob *b, const void *p, size_t nbytes,
				    struct ck_err *err);

/* Ends the blob: its bytes are on the disk, and it is part of the next commit. Nothing but
 * dropping it makes sense afterwards. Errors: errnos. */
CK_MUST_CHECK int ck_new_blob_end(struct ck_new_blob *b, uint8_t digest[CK_SHA256_LEN],
				  uint64_t *size, struct ck_err *err);

/* Frees B; a blob that was not ended is forgotten. NULL is allowed. */
void ck_new_blob_drop(struct ck_new_blob *b);

static inline void ck_new_blob_dropp(struct ck_new_blob **b)
{
	ck_new_blob_drop(*b);
}

/* A small blob at once. */
CK_MUST_CHECK int ck_blobstore_put(struct ck_blobstore *s, const void *p, size_t nbytes,
				   uint8_t digest[CK_SHA256_LEN], struct ck_err *err);

/*
 * Copies FROM, whose bytes must have DIGEST. What the layout has already, by name and size,
 * is not read. PROGRESS may be NULL.
 * Errors: -EBADMSG (they do not), those of the reader, errnos.
 */
CK_MUST_CHECK int ck_blobstore_copy(struct ck_blobstore *s, struct ck_reader *from,
				    const uint8_t digest[CK_SHA256_LEN], ck_progress_fn *progress,
				    void *ctx, struct ck_err *err);

/*
 * Makes the new root document: NEW (empty) from OLD, the one that is there, empty when
 * there is none. The layout is locked meanwhile; more blobs may be put into it.
 */
typedef int ck_blobstore_root_fn(void *ctx, const struct ck_buf *old, struct ck_buf *new,
				 struct ck_err *err);

/*
 * Makes everything visible: blobs first, what ROOT makes last, each on the disk before the
 * next. Once only. On failure the old state is there still, but for this: when the very
 * last step fails, having the directory written to the disk, the new one is there and may
 * not outlive a crash.
 * Errors: -EBUSY (locked by another), -EFBIG (a root document above 4 MiB), -ENOENT (a
 * blob that was there is gone), errnos, those of ROOT.
 */
CK_MUST_CHECK int ck_blobstore_commit(struct ck_blobstore *s, ck_blobstore_root_fn *root, void *ctx,
				      struct ck_err *err);

#endif
