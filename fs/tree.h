/*
 * tree - the inode table of an image: its layers' indexes merged bottom to top.
 *
 * Source: OCI image spec, "Image Layer Filesystem Changeset": whiteouts
 * (".wh.<name>"), opaque directories (".wh..wh..opq"), in any order within a layer.
 * Nodes are numbered from 1 (the root) without gaps, the same for the same layers.
 * Threads: read-only once built; any number of readers.
 */
#ifndef CK_TREE_H
#define CK_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "tar/index/index.h"

typedef uint32_t ck_ino; /* 0: none; 1: the root */

struct ck_node {
	const struct ck_entry *entry; /* attributes; NULL for a directory that no layer names */
	uint32_t layer;		      /* whose index ENTRY belongs to */
	uint32_t nlink;		      /* as a kernel filesystem counts: 2 + subdirectories */
	ck_ino parent;		      /* of directories; of others: one of the parents */
	uint32_t first_child;	      /* directories: dirents[first_child .. + n_children);
				       * the runs lie in the order of the nodes */
	uint32_t n_children;
};

struct ck_dirent {
	const char *name; /* borrowed from a layer's heap; any bytes but '/' and NUL */
	uint32_t name_len;
	ck_ino ino;
};

struct ck_tree {
	const struct ck_node *nodes; /* nodes[1] .. nodes[n_nodes]; nodes[0] is unused */
	size_t n_nodes;
	const struct ck_dirent *dirents; /* each directory's run sorted by name bytes */
	size_t n_dirents;
	/* private to tree.c follows */
	void *store;
};

enum ck_whiteouts {
	CK_WHITEOUTS_APPLY, /* they delete, and are not seen */
	CK_WHITEOUTS_SHOW   /* they stay as files: the view of a single layer */
};

/*
 * Merges LAYERS[0..N_LAYERS), lowest first. The indexes are borrowed and must outlive
 * the tree. A layer's whiteouts act first and on lower layers only, those that hide
 * nothing are ignored; then its entries act in the order of the tar. A later entry of
 * one layer wins; a non-directory over a directory removes what was below; a hard link
 * joins the node that its target is at that point, or that the target becomes later in
 * the layer; a missing parent, or one that is a file of a lower layer, is a directory
 * 0755 root:root; entries below a symlink to a directory land where it leads, confined
 * to the root. In CK_WHITEOUTS_SHOW a hard link to what the layer does not hold is an
 * empty file of mode 0.
 * *OUT is the caller's to ck_tree_free.
 * Errors: -EBADMSG (hard link to nothing or to a directory, a parent that is a file of
 * the same layer, symlink loop, and what no filesystem can show: sockets, names above
 * 255 bytes, symlinks above 4095; the message names layer and path), -EFBIG, -ENOMEM.
 */
CK_MUST_CHECK int ck_tree_build(struct ck_tree **out, const struct ck_index *const *layers,
				size_t n_layers, enum ck_whiteouts whiteouts, struct ck_err *err);
void ck_tree_free(struct ck_tree *t); /* NULL is allowed */

static inline void ck_tree_freep(struct ck_tree **t)
{
	ck_tree_free(*t);
}

/* The child NAME[0..LEN) of DIR, or 0. Binary search. */
ck_ino ck_tree_lookup(const struct ck_tree *t, ck_ino dir, const char *name, size_t len);

/*
 * Walks PATH from the root as a process chrooted there would; the last part is
 * followed only when FOLLOW. Errors: -ENOENT, -ENOTDIR, -ELOOP, with a message.
 */
CK_MUST_CHECK int ck_tree_walk(const struct ck_tree *t, const struct ck_index *const *layers,
			       const char *path, bool follow, ck_ino *out, struct ck_err *err);

/* The path of a node from the root ("/usr/bin/env"), for messages and listings; cut
 * to CAP with a NUL. */
void ck_tree_path(const struct ck_tree *t, ck_ino ino, char *out, size_t cap);

#endif
