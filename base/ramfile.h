/*
 * ramfile - a file in memory that no path leads to, and that the kernel can mount from.
 *
 * It lies in a ramfs of its own, which is mounted nowhere. Its pages are never dropped, nor
 * swapped; they go with the last who has it open or mounted. (What is mounted from a file wants one
 * whose filesystem reads single pages, which that of a memfd does not.) Source: Linux,
 * Documentation/filesystems/ramfs-rootfs-initramfs.rst.
 */
#ifndef CK_RAMFILE_H
#define CK_RAMFILE_H

#include <stddef.h>

#include "base/err.h"

/*
 * Makes one of NBYTES (not 0) zeros, for its owner to read alone. *FILE, open for reading and
 * writing, is the caller's to close; and *BYTES, its contents, to munmap. Needs root.
 * Errors: -EPERM, -ENOMEM, errnos of fsopen(2), fsmount(2), openat(2), ftruncate(2) and mmap(2).
 */
CK_MUST_CHECK int ck_ramfile_open(int *file, void **bytes, size_t nbytes, struct ck_err *err);

#endif
