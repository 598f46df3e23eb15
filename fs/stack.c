#include "fs/stack.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/log.h"
#include "base/pool.h"
#include "fs/layerspec.h"

/* AHEAD: units that wait to be read ahead; more than a few readers' would come too late. */
enum { AHEAD = 16 };

/* Of decompressed units, by default: this part of the memory, but no less and no more. */
enum { CACHE_PART = 32, CACHE_LEAST = 64 << 20, CACHE_MOST = 256 << 20 };

/* Where the progress of one layer lies within that of all. */
struct progress {
	ck_progress_fn *fn;
	void *ctx;
	uint64_t before, total; /* blob bytes */
};

static void on_layer_progress(void *ctx, uint64_t nbytes, uint64_t total)
{
	const struct progress *p = ctx;

	(void)total;
	p->fn(p->ctx, p->before + nbytes, p->total);
}

static int wrap_layer(struct ck_err *err, const struct ck_image *image, size_t idx)
{
	char name[CK_LAYER_NAME];

	ck_layer_name(name, image, idx);
	return ck_wrap(err, "%s", name);
}

/* What can be said without a key, a blob or a release. */
static int check_layer(const struct ck_image_layer *l, const struct ck_stack_opts *opts,
		       struct ck_err *err)
{
	int rc = ck_layer_check(l, err);

	return rc == 0 && opts->require_encrypted ? ck_layer_demand_encrypted(l, err) : rc;
}

/* *BLOB becomes the layer's. */
static int open_layer(struct ck_stack *s, size_t idx, const struct ck_stack_opts *opts,
		      struct ck_reader **blob, struct progress *progress, struct ck_err *err)
{
	const struct ck_image_layer *l = &s->image->layers[idx];
	CK_LAYERSPEC own = { 0 };

	int rc = ck_layerspec_make(&own, s->image, idx, opts->keys, err);
	if (rc < 0)
		return wrap_layer(err, s->image, idx);
	own.spec.full = opts->full;
	own.spec.wants = opts->wants ? &opts->wants[idx] : NULL;
	rc = ck_layer_open(&s->layers[idx], &own.spec, *blob, s->cache, opts->store,
			   progress->fn ? on_layer_progress : NULL, progress, err);
	if (rc < 0)
		return rc;
	*blob = NULL;
	ck_layer_readahead(s->layers[idx], s->pool);
	s->index[idx] = ck_layer_index(s->layers[idx]);
	progress->before += l->size;
	return 0;
}

static int open_layers(struct ck_stack *s, size_t only, const struct ck_stack_opts *opts,
		       struct ck_reader **blobs, struct ck_err *err)
{
	const struct ck_image *image = s->image;
	size_t first = only == SIZE_MAX ? 0 : only,
	       end = only == SIZE_MAX ? image->n_layers : only + 1;
	struct progress progress = { opts->progress, opts->progress_ctx, 0, 0 };

	/* All before any: a manifest that is refused should not cost a release, nor should a file
	 * that is missing; and what is far away comes for all at once. */
	for (size_t i = first; i < end; i++) {
		int rc = check_layer(&image->layers[i], opts, err);
		if (rc == 0)
			rc = ck_image_blob(image, i, &blobs[i], err);
		if (rc < 0)
			return wrap_layer(err, image, i);
		progress.total += image->layers[i].size;
	}
	for (size_t i = first; !opts->full && i < end; i++)
		ck_layer_announce(&image->layers[i], blobs[i]);
	for (size_t i = first; i < end; i++) {
		int rc = open_layer(s, i, opts, &blobs[i], &progress, err);
		if (rc < 0)
			return rc;
	}
	s->keys_ms = opts->keys ? ck_keyring_obtained_ms(opts->keys) : 0;
	s->n_released = opts->keys ? ck_keyring_n_released(opts->keys) : 0;
	return 0;
}

static int open_all(struct ck_stack *s, size_t only, const struct ck_stack_opts *opts,
		    struct ck_err *err)
{
	size_t n = s->image->n_layers;
	CK_AUTO(ck_freep) struct ck_reader **blobs = calloc(n ? n : 1, sizeof(struct ck_reader *));

	if (!blobs)
		return ck_nomem(err, "opening an image's layers");
	int rc = open_layers(s, only, opts, blobs, err);
	for (size_t i = 0; i < n; i++)
		ck_reader_close(blobs[i]);
	return rc;
}

static size_t default_cache(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
	uint64_t part = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page / CACHE_PART : 0;

	return part < CACHE_LEAST ? CACHE_LEAST : part > CACHE_MOST ? CACHE_MOST : (size_t)part;
}

/* Threads to read ahead on, where there is another CPU for them. A mount works without. */
static struct ck_pool *open_pool(void)
{
	struct ck_pool *pool = NULL;
	struct ck_err err;

	if (ck_pool_n_cpus() < 2)
		return NULL;
	if (ck_pool_open(&pool, 0, AHEAD, &err) < 0)
		ck_log(CK_LOG_WARNING, "nothing is read ahead: %s", err.msg);
	return pool;
}

int ck_stack_open(struct ck_stack **out, const struct ck_image *image, size_t only,
		  const struct ck_stack_opts *opts, struct ck_err *err)
{
	size_t n = image->n_layers;

	if (only != SIZE_MAX && only >= n)
		return ck_fail(err, -EINVAL,
			       "there is no layer %zu: the image has %zu, counted from 0", only, n);
	CK_AUTO(ck_stack_closep) struct ck_stack *s = calloc(1, sizeof *s);
	if (!s)
		return ck_nomem(err, "opening an image's layers");
	s->image = image;
	s->layers = calloc(n ? n : 1, sizeof(struct ck_layer *));
	s->index = calloc(n ? n : 1, sizeof(const struct ck_index *));
	if (!s->layers || !s->index)
		return ck_nomem(err, "opening an image's layers");
	int rc = ck_unitcache_open(&s->cache,
				   opts->cache_bytes ? opts->cache_bytes : default_cache(), err);
	if (rc == 0) {
		s->pool = open_pool();
		rc = open_all(s, only, opts, err);
	}
	if (rc == 0)
		*out = ck_take(s);
	return rc;
}

int ck_stack_merge(struct ck_stack *s, struct ck_err *err)
{
	ck_tree_free(ck_take(s->tree));
	return ck_tree_build(&s->tree, s->index, s->image->n_layers, CK_WHITEOUTS_APPLY, err);
}

void ck_stack_close(struct ck_stack *s)
{
	if (!s)
		return;
	ck_tree_free(s->tree);
	for (size_t i = 0; s->layers && i < s->image->n_layers; i++)
		ck_layer_close(s->layers[i]);
	ck_pool_close(s->pool);
	ck_unitcache_close(s->cache);
	free(s->layers);
	free(s->index);
	free(s);
}

/* The first of E's extents that ends after OFF, or n_extents. */
static uint32_t find_extent(const struct ck_extent *x, uint32_t n, uint64_t off)
{
	uint32_t lo = 0, hi = n;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (x[mid].file_off <= off && off - x[mid].file_off >= x[mid].len)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

int ck_stack_pread(struct ck_stack *s, uint32_t layer, void *buf, size_t nbytes, uint64_t off,
		   struct ck_err *err)
{
	if (layer >= s->image->n_layers || !s->layers[layer])
		return ck_fail(err, -EINVAL, "layer %" PRIu32 " is not open", layer);
	if (s->recorder)
		ck_recorder_note(s->recorder, layer, off, nbytes);
	return ck_layer_pread(s->layers[layer], buf, nbytes, off, err);
}

int ck_stack_record(struct ck_stack *s, struct ck_recorder *r, struct ck_err *err)
{
	size_t n = s->image->n_layers;
	CK_AUTO(ck_freep) uint64_t *tar_len = calloc(n + 1, sizeof *tar_len);

	if (!tar_len)
		return ck_nomem(err, "recording");
	for (size_t i = 0; i < n; i++)
		tar_len[i] = ck_layer_len(s->layers[i]);
	int rc = ck_recorder_start(r, s->index, tar_len, n, err);
	if (rc == 0)
		s->recorder = r;
	return rc;
}

int ck_stack_read(struct ck_stack *s, uint32_t layer, const struct ck_entry *e, void *buf,
		  size_t nbytes, uint64_t off, struct ck_err *err)
{
	if (layer >= s->image->n_layers || !s->layers[layer])
		return ck_fail(err, -EINVAL, "layer %" PRIu32 " is not open", layer);
	if (off > e->size || nbytes > e->size - off)
		return ck_fail(err, -EINVAL,
			       "read of %zu bytes at %" PRIu64 " is outside a file of %" PRIu64,
			       nbytes, off, e->size);
	const struct ck_extent *x = s->index[layer]->extents + e->first_extent;
	uint32_t i = find_extent(x, e->n_extents, off);
	uint8_t *to = buf;
	while (nbytes) {
		bool data = i < e->n_extents && x[i].file_off <= off;
		uint64_t left = data		   ? x[i].len - (off - x[i].file_off)
				: i < e->n_extents ? x[i].file_off - off
						   : nbytes;
		size_t n = left < nbytes ? (size_t)left : nbytes;
		if (data) {
			int rc = ck_stack_pread(s, layer, to, n,
						x[i].tar_off + (off - x[i].file_off), err);
			if (rc < 0)
				return rc;
			i += n == left;
		} else {
			memset(to, 0, n);
		}
		to += n;
		off += n;
		nbytes -= n;
	}
	return 0;
}

void ck_stack_stat(const struct ck_tree *tree, ck_ino ino, struct stat *out)
{
	const struct ck_node *n = &tree->nodes[ino];
	const struct ck_entry *e = n->entry;

	*out = (struct stat){ .st_ino = ino, .st_nlink = n->nlink, .st_blksize = 4096 };
	out->st_mode = e ? e->mode : S_IFDIR | 0755;
	if (S_ISDIR(out->st_mode))
		out->st_size = 4096;
	if (!e)
		return;
	out->st_uid = e->uid;
	out->st_gid = e->gid;
	out->st_mtim = (struct timespec){ .tv_sec = e->mtime_s, .tv_nsec = e->mtime_ns };
	out->st_atim = out->st_ctim = out->st_mtim;
	if (S_ISREG(e->mode)) {
		out->st_size = (off_t)e->size;
		out->st_blocks = (blkcnt_t)(e->size / 512 + (e->size % 512 != 0));
	} else if (S_ISLNK(e->mode)) {
		/* Linux gives every link this mode, whatever a tar says. */
		out->st_mode = S_IFLNK | 0777;
		out->st_size = e->link.len;
	} else if (S_ISCHR(e->mode) || S_ISBLK(e->mode)) {
		out->st_rdev = makedev(e->rdev_major, e->rdev_minor);
	}
}
