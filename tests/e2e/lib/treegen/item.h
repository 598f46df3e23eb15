/*
 * item - what random layers are made of: entries of tars, and the bytes of their files.
 * Shared by the writer of tars and the model of the tree they make, which share nothing else.
 * Nothing here is freed: the process ends when it is done. Out of memory ends it, too.
 */
#ifndef TREEGEN_ITEM_H
#define TREEGEN_ITEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text { /* any bytes, and a NUL behind them that is not counted */
	char *p;
	size_t len;
};

/* SplitMix64: the same numbers from the same seed, everywhere. */
struct rng {
	uint64_t state;
};

/* Where a file's bytes are; between them are holes. In order, and never touching. */
struct segment {
	uint64_t off, len, seed;
};

struct xattr {
	struct text name, value;
};

/* A line of an access control list; the tags are the kernel's. */
struct ace {
	uint16_t tag, perm;
	uint32_t id;
};
enum {
	ACE_USER_OBJ = 1,
	ACE_USER = 2,
	ACE_GROUP_OBJ = 4,
	ACE_GROUP = 8,
	ACE_MASK = 16,
	ACE_OTHER = 32
};

struct acl {
	struct ace ace[8];
	size_t n; /* 0: none */
};

enum type { FILE_, DIR_, SYMLINK, CHAR, BLOCK_, FIFO, HARDLINK };

enum { MAX_XATTRS = 6 };

struct item {
	enum type type;
	struct text path, link; /* as the tar has them */
	uint32_t mode, uid, gid, major, minor;
	int64_t mtime; /* seconds, rounded down */
	uint32_t mtime_ns;
	uint64_t size;
	struct segment *segments;
	size_t n_segments;
	bool sparse; /* written as one */
	struct xattr xattrs[MAX_XATTRS];
	size_t n_xattrs;
	struct acl access, deflt;
	uint64_t form; /* random bits: which of the forms that mean the same is written */
	bool odd;      /* GNU tar takes it differently, or its place cannot hold it */
	bool dropped;  /* neither written nor applied */
};

struct layer {
	struct item *items; /* in the tar's order */
	size_t n, cap;
};

enum { MAX_LAYERS = 5 };

struct stack {
	struct layer layers[MAX_LAYERS];
	size_t n_layers;
};

void *alloc(size_t nbytes);		      /* zeroed */
void *grow(void *p, size_t n, size_t nbytes); /* room for N things of NBYTES */
void text_add(struct text *t, const void *p, size_t nbytes);
void text_puts(struct text *t, const char *s);
struct text text_of(const char *s);

uint64_t rng_next(struct rng *r);
uint64_t below(struct rng *r, uint64_t n); /* 0 .. N - 1; N > 0 */
bool one_in(struct rng *r, uint64_t n);

/* The byte of a segment at OFF from its start. */
void segment_bytes(const struct segment *s, uint64_t off, void *buf, size_t nbytes);
/* The bytes of the file, holes included. */
void item_bytes(const struct item *it, uint64_t off, void *buf, size_t nbytes);

/* The kernel's form (linux/posix_acl_xattr.h): version 2, then tag, perm and id of each line,
 * in the order of tags and ids. */
struct text acl_packed(struct acl a);

/* PATH without ".", "..", and needless slashes, ".." undone by the text alone, never above
 * the root; "" is the root. */
struct text clean_path(struct text path);

#endif
