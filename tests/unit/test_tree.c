/*
 * tree: hand-made hard cases, and random stacks against a slow reference.
 *
 * Layers are written as text, one entry a line, layers parted by "--":
 *   d PATH   f PATH   p PATH (FIFO)   l PATH TEXT (symlink)   h PATH TARGET (hard link)
 * A tree is written as one line a name, in order: type, path, layer.seq of the entry
 * ("-" for an implied directory), link count. Two names of one inode show one entry.
 */
#include "fs/tree.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "tests/unit/lib/unit.h"

enum { MAX_LAYERS = 8, MAX_ENTRIES = 64, MAX_PATH = 64 };

struct text_entry {
	char kind; /* d f p l h */
	char path[MAX_PATH], link[MAX_PATH];
};

struct text_layer {
	struct text_entry e[MAX_ENTRIES];
	size_t n;
};

struct text_stack {
	struct text_layer layer[MAX_LAYERS];
	size_t n;
};

static mode_t mode_of(char kind)
{
	switch (kind) {
	case 'd':
		return S_IFDIR | 0755;
	case 'f':
		return S_IFREG | 0644;
	case 'p':
		return S_IFIFO | 0644;
	case 'l':
		return S_IFLNK | 0777;
	default:
		return 0;
	}
}

static char kind_of(const struct ck_entry *e)
{
	return !e || S_ISDIR(e->mode) ? 'd'
	       : S_ISREG(e->mode)     ? 'f'
	       : S_ISLNK(e->mode)     ? 'l'
	       : S_ISFIFO(e->mode)    ? 'p'
				      : '?';
}

static void parse(struct text_stack *out, const char *text)
{
	memset(out, 0, sizeof *out);
	out->n = 1;
	while (*text) {
		char line[3 * MAX_PATH];
		size_t n = strcspn(text, "\n");
		assert_true(n < sizeof line);
		memcpy(line, text, n);
		line[n] = 0;
		text += n + (text[n] == '\n');
		if (strcmp(line, "--") == 0) {
			out->n++;
			continue;
		}
		struct text_layer *l = &out->layer[out->n - 1];
		struct text_entry *e = &l->e[l->n++];
		assert_true(sscanf(line, "%c %63s %63s", &e->kind, e->path, e->link) >= 2);
	}
}

static void build_index(struct ck_index *out, const struct text_layer *l)
{
	struct ck_err err = { 0 };
	struct ck_index_builder *b = NULL;

	assert_int_equal(ck_index_builder_new(&b, &err), 0);
	for (size_t i = 0; i < l->n; i++) {
		const struct text_entry *t = &l->e[i];
		struct ck_entry e = { .mode = mode_of(t->kind),
				      .kind = t->kind == 'h' ? CK_ENTRY_HARDLINK : CK_ENTRY_NODE };
		assert_int_equal(ck_index_add_path(b, t->path, &e.path, &err), 0);
		if (t->kind == 'h')
			assert_int_equal(ck_index_add_path(b, t->link, &e.link, &err), 0);
		else if (t->kind == 'l')
			assert_int_equal(
			    ck_index_add_bytes(b, t->link, strlen(t->link), &e.link, &err), 0);
		assert_int_equal(ck_index_add_entry(b, &e, &err), 0);
	}
	ck_index_finish(b, out);
	ck_index_builder_free(b);
}

struct built {
	struct ck_index x[MAX_LAYERS];
	const struct ck_index *px[MAX_LAYERS];
	size_t n;
	struct ck_tree *tree;
};

static int build(struct built *b, const struct text_stack *s, enum ck_whiteouts w,
		 struct ck_err *err)
{
	*b = (struct built){ .n = s->n };
	for (size_t i = 0; i < s->n; i++) {
		build_index(&b->x[i], &s->layer[i]);
		b->px[i] = &b->x[i];
	}
	return ck_tree_build(&b->tree, b->px, b->n, w, err);
}

static void unbuild(struct built *b)
{
	ck_tree_free(b->tree);
	for (size_t i = 0; i < b->n; i++)
		ck_index_free(&b->x[i]);
}

/* One line of a dump. */
static void add_line(struct ck_buf *out, char kind, const char *path, long layer, uint32_t seq,
		     uint32_t nlink)
{
	struct ck_err err;
	int rc = layer < 0 ? ck_buf_addf(out, &err, "%c %s - %" PRIu32 "\n", kind, path, nlink)
			   : ck_buf_addf(out, &err, "%c %s %ld.%" PRIu32 " %" PRIu32 "\n", kind,
					 path, layer, seq, nlink);
	assert_int_equal(rc, 0);
}

static void dump_node(struct ck_buf *out, const struct ck_tree *t, ck_ino ino, const char *path)
{
	const struct ck_node *n = &t->nodes[ino];

	add_line(out, kind_of(n->entry), *path ? path : "/", n->entry ? (long)n->layer : -1,
		 n->entry ? n->entry->seq : 0, n->nlink);
	for (uint32_t i = 0; i < n->n_children; i++) {
		const struct ck_dirent *d = &t->dirents[n->first_child + i];
		char sub[512];
		assert_true(strlen(path) + d->name_len + 2 < sizeof sub);
		snprintf(sub, sizeof sub, "%s/%.*s", path, (int)d->name_len, d->name);
		dump_node(out, t, d->ino, sub);
	}
}

/* What holds for every tree. */
static void check_shape(const struct ck_tree *t)
{
	uint32_t *links = calloc(t->n_nodes + 1, sizeof *links);
	size_t n_dirents = 0;

	for (ck_ino i = 1; i <= t->n_nodes; i++) {
		const struct ck_node *n = &t->nodes[i];
		bool dir = !n->entry || S_ISDIR(n->entry->mode);
		assert_true(dir || n->n_children == 0);
		if (dir) { /* runs tile the dirents in the order of inos */
			assert_int_equal(n->first_child, n_dirents);
			n_dirents += n->n_children;
			links[i] += 2;
		}
		for (uint32_t k = 0; k < n->n_children; k++) {
			const struct ck_dirent *d = &t->dirents[n->first_child + k];
			const struct ck_node *c = &t->nodes[d->ino];
			bool sub = !c->entry || S_ISDIR(c->entry->mode);
			assert_in_range(d->ino, 2, t->n_nodes);
			assert_int_equal(ck_tree_lookup(t, i, d->name, d->name_len), d->ino);
			links[sub ? i : d->ino]++;
			if (sub || c->nlink == 1)
				assert_int_equal(c->parent, i);
		}
	}
	assert_int_equal(n_dirents, t->n_dirents);
	for (ck_ino i = 1; i <= t->n_nodes; i++)
		assert_int_equal(t->nodes[i].nlink, links[i]);
	free(links);
}

/* ---- the reference: names in lists, walked by recursion, really deleted ---- */

struct rnode;
struct rname {
	char name[MAX_PATH];
	struct rnode *node; /* NULL: expected by a hard link */
	size_t layer;
	struct rname *next;
};
struct rnode {
	char kind; /* '?': a hard link's target that has not come yet */
	long layer;
	uint32_t seq;
	char link[MAX_PATH];
	struct rnode *parent, *became;
	struct rname *kids;
	struct rnode *all; /* for freeing */
	uint32_t nlink;
};
struct ref {
	const struct text_stack *s;
	struct rnode *root, *all;
	struct rname *all_names;
	size_t layer;
	int budget; /* symlinks one walk may follow */
};

static struct rnode *ref_node(struct ref *r, char kind, long layer, uint32_t seq)
{
	struct rnode *n = calloc(1, sizeof *n);

	n->kind = kind;
	n->layer = layer;
	n->seq = seq;
	n->all = r->all;
	r->all = n;
	return n;
}

static struct rname *ref_find(struct rnode *dir, const char *name)
{
	for (struct rname *n = dir->kids; n; n = n->next)
		if (strcmp(n->name, name) == 0)
			return n;
	return NULL;
}

static struct rnode *ref_now(struct rnode *n)
{
	while (n->became)
		n = n->became;
	return n;
}

static void ref_cut(struct rnode *dir, const char *name)
{
	for (struct rname **p = &dir->kids; *p; p = &(*p)->next)
		if (strcmp((*p)->name, name) == 0) {
			struct rname *gone = *p;
			*p = gone->next;
			free(gone);
			return;
		}
}

static void ref_put(struct ref *r, struct rnode *dir, const char *name, struct rnode *node)
{
	ref_cut(dir, name);
	struct rname *n = calloc(1, sizeof *n);
	strcpy(n->name, name);
	n->node = node;
	n->layer = r->layer;
	n->next = dir->kids;
	dir->kids = n;
	if (node->kind == 'd')
		node->parent = dir;
}

static bool ref_states_dir(const struct ref *r, const char *path)
{
	bool dir = false;

	for (size_t i = 0; i < r->s->layer[r->layer].n; i++)
		if (strcmp(r->s->layer[r->layer].e[i].path, path) == 0)
			dir = r->s->layer[r->layer].e[i].kind == 'd';
	return dir;
}

/* To the directory REST below DIR; WRITTEN is the path so far where it is the entry's
 * own, else NULL. NULL where there is none (look) or cannot be (make). */
static struct rnode *ref_walk(struct ref *r, struct rnode *dir, const char *rest, bool make,
			      const char *written)
{
	char part[MAX_PATH], path[2 * MAX_PATH] = "";

	while (dir) {
		rest += strspn(rest, "/");
		size_t n = strcspn(rest, "/");
		if (n == 0)
			return dir;
		memcpy(part, rest, n);
		part[n] = 0;
		rest += n;
		if (written) {
			snprintf(path, sizeof path, "%s%s%s", written, *written ? "/" : "", part);
			written = memcpy(alloca(sizeof path), path, sizeof path);
		}
		if (strcmp(part, ".") == 0)
			continue;
		if (strcmp(part, "..") == 0) {
			dir = dir == r->root ? dir : dir->parent;
			continue;
		}
		struct rname *nm = ref_find(dir, part);
		struct rnode *node = nm ? ref_now(nm->node) : NULL;
		if (node && node->kind == 'd') {
			dir = node;
		} else if (node && node->kind == 'l') {
			if (r->budget-- == 0)
				return NULL;
			if (!make && written && ref_states_dir(r, path))
				return NULL;
			dir = ref_walk(r, node->link[0] == '/' ? r->root : dir, node->link, make,
				       NULL);
		} else {
			if (!make || (node && nm->layer == r->layer) ||
			    strncmp(part, ".wh.", 4) == 0)
				return NULL;
			node = ref_node(r, 'd', -1, 0);
			ref_put(r, dir, part, node);
			dir = node;
		}
	}
	return NULL;
}

static const char *ref_split(const char *path, char *parent)
{
	const char *slash = strrchr(path, '/');

	strcpy(parent, path);
	parent[slash ? slash - path : 0] = 0;
	return slash ? slash + 1 : path;
}

static bool ref_hidden(const char *path, bool *whiteout)
{
	char parent[MAX_PATH];
	const char *base = ref_split(path, parent);

	*whiteout = strncmp(base, ".wh.", 4) == 0;
	return strncmp(parent, ".wh.", 4) == 0 || strstr(parent, "/.wh.");
}

static void ref_whiteout(struct ref *r, const struct text_entry *e)
{
	char parent[MAX_PATH];
	const char *base = ref_split(e->path, parent);

	r->budget = 40;
	struct rnode *dir = ref_walk(r, r->root, parent, false, "");
	if (!dir)
		return;
	if (strcmp(base, ".wh..wh..opq") == 0)
		while (dir->kids)
			ref_cut(dir, dir->kids->name);
	else
		ref_cut(dir, base + 4);
}

static bool ref_is_home(const struct rnode *dir, const char *name, const struct rnode *promise)
{
	/* A promise keeps the name that it waits for in LINK, its directory in PARENT. */
	return promise->kind == '?' && promise->parent == dir && strcmp(promise->link, name) == 0;
}

static bool ref_link(struct ref *r, const struct text_entry *e, uint32_t seq)
{
	char parent[MAX_PATH];
	const char *base = ref_split(e->link, parent);

	r->budget = 40;
	struct rnode *dir = ref_walk(r, r->root, parent, true, NULL);
	if (!dir || !*e->path || strncmp(base, ".wh.", 4) == 0)
		return false;
	struct rname *nm = ref_find(dir, base);
	struct rnode *node = nm ? ref_now(nm->node) : NULL;
	if (!node) {
		node = ref_node(r, '?', (long)r->layer, seq);
		node->parent = dir;
		strcpy(node->link, base);
		ref_put(r, dir, base, node);
		ref_find(dir, base)->layer = SIZE_MAX;
	}
	if (node->kind == 'd')
		return false;
	base = ref_split(e->path, parent);
	r->budget = 40;
	dir = ref_walk(r, r->root, parent, true, NULL);
	if (!dir)
		return false;
	nm = ref_find(dir, base);
	struct rnode *was = nm ? ref_now(nm->node) : NULL;
	if (was && was != node && ref_is_home(dir, base, was))
		was->became = node;
	ref_put(r, dir, base, node);
	return true;
}

static bool ref_entry(struct ref *r, const struct text_entry *e, uint32_t seq)
{
	char parent[MAX_PATH];
	const char *base = ref_split(e->path, parent);

	if (e->kind == 'h')
		return ref_link(r, e, seq);
	if (!*e->path) {
		r->root->layer = (long)r->layer;
		r->root->seq = seq;
		return e->kind == 'd';
	}
	r->budget = 40;
	struct rnode *dir = ref_walk(r, r->root, parent, true, NULL);
	if (!dir)
		return false;
	struct rname *nm = ref_find(dir, base);
	struct rnode *node = nm ? ref_now(nm->node) : NULL;
	bool fills = node && ref_is_home(dir, base, node);
	if (fills && e->kind == 'd')
		return false;
	if (!fills && !(node && node->kind == 'd' && e->kind == 'd')) {
		node = ref_node(r, e->kind, 0, 0);
		ref_put(r, dir, base, node);
	}
	ref_find(dir, base)->layer = r->layer;
	node->kind = e->kind;
	node->layer = (long)r->layer;
	node->seq = seq;
	strcpy(node->link, e->link);
	return true;
}

static bool ref_layer(struct ref *r)
{
	const struct text_layer *l = &r->s->layer[r->layer];
	bool wh;

	for (size_t i = 0; i < l->n; i++)
		if (!ref_hidden(l->e[i].path, &wh) && wh && r->layer)
			ref_whiteout(r, &l->e[i]);
	for (size_t i = 0; i < l->n; i++)
		if (!ref_hidden(l->e[i].path, &wh) && !wh && !ref_entry(r, &l->e[i], (uint32_t)i))
			return false;
	for (struct rnode *n = r->all; n; n = n->all)
		if (n->kind == '?' && !n->became)
			return false;
	return true;
}

static void ref_count(struct rnode *dir)
{
	dir->nlink = 2;
	for (struct rname *n = dir->kids; n; n = n->next) {
		struct rnode *c = ref_now(n->node);
		if (c->kind == 'd') {
			dir->nlink++;
			ref_count(c);
		} else {
			c->nlink++;
		}
	}
}

static void ref_dump(struct ck_buf *out, struct rnode *n, const char *path)
{
	struct rname *sorted[256];
	size_t count = 0;

	add_line(out, n->kind, *path ? path : "/", n->layer, n->seq, n->nlink);
	for (struct rname *k = n->kids; k; k = k->next) {
		size_t at = count++;
		for (; at && strcmp(sorted[at - 1]->name, k->name) > 0; at--)
			sorted[at] = sorted[at - 1];
		sorted[at] = k;
	}
	for (size_t i = 0; i < count; i++) {
		char sub[512];
		assert_true(strlen(path) + strlen(sorted[i]->name) + 2 < sizeof sub);
		snprintf(sub, sizeof sub, "%.400s/%s", path, sorted[i]->name);
		ref_dump(out, ref_now(sorted[i]->node), sub);
	}
}

/* Dumps the reference's tree, or gives false where the stack is to be refused. */
static bool ref_run(struct ck_buf *out, const struct text_stack *s)
{
	struct ref r = { .s = s };
	bool ok = true;

	r.root = ref_node(&r, 'd', -1, 0);
	for (r.layer = 0; ok && r.layer < s->n; r.layer++)
		ok = ref_layer(&r);
	if (ok) {
		ref_count(r.root);
		ref_dump(out, r.root, "");
	}
	while (r.all) {
		struct rnode *n = r.all;
		r.all = n->all;
		while (n->kids)
			ref_cut(n, n->kids->name);
		free(n);
	}
	return ok;
}

/* ---- random stacks ---- */

static uint64_t rng;

static uint32_t rnd(uint32_t below)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (uint32_t)(rng >> 32) % below;
}

static void random_path(char *out, bool wh)
{
	static const char *const names[] = { "a", "b", "c", "a-b", "a.", "-" };
	int depth = 1 + (int)rnd(3);

	*out = 0;
	for (int i = 0; i < depth; i++) {
		if (i)
			strcat(out, "/");
		if (wh && rnd(i == depth - 1 ? 3 : 40) == 0)
			strcat(out, ".wh.");
		strcat(out, rnd(25) == 0 && wh ? ".wh..opq" : names[rnd(6)]);
	}
	if (wh && rnd(12) == 0) {
		char *slash = strrchr(out, '/');
		strcpy(slash ? slash + 1 : out, ".wh..wh..opq");
	}
	if (wh && rnd(60) == 0)
		*out = 0;
}

static void random_text(char *out)
{
	char path[MAX_PATH];
	static const char *const before[] = { "", "", "/", "../", "../../", "./", "../../../../" };

	random_path(path, rnd(30) == 0);
	snprintf(out, MAX_PATH, "%s%.40s%s", before[rnd(7)], *path ? path : ".",
		 rnd(10) == 0 ? "/.." : "");
}

/* The path of one of L's files, or "". */
static const char *pick_file(const struct text_layer *l)
{
	for (int tries = 0; l->n && tries < 8; tries++) {
		const struct text_entry *e = &l->e[rnd((uint32_t)l->n)];
		if (e->kind == 'f')
			return e->path;
	}
	return "";
}

static void random_layer(struct text_stack *s, uint32_t at)
{
	struct text_layer *l = &s->layer[at];

	l->n = rnd(10);
	for (size_t k = 0; k < l->n; k++) {
		struct text_entry *e = &l->e[k];
		e->kind = "ddddddfffplhh"[rnd(13)];
		random_path(e->path, true);
		if (!*e->path)
			e->kind = 'd';
		if (e->kind == 'l')
			random_text(e->link);
	}
	for (size_t k = 0; k < l->n; k++) {
		struct text_entry *e = &l->e[k];
		if (e->kind != 'h')
			continue;
		if (rnd(10) == 0)
			random_path(e->link, rnd(20) == 0);
		else /* mostly what is there or will be */
			strcpy(e->link, pick_file(&s->layer[rnd(at + 1)]));
		if (!*e->link)
			e->kind = 'f';
	}
}

static void random_stack(struct text_stack *s)
{
	memset(s, 0, sizeof *s);
	s->n = 1 + rnd(4);
	for (uint32_t i = 0; i < s->n; i++)
		random_layer(s, i);
}

static void print_stack(const struct text_stack *s)
{
	for (size_t i = 0; i < s->n; i++) {
		for (size_t k = 0; k < s->layer[i].n; k++)
			print_message("%c %s %s\n", s->layer[i].e[k].kind, s->layer[i].e[k].path,
				      s->layer[i].e[k].link);
		print_message(i + 1 < s->n ? "--\n" : "");
	}
}

static bool compare(const struct text_stack *s)
{
	struct built b;
	struct ck_err err = { 0 };
	CK_BUF want = { 0 }, got = { 0 };
	int rc = build(&b, s, CK_WHITEOUTS_APPLY, &err);
	bool ok = ref_run(&want, s), same = ok == (rc == 0);

	if (rc == 0) {
		check_shape(b.tree);
		dump_node(&got, b.tree, 1, "");
	} else {
		same = same && rc == -EBADMSG && strncmp(err.msg, "layer ", 6) == 0;
	}
	same = same && strcmp(ck_buf_str(&want), ck_buf_str(&got)) == 0;
	if (!same)
		print_message("want %s:\n%sgot %d (%s):\n%s", ok ? "" : "refusal",
			      ck_buf_str(&want), rc, err.msg, ck_buf_str(&got));
	unbuild(&b);
	return same;
}

static void test_random(void **state)
{
	const char *env = getenv("CK_SEED"), *count = getenv("CK_CASES");
	uint64_t seed = env ? strtoull(env, NULL, 0) : 20240601;
	long n = env ? 1 : count ? atol(count) : 20000, refused = 0;
	static struct text_stack s;
	CK_BUF scratch = { 0 };

	(void)state;
	for (long i = 0; i < n; i++) {
		rng = (seed + (uint64_t)i) * UINT64_C(0x9e3779b97f4a7c15) + 1;
		(void)rnd(2);
		(void)rnd(2);
		random_stack(&s);
		refused += !ref_run(&scratch, &s);
		if (!compare(&s)) {
			print_stack(&s);
			fail_msg("again with CK_SEED=%" PRIu64, seed + (uint64_t)i);
		}
		ck_buf_free(&scratch);
	}
	/* Most stacks must be sound, or the comparison would compare nothing. */
	if (n > 1000)
		assert_in_range(refused, n / 20, n / 2);
}

/* ---- hand-made cases ---- */

static const struct {
	const char *why, *layers, *want; /* WANT without the root's line; NULL: refused */
} cases[] = {
	{ "no entries", "", "" },
	{ "parents that no entry names", "f a/b/c", "d /a - 3\nd /a/b - 2\nf /a/b/c 0.0 1\n" },
	{ "bytes of paths are not the order of directories", "d a\nf a/x\nf a-b\nf a.c",
	  "d /a 0.0 2\nf /a/x 0.1 1\nf /a-b 0.2 1\nf /a.c 0.3 1\n" },
	{ "the later of one layer wins", "f a\nd b\nf b/x\nf b\np a", "p /a 0.4 1\nf /b 0.3 1\n" },
	{ "a file over a directory takes its tree away, and a later directory starts empty",
	  "d a\nf a/x\n--\nf a\nd a\nf a/y", "d /a 1.1 2\nf /a/y 1.2 1\n" },
	{ "directory over directory: new attributes, old children", "d a\nf a/x\n--\nd a",
	  "d /a 1.0 2\nf /a/x 0.1 1\n" },
	{ "parent comes after its child", "f a/x\nd a", "d /a 0.1 2\nf /a/x 0.0 1\n" },
	{ "whiteout of a file", "f a\nf b\n--\nf .wh.a", "f /b 0.1 1\n" },
	{ "whiteout of a tree", "f d/a\nf e\n--\nf .wh.d", "f /e 0.1 1\n" },
	{ "whiteout of what is not there", "f a\n--\nf .wh.b\nf c/.wh.d\nf a/.wh.x",
	  "f /a 0.0 1\n" },
	{ "a whiteout spares its own layer, before and after",
	  "f a\n--\nf a\nf .wh.a\nf .wh.b\nf b", "f /a 1.0 1\nf /b 1.3 1\n" },
	{ "whiteout and implied directory of one name", "f d/a\n--\nf d/b\nf .wh.d",
	  "d /d - 2\nf /d/b 1.0 1\n" },
	{ "whiteout in the lowest layer", "f a\nf .wh.a", "f /a 0.0 1\n" },
	{ "whiteout of a directory keeps no attributes", "d d\n--\nf .wh.d\nf d/x",
	  "d /d - 2\nf /d/x 1.1 1\n" },
	{ "opaque, after its layer's own entries", "f d/a\nf d/s/t\n--\nf d/b\nf d/.wh..wh..opq",
	  "d /d - 2\nf /d/b 1.0 1\n" },
	{ "opaque keeps the directory's own attributes", "d d\nf d/a\n--\nf d/.wh..wh..opq",
	  "d /d 0.0 2\n" },
	{ "opaque below, then the same names again", "f d/s/t\n--\nf d/.wh..wh..opq\nf d/s/u",
	  "d /d - 3\nd /d/s - 2\nf /d/s/u 1.1 1\n" },
	{ "opaque root", "d a\nf b\n--\nf .wh..wh..opq\nf c", "f /c 1.1 1\n" },
	{ "opaque of a directory that stands where a symlink stood spares the symlink's target",
	  "d run\nf run/x\nl vr run\n--\nd vr\nf vr/.wh..wh..opq\nf vr/y",
	  "d /run 0.0 2\nf /run/x 0.1 1\nd /vr 1.0 2\nf /vr/y 1.2 1\n" },
	{ "whiteout through a symlink", "d usr/bin\nf usr/bin/x\nl bin usr/bin\n--\nf bin/.wh.x",
	  "l /bin 0.2 1\nd /usr - 3\nd /usr/bin 0.0 2\n" },
	{ "whiteout of a symlink whose name becomes a directory", "d e\nl d e\n--\nf .wh.d\nf d/x",
	  "d /d - 2\nf /d/x 1.1 1\nd /e 0.0 2\n" },
	{ "whiteout of \".\" and \"..\" and nothing", "f a/b\n--\nf a/.wh..\nf a/.wh...\nf a/.wh.",
	  "d /a - 2\nf /a/b 0.0 1\n" },
	{ "AUFS's own records", "f a\n--\nd .wh..wh.plnk\nf .wh..wh.plnk/1.2\nf b/.wh.x/c",
	  "f /a 0.0 1\n" },
	{ "entries below symlinks, relative, absolute, confined",
	  "d usr/lib\nl lib usr/lib\nl abs /usr\nl up ../../../usr\n--\nf lib/a\nf abs/lib/b\nf "
	  "up/c",
	  "l /abs 0.2 1\nl /lib 0.1 1\nl /up 0.3 1\nd /usr - 3\nf /usr/c 1.2 1\nd /usr/lib 0.0 2\n"
	  "f /usr/lib/a 1.0 1\nf /usr/lib/b 1.1 1\n" },
	{ "entries below a dangling symlink", "l l x/y\nf l/a",
	  "l /l 0.0 1\nd /x - 3\nd /x/y - 2\nf /x/y/a 0.1 1\n" },
	{ "symlink loop among parents", "l a b\nl b a\nf a/x", NULL },
	{ "\"..\" in a symlink goes up from where it led", "d a/b\nl s a/b\nl t s/..\nf t/x",
	  "d /a - 3\nd /a/b 0.0 2\nf /a/x 0.3 1\nl /s 0.1 1\nl /t 0.2 1\n" },
	{ "an entry below a symlink that replaces this very symlink", "l l .\nd l/l\nf l/y",
	  "d /l 0.1 2\nf /l/y 0.2 1\n" },
	{ "a directory over a symlink replaces it", "d d\nl l d\n--\nd l\nf l/x",
	  "d /d 0.0 2\nd /l 1.0 2\nf /l/x 1.1 1\n" },
	{ "a symlink over a directory removes what was below", "f d/x\nd e\n--\nl d e\nf d/y",
	  "l /d 1.0 1\nd /e 0.1 2\nf /e/y 1.1 1\n" },
	{ "a file of a lower layer gives way to a parent", "f a\n--\nf a/b",
	  "d /a - 2\nf /a/b 1.0 1\n" },
	{ "a file of the same layer does not", "f a\nf a/b", NULL },
	{ "a file, a directory, a file across layers", "f a\n--\nd a\nf a/x\n--\nf a",
	  "f /a 2.0 1\n" },
	{ "hard link", "f a\nh b a\nh c b", "f /a 0.0 3\nf /b 0.0 3\nf /c 0.0 3\n" },
	{ "hard link to a lower layer", "f a\n--\nh b a", "f /a 0.0 2\nf /b 0.0 2\n" },
	{ "hard link to what this layer replaced before", "f a\n--\nf a\nh b a",
	  "f /a 1.0 2\nf /b 1.0 2\n" },
	{ "hard link to what this layer replaces after", "f a\n--\nh b a\nf a",
	  "f /a 1.1 1\nf /b 0.0 1\n" },
	{ "the target is replaced in an upper layer", "f a\nh b a\n--\nf a",
	  "f /a 1.0 1\nf /b 0.0 1\n" },
	{ "the target comes later", "h b a\nf a", "f /a 0.1 2\nf /b 0.1 2\n" },
	{ "links to links that come later", "h d c\nh c b\nh b a\nf a",
	  "f /a 0.3 4\nf /b 0.3 4\nf /c 0.3 4\nf /d 0.3 4\n" },
	{ "the target comes later, the link is replaced before", "h b a\nf b\nf a",
	  "f /a 0.2 1\nf /b 0.1 1\n" },
	{ "hard link to a symlink is the symlink", "f x\nl a x\nh b a",
	  "l /a 0.1 2\nl /b 0.1 2\nf /x 0.0 1\n" },
	{ "hard link to nothing", "h b a", NULL },
	{ "hard link to itself", "h a a", NULL },
	{ "hard links in a ring", "h a b\nh b a", NULL },
	{ "hard link to a directory", "d a\nh b a", NULL },
	{ "hard link to a directory that comes later", "h b a\nd a", NULL },
	{ "hard link to what this layer's whiteout took away", "f a\n--\nf .wh.a\nh b a", NULL },
	{ "hard link in place of the root", "f a\nh . a", NULL },
	{ "a file in place of the root", "f .", NULL },
	{ "a symlink must not make a name kept for whiteouts", "l a .wh.b\nf a/x", NULL },
};

static void test_cases(void **state)
{
	static struct text_stack s;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct built b;
		struct ck_err err = { 0 };
		CK_BUF got = { 0 };
		parse(&s, cases[i].layers);
		int rc = build(&b, &s, CK_WHITEOUTS_APPLY, &err);
		const char *below = "";
		if (rc == 0) {
			check_shape(b.tree);
			dump_node(&got, b.tree, 1, "");
			below = strchr(ck_buf_str(&got), '\n') + 1;
		}
		if (!cases[i].want ? rc != -EBADMSG : rc != 0 || strcmp(below, cases[i].want))
			fail_msg("%s: %d %s\n%s", cases[i].why, rc, err.msg, below);
		unbuild(&b);
	}
}

/* The reference must agree by hand, or it is no reference. */
static void test_reference(void **state)
{
	static struct text_stack s;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		CK_BUF got = { 0 };
		parse(&s, cases[i].layers);
		for (size_t l = 0; l < s.n; l++)
			for (size_t k = 0; k < s.layer[l].n; k++)
				if (strcmp(s.layer[l].e[k].path, ".") == 0)
					s.layer[l].e[k].path[0] = 0;
		bool ok = ref_run(&got, &s);
		const char *below = ok ? strchr(ck_buf_str(&got), '\n') + 1 : "";
		if (ok != (cases[i].want != NULL) || (ok && strcmp(below, cases[i].want)))
			fail_msg("%s:\n%s", cases[i].why, below);
	}
}

static const struct {
	const char *why, *layer, *want; /* the view of one layer */
} shown[] = {
	{ "whiteouts are files", "f a\nf .wh.a\nf d/.wh..wh..opq",
	  "f /.wh.a 0.1 1\nf /a 0.0 1\nd /d - 2\nf /d/.wh..wh..opq 0.2 1\n" },
	{ "a hard link out of the layer is a file of its own, without the way there",
	  "h b x/y/a\nh d/c x/y/a", "f /b 0.0 2\nd /d - 2\nf /d/c 0.0 2\n" },
	{ "a ring of hard links", "h a b\nh b a", "f /a 0.0 2\nf /b 0.0 2\n" },
};

static void test_shown(void **state)
{
	static struct text_stack s;

	(void)state;
	for (size_t i = 0; i < sizeof shown / sizeof *shown; i++) {
		struct built b;
		struct ck_err err = { 0 };
		CK_BUF got = { 0 };
		parse(&s, shown[i].layer);
		assert_int_equal(build(&b, &s, CK_WHITEOUTS_SHOW, &err), 0);
		check_shape(b.tree);
		dump_node(&got, b.tree, 1, "");
		if (strcmp(strchr(ck_buf_str(&got), '\n') + 1, shown[i].want))
			fail_msg("%s:\n%s", shown[i].why, ck_buf_str(&got));
		unbuild(&b);
	}
}

static void test_root_attributes(void **state)
{
	static struct text_stack s;
	struct built b;
	struct ck_err err = { 0 };

	(void)state;
	parse(&s, "d .\nf a\n--\nd .\n--\nf .wh..wh..opq");
	assert_int_equal(build(&b, &s, CK_WHITEOUTS_APPLY, &err), 0);
	assert_int_equal(b.tree->nodes[1].layer, 1);
	assert_non_null(b.tree->nodes[1].entry);
	assert_int_equal(b.tree->n_nodes, 1);
	unbuild(&b);
	parse(&s, "f a");
	assert_int_equal(build(&b, &s, CK_WHITEOUTS_APPLY, &err), 0);
	assert_null(b.tree->nodes[1].entry);
	assert_int_equal(b.tree->nodes[1].parent, 1);
	unbuild(&b);
	assert_int_equal(ck_tree_build(&b.tree, NULL, 0, CK_WHITEOUTS_APPLY, &err), 0);
	assert_int_equal(b.tree->n_nodes, 1);
	ck_tree_free(b.tree);
	ck_tree_free(NULL);
}

/* One entry that the text form cannot say. */
static int build_one(const struct ck_entry *e, const char *path, size_t path_len, const char *link,
		     size_t link_len, struct ck_err *err)
{
	struct ck_index_builder *b = NULL;
	struct ck_index x;
	const struct ck_index *px = &x;
	struct ck_tree *t = NULL;
	struct ck_entry own = *e;

	assert_int_equal(ck_index_builder_new(&b, err), 0);
	assert_int_equal(ck_index_add_bytes(b, path, path_len, &own.path, err), 0);
	assert_int_equal(ck_index_add_bytes(b, link, link_len, &own.link, err), 0);
	assert_int_equal(ck_index_add_entry(b, &own, err), 0);
	ck_index_finish(b, &x);
	int rc = ck_tree_build(&t, &px, 1, CK_WHITEOUTS_APPLY, err);
	ck_tree_free(t);
	ck_index_free(&x);
	ck_index_builder_free(b);
	return rc;
}

static void test_refused(void **state)
{
	char n255[256], n256[257], text[4097];
	struct ck_err err = { 0 };

	(void)state;
	memset(n255, 'n', sizeof n255);
	memset(n256, 'n', sizeof n256);
	memset(text, 't', sizeof text);
	const struct {
		const char *why;
		struct ck_entry e;
		const char *path;
		size_t path_len;
		const char *link;
		size_t link_len;
		int want;
	} rows[] = {
		{ "a name of 255 bytes", { .mode = S_IFREG }, n255, 255, "", 0, 0 },
		{ "a name of 256 bytes", { .mode = S_IFREG }, n256, 256, "", 0, -EBADMSG },
		{ "name that is no UTF-8", { .mode = S_IFREG }, "\xff\x01\n", 3, "", 0, 0 },
		{ "NUL in a name", { .mode = S_IFREG }, "a\0b", 3, "", 0, -EBADMSG },
		{ "\"..\", which the index takes away",
		  { .mode = S_IFREG },
		  "..",
		  2,
		  "",
		  0,
		  -EBADMSG },
		{ "socket", { .mode = S_IFSOCK }, "a", 1, "", 0, -EBADMSG },
		{ "no type", { .mode = 0644 }, "a", 1, "", 0, -EBADMSG },
		{ "symlink to nothing", { .mode = S_IFLNK }, "a", 1, "", 0, -EBADMSG },
		{ "symlink of 4095 bytes", { .mode = S_IFLNK }, "a", 1, text, 4095, 0 },
		{ "symlink of 4096 bytes", { .mode = S_IFLNK }, "a", 1, text, 4096, -EBADMSG },
		{ "size that no offset reaches",
		  { .mode = S_IFREG, .size = UINT64_C(1) << 63 },
		  "a",
		  1,
		  "",
		  0,
		  -EBADMSG },
		{ "device",
		  { .mode = S_IFCHR, .rdev_major = 4095, .rdev_minor = 0xfffff },
		  "a",
		  1,
		  "",
		  0,
		  0 },
		{ "device that the kernel cannot name",
		  { .mode = S_IFBLK, .rdev_major = 4096 },
		  "a",
		  1,
		  "",
		  0,
		  -EBADMSG },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int rc = build_one(&rows[i].e, rows[i].path, rows[i].path_len, rows[i].link,
				   rows[i].link_len, &err);
		if (rc != rows[i].want)
			fail_msg("%s: %d %s", rows[i].why, rc, err.msg);
	}
}

static void test_walk(void **state)
{
	static const struct {
		const char *path;
		bool follow;
		const char *want; /* "": the root; NULL: the errno in RC */
		int rc;
	} rows[] = {
		{ "", true, "", 0 },
		{ "/", true, "", 0 },
		{ "usr/bin/env", true, "/usr/bin/env", 0 },
		{ "/bin/env", false, "/usr/bin/env", 0 },
		{ "/bin", false, "/bin", 0 },
		{ "/bin", true, "/usr/bin", 0 },
		{ "/bin/", false, "/usr/bin", 0 },
		{ "/bin/../bin/./env", false, "/usr/bin/env", 0 },
		{ "/bin/../usr", false, NULL, -ENOENT },
		{ "/../../bin/env", false, "/usr/bin/env", 0 },
		{ "/esc/env", false, "/usr/bin/env", 0 },
		{ "/none", true, NULL, -ENOENT },
		{ "/usr/bin/env/", true, NULL, -ENOTDIR },
		{ "/usr/bin/env/x", true, NULL, -ENOTDIR },
		{ "/loop", false, "/loop", 0 },
		{ "/loop", true, NULL, -ELOOP },
		{ "/loop/x", false, NULL, -ELOOP },
		{ "/dangle", true, NULL, -ENOENT },
	};
	static struct text_stack s;
	struct built b;
	struct ck_err err = { 0 };

	(void)state;
	parse(&s, "f usr/bin/env\nl bin usr/bin\nl esc ../../bin\nl loop loop\nl dangle /x");
	assert_int_equal(build(&b, &s, CK_WHITEOUTS_APPLY, &err), 0);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		ck_ino ino = 0;
		char path[64] = "";
		int rc = ck_tree_walk(b.tree, b.px, rows[i].path, rows[i].follow, &ino, &err);
		if (rc == 0)
			ck_tree_path(b.tree, ino, path, sizeof path);
		if (rc != rows[i].rc ||
		    (rows[i].want && strcmp(path, *rows[i].want ? rows[i].want : "/")))
			fail_msg("%s: %d %s", rows[i].path, rc, path);
	}
	char cut[8];
	ck_ino ino = 0;
	assert_int_equal(ck_tree_walk(b.tree, b.px, "/usr/bin/env", true, &ino, &err), 0);
	ck_tree_path(b.tree, ino, cut, sizeof cut);
	assert_string_equal(cut, "/usr/bi");
	unbuild(&b);
}

/* Places in the tar with gaps, as an index from elsewhere may have them. */
static void test_gaps(void **state)
{
	static struct text_stack s;
	struct ck_err err = { 0 };
	struct ck_tree *t = NULL;
	struct ck_index x;
	const struct ck_index *px = &x;

	(void)state;
	parse(&s, "f a\nl l a\nd a\nf a/x\nh b a/x");
	build_index(&x, &s.layer[0]);
	struct ck_entry *e = (struct ck_entry *)(uintptr_t)x.entries;
	e[0].seq = 7; /* a, the file */
	e[1].seq = UINT32_MAX - 2;
	for (size_t i = 2; i < x.n_entries; i++)
		e[i].seq = UINT32_MAX - 1; /* behind it, in the index's order */
	assert_int_equal(ck_tree_build(&t, &px, 1, CK_WHITEOUTS_APPLY, &err), 0);
	check_shape(t);
	assert_int_equal(t->n_nodes, 4); /* root, a, a/x = b, l */
	ck_tree_free(t);
	for (size_t i = 0; i < x.n_entries; i++)
		e[i].seq = 0;
	assert_int_equal(ck_tree_build(&t, &px, 1, CK_WHITEOUTS_APPLY, &err), 0);
	assert_int_equal(t->n_nodes, 4);
	ck_tree_free(t);
	ck_index_free(&x);
}

/* A path of 100,000 parts, and one directory of 1,000,000 names in no order. */
static void test_large(void **state)
{
	enum { DEPTH = 100000, NAMES = 1000000 };
	struct ck_err err = { 0 };
	struct ck_index_builder *b = NULL;
	struct ck_index x;
	const struct ck_index *px = &x;
	struct ck_tree *t = NULL;
	char *deep = malloc(2 * DEPTH), name[32];

	(void)state;
	for (size_t i = 0; i < DEPTH; i++)
		memcpy(deep + 2 * i, "d/", 2);
	deep[2 * DEPTH - 1] = 0;
	assert_int_equal(ck_index_builder_new(&b, &err), 0);
	struct ck_entry e = { .mode = S_IFREG };
	assert_int_equal(ck_index_add_path(b, deep, &e.path, &err), 0);
	assert_int_equal(ck_index_add_entry(b, &e, &err), 0);
	for (uint64_t i = 0; i < NAMES; i++) {
		snprintf(name, sizeof name, "big/n%" PRIu64, i * 700001 % NAMES);
		assert_int_equal(ck_index_add_path(b, name, &e.path, &err), 0);
		assert_int_equal(ck_index_add_entry(b, &e, &err), 0);
	}
	ck_index_finish(b, &x);
	ck_index_builder_free(b);
	assert_int_equal(ck_tree_build(&t, &px, 1, CK_WHITEOUTS_APPLY, &err), 0);
	assert_int_equal(t->n_nodes, 1 + DEPTH + 1 + NAMES);
	check_shape(t);
	char path[16];
	ck_tree_path(t, (ck_ino)t->n_nodes, path, sizeof path);
	assert_string_equal(path, "/d/d/d/d/d/d/d/");
	ck_ino big = ck_tree_lookup(t, 1, "big", 3);
	assert_int_equal(t->nodes[big].n_children, NAMES);
	assert_int_not_equal(ck_tree_lookup(t, big, "n999999", 7), 0);
	assert_int_equal(ck_tree_lookup(t, big, "n1000000", 8), 0);
	ck_tree_free(t);
	ck_index_free(&x);
	free(deep);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_reference),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_shown),
		cmocka_unit_test(test_root_attributes),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_walk),
		cmocka_unit_test(test_gaps),
		cmocka_unit_test(test_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
