#include "fs/erofs/metadata.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "fs/erofs/chunks.h"
#include "fs/erofs/dirs.h"
#include "fs/erofs/format.h"
#include "fs/erofs/xattrs.h"

/* A million files take some 120 MB. */
#define BYTES_MAX ((uint64_t)1 << 30)

struct patch {
	uint64_t off; /* of the device */
	uint64_t file_off, len;
	ck_ino ino;
};

struct ck_erofs {
	uint8_t *bytes;
	size_t nbytes;
	struct patch *patches; /* ascending by OFF */
	size_t n_patches, cap_patches;
	uint64_t patches_len;
};

/* What a build goes by. */
struct build {
	const struct ck_tree *t;
	const struct ck_index *const *index;
	size_t n_layers;
	struct ck_erofs *x;
	uint32_t *nids;	 /* of nodes 1 .. */
	uint64_t inodes; /* bytes in front of the inodes */
	uint64_t data;	 /* bytes in front of the blocks of directories and symlinks */
	size_t patch;	 /* written so far */
};

/* What a node comes to in the image. */
struct shape {
	const struct ck_entry *e;
	const struct ck_index *index;
	uint32_t mode;
	uint64_t size;
	size_t xattrs;	    /* bytes */
	unsigned layout;    /* EROFS_PLAIN, _INLINE, _CHUNKS */
	uint64_t tail;	    /* bytes behind inode and attributes */
	uint64_t in_blocks; /* bytes in blocks of its own */
	struct ck_chunks chunks;
};

static int path_err(const struct build *b, ck_ino ino, int rc, struct ck_err *err)
{
	char path[256];

	ck_tree_path(b->t, ino, path, sizeof path);
	return ck_wrap(err, "%s", path), rc;
}

static int shape_of(const struct build *b, ck_ino ino, struct shape *out, struct ck_err *err)
{
	const struct ck_node *n = &b->t->nodes[ino];
	struct shape s = { .e = n->entry, .mode = S_IFDIR | 0755 };

	if (s.e) {
		s.index = b->index[n->layer];
		s.mode = S_ISLNK(s.e->mode) ? S_IFLNK | 0777 : s.e->mode;
	}
	int rc = ck_xattrs_len(&s.xattrs, s.index, s.e, err);
	if (rc < 0)
		return path_err(b, ino, rc, err);
	if (S_ISREG(s.mode)) {
		s.size = s.e->size;
		s.layout = EROFS_CHUNKS;
		ck_chunks_plan(&s.chunks, s.index, s.e);
		/* The table of chunks begins at a multiple of 8. */
		s.tail = s.xattrs % 8 + s.chunks.n * EROFS_CHUNK_LEN;
	} else if (S_ISDIR(s.mode) || S_ISLNK(s.mode)) {
		s.size = S_ISDIR(s.mode) ? ck_dirs_len(b->t, ino) : s.e->link.len;
		bool fits = EROFS_INODE_LEN + s.xattrs + s.size <= EROFS_BLOCK;
		s.layout = fits ? EROFS_INLINE : EROFS_PLAIN;
		s.tail = fits ? s.size : 0;
		s.in_blocks = fits ? 0 : ck_round_up(s.size, EROFS_BLOCK);
	}
	*out = s;
	return 0;
}

static int add_patch(struct ck_erofs *x, ck_ino ino, uint64_t file_off, uint64_t len,
		     struct ck_err *err)
{
	if (x->n_patches == x->cap_patches) {
		size_t cap = 2 * x->cap_patches + 64;
		struct patch *p = reallocarray(x->patches, cap, sizeof *p);
		if (!p)
			return ck_nomem(err, "making an EROFS image");
		x->patches = p;
		x->cap_patches = cap;
	}
	x->patches[x->n_patches++] = (struct patch){ x->patches_len, file_off, len, ino };
	x->patches_len += ck_round_up(len, EROFS_BLOCK);
	return 0;
}

static int plan_patches(struct ck_erofs *x, ck_ino ino, const struct ck_chunks *c,
			struct ck_err *err)
{
	uint32_t extent = 0;
	uint64_t tar_off, len = ck_chunks_len(c);

	for (uint64_t i = 0; i < c->n; i++) {
		if (ck_chunks_at(c, i, &extent, &tar_off) != CK_CHUNK_PATCH)
			continue;
		uint64_t left = c->file->size - i * len;
		int rc = add_patch(x, ino, i * len, left < len ? left : len, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Finds a place for every inode, and the image's length. What is inline may not pass into
 * another block. */
static int plan(struct build *b, struct ck_err *err)
{
	uint64_t pos = b->inodes, in_blocks = 0;

	for (ck_ino ino = 1; ino <= b->t->n_nodes; ino++) {
		struct shape s;
		int rc = shape_of(b, ino, &s, err);
		if (rc == 0 && s.layout == EROFS_CHUNKS)
			rc = plan_patches(b->x, ino, &s.chunks, err);
		if (rc < 0)
			return rc;
		uint64_t len = EROFS_INODE_LEN + s.xattrs + s.tail;
		pos = ck_round_up(pos, EROFS_NID_UNIT);
		if (s.layout == EROFS_INLINE && pos % EROFS_BLOCK + len > EROFS_BLOCK)
			pos = ck_round_up(pos, EROFS_BLOCK);
		b->nids[ino] = (uint32_t)(pos >> EROFS_NID_BITS);
		pos += len;
		in_blocks += s.in_blocks;
		if (pos + in_blocks > BYTES_MAX)
			return ck_fail(err, -EFBIG, "the tree is too large for an EROFS image");
	}
	b->data = ck_round_up(pos, EROFS_BLOCK);
	b->x->nbytes = (size_t)(b->data + in_blocks);
	return 0;
}

static void write_chunks(struct build *b, uint8_t *p, const struct shape *s, uint32_t layer)
{
	const struct ck_erofs *x = b->x;
	uint32_t extent = 0;
	uint64_t off;

	for (uint64_t i = 0; i < s->chunks.n; i++, p += EROFS_CHUNK_LEN) {
		switch (ck_chunks_at(&s->chunks, i, &extent, &off)) {
		case CK_CHUNK_HOLE:
			ck_put32(p + CHUNK_BLOCK, EROFS_HOLE);
			break;
		case CK_CHUNK_TAR:
			ck_put16(p + CHUNK_DEVICE, (uint16_t)(layer + 1));
			ck_put32(p + CHUNK_BLOCK, (uint32_t)(off >> EROFS_BLOCK_BITS));
			break;
		case CK_CHUNK_PATCH:
			off = x->patches[b->patch++].off;
			ck_put16(p + CHUNK_DEVICE, (uint16_t)(b->n_layers + 1));
			ck_put32(p + CHUNK_BLOCK, (uint32_t)(off >> EROFS_BLOCK_BITS));
			break;
		}
	}
}

/* Linux's own form of a device number: 12 bits of major, 20 of minor. */
static uint32_t rdev_of(const struct ck_entry *e)
{
	uint32_t major = e->rdev_major & 0xfff, minor = e->rdev_minor & 0xfffff;

	return (minor & 0xff) | major << 8 | (minor & ~0xffU) << 12;
}

static void write_attributes(uint8_t *p, const struct shape *s, const struct ck_node *n, ck_ino ino)
{
	ck_put16(p + IN_FORMAT, (uint16_t)(EROFS_EXTENDED | s->layout));
	ck_put16(p + IN_XATTRS, ck_xattrs_count(s->xattrs));
	ck_put16(p + IN_MODE, (uint16_t)s->mode);
	ck_put64(p + IN_SIZE, s->size);
	ck_put32(p + IN_INO, ino);
	ck_put32(p + IN_NLINK, n->nlink);
	if (!s->e)
		return;
	ck_put32(p + IN_UID, s->e->uid);
	ck_put32(p + IN_GID, s->e->gid);
	ck_put64(p + IN_MTIME, (uint64_t)s->e->mtime_s);
	ck_put32(p + IN_MTIME_NS, s->e->mtime_ns);
	if (S_ISCHR(s->mode) || S_ISBLK(s->mode))
		ck_put32(p + IN_DATA, rdev_of(s->e));
}

static void write_node(struct build *b, ck_ino ino, const struct shape *s, uint64_t *data)
{
	uint8_t *image = b->x->bytes, *p = image + ((size_t)b->nids[ino] << EROFS_NID_BITS);
	uint8_t *tail = p + EROFS_INODE_LEN + s->xattrs;

	write_attributes(p, s, &b->t->nodes[ino], ino);
	if (s->xattrs)
		ck_xattrs_write(p + EROFS_INODE_LEN, s->index, s->e);
	if (s->layout == EROFS_CHUNKS) {
		ck_put32(p + IN_DATA, EROFS_CHUNK_INDEXES | s->chunks.bits);
		write_chunks(b, tail + s->xattrs % 8, s, b->t->nodes[ino].layer);
		return;
	}
	if (s->in_blocks) {
		tail = image + *data;
		ck_put32(p + IN_DATA, (uint32_t)(*data >> EROFS_BLOCK_BITS));
		*data += s->in_blocks;
	}
	if (S_ISDIR(s->mode))
		ck_dirs_write(tail, b->t, ino, b->nids);
	else if (S_ISLNK(s->mode))
		memcpy(tail, ck_index_bytes(s->index, s->e->link), (size_t)s->size);
}

static void write_device(struct build *b, size_t idx, uint64_t len)
{
	uint8_t *slot = b->x->bytes + EROFS_SUPER_OFF + EROFS_SUPER_LEN + idx * EROFS_DEVICE_LEN;

	ck_put32(slot + DEVICE_BLOCKS,
		 (uint32_t)(ck_round_up(len, EROFS_BLOCK) >> EROFS_BLOCK_BITS));
}

static void write_super(struct build *b, const uint64_t *tar_len)
{
	uint8_t *sb = b->x->bytes + EROFS_SUPER_OFF;
	size_t n = b->n_layers + (b->x->patches_len > 0);

	ck_put32(sb + SB_MAGIC, EROFS_MAGIC);
	ck_put32(sb + SB_COMPAT, EROFS_COMPAT_MTIME);
	sb[SB_BLOCK_BITS] = EROFS_BLOCK_BITS;
	ck_put16(sb + SB_ROOT_NID, (uint16_t)b->nids[1]);
	ck_put64(sb + SB_INOS, b->t->n_nodes);
	ck_put32(sb + SB_BLOCKS, (uint32_t)(b->x->nbytes >> EROFS_BLOCK_BITS));
	ck_put32(sb + SB_INCOMPAT, EROFS_INCOMPAT_CHUNKED | (n ? EROFS_INCOMPAT_DEVICES : 0));
	ck_put16(sb + SB_N_DEVICES, (uint16_t)n);
	ck_put16(sb + SB_DEVICES_SLOT, (EROFS_SUPER_OFF + EROFS_SUPER_LEN) / EROFS_DEVICE_LEN);
	for (size_t i = 0; i < b->n_layers; i++)
		write_device(b, i, tar_len[i]);
	if (b->x->patches_len)
		write_device(b, b->n_layers, b->x->patches_len);
}

static int check_devices(const uint64_t *tar_len, size_t n_layers, struct ck_err *err)
{
	/* The root must lie within reach of its 16 bits, and the devices come before it. */
	enum { DEVICES_MAX = (1 << 14) - 16 };

	if (n_layers >= DEVICES_MAX)
		return ck_fail(err, -ENOTSUP, "EROFS cannot have %zu layers", n_layers);
	for (size_t i = 0; i < n_layers; i++)
		if (tar_len[i] >> EROFS_BLOCK_BITS >= EROFS_HOLE)
			return ck_fail(err, -ENOTSUP, "layer %zu is too large for EROFS", i);
	return 0;
}

static int build(struct build *b, const uint64_t *tar_len, struct ck_err *err)
{
	struct ck_erofs *x = b->x;
	struct shape s;
	int rc = check_devices(tar_len, b->n_layers, err);

	if (rc == 0)
		rc = plan(b, err);
	if (rc == 0 && x->patches_len >> EROFS_BLOCK_BITS >= EROFS_HOLE)
		rc = ck_fail(err, -ENOTSUP, "EROFS cannot map its sparse files");
	if (rc < 0)
		return rc;
	x->bytes = calloc(1, x->nbytes);
	if (!x->bytes)
		return ck_nomem(err, "making an EROFS image");
	write_super(b, tar_len);
	uint64_t data = b->data;
	for (ck_ino ino = 1; rc == 0 && ino <= b->t->n_nodes; ino++) {
		rc = shape_of(b, ino, &s, err);
		if (rc == 0)
			write_node(b, ino, &s, &data);
	}
	return rc;
}

int ck_erofs_build(struct ck_erofs **out, const struct ck_tree *t,
		   const struct ck_index *const *index, const uint64_t *tar_len, size_t n_layers,
		   struct ck_err *err)
{
	CK_AUTO(ck_erofs_closep) struct ck_erofs *x = calloc(1, sizeof *x);
	struct build b = { .t = t, .index = index, .n_layers = n_layers, .x = x };

	b.nids = calloc(t->n_nodes + 1, sizeof *b.nids);
	b.inodes = ck_round_up(
	    EROFS_SUPER_OFF + EROFS_SUPER_LEN + (n_layers + 1) * EROFS_DEVICE_LEN, EROFS_BLOCK);
	int rc = x && b.nids ? build(&b, tar_len, err) : ck_nomem(err, "making an EROFS image");
	free(b.nids);
	if (rc == 0)
		*out = ck_take(x);
	return rc;
}

void ck_erofs_close(struct ck_erofs *x)
{
	if (!x)
		return;
	free(x->bytes);
	free(x->patches);
	free(x);
}

const void *ck_erofs_bytes(const struct ck_erofs *x, size_t *nbytes)
{
	*nbytes = x->nbytes;
	return x->bytes;
}

uint64_t ck_erofs_patches_len(const struct ck_erofs *x)
{
	return x->patches_len;
}

bool ck_erofs_patch_at(const struct ck_erofs *x, uint64_t off, ck_ino *ino, uint64_t *file_off,
		       uint64_t *len)
{
	size_t lo = 0, hi = x->n_patches; /* the first that begins behind OFF */

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (x->patches[mid].off <= off)
			lo = mid + 1;
		else
			hi = mid;
	}
	const struct patch *p = lo ? &x->patches[lo - 1] : NULL;
	if (p && off - p->off < p->len) {
		*ino = p->ino;
		*file_off = p->file_off + (off - p->off);
		*len = p->len - (off - p->off);
		return true;
	}
	*len = (lo < x->n_patches ? x->patches[lo].off : x->patches_len) - off;
	return false;
}
