#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tar/index/index.h"

/* Bytes of one array: room for 10 million entries. A small hostile blob may hold a tar
 * of many more, and it is not for it to say how much memory we use. */
enum { ARRAY_MAX = 1 << 30 };

/* A growing array; `n` elements of `size` bytes. */
struct array {
	void *data;
	size_t n, cap, size;
};

struct ck_index_builder {
	struct array entries, extents, xattrs, heap;
	size_t extents_taken, xattrs_taken; /* belong to entries already added */
};

static int array_add(struct array *a, const void *p, size_t count, struct ck_err *err)
{
	if (count == 0)
		return 0; /* there may be no memory yet to copy nothing to */
	if (count > ARRAY_MAX / a->size - a->n)
		return ck_fail(
		    err, -EFBIG,
		    "the layer holds more entries, names or extents than %d MiB of index",
		    ARRAY_MAX >> 20);
	if (count > a->cap - a->n) {
		size_t cap = a->cap ? a->cap : 256;
		while (cap - a->n < count)
			cap += cap / 2;
		void *d = reallocarray(a->data, cap, a->size);
		if (!d)
			return ck_nomem(err, "building the layer's index");
		a->data = d;
		a->cap = cap;
	}
	memcpy((char *)a->data + a->n * a->size, p, count * a->size);
	a->n += count;
	return 0;
}

int ck_index_builder_new(struct ck_index_builder **out, struct ck_err *err)
{
	struct ck_index_builder *b = calloc(1, sizeof *b);

	if (!b)
		return ck_nomem(err, "building the layer's index");
	b->entries.size = sizeof(struct ck_entry);
	b->extents.size = sizeof(struct ck_extent);
	b->xattrs.size = sizeof(struct ck_xattr);
	b->heap.size = 1;
	/* So that a span of zeros is the empty string. */
	int rc = array_add(&b->heap, "", 1, err);
	if (rc < 0)
		ck_index_builder_free(b);
	else
		*out = b;
	return rc;
}

void ck_index_builder_free(struct ck_index_builder *b)
{
	if (!b)
		return;
	free(b->entries.data);
	free(b->extents.data);
	free(b->xattrs.data);
	free(b->heap.data);
	free(b);
}

int ck_index_add_bytes(struct ck_index_builder *b, const void *p, size_t nbytes,
		       struct ck_span *out, struct ck_err *err)
{
	struct ck_span s = { (uint32_t)b->heap.n, (uint32_t)nbytes };
	int rc = array_add(&b->heap, p, nbytes, err);
	if (rc == 0)
		rc = array_add(&b->heap, "", 1, err);
	if (rc == 0)
		*out = s;
	return rc;
}

/* Drops the last part of the path that ends at *LEN. */
static void pop_part(const char *path, size_t *len)
{
	while (*len && path[*len - 1] != '/')
		--*len;
	if (*len)
		--*len;
}

/* Cleans PATH into OUT (room for strlen(PATH) + 1); returns the length. */
static size_t clean_path(char *out, const char *path)
{
	size_t len = 0;

	while (*path) {
		size_t n = strcspn(path, "/");
		if (n == 2 && path[0] == '.' && path[1] == '.') {
			pop_part(out, &len);
		} else if (n && !(n == 1 && path[0] == '.')) {
			if (len)
				out[len++] = '/';
			memcpy(out + len, path, n);
			len += n;
		}
		path += n;
		path += strspn(path, "/");
	}
	out[len] = 0;
	return len;
}

int ck_index_add_path(struct ck_index_builder *b, const char *path, struct ck_span *out,
		      struct ck_err *err)
{
	CK_AUTO(ck_freep) char *clean = malloc(strlen(path) + 1);

	if (!clean)
		return ck_nomem(err, "building the layer's index");
	size_t len = clean_path(clean, path);
	return ck_index_add_bytes(b, clean, len, out, err);
}

int ck_index_add_entry(struct ck_index_builder *b, const struct ck_entry *e, struct ck_err *err)
{
	struct ck_entry own = *e;

	own.seq = (uint32_t)b->entries.n;
	own.first_extent = (uint32_t)b->extents_taken;
	own.n_extents = (uint32_t)(b->extents.n - b->extents_taken);
	own.first_xattr = (uint32_t)b->xattrs_taken;
	own.n_xattrs = (uint32_t)(b->xattrs.n - b->xattrs_taken);
	int rc = array_add(&b->entries, &own, 1, err);
	if (rc < 0)
		return rc;
	b->extents_taken = b->extents.n;
	b->xattrs_taken = b->xattrs.n;
	return 0;
}

int ck_index_add_extent(struct ck_index_builder *b, const struct ck_extent *x, struct ck_err *err)
{
	uint64_t file_end = 0;

	if (b->extents.n > b->extents_taken) {
		const struct ck_extent *last =
		    (struct ck_extent *)b->extents.data + b->extents.n - 1;
		file_end = last->file_off + last->len;
	}
	if (x->file_off < file_end || x->len > INT64_MAX - x->file_off ||
	    x->len > INT64_MAX - x->tar_off)
		return ck_fail(err, -EBADMSG,
			       "sparse map is wrong: %" PRIu64 " bytes at %" PRIu64
			       " after %" PRIu64,
			       x->len, x->file_off, file_end);
	return array_add(&b->extents, x, 1, err);
}

int ck_index_add_xattr(struct ck_index_builder *b, const char *name, const void *value,
		       size_t nbytes, struct ck_err *err)
{
	struct ck_xattr x;
	int rc = ck_index_add_bytes(b, name, strlen(name), &x.name, err);
	if (rc == 0)
		rc = ck_index_add_bytes(b, value, nbytes, &x.value, err);
	return rc < 0 ? rc : array_add(&b->xattrs, &x, 1, err);
}

static int by_path_then_seq(const void *pa, const void *pb, void *heap)
{
	const struct ck_entry *a = pa, *b = pb;
	uint32_t n = a->path.len < b->path.len ? a->path.len : b->path.len;
	int d = memcmp((const char *)heap + a->path.off, (const char *)heap + b->path.off, n);

	if (d == 0)
		d = (a->path.len > b->path.len) - (a->path.len < b->path.len);
	return d ? d : (a->seq > b->seq) - (a->seq < b->seq);
}

/* Gives back what growth left over; the old block serves when that fails. */
static void *fit(struct array *a)
{
	void *p = a->data;

	if (a->n == 0) {
		free(p);
		p = NULL;
	} else if (a->n < a->cap) {
		void *small = reallocarray(p, a->n, a->size);
		p = small ? small : p;
	}
	a->data = NULL;
	a->n = a->cap = 0;
	return p;
}

void ck_index_finish(struct ck_index_builder *b, struct ck_index *out)
{
	if (b->entries.n)
		qsort_r(b->entries.data, b->entries.n, sizeof(struct ck_entry), by_path_then_seq,
			b->heap.data);
	struct ck_index x = { .n_entries = b->entries.n,
			      .n_extents = b->extents.n,
			      .n_xattrs = b->xattrs.n,
			      .heap_len = b->heap.n };
	x.entries = fit(&b->entries);
	x.extents = fit(&b->extents);
	x.xattrs = fit(&b->xattrs);
	x.heap = fit(&b->heap);
	b->extents_taken = b->xattrs_taken = 0;
	*out = x;
}

void ck_index_free(struct ck_index *x)
{
	free((void *)(uintptr_t)x->entries);
	free((void *)(uintptr_t)x->extents);
	free((void *)(uintptr_t)x->xattrs);
	free((void *)(uintptr_t)x->heap);
	free((void *)(uintptr_t)x->prefetch);
	*x = (struct ck_index){ 0 };
}

static bool same(const void *a, size_t n_a, const void *b, size_t n_b, size_t size)
{
	return n_a == n_b && (n_a == 0 || memcmp(a, b, n_a * size) == 0);
}

bool ck_index_equal(const struct ck_index *a, const struct ck_index *b)
{
	return same(a->entries, a->n_entries, b->entries, b->n_entries, sizeof *a->entries) &&
	       same(a->extents, a->n_extents, b->extents, b->n_extents, sizeof *a->extents) &&
	       same(a->xattrs, a->n_xattrs, b->xattrs, b->n_xattrs, sizeof *a->xattrs) &&
	       same(a->heap, a->heap_len, b->heap, b->heap_len, 1);
}
