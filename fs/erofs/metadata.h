/*
 * metadata - an EROFS image of a merged tree, without the files' bytes: the kernel reads
 * these from further devices. Device 1 + i is the tar stream of layer i; one more, the
 * patch device, comes last where a tar cannot be pointed into (a part of a file that is
 * not aligned to 512 bytes, or partly a hole).
 *
 * The kernel tells devices apart by their order alone and checks nothing of them: who
 * mounts must see to names, order and lengths.
 * Inode numbers that the kernel shows are places in the image, not those of the tree;
 * hard links share one as they should. A directory's size is that of its blocks.
 * Behind a file's end, up to the next 512 bytes, mmap shows what the tar pads it with: zeros
 * in any usual tar, and nothing else makes them so.
 * Threads: read-only once written; any number of readers.
 */
#ifndef CK_EROFS_METADATA_H
#define CK_EROFS_METADATA_H

#include <stdbool.h>

#include "fs/tree.h"

struct ck_erofs; /* opaque */

/* The most bytes an image may take, for memory's sake. */
#define CK_EROFS_MAX_LEN (UINT64_C(256) << 20)

/*
 * Plans the image of T, whose layers INDEX[0..N_LAYERS) are, their tar streams of
 * TAR_LEN[] bytes each: borrowed until it is written. *OUT is the caller's to ck_erofs_close.
 * Errors, with a message that says what is in the way: -ENOTSUP (EROFS has no form for
 * something: an attribute's name or length, so many layers), -EFBIG
 * (the image, a layer or the patch device would be too long), -ENOMEM. After all but the
 * last, the tree can still be served in another way.
 */
CK_MUST_CHECK int ck_erofs_plan(struct ck_erofs **out, const struct ck_tree *t,
				const struct ck_index *const *index, const uint64_t *tar_len,
				size_t n_layers, struct ck_err *err);

/* How long the image is, a multiple of 512 bytes; before it is written. */
size_t ck_erofs_len(const struct ck_erofs *e);

/* Writes the image to TO, ck_erofs_len bytes that are zero, once. The same input gives the same
 * bytes. E keeps nothing but what stands on the patch device, and borrows nothing after.
 * Errors: none that the plan does not have. */
CK_MUST_CHECK int ck_erofs_write(struct ck_erofs *e, void *to, struct ck_err *err);
void ck_erofs_close(struct ck_erofs *e); /* NULL is allowed */

static inline void ck_erofs_closep(struct ck_erofs **e)
{
	ck_erofs_close(*e);
}

/* How long the patch device must be, a multiple of 512; 0: there is none. */
uint64_t ck_erofs_patch_len(const struct ck_erofs *e);

/* What stands at one place of the patch device. */
struct ck_erofs_patch {
	ck_ino ino;	   /* the file whose bytes they are; 0: zeros */
	uint64_t file_off; /* the first one's place in the file */
	uint64_t nbytes;   /* how many follow each other there, holes of the file included */
};

/* What stands at OFF of the patch device; false at or past its end. */
bool ck_erofs_patch_find(const struct ck_erofs *e, uint64_t off, struct ck_erofs_patch *out);

#endif
