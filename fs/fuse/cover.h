/*
 * cover - EROFS laid over a FUSE mount of its devices, at the same place.
 *
 * From then on the kernel answers lookups, listings and attributes by itself, and keeps the
 * pages; what is left for the daemon are reads of the tar streams.
 */
#ifndef CK_COVER_H
#define CK_COVER_H

#include "fs/fuse/catalog.h"

/*
 * C is of the devices view, and served at DIR (absolute) by other threads while this runs.
 * Nothing is mounted before each device gave back a block as its layer has it: the kernel
 * knows devices by their order alone.
 * USERNS, if not NULL, says which ids are shown in place of the image's.
 * Errors: those of ck_attach_open, ck_idmap_mount and ck_fsmount_at; -EIO (a device gives something
 * else).
 */
CK_MUST_CHECK int ck_cover(const struct ck_catalog *c, const char *dir, const int *userns,
			   struct ck_err *err);

#endif
