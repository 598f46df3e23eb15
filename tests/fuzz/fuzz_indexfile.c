/*
 * Fuzz: any bytes as a layer index, packed and not yet packed. What is taken can be looked at
 * wholly, as mounts and reads do, and merged into a tree.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/secret.h"
#include "fs/tree.h"
#include "tar/blobranges.h"
#include "tar/indexfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* IN_LEN: of the compressed stream. UNPACKED_MAX: an index may be as long as 1 GiB, which
 * is right, and too much to try here. */
enum { IN_LEN = 1 << 20, UNPACKED_MAX = 64 << 20 };

static volatile uint64_t sum; /* what is read is used */

static void look_at_span(const struct ck_index *x, struct ck_span s)
{
	const char *p = ck_index_bytes(x, s);

	for (uint32_t i = 0; i < s.len; i++)
		sum += (uint8_t)p[i];
	if (p[s.len] != 0)
		abort();
}

static void look_at_entry(const struct ck_index *x, const struct ck_entry *e, uint64_t tar_len)
{
	uint64_t end = 0;

	look_at_span(x, e->path);
	look_at_span(x, e->link);
	for (uint32_t i = 0; i < e->n_extents; i++) {
		const struct ck_extent *t = &x->extents[e->first_extent + i];
		if (t->file_off < end || t->file_off > e->size || t->len > e->size - t->file_off ||
		    t->tar_off > tar_len || t->len > tar_len - t->tar_off)
			abort();
		end = t->file_off + t->len;
	}
	for (uint32_t i = 0; i < e->n_xattrs; i++)
		look_at_span(x, x->xattrs[e->first_xattr + i].value);
}

static void look_at_index(const struct ck_index *x, uint64_t tar_len)
{
	for (size_t i = 0; i < x->n_xattrs; i++)
		look_at_span(x, x->xattrs[i].name);
	for (size_t i = 0; i < x->n_entries; i++)
		look_at_entry(x, &x->entries[i], tar_len);
	for (int view = 0; view < 2; view++) {
		struct ck_tree *t = NULL;
		char path[64];
		int rc =
		    ck_tree_build(&t, &x, 1, view ? CK_WHITEOUTS_SHOW : CK_WHITEOUTS_APPLY, NULL);
		for (ck_ino i = 1; rc == 0 && i <= t->n_nodes && i < 100; i++)
			ck_tree_path(t, i, path, sizeof path);
		ck_tree_free(t);
	}
}

/* Units tile the tar stream, and each begins with a point in the compressed one. */
static void look_at_units(const struct ck_units *u)
{
	static uint8_t window[CK_WINDOW_LEN];
	uint64_t off = 0;
	size_t n;

	for (uint32_t i = 0; i < u->n_units; i++) {
		const struct ck_point *p = &u->points[u->units[i].point];
		uint64_t end = ck_units_end(u, i);
		if (u->units[i].out_off != off || end <= off || end - off > CK_UNIT_MAX ||
		    p->out_off > off || p->in_off > IN_LEN ||
		    ck_units_in_end(u, i) > (uint64_t)IN_LEN + 1 || ck_units_find(u, off) != i ||
		    ck_units_find(u, end - 1) != i)
			abort();
		if (ck_units_window(u, p, window, &n, NULL) == 0 && n > sizeof window)
			abort();
		off = end;
	}
	if (off != u->len)
		abort();
}

/* Ranges to prefetch lie in the stream, and lead to such of the blob that holds it. */
static void look_at_prefetch(const struct ck_pass_result *what)
{
	const struct ck_index *x = &what->index;
	uint64_t tar_len = what->units.len;

	for (size_t i = 0; i < x->n_prefetch; i++) {
		const struct ck_range *r = &x->prefetch[i];
		if (r->len == 0 || r->off > tar_len || r->len > tar_len - r->off)
			abort();
	}
	for (int way = 0; way < 4; way++) {
		struct ck_blobranges_spec spec = { .units = &what->units,
						   .blob_len = IN_LEN,
						   .sealed = way & 1,
						   .tar = x->prefetch,
						   .n_tar = x->n_prefetch,
						   .all = way & 2 };
		struct ck_range *r;
		uint64_t total = 0;
		size_t n;
		if (ck_blobranges(&r, &n, &spec, NULL) < 0)
			abort();
		for (size_t i = 0; i < n; i++) {
			if (r[i].len == 0 || r[i].off > IN_LEN || r[i].len > IN_LEN - r[i].off)
				abort();
			total += r[i].len;
		}
		if (spec.all ? total != IN_LEN : total > IN_LEN)
			abort();
		free(r);
	}
}

static void unpack(const void *p, size_t nbytes)
{
	struct ck_indexfile_about about;
	struct ck_pass_result what = { 0 };
	uint8_t *copy = malloc(nbytes ? nbytes : 1); /* exact size, so ASan sees over-reads */

	if (!copy)
		abort();
	if (nbytes)
		memcpy(copy, p, nbytes);
	if (ck_indexfile_unpack(&what, &about, IN_LEN, copy, nbytes, NULL) == 0) {
		look_at_index(&what.index, what.units.len);
		look_at_units(&what.units);
		look_at_prefetch(&what);
		for (size_t i = 0; i < what.tags.n_tags * CK_TAG_LEN; i++)
			sum += what.tags.tags[i];
		ck_pass_result_free(&what);
	}
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static uint8_t packed[1 << 17];
	struct ck_err err;
	static bool ready;

	if (!ready && ck_secret_init(&err) < 0)
		abort();
	ready = true;
	unsigned long long n = ZSTD_getFrameContentSize(data, len);
	if (n >= ZSTD_CONTENTSIZE_ERROR || n <= UNPACKED_MAX)
		unpack(data, len);
	if (len > sizeof packed / 2)
		return 0;
	unpack(packed, ZSTD_compress(packed, sizeof packed, data, len, 1));
	return 0;
}
