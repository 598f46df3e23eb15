#include "fs/erofs/plan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fs/erofs/dirs.h"
#include "fs/erofs/format.h"
#include "fs/erofs/xattrs.h"
#include "fs/stack.h"

static const struct ck_index *index_of(const struct ck_plan *p, const struct ck_node *n)
{
	return p->index[n->layer];
}

/* Where LEN bytes go of a directory or a symlink that has SIZE. */
static void shape_bytes(struct ck_shape *s, uint64_t size)
{
	uint64_t tail = size % EROFS_BLOCK;

	/* The kernel wants the tail within a block, and reads a symlink at once that lies
	 * in one with its inode. */
	bool symlink = S_ISLNK(s->st.st_mode);
	bool fits = tail && s->len + tail <= EROFS_BLOCK && !(symlink && size > tail);
	s->n_blocks = (uint32_t)(size / EROFS_BLOCK + (tail && !fits));
	if (!fits)
		return;
	s->layout = EROFS_INLINE;
	s->len += tail;
}

static void shape_file(struct ck_shape *s, const struct ck_plan *p, const struct ck_node *n)
{
	const struct ck_entry *e = n->entry;
	const struct ck_extent *x = index_of(p, n)->extents;

	ck_chunks_begin(&s->chunks, x ? x + e->first_extent : NULL, e->n_extents, e->size,
			p->tar_len[n->layer]);
	if (e->size == 0)
		return;
	s->layout = EROFS_CHUNKS;
	s->tail_off = ck_round_up(s->tail_off, EROFS_CHUNK_INDEX_LEN);
	s->len = s->tail_off + ck_chunks_count(&s->chunks) * EROFS_CHUNK_INDEX_LEN;
}

int ck_plan_shape(const struct ck_plan *p, ck_ino ino, struct ck_shape *out, struct ck_err *err)
{
	const struct ck_node *n = &p->tree->nodes[ino];
	int rc = 0;

	*out = (struct ck_shape){ .layout = EROFS_PLAIN };
	ck_stack_stat(p->tree, ino, &out->st);
	if (n->entry)
		rc = ck_erofs_xattrs_len(&out->xattr_len, index_of(p, n), n->entry, err);
	if (rc < 0)
		return rc;
	out->len = out->tail_off = EROFS_INODE_LEN + out->xattr_len;
	switch (out->st.st_mode & S_IFMT) {
	case S_IFDIR:
		out->st.st_size = (off_t)ck_dirblocks_len(p->tree, ino);
		shape_bytes(out, (uint64_t)out->st.st_size);
		return 0;
	case S_IFLNK:
		shape_bytes(out, (uint64_t)out->st.st_size);
		return 0;
	case S_IFREG:
		shape_file(out, p, n);
		return 0;
	default:
		return 0;
	}
}

/* Finds a place for the inode at or behind the area's end. */
static void place(struct ck_plan *p, ck_ino ino, const struct ck_shape *s)
{
	uint64_t at = ck_round_up(p->inodes_len, EROFS_SLOT);
	/* What must lie in one block: the inode itself, and an inline tail with it. */
	uint64_t whole = s->layout == EROFS_INLINE ? s->len : EROFS_INODE_LEN;

	if (at % EROFS_BLOCK + whole > EROFS_BLOCK)
		at = ck_round_up(at, EROFS_BLOCK);
	p->nid[ino] = (uint32_t)(at / EROFS_SLOT);
	p->inodes_len = at + s->len;
	p->n_blocks += s->n_blocks;
}

static int check_len(const struct ck_plan *p, struct ck_err *err)
{
	uint64_t len = p->inodes_len + p->n_blocks * EROFS_BLOCK;

	/* The runs of the patch device are kept in memory likewise. */
	if (len <= CK_EROFS_MAX_LEN && p->patch.n * sizeof *p->patch.runs <= CK_EROFS_MAX_LEN - len)
		return 0;
	return ck_fail(err, -EFBIG, "the metadata take more than %" PRIu64 " MiB",
		       CK_EROFS_MAX_LEN >> 20);
}

static int plan_patches(struct ck_plan *p, ck_ino ino, struct ck_chunks chunks, struct ck_err *err)
{
	struct ck_chunk c;
	int rc = 0;

	while (rc == 0 && ck_chunks_next(&chunks, &c)) {
		if (c.kind != CK_CHUNK_PATCH)
			continue;
		rc = ck_patch_add(&p->patch, ino, &c, err);
		if (rc == 0)
			rc = check_len(p, err);
	}
	return rc;
}

static int plan_node(struct ck_plan *p, ck_ino ino, struct ck_err *err)
{
	struct ck_shape s;
	int rc = ck_plan_shape(p, ino, &s, err);

	if (rc < 0)
		return rc;
	place(p, ino, &s);
	/* Before its chunks are gone through: one file can have more than may be. */
	rc = check_len(p, err);
	if (rc == 0 && s.layout == EROFS_CHUNKS)
		rc = plan_patches(p, ino, s.chunks, err);
	return rc;
}

static int plan_nodes(struct ck_plan *p, struct ck_err *err)
{
	char path[256];

	/* No inode is number 0, which readdir's callers take for no entry at all. The root
	 * comes first: the superblock has 16 bits for its number. */
	p->inodes_len = EROFS_INODE_LEN;
	for (size_t i = 1; i <= p->tree->n_nodes; i++) {
		int rc = plan_node(p, (ck_ino)i, err);
		if (rc < 0) {
			ck_tree_path(p->tree, (ck_ino)i, path, sizeof path);
			return ck_wrap(err, "%s does not fit in an EROFS image", path);
		}
	}
	return 0;
}

static int check_layers(const struct ck_plan *p, struct ck_err *err)
{
	/* One may be needed for the patches. */
	if (p->n_layers > EROFS_MAX_DEVICES - 1)
		return ck_fail(err, -ENOTSUP, "EROFS takes %d devices, and there are %zu layers",
			       EROFS_MAX_DEVICES, p->n_layers);
	for (size_t i = 0; i < p->n_layers; i++)
		if (p->tar_len[i] > EROFS_MAX_DEVICE)
			return ck_fail(err, -EFBIG,
				       "layer %zu is a tar of %" PRIu64
				       " bytes; a device of EROFS has at most %" PRIu64,
				       i, p->tar_len[i], EROFS_MAX_DEVICE);
	return 0;
}

int ck_plan_make(struct ck_plan *p, struct ck_err *err)
{
	int rc = check_layers(p, err);

	if (rc < 0)
		return rc;
	p->nid = calloc(p->tree->n_nodes + 1, sizeof *p->nid);
	if (!p->nid)
		return ck_nomem(err, "planning an EROFS image");
	rc = plan_nodes(p, err);
	if (rc < 0)
		return rc;
	p->n_devices = (uint32_t)p->n_layers + (p->patch.len > 0);
	p->meta_off = ck_round_up(EROFS_SUPER_OFF + EROFS_SUPER_LEN +
				      (uint64_t)p->n_devices * EROFS_DEVICE_LEN,
				  EROFS_BLOCK);
	p->data_off = p->meta_off + ck_round_up(p->inodes_len, EROFS_BLOCK);
	p->len = p->data_off + p->n_blocks * EROFS_BLOCK;
	return 0;
}

void ck_plan_free(struct ck_plan *p)
{
	free(p->nid);
	p->nid = NULL;
	ck_patch_free(&p->patch);
}
