/*
 * merge - layers applied one on the other, as drafts of nodes. Private to the tree.
 *
 * A draft is a node that may yet vanish: when a name or a directory goes away only its
 * name is cut, and ck_merge_number (tree_number.c) later leaves out what the root does
 * not reach. A directory's draft always has a higher number than its parent's.
 *
 * A hard link whose target is not there yet names a *promise*: a draft without a type,
 * which the target's entry fills. A promise that turns out to be a hard link itself
 * becomes an alias of what that one names.
 */
#ifndef CK_TREE_MERGE_H
#define CK_TREE_MERGE_H

#include <string.h>
#include <sys/stat.h>

#include "fs/tree.h"
#include "fs/tree_names.h"

#define CK_NO_ENTRY UINT32_MAX
#define CK_WH	    ".wh."

struct ck_draft {
	uint32_t layer;
	uint32_t entry; /* in that layer's index, or CK_NO_ENTRY: an implied directory */
	uint32_t name;	/* directories and promises: the one name it has */
	uint32_t alias; /* promises: what it became; 0: none */
	uint32_t type;	/* S_IFMT bits; 0: a promise not kept */
};

struct ck_merge {
	const struct ck_index *const *layers;
	enum ck_whiteouts whiteouts;
	struct ck_names names;
	struct ck_draft *drafts; /* from 1 */
	size_t n_drafts, cap_drafts;

	/* The layer that is being applied. */
	const struct ck_index *x;
	uint32_t layer;
	size_t first_draft; /* of this layer */
	uint64_t steps;	    /* through symlinks, still allowed */

	/* The last parent that was walked to; NULL: none. */
	const char *near_path;
	size_t near_len;
	uint32_t near_dir;
};

/* Errors: those of ck_tree_build. Whatever comes, ck_merge_free is the caller's. */
CK_MUST_CHECK int ck_merge_init(struct ck_merge *m, const struct ck_index *const *layers,
				size_t n_layers, enum ck_whiteouts whiteouts, struct ck_err *err);
CK_MUST_CHECK int ck_merge_layer(struct ck_merge *m, uint32_t layer, struct ck_err *err);
void ck_merge_free(struct ck_merge *m);

/* Adds D as a draft of the present layer. Errors: -EFBIG, -ENOMEM. */
CK_MUST_CHECK int ck_merge_new_draft(struct ck_merge *m, struct ck_draft d, uint32_t *out,
				     struct ck_err *err);
/* Points NAME at DRAFT; what it named before is cut off with all that is below. */
void ck_merge_point(struct ck_merge *m, uint32_t name, uint32_t draft);
/* Points NAME at a new directory that no entry states. */
CK_MUST_CHECK int ck_merge_imply_dir(struct ck_merge *m, uint32_t name, uint32_t *out,
				     struct ck_err *err);

/* The name at the cleaned path P, its parents made; it may name nothing yet.
 * Errors: -EBADMSG (parents that cannot be), -EFBIG, -ENOMEM. */
CK_MUST_CHECK int ck_merge_name_at(struct ck_merge *m, struct ck_span p, uint32_t *out,
				   struct ck_err *err);
/*
 * The directory PATH[0..LEN) in the layers below. Where they have none, or this layer
 * puts a directory in place of a symlink on the way, -ENOENT or -ENOTDIR without a
 * message. Errors besides: -EBADMSG (symlink loop), -EFBIG.
 */
CK_MUST_CHECK int ck_merge_look(struct ck_merge *m, const char *path, size_t len, uint32_t *out,
				struct ck_err *err);

/* What a name stands for, aliases resolved; 0: nothing. */
uint32_t ck_merge_draft_of(struct ck_merge *m, uint32_t name);

/* Numbers what the root reaches, breadth first, each directory's names sorted.
 * *OUT is the caller's to ck_tree_free. Errors: -ENOMEM. */
CK_MUST_CHECK int ck_merge_number(struct ck_merge *m, struct ck_tree **out, struct ck_err *err);

/* The order of names in a directory: by bytes, the shorter first. */
static inline int ck_dirent_cmp(const struct ck_dirent *d, const char *name, size_t len)
{
	int c = memcmp(d->name, name, d->name_len < len ? d->name_len : len);

	return c ? c : (d->name_len > len) - (d->name_len < len);
}

static inline const char *ck_merge_bytes(const struct ck_merge *m, struct ck_span s)
{
	return ck_index_bytes(m->x, s);
}

static inline bool ck_merge_is_dir(const struct ck_merge *m, uint32_t draft)
{
	return draft && m->drafts[draft].type == S_IFDIR;
}

static inline bool ck_merge_is_promise(const struct ck_merge *m, uint32_t draft)
{
	return draft && m->drafts[draft].type == 0;
}

static inline bool ck_is_wh(const char *name, size_t len)
{
	return len >= sizeof CK_WH - 1 && memcmp(name, CK_WH, sizeof CK_WH - 1) == 0;
}

/* Where the last part of a path begins. */
static inline size_t ck_base_of(const char *path, size_t len)
{
	const char *slash = memrchr(path, '/', len);

	return slash ? (size_t)(slash - path) + 1 : 0;
}

/* The root's draft. */
static inline uint32_t ck_merge_root(const struct ck_merge *m)
{
	return m->names.all[0].draft;
}

#endif
