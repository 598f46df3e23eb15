/*
 * dirs - a directory's blocks. Each holds some entries, then their names; entries are
 * sorted by name over the whole directory, "." and ".." among them.
 */
#ifndef CK_EROFS_DIRS_H
#define CK_EROFS_DIRS_H

#include "fs/erofs/format.h"
#include "fs/tree.h"

/* A walk over the blocks of one directory. */
struct ck_dirblocks {
	const struct ck_tree *tree;
	ck_ino dir;
	uint32_t child;	 /* the next of its children */
	unsigned n_dots; /* of "." and "..", how many are done */
	unsigned n;	 /* entries of this block */
	uint32_t used;	 /* bytes of this block */
	struct ck_dirent at[EROFS_MAX_DIRENTS];
};

void ck_dirblocks_begin(struct ck_dirblocks *b, const struct ck_tree *t, ck_ino dir);
/* Finds the entries of the next block; false after the last. */
bool ck_dirblocks_next(struct ck_dirblocks *b);
/* Writes this block's B->used bytes to P. NID[ino] is where the inode of a node stands. */
void ck_dirblocks_put(const struct ck_dirblocks *b, uint8_t *p, const uint32_t *nid);

/* How long the directory is: all blocks full but the last. */
uint64_t ck_dirblocks_len(const struct ck_tree *t, ck_ino dir);

#endif
