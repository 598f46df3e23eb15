#include "fs/erofs/metadata.h"

#include <string.h>
#include <sys/sysmacros.h>

#include "base/text.h"
#include "fs/erofs/dirs.h"
#include "fs/erofs/plan.h"
#include "fs/erofs/super.h"
#include "fs/erofs/xattrs.h"

struct ck_erofs {
	struct ck_plan plan; /* once it is written: the patches */
};

/* Where the next of each kind goes. */
struct writer {
	const struct ck_plan *plan;
	uint8_t *bytes;
	uint64_t block;	    /* of the image: the next of the data area */
	uint64_t patch_off; /* of the patch device */
};

/* As the kernel's new_encode_dev; a tree has no numbers of more bits. */
static uint32_t encode_dev(dev_t dev)
{
	return (minor(dev) & 0xff) | major(dev) << 8 | (minor(dev) & ~0xffu) << 12;
}

/* The word of an inode whose meaning depends on its kind. */
static uint32_t inode_word(const struct writer *w, const struct ck_shape *s)
{
	if (S_ISCHR(s->st.st_mode) || S_ISBLK(s->st.st_mode))
		return encode_dev(s->st.st_rdev);
	if (s->layout == EROFS_CHUNKS)
		return EROFS_CHUNK_INDEXES | (s->chunks.bits - EROFS_BLOCK_BITS);
	return s->n_blocks ? (uint32_t)w->block : 0;
}

static void put_inode(const struct writer *w, uint8_t *p, const struct ck_shape *s)
{
	uint32_t words =
	    s->xattr_len ? (s->xattr_len - EROFS_XATTR_HEAD_LEN) / EROFS_XATTR_ENTRY_LEN + 1 : 0;

	p = ck_put_le16(p, EROFS_INODE_EXTENDED | s->layout);
	p = ck_put_le16(p, (uint16_t)words);
	p = ck_put_le16(p, (uint16_t)s->st.st_mode);
	p = ck_put_le16(p, 0);
	p = ck_put_le64(p, (uint64_t)s->st.st_size);
	p = ck_put_le32(p, inode_word(w, s));
	p = ck_put_le32(p, (uint32_t)s->st.st_ino);
	p = ck_put_le32(p, s->st.st_uid);
	p = ck_put_le32(p, s->st.st_gid);
	p = ck_put_le64(p, (uint64_t)s->st.st_mtim.tv_sec);
	p = ck_put_le32(p, (uint32_t)s->st.st_mtim.tv_nsec);
	ck_put_le32(p, (uint32_t)s->st.st_nlink);
}

static void put_dir(struct writer *w, uint8_t *inode, ck_ino ino, const struct ck_shape *s)
{
	struct ck_dirblocks b;
	uint32_t left = s->n_blocks;

	ck_dirblocks_begin(&b, w->plan->tree, ino);
	while (ck_dirblocks_next(&b)) {
		uint8_t *to = left ? w->bytes + w->block * EROFS_BLOCK : inode + s->tail_off;
		ck_dirblocks_put(&b, to, w->plan->nid);
		w->block += left > 0;
		left -= left > 0;
	}
}

static void put_symlink(struct writer *w, uint8_t *inode, const struct ck_node *n,
			const struct ck_shape *s)
{
	uint8_t *to = s->n_blocks ? w->bytes + w->block * EROFS_BLOCK : inode + s->tail_off;

	memcpy(to, ck_index_bytes(w->plan->index[n->layer], n->entry->link), n->entry->link.len);
	w->block += s->n_blocks;
}

static void put_chunks(struct writer *w, uint8_t *inode, const struct ck_node *n,
		       const struct ck_shape *s)
{
	struct ck_chunks chunks = s->chunks;
	struct ck_chunk c;
	uint8_t *to = inode + s->tail_off;

	while (ck_chunks_next(&chunks, &c)) {
		uint32_t device = 0, block = EROFS_HOLE;
		if (c.kind == CK_CHUNK_TAR) {
			device = n->layer + 1;
			block = (uint32_t)(c.tar_off / EROFS_BLOCK);
		} else if (c.kind == CK_CHUNK_PATCH) {
			device = w->plan->n_devices;
			block = (uint32_t)(w->patch_off / EROFS_BLOCK);
			w->patch_off += ck_round_up(c.len, EROFS_BLOCK);
		}
		to = ck_put_le16(to, 0);
		to = ck_put_le16(to, (uint16_t)device);
		to = ck_put_le32(to, block);
	}
}

static int put_node(struct writer *w, ck_ino ino, struct ck_err *err)
{
	const struct ck_plan *p = w->plan;
	const struct ck_node *n = &p->tree->nodes[ino];
	uint8_t *inode = w->bytes + p->meta_off + (uint64_t)p->nid[ino] * EROFS_SLOT;
	struct ck_shape s;
	int rc = ck_plan_shape(p, ino, &s, err);

	if (rc < 0)
		return rc;
	put_inode(w, inode, &s);
	if (n->entry)
		ck_erofs_xattrs_put(inode + EROFS_INODE_LEN, p->index[n->layer], n->entry);
	if (S_ISDIR(s.st.st_mode))
		put_dir(w, inode, ino, &s);
	else if (S_ISLNK(s.st.st_mode))
		put_symlink(w, inode, n, &s);
	else if (s.layout == EROFS_CHUNKS)
		put_chunks(w, inode, n, &s);
	return 0;
}

int ck_erofs_plan(struct ck_erofs **out, const struct ck_tree *t,
		  const struct ck_index *const *index, const uint64_t *tar_len, size_t n_layers,
		  struct ck_err *err)
{
	CK_AUTO(ck_erofs_closep) struct ck_erofs *e = calloc(1, sizeof *e);

	if (!e)
		return ck_nomem(err, "planning an EROFS image");
	e->plan =
	    (struct ck_plan){ .tree = t, .index = index, .tar_len = tar_len, .n_layers = n_layers };
	int rc = ck_plan_make(&e->plan, err);
	if (rc == 0)
		*out = ck_take(e);
	return rc;
}

size_t ck_erofs_len(const struct ck_erofs *e)
{
	return e->plan.len;
}

int ck_erofs_write(struct ck_erofs *e, void *to, struct ck_err *err)
{
	struct ck_plan *p = &e->plan;
	struct writer w = { p, to, p->data_off / EROFS_BLOCK, 0 };

	for (size_t i = 1; i <= p->tree->n_nodes; i++) {
		int rc = put_node(&w, (ck_ino)i, err);
		if (rc < 0)
			return rc;
	}
	ck_erofs_super_put(to, p);
	free(p->nid);
	*p = (struct ck_plan){ .patch = p->patch };
	return 0;
}

void ck_erofs_close(struct ck_erofs *e)
{
	if (!e)
		return;
	ck_plan_free(&e->plan);
	free(e);
}

uint64_t ck_erofs_patch_len(const struct ck_erofs *e)
{
	return e->plan.patch.len;
}

bool ck_erofs_patch_find(const struct ck_erofs *e, uint64_t off, struct ck_erofs_patch *out)
{
	return ck_patch_find(&e->plan.patch, off, out);
}
