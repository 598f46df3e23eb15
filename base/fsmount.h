/*
 * fsmount - a filesystem mounted by the new mount API, with the kernel's own words when it refuses.
 * Source: fsopen(2), fsconfig(2), fsmount(2), move_mount(2).
 * In every call, an error is an errno of the system call, if not said otherwise.
 */
#ifndef CK_FSMOUNT_H
#define CK_FSMOUNT_H

#include "base/err.h"

/* Begins a filesystem of TYPE; *FS is the caller's to close. Errors: -ENOTSUP (the kernel has
 * none of that type). */
CK_MUST_CHECK int ck_fsmount_begin(int *fs, const char *type, const char *source,
				   struct ck_err *err);

/* A parameter; VALUE NULL: a flag. */
CK_MUST_CHECK int ck_fsmount_set(int fs, const char *key, const char *value, struct ck_err *err);

/* A parameter that names a directory, which FD is open on. */
CK_MUST_CHECK int ck_fsmount_set_fd(int fs, const char *key, int fd, struct ck_err *err);

/* Makes the superblock, and with ATTRS (MOUNT_ATTR_...) the mount, which is nowhere yet: *MOUNT
 * is the caller's to close. */
CK_MUST_CHECK int ck_fsmount_create(int *mount, int fs, unsigned attrs, struct ck_err *err);

/* Mounts it over DIR. */
CK_MUST_CHECK int ck_fsmount_at(int mount, const char *dir, struct ck_err *err);

#endif
