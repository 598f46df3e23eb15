/*
 * acl - POSIX.1e access control lists in the form the kernel takes.
 * Source: linux/posix_acl_xattr.h, version 2.
 */
#ifndef CK_ACL_H
#define CK_ACL_H

#include <archive_entry.h>

#include "base/buf.h"

/* Appends the list of TYPE (ARCHIVE_ENTRY_ACL_TYPE_ACCESS or _DEFAULT) of E to B as the
 * value of system.posix_acl_*; nothing when E has no such list beyond its mode.
 * Errors: -EBADMSG (unknown tag), -EFBIG, -ENOMEM. */
CK_MUST_CHECK int ck_acl_pack(struct ck_buf *b, struct archive_entry *e, int type,
			      struct ck_err *err);

#endif
