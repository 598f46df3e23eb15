#include "tar/index/prefetch.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/firstuse.h"

/* GAP: what is asked for in between costs less than another request. MAX_LINKS: a hard link names
 * a file; who names links of links may do so a few times. */
enum { GAP = 64 << 10, MAX_LINKS = 8 };

/* Whether E's path comes before PATH[0..LEN), or (EQUAL) is it. */
static bool before(const struct ck_index *x, const struct ck_entry *e, const char *path, size_t len,
		   bool equal)
{
	size_t n = e->path.len < len ? e->path.len : len;
	int d = memcmp(ck_index_bytes(x, e->path), path, n);

	return d < 0 || (d == 0 && (e->path.len < len || (equal && e->path.len == len)));
}

/* The last entry with that path; NULL: there is none. */
static const struct ck_entry *find_path(const struct ck_index *x, const char *path, size_t len)
{
	size_t lo = 0, hi = x->n_entries;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (before(x, &x->entries[mid], path, len, true))
			lo = mid + 1;
		else
			hi = mid;
	}
	const struct ck_entry *e = lo ? &x->entries[lo - 1] : NULL;
	return e && !before(x, e, path, len, false) ? e : NULL;
}

/* The regular file that PATH names, or NULL. */
static const struct ck_entry *find_file(const struct ck_index *x, const char *path)
{
	const struct ck_entry *e = find_path(x, path, strlen(path));

	for (int i = 0; e && e->kind == CK_ENTRY_HARDLINK; i++)
		e = i < MAX_LINKS ? find_path(x, ck_index_bytes(x, e->link), e->link.len) : NULL;
	return e && S_ISREG(e->mode) ? e : NULL;
}

/* Uses the blocks of [OFF, END) of the file E. */
static int add_file(struct ck_firstuse *f, const struct ck_index *x, const struct ck_entry *e,
		    uint64_t off, uint64_t end, struct ck_err *err)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < e->n_extents; i++) {
		const struct ck_extent *t = &x->extents[e->first_extent + i];
		uint64_t from = off > t->file_off ? off : t->file_off;
		uint64_t to = end < t->file_off + t->len ? end : t->file_off + t->len;
		if (from >= to)
			continue;
		from += t->tar_off - t->file_off;
		to += t->tar_off - t->file_off;
		uint64_t first = from / CK_TAR_BLOCK;
		rc = ck_firstuse_add(f, first, (to - 1) / CK_TAR_BLOCK + 1 - first, err);
	}
	return rc;
}

static int add_wanted(struct ck_firstuse *f, const struct ck_index *x, struct ck_wants *w,
		      const struct ck_wanted *one, struct ck_err *err)
{
	const struct ck_entry *e = find_file(x, one->path);

	if (!e || one->off >= e->size) {
		w->n_missing++;
		return 0;
	}
	uint64_t left = e->size - one->off;
	return add_file(f, x, e, one->off, one->off + (one->len < left ? one->len : left), err);
}

static int take_ranges(struct ck_index *x, uint64_t tar_len, const struct ck_range *r, size_t n,
		       struct ck_err *err)
{
	struct ck_range *own = n ? reallocarray(NULL, n, sizeof *own) : NULL;

	if (n && !own)
		return ck_nomem(err, "noting what to prefetch");
	for (size_t i = 0; i < n; i++) {
		uint64_t off = r[i].off * CK_TAR_BLOCK, len = r[i].len * CK_TAR_BLOCK;
		own[i] = (struct ck_range){ off, len < tar_len - off ? len : tar_len - off };
	}
	x->prefetch = own;
	x->n_prefetch = n;
	return 0;
}

int ck_prefetch_fill(struct ck_index *x, uint64_t tar_len, struct ck_wants *w, struct ck_err *err)
{
	CK_AUTO(ck_firstuse_closep) struct ck_firstuse *f = NULL;
	size_t n;
	int rc = ck_firstuse_open(&f, tar_len / CK_TAR_BLOCK + 1, GAP / CK_TAR_BLOCK,
				  CK_PREFETCH_MAX, err);

	w->placed = true;
	w->cut = false;
	w->n_missing = 0;
	for (size_t i = 0; rc == 0 && i < w->n; i++) {
		rc = add_wanted(f, x, w, &w->v[i], err);
		if (rc == -EFBIG) { /* what comes later may still be near what is there */
			w->cut = true;
			rc = 0;
		}
	}
	if (rc < 0)
		return rc;
	const struct ck_range *r = ck_firstuse_ranges(f, &n);
	return take_ranges(x, tar_len, r, n, err);
}
