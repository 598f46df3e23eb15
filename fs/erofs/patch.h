/*
 * patch - what stands where on the patch device: runs of chunks of files, each chunk at a
 * multiple of 512 bytes, in the order they are added.
 * Threads: read-only once built; any number of readers.
 */
#ifndef CK_EROFS_PATCH_H
#define CK_EROFS_PATCH_H

#include "fs/erofs/chunks.h"
#include "fs/erofs/metadata.h"

struct ck_patch_run {
	uint64_t off;		/* on the patch device */
	uint64_t file_off, len; /* in the file */
	ck_ino ino;
};

struct ck_patch {
	struct ck_patch_run *runs; /* ascending by off */
	size_t n, cap;
	uint64_t len; /* of the device so far */
};

/* Puts a chunk of INO at the device's end. Errors: -EFBIG (the device), -ENOMEM. */
CK_MUST_CHECK int ck_patch_add(struct ck_patch *p, ck_ino ino, const struct ck_chunk *chunk,
			       struct ck_err *err);
/* As ck_erofs_patch_find. */
bool ck_patch_find(const struct ck_patch *p, uint64_t off, struct ck_erofs_patch *out);
void ck_patch_free(struct ck_patch *p); /* {0} is allowed */

#endif
