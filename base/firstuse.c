#include "base/firstuse.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* How many of the latest ranges may still grow. */
enum { RECENT = 16 };

struct ck_firstuse {
	uint64_t n_blocks, gap;
	_Atomic uint64_t *used; /* a bit a block */
	struct ck_range *ranges;
	size_t n, cap, max;
};

int ck_firstuse_open(struct ck_firstuse **out, uint64_t n_blocks, uint64_t gap, size_t max,
		     struct ck_err *err)
{
	CK_AUTO(ck_firstuse_closep) struct ck_firstuse *f = calloc(1, sizeof *f);

	/* Large, so of pages that cost nothing until they are written to. */
	if (!f || n_blocks / 64 >= SIZE_MAX / sizeof *f->used ||
	    !(f->used = calloc((size_t)(n_blocks / 64 + 1), sizeof *f->used)))
		return ck_nomem(err, "keeping what was used first");
	f->n_blocks = n_blocks;
	f->gap = gap;
	f->max = max;
	*out = ck_take(f);
	return 0;
}

void ck_firstuse_close(struct ck_firstuse *f)
{
	if (!f)
		return;
	free(f->used);
	free(f->ranges);
	free(f);
}

/* The first block from AT on, but before END, that is used (USED) or not; else END. */
static uint64_t next(const struct ck_firstuse *f, uint64_t at, uint64_t end, bool used)
{
	while (at < end) {
		uint64_t word = atomic_load_explicit(&f->used[at / 64], memory_order_relaxed);
		word = (used ? word : ~word) >> at % 64;
		if (word) {
			at += (uint64_t)__builtin_ctzll(word);
			return at < end ? at : end;
		}
		at += 64 - at % 64;
	}
	return end;
}

static void mark(struct ck_firstuse *f, uint64_t at, uint64_t end)
{
	while (at < end) {
		uint64_t n = 64 - at % 64 < end - at ? 64 - at % 64 : end - at;
		uint64_t bits = (n == 64 ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1) << at % 64;
		atomic_fetch_or_explicit(&f->used[at / 64], bits, memory_order_relaxed);
		at += n;
	}
}

bool ck_firstuse_has(const struct ck_firstuse *f, uint64_t first, uint64_t n)
{
	return next(f, first, first + n, false) == first + n;
}

/* Makes [AT, END) a part of R where it lies so that R may grow to it. */
static bool grow(struct ck_firstuse *f, struct ck_range *r, uint64_t at, uint64_t end)
{
	uint64_t r_end = r->off + r->len;

	if (at >= r_end && at - r_end <= f->gap && next(f, r_end, at, true) == at) {
		mark(f, r_end, end);
		r->len = end - r->off;
		return true;
	}
	if (end <= r->off && r->off - end <= f->gap && next(f, end, r->off, true) == r->off) {
		mark(f, at, r->off);
		r->len = r_end - at;
		r->off = at;
		return true;
	}
	return false;
}

static int append(struct ck_firstuse *f, uint64_t at, uint64_t end, struct ck_err *err)
{
	if (f->n == f->max)
		return ck_fail(err, -EFBIG, "more than %zu ranges", f->max);
	if (f->n == f->cap) {
		size_t cap = f->cap ? 2 * f->cap : 64;
		struct ck_range *more = reallocarray(f->ranges, cap, sizeof *more);
		if (!more)
			return ck_nomem(err, "keeping what was used first");
		f->ranges = more;
		f->cap = cap;
	}
	f->ranges[f->n++] = (struct ck_range){ at, end - at };
	mark(f, at, end);
	return 0;
}

static size_t oldest(const struct ck_firstuse *f)
{
	return f->n > RECENT ? f->n - RECENT : 0;
}

/* Range I has grown: maybe to another, and then the older of both is all. */
static void join(struct ck_firstuse *f, size_t i)
{
	for (size_t j = f->n; j-- > oldest(f);) {
		size_t old = i < j ? i : j, late = i < j ? j : i;
		const struct ck_range *r = &f->ranges[late];
		if (i == j || !grow(f, &f->ranges[old], r->off, r->off + r->len))
			continue;
		f->n--;
		memmove(&f->ranges[late], &f->ranges[late + 1], (f->n - late) * sizeof *r);
		return;
	}
}

/* [AT, END) is unused. */
static int add_new(struct ck_firstuse *f, uint64_t at, uint64_t end, struct ck_err *err)
{
	for (size_t i = f->n; i-- > oldest(f);) {
		if (grow(f, &f->ranges[i], at, end)) {
			join(f, i);
			return 0;
		}
	}
	return append(f, at, end, err);
}

int ck_firstuse_add(struct ck_firstuse *f, uint64_t first, uint64_t n, struct ck_err *err)
{
	uint64_t end = first + n;
	int rc = 0;

	while ((first = next(f, first, end, false)) < end) {
		uint64_t to = next(f, first, end, true);
		int one = add_new(f, first, to, err);
		if (one == -ENOMEM)
			return one;
		rc = one < 0 ? one : rc;
		first = to;
	}
	return rc;
}

const struct ck_range *ck_firstuse_ranges(const struct ck_firstuse *f, size_t *n)
{
	*n = f->n;
	return f->ranges;
}
