#include "tar/index/window.h"

#include <errno.h>

#include "base/secret.h"

static void forget(struct ck_buf *b)
{
	if (b->len)
		ck_wipe(b->data, b->len);
	b->len = 0;
}

int ck_window_keep(struct ck_window *w, uint64_t keep, struct ck_err *err)
{
	uint64_t end = w->off + w->len;
	uint64_t tail = keep < end ? end - keep : 0;
	int rc = 0;

	if (tail <= w->len)
		forget(&w->kept);
	else
		tail = w->len; /* what is before that block is kept already, or is gone */
	if (tail)
		rc = ck_buf_add(&w->kept, w->block + (w->len - tail), (size_t)tail, NULL);
	if (rc == -EFBIG) {
		forget(&w->kept);
		rc = 0;
	}
	w->off = end;
	w->len = 0;
	return rc < 0 ? ck_nomem(err, "reading a tar") : 0;
}

void ck_window_add(struct ck_window *w, const uint8_t *p, size_t nbytes)
{
	w->block = p;
	w->len = nbytes;
}

const uint8_t *ck_window_at(struct ck_window *w, uint64_t from, uint64_t to)
{
	uint64_t first = w->off - w->kept.len;

	if (from < first || to > w->off + w->len || from > to)
		return NULL;
	if (from >= w->off)
		return w->block + (from - w->off);
	if (to <= w->off)
		return w->kept.data + (from - first);
	forget(&w->joined);
	if (ck_buf_add(&w->joined, w->kept.data + (from - first), (size_t)(w->off - from), NULL) <
		0 ||
	    ck_buf_add(&w->joined, w->block, (size_t)(to - w->off), NULL) < 0)
		return NULL;
	return w->joined.data;
}

void ck_window_free(struct ck_window *w)
{
	ck_buf_free(&w->kept);
	ck_buf_free(&w->joined);
}
