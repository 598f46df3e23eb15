#include <stdlib.h>

#include "fs/background.h"
#include "fs/oci/origin.h"

enum { PIECE = 4 << 20 };

/* A blob: a layer, or the windows of its index. */
struct list {
	struct ck_remote *remote; /* NULL: there is nothing to fetch */
	uint64_t size;
	struct ck_range *ranges; /* what the index says; owned */
	size_t n;
};

struct plan {
	struct ck_background_item *items;
	size_t n, cap;
};

static int add(struct plan *p, struct ck_remote *remote, uint64_t off, uint64_t len,
	       struct ck_err *err)
{
	if (p->n == p->cap) {
		size_t cap = p->cap ? 2 * p->cap : 64;
		struct ck_background_item *more = reallocarray(p->items, cap, sizeof *more);
		if (!more)
			return ck_nomem(err, "prefetching");
		p->items = more;
		p->cap = cap;
	}
	p->items[p->n++] = (struct ck_background_item){ remote, off, len };
	return 0;
}

/* A range of each layer in turn: who starts a program reads of several. */
static int add_urgent(struct plan *p, const struct list *lists, size_t n, struct ck_err *err)
{
	bool more = true;
	int rc = 0;

	for (size_t turn = 0; more; turn++) {
		more = false;
		for (size_t i = 0; rc == 0 && i < n; i++) {
			if (turn >= lists[i].n)
				continue;
			const struct ck_range *r = &lists[i].ranges[turn];
			rc = add(p, lists[i].remote, r->off, r->len, err);
			more = rc == 0;
		}
	}
	return rc;
}

/* All of a blob; what is there by then costs nothing. */
static int add_all(struct plan *p, struct ck_remote *remote, uint64_t size, struct ck_err *err)
{
	int rc = 0;

	for (uint64_t off = 0; rc == 0 && off < size; off += PIECE)
		rc = add(p, remote, off, size - off < PIECE ? size - off : PIECE, err);
	return rc;
}

/* Into LISTS, all zeros: the layers, and behind them their windows. */
static int list_blobs(struct list *lists, const struct ck_stack *stack,
		      struct ck_remote *const *remotes, struct ck_err *err)
{
	size_t n = stack->image->n_layers;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n; i++) {
		const struct ck_layer *layer = stack->layers[i];
		struct list *l = &lists[i], *w = &lists[n + i];
		if (!remotes[i] || !layer)
			continue;
		l->remote = remotes[i];
		l->size = stack->image->layers[i].size;
		rc = ck_layer_prefetch(layer, false, &l->ranges, &l->n, err);
		const uint8_t *digest = ck_layer_windows(layer, &w->size);
		w->remote = digest ? ck_image_other_remote(stack->image, digest) : NULL;
		if (rc == 0 && w->remote)
			rc = ck_layer_prefetch_windows(layer, &w->ranges, &w->n, err);
	}
	return rc;
}

int ck_background_plan(struct ck_background_item **out, size_t *n, size_t *n_urgent,
		       const struct ck_stack *stack, struct ck_remote *const *remotes, bool all,
		       struct ck_err *err)
{
	size_t n_lists = 2 * stack->image->n_layers;
	struct list *lists = calloc(n_lists + 1, sizeof *lists);
	struct plan p = { 0 };
	int rc = lists ? list_blobs(lists, stack, remotes, err) : ck_nomem(err, "prefetching");

	if (rc == 0)
		rc = add_urgent(&p, lists, n_lists, err);
	*n_urgent = p.n;
	for (size_t i = 0; rc == 0 && all && i < n_lists; i++)
		if (lists[i].remote)
			rc = add_all(&p, lists[i].remote, lists[i].size, err);
	for (size_t i = 0; lists && i < n_lists; i++)
		free(lists[i].ranges);
	free(lists);
	if (rc < 0) {
		free(p.items);
		return rc;
	}
	*out = p.items;
	*n = p.n;
	return 0;
}
