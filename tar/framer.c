#include "tar/framer.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/secret.h"

/* Bytes that may wait for news of where an entry begins; then they are cut without. */
enum { WAIT_MAX = 4 << 20 };

/* A frame on its way through the pool. */
struct job {
	struct ck_framer *framer;
	uint8_t *in, *out;
	size_t in_cap, out_cap, in_len, out_len;
	ZSTD_CCtx *z;
	bool done;
	size_t zstd_code; /* of ZSTD_isError, when it failed */
};

struct ck_framer {
	struct ck_pool *pool;
	const struct ck_sink *out;
	int level;

	/* The stream from the last cut on. */
	uint8_t *pending;
	size_t n_pending, cap_pending;
	uint64_t start; /* of pending in the stream */
	uint64_t known; /* no entry begins before it that was not told of */

	/* A ring: jobs[first..first + n_jobs) are on their way, in order. */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct job *jobs;
	size_t n_ring, first, n_jobs;

	struct ck_seek_frame *frames;
	size_t n_frames, cap_frames;
};

int ck_framer_open(struct ck_framer **out, int level, struct ck_pool *pool,
		   const struct ck_sink *sink, struct ck_err *err)
{
	if (level < 1 || level > ZSTD_maxCLevel())
		return ck_fail(err, -EINVAL, "zstd has levels from 1 to %d, not %d",
			       ZSTD_maxCLevel(), level);
	CK_AUTO(ck_framer_closep) struct ck_framer *f = calloc(1, sizeof *f);
	if (!f)
		return ck_nomem(err, "compressing a layer");
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->changed, NULL);
	f->pool = pool;
	f->out = sink;
	f->level = level;
	/* While one is written, each thread has one in work and one to go on with. */
	f->n_ring = 2 * ck_pool_n_threads(pool) + 1;
	f->jobs = calloc(f->n_ring, sizeof *f->jobs);
	if (!f->jobs)
		return ck_nomem(err, "compressing a layer");
	*out = ck_take(f);
	return 0;
}

static void wait_for(struct ck_framer *f, const struct job *j)
{
	pthread_mutex_lock(&f->lock);
	while (!j->done)
		pthread_cond_wait(&f->changed, &f->lock);
	pthread_mutex_unlock(&f->lock);
}

void ck_framer_close(struct ck_framer *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->n_jobs; i++)
		wait_for(f, &f->jobs[(f->first + i) % f->n_ring]);
	for (size_t i = 0; f->jobs && i < f->n_ring; i++) {
		struct job *j = &f->jobs[i];
		if (j->in)
			ck_wipe(j->in, j->in_cap);
		if (j->out)
			ck_wipe(j->out, j->out_cap);
		free(j->in);
		free(j->out);
		ZSTD_freeCCtx(j->z);
	}
	if (f->pending)
		ck_wipe(f->pending, f->cap_pending);
	free(f->pending);
	free(f->jobs);
	free(f->frames);
	pthread_cond_destroy(&f->changed);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

static void compress(void *arg)
{
	struct job *j = arg;
	struct ck_framer *f = j->framer;
	size_t n = ZSTD_compressCCtx(j->z, j->out, j->out_cap, j->in, j->in_len, f->level);

	pthread_mutex_lock(&f->lock);
	j->zstd_code = ZSTD_isError(n) ? n : 0;
	j->out_len = j->zstd_code ? 0 : n;
	j->done = true;
	pthread_cond_signal(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

static int add_frame(struct ck_framer *f, const struct job *j, struct ck_err *err)
{
	if (f->n_frames == f->cap_frames) {
		size_t cap = f->cap_frames ? 2 * f->cap_frames : 256;
		void *p = reallocarray(f->frames, cap, sizeof *f->frames);
		if (!p)
			return ck_nomem(err, "compressing a layer");
		f->frames = p;
		f->cap_frames = cap;
	}
	f->frames[f->n_frames++] =
	    (struct ck_seek_frame){ (uint32_t)j->out_len, (uint32_t)j->in_len };
	return 0;
}

/* Waits for the oldest frame and hands it on. */
static int write_oldest(struct ck_framer *f, struct ck_err *err)
{
	struct job *j = &f->jobs[f->first];

	wait_for(f, j);
	f->first = (f->first + 1) % f->n_ring;
	f->n_jobs--;
	if (j->zstd_code)
		return ck_fail(err, -EIO, "zstd cannot compress: %s",
			       ZSTD_getErrorName(j->zstd_code));
	int rc = add_frame(f, j, err);
	return rc < 0 ? rc : ck_sink_write(f->out, j->out, j->out_len, err);
}

static bool oldest_done(struct ck_framer *f)
{
	pthread_mutex_lock(&f->lock);
	bool done = f->n_jobs && f->jobs[f->first].done;
	pthread_mutex_unlock(&f->lock);
	return done;
}

/* Makes sure of *CAP >= NBYTES; what was in *P is not kept. */
static int need(uint8_t **p, size_t *cap, size_t nbytes, struct ck_err *err)
{
	if (nbytes <= *cap)
		return 0;
	if (*p)
		ck_wipe(*p, *cap);
	free(*p);
	*cap = 0;
	*p = malloc(nbytes);
	if (!*p)
		return ck_nomem(err, "compressing a layer");
	*cap = nbytes;
	return 0;
}

/* Sends the first NBYTES of what is pending on its way. */
static int cut(struct ck_framer *f, size_t nbytes, struct ck_err *err)
{
	int rc = 0;

	while (rc == 0 && (f->n_jobs == f->n_ring || oldest_done(f)))
		rc = write_oldest(f, err);
	if (rc < 0)
		return rc;
	struct job *j = &f->jobs[(f->first + f->n_jobs) % f->n_ring];
	rc = need(&j->in, &j->in_cap, nbytes, err);
	if (rc == 0)
		rc = need(&j->out, &j->out_cap, ZSTD_compressBound(nbytes), err);
	if (rc == 0 && !j->z && !(j->z = ZSTD_createCCtx()))
		rc = ck_nomem(err, "compressing a layer");
	if (rc < 0)
		return rc;
	if (nbytes)
		memcpy(j->in, f->pending, nbytes);
	j->in_len = nbytes;
	j->framer = f;
	j->done = false;
	f->n_jobs++;
	f->n_pending -= nbytes;
	f->start += nbytes;
	if (f->n_pending)
		memmove(f->pending, f->pending + nbytes, f->n_pending);
	if (!ck_pool_submit(f->pool, compress, j))
		compress(j); /* the queue is full of others' jobs */
	return 0;
}

/* Whole frames of what lies before UP_TO, where an entry may begin. */
static int cut_before(struct ck_framer *f, uint64_t up_to, struct ck_err *err)
{
	int rc = 0;

	while (rc == 0 && f->n_pending >= CK_FRAME && up_to > f->start &&
	       up_to - f->start >= CK_FRAME)
		rc = cut(f, CK_FRAME, err);
	/* Nobody has told of an entry for long: an extended header without end. */
	while (rc == 0 && f->n_pending >= WAIT_MAX)
		rc = cut(f, CK_FRAME, err);
	return rc;
}

int ck_framer_write(struct ck_framer *f, const void *p, size_t nbytes, struct ck_err *err)
{
	const uint8_t *from = p;

	if (!f->pending) {
		f->pending = malloc(2 * WAIT_MAX);
		if (!f->pending)
			return ck_nomem(err, "compressing a layer");
		f->cap_pending = 2 * WAIT_MAX;
	}
	while (nbytes) {
		size_t n = f->cap_pending - f->n_pending;
		n = nbytes < n ? nbytes : n;
		memcpy(f->pending + f->n_pending, from, n);
		f->n_pending += n;
		from += n;
		nbytes -= n;
		uint64_t at = f->start + f->n_pending;
		int rc = cut_before(f, f->known < at ? f->known : at, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int ck_framer_entry(struct ck_framer *f, uint64_t header_off, uint64_t data_end, struct ck_err *err)
{
	uint64_t end = data_end + (512 - data_end % 512) % 512;

	if (header_off < f->start) /* cut already, for want of news */
		return 0;
	int rc = cut_before(f, header_off, err);
	if (rc < 0)
		return rc;
	size_t before = (size_t)(header_off - f->start);
	/* It does not fit in beside the ones before it, and these are no mere crumb. */
	if (before >= CK_FRAME / 8 && end - f->start > CK_FRAME && before <= f->n_pending)
		rc = cut(f, before, err);
	f->known = end;
	return rc;
}

int ck_framer_end(struct ck_framer *f, struct ck_err *err)
{
	int rc = cut_before(f, f->start + f->n_pending, err);

	/* A stream of nothing is a frame, too: some readers know zstd by its first bytes. */
	if (rc == 0 && (f->n_pending || (!f->n_frames && !f->n_jobs)))
		rc = cut(f, f->n_pending, err);
	while (rc == 0 && f->n_jobs)
		rc = write_oldest(f, err);
	return rc;
}

const struct ck_seek_frame *ck_framer_frames(const struct ck_framer *f, size_t *n)
{
	*n = f->n_frames;
	return f->frames;
}

int ck_framer_units(const struct ck_framer *f, struct ck_units *out, struct ck_err *err)
{
	struct ck_units u = { .compression = CK_COMPRESSION_ZSTD };
	struct ck_point p = { 0 };

	int rc = 0;

	for (size_t i = 0; rc == 0 && i < f->n_frames; i++) {
		rc = ck_units_add_point(&u, &p, NULL, 0, err);
		p.in_off += f->frames[i].in_len;
		p.out_off += f->frames[i].out_len;
	}
	if (rc == 0)
		rc = ck_units_finish(&u, p.out_off, p.in_off, err);
	if (rc < 0)
		ck_units_free(&u);
	else
		*out = u;
	return rc;
}
