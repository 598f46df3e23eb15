#include "tar/inflate/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/secret.h"

/* Room for one more of SIZE bytes in *P of *CAP elements with N used. */
static int room(void *p, size_t n, size_t *cap, size_t size, struct ck_err *err)
{
	void **array = p;

	if (n >= UINT32_MAX)
		return ck_fail(err, -EFBIG, "too many decompression units");
	if (n < *cap)
		return 0;
	size_t more = *cap ? *cap * 2 : 64;
	void *d = reallocarray(*array, more, size);
	if (!d)
		return ck_nomem(err, "recording decompression units");
	*array = d;
	*cap = more;
	return 0;
}

static int add_window(struct ck_units *u, const uint8_t *window, size_t len, struct ck_err *err)
{
	int rc = u->recorded ? 0 : ck_windows_open(&u->recorded, err);

	return rc < 0 ? rc : ck_windows_put(u->recorded, (uint32_t)u->n_points, window, len, err);
}

int ck_units_add_unit(struct ck_units *u, uint64_t out_off, struct ck_err *err)
{
	int rc = room(&u->units, u->n_units, &u->cap_units, sizeof *u->units, err);
	if (rc < 0)
		return rc;
	/* As bytes, for what lies between the members is written out with them. */
	struct ck_unit_start *t = memset(&u->units[u->n_units++], 0, sizeof *t);
	t->out_off = out_off;
	t->point = (uint32_t)(u->n_points - 1);
	return 0;
}

int ck_units_add_point(struct ck_units *u, const struct ck_point *p, const uint8_t *window,
		       size_t window_len, struct ck_err *err)
{
	int rc = room(&u->points, u->n_points, &u->cap_points, sizeof *u->points, err);
	if (rc < 0)
		return rc;
	struct ck_point *own = memset(&u->points[u->n_points], 0, sizeof *own);
	own->out_off = p->out_off;
	own->in_off = p->in_off;
	own->bits = p->bits;
	own->mid = p->mid;
	if (window_len)
		rc = add_window(u, window, window_len, err);
	if (rc < 0)
		return rc;
	u->n_points++;
	/* Nothing came out since the last unit began: this point serves it better. */
	if (u->n_units && u->units[u->n_units - 1].out_off == p->out_off) {
		u->units[u->n_units - 1].point = (uint32_t)(u->n_points - 1);
		return 0;
	}
	return ck_units_add_unit(u, p->out_off, err);
}

/* Packs the windows that are left, and tells the points where theirs lie. */
static int take_windows(struct ck_units *u, struct ck_err *err)
{
	size_t n;
	int rc = ck_windows_pack(u->recorded, err);

	if (rc < 0)
		return rc;
	const struct ck_packed_window *t = ck_windows_table(u->recorded, &n);
	for (size_t i = 0; i < n; i++) {
		u->points[t[i].point].window_off = t[i].off;
		u->points[t[i].point].window_len = t[i].len;
	}
	u->windows = ck_windows_take(u->recorded, &u->windows_len);
	ck_windows_close(u->recorded);
	u->recorded = NULL;
	return 0;
}

int ck_units_finish(struct ck_units *u, uint64_t len, uint64_t in_len, struct ck_err *err)
{
	u->len = len;
	u->in_len = in_len;
	while (u->n_units && u->units[u->n_units - 1].out_off >= len)
		u->n_units--;
	return u->recorded ? take_windows(u, err) : 0;
}

void ck_units_free(struct ck_units *u)
{
	ck_windows_close(u->recorded);
	free(u->points);
	free(u->units);
	free(u->windows);
	*u = (struct ck_units){ 0 };
}

/* As recorded: a unit begins where its point does, or behind the unit before it and goes on
 * from the same point. So who reads all units in turn decodes the stream once. */
static bool unit_ok(const struct ck_units *u, uint32_t idx)
{
	const struct ck_unit_start *t = &u->units[idx];
	uint64_t end = ck_units_end(u, idx);

	if (t->point >= u->n_points || t->out_off >= end || end > u->len ||
	    end - t->out_off > CK_UNIT_MAX)
		return false;
	return u->points[t->point].out_off == t->out_off || (idx && t[-1].point == t->point);
}

int ck_units_check(const struct ck_units *u, struct ck_err *err)
{
	for (size_t i = 0; i < u->n_points; i++) {
		const struct ck_point *p = &u->points[i];
		if (p->out_off > u->len || p->in_off > u->in_len || p->bits > 7 || p->mid > 1 ||
		    p->window_off > u->windows_len ||
		    p->window_len > u->windows_len - p->window_off ||
		    p->window_len > CK_WINDOW_PACKED_MAX ||
		    (i && (p->in_off < p[-1].in_off || p->out_off < p[-1].out_off)))
			return ck_fail(err, -EBADMSG, "point %zu of the index is malformed", i);
	}
	if (u->len && (u->n_units == 0 || u->units[0].out_off != 0))
		return ck_fail(err, -EBADMSG, "the index's units do not begin at 0");
	for (uint32_t i = 0; i < u->n_units; i++)
		if (!unit_ok(u, i))
			return ck_fail(err, -EBADMSG, "unit %" PRIu32 " of the index is malformed",
				       i);
	return 0;
}

uint32_t ck_units_find(const struct ck_units *u, uint64_t off)
{
	size_t lo = 0, hi = u->n_units; /* units[lo] begins at or before off */

	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;
		if (u->units[mid].out_off <= off)
			lo = mid;
		else
			hi = mid;
	}
	return (uint32_t)lo;
}

uint64_t ck_units_end(const struct ck_units *u, uint32_t idx)
{
	return idx + 1 < u->n_units ? u->units[idx + 1].out_off : u->len;
}

uint64_t ck_units_in_end(const struct ck_units *u, uint32_t idx)
{
	uint32_t point = u->units[idx].point;

	if (point + 1 >= u->n_points)
		return u->in_len;
	/* The next point may share its first byte with this unit. */
	const struct ck_point *next = &u->points[point + 1];
	return next->in_off + (next->bits != 0);
}

bool ck_units_alone(const struct ck_units *u, uint32_t idx)
{
	uint32_t point = u->units[idx].point;

	return u->units[idx].out_off == u->points[point].out_off &&
	       (idx + 1 >= u->n_units || u->units[idx + 1].point != point);
}

int ck_units_window(const struct ck_units *u, const struct ck_point *p, uint8_t out[CK_WINDOW_LEN],
		    size_t *len, struct ck_err *err)
{
	uint8_t own[CK_WINDOW_PACKED_MAX];
	const uint8_t *packed = own;

	*len = 0;
	if (p->window_len == 0)
		return 0;
	if (u->windows) {
		packed = u->windows + p->window_off;
	} else if (!u->store.read) {
		return ck_fail(err, -EIO, "the decompression windows are elsewhere");
	} else {
		int rc = u->store.read(u->store.ctx, (uint32_t)(p - u->points), p->window_off,
				       p->window_len, own, err);
		if (rc < 0)
			return rc;
	}
	size_t n = ZSTD_decompress(out, CK_WINDOW_LEN, packed, p->window_len);
	if (packed == own)
		ck_wipe(own, p->window_len);
	if (ZSTD_isError(n))
		return ck_fail(err, -EIO, "decompression window: %s", ZSTD_getErrorName(n));
	*len = n;
	return 0;
}
