/*
 * acl - POSIX.1e access control lists in the form the kernel takes.
 * Source: linux/posix_acl_xattr.h, version 2.
 */
#ifndef CK_ACL_H
#define CK_ACL_H

#include <archive_entry.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"

enum ck_acl_type { CK_ACL_ACCESS, CK_ACL_DEFAULT, CK_ACL_TYPES };

extern const char *const ck_acl_name[CK_ACL_TYPES]; /* of the extended attribute */

/* Appends the list of TYPE that libarchive made of E to B as its attribute's value; nothing
 * when E has no such list beyond its mode. Errors: -EBADMSG (unknown tag, an id above what
 * libarchive holds), -EFBIG, -ENOMEM. */
CK_MUST_CHECK int ck_acl_pack(struct ck_buf *b, struct archive_entry *e, enum ck_acl_type type,
			      struct ck_err *err);

struct ck_acl {
	size_t n_entries; /* 0: it says that there is no list */
	mode_t perm;	  /* the nine bits of a mode that are the list's */
	bool has_mask;	  /* it says more than those */
};

/* Reads an attribute's value by the kernel's rules (posix_acl_valid). Errors: -EBADMSG. */
CK_MUST_CHECK int ck_acl_read(struct ck_acl *out, const void *value, size_t len,
			      struct ck_err *err);

#endif
