/*
 * indexcache - sealed layer indexes in a directory, one file a blob.
 *
 * Nothing in it is secret or believed: an index is sealed under its layer's key, and
 * checked whenever it is read. Files appear whole or not at all, so processes may share a
 * directory.
 * Threads: any.
 */
#ifndef CK_INDEXCACHE_H
#define CK_INDEXCACHE_H

#include "tar/layer.h"

struct ck_indexcache; /* opaque */

/* DIR is made, mode 0700, where it is missing (its parent must be there). *OUT is the
 * caller's to close. Errors: errnos, -EPERM (DIR is someone else's). */
CK_MUST_CHECK int ck_indexcache_open(struct ck_indexcache **out, const char *dir,
				     struct ck_err *err);
void ck_indexcache_close(struct ck_indexcache *c); /* NULL is allowed */

static inline void ck_indexcache_closep(struct ck_indexcache **c)
{
	ck_indexcache_close(*c);
}

/* The cache as a layer asks it; borrows C. */
struct ck_index_store ck_indexcache_store(struct ck_indexcache *c);

#endif
