#include "tests/e2e/lib/treegen/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FOLLOWED = 40, MAX_NAME = 255, MAX_PATH = 4096 };

struct model {
	struct stack *stack;
	struct node *root;
	size_t layer;
	bool gnu;
	/* of the walk to one entry's parent */
	bool make; /* what is missing */
	unsigned n_followed;
	const struct text *whole; /* the path that is walked */
	struct node **promises;	  /* of this layer */
	size_t n_promises;
};

static struct node *new_dir(struct node *parent)
{
	struct node *d = alloc(sizeof *d);

	d->dir = true;
	d->parent = parent ? parent : d;
	return d;
}

static struct name *find(const struct node *dir, const char *part, size_t len)
{
	for (size_t i = 0; i < dir->n; i++)
		if (dir->names[i].text.len == len && !memcmp(dir->names[i].text.p, part, len))
			return &dir->names[i];
	return NULL;
}

static void remove_name(struct node *dir, struct name *n)
{
	*n = dir->names[--dir->n];
}

static void set_name(const struct model *m, struct node *dir, struct text text, struct node *node)
{
	struct name *n = find(dir, text.p, text.len);

	if (!n) {
		if (dir->n == dir->cap)
			dir->names =
			    grow(dir->names, dir->cap = 2 * dir->cap + 8, sizeof *dir->names);
		n = &dir->names[dir->n++];
		n->text = text;
	}
	n->node = node;
	n->layer = m->layer;
}

static bool is_wh(const char *part, size_t len)
{
	return len >= 4 && !memcmp(part, ".wh.", 4);
}

/* Whether the layer ends up with a directory entry at PATH[0..LEN), as written. */
static bool states_dir(const struct model *m, const char *path, size_t len)
{
	const struct layer *l = &m->stack->layers[m->layer];
	bool dir = false;

	for (size_t i = 0; i < l->n; i++) {
		if (l->items[i].dropped)
			continue;
		struct text p = clean_path(l->items[i].path);

		if (p.len == len && !memcmp(p.p, path, len))
			dir = l->items[i].type == DIR_;
	}
	return dir;
}

static struct node *walk(struct model *m, struct node *dir, const char *text, size_t len,
			 bool is_link);

/* One step: PART of DIR. NULL where that leads nowhere. */
static struct node *step(struct model *m, struct node *dir, const char *part, size_t len)
{
	struct name *n = find(dir, part, len);

	if (n && n->node->dir)
		return n->node;
	if (n && n->node->item && n->node->item->type == SYMLINK) {
		struct text link = n->node->item->link;

		if (m->gnu || m->n_followed++ == MAX_FOLLOWED)
			return NULL;
		return walk(m, link.p[0] == '/' ? m->root : dir, link.p, link.len, true);
	}
	if (!m->make || (n && n->layer == m->layer) || len > MAX_NAME || is_wh(part, len))
		return NULL;
	/* In a real one it would inherit the group and the default ACL. */
	if (m->gnu && dir->item)
		return NULL;
	struct node *made = new_dir(dir);
	struct text name = { 0 };

	text_add(&name, part, len);
	set_name(m, dir, name, made);
	return made;
}

/* From DIR along TEXT[0..LEN), a path or a symlink's. */
static struct node *walk(struct model *m, struct node *dir, const char *text, size_t len,
			 bool is_link)
{
	for (size_t at = 0; at < len && dir;) {
		size_t n = strcspn(text + at, "/");
		const char *part = text + at;
		unsigned before = m->n_followed;

		if (n > len - at)
			n = len - at;
		at += n + 1;
		if (n == 0 || (n == 1 && *part == '.'))
			continue;
		if (n == 2 && part[0] == '.' && part[1] == '.') {
			dir = dir->parent;
			continue;
		}
		dir = step(m, dir, part, n);
		if (!is_link && !m->make && m->n_followed > before && m->whole &&
		    states_dir(m, m->whole->p, at - 1))
			return NULL;
	}
	return dir;
}

/* The directory that holds the last part of PATH (clean); *BASE becomes that part. */
static struct node *parent_of(struct model *m, const struct text *path, bool make, bool whiteout,
			      struct text *base)
{
	char *slash = strrchr(path->p, '/');
	size_t len = slash ? (size_t)(slash - path->p) : 0;

	*base = (struct text){ 0 };
	text_puts(base, slash ? slash + 1 : path->p);
	m->make = make;
	m->n_followed = 0;
	m->whole = whiteout ? path : NULL;
	return walk(m, m->root, path->p, len, false);
}

/* Whether a part of PATH is kept for whiteouts: 0 none, 1 only the last, 2 one before. */
static int whiteout_rank(const struct text *path)
{
	char *slash = strrchr(path->p, '/');
	const char *base = slash ? slash + 1 : path->p;

	if (!strncmp(path->p, ".wh.", 4) && slash)
		return 2;
	for (const char *p = strstr(path->p, "/.wh."); p && slash; p = strstr(p + 1, "/.wh."))
		if (p < slash)
			return 2;
	return is_wh(base, strlen(base));
}

static void apply_whiteout(struct model *m, const struct item *it)
{
	struct text path = clean_path(it->path), base;
	struct node *dir;

	if (whiteout_rank(&path) != 1)
		return;
	dir = parent_of(m, &path, false, true, &base);
	if (!dir)
		return;
	if (!strcmp(base.p, ".wh..wh..opq")) {
		dir->n = 0;
	} else {
		struct name *n = find(dir, base.p + 4, base.len - 4);

		if (n)
			remove_name(dir, n);
	}
}

/* What the link IT joins; perhaps only promised. */
static struct node *link_target(struct model *m, struct item *it)
{
	struct text target = clean_path(it->link), base;
	struct node *dir = target.len ? parent_of(m, &target, !m->gnu, false, &base) : NULL;
	struct name *n = dir ? find(dir, base.p, base.len) : NULL;
	struct node *made;

	if (n)
		return n->node->dir ? NULL : n->node;
	if (!dir || m->gnu || base.len > MAX_NAME || whiteout_rank(&target))
		return NULL;
	made = alloc(sizeof *made);
	made->promised_by = it;
	made->home = dir;
	made->home_name = base;
	set_name(m, dir, base, made);
	find(dir, base.p, base.len)->layer = SIZE_MAX; /* no layer states it yet */
	m->promises = grow(m->promises, m->n_promises + 1, sizeof *m->promises);
	m->promises[m->n_promises++] = made;
	return made;
}

/* Links to what their layer did not make: the first is dropped. */
static bool settle_promises(struct model *m)
{
	for (size_t i = 0; i < m->n_promises; i++)
		if (m->promises[i]->promised_by) {
			m->promises[i]->promised_by->dropped = true;
			return false;
		}
	m->n_promises = 0;
	return true;
}

/* Whether GNU tar, which unpacks into a real directory, does the same with it. */
static bool gnu_does(const struct item *it, const struct node *dir, const struct name *was)
{
	if (it->odd)
		return false;
	/* What it makes of a directory inherits from the parent, until it sets some of it. */
	if (it->type == DIR_ && dir->item && (dir->item->mode & 02000 || dir->item->deflt.n))
		return false;
	if (!was)
		return true;
	/* It does not remove what is not empty, and does not set all of what is there anew. A
	 * symlink may be a stand-in until the end. */
	return !was->node->dir && was->node->item->type != SYMLINK && it->type != HARDLINK;
}

/* False: it cannot be. */
static bool apply(struct model *m, struct item *it)
{
	struct text path = clean_path(it->path), base;
	struct node *target = NULL, *dir;

	if (whiteout_rank(&path))
		return !m->gnu;
	if (it->path.len >= MAX_PATH || it->link.len >= MAX_PATH)
		return false;
	if (path.len == 0) {
		if (it->type == DIR_ && !m->gnu)
			m->root->item = it;
		return it->type == DIR_ && !m->gnu;
	}
	if (it->type == HARDLINK && !(target = link_target(m, it)))
		return false;
	dir = parent_of(m, &path, true, false, &base);
	if (!dir || base.len > MAX_NAME)
		return false;
	struct name *was = find(dir, base.p, base.len);
	if (m->gnu && !gnu_does(it, dir, was))
		return false;
	if (was && was->node->dir && it->type == DIR_) {
		was->node->item = it;
		was->layer = m->layer;
		return true;
	}
	if (was && was->node->promised_by && was->node->home == dir &&
	    !strcmp(was->node->home_name.p, base.p)) {
		if (it->type == DIR_ || (target && target != was->node))
			return false;
		if (!target) {
			target = was->node;
			target->item = it;
			target->promised_by = NULL;
		}
	}
	if (!target) {
		target = new_dir(dir);
		target->dir = it->type == DIR_;
		target->item = it;
	}
	set_name(m, dir, base, target);
	return true;
}

static bool apply_layer(struct model *m, struct layer *l)
{
	for (size_t i = 0; m->layer && i < l->n; i++)
		if (!l->items[i].dropped)
			apply_whiteout(m, &l->items[i]);
	for (size_t i = 0; i < l->n; i++)
		if (!l->items[i].dropped && !apply(m, &l->items[i])) {
			l->items[i].dropped = true;
			return false;
		}
	return settle_promises(m);
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(((const struct name *)a)->text.p, ((const struct name *)b)->text.p);
}

static void finish(struct node *dir, const char *path)
{
	if (dir->n)
		qsort(dir->names, dir->n, sizeof *dir->names, by_bytes);
	dir->n_links = 2;
	for (size_t i = 0; i < dir->n; i++) {
		struct node *n = dir->names[i].node;
		struct text p = text_of(path);

		text_puts(&p, *path ? "/" : "");
		text_puts(&p, dir->names[i].text.p);
		if (n->dir) {
			dir->n_links++;
			finish(n, p.p);
		} else if (n->n_links++ == 0) {
			n->first = p;
			continue;
		}
		free(p.p);
	}
}

struct node *model_build(struct stack *s, bool gnu)
{
	struct model m = { .stack = s, .gnu = gnu };

again:
	m.root = new_dir(NULL);
	m.n_promises = 0;
	for (m.layer = 0; m.layer < s->n_layers; m.layer++)
		if (!apply_layer(&m, &s->layers[m.layer]))
			goto again;
	finish(m.root, "");
	return m.root;
}
