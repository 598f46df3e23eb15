/*
 * layoutstore - the files of a layout that is written to (fs/oci/blobstore.h): blobs, and
 * then the root document that leads to them.
 *
 * Blobs are files without names (fs/oci/tempfile.h) until a manifest is added. The first 64
 * are kept open; those after them get a temporary name each, because a process has few
 * descriptors, and the limit on them is its owner's to set. A process that is killed leaves
 * nothing behind, or such temporary names, or whole blobs that nothing leads to yet.
 *
 * Adding locks the layout for a moment, and makes blobs visible first, index.json or
 * manifest.json last, each on the disk before the next. On failure the old state is there
 * still, but for this: when the very last step fails, having the directory written to the
 * disk, the new one is there and may not outlive a crash.
 * In index.json the entry of an image is set as ck_entries_set does. What refers to an image
 * is listed in an index with the name that ck_referrers_name says.
 */
#ifndef CK_LAYOUTSTORE_H
#define CK_LAYOUTSTORE_H

#include "fs/oci/blobstore.h"
#include "fs/oci/reference.h"

/* Opens DIR as ck_outdir_open does, whose errors are this one's; adding may fail with -EBUSY
 * (locked by another) and -ENOENT (a blob that was there is gone). Closing removes a directory
 * that was made for it, and not used. *OUT is the caller's to close. */
CK_MUST_CHECK int ck_layoutstore_open(struct ck_blobstore **out, enum ck_transport transport,
				      const char *dir, bool make, struct ck_err *err);

#endif
