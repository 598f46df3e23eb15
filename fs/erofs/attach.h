/*
 * attach - an EROFS image in a file, with other files as its devices, mounted.
 *
 * By the new mount API: mount(2) cuts its options at 4096 bytes, which a few dozen devices
 * fill. Needs root, and a kernel that mounts EROFS from files (6.12).
 * Source: Linux, Documentation/filesystems/erofs.rst; fsopen(2), fsconfig(2).
 */
#ifndef CK_ATTACH_H
#define CK_ATTACH_H

#include <stddef.h>

#include "base/err.h"

/*
 * Makes the superblock of the image in FILE, whose devices 1..N_DEVICES are the files
 * DEVICES. *MOUNT is the caller's to close: the tree, mounted nowhere yet, to be looked at
 * through it. DEVICES are read directly, not through their own page cache, where they can be.
 * Errors: -ENOTSUP (this kernel does not), -EPERM, what else the kernel said, with its words.
 */
CK_MUST_CHECK int ck_attach_open(int *mount, const char *file, const char *const *devices,
				 size_t n_devices, struct ck_err *err);

#endif
