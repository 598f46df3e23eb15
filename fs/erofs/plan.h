/*
 * plan - where everything of an image stands, before a byte of it is written.
 * Threads: none of this is shared.
 */
#ifndef CK_EROFS_PLAN_H
#define CK_EROFS_PLAN_H

#include <sys/stat.h>

#include "fs/erofs/chunks.h"
#include "fs/erofs/patch.h"
#include "fs/tree.h"

/* The form of one inode. */
struct ck_shape {
	struct stat st;	    /* as the kernel will show it; st_size of a directory included */
	uint16_t layout;    /* EROFS_PLAIN, _INLINE or _CHUNKS */
	uint32_t xattr_len; /* bytes of attributes */
	uint64_t tail_off;  /* from the inode's beginning: where an inline tail or indexes are */
	uint64_t len;	    /* of the inode with all that is behind it */
	uint32_t n_blocks;  /* of its own in the data area */
	struct ck_chunks chunks; /* of a regular file, at the first one */
};

struct ck_plan {
	/* given; borrowed */
	const struct ck_tree *tree;
	const struct ck_index *const *index;
	const uint64_t *tar_len;
	size_t n_layers;
	/* made */
	uint32_t *nid;		       /* of node [ino]; the root's is small, none is 0 */
	uint64_t inodes_len, n_blocks; /* of the area of inodes; of that of data */
	struct ck_patch patch;
	uint32_t n_devices;
	uint64_t meta_off, data_off, len; /* in the image; of the image */
};

/* Errors: those of ck_erofs_plan. P's given members are set; ck_plan_free in any case. */
CK_MUST_CHECK int ck_plan_make(struct ck_plan *p, struct ck_err *err);
void ck_plan_free(struct ck_plan *p); /* {0} is allowed */

/* The form of node INO. Errors: -ENOTSUP; none for a node that has been planned. */
CK_MUST_CHECK int ck_plan_shape(const struct ck_plan *p, ck_ino ino, struct ck_shape *out,
				struct ck_err *err);

#endif
