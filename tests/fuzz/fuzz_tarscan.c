/*
 * Fuzz: any bytes as a tar stream. Beyond "does not crash": every span of the index lies
 * in its heap, every extent in the stream's reach and in its file, entries are sorted.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tar/index/tarscan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct feed {
	const uint8_t *p;
	size_t left;
};

static int pull(void *ctx, const uint8_t **p, size_t *nbytes, struct ck_err *err)
{
	struct feed *f = ctx;
	size_t n = f->left < 1000 ? f->left : 1000;

	(void)err;
	*p = f->p;
	*nbytes = n;
	f->p += n;
	f->left -= n;
	return 0;
}

static void check_span(const struct ck_index *x, struct ck_span s)
{
	if (s.off > x->heap_len || s.len >= x->heap_len - s.off || x->heap[s.off + s.len] != 0)
		abort();
}

static void check(const struct ck_index *x)
{
	for (size_t i = 0; i < x->n_entries; i++) {
		const struct ck_entry *e = &x->entries[i];
		check_span(x, e->path);
		check_span(x, e->link);
		if (e->first_extent > x->n_extents ||
		    e->n_extents > x->n_extents - e->first_extent || e->first_xattr > x->n_xattrs ||
		    e->n_xattrs > x->n_xattrs - e->first_xattr)
			abort();
		for (size_t k = 0; k < e->n_extents; k++) {
			const struct ck_extent *t = &x->extents[e->first_extent + k];
			if (t->file_off > e->size || t->len > e->size - t->file_off ||
			    t->tar_off > INT64_MAX)
				abort();
		}
		const char *path = ck_index_bytes(x, e->path);
		if (*path == '/' || strstr(path, "//") || strncmp(path, "../", 3) == 0)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct ck_index_builder *b = NULL;
	struct ck_index x = { 0 };
	uint8_t *copy = malloc(len ? len : 1); /* exact size, so ASan sees over-reads */
	struct feed f = { copy, len };

	if (!copy || ck_index_builder_new(&b, NULL) < 0)
		abort();
	if (len)
		memcpy(copy, data, len);
	if (ck_tarscan(b, pull, NULL, &f, NULL) == 0) {
		ck_index_finish(b, &x);
		check(&x);
	}
	ck_index_free(&x);
	ck_index_builder_free(b);
	free(copy);
	return 0;
}
