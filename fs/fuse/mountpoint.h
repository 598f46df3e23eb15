/*
 * mountpoint - a directory as the kernel's table of mounts knows it.
 * Source: proc_pid_mountinfo(5).
 */
#ifndef CK_MOUNTPOINT_H
#define CK_MOUNTPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

#define CK_FUSE_TYPE "fuse.cloakfs"

/* What lies over our mount, at the same place, says so by its source, PATH "/" and one of these:
 * EROFS, by the name of its image there; and an overlay. */
#define CK_COVER_IMAGE	  "meta.erofs"
#define CK_COVER_WRITABLE "writable"

struct ck_mounted {
	unsigned dev_major, dev_minor; /* st_dev of what is mounted */
	bool ours;		       /* a cloakfs mount */
	unsigned n_covers;	       /* what of ours lies over it, which is not told of */
	char type[64];		       /* of filesystem */
	uid_t user;		       /* who mounted it; 0 unless a FUSE mount says other */
};

/* What is mounted on top at PATH (absolute, no symlinks). Asks the table only, never
 * the filesystem, so a dead or silent daemon does not matter.
 * Errors: -ENOENT without a message (nothing is), those of reading the table. */
CK_MUST_CHECK int ck_mounted_at(const char *path, struct ck_mounted *out, struct ck_err *err);

/* Where cloakfs mounts are: FUSE's, whatever lies over them. */
struct ck_places {
	struct ck_place {
		char *path, *source; /* owned; SOURCE names the image */
		struct ck_mounted at;
		bool erofs, overlay; /* lie over it */
	} * v;
	size_t n;
};

/* All, in the order in which they were mounted. *OUT, zeroed before, is the caller's to
 * ck_places_free either way. Errors: those of reading the table, -ENOMEM. */
CK_MUST_CHECK int ck_places_list(struct ck_places *out, struct ck_err *err);
void ck_places_free(struct ck_places *p);

/* Whether M is still what is mounted on top at PATH. */
bool ck_mounted_still(const char *path, const struct ck_mounted *m);

/* Whether the daemon of M, which is mounted at PATH, is gone. Asks the daemon, if it lives. On
 * machines without ustat(2), one below EROFS always seems to live. */
bool ck_mounted_stale(const char *path, const struct ck_mounted *m);

/*
 * Takes away what is mounted on top at PATH (of a covered mount the uppermost cover alone): as root
 * by umount2, else by fusermount3. LAZY takes it out of the tree at once, though files in it are
 * open. Errors: -EBUSY, -EPERM, -EINVAL (nothing there), errnos, without a message.
 */
CK_MUST_CHECK int ck_mounted_detach(const char *path, bool lazy);

#endif
