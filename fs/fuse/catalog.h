/*
 * catalog - what stands behind each node number that the kernel may ask for.
 *
 * Rootfs view: the merged tree's own numbers. Layers view: 1 is the top directory, then
 * the two documents, then for each layer a range: its tar stream, and the nodes of its
 * own tree. Nothing is kept per node, and nothing changes, so numbers stay good for
 * ever and need no counting.
 * Devices view: the top directory, the tar streams, and the patch device; and a link to EROFS's
 * metadata, which are in a file of the kernel's memory. By the link, what is mounted from there has
 * a name that tells whose it is.
 * Threads: read-only once open; any number of readers.
 */
#ifndef CK_CATALOG_H
#define CK_CATALOG_H

#include "fs/erofs/metadata.h"
#include "fs/fuse/mount.h"
#include "fs/fuse/mountpoint.h"

enum ck_item_kind {
	CK_ITEM_NODE,
	CK_ITEM_TAR,
	CK_ITEM_DOC,
	CK_ITEM_LINK,
	CK_ITEM_PATCH,
	CK_ITEM_TOP
};

struct ck_item {
	enum ck_item_kind kind;
	uint64_t id;
	uint32_t layer;		    /* tar: of the stack; node: whose index the entry is in */
	const struct ck_tree *tree; /* node */
	ck_ino ino;		    /* node: its number in TREE */
	const void *doc;	    /* document: its bytes, borrowed */
	const char *link;	    /* link: where it leads, borrowed */
	uint64_t len;		    /* document, link, tar or patch device: bytes */
};

/* What the top directory of the devices view holds. */
#define CK_DEVICES_META	 CK_COVER_IMAGE
#define CK_DEVICES_TAR	 "%" PRIu32 ".tar"
#define CK_DEVICES_PATCH "patch"

struct ck_catalog {
	struct ck_stack *stack; /* borrowed */
	enum ck_view view;
	uint32_t n_layers;
	struct ck_tree **trees; /* layers view: n_layers of them, owned */
	uint64_t *base;		/* layers view: each layer's tar; its nodes follow; and the end */
	struct ck_erofs *erofs; /* devices view: owned */
	int image;		/* devices view: a file with EROFS's metadata, owned */
	char image_path[32];	/* of this process; "": there is none */
	uint64_t n_nodes;
	uint64_t total_bytes; /* of all files */
	bool has_acl;	      /* some entry carries a POSIX ACL */
};

/* Errors: -EINVAL (layers not open, not merged), those of ck_tree_build,
 * ck_erofs_plan and ck_ramfile_open. Whatever comes, ck_catalog_close is the caller's. */
CK_MUST_CHECK int ck_catalog_open(struct ck_catalog *c, struct ck_stack *stack, enum ck_view view,
				  struct ck_err *err);
void ck_catalog_close(struct ck_catalog *c); /* {0} is allowed */

/* False when there is no such number. */
bool ck_catalog_item(const struct ck_catalog *c, uint64_t id, struct ck_item *out);

/* As stat(2) gives it, st_ino being the number. */
void ck_catalog_stat(const struct ck_catalog *c, const struct ck_item *item, struct stat *out);

/* The child NAME[0..LEN) of the directory DIR, or 0. */
uint64_t ck_catalog_lookup(const struct ck_catalog *c, const struct ck_item *dir, const char *name,
			   size_t len);

enum { CK_NAME_CAP = 256 }; /* a name and its NUL */

/* The IDX-th child of the directory DIR: its number, and its NAME; 0 past the last. */
uint64_t ck_catalog_child(const struct ck_catalog *c, const struct ck_item *dir, uint64_t idx,
			  char name[CK_NAME_CAP]);

/* The number of the directory that holds DIR; the top's is its own. */
uint64_t ck_catalog_parent(const struct ck_catalog *c, const struct ck_item *dir);

/* The entry behind a node; NULL for other items and for implied directories. */
const struct ck_entry *ck_item_entry(const struct ck_item *item);

/* The index that a node's entry belongs to. */
const struct ck_index *ck_catalog_index(const struct ck_catalog *c, const struct ck_item *item);

/* Bytes of a regular file, tar, document or patch device; 0 for anything else. */
uint64_t ck_item_len(const struct ck_item *item);

/* Reads exactly NBYTES at OFF, which must lie within ck_item_len.
 * Errors: those of ck_stack_read and ck_layer_pread. */
CK_MUST_CHECK int ck_catalog_read(const struct ck_catalog *c, const struct ck_item *item, void *buf,
				  size_t nbytes, uint64_t off, struct ck_err *err);

/* For messages: the path from the mount's root, cut to CAP. */
void ck_catalog_path(const struct ck_catalog *c, const struct ck_item *item, char *out, size_t cap);

#endif
