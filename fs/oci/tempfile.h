/*
 * tempfile - a file that gets its name when it is whole.
 * Until then it has none (O_TMPFILE) and goes when the process goes; where the filesystem
 * has no such files it is called ".cloakfs-<random>", and removed when it is dropped.
 * Threads: one at a time for each file.
 */
#ifndef CK_TEMPFILE_H
#define CK_TEMPFILE_H

#include <stdbool.h>

#include "base/err.h"

enum { CK_TEMPFILE_NAME = sizeof ".cloakfs-" + 16 };

struct ck_tempfile {
	int dir;		     /* where it will have its name; borrowed */
	int fd;			     /* for writing; -1: closed */
	char name[CK_TEMPFILE_NAME]; /* for now; "": none */
};
#define CK_TEMPFILE_NONE                                                                           \
	{                                                                                          \
		-1, -1, ""                                                                         \
	}

/* Makes an empty file, mode 0644 less the umask. *OUT is the caller's to drop.
 * Errors: errnos. */
CK_MUST_CHECK int ck_tempfile_open(struct ck_tempfile *out, int dir, struct ck_err *err);

/* Closes the descriptor of a written file, which so needs a name until it is placed.
 * Errors: errnos. */
CK_MUST_CHECK int ck_tempfile_park(struct ck_tempfile *f, struct ck_err *err);

/*
 * Makes the file NAME, in the place of whatever file has that name: who looks sees the old
 * one or the new one. One process at a time may do so in a directory: the caller's lock.
 * Its bytes must be on the disk already. Errors: errnos.
 */
CK_MUST_CHECK int ck_tempfile_place(struct ck_tempfile *f, const char *name, struct ck_err *err);

/* Closes the file, and removes it unless it was placed. */
void ck_tempfile_drop(struct ck_tempfile *f);

/* Whether NAME is one that a killed run may have left behind. */
bool ck_tempfile_named(const char *name);

#endif
