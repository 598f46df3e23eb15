/*
 * names - every name of a tree while its layers are being merged, by directory and
 * bytes. Private to the tree.
 *
 * One open-addressed table serves all directories: a directory is emptied in no time
 * by giving it a new number, and nothing is allocated per name. The hash is keyed with
 * random bytes, because names come from images; no order ever depends on it.
 */
#ifndef CK_TREE_NAMES_H
#define CK_TREE_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct ck_name {
	const char *bytes; /* borrowed from a layer's heap */
	uint32_t len;
	uint32_t dir;	/* the draft of the directory that holds it */
	uint32_t draft; /* what it names; 0: nothing any more */
	uint32_t layer; /* that stated it last */
};

struct ck_names {
	struct ck_name *all; /* all[0] is the root's, which no table holds */
	size_t n, cap;
	uint64_t *buckets; /* hash << 32 | index in ALL; 0: empty */
	size_t n_buckets;  /* a power of two */
	uint64_t key[2];
};

/* Makes a table with room for HINT names, holding the root's at 0. Errors: -ENOMEM. */
CK_MUST_CHECK int ck_names_init(struct ck_names *t, size_t hint, struct ck_err *err);
void ck_names_free(struct ck_names *t);

/* The index of the name in ALL (it may name nothing any more), or 0. */
uint32_t ck_names_find(const struct ck_names *t, uint32_t dir, const char *bytes, size_t len);

/* Adds a name that is not there yet. *OUT is its index. Errors: -EFBIG, -ENOMEM. */
CK_MUST_CHECK int ck_names_add(struct ck_names *t, const struct ck_name *name, uint32_t *out,
			       struct ck_err *err);

#endif
