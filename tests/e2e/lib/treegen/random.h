/* random - random stacks of layers, the same from the same seed. */
#ifndef TREEGEN_RANDOM_H
#define TREEGEN_RANDOM_H

#include "tests/e2e/lib/treegen/item.h"

/* What entries are about: paths of all layers so far, whatever became of them. */
struct known {
	struct text *paths; /* clean */
	bool *is_parent;    /* a directory or a symlink */
	size_t n, cap;
};

struct maker {
	struct rng rng;
	struct text pool[10]; /* names that meet again and again */
	struct known known;
	unsigned n_fresh;
	size_t layer;
};

/* Fills the stack, but for what model_build drops. */
void random_stack(struct stack *s, uint64_t seed);

/* attributes.c: all but type, path and link. */
void random_attributes(struct rng *r, struct item *it);

/* names.c */
void random_pool(struct maker *mk);
struct text random_name(struct maker *mk);		 /* one part of a path */
struct text random_path(struct maker *mk);		 /* clean */
struct text random_known(struct maker *mk, bool parent); /* clean; may be the root, "" */
void add_known(struct maker *mk, struct text path, bool parent);
struct text join(struct text dir, struct text name);
/* A spelling of a clean path. *ODD when GNU tar takes it for another. */
struct text random_spelling(struct rng *r, struct text path, bool dir, bool *odd);
struct text random_target(struct maker *mk); /* of a symlink */

#endif
