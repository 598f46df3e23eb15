/*
 * mount - a stack served by FUSE at a directory.
 * Views: "rootfs" is the merged tree; "layers" shows manifest.json, config.json and,
 * for each layer N (from 0), N.tar (the tar stream) and N/ (its own tree, whiteouts
 * visible as the tar has them).
 */
#ifndef CK_MOUNT_H
#define CK_MOUNT_H

#include "fs/stack.h"

enum ck_view { CK_VIEW_ROOTFS, CK_VIEW_LAYERS };

struct ck_mount; /* opaque */

/*
 * Mounts STACK (borrowed; for CK_VIEW_ROOTFS already merged) read-only at DIR; the mount
 * answers once ck_mount_run runs. As root: allow_other, suid and dev honoured,
 * default_permissions, read-ahead raised to 1 MiB. SOURCE names the image in
 * /proc/mounts. *OUT is the caller's to ck_mount_close.
 * Errors: -EBUSY, -ENOENT, -ENOTDIR, -EPERM, -ENOMEM.
 */
CK_MUST_CHECK int ck_mount_open(struct ck_mount **out, struct ck_stack *stack, enum ck_view view,
				const char *source, const char *dir, struct ck_err *err);

/* Serves with several threads until the mount is unmounted or SIGINT/SIGTERM/SIGHUP
 * comes (which it handles while it runs). Errors: those of the FUSE session. */
CK_MUST_CHECK int ck_mount_run(struct ck_mount *m, struct ck_err *err);

/* Unmounts where still mounted. NULL is allowed. */
void ck_mount_close(struct ck_mount *m);

/* Unmounts a cloakfs mount at DIR, also a stale one whose daemon is gone, and waits
 * for the daemon to end. Errors: -EINVAL (nothing of ours mounted there), -EBUSY,
 * -EPERM. */
CK_MUST_CHECK int ck_unmount(const char *dir, struct ck_err *err);

#endif
