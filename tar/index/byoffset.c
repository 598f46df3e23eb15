#include "tar/index/byoffset.h"

static int by_tar_off(const void *pa, const void *pb)
{
	const struct ck_owned *a = pa, *b = pb;

	return (a->tar_off > b->tar_off) - (a->tar_off < b->tar_off);
}

int ck_byoffset_make(struct ck_byoffset *out, const struct ck_index *x, struct ck_err *err)
{
	struct ck_byoffset b = { 0 };

	/* Each extent is one entry's: see check.c. */
	b.v = reallocarray(NULL, x->n_extents + 1, sizeof *b.v);
	if (!b.v)
		return ck_nomem(err, "sorting a layer's files");
	for (size_t i = 0; i < x->n_entries; i++) {
		const struct ck_entry *e = &x->entries[i];
		for (uint32_t k = 0; k < e->n_extents && b.n < x->n_extents; k++) {
			const struct ck_extent *t = &x->extents[e->first_extent + k];
			b.v[b.n++] =
			    (struct ck_owned){ t->tar_off, t->len, t->file_off, (uint32_t)i };
		}
	}
	qsort(b.v, b.n, sizeof *b.v, by_tar_off);
	*out = b;
	return 0;
}

void ck_byoffset_free(struct ck_byoffset *b)
{
	free(b->v);
	*b = (struct ck_byoffset){ 0 };
}

size_t ck_byoffset_find(const struct ck_byoffset *b, uint64_t off)
{
	size_t lo = 0, hi = b->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct ck_owned *o = &b->v[mid];
		if (o->tar_off <= off && off - o->tar_off >= o->len)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}
