/*
 * world - what the tests of EROFS images stand on: layers as bytes of tars, scanned and
 * merged, the image made of them, and what each file should read as, found by a way of its
 * own. Everything aborts on failure.
 */
#ifndef CK_TEST_EROFS_WORLD_H
#define CK_TEST_EROFS_WORLD_H

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "fs/erofs/metadata.h"
#include "fs/stack.h"
#include "tar/index/tarscan.h"
#include "tests/unit/lib/make.h"
#include "tests/unit/lib/unit.h"

enum { WORLD_LAYERS = 320 };

struct world {
	size_t n; /* layers */
	struct ck_buf tar[WORLD_LAYERS];
	struct ck_index x[WORLD_LAYERS];
	const struct ck_index *index[WORLD_LAYERS];
	uint64_t tar_len[WORLD_LAYERS];
	struct ck_tree *tree;
	struct ck_erofs *image;
	uint8_t *bytes; /* of the image, LEN of them */
	size_t len;
};

static inline la_ssize_t world_to_buf(struct archive *a, void *ctx, const void *p, size_t n)
{
	(void)a;
	assert_int_equal(ck_buf_add(ctx, p, n, NULL), 0);
	return (la_ssize_t)n;
}

/* A new layer on top; archive_write_free ends it. */
static inline struct archive *world_tar(struct world *w)
{
	struct archive *a = archive_write_new();

	assert_true(w->n < WORLD_LAYERS);
	archive_write_set_format_pax(a);
	archive_write_set_bytes_per_block(a, 0);
	assert_int_equal(archive_write_open(a, &w->tar[w->n++], NULL, world_to_buf, NULL),
			 ARCHIVE_OK);
	return a;
}

static inline struct archive_entry *world_entry(const char *path, mode_t mode)
{
	struct archive_entry *e = archive_entry_new();

	archive_entry_set_pathname(e, path);
	archive_entry_set_mode(e, mode);
	archive_entry_set_mtime(e, 1700000000, 123456789);
	return e;
}

/* Takes E. */
static inline void world_add(struct archive *a, struct archive_entry *e, const void *data,
			     size_t nbytes)
{
	if (!archive_entry_size_is_set(e))
		archive_entry_set_size(e, (la_int64_t)nbytes);
	assert_true(archive_write_header(a, e) >= ARCHIVE_WARN);
	if (nbytes)
		assert_int_equal(archive_write_data(a, data, nbytes), nbytes);
	assert_true(archive_write_finish_entry(a) >= ARCHIVE_WARN);
	archive_entry_free(e);
}

static inline int world_pull(void *ctx, const uint8_t **p, size_t *nbytes, struct ck_err *err)
{
	struct ck_buf *left = ctx;

	(void)err;
	*p = left->data;
	*nbytes = left->len;
	left->len = 0;
	return 0;
}

/* Scans the layers that are tars; those that came with an index of their own stay. */
static inline void world_merge(struct world *w)
{
	struct ck_err err = { 0 };

	for (size_t i = 0; i < w->n; i++) {
		w->index[i] = &w->x[i];
		if (w->tar_len[i] == 0)
			w->tar_len[i] = w->tar[i].len;
		if (w->x[i].entries)
			continue;
		struct ck_index_builder *b = NULL;
		struct ck_buf left = w->tar[i];
		assert_works(ck_index_builder_new(&b, &err), &err);
		assert_works(ck_tarscan(b, world_pull, NULL, &left, &err), &err);
		ck_index_finish(b, &w->x[i]);
		ck_index_builder_free(b);
	}
	assert_works(ck_tree_build(&w->tree, w->index, w->n, CK_WHITEOUTS_APPLY, &err), &err);
}

/* Into memory of its own that ends where the image does. */
static inline void world_write(struct world *w)
{
	struct ck_err err = { 0 };

	w->len = ck_erofs_len(w->image);
	w->bytes = calloc(1, w->len);
	assert_non_null(w->bytes);
	assert_works(ck_erofs_write(w->image, w->bytes, &err), &err);
}

static inline int world_build(struct world *w, struct ck_err *err)
{
	int rc = ck_erofs_plan(&w->image, w->tree, w->index, w->tar_len, w->n, err);

	if (rc == 0)
		world_write(w);
	return rc;
}

static inline void world_make(struct world *w)
{
	struct ck_err err = { 0 };

	world_merge(w);
	assert_works(world_build(w, &err), &err);
}

static inline void world_free(struct world *w)
{
	ck_erofs_close(w->image);
	free(w->bytes);
	ck_tree_free(w->tree);
	for (size_t i = 0; i < w->n; i++) {
		ck_index_free(&w->x[i]);
		ck_buf_free(&w->tar[i]);
	}
	free(w);
}

static inline struct world *world_new(void)
{
	struct world *w = calloc(1, sizeof *w);

	assert_non_null(w);
	return w;
}

/* The bytes [OFF, OFF + NBYTES) of the file INO, extent by extent. */
static inline void world_read(const struct world *w, ck_ino ino, void *out, size_t nbytes,
			      uint64_t off)
{
	const struct ck_node *n = &w->tree->nodes[ino];
	const struct ck_extent *x = &w->x[n->layer].extents[n->entry->first_extent];

	memset(out, 0, nbytes);
	for (uint32_t i = 0; i < n->entry->n_extents; i++) {
		uint64_t from = x[i].file_off > off ? x[i].file_off : off;
		uint64_t to = x[i].file_off + x[i].len;
		to = to < off + nbytes ? to : off + nbytes;
		if (from < to)
			memcpy((uint8_t *)out + (from - off),
			       w->tar[n->layer].data + x[i].tar_off + (from - x[i].file_off),
			       to - from);
	}
}

static inline ck_ino world_find(const struct world *w, const char *path)
{
	ck_ino ino = 0;
	struct ck_err err = { 0 };

	assert_works(ck_tree_walk(w->tree, w->index, path, false, &ino, &err), &err);
	return ino;
}

#endif
