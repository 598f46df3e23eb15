/*
 * idmap - which users a mount shows in place of the image's own.
 * Source: user_namespaces(7), mount_setattr(2), MOUNT_ATTR_IDMAP.
 */
#ifndef CK_IDMAP_H
#define CK_IDMAP_H

#include "base/err.h"

/* Ranges as /proc/PID/uid_map takes them. */
struct ck_idmap {
	char uids[1024], gids[1024];
};

/* Adds a range "IMAGE-ID:SHOWN-ID:COUNT" to MAP (uids or gids, of CAP bytes).
 * Errors: -EINVAL (not three numbers below 2^32, or nothing counted), -ENOSPC (too many). */
CK_MUST_CHECK int ck_idmap_add(char *map, size_t cap, const char *range, struct ck_err *err);

/* A user namespace that is M; where M has no uids or no gids, those of the other are taken. *FD is
 * the caller's to close. Errors: -EINVAL (ranges that overlap), -EPERM, -EAGAIN, -ENOSYS. */
CK_MUST_CHECK int ck_idmap_open(int *fd, const struct ck_idmap *m, struct ck_err *err);

/* Has MOUNT, which is mounted nowhere yet, show ids by the namespace USERNS.
 * Errors: -EINVAL (the filesystem cannot), -EPERM. */
CK_MUST_CHECK int ck_idmap_mount(int mount, int userns, struct ck_err *err);

#endif
