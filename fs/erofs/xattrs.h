/* xattrs - a node's extended attributes as they stand behind its inode. Private to fs/erofs. */
#ifndef CK_EROFS_XATTRS_H
#define CK_EROFS_XATTRS_H

#include "tar/index/index.h"

/*
 * Bytes of the attributes of E (NULL: none) in INDEX; 0 without any.
 * Errors: -ENOTSUP for a name or a size that EROFS has no form for, with a message that the
 * caller completes with the file's path.
 */
CK_MUST_CHECK int ck_xattrs_len(size_t *out, const struct ck_index *index, const struct ck_entry *e,
				struct ck_err *err);

/* Writes them to P, which has that many bytes, all zero. */
void ck_xattrs_write(uint8_t *p, const struct ck_index *index, const struct ck_entry *e);

/* What the inode says of LEN bytes of attributes. */
uint16_t ck_xattrs_count(size_t len);

#endif
