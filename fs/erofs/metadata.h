/*
 * metadata - a merged tree as an EROFS image that holds no file's data.
 *
 * Directories, attributes, symlinks stand in it; the chunks of a regular file point into the
 * layers' tar streams, its devices 1 .. n_layers. What chunks cannot say (data that begin in
 * mid-block, a sparse file in too many pieces) is on one more device, the *patches*, put
 * together as it is read. The kernel identifies devices by their order alone.
 * Threads: read-only once built; any number of readers.
 */
#ifndef CK_EROFS_METADATA_H
#define CK_EROFS_METADATA_H

#include "fs/tree.h"

struct ck_erofs; /* opaque */

/*
 * INDEX[I] is the index of layer I, TAR_LEN[I] the length of its tar stream. T and INDEX are
 * borrowed and must outlive the result. *OUT is the caller's to close.
 * Errors: -ENOTSUP (EROFS has no form for something; the message says what), -EFBIG (the image
 * would be larger than any tree deserves), -ENOMEM.
 */
CK_MUST_CHECK int ck_erofs_build(struct ck_erofs **out, const struct ck_tree *t,
				 const struct ck_index *const *index, const uint64_t *tar_len,
				 size_t n_layers, struct ck_err *err);
void ck_erofs_close(struct ck_erofs *x); /* NULL is allowed */

static inline void ck_erofs_closep(struct ck_erofs **x)
{
	ck_erofs_close(*x);
}

/* The image; lives as long as X. */
const void *ck_erofs_bytes(const struct ck_erofs *x, size_t *nbytes);

/* Of the device of patches, which comes behind the layers'; 0: there is none. */
uint64_t ck_erofs_patches_len(const struct ck_erofs *x);

/* Which file's bytes are at OFF of the patches: the node's number, where in the file, and how
 * many from there lie together. False: none, zeros fill up the block. *LEN is at least 1. */
bool ck_erofs_patch_at(const struct ck_erofs *x, uint64_t off, ck_ino *ino, uint64_t *file_off,
		       uint64_t *len);

#endif
