/* Drafts and names, and the way to them: paths of entries walked through symlinks. */
#include "fs/tree_merge.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/tree_steps.h"

enum { NAME_LEN_MAX = 255 };

enum walk { WALK_LOOK, WALK_MAKE };

int ck_merge_new_draft(struct ck_merge *m, struct ck_draft d, uint32_t *out, struct ck_err *err)
{
	if (m->n_drafts >= UINT32_MAX - 1)
		return ck_fail(err, -EFBIG, "the tree would pass 2^32 nodes");
	if (m->n_drafts == m->cap_drafts) {
		size_t cap = m->cap_drafts * 2;
		struct ck_draft *p = reallocarray(m->drafts, cap, sizeof *p);
		if (!p)
			return ck_nomem(err, "merging the layers' trees");
		m->drafts = p;
		m->cap_drafts = cap;
	}
	d.layer = m->layer;
	*out = (uint32_t)m->n_drafts;
	m->drafts[m->n_drafts++] = d;
	return 0;
}

static int add_name(struct ck_merge *m, uint32_t dir, const char *part, size_t len, uint32_t *out,
		    struct ck_err *err)
{
	if (len > NAME_LEN_MAX)
		return ck_fail(err, -EBADMSG, "a name of %zu bytes: no filesystem takes above %d",
			       len, NAME_LEN_MAX);
	if (len == 0 || memchr(part, 0, len) || (part[0] == '.' && len == 1) ||
	    (len == 2 && memcmp(part, "..", 2) == 0))
		return ck_fail(err, -EBADMSG, "not a name: '%.*s'", (int)len, part);
	if (m->whiteouts == CK_WHITEOUTS_APPLY && ck_is_wh(part, len))
		return ck_fail(err, -EBADMSG, "the name %.*s is kept for whiteouts", (int)len,
			       part);
	struct ck_name n = { part, (uint32_t)len, dir, 0, m->layer };
	return ck_names_add(&m->names, &n, out, err);
}

uint32_t ck_merge_draft_of(struct ck_merge *m, uint32_t name)
{
	uint32_t first = m->names.all[name].draft, d = first;

	while (m->drafts[d].alias)
		d = m->drafts[d].alias;
	while (m->drafts[first].alias) { /* the next search is short */
		uint32_t next = m->drafts[first].alias;
		m->drafts[first].alias = d;
		first = next;
	}
	m->names.all[name].draft = d;
	return d;
}

void ck_merge_point(struct ck_merge *m, uint32_t name, uint32_t draft)
{
	struct ck_name *n = &m->names.all[name];

	if (n->draft)
		m->near_path = NULL; /* may have led through here */
	n->draft = draft;
	n->layer = m->layer;
}

int ck_merge_imply_dir(struct ck_merge *m, uint32_t name, uint32_t *out, struct ck_err *err)
{
	int rc = ck_merge_new_draft(
	    m, (struct ck_draft){ .entry = CK_NO_ENTRY, .name = name, .type = S_IFDIR }, out, err);
	if (rc == 0)
		ck_merge_point(m, name, *out);
	return rc;
}

/* Whether this layer has a directory at the path PATH[0..LEN), as written. */
static bool states_dir(const struct ck_merge *m, const char *path, size_t len)
{
	size_t lo = 0, hi = m->x->n_entries;

	while (lo < hi) { /* the first entry above PATH */
		size_t mid = lo + (hi - lo) / 2;
		struct ck_span s = m->x->entries[mid].path;
		int d = memcmp(ck_merge_bytes(m, s), path, s.len < len ? s.len : len);
		if (d < 0 || (d == 0 && s.len <= len))
			lo = mid + 1;
		else
			hi = mid;
	}
	const struct ck_entry *e = &m->x->entries[lo ? lo - 1 : 0];
	return lo && e->path.len == len && memcmp(ck_merge_bytes(m, e->path), path, len) == 0 &&
	       S_ISDIR(e->mode);
}

/* Puts the text of the symlink DRAFT, found in *DIR, in front of the walk. */
static int follow(struct ck_merge *m, struct ck_steps *s, uint32_t draft, uint32_t *dir,
		  struct ck_err *err)
{
	const struct ck_draft *d = &m->drafts[draft];
	const struct ck_index *x = m->layers[d->layer];
	struct ck_span link = x->entries[d->entry].link;
	const char *text = ck_index_bytes(x, link);

	if (!ck_steps_follow(s, text, link.len))
		return ck_fail(err, -EBADMSG, "its parents lead through more than %d symlinks",
			       CK_STEPS_LINKS);
	if (*text == '/')
		*dir = ck_merge_root(m);
	return 0;
}

/*
 * The child PART of *DIR, on the way to the parent of an entry or a whiteout: moves
 * *DIR there, or puts a symlink's text in front. Errors: -ENOENT, -ENOTDIR only for
 * WALK_LOOK.
 */
static int step(struct ck_merge *m, struct ck_steps *s, enum walk walk, const char *part,
		size_t len, uint32_t *dir, struct ck_err *err)
{
	uint32_t name = ck_names_find(&m->names, *dir, part, len), d = 0;
	int rc = 0;

	if (name)
		d = ck_merge_draft_of(m, name);
	if (ck_merge_is_dir(m, d)) {
		*dir = d;
		return 0;
	}
	if (d && m->drafts[d].type == S_IFLNK)
		return follow(m, s, d, dir, err);
	if (walk == WALK_LOOK)
		return d ? -ENOTDIR : -ENOENT;
	/* What a lower layer has gives way, as in an overlay of unpacked layers. */
	if (d && m->names.all[name].layer == m->layer)
		return ck_fail(err, -EBADMSG, "its parent %.*s is not a directory", (int)len, part);
	if (!name)
		rc = add_name(m, *dir, part, len, &name, err);
	return rc < 0 ? rc : ck_merge_imply_dir(m, name, dir, err);
}

static uint32_t parent_of(const struct ck_merge *m, uint32_t dir)
{
	return dir == ck_merge_root(m) ? dir : m->names.all[m->drafts[dir].name].dir;
}

/*
 * Walks to the directory PATH[0..LEN), through symlinks, confined to the root.
 * WALK_MAKE makes what is missing. WALK_LOOK is for whiteouts, which concern the layers
 * below: it is -ENOENT or -ENOTDIR, without a message, where they have no such
 * directory, and where this layer puts a directory in place of a symlink on the way.
 */
static int walk_to(struct ck_merge *m, enum walk walk, const char *path, size_t len, uint32_t *out,
		   struct ck_err *err)
{
	struct ck_steps s;
	const char *part;
	size_t part_len;
	uint32_t dir = ck_merge_root(m);

	ck_steps_init(&s, path, len);
	while (ck_steps_next(&s, &part, &part_len)) {
		unsigned n_followed = s.n_followed;
		if (n_followed && m->steps-- == 0)
			return ck_fail(
			    err, -EFBIG,
			    "the symlinks among the layer's parents are too many to follow");
		if (part_len == 1 && part[0] == '.')
			continue;
		if (part_len == 2 && memcmp(part, "..", 2) == 0) {
			dir = parent_of(m, dir);
			continue;
		}
		int rc = step(m, &s, walk, part, part_len, &dir, err);
		if (rc < 0)
			return rc;
		uintptr_t at = (uintptr_t)part + part_len - (uintptr_t)path;
		if (walk == WALK_LOOK && s.n_followed > n_followed && at <= len &&
		    states_dir(m, path, at))
			return -ENOTDIR;
	}
	*out = dir;
	return 0;
}

/* As walk_to with WALK_MAKE; entries of one directory come one after the other. */
static int walk_near(struct ck_merge *m, const char *path, size_t len, uint32_t *out,
		     struct ck_err *err)
{
	if (m->near_path && m->near_len == len && memcmp(m->near_path, path, len) == 0) {
		*out = m->near_dir;
		return 0;
	}
	int rc = walk_to(m, WALK_MAKE, path, len, out, err);
	if (rc == 0) {
		m->near_path = path;
		m->near_len = len;
		m->near_dir = *out;
	}
	return rc;
}

int ck_merge_name_at(struct ck_merge *m, struct ck_span p, uint32_t *out, struct ck_err *err)
{
	const char *path = ck_merge_bytes(m, p);
	size_t base = ck_base_of(path, p.len);
	uint32_t dir;
	int rc = walk_near(m, path, base ? base - 1 : 0, &dir, err);
	if (rc < 0)
		return rc;
	*out = ck_names_find(&m->names, dir, path + base, p.len - base);
	return *out ? 0 : add_name(m, dir, path + base, p.len - base, out, err);
}

int ck_merge_look(struct ck_merge *m, const char *path, size_t len, uint32_t *out,
		  struct ck_err *err)
{
	return walk_to(m, WALK_LOOK, path, len, out, err);
}
