/*
 * outdir - the directory of an image layout that is written to: made where it is missing,
 * looked at before it is used, locked, and removed again when nothing came of it.
 * Writers of an oci layout work beside each other, and lock it for the moment in which they
 * change it; a dir holds one image and has one writer at a time.
 * Threads: one at a time.
 */
#ifndef CK_OUTDIR_H
#define CK_OUTDIR_H

#include "fs/oci/layout.h"

struct ck_outdir {
	struct ck_layout layout; /* of DIR itself */
	int middle;		 /* of DIR/blobs, -1 in a dir; owned */
	int blobs;		 /* where blobs are named: DIR/blobs/sha256, or DIR; owned */
	char *path;		 /* owned */
	bool made_root, made_blobs, made_sha256;
};

/*
 * Opens DIR for writing; MAKE makes it where it is missing (its parent must be there). No
 * part of DIR is reached through a symbolic link. An oci layout may hold images, a dir
 * may not. *OUT is the caller's to close.
 * Errors: errnos, -EEXIST (it holds something else), -EBUSY (a dir that another process
 * is writing), -ENOTSUP and -EBADMSG (a layout that we do not understand).
 */
CK_MUST_CHECK int ck_outdir_open(struct ck_outdir *out, enum ck_transport transport,
				 const char *dir, bool make, struct ck_err *err);

/* KEEP: what was made stays, else it is removed as far as it is empty and nobody else is
 * writing there. */
void ck_outdir_close(struct ck_outdir *d, bool keep);

/* Keeps other writers from changing the layout, for at most a few moments.
 * Errors: -EBUSY after a minute of waiting, errnos. */
CK_MUST_CHECK int ck_outdir_lock(const struct ck_outdir *d, struct ck_err *err);
void ck_outdir_unlock(const struct ck_outdir *d);

/* Has the names in all its directories, or in DIR alone, written to the disk.
 * Errors: errnos. */
CK_MUST_CHECK int ck_outdir_sync(const struct ck_outdir *d, struct ck_err *err);
CK_MUST_CHECK int ck_outdir_sync_root(const struct ck_outdir *d, struct ck_err *err);

#endif
