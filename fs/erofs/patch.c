#include "fs/erofs/patch.h"

#include <errno.h>

#include "fs/erofs/format.h"

static int grow(struct ck_patch *p, struct ck_err *err)
{
	size_t cap = p->cap ? 2 * p->cap : 64;
	struct ck_patch_run *runs = reallocarray(p->runs, cap, sizeof *runs);

	if (!runs)
		return ck_nomem(err, "planning an EROFS image");
	p->runs = runs;
	p->cap = cap;
	return 0;
}

int ck_patch_add(struct ck_patch *p, ck_ino ino, const struct ck_chunk *chunk, struct ck_err *err)
{
	struct ck_patch_run *last = p->n ? &p->runs[p->n - 1] : NULL;
	uint64_t room = EROFS_MAX_DEVICE - p->len;

	/* A multiple of 512 is left: what fits unrounded fits rounded. */
	if (chunk->len > room)
		return ck_fail(err, -EFBIG,
			       "it is too large a file that is sparse, or not aligned in the tar");
	if (last && last->ino == ino && last->file_off + last->len == chunk->file_off) {
		last->len += chunk->len;
	} else {
		int rc = p->n == p->cap ? grow(p, err) : 0;
		if (rc < 0)
			return rc;
		p->runs[p->n++] = (struct ck_patch_run){ p->len, chunk->file_off, chunk->len, ino };
	}
	p->len += ck_round_up(chunk->len, EROFS_BLOCK);
	return 0;
}

bool ck_patch_find(const struct ck_patch *p, uint64_t off, struct ck_erofs_patch *out)
{
	size_t lo = 0, hi = p->n;

	if (off >= p->len)
		return false;
	/* The last run that begins at or before OFF: the first begins at 0. */
	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;
		if (p->runs[mid].off <= off)
			lo = mid;
		else
			hi = mid;
	}
	const struct ck_patch_run *r = &p->runs[lo];
	uint64_t skip = off - r->off, end = lo + 1 < p->n ? r[1].off : p->len;
	if (skip < r->len)
		*out = (struct ck_erofs_patch){ r->ino, r->file_off + skip, r->len - skip };
	else
		*out = (struct ck_erofs_patch){ .nbytes = end - off };
	return true;
}

void ck_patch_free(struct ck_patch *p)
{
	free(p->runs);
	*p = (struct ck_patch){ 0 };
}
