/*
 * letgo - takes a mount away, with what lies over it, on a thread that may be held up.
 * Who takes the last use of an EROFS away is held by the kernel until all has come that is being
 * read of it, though nobody wants it any more: from a network, perhaps, which does not answer. And
 * nothing tells the daemon, whose part it is to give that up, but that it takes long: here, or,
 * where somebody else unmounts, in asking the kernel for that filesystem's numbers, which waits
 * for him.
 * Threads: one that starts and ends it; the others' questions from any in between.
 */
#ifndef CK_LETGO_H
#define CK_LETGO_H

#include <stdint.h>
#include <sys/types.h>

#include "fs/fuse/mountpoint.h"

struct ck_letgo; /* opaque */

/*
 * Begins to take M away from PATH, and what lies over it, the uppermost first; what is open is
 * served on. From then on it looks whether the EROFS of device number EROFS, unless that is 0, is
 * still used somewhere. The thread has no descriptor but the standard ones: where it is held while
 * the process ends, /dev/fuse is closed all the same, which ends the reads.
 * *OUT is the caller's to ck_letgo_end. Errors: -ENOMEM, -EAGAIN (no thread).
 */
CK_MUST_CHECK int ck_letgo_start(struct ck_letgo **out, const char *path,
				 const struct ck_mounted *m, dev_t erofs, struct ck_err *err);

/* Waits, for MS at most, until M is no longer in the tree, or cannot be taken from it. False: it
 * still is. */
bool ck_letgo_wait(struct ck_letgo *l, unsigned ms);

/* For how many milliseconds the kernel has held it by now. */
uint64_t ck_letgo_held_ms(struct ck_letgo *l);

/* Ends it, for which it waits, and so must not be called before what holds it is given up. NULL is
 * allowed. Returns 0, or why M could not be taken away (errnos of umount2). */
int ck_letgo_end(struct ck_letgo *l);

#endif
