#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/tree_merge.h"

#define OPAQUE CK_WH ".wh..opq"

/* LINK_LEN_MAX: what the kernel lets a symlink hold. STEPS: no honest image walks that
 * many parts of symlinks on the way to its entries; a hostile one walks no more. */
enum { LINK_LEN_MAX = 4095, STEPS = 1 << 25 };

/* Refuses what no filesystem can show. */
static int check_node(const struct ck_merge *m, const struct ck_entry *e, struct ck_err *err)
{
	switch (e->mode & S_IFMT) {
	case S_IFREG:
		if (e->size > INT64_MAX)
			return ck_fail(err, -EBADMSG, "a file of %" PRIu64 " bytes", e->size);
		return 0;
	case S_IFLNK:
		if (e->link.len == 0 || e->link.len > LINK_LEN_MAX ||
		    memchr(ck_merge_bytes(m, e->link), 0, e->link.len))
			return ck_fail(err, -EBADMSG,
				       "a symlink of %" PRIu32 " bytes, or with a NUL",
				       e->link.len);
		return 0;
	case S_IFCHR:
	case S_IFBLK:
		if (e->rdev_major > 0xfff || e->rdev_minor > 0xfffff)
			return ck_fail(err, -EBADMSG, "no such device number: %" PRIu32 ":%" PRIu32,
				       e->rdev_major, e->rdev_minor);
		return 0;
	case S_IFDIR:
	case S_IFIFO:
		return 0;
	default:
		return ck_fail(err, -EBADMSG, "not a type of file that an image may hold: mode 0%o",
			       e->mode);
	}
}

static int apply_node(struct ck_merge *m, uint32_t idx, struct ck_err *err)
{
	const struct ck_entry *e = &m->x->entries[idx];
	bool dir = S_ISDIR(e->mode);
	uint32_t name = 0;
	int rc = check_node(m, e, err);

	if (rc == 0 && e->path.len == 0 && !dir)
		return ck_fail(err, -EBADMSG, "the root is not a directory");
	if (rc == 0 && e->path.len)
		rc = ck_merge_name_at(m, e->path, &name, err);
	if (rc < 0)
		return rc;
	uint32_t d = ck_merge_draft_of(m, name);
	bool kept = ck_merge_is_promise(m, d) && m->drafts[d].name == name;
	if (kept && dir)
		return ck_fail(err, -EBADMSG, "a hard link names this directory");
	if (!kept && !(dir && ck_merge_is_dir(m, d))) {
		rc = ck_merge_new_draft(m, (struct ck_draft){ .name = name }, &d, err);
		if (rc < 0)
			return rc;
		ck_merge_point(m, name, d);
	}
	m->names.all[name].layer = m->layer;
	m->drafts[d].layer = m->layer;
	m->drafts[d].entry = idx;
	m->drafts[d].type = e->mode & S_IFMT;
	return 0;
}

static int apply_link(struct ck_merge *m, uint32_t idx, struct ck_err *err)
{
	const struct ck_entry *e = &m->x->entries[idx];
	uint32_t target, name;

	if (e->path.len == 0 || e->link.len == 0)
		return ck_fail(err, -EBADMSG, "a hard link to or in place of the root");
	int rc = ck_merge_name_at(m, e->link, &target, err);
	if (rc < 0)
		return ck_wrap(err, "hard link to %.200s", ck_merge_bytes(m, e->link));
	uint32_t d = ck_merge_draft_of(m, target);
	if (d == 0) {
		rc = ck_merge_new_draft(m, (struct ck_draft){ .entry = idx, .name = target }, &d,
					err);
		if (rc < 0)
			return rc;
		m->names.all[target].draft = d;
		m->names.all[target].layer = CK_NO_ENTRY; /* nothing states it yet */
	}
	if (ck_merge_is_dir(m, d))
		return ck_fail(err, -EBADMSG, "hard link to the directory %.200s",
			       ck_merge_bytes(m, e->link));
	rc = ck_merge_name_at(m, e->path, &name, err);
	if (rc < 0)
		return rc;
	uint32_t was = ck_merge_draft_of(m, name);
	if (was != d && ck_merge_is_promise(m, was) && m->drafts[was].name == name)
		m->drafts[was].alias = d;
	ck_merge_point(m, name, d);
	return 0;
}

/* Names below a name that is kept for whiteouts: AUFS's own records, which mean
 * nothing in an image. */
static bool below_wh(const char *path, size_t base)
{
	return base && (ck_is_wh(path, base) || memmem(path, base, "/" CK_WH, sizeof CK_WH));
}

static int apply_entry(struct ck_merge *m, uint32_t idx, struct ck_err *err)
{
	const struct ck_entry *e = &m->x->entries[idx];
	const char *path = ck_merge_bytes(m, e->path);
	size_t base = ck_base_of(path, e->path.len);

	if (m->whiteouts == CK_WHITEOUTS_APPLY &&
	    (ck_is_wh(path + base, e->path.len - base) || below_wh(path, base)))
		return 0;
	return e->kind == CK_ENTRY_HARDLINK ? apply_link(m, idx, err) : apply_node(m, idx, err);
}

/* Empties the directory DIR: its name gets a new draft, the children keep the old one. */
static int empty_dir(struct ck_merge *m, uint32_t dir, struct ck_err *err)
{
	struct ck_draft d = m->drafts[dir];
	uint32_t fresh;
	int rc = ck_merge_new_draft(m, d, &fresh, err);

	if (rc < 0)
		return rc;
	m->drafts[fresh].layer = d.layer; /* ENTRY is an index into that one */
	m->names.all[d.name].draft = fresh;
	return 0;
}

static int apply_whiteout(struct ck_merge *m, uint32_t idx, struct ck_err *err)
{
	struct ck_span p = m->x->entries[idx].path;
	const char *path = ck_merge_bytes(m, p);
	size_t base = ck_base_of(path, p.len), len = p.len - base;
	uint32_t dir;

	if (!ck_is_wh(path + base, len) || below_wh(path, base))
		return 0;
	int rc = ck_merge_look(m, path, base ? base - 1 : 0, &dir, err);
	if (rc < 0) /* nothing there to hide */
		return rc == -EFBIG || rc == -ENOMEM ? rc : 0;
	if (len == sizeof OPAQUE - 1 && memcmp(path + base, OPAQUE, len) == 0)
		return empty_dir(m, dir, err);
	uint32_t name =
	    ck_names_find(&m->names, dir, path + base + sizeof CK_WH - 1, len - (sizeof CK_WH - 1));
	if (name)
		m->names.all[name].draft = 0;
	return 0;
}

static int by_seq(const void *pa, const void *pb)
{
	uint64_t a = *(const uint64_t *)pa, b = *(const uint64_t *)pb;

	return (a > b) - (a < b);
}

/* The index of each entry, in its lower half, in the tar's order; NULL: out of memory. */
static uint64_t *tar_order(const struct ck_index *x)
{
	uint64_t *order = calloc(x->n_entries ? x->n_entries : 1, sizeof *order);
	bool dense = true; /* as the builder leaves it: each place is taken once */

	if (!order)
		return NULL;
	for (size_t i = 0; i < x->n_entries; i++) {
		uint32_t seq = x->entries[i].seq;
		dense = dense && seq < x->n_entries && order[seq] == 0;
		if (dense)
			order[seq] = (uint64_t)(seq + UINT64_C(1)) << 32 | i;
	}
	for (size_t i = 0; !dense && i < x->n_entries; i++)
		order[i] = (uint64_t)x->entries[i].seq << 32 | i;
	if (!dense)
		qsort(order, x->n_entries, sizeof *order, by_seq);
	return order;
}

/* Promises that the layer did not keep: an error, or in the view of one layer a file of
 * its own, for what it links to is in a lower layer. */
static int settle_promises(struct ck_merge *m, struct ck_err *err)
{
	for (size_t i = m->first_draft; i < m->n_drafts; i++) {
		struct ck_draft *d = &m->drafts[i];
		if (d->type || d->alias)
			continue;
		const struct ck_entry *e = &m->x->entries[d->entry];
		if (m->whiteouts == CK_WHITEOUTS_APPLY)
			return ck_fail(
			    err, -EBADMSG,
			    "layer %" PRIu32 ": %.200s: hard link to %.200s, which is neither "
			    "in this layer nor below",
			    m->layer, ck_merge_bytes(m, e->path), ck_merge_bytes(m, e->link));
		d->type = S_IFREG;
		if (m->names.all[d->name].layer == CK_NO_ENTRY)
			m->names.all[d->name].draft = 0;
	}
	return 0;
}

typedef int apply_fn(struct ck_merge *m, uint32_t idx, struct ck_err *err);

static int apply_all(struct ck_merge *m, const uint64_t *order, apply_fn *apply, struct ck_err *err)
{
	for (size_t i = 0; i < m->x->n_entries; i++) {
		uint32_t idx = (uint32_t)order[i];
		int rc = apply(m, idx, err);
		if (rc < 0)
			return ck_wrap(err, "layer %" PRIu32 ": %.200s", m->layer,
				       ck_merge_bytes(m, m->x->entries[idx].path));
	}
	return 0;
}

int ck_merge_layer(struct ck_merge *m, uint32_t layer, struct ck_err *err)
{
	CK_AUTO(ck_freep) uint64_t *order = tar_order(m->layers[layer]);
	int rc = 0;

	if (!order)
		return ck_nomem(err, "merging the layers' trees");
	m->x = m->layers[layer];
	m->layer = layer;
	m->first_draft = m->n_drafts;
	m->near_path = NULL;
	/* All whiteouts first: they concern only what the layers below left. */
	if (layer && m->whiteouts == CK_WHITEOUTS_APPLY)
		rc = apply_all(m, order, apply_whiteout, err);
	if (rc == 0)
		rc = apply_all(m, order, apply_entry, err);
	return rc < 0 ? rc : settle_promises(m, err);
}

int ck_merge_init(struct ck_merge *m, const struct ck_index *const *layers, size_t n_layers,
		  enum ck_whiteouts whiteouts, struct ck_err *err)
{
	size_t n = 0;
	uint32_t root;

	*m = (struct ck_merge){ .layers = layers, .whiteouts = whiteouts, .steps = STEPS };
	for (size_t i = 0; i < n_layers; i++)
		n += layers[i]->n_entries;
	int rc = ck_names_init(&m->names, n, err);
	if (rc < 0)
		return rc;
	m->cap_drafts = n + 64;
	m->drafts = calloc(m->cap_drafts, sizeof *m->drafts);
	if (!m->drafts)
		return ck_nomem(err, "merging the layers' trees");
	m->n_drafts = 1; /* 0 is none */
	return ck_merge_imply_dir(m, 0, &root, err);
}

void ck_merge_free(struct ck_merge *m)
{
	ck_names_free(&m->names);
	free(m->drafts);
}
