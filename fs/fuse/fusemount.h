/*
 * fusemount - a FUSE session, mounted and ready to be served.
 */
#ifndef CK_FUSEMOUNT_H
#define CK_FUSEMOUNT_H

#include "fs/fuse/mountpoint.h"
#include "fs/fuse/ops.h"

/*
 * Mounts a session that is answered by OPS (borrowed) read-only at DIR (absolute, no symlinks), and
 * shakes hands with the kernel. SOURCE names the image in mount tables. *OUT is the caller's to
 * fuse_session_destroy once it is unmounted, and *AT what mount tables say of it; on failure
 * nothing stays mounted.
 * Errors: -EPERM (fusermount3 refused), -EIO (the kernel and libfuse disagree), -ENOMEM, errnos of
 * mount(2) and of /dev/fuse.
 */
CK_MUST_CHECK int ck_fusemount_open(struct fuse_session **out, struct ck_mounted *at,
				    struct ck_ops *ops, const char *source, const char *dir,
				    struct ck_err *err);

#endif
