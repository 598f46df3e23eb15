#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/tree_merge.h"

/* What the root reaches, while it is being numbered. */
struct numbering {
	struct ck_merge *m;
	uint8_t *live;	 /* of each directory's draft: whether the root reaches it */
	uint32_t *first; /* of each directory's draft: where its names begin in KIDS */
	uint32_t *kids;	 /* indexes of names, by directory */
	ck_ino *ino;	 /* of each draft; 0: not yet numbered */
	struct ck_node *nodes;
	size_t n_nodes;
	struct ck_dirent *dirents;
	size_t n_dirents;
	struct ck_entry *extra; /* of links whose target is in a lower layer */
	size_t n_extra;
};

static void numbering_free(struct numbering *n)
{
	free(n->live);
	free(n->first);
	free(n->kids);
	free(n->ino);
	free(n->nodes);
	free(n->dirents);
	free(n->extra);
}

/* What the name stands for if the root reaches it, else 0. */
static uint32_t live_draft(struct numbering *n, uint32_t name)
{
	const struct ck_name *nm = &n->m->names.all[name];

	return nm->draft && n->live[nm->dir] ? ck_merge_draft_of(n->m, name) : 0;
}

/* Parents come before their children: one pass tells who is reached. */
static void mark_live(struct numbering *n)
{
	const struct ck_merge *m = n->m;
	uint32_t root = ck_merge_root(m);

	n->live[root] = 1;
	for (uint32_t d = 1; d < m->n_drafts; d++) {
		const struct ck_name *nm = &m->names.all[m->drafts[d].name];
		if (d != root && m->drafts[d].type == S_IFDIR && nm->draft == d)
			n->live[d] = n->live[nm->dir];
	}
}

/* FIRST[d] = how many names directory d has. */
static void count_kids(struct numbering *n)
{
	for (uint32_t i = 1; i < n->m->names.n; i++)
		if (live_draft(n, i)) {
			n->first[n->m->names.all[i].dir]++;
			n->n_dirents++;
		}
}

/*
 * In the view of one layer, takes away directories that were made only on the way to a
 * hard link's target which then was not there. From the highest draft down, so that
 * children go before their parents are looked at.
 */
static void prune_implied(struct numbering *n)
{
	struct ck_merge *m = n->m;

	for (uint32_t d = (uint32_t)m->n_drafts - 1; d > ck_merge_root(m); d--) {
		struct ck_name *nm = &m->names.all[m->drafts[d].name];
		if (!n->live[d] || m->drafts[d].entry != CK_NO_ENTRY || n->first[d])
			continue;
		n->live[d] = 0;
		nm->draft = 0;
		n->first[nm->dir]--;
		n->n_dirents--;
	}
}

/* Counting sort of the names by directory; FIRST becomes what it says it is. */
static void sort_kids(struct numbering *n)
{
	size_t n_drafts = n->m->n_drafts;

	for (size_t d = 0; d < n_drafts; d++)
		n->first[d + 1] += n->first[d]; /* now the end of d's names */
	for (uint32_t i = (uint32_t)n->m->names.n - 1; i > 0; i--)
		if (live_draft(n, i))
			n->kids[--n->first[n->m->names.all[i].dir]] = i;
}

static int by_name(const void *pa, const void *pb)
{
	const struct ck_dirent *b = pb;

	return ck_dirent_cmp(pa, b->name, b->name_len);
}

/* Writes the names of the directory DRAFT to TO, sorted, with drafts for inos. */
static uint32_t take_names(struct numbering *n, uint32_t draft, struct ck_dirent *to)
{
	const uint32_t *kids = n->kids + n->first[draft];
	uint32_t count = n->first[draft + 1] - n->first[draft];
	bool sorted = true; /* as most tars are */

	for (uint32_t i = 0; i < count; i++) {
		const struct ck_name *nm = &n->m->names.all[kids[i]];
		to[i] = (struct ck_dirent){ nm->bytes, nm->len, ck_merge_draft_of(n->m, kids[i]) };
		sorted = sorted && (i == 0 || by_name(&to[i - 1], &to[i]) < 0);
	}
	if (!sorted)
		qsort(to, count, sizeof *to, by_name);
	return count;
}

/* A file of mode 0 without bytes, for a hard link out of the layer that is viewed. */
static const struct ck_entry *extra_entry(struct numbering *n, const struct ck_entry *link)
{
	struct ck_entry *e = &n->extra[n->n_extra++];

	*e = *link;
	e->kind = CK_ENTRY_NODE;
	e->mode = S_IFREG;
	e->size = 0;
	e->n_extents = e->n_xattrs = 0;
	return e;
}

/* Gives DRAFT the next number. */
static void add_node(struct numbering *n, uint32_t draft, ck_ino parent)
{
	const struct ck_draft *d = &n->m->drafts[draft];
	const struct ck_entry *e = NULL;

	if (d->entry != CK_NO_ENTRY) {
		e = &n->m->layers[d->layer]->entries[d->entry];
		if (e->kind == CK_ENTRY_HARDLINK)
			e = extra_entry(n, e);
	}
	n->ino[draft] = (ck_ino)++n->n_nodes;
	n->nodes[n->n_nodes] = (struct ck_node){ .entry = e, .layer = d->layer, .parent = parent };
}

/* Breadth first; the nodes are their own queue, `first_child` holds the draft until
 * its turn comes. */
static void number(struct numbering *n)
{
	struct ck_merge *m = n->m;
	uint32_t end = 0;

	add_node(n, ck_merge_root(m), 1);
	n->nodes[1].first_child = ck_merge_root(m);
	for (ck_ino i = 1; i <= n->n_nodes; i++) {
		struct ck_node *node = &n->nodes[i];
		uint32_t draft = node->first_child;
		node->first_child = 0;
		if (m->drafts[draft].type != S_IFDIR)
			continue;
		node->first_child = end;
		node->n_children = take_names(n, draft, n->dirents + end);
		node->nlink = 2;
		end += node->n_children;
		for (struct ck_dirent *e = n->dirents + node->first_child; e < n->dirents + end;
		     e++) {
			uint32_t d = e->ino;
			if (!n->ino[d]) {
				add_node(n, d, i);
				n->nodes[n->n_nodes].first_child = d;
			}
			e->ino = n->ino[d];
			if (m->drafts[d].type == S_IFDIR)
				node->nlink++;
			else
				n->nodes[e->ino].nlink++;
		}
	}
}

static size_t count_links_out(const struct ck_merge *m)
{
	size_t n = 0;

	for (uint32_t d = 1; d < m->n_drafts; d++) {
		const struct ck_draft *p = &m->drafts[d];
		n += p->type == S_IFREG &&
		     m->layers[p->layer]->entries[p->entry].kind == CK_ENTRY_HARDLINK;
	}
	return n;
}

static int allocate(struct numbering *n)
{
	size_t n_drafts = n->m->n_drafts;

	n->live = calloc(n_drafts, sizeof *n->live);
	n->first = calloc(n_drafts + 1, sizeof *n->first);
	n->ino = calloc(n_drafts, sizeof *n->ino);
	if (!n->live || !n->first || !n->ino)
		return -ENOMEM;
	mark_live(n);
	count_kids(n);
	if (n->m->whiteouts == CK_WHITEOUTS_SHOW) {
		prune_implied(n);
		n->extra = calloc(count_links_out(n->m) + 1, sizeof *n->extra);
		if (!n->extra)
			return -ENOMEM;
	}
	n->kids = calloc(n->n_dirents + 1, sizeof *n->kids);
	n->dirents = calloc(n->n_dirents + 1, sizeof *n->dirents);
	n->nodes = calloc(n->n_dirents + 2, sizeof *n->nodes); /* none, root, one a name */
	return n->kids && n->dirents && n->nodes ? 0 : -ENOMEM;
}

int ck_merge_number(struct ck_merge *m, struct ck_tree **out, struct ck_err *err)
{
	CK_AUTO(numbering_free) struct numbering n = { .m = m };
	CK_AUTO(ck_freep) struct ck_tree *t = calloc(1, sizeof *t);

	if (!t || allocate(&n) < 0)
		return ck_nomem(err, "merging the layers' trees");
	sort_kids(&n);
	number(&n);
	*t = (struct ck_tree){ .n_nodes = n.n_nodes, .n_dirents = n.n_dirents };
	t->nodes = ck_take(n.nodes);
	t->dirents = ck_take(n.dirents);
	t->store = ck_take(n.extra);
	*out = ck_take(t);
	return 0;
}
