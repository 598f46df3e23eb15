#include "fs/tracetext.h"

#include <errno.h>
#include <string.h>

int ck_tracetext_open(struct ck_tracetext *t, const struct ck_index *const *index,
		      const uint64_t *tar_len, size_t n_layers, struct ck_err *err)
{
	*t = (struct ck_tracetext){ .index = index, .n_layers = n_layers };
	t->tar_len = calloc(n_layers + 1, sizeof *t->tar_len);
	t->base = calloc(n_layers + 1, sizeof *t->base);
	t->files = calloc(n_layers + 1, sizeof *t->files);
	if (!t->tar_len || !t->base || !t->files)
		return ck_nomem(err, "recording");
	for (size_t i = 0; i < n_layers; i++) {
		t->tar_len[i] = tar_len[i];
		t->base[i + 1] = t->base[i] + tar_len[i] / CK_TAR_BLOCK + 2;
	}
	return 0;
}

void ck_tracetext_close(struct ck_tracetext *t)
{
	for (size_t i = 0; t->files && i < t->n_layers; i++)
		ck_byoffset_free(&t->files[i]);
	free(t->tar_len);
	free(t->base);
	free(t->files);
	*t = (struct ck_tracetext){ 0 };
}

bool ck_tracetext_blocks(const struct ck_tracetext *t, uint32_t layer, uint64_t off,
			 uint64_t nbytes, uint64_t *first, uint64_t *n)
{
	if (layer >= t->n_layers || nbytes == 0 || off > t->tar_len[layer] ||
	    nbytes > t->tar_len[layer] - off)
		return false;
	*first = t->base[layer] + off / CK_TAR_BLOCK;
	*n = (off + nbytes - 1) / CK_TAR_BLOCK + 1 - off / CK_TAR_BLOCK;
	return true;
}

/* What is being written: lines that go on in each other become one. */
struct writer {
	struct ck_buf *out;
	struct ck_tracetext *t;
	uint32_t layer, entry;
	struct ck_wanted line; /* len 0: none */
	size_t n;
	size_t n_steps;
};

/* Each range and each extent is looked at once, unless an index lies. */
enum { MAX_STEPS = 64 << 20 };

/* -EFBIG: there is no more room. */
static int end_line(struct writer *w, struct ck_err *err)
{
	size_t len = w->line.len ? strlen(w->line.path) : 0;

	/* Of an index that lies: no such name can be read back. */
	if (len == 0 || len > CK_TRACE_PATH / 4)
		return 0;
	/* The first line of all counts, too. */
	if (w->n + 1 >= CK_TRACE_LINES)
		return -EFBIG;
	w->n++;
	return ck_trace_add(w->out, w->layer, &w->line, err);
}

static int add_piece(struct writer *w, uint32_t layer, uint32_t entry, uint64_t off, uint64_t len,
		     struct ck_err *err)
{
	const struct ck_index *x = w->t->index[layer];
	int rc = 0;

	if (w->line.len && w->layer == layer && w->entry == entry &&
	    w->line.off + w->line.len == off) {
		w->line.len += len;
		return 0;
	}
	rc = end_line(w, err);
	w->layer = layer;
	w->entry = entry;
	w->line = (struct ck_wanted){ ck_index_bytes(x, x->entries[entry].path), off, len };
	return rc;
}

/* The files in [OFF, END) of a layer's tar stream. */
static int add_range(struct writer *w, uint32_t layer, uint64_t off, uint64_t end,
		     struct ck_err *err)
{
	struct ck_byoffset *files = &w->t->files[layer];
	int rc = files->v ? 0 : ck_byoffset_make(files, w->t->index[layer], err);

	if (rc < 0)
		return rc;
	for (size_t i = ck_byoffset_find(files, off);
	     rc == 0 && i < files->n && files->v[i].tar_off < end; i++) {
		const struct ck_owned *o = &files->v[i];
		if (w->n_steps++ == MAX_STEPS)
			return -EFBIG;
		uint64_t from = o->tar_off > off ? o->tar_off : off;
		uint64_t to = o->len < end - o->tar_off ? o->tar_off + o->len : end;
		if (from < to)
			rc = add_piece(w, layer, o->entry, o->file_off + (from - o->tar_off),
				       to - from, err);
	}
	return rc;
}

/* The layer that block B is of. */
static uint32_t layer_of(const struct ck_tracetext *t, uint64_t b)
{
	size_t lo = 0, hi = t->n_layers;

	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;
		if (t->base[mid] <= b)
			lo = mid;
		else
			hi = mid;
	}
	return (uint32_t)lo;
}

int ck_tracetext_write(struct ck_buf *out, struct ck_tracetext *t, const struct ck_range *ranges,
		       size_t n, struct ck_err *err)
{
	struct writer w = { .out = out, .t = t };
	int rc = ck_trace_begin(out, err);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		uint32_t layer = layer_of(t, ranges[i].off);
		uint64_t off = (ranges[i].off - t->base[layer]) * CK_TAR_BLOCK;
		uint64_t len = ranges[i].len * CK_TAR_BLOCK;
		uint64_t left = t->tar_len[layer] - off;
		rc = add_range(&w, layer, off, off + (len < left ? len : left), err);
	}
	if (rc == 0)
		rc = end_line(&w, err);
	return rc == -EFBIG ? 0 : rc;
}
