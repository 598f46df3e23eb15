#include "fs/fuse/catalog.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "base/ramfile.h"

/* Of the layers view. */
enum { ID_TOP = 1, ID_MANIFEST, ID_CONFIG, ID_FIRST_LAYER };
enum { TOP_DOCS = 2 }; /* what the top directory lists before the layers' pairs */
/* Of the devices view. */
enum { ID_META = 2, ID_PATCH, ID_FIRST_TAR };

static const char *const doc_name[TOP_DOCS] = { "manifest.json", "config.json" };

static void count_tree(struct ck_catalog *c, const struct ck_tree *t)
{
	c->n_nodes += t->n_nodes;
	for (size_t i = 1; i <= t->n_nodes; i++) {
		const struct ck_entry *e = t->nodes[i].entry;
		if (e && S_ISREG(e->mode) && e->size <= INT64_MAX - c->total_bytes)
			c->total_bytes += e->size;
	}
}

static bool index_has_acl(const struct ck_index *x)
{
	static const char prefix[] = "system.posix_acl_";

	for (size_t i = 0; i < x->n_xattrs; i++)
		if (strncmp(ck_index_bytes(x, x->xattrs[i].name), prefix, sizeof prefix - 1) == 0)
			return true;
	return false;
}

static int open_layers_view(struct ck_catalog *c, struct ck_err *err)
{
	c->trees = calloc(c->n_layers + 1, sizeof(struct ck_tree *));
	c->base = calloc(c->n_layers + 1, sizeof *c->base);
	if (!c->trees || !c->base)
		return ck_nomem(err, "making the view of the layers");
	c->base[0] = ID_FIRST_LAYER;
	c->n_nodes = ID_FIRST_LAYER - 1;
	c->total_bytes = c->stack->image->manifest_len + c->stack->image->config_len;
	for (uint32_t i = 0; i < c->n_layers; i++) {
		int rc =
		    ck_tree_build(&c->trees[i], &c->stack->index[i], 1, CK_WHITEOUTS_SHOW, err);
		if (rc < 0) /* it says "layer 0": there is one */
			return ck_wrap(err, "the view of layer %" PRIu32, i);
		c->base[i + 1] = c->base[i] + 1 + c->trees[i]->n_nodes;
		c->total_bytes += ck_layer_len(c->stack->layers[i]);
		c->n_nodes++;
		count_tree(c, c->trees[i]);
	}
	return 0;
}

/* The image lies where the kernel reads it by itself: it asks us for layers alone, and waits for
 * none of them to list a directory. */
static int write_image(struct ck_catalog *c, struct ck_err *err)
{
	size_t nbytes = ck_erofs_len(c->erofs);
	void *bytes;
	int rc = ck_ramfile_open(&c->image, &bytes, nbytes, err);

	if (rc < 0)
		return rc;
	snprintf(c->image_path, sizeof c->image_path, "/proc/self/fd/%d", c->image);
	rc = ck_erofs_write(c->erofs, bytes, err);
	(void)munmap(bytes, nbytes);
	return rc;
}

static int open_devices_view(struct ck_catalog *c, struct ck_err *err)
{
	uint64_t *tar_len = calloc(c->n_layers + 1, sizeof *tar_len);

	if (!tar_len)
		return ck_nomem(err, "making the EROFS image");
	for (uint32_t i = 0; i < c->n_layers; i++)
		tar_len[i] = ck_layer_len(c->stack->layers[i]);
	int rc =
	    ck_erofs_plan(&c->erofs, c->stack->tree, c->stack->index, tar_len, c->n_layers, err);
	if (rc == 0)
		rc = write_image(c, err);
	free(tar_len);
	return rc;
}

int ck_catalog_open(struct ck_catalog *c, struct ck_stack *stack, enum ck_view view,
		    struct ck_err *err)
{
	*c = (struct ck_catalog){ .stack = stack,
				  .view = view,
				  .n_layers = (uint32_t)stack->image->n_layers };
	for (uint32_t i = 0; i < c->n_layers; i++) {
		if (!stack->layers[i])
			return ck_fail(err, -EINVAL, "layer %" PRIu32 " is not open", i);
		c->has_acl = c->has_acl || index_has_acl(stack->index[i]);
	}
	if (view == CK_VIEW_LAYERS)
		return open_layers_view(c, err);
	if (!stack->tree)
		return ck_fail(err, -EINVAL, "the layers are not merged");
	count_tree(c, stack->tree);
	return view == CK_VIEW_DEVICES ? open_devices_view(c, err) : 0;
}

void ck_catalog_close(struct ck_catalog *c)
{
	for (uint32_t i = 0; c->trees && i < c->n_layers; i++)
		ck_tree_free(c->trees[i]);
	free(c->trees);
	free(c->base);
	ck_erofs_close(c->erofs);
	if (*c->image_path)
		ck_closep(&c->image);
	*c = (struct ck_catalog){ 0 };
}

static bool node_item(const struct ck_tree *t, uint64_t ino, struct ck_item *out)
{
	if (ino == 0 || ino > t->n_nodes)
		return false;
	out->kind = CK_ITEM_NODE;
	out->tree = t;
	out->ino = (ck_ino)ino;
	return true;
}

static bool doc_item(const void *doc, size_t len, struct ck_item *out)
{
	out->kind = CK_ITEM_DOC;
	out->doc = doc;
	out->len = len;
	return true;
}

/* The layer in whose range ID lies. */
static uint32_t layer_of(const struct ck_catalog *c, uint64_t id)
{
	uint32_t lo = 0, hi = c->n_layers - 1;

	while (lo < hi) {
		uint32_t mid = hi - (hi - lo) / 2;
		if (c->base[mid] <= id)
			lo = mid;
		else
			hi = mid - 1;
	}
	return lo;
}

static bool tar_item(const struct ck_catalog *c, uint32_t layer, struct ck_item *out)
{
	out->kind = CK_ITEM_TAR;
	out->layer = layer;
	out->len = ck_layer_len(c->stack->layers[layer]);
	return true;
}

static bool device_item(const struct ck_catalog *c, uint64_t id, struct ck_item *out)
{
	if (id == ID_META) {
		out->kind = CK_ITEM_LINK;
		out->link = c->image_path;
		out->len = strlen(c->image_path);
		return true;
	}
	if (id == ID_PATCH) {
		out->kind = CK_ITEM_PATCH;
		out->len = ck_erofs_patch_len(c->erofs);
		return true;
	}
	return id - ID_FIRST_TAR < c->n_layers && tar_item(c, (uint32_t)(id - ID_FIRST_TAR), out);
}

bool ck_catalog_item(const struct ck_catalog *c, uint64_t id, struct ck_item *out)
{
	const struct ck_image *image = c->stack->image;

	*out = (struct ck_item){ .id = id };
	if (c->view == CK_VIEW_ROOTFS) {
		if (!node_item(c->stack->tree, id, out))
			return false;
		out->layer = c->stack->tree->nodes[id].layer;
		return true;
	}
	if (id == ID_TOP) {
		out->kind = CK_ITEM_TOP;
		return true;
	}
	if (c->view == CK_VIEW_DEVICES)
		return device_item(c, id, out);
	if (id == ID_MANIFEST)
		return doc_item(image->manifest, image->manifest_len, out);
	if (id == ID_CONFIG)
		return doc_item(image->config, image->config_len, out);
	if (id < ID_FIRST_LAYER || id >= c->base[c->n_layers])
		return false;
	out->layer = layer_of(c, id);
	if (id > c->base[out->layer])
		return node_item(c->trees[out->layer], id - c->base[out->layer], out);
	return tar_item(c, out->layer, out);
}

const struct ck_entry *ck_item_entry(const struct ck_item *item)
{
	return item->kind == CK_ITEM_NODE ? item->tree->nodes[item->ino].entry : NULL;
}

const struct ck_index *ck_catalog_index(const struct ck_catalog *c, const struct ck_item *item)
{
	return c->stack->index[item->layer];
}

uint64_t ck_item_len(const struct ck_item *item)
{
	const struct ck_entry *e = ck_item_entry(item);

	if (item->kind != CK_ITEM_NODE)
		return item->kind == CK_ITEM_LINK ? 0 : item->len;
	return e && S_ISREG(e->mode) ? e->size : 0;
}

void ck_catalog_stat(const struct ck_catalog *c, const struct ck_item *item, struct stat *out)
{
	if (item->kind == CK_ITEM_NODE) {
		ck_stack_stat(item->tree, item->ino, out);
		out->st_ino = item->id;
		return;
	}
	bool devices = c->view == CK_VIEW_DEVICES;
	*out = (struct stat){ .st_ino = item->id,
			      .st_nlink = 1,
			      .st_uid = geteuid(),
			      .st_gid = getegid(),
			      .st_blksize = 4096 };
	if (item->kind == CK_ITEM_TOP) {
		out->st_mode = S_IFDIR | (devices ? 0500 : 0555);
		out->st_nlink = 2 + c->n_layers;
		out->st_size = 4096;
		return;
	}
	/* A tar stream has the files that only their owners may read. */
	out->st_mode = (item->kind == CK_ITEM_LINK ? S_IFLNK : S_IFREG) |
		       (devices || item->kind == CK_ITEM_TAR ? 0400 : 0444);
	out->st_size = (off_t)item->len;
	out->st_blocks = (blkcnt_t)(item->len / 512 + (item->len % 512 != 0));
}

static uint64_t device_child(const struct ck_catalog *c, uint64_t idx, char name[CK_NAME_CAP])
{
	if (idx == 0)
		return snprintf(name, CK_NAME_CAP, CK_DEVICES_META), ID_META;
	if (idx <= c->n_layers) {
		snprintf(name, CK_NAME_CAP, CK_DEVICES_TAR, (uint32_t)idx - 1);
		return ID_FIRST_TAR + idx - 1;
	}
	if (idx > c->n_layers + 1 || ck_erofs_patch_len(c->erofs) == 0)
		return 0;
	return snprintf(name, CK_NAME_CAP, CK_DEVICES_PATCH), ID_PATCH;
}

/* The number of NAME in the top directory of the devices view, or 0. */
static uint64_t lookup_device(const struct ck_catalog *c, const char *name, size_t len)
{
	char is[CK_NAME_CAP];
	uint64_t id;

	for (uint64_t i = 0; (id = device_child(c, i, is)); i++)
		if (strlen(is) == len && memcmp(is, name, len) == 0)
			return id;
	return 0;
}

/* The number of "3.tar" or "3" in the top directory, or 0. */
static uint64_t lookup_layer(const struct ck_catalog *c, const char *name, size_t len)
{
	uint64_t layer = 0;
	size_t n = 0;

	while (n < len && n < 9 && name[n] >= '0' && name[n] <= '9')
		layer = layer * 10 + (uint64_t)(name[n++] - '0');
	if (n == 0 || layer >= c->n_layers || (name[0] == '0' && n > 1))
		return 0;
	if (n == len)
		return c->base[layer] + 1;
	return len - n == 4 && memcmp(name + n, ".tar", 4) == 0 ? c->base[layer] : 0;
}

uint64_t ck_catalog_lookup(const struct ck_catalog *c, const struct ck_item *dir, const char *name,
			   size_t len)
{
	if (dir->kind == CK_ITEM_NODE) {
		ck_ino ino = ck_tree_lookup(dir->tree, dir->ino, name, len);
		return ino ? dir->id - dir->ino + ino : 0;
	}
	if (dir->kind != CK_ITEM_TOP)
		return 0;
	if (c->view == CK_VIEW_DEVICES)
		return lookup_device(c, name, len);
	for (uint64_t i = 0; i < TOP_DOCS; i++)
		if (strlen(doc_name[i]) == len && memcmp(doc_name[i], name, len) == 0)
			return ID_MANIFEST + i;
	return lookup_layer(c, name, len);
}

static uint64_t top_child(const struct ck_catalog *c, uint64_t idx, char name[CK_NAME_CAP])
{
	if (idx < TOP_DOCS) {
		snprintf(name, CK_NAME_CAP, "%s", doc_name[idx]);
		return ID_MANIFEST + idx;
	}
	uint64_t layer = (idx - TOP_DOCS) / 2, is_dir = (idx - TOP_DOCS) % 2;
	if (layer >= c->n_layers)
		return 0;
	snprintf(name, CK_NAME_CAP, is_dir ? "%" PRIu64 : "%" PRIu64 ".tar", layer);
	return c->base[layer] + is_dir;
}

uint64_t ck_catalog_child(const struct ck_catalog *c, const struct ck_item *dir, uint64_t idx,
			  char name[CK_NAME_CAP])
{
	if (dir->kind == CK_ITEM_TOP)
		return c->view == CK_VIEW_DEVICES ? device_child(c, idx, name)
						  : top_child(c, idx, name);
	if (dir->kind != CK_ITEM_NODE)
		return 0;
	const struct ck_node *n = &dir->tree->nodes[dir->ino];
	if (idx >= n->n_children)
		return 0;
	const struct ck_dirent *d = &dir->tree->dirents[n->first_child + idx];
	memcpy(name, d->name, d->name_len); /* at most 255: the tree refuses others */
	name[d->name_len] = 0;
	return dir->id - dir->ino + d->ino;
}

uint64_t ck_catalog_parent(const struct ck_catalog *c, const struct ck_item *dir)
{
	if (dir->kind != CK_ITEM_NODE || (c->view == CK_VIEW_LAYERS && dir->ino == 1))
		return ID_TOP;
	return dir->id - dir->ino + dir->tree->nodes[dir->ino].parent;
}

static int read_patch(const struct ck_catalog *c, uint8_t *to, size_t nbytes, uint64_t off,
		      struct ck_err *err)
{
	const struct ck_tree *t = c->stack->tree;
	struct ck_erofs_patch at;
	int rc = 0;

	for (size_t n; rc == 0 && nbytes; to += n, off += n, nbytes -= n) {
		if (!ck_erofs_patch_find(c->erofs, off, &at))
			return ck_fail(err, -EINVAL, "a read behind the end of EROFS's patches");
		n = at.nbytes < nbytes ? (size_t)at.nbytes : nbytes;
		if (at.ino)
			rc = ck_stack_read(c->stack, t->nodes[at.ino].layer, t->nodes[at.ino].entry,
					   to, n, at.file_off, err);
		else
			memset(to, 0, n);
	}
	return rc;
}

int ck_catalog_read(const struct ck_catalog *c, const struct ck_item *item, void *buf,
		    size_t nbytes, uint64_t off, struct ck_err *err)
{
	if (item->kind == CK_ITEM_DOC)
		memcpy(buf, (const char *)item->doc + off, nbytes);
	else if (item->kind == CK_ITEM_PATCH)
		return read_patch(c, buf, nbytes, off, err);
	else if (item->kind == CK_ITEM_TAR)
		return ck_stack_pread(c->stack, item->layer, buf, nbytes, off, err);
	else
		return ck_stack_read(c->stack, item->layer, ck_item_entry(item), buf, nbytes, off,
				     err);
	return 0;
}

void ck_catalog_path(const struct ck_catalog *c, const struct ck_item *item, char *out, size_t cap)
{
	int n = 0;

	if (item->kind == CK_ITEM_TAR)
		snprintf(out, cap, "/%" PRIu32 ".tar", item->layer);
	else if (item->kind == CK_ITEM_DOC)
		snprintf(out, cap, "/%s", doc_name[item->id - ID_MANIFEST]);
	else if (item->kind != CK_ITEM_NODE)
		snprintf(out, cap, "/");
	else if (c->view == CK_VIEW_LAYERS)
		n = snprintf(out, cap, "/%" PRIu32, item->layer);
	if (item->kind == CK_ITEM_NODE && n >= 0 && (size_t)n < cap)
		ck_tree_path(item->tree, item->ino, out + n, cap - (size_t)n);
}
