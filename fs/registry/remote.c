#include "fs/registry/remote.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "fs/registry/remote_steps.h"

/* PROVED: bytes that somebody reads in order before anything is fetched for him ahead: more than a
 * unit of a layer has, which is read in order whoever wants a byte of it. */
enum { B = CK_CACHE_BLOCK, PROVED = 1280 << 10 };

static uint64_t block_end(const struct ck_remote *r, uint64_t off)
{
	return off < r->size ? off / B + (off % B != 0) : r->n_blocks;
}

/* Begins to fetch what is missing of the blocks [FIRST, END), in pieces; unless it is URGENT, as
 * much as can be begun soon. With the lock. */
static int fetch_missing(struct ck_remote *r, uint64_t first, uint64_t end, bool urgent,
			 struct ck_err *err)
{
	uint64_t piece = ck_net_piece(r->net) / B, n;

	while (first < end && (urgent || !ck_net_crowded(r->net))) {
		uint64_t at = ck_remote_missing(r, first, end, piece, &n);
		int rc = n ? ck_remote_begin(r, at, n, urgent, NULL, err) : 0;
		if (rc < 0)
			return rc;
		first = at + n;
	}
	return 0;
}

/* Who reads: since when, by the clocks of windows and of the world. */
struct reader {
	struct ck_remote *r;
	uint64_t ticket, deadline_ms;
};

/* A part of block IDX: NBYTES at SKIP of it. */
struct part {
	uint64_t idx;
	size_t skip, nbytes;
};

static int too_late(const struct reader *me, const struct part *p, struct ck_err *err)
{
	return ck_fail(
	    err, -ETIMEDOUT,
	    "%s has not sent bytes %" PRIu64 " to %" PRIu64 " of the blob within %" PRIu64 " ms",
	    ck_registry_host(me->r->registry), p->idx * B,
	    p->idx * B + ck_remote_block_len(me->r, p->idx) - 1, ck_net_timeout_ms(me->r->net));
}

/* Waits until W has the block; with the lock. -EAGAIN: it will not, but another may. */
static int await(const struct reader *me, struct ck_window *w, const struct part *p,
		 struct ck_err *err)
{
	uint64_t ms = me->deadline_ms;
	struct timespec t = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };

	while (w->running && w->n_done <= p->idx - w->first)
		if (pthread_cond_timedwait(&me->r->news, &me->r->lock, &t) == ETIMEDOUT)
			return too_late(me, p, err);
	if (w->n_done > p->idx - w->first)
		return 0;
	/* Who came late to a fetch that failed has time for one of his own. */
	if (w->stale || (w->ticket <= me->ticket && w->code != -ECANCELED))
		return -EAGAIN;
	if (err)
		*err = w->err;
	return w->code;
}

/* From a window, when one has the block or will. -ENOENT: none. With the lock. */
static int from_window(const struct reader *me, const struct part *p, uint8_t *to,
		       struct ck_err *err)
{
	struct ck_remote *r = me->r;
	struct ck_window *w = ck_windows_find(&r->windows, p->idx, me->ticket);
	int rc = 0;

	if (!w)
		return -ENOENT;
	ck_window_take(w, r->net);
	if (w->n_done <= p->idx - w->first) {
		if (w->job)
			ck_net_hurry(r->net, w->job);
		ck_net_wait_begin(r->net);
		rc = await(me, w, p, err);
		ck_net_wait_end(r->net);
	}
	if (rc == 0) {
		pthread_mutex_unlock(&r->lock);
		memcpy(to, w->buf + (p->idx - w->first) * B + p->skip, p->nbytes);
		pthread_mutex_lock(&r->lock);
	}
	ck_window_put(&r->windows, w, r->net);
	return rc == -EAGAIN ? -ENOENT : rc;
}

static bool from_cache(struct ck_remote *r, const struct part *p, uint8_t *to)
{
	uint8_t own[B];
	bool all = p->nbytes == ck_remote_block_len(r, p->idx);

	if (!r->kept || !ck_cached_blob_get(r->kept, p->idx, all ? to : own))
		return false;
	if (!all)
		memcpy(to, own + p->skip, p->nbytes);
	ck_net_note_kept(r->net, p->nbytes);
	return true;
}

/* Begins to fetch the block, unless somebody else has. The cache said that it has it, and has not;
 * or a fetch for others failed. */
static int fetch_again(const struct reader *me, const struct part *p, struct ck_err *err)
{
	struct ck_remote *r = me->r;
	int rc = 0;

	if (atomic_load(&r->user.cancel))
		return ck_fail(err, -ECANCELED, "given up");
	if (ck_now_ms() >= me->deadline_ms)
		return too_late(me, p, err);
	pthread_mutex_lock(&r->lock);
	if (!ck_windows_find(&r->windows, p->idx, me->ticket))
		rc = ck_remote_begin(r, p->idx, 1, true, NULL, err);
	pthread_mutex_unlock(&r->lock);
	return rc;
}

static int read_part(const struct reader *me, const struct part *p, uint8_t *to, struct ck_err *err)
{
	int rc;

	do {
		pthread_mutex_lock(&me->r->lock);
		rc = from_window(me, p, to, err);
		pthread_mutex_unlock(&me->r->lock);
		if (rc != -ENOENT || from_cache(me->r, p, to))
			return rc == -ENOENT ? 0 : rc;
		rc = fetch_again(me, p, err);
	} while (rc == 0);
	return rc;
}

/* The stream that a read at OFF continues, else the one not used for longest, which then begins
 * there. With the lock. */
static struct ck_stream *stream_at(struct ck_remote *r, uint64_t off)
{
	struct ck_stream *oldest = &r->streams[0];

	for (size_t i = 0; i < CK_REMOTE_STREAMS; i++) {
		struct ck_stream *s = &r->streams[i];
		if (s->used && off >= s->next && off - s->next < B)
			return s;
		if (s->used < oldest->used)
			oldest = s;
	}
	*oldest = (struct ck_stream){ .next = off };
	return oldest;
}

/* Has fetched what one who reads in order will want: two pieces, of which he reads one; but no more
 * than he has read so far, for most files end soon. */
static void look_ahead(struct ck_remote *r, uint64_t off, size_t nbytes)
{
	uint64_t ahead = 2 * ck_net_piece(r->net), end = off + nbytes;
	struct ck_err err;

	pthread_mutex_lock(&r->lock);
	struct ck_stream *s = stream_at(r, off);
	s->run += end - s->next;
	s->next = end;
	s->used = ++r->clock;
	if (ahead > s->run)
		ahead = s->run;
	uint64_t from = s->asked > end ? s->asked : end, to = end + ahead;
	if (s->run >= PROVED && from < r->size && to >= from + ahead / 2) {
		s->asked = to;
		/* Who reads finds out for himself what went wrong. */
		(void)fetch_missing(r, from / B, block_end(r, to), false, &err);
	}
	pthread_mutex_unlock(&r->lock);
}

/* Somebody of another blob needs the memory, and holds the lock of that and the net's. */
static uint64_t give(struct ck_net_user *u, uint64_t want)
{
	struct ck_remote *r =
	    (struct ck_remote *)(void *)((char *)u - offsetof(struct ck_remote, user));

	if (pthread_mutex_trylock(&r->lock) != 0) /* it may be our own, too */
		return 0;
	uint64_t given = ck_windows_give(&r->windows, want);
	pthread_mutex_unlock(&r->lock);
	return given;
}

static ssize_t remote_pread(void *ctx, void *buf, size_t nbytes, uint64_t off, struct ck_err *err)
{
	struct ck_remote *r = ctx;
	struct reader me = { .r = r, .deadline_ms = ck_now_ms() + ck_net_timeout_ms(r->net) };
	uint64_t end = off + nbytes;
	uint8_t *to = buf;

	atomic_store(&r->user.read_ms, ck_now_ms());
	pthread_mutex_lock(&r->lock);
	me.ticket = r->clock;
	int rc = fetch_missing(r, off / B, block_end(r, end), true, err);
	pthread_mutex_unlock(&r->lock);
	look_ahead(r, off, nbytes);
	for (uint64_t at = off; rc == 0 && at < end;) {
		struct part p = { .idx = at / B, .skip = (size_t)(at % B) };
		size_t len = ck_remote_block_len(r, p.idx) - p.skip;
		p.nbytes = end - at < len ? (size_t)(end - at) : len;
		rc = read_part(&me, &p, to, err);
		to += p.nbytes;
		at += p.nbytes;
	}
	return rc < 0 ? rc : (ssize_t)nbytes;
}

void ck_remote_distrust(struct ck_remote *r, uint64_t first, uint64_t end)
{
	struct ck_blocks *at = &r->afresh[r->clock++ % CK_REMOTE_AFRESH];

	for (size_t i = 0; i < CK_REMOTE_AFRESH; i++)
		if (r->afresh[i].first == r->afresh[i].end)
			at = &r->afresh[i];
	*at = (struct ck_blocks){ first, end };
}

/* Whether any of the blocks [FIRST, END) is just being kept. With the lock. */
static bool is_keeping(const struct ck_remote *r, uint64_t first, uint64_t end)
{
	const struct ck_window *w;

	TAILQ_FOREACH(w, &r->windows, link)
	if (w->keeps > first && w->keeps <= end)
		return true;
	return false;
}

static bool remote_refetch(void *ctx, uint64_t off, uint64_t nbytes)
{
	struct ck_remote *r = ctx;
	uint64_t first = off / B, end = block_end(r, off + nbytes);

	pthread_mutex_lock(&r->lock);
	ck_windows_disown(&r->windows, first, end, r->net);
	ck_remote_distrust(r, first, end);
	/* Or it would be kept after it was forgotten. */
	while (is_keeping(r, first, end))
		pthread_cond_wait(&r->news, &r->lock);
	pthread_mutex_unlock(&r->lock);
	if (r->kept)
		(void)ck_cached_blob_forget(r->kept, first, end - first);
	ck_net_note_refetch(r->net);
	return true;
}

static void remote_advise(void *ctx, uint64_t off, uint64_t nbytes)
{
	struct ck_remote *r = ctx;
	struct ck_err err;

	/* It will be read: others do not take what comes before it is. */
	atomic_store(&r->user.read_ms, ck_now_ms());
	pthread_mutex_lock(&r->lock);
	(void)fetch_missing(r, off / B, block_end(r, off + nbytes), false, &err);
	pthread_mutex_unlock(&r->lock);
}

static void remote_close(void *ctx)
{
	struct ck_remote *r = ctx;

	ck_net_leave(r->net, &r->user);
	pthread_mutex_lock(&r->lock);
	while (r->n_running)
		pthread_cond_wait(&r->news, &r->lock);
	ck_windows_free(&r->windows, r->net);
	pthread_mutex_unlock(&r->lock);
	ck_cached_blob_close(r->kept);
	pthread_cond_destroy(&r->news);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

int ck_remote_open(struct ck_reader **reader, struct ck_remote **out, struct ck_net *net,
		   struct ck_registry *registry, struct ck_blobcache *c,
		   const uint8_t digest[CK_SHA256_LEN], uint64_t size, struct ck_err *err)
{
	static const struct ck_reader_ops ops = { .pread = remote_pread,
						  .close = remote_close,
						  .refetch = remote_refetch,
						  .advise = remote_advise };
	pthread_condattr_t attr;
	struct ck_remote *r = calloc(1, sizeof *r);

	if (!r)
		return ck_nomem(err, "opening a blob");
	*r = (struct ck_remote){ .net = net, .registry = registry, .size = size };
	r->n_blocks = size / B + (size % B != 0);
	memcpy(r->digest, digest, sizeof r->digest);
	int rc = c ? ck_cached_blob_open(&r->kept, c, digest, size, err) : 0;
	if (rc == 0)
		rc = ck_reader_open(reader, &ops, r, size, err);
	if (rc < 0) {
		ck_cached_blob_close(r->kept);
		free(r);
		return rc;
	}
	pthread_mutex_init(&r->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&r->news, &attr);
	pthread_condattr_destroy(&attr);
	TAILQ_INIT(&r->windows);
	r->user.give = give;
	ck_net_join(net, &r->user);
	if (out)
		*out = r;
	return 0;
}

/* Fetches one run, and waits for it. With the lock. */
static int fetch_run(struct ck_remote *r, uint64_t first, uint64_t n, struct ck_err *err)
{
	struct ck_window *w;
	int rc = ck_remote_begin(r, first, n, false, &w, err);

	if (rc < 0)
		return rc;
	while (w->running)
		pthread_cond_wait(&r->news, &r->lock);
	if (w->code < 0 && w->code != -EAGAIN) {
		rc = w->code;
		*err = w->err;
	}
	ck_window_put(&r->windows, w, r->net);
	return rc;
}

int ck_remote_prefetch(struct ck_remote *r, uint64_t off, uint64_t len, bool urgent,
		       struct ck_err *err)
{
	uint64_t at = off / B, n;
	uint64_t end = off < r->size && len < r->size - off ? block_end(r, off + len) : r->n_blocks;
	int rc = 0;

	while (rc == 0 && at < end) {
		if (urgent ? atomic_load(&r->user.cancel) : !ck_net_idle(r->net, &r->user))
			return ck_fail(err, -ECANCELED, "given up");
		pthread_mutex_lock(&r->lock);
		at = ck_remote_missing(r, at, end, ck_net_piece(r->net) / B, &n);
		if (n)
			rc = fetch_run(r, at, n, err);
		pthread_mutex_unlock(&r->lock);
		at += n;
	}
	return rc;
}

uint64_t ck_remote_fetched(struct ck_remote *r)
{
	return atomic_load(&r->fetched);
}

uint64_t ck_remote_kept(struct ck_remote *r)
{
	return r->kept ? ck_cached_blob_bytes(r->kept) : 0;
}
