/*
 * writable - an overlay over a read-only mount, at the same place: what is changed there lies in
 * a directory, or in memory.
 * Source: Linux, Documentation/filesystems/overlayfs.rst; fsopen(2), fsconfig(2).
 */
#ifndef CK_WRITABLE_H
#define CK_WRITABLE_H

#include "base/err.h"

/*
 * Puts an overlay over what is mounted at DIR (absolute). UPPER is a directory, in which "upper"
 * has the changes and "work" is overlayfs's own, both made where they are missing; with
 * CK_WRITABLE_TMPFS they lie in a tmpfs that nobody sees and that goes with the overlay. A new
 * "upper" has the mode, owner and attributes of the tree's root, which it stands for.
 * *LOCK, if not -1, is the caller's to close once the overlay is gone: UPPER is locked till then.
 * Errors: -EBUSY (UPPER is in use), -EPERM, -ENOTSUP (overlayfs cannot write there), errnos of
 * making, and what the kernel said, with its words.
 */
CK_MUST_CHECK int ck_writable_at(const char *dir, const char *upper, int *lock, struct ck_err *err);

#define CK_WRITABLE_TMPFS "tmpfs"

#endif
