/*
 * ops - the kernel's requests answered from a catalog.
 *
 * Nothing changes while a mount lives, so the kernel may keep all it is told for ever:
 * entries, attributes, absent names, symlinks, pages. Open needs no message where the
 * kernel allows that; there are no handles, and forgetting is nothing to us.
 * A read gives its whole range or EIO, never less, and a failure is logged in one line. What
 * reads a layer is answered by a deadline; everything else comes from memory.
 * Threads: any number, each with a buffer of its own.
 */
#ifndef CK_OPS_H
#define CK_OPS_H

#include <fuse_lowlevel.h>
#include <pthread.h>

#include "base/seldom.h"
#include "fs/fuse/catalog.h"
#include "fs/fuse/counters.h"
#include "fs/fuse/deadline.h"

enum { CK_MAX_IO = 1 << 20 }; /* bytes of one read or directory reply */

struct ck_ops {
	struct ck_catalog catalog;
	pthread_key_t buffers;	       /* CK_MAX_IO bytes a thread */
	bool no_open, no_opendir;      /* the kernel does without these messages */
	struct ck_seldom failed_reads; /* that were logged */
	struct ck_deadline *deadline;  /* owned by who serves; none is needed for the handshake */
	_Atomic uint64_t overdue_ms;   /* when such a read was last logged */
	_Atomic uint64_t refused_ms;
	struct ck_counters counters;
};

/* Answers R, a read whose deadline has passed. CTX: struct ck_ops. */
void ck_ops_overdue(void *ctx, const struct ck_deadline_read *r);

extern const struct fuse_lowlevel_ops ck_fuse_ops; /* user data: struct ck_ops */

#endif
