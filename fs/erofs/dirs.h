/*
 * dirs - a directory's entries in blocks: sorted by name, "." and ".." among them, each block
 * with its entries first and their names behind. Private to fs/erofs.
 */
#ifndef CK_EROFS_DIRS_H
#define CK_EROFS_DIRS_H

#include "fs/tree.h"

/* Bytes of the directory INO of T. */
uint64_t ck_dirs_len(const struct ck_tree *t, ck_ino ino);

/* Writes them to P, which has that many bytes, all zero. NIDS[I] is node I's number in the
 * image. */
void ck_dirs_write(uint8_t *p, const struct ck_tree *t, ck_ino ino, const uint32_t *nids);

#endif
