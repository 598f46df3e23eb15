#include "tar/index/check.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

/*
 * The builder gives each entry its own bytes, extents and attributes. Shared ones would let
 * a small index ask for days of work: what is left of each table is counted down.
 */
struct budget {
	size_t bytes, extents, xattrs;
};

static bool spend(size_t *left, size_t n)
{
	bool ok = n <= *left;

	*left -= ok ? n : 0;
	return ok;
}

static bool span_ok(const struct ck_index *x, struct ck_span s)
{
	return s.off < x->heap_len && s.len < x->heap_len - s.off && x->heap[s.off + s.len] == 0;
}

/* As ck_index_add_path leaves a path: parts between single '/', none of them "." or "..". */
static bool path_ok(const struct ck_index *x, struct ck_span s)
{
	if (!span_ok(x, s) || strlen(ck_index_bytes(x, s)) != s.len)
		return false;
	const char *p = ck_index_bytes(x, s);
	for (size_t n; *p; p += n + (p[n] == '/')) {
		n = strcspn(p, "/");
		if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.') ||
		    (p[n] == '/' && !p[n + 1]))
			return false;
	}
	return true;
}

static bool extents_ok(const struct ck_index *x, const struct ck_entry *e, uint64_t tar_len,
		       struct budget *left)
{
	uint64_t end = 0;

	if (e->first_extent > x->n_extents || e->n_extents > x->n_extents - e->first_extent ||
	    !spend(&left->extents, e->n_extents))
		return false;
	for (uint32_t i = 0; i < e->n_extents; i++) {
		const struct ck_extent *t = &x->extents[e->first_extent + i];
		if (t->file_off < end || t->file_off > e->size || t->len > e->size - t->file_off ||
		    t->tar_off > tar_len || t->len > tar_len - t->tar_off)
			return false;
		end = t->file_off + t->len;
	}
	return true;
}

static bool xattrs_ok(const struct ck_index *x, const struct ck_entry *e, struct budget *left)
{
	return e->first_xattr <= x->n_xattrs && e->n_xattrs <= x->n_xattrs - e->first_xattr &&
	       spend(&left->xattrs, e->n_xattrs);
}

/* An attribute, whether an entry has it or none: they are also looked at all together. */
static bool xattr_ok(const struct ck_index *x, const struct ck_xattr *a, struct budget *left)
{
	return span_ok(x, a->name) && span_ok(x, a->value) && spend(&left->bytes, a->name.len) &&
	       spend(&left->bytes, a->value.len) &&
	       strlen(ck_index_bytes(x, a->name)) == a->name.len;
}

static bool kind_ok(const struct ck_entry *e)
{
	if (e->kind == CK_ENTRY_HARDLINK)
		return e->mode == 0;
	switch (e->mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFLNK:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
		return e->kind == CK_ENTRY_NODE && (e->mode & ~(uint32_t)(S_IFMT | 07777)) == 0;
	default:
		return false;
	}
}

static bool entry_ok(const struct ck_index *x, const struct ck_entry *e, uint64_t tar_len,
		     struct budget *left)
{
	if (!spend(&left->bytes, e->path.len) || !spend(&left->bytes, e->link.len))
		return false;
	bool link_ok = e->kind == CK_ENTRY_HARDLINK ? path_ok(x, e->link) : span_ok(x, e->link);

	return path_ok(x, e->path) && link_ok && kind_ok(e) && e->size <= INT64_MAX &&
	       e->mtime_ns < 1000000000 && extents_ok(x, e, tar_len, left) && xattrs_ok(x, e, left);
}

static bool in_order(const struct ck_index *x, const struct ck_entry *a, const struct ck_entry *b)
{
	uint32_t n = a->path.len < b->path.len ? a->path.len : b->path.len;
	int d = memcmp(ck_index_bytes(x, a->path), ck_index_bytes(x, b->path), n);

	if (d == 0)
		d = (a->path.len > b->path.len) - (a->path.len < b->path.len);
	return d < 0 || (d == 0 && a->seq < b->seq);
}

static int by_off(const void *pa, const void *pb)
{
	const struct ck_range *a = pa, *b = pb;

	return (a->off > b->off) - (a->off < b->off);
}

static bool range_ok(const struct ck_range *r, uint64_t tar_len)
{
	return r->len && r->off < tar_len && r->len <= tar_len - r->off &&
	       r->off % CK_TAR_BLOCK == 0 &&
	       (r->len % CK_TAR_BLOCK == 0 || r->len == tar_len - r->off);
}

static int check_prefetch(const struct ck_range *v, size_t n, uint64_t tar_len, struct ck_err *err)
{
	if (n == 0)
		return 0;
	if (n > CK_PREFETCH_MAX)
		return ck_fail(err, -EBADMSG, "the index has %zu ranges to prefetch", n);
	CK_AUTO(ck_freep) struct ck_range *sorted = reallocarray(NULL, n, sizeof *sorted);
	if (!sorted)
		return ck_nomem(err, "checking a layer's index");
	memcpy(sorted, v, n * sizeof *sorted);
	qsort(sorted, n, sizeof *sorted, by_off);
	for (size_t i = 0; i < n; i++) {
		if (!range_ok(&sorted[i], tar_len))
			return ck_fail(err, -EBADMSG, "a range to prefetch is malformed");
		if (i && sorted[i].off - sorted[i - 1].off < sorted[i - 1].len)
			return ck_fail(err, -EBADMSG, "ranges to prefetch overlap");
	}
	return 0;
}

int ck_index_check(const struct ck_index *x, uint64_t tar_len, struct ck_err *err)
{
	struct budget left = { x->heap_len, x->n_extents, x->n_xattrs };

	for (size_t i = 0; i < x->n_xattrs; i++)
		if (!xattr_ok(x, &x->xattrs[i], &left))
			return ck_fail(err, -EBADMSG, "attribute %zu of the index is malformed", i);
	for (size_t i = 0; i < x->n_entries; i++) {
		if (!entry_ok(x, &x->entries[i], tar_len, &left))
			return ck_fail(err, -EBADMSG, "entry %zu of the index is malformed", i);
		if (i && !in_order(x, &x->entries[i - 1], &x->entries[i]))
			return ck_fail(err, -EBADMSG, "entry %zu of the index is out of order", i);
	}
	return check_prefetch(x->prefetch, x->n_prefetch, tar_len, err);
}
