/*
 * index - what a layer's tar stream holds: its entries, sorted by path.
 *
 * Flat arrays and one heap of bytes, addressed by number: nothing is allocated per
 * entry, and the whole can be written out as it lies.
 * Threads: read-only once built; any number of readers.
 */
#ifndef CK_INDEX_H
#define CK_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/range.h"

enum ck_entry_kind { CK_ENTRY_NODE, CK_ENTRY_HARDLINK };

/* A run of bytes in the heap. */
struct ck_span {
	uint32_t off; /* in the heap */
	uint32_t len; /* bytes, without the NUL that follows each */
};

/* One entry of the tar. */
struct ck_entry {
	/* Cleaned as the OCI image spec's root demands: no leading '/', no "." or ".."
	 * parts (".." stops at the root), no trailing '/'. "" is the root. */
	struct ck_span path;
	struct ck_span link; /* symlink: its text as written; hard link: a cleaned path */
	uint64_t size;	     /* bytes of a regular file, holes included */
	int64_t mtime_s;     /* seconds since 1970, may be negative */
	uint32_t mtime_ns;   /* 0..999999999 */
	uint32_t mode;	     /* S_IFMT | 07777; 0 for CK_ENTRY_HARDLINK */
	uint32_t uid, gid;
	uint32_t rdev_major, rdev_minor; /* devices */
	uint32_t first_extent, n_extents;
	uint32_t first_xattr, n_xattrs;
	uint32_t seq;	   /* position in the tar, from 0; a later entry wins */
	uint8_t kind;	   /* enum ck_entry_kind */
	uint8_t unused[3]; /* zeros: entries are compared as bytes */
};

/* LEN bytes of a file at FILE_OFF are at TAR_OFF of the tar stream. Ascending by
 * file_off, never overlapping; what lies between is a hole (zeros). */
struct ck_extent {
	uint64_t file_off, tar_off, len;
};

struct ck_xattr {
	struct ck_span name; /* whole name, e.g. "security.capability" */
	struct ck_span value;
};

struct ck_index {
	const struct ck_entry *entries; /* sorted by path bytes, then seq; duplicates stay */
	size_t n_entries;
	const struct ck_extent *extents;
	size_t n_extents;
	const struct ck_xattr *xattrs;
	size_t n_xattrs;
	const char *heap;
	size_t heap_len;
	/* What a mount should fetch first, in that order: of the tar stream, whole blocks of
	 * CK_TAR_BLOCK but for the stream's own end. None is empty, none overlaps another.
	 * A hint: it says nothing of what is in the stream. */
	const struct ck_range *prefetch;
	size_t n_prefetch; /* at most CK_PREFETCH_MAX */
};

enum { CK_TAR_BLOCK = 512, CK_PREFETCH_MAX = 65536 };

/* The bytes of a span, NUL-terminated. */
static inline const char *ck_index_bytes(const struct ck_index *x, struct ck_span s)
{
	return x->heap + s.off;
}

/* Grows an index, one entry at a time, in tar order. */
struct ck_index_builder; /* opaque */

CK_MUST_CHECK int ck_index_builder_new(struct ck_index_builder **out, struct ck_err *err);
void ck_index_builder_free(struct ck_index_builder *b); /* NULL is allowed */

/* Adds bytes (a name, a value) to the heap. Errors: -EFBIG (heap above 1 GiB), -ENOMEM. */
CK_MUST_CHECK int ck_index_add_bytes(struct ck_index_builder *b, const void *p, size_t nbytes,
				     struct ck_span *out, struct ck_err *err);
/* Adds a path, cleaned as `struct ck_entry` says. */
CK_MUST_CHECK int ck_index_add_path(struct ck_index_builder *b, const char *path,
				    struct ck_span *out, struct ck_err *err);
/* Adds E; its spans come from the calls above; extents and xattrs that were added
 * since the last entry become its own; seq is set here.
 * Errors: -EFBIG (above 1 GiB of entries), -ENOMEM. */
CK_MUST_CHECK int ck_index_add_entry(struct ck_index_builder *b, const struct ck_entry *e,
				     struct ck_err *err);
/* Errors: -EBADMSG when extents overlap or go backwards, -EFBIG, -ENOMEM. */
CK_MUST_CHECK int ck_index_add_extent(struct ck_index_builder *b, const struct ck_extent *x,
				      struct ck_err *err);
CK_MUST_CHECK int ck_index_add_xattr(struct ck_index_builder *b, const char *name,
				     const void *value, size_t nbytes, struct ck_err *err);

/* Sorts and hands over. *OUT is the caller's to ck_index_free; B is empty after. */
void ck_index_finish(struct ck_index_builder *b, struct ck_index *out);
void ck_index_free(struct ck_index *x); /* {0} is allowed */

/* Whether both were built of the same tar stream: they then are the same bytes. What to fetch
 * first is no question of the stream, and may differ. */
bool ck_index_equal(const struct ck_index *a, const struct ck_index *b);

static inline void ck_index_builder_freep(struct ck_index_builder **b)
{
	ck_index_builder_free(*b);
}

#endif
