#include "tar/inflate/windows.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/secret.h"

enum { LEVEL = 1 }; /* zstd's */

struct waiting {
	struct waiting *next;
	uint32_t point;
	size_t len;
	uint8_t bytes[];
};

struct ck_windows {
	pthread_mutex_t lock;
	struct waiting *first, **end; /* a queue */
	/* Of the packing thread. */
	ZSTD_CCtx *z;
	uint8_t *bytes;
	size_t n_bytes, cap_bytes;
	struct ck_packed_window *table;
	size_t n, cap;
};

int ck_windows_open(struct ck_windows **out, struct ck_err *err)
{
	struct ck_windows *w = calloc(1, sizeof *w);

	if (!w)
		return ck_nomem(err, "recording decompression windows");
	pthread_mutex_init(&w->lock, NULL);
	w->end = &w->first;
	*out = w;
	return 0;
}

static void waiting_free(struct waiting *x)
{
	ck_wipe(x->bytes, x->len);
	free(x);
}

void ck_windows_close(struct ck_windows *w)
{
	if (!w)
		return;
	for (struct waiting *x = w->first, *next; x; x = next) {
		next = x->next;
		waiting_free(x);
	}
	ZSTD_freeCCtx(w->z);
	free(w->bytes);
	free(w->table);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

int ck_windows_put(struct ck_windows *w, uint32_t point, const uint8_t *p, size_t nbytes,
		   struct ck_err *err)
{
	struct waiting *x = malloc(sizeof *x + nbytes);

	if (!x)
		return ck_nomem(err, "recording decompression windows");
	x->next = NULL;
	x->point = point;
	x->len = nbytes;
	memcpy(x->bytes, p, nbytes);
	pthread_mutex_lock(&w->lock);
	*w->end = x;
	w->end = &x->next;
	pthread_mutex_unlock(&w->lock);
	return 0;
}

static struct waiting *pop(struct ck_windows *w)
{
	pthread_mutex_lock(&w->lock);
	struct waiting *x = w->first;
	if (x) {
		w->first = x->next;
		if (!w->first)
			w->end = &w->first;
	}
	pthread_mutex_unlock(&w->lock);
	return x;
}

/* Room for one more of SIZE bytes behind N of them in *P of *CAP. */
static bool room(void *p, size_t n, size_t *cap, size_t more, size_t size)
{
	void **array = p;

	if (*cap - n >= more)
		return true;
	size_t new = 2 * *cap + 64 * more;
	void *d = reallocarray(*array, new, size);
	if (!d)
		return false;
	*array = d;
	*cap = new;
	return true;
}

static bool pack_one(struct ck_windows *w, const struct waiting *x)
{
	size_t bound = ZSTD_compressBound(x->len);

	/* One context for all: making it takes longer than compressing 32 KiB. */
	if (!w->z && !(w->z = ZSTD_createCCtx()))
		return false;
	if (!room(&w->table, w->n, &w->cap, 1, sizeof *w->table) ||
	    !room(&w->bytes, w->n_bytes, &w->cap_bytes, bound, 1))
		return false;
	size_t n = ZSTD_compressCCtx(w->z, w->bytes + w->n_bytes, bound, x->bytes, x->len, LEVEL);
	if (ZSTD_isError(n))
		return false;
	w->table[w->n++] = (struct ck_packed_window){ w->n_bytes, (uint32_t)n, x->point };
	w->n_bytes += n;
	return true;
}

int ck_windows_pack(struct ck_windows *w, struct ck_err *err)
{
	for (struct waiting *x; (x = pop(w));) {
		bool ok = pack_one(w, x);
		waiting_free(x);
		if (!ok)
			return ck_nomem(err, "compressing decompression windows");
	}
	return 0;
}

const struct ck_packed_window *ck_windows_table(const struct ck_windows *w, size_t *n)
{
	*n = w->n;
	return w->table;
}

uint8_t *ck_windows_take(struct ck_windows *w, size_t *nbytes)
{
	uint8_t *bytes = w->bytes, *fit;

	*nbytes = w->n_bytes;
	w->bytes = NULL;
	w->n_bytes = w->cap_bytes = 0;
	if (*nbytes && (fit = realloc(bytes, *nbytes)))
		bytes = fit;
	return bytes;
}
