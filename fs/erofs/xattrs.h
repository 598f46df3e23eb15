/*
 * xattrs - extended attributes as they stand behind an inode.
 * Access control lists are the same bytes there as the system calls carry.
 */
#ifndef CK_EROFS_XATTRS_H
#define CK_EROFS_XATTRS_H

#include <stdint.h>

#include "tar/index/index.h"

/* How many bytes those of E take, a multiple of 4; 0 for none.
 * Errors: -ENOTSUP (a name or a length that EROFS has no form for). */
CK_MUST_CHECK int ck_erofs_xattrs_len(uint32_t *out, const struct ck_index *x,
				      const struct ck_entry *e, struct ck_err *err);

/* Writes them to P, zeros before, with room for as many. */
void ck_erofs_xattrs_put(uint8_t *p, const struct ck_index *x, const struct ck_entry *e);

#endif
