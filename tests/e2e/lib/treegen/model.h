/*
 * model - the tree that a stack of layers makes, by the rules of the OCI image spec and of
 * Linux, applied entry by entry to a tree in memory.
 *
 * The rules, where the spec leaves them open:
 *  - A layer's whiteouts act first, in the tar's order, on what the layers below left. A path
 *    to one leads through symlinks; not where this layer has a directory in a symlink's place.
 *  - Names below a name that begins with ".wh." mean nothing.
 *  - Then its entries, in the tar's order. A directory joins a directory, and its attributes
 *    are the last entry's; anything else replaces what was there, and all below it.
 *  - Parents are found through symlinks, confined to the root. A missing one, and one that is a
 *    file of a lower layer, becomes a directory, 0755 root:root of 1970.
 *  - A hard link joins what its target is at that moment, or where that is nothing, what a
 *    later entry of the layer makes it; the link's own attributes mean nothing.
 *  - An access ACL sets the mode's bits, and is none when it says no more than they do.
 */
#ifndef TREEGEN_MODEL_H
#define TREEGEN_MODEL_H

#include "tests/e2e/lib/treegen/item.h"

struct node;

struct name {
	struct text text;
	struct node *node;
	size_t layer; /* that last stated it */
};

struct node {
	const struct item *item; /* NULL: a directory that nothing states */
	bool dir;
	struct node *parent; /* of directories; the root's is the root */
	struct name *names;  /* of directories; in no order until all layers are applied */
	size_t n, cap;
	struct item *promised_by; /* a hard link to what the layer has yet to make .. */
	const struct node *home;  /* .. of this name in this directory */
	struct text home_name;
	/* when all layers are applied */
	size_t n_links; /* of directories: 2 + subdirectories */
	struct text first;
};

/*
 * Applies all layers. What cannot be applied (loops, links to nothing, a parent that is a
 * file of the same layer) is marked as dropped, and all begins anew without it.
 * GNU: only what GNU tar unpacks likewise into one directory; the rest is dropped.
 * Returns the root; in every directory the names are sorted by their bytes.
 */
struct node *model_build(struct stack *s, bool gnu);

/* What Linux shows of an entry: its mode with the ACL's bits, and its attributes with the
 * ACLs among them, sorted by name. */
uint32_t item_mode(const struct item *it);
size_t item_xattrs(const struct item *it, struct xattr out[MAX_XATTRS + 2]);

/* Prints the tree as treedump prints a real one (tests/e2e/lib/treedump.c); with DIR_TIMES
 * off without the mtimes of directories. */
void model_dump(struct node *root, bool dir_times);

/* As `cloakfs ls -l` lists the root, but with one space between columns. */
void model_list(struct node *root);

#endif
