#include "tar/blobranges.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/firstuse.h"
#include "tar/cipher/chunked.h"
#include "tar/cipher/tags.h"

/* SLACK: a decoder is given so much at once, though it may need less. */
enum { SLACK = 256 << 10 };

/* Of plaintext. */
static uint64_t chunk_len(const struct ck_blobranges_spec *s)
{
	return s->sealed ? CK_CHUNK : CK_TAG_CHUNK;
}

static uint64_t n_chunks(const struct ck_blobranges_spec *s)
{
	uint64_t head = s->sealed ? CK_CHUNKED_HEADER : 0;
	uint64_t one = s->sealed ? CK_CHUNK_SEALED : CK_TAG_CHUNK;
	uint64_t len = s->blob_len > head ? s->blob_len - head : 0;

	return len / one + (len % one != 0);
}

/* Where chunk IDX begins in the blob; the first has the header with it. */
static uint64_t chunk_off(const struct ck_blobranges_spec *s, uint64_t idx)
{
	uint64_t off = idx * CK_TAG_CHUNK;

	if (s->sealed)
		off = idx ? CK_CHUNKED_HEADER + idx * CK_CHUNK_SEALED : 0;
	return off < s->blob_len ? off : s->blob_len;
}

/* Uses the chunks of [OFF, END) of the compressed stream. */
static int add_in(struct ck_firstuse *f, const struct ck_blobranges_spec *s, uint64_t off,
		  uint64_t end, struct ck_err *err)
{
	uint64_t one = chunk_len(s), n = n_chunks(s);
	uint64_t first = off / one, last = end / one + (end % one != 0);

	if (last > n)
		last = n;
	return first < last ? ck_firstuse_add(f, first, last - first, err) : 0;
}

/* A frame's part for its first bytes up to unit IDX, if it packs evenly. */
static uint64_t estimate_end(const struct ck_units *u, uint32_t idx)
{
	uint32_t point = u->units[idx].point;
	const struct ck_point *p = &u->points[point];
	uint64_t end = ck_units_in_end(u, idx);
	uint64_t out_end = point + 1 < u->n_points ? p[1].out_off : u->len;
	uint64_t out = ck_units_end(u, idx) - p->out_off;
	double part = out_end > p->out_off ? (double)out / (double)(out_end - p->out_off) : 1;
	uint64_t in = (uint64_t)((double)(end - p->in_off) * part);

	in += in / 16 + SLACK;
	return in < end - p->in_off ? p->in_off + in : end;
}

/* What unit IDX needs of the compressed stream. */
static int add_unit(struct ck_firstuse *f, const struct ck_blobranges_spec *s, uint32_t idx,
		    struct ck_err *err)
{
	const struct ck_units *u = s->units;
	uint64_t off = u->points[u->units[idx].point].in_off, end = ck_units_in_end(u, idx);

	if (end < off) /* of an index that lies */
		return 0;
	if (!ck_units_alone(u, idx))
		return add_in(f, s, off, estimate_end(u, idx), err);
	/* Behind the last unit something else may follow; as in unitmaker.c. */
	uint64_t len = ck_units_end(u, idx) - u->units[idx].out_off;
	uint64_t most = off + len + len / 128 + chunk_len(s);
	return add_in(f, s, off, end < most ? end : most, err);
}

static bool begins_before(const struct ck_units *u, uint32_t idx, uint64_t off)
{
	return idx < u->n_units && u->units[idx].out_off < off;
}

static int add_tar(struct ck_firstuse *f, const struct ck_blobranges_spec *s,
		   const struct ck_range *r, struct ck_err *err)
{
	const struct ck_units *u = s->units;
	uint64_t end = r->off + r->len;
	int rc = 0;

	if (u->compression == CK_COMPRESSION_NONE)
		return add_in(f, s, r->off, end, err);
	for (uint32_t i = ck_units_find(u, r->off); rc == 0 && begins_before(u, i, end); i++) {
		/* The next one from the same point needs all that this one does. */
		bool last =
		    !begins_before(u, i + 1, end) || u->units[i + 1].point != u->units[i].point;
		rc = last ? add_unit(f, s, i, err) : 0;
	}
	return rc;
}

static int to_bytes(struct ck_range **out, size_t *n, const struct ck_firstuse *f,
		    const struct ck_blobranges_spec *s, struct ck_err *err)
{
	const struct ck_range *r = ck_firstuse_ranges(f, n);
	struct ck_range *own = reallocarray(NULL, *n + 1, sizeof *own);

	if (!own)
		return ck_nomem(err, "finding what to prefetch");
	for (size_t i = 0; i < *n; i++) {
		uint64_t off = chunk_off(s, r[i].off);
		own[i] = (struct ck_range){ off, chunk_off(s, r[i].off + r[i].len) - off };
	}
	*out = own;
	return 0;
}

int ck_blobranges(struct ck_range **out, size_t *n, const struct ck_blobranges_spec *s,
		  struct ck_err *err)
{
	CK_AUTO(ck_firstuse_closep) struct ck_firstuse *f = NULL;
	uint64_t chunks = n_chunks(s);
	int rc = ck_firstuse_open(&f, chunks, 0, SIZE_MAX, err);

	for (size_t i = 0; rc == 0 && i < s->n_tar; i++)
		rc = add_tar(f, s, &s->tar[i], err);
	if (rc == 0 && s->all)
		rc = ck_firstuse_add(f, 0, chunks, err);
	return rc < 0 ? rc : to_bytes(out, n, f, s, err);
}
