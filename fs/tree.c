#include "fs/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/tree_merge.h"
#include "fs/tree_steps.h"

int ck_tree_build(struct ck_tree **out, const struct ck_index *const *layers, size_t n_layers,
		  enum ck_whiteouts whiteouts, struct ck_err *err)
{
	CK_AUTO(ck_merge_free) struct ck_merge m;
	int rc = ck_merge_init(&m, layers, n_layers, whiteouts, err);

	for (uint32_t i = 0; rc == 0 && i < n_layers; i++)
		rc = ck_merge_layer(&m, i, err);
	return rc < 0 ? rc : ck_merge_number(&m, out, err);
}

void ck_tree_free(struct ck_tree *t)
{
	if (!t)
		return;
	free((void *)(uintptr_t)t->nodes);
	free((void *)(uintptr_t)t->dirents);
	free(t->store); /* entries that no layer has */
	free(t);
}

static bool is_type(const struct ck_tree *t, ck_ino ino, mode_t type)
{
	const struct ck_entry *e = t->nodes[ino].entry;

	return ((e ? e->mode : S_IFDIR) & S_IFMT) == type;
}

ck_ino ck_tree_lookup(const struct ck_tree *t, ck_ino dir, const char *name, size_t len)
{
	const struct ck_dirent *d = t->dirents + t->nodes[dir].first_child;
	size_t lo = 0, hi = t->nodes[dir].n_children;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = ck_dirent_cmp(&d[mid], name, len);
		if (c == 0)
			return d[mid].ino;
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return 0;
}

/* The child PART of *INO: moves there, or, for a symlink to be followed, puts its text
 * in front. */
static int step(const struct ck_tree *t, const struct ck_index *const *layers, struct ck_steps *s,
		const char *part, size_t len, bool follow, ck_ino *ino)
{
	if (!is_type(t, *ino, S_IFDIR))
		return -ENOTDIR;
	if (len == 1 && part[0] == '.')
		return 0;
	if (len == 2 && memcmp(part, "..", 2) == 0) {
		*ino = t->nodes[*ino].parent;
		return 0;
	}
	ck_ino child = ck_tree_lookup(t, *ino, part, len);
	if (child == 0)
		return -ENOENT;
	if (!is_type(t, child, S_IFLNK) || (ck_steps_done(s) && !follow)) {
		*ino = child;
		return 0;
	}
	const struct ck_node *n = &t->nodes[child];
	const char *text = ck_index_bytes(layers[n->layer], n->entry->link);
	if (*text == '/')
		*ino = 1;
	return ck_steps_follow(s, text, n->entry->link.len) ? 0 : -ELOOP;
}

int ck_tree_walk(const struct ck_tree *t, const struct ck_index *const *layers, const char *path,
		 bool follow, ck_ino *out, struct ck_err *err)
{
	struct ck_steps s;
	const char *part;
	size_t part_len, len = strlen(path);
	bool want_dir = len && path[len - 1] == '/';
	ck_ino ino = 1;
	int rc = 0;

	ck_steps_init(&s, path, len);
	while (rc == 0 && ck_steps_next(&s, &part, &part_len))
		rc = step(t, layers, &s, part, part_len, follow || want_dir, &ino);
	if (rc == 0 && want_dir && !is_type(t, ino, S_IFDIR))
		rc = -ENOTDIR;
	if (rc < 0)
		return ck_fail(err, rc, "no %s in the image: %s", path, strerror(-rc));
	*out = ino;
	return 0;
}

/* The name of INO in its parent. Linear in the directory: for messages only. */
static const struct ck_dirent *name_of(const struct ck_tree *t, ck_ino ino)
{
	const struct ck_node *dir = &t->nodes[t->nodes[ino].parent];
	const struct ck_dirent *d = t->dirents + dir->first_child;

	while (d->ino != ino)
		d++;
	return d;
}

void ck_tree_path(const struct ck_tree *t, ck_ino ino, char *out, size_t cap)
{
	size_t len = 0;

	if (cap == 0)
		return;
	for (ck_ino i = ino; i != 1; i = t->nodes[i].parent)
		len += 1 + (size_t)name_of(t, i)->name_len;
	size_t end = len;
	for (ck_ino i = ino; i != 1; i = t->nodes[i].parent) { /* from the last part back */
		const struct ck_dirent *d = name_of(t, i);
		size_t at = end - d->name_len;
		if (at < cap)
			memcpy(out + at, d->name, d->name_len < cap - at ? d->name_len : cap - at);
		if (at - 1 < cap)
			out[at - 1] = '/';
		end = at - 1;
	}
	if (len == 0 && cap > 1)
		out[len++] = '/';
	out[len < cap ? len : cap - 1] = 0;
}
