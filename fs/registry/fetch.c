#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "fs/registry/remote_steps.h"

enum { B = CK_CACHE_BLOCK };

/* A fetch under way. */
struct fetch {
	struct ck_net_job job; /* the first member */
	struct ck_remote *r;
	struct ck_window *w;
	uint64_t end_ms; /* of waiting for a thread, by ck_now_ms */
	bool whole;	 /* what comes is the blob, not what was asked for */
	uint64_t at;	 /* next byte of the blob */
	uint64_t wanted; /* next byte of what was asked for, when that came last */
	uint64_t n_own;	 /* blocks of what was asked for that came, to be kept in the end */
	uint8_t *block;	 /* of a whole blob: what is not full yet */
};

/* Who finds out meanwhile that it is wrong waits for us. */
static void keep(const struct fetch *f, uint64_t idx, const uint8_t *bytes)
{
	struct ck_remote *r = f->r;
	struct ck_window *w = f->w;

	if (!r->kept)
		return;
	pthread_mutex_lock(&r->lock);
	bool wrong = w->stale && idx >= w->wrong_first && idx < w->wrong_end;
	w->keeps = wrong ? 0 : idx + 1;
	pthread_mutex_unlock(&r->lock);
	if (wrong)
		return;
	ck_cached_blob_put(r->kept, idx, bytes);
	pthread_mutex_lock(&r->lock);
	w->keeps = 0;
	if (w->stale)
		pthread_cond_broadcast(&r->news);
	pthread_mutex_unlock(&r->lock);
}

/* With the lock. */
static void end_window(struct ck_remote *r, struct ck_window *w, int code, const struct ck_err *err)
{
	w->running = false;
	w->attached = false;
	w->job = NULL;
	w->code = code;
	w->err = *err;
	ck_window_put(&r->windows, w, r->net);
}

/* The attached window that has all it waits for; ANY: the first attached one. NULL: none. */
static struct ck_window *attached(const struct ck_remote *r, bool any)
{
	struct ck_window *w;

	TAILQ_FOREACH(w, &r->windows, link)
	if (w->attached && (any || w->n_done == w->n))
		return w;
	return NULL;
}

/* Block IDX has come, as BYTES: for our own window, and those that wait for us. Who waits does not
 * wait for the disk, nor for room to be made on it; but of a whole blob, who comes too late to wait
 * finds it kept. */
static void deliver(const struct fetch *f, uint64_t idx, const uint8_t *bytes)
{
	const struct ck_err none = { 0 };
	struct ck_remote *r = f->r;
	struct ck_window *w;

	if (f->whole)
		keep(f, idx, bytes);
	pthread_mutex_lock(&r->lock);
	TAILQ_FOREACH(w, &r->windows, link)
	{
		if ((w != f->w && (!w->attached || w->afresh)) || !ck_window_has(w, idx) ||
		    w->n_done != idx - w->first)
			continue;
		uint8_t *to = w->buf + w->n_done * B;
		if (to != bytes)
			memcpy(to, bytes, ck_remote_block_len(r, idx));
		w->n_done++;
	}
	if (f->whole)
		r->whole_next = idx + 1;
	while ((w = attached(r, false)))
		end_window(r, w, 0, &none);
	pthread_cond_broadcast(&r->news);
	pthread_mutex_unlock(&r->lock);
}

/* What came of what was asked for, once nobody waits for more of it. */
static void keep_own(const struct fetch *f)
{
	for (uint64_t i = 0; i < f->n_own; i++)
		keep(f, f->w->first + i, f->w->buf + i * B);
}

static int take_whole(struct fetch *f, const uint8_t *p, size_t nbytes, struct ck_err *err)
{
	struct ck_remote *r = f->r;

	if (!f->block && !(f->block = malloc(B)))
		return ck_nomem(err, "fetching a blob");
	while (nbytes) {
		uint64_t idx = f->at / B;
		size_t have = (size_t)(f->at % B), len = ck_remote_block_len(r, idx);
		size_t n = nbytes < len - have ? nbytes : len - have;
		memcpy(f->block + have, p, n);
		f->at += n;
		p += n;
		nbytes -= n;
		if (have + n < len)
			continue;
		deliver(f, idx, f->block);
	}
	return 0;
}

/* What comes is the blob, from byte OFF, where a block begins. One such stream at a time: what is
 * missing further on waits for that. */
static int begin_whole(struct fetch *f, uint64_t off, struct ck_err *err)
{
	struct ck_remote *r = f->r;
	int rc = 0;

	pthread_mutex_lock(&r->lock);
	if (r->whole && !f->whole) {
		rc = ck_fail(err, -EALREADY, "the whole blob is on its way already");
	} else {
		r->whole = f->whole = true;
		r->whole_next = off / B;
		f->at = off;
	}
	pthread_mutex_unlock(&r->lock);
	return rc;
}

/* Bytes that were asked for go straight into the window. */
static void take_wanted(struct fetch *f, const uint8_t *p, size_t nbytes)
{
	const struct ck_window *w = f->w;
	uint64_t idx = f->at / B;

	memcpy(w->buf + (f->at - w->first * B), p, nbytes);
	f->at += nbytes;
	f->wanted = f->at;
	for (; ck_window_has(w, idx) && idx * B + ck_remote_block_len(f->r, idx) <= f->at; idx++) {
		deliver(f, idx, w->buf + (idx - w->first) * B);
		f->n_own = idx + 1 - w->first;
	}
}

/* The stream of the whole blob is over: who waited for it and has not got all comes again. With the
 * lock. */
static void end_whole(struct ck_remote *r, int code, const struct ck_err *err)
{
	struct ck_window *w;

	r->whole = false;
	while ((w = attached(r, true))) {
		if (w->afresh)
			ck_remote_distrust(r, w->first, w->first + w->n);
		end_window(r, w, code == -ECANCELED ? code : -EAGAIN, err);
	}
	pthread_cond_broadcast(&r->news);
}

/* The whole blob was cut, and who has the rest of it gives what was asked for. */
static void leave_whole(struct fetch *f)
{
	const struct ck_err none = { 0 };

	pthread_mutex_lock(&f->r->lock);
	end_whole(f->r, 0, &none);
	pthread_mutex_unlock(&f->r->lock);
	f->whole = false;
	f->at = f->wanted;
}

static int on_data(void *ctx, uint64_t off, const void *p, size_t nbytes, struct ck_err *err)
{
	struct fetch *f = ctx;
	uint64_t size = f->r->size, end = (f->w->first + f->w->n) * B;
	const uint8_t *from = p;
	int rc = 0;

	if (f->whole && off && off != f->at && off == f->wanted)
		leave_whole(f);
	if (off > size || nbytes > size - off || (off && off != f->at))
		return ck_fail(err, -EPROTO, "bytes came that were not asked for");
	if (off != f->at) /* from the start, for the first time or once more */
		rc = begin_whole(f, 0, err);
	else if (!f->whole && nbytes > end - off) {
		size_t n = (size_t)(end - off);
		take_wanted(f, from, n);
		from += n;
		nbytes -= n;
		rc = begin_whole(f, end, err);
	}
	if (rc < 0)
		return rc;
	if (f->whole)
		return take_whole(f, from, nbytes, err);
	take_wanted(f, from, nbytes);
	return 0;
}

static bool will_pass(const struct ck_remote *r, uint64_t first)
{
	return r->whole && first >= r->whole_next;
}

static void end_fetch(struct fetch *f, int rc, const struct ck_err *err)
{
	struct ck_remote *r = f->r;

	pthread_mutex_lock(&r->lock);
	if (f->whole)
		end_whole(r, rc, err);
	f->w->job = NULL;
	if (rc == -EALREADY && r->whole)
		f->w->attached = true; /* it may pass by; else who waits comes again after it */
	else
		end_window(r, f->w, rc == -EALREADY ? -EAGAIN : rc, err);
	r->n_running--;
	pthread_cond_broadcast(&r->news);
	pthread_mutex_unlock(&r->lock); /* the last that is done with the blob */
	free(f->block);
	free(f);
}

/* On a thread for fetches. */
static void fetch_main(struct ck_net_job *j)
{
	struct fetch *f = (struct fetch *)j;
	struct ck_remote *r = f->r;
	struct ck_registry_fetched got = { 0 };
	const struct ck_registry_taker taker = { on_data, f };
	struct ck_err err = { 0 };
	uint64_t end = (f->w->first + f->w->n) * B;
	struct ck_registry_want want = { .size = r->size,
					 .off = f->w->first * B,
					 .afresh = f->w->afresh,
					 .deadline_ms = ck_net_timeout_ms(r->net),
					 .cancel = &r->user.cancel };

	want.len = (end < r->size ? end : r->size) - want.off;
	memcpy(want.digest, r->digest, sizeof want.digest);
	f->at = f->wanted = want.off;
	int rc;
	if (atomic_load(&r->user.cancel))
		rc = ck_fail(&err, -ECANCELED, "given up");
	else if (ck_now_ms() >= f->end_ms) /* or they would become more and more */
		rc = ck_fail(&err, -ETIMEDOUT, "all connections were busy");
	else
		rc = ck_registry_fetch(r->registry, &want, &taker, &got, &err);
	keep_own(f);
	atomic_fetch_add(&r->fetched, got.nbytes);
	if (rc != -EALREADY)
		ck_net_note(r->net, got.nbytes, got.wait_us, got.body_us, got.n_tries, rc < 0);
	end_fetch(f, rc, &err);
}

/* Whether any of the blocks [FIRST, END) proved wrong, which is to count once. With the lock. */
static bool take_afresh(struct ck_remote *r, uint64_t first, uint64_t end)
{
	bool any = false;

	for (size_t i = 0; i < CK_REMOTE_AFRESH; i++) {
		struct ck_blocks *s = &r->afresh[i];
		if (s->first >= end || s->end <= first)
			continue;
		any = true;
		if (first <= s->first)
			s->first = end < s->end ? end : s->end;
		else if (end >= s->end)
			s->end = first;
	}
	return any;
}

int ck_remote_begin(struct ck_remote *r, uint64_t first, uint64_t n, bool urgent,
		    struct ck_window **out, struct ck_err *err)
{
	struct fetch *f = calloc(1, sizeof *f);
	struct ck_window *w = f ? ck_window_new(&r->windows, first, n) : NULL;

	if (!w) {
		free(f);
		return ck_nomem(err, "fetching a blob");
	}
	w->ticket = ++r->clock;
	w->afresh = take_afresh(r, first, first + n);
	w->attached = will_pass(r, first) && !w->afresh;
	if (out) {
		ck_window_take(w, r->net);
		*out = w;
	}
	if (w->attached) {
		free(f);
		return 0;
	}
	*f = (struct fetch){ .job = { .fn = fetch_main },
			     .r = r,
			     .w = w,
			     .end_ms = ck_now_ms() + ck_net_timeout_ms(r->net) };
	w->job = &f->job;
	r->n_running++;
	ck_net_run(r->net, &f->job, urgent);
	return 0;
}

enum { LOOK = 64 }; /* blocks that the cache is asked for at once */

uint64_t ck_remote_missing(struct ck_remote *r, uint64_t first, uint64_t end, uint64_t most,
			   uint64_t *n)
{
	bool kept[LOOK] = { false };

	*n = 0;
	for (uint64_t i = first; i < end; i++) {
		size_t at = (size_t)((i - first) % LOOK);
		if (at == 0 && r->kept)
			ck_cached_blob_have(r->kept, i, (size_t)(end - i < LOOK ? end - i : LOOK),
					    kept);
		if (!kept[at] && !ck_windows_find(&r->windows, i, UINT64_MAX)) {
			if (++*n == most)
				return i + 1 - *n;
		} else if (*n) {
			return i - *n;
		}
	}
	return end - *n;
}
