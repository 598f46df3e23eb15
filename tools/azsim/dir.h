/*
 * dir - the state directory: paths in it, and who holds it.
 * One running simulator holds a record lock on azsim.pid, so that who runs is
 * known even after a kill -9 or a reused process id.
 */
#ifndef AZ_DIR_H
#define AZ_DIR_H

#include <sys/types.h>

#include "base/err.h"

enum { AZ_DIR_MAX = 200 }; /* bytes of the state directory's own path */

/* Room for the longest path of the state directory: a host of 253, a key of 127 and a version. */
struct az_path {
	char s[AZ_DIR_MAX + 800];
};

/* DIR/<fmt>. */
struct az_path az_path(const char *dir, const char *fmt, ...) CK_PRINTF(2, 3);

/* The absolute path of the existing state directory NAME.
 * Errors: -ENOENT and others of realpath, -ENAMETOOLONG. */
CK_MUST_CHECK int az_dir_find(char out[AZ_DIR_MAX + 1], const char *name, struct ck_err *err);

/* The same, made (0700) with its subdirectories where missing. */
CK_MUST_CHECK int az_dir_make(char out[AZ_DIR_MAX + 1], const char *name, struct ck_err *err);

/* mkdir, fine when it exists. Errors: errnos. */
CK_MUST_CHECK int az_mkdir(const char *path, struct ck_err *err);

/* Holds DIR for this process until it ends and notes the process id.
 * Errors: -EBUSY (another simulator runs). */
CK_MUST_CHECK int az_dir_hold(const char *dir, struct ck_err *err);

/* The process that holds DIR, 0 when none does. Errors: errnos. */
CK_MUST_CHECK int az_dir_holder(const char *dir, pid_t *out, struct ck_err *err);

#endif
