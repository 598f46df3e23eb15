/*
 * mount - a stack served by FUSE at a directory.
 * Views: "rootfs" is the merged tree; "layers" shows manifest.json, config.json and,
 * for each layer N (from 0), N.tar (the tar stream) and N/ (its own tree, whiteouts
 * visible as the tar has them). "devices" is the merged tree, too, but answered by the
 * kernel's EROFS, from metadata in a file of its own memory (base/ramfile.h). It lies over a FUSE
 * mount of each layer's tar stream and the patch device (see fs/erofs/metadata.h).
 */
#ifndef CK_MOUNT_H
#define CK_MOUNT_H

#include <limits.h>

#include "base/listen.h"
#include "fs/registry/progress.h"
#include "fs/stack.h"

enum ck_view { CK_VIEW_ROOTFS, CK_VIEW_LAYERS, CK_VIEW_DEVICES };

struct ck_mount; /* opaque */

/* Whether an image can be mounted at DIR, whose absolute name without symlinks FULL gets.
 * Errors: -EBUSY (a cloakfs is mounted there, or a dead one), -ENOTDIR, those of realpath. */
CK_MUST_CHECK int ck_mount_check(char full[PATH_MAX], const char *dir, struct ck_err *err);

struct ck_mount_spec {
	enum ck_view view;
	const char *source;	     /* names the image in mount tables */
	uint64_t timeout_ms;	     /* in which a read is answered; 1 or more */
	const char *upper;	     /* NULL, or whereto an overlay writes (fs/fuse/writable.h) */
	const int *userns;	     /* NULL, or by which ids EROFS shows (fs/fuse/idmap.h) */
	struct ck_listener *metrics; /* NULL, or where they are served (fs/fuse/metrics.h) */
	const struct ck_prefetch_progress *prefetch; /* NULL, or what is told of it */
};

/*
 * Mounts STACK (borrowed; for CK_VIEW_ROOTFS already merged) read-only at DIR; the mount
 * answers once ck_mount_run runs. As root: allow_other, suid and dev honoured,
 * default_permissions, read-ahead raised to 1 MiB. What SPEC
 * points to is borrowed until ck_mount_close. The caller may fork in between: the process that runs
 * it is the daemon. From here to ck_mount_close SIGINT, SIGTERM and SIGHUP, unless ignored, are
 * blocked in the calling thread, and wait for ck_mount_run. *OUT is the caller's to ck_mount_close,
 * in the same thread; on failure nothing stays mounted. Errors: those of ck_mount_check, -EPERM,
 * -EINVAL (layers not open, not merged), -ENOMEM, other errnos of mount(2).
 */
CK_MUST_CHECK int ck_mount_open(struct ck_mount **out, struct ck_stack *stack,
				const struct ck_mount_spec *spec, const char *dir,
				struct ck_err *err);

/* Called once the mount answers. An error ends it, and is what ck_mount_run returns. */
typedef int ck_ready_fn(void *ctx, struct ck_err *err);

/*
 * Serves with several threads, tells READY (may be NULL) in the calling one, and goes on until
 * the mount is unmounted or SIGINT, SIGTERM or SIGHUP comes. A signal unmounts, though files are
 * open; requests under way are answered, and what is open then is dead. SIGURG is used meanwhile.
 * A read that is not done within the spec's time is answered EIO. When all is over but for
 * such reads, this does not return: nothing ends their threads but the end of the process, so it
 * is ended (status 0, or 1 where it would have returned an error, which is logged then).
 * Errors: those of the FUSE session, of ck_cover (devices view), of ck_writable_at, and of READY;
 * -EINTR where a signal came while they were.
 */
CK_MUST_CHECK int ck_mount_run(struct ck_mount *m, ck_ready_fn *ready, void *ctx,
			       struct ck_err *err);

/* Whether EROFS came to lie over it. */
bool ck_mount_has_erofs(const struct ck_mount *m);

/* Unmounts where still mounted. NULL is allowed. */
void ck_mount_close(struct ck_mount *m);

/*
 * Unmounts a cloakfs mount at DIR, also a stale one whose daemon is gone, and waits for
 * the daemon to end (in another network namespace it is not seen, nor waited for).
 * LAZY takes it out of the tree though files are open, which go on being served: the daemon
 * ends with the last of them, and is not waited for.
 * Errors: -EINVAL (nothing of ours mounted there), -EBUSY (files open), -EPERM,
 * -ETIMEDOUT (unmounted, but the daemon goes on), errnos of finding DIR.
 */
CK_MUST_CHECK int ck_unmount(const char *dir, bool lazy, struct ck_err *err);

#endif
