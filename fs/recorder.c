#include "fs/recorder.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/firstuse.h"
#include "base/log.h"
#include "fs/tracetext.h"

/* The tar streams stand one behind the other, as blocks, with one that nobody uses between them. */
struct ck_recorder {
	char *path; /* absolute */
	struct ck_tracetext text;
	pthread_mutex_t lock; /* of all up to WRITING */
	pthread_cond_t wake;
	struct ck_firstuse *used;
	bool news, full, closing;
	atomic_bool paused;
	pthread_mutex_t writing; /* one at a time */
	pthread_t thread;
	bool has_thread;
};

static int write_file(struct ck_recorder *r, const struct ck_buf *text, struct ck_err *err)
{
	return ck_file_write(r->path, text->data, text->len, 0600, err);
}

static char *absolute(const char *path)
{
	CK_AUTO(ck_freep) char *here = *path == '/' ? strdup("") : getcwd(NULL, 0);
	char *out = NULL;

	return here && asprintf(&out, "%s%s%s", here, *here ? "/" : "", path) >= 0 ? out : NULL;
}

int ck_recorder_open(struct ck_recorder **out, const char *path, struct ck_err *err)
{
	CK_BUF text = { 0 };
	struct ck_recorder *r = calloc(1, sizeof *r);

	if (!r)
		return ck_nomem(err, "recording");
	pthread_mutex_init(&r->lock, NULL);
	pthread_mutex_init(&r->writing, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&r->wake, &attr);
	pthread_condattr_destroy(&attr);
	r->path = absolute(path);
	int rc = r->path ? ck_trace_begin(&text, err) : ck_nomem(err, "recording");
	if (rc == 0)
		rc = write_file(r, &text, err);
	if (rc < 0) {
		ck_recorder_close(r);
		return ck_wrap(err, "the trace");
	}
	*out = r;
	return 0;
}

/* A copy of the ranges so far, so that nobody waits for what is made of them. */
static int copy_ranges(struct ck_recorder *r, struct ck_range **out, size_t *n, struct ck_err *err)
{
	int rc = 0;

	pthread_mutex_lock(&r->lock);
	const struct ck_range *have = ck_firstuse_ranges(r->used, n);
	struct ck_range *own = reallocarray(NULL, *n + 1, sizeof *own);
	if (!own)
		rc = ck_nomem(err, "writing a trace");
	else if (*n)
		memcpy(own, have, *n * sizeof *own);
	if (rc == 0)
		r->news = false;
	pthread_mutex_unlock(&r->lock);
	*out = own;
	return rc;
}

static bool has_news(struct ck_recorder *r)
{
	pthread_mutex_lock(&r->lock);
	bool news = r->news;
	pthread_mutex_unlock(&r->lock);
	return news;
}

static int write_trace(struct ck_recorder *r, struct ck_err *err)
{
	CK_AUTO(ck_freep) struct ck_range *ranges = NULL;
	CK_BUF text = { .max = CK_TRACE_BYTES };
	size_t n;

	if (!r->used || !has_news(r))
		return 0;
	int rc = copy_ranges(r, &ranges, &n, err);
	if (rc == 0)
		rc = ck_tracetext_write(&text, &r->text, ranges, n, err);
	if (rc == 0)
		rc = write_file(r, &text, err);
	if (rc < 0) { /* what could not be written is still news */
		pthread_mutex_lock(&r->lock);
		r->news = true;
		pthread_mutex_unlock(&r->lock);
		return ck_wrap(err, "the trace");
	}
	return 0;
}

int ck_recorder_write(struct ck_recorder *r, struct ck_err *err)
{
	pthread_mutex_lock(&r->writing);
	int rc = write_trace(r, err);
	pthread_mutex_unlock(&r->writing);
	return rc;
}

/* Waits for MS; false: it is the end. */
static bool pause_ms(struct ck_recorder *r, uint64_t ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(ms / 1000);
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&r->lock);
	while (!r->closing && pthread_cond_timedwait(&r->wake, &r->lock, &until) != ETIMEDOUT)
		;
	bool more = !r->closing;
	pthread_mutex_unlock(&r->lock);
	return more;
}

/* A large trace takes long to be written: seldom then. A failure is told once, until it heals. */
static void *write_now_and_then(void *arg)
{
	enum { SHARE = 20 };
	struct ck_recorder *r = arg;
	uint64_t ms = CK_RECORDER_PAUSE_MS;
	int before = 0;

	while (pause_ms(r, ms)) {
		struct ck_err err = { 0 };
		uint64_t start = ck_now_ms();
		int rc = ck_recorder_write(r, &err);
		if (rc < 0 && rc != before)
			ck_log(CK_LOG_WARNING, "%s", err.msg);
		before = rc;
		uint64_t took = SHARE * (ck_now_ms() - start);
		ms = took > CK_RECORDER_PAUSE_MS ? took : CK_RECORDER_PAUSE_MS;
	}
	return NULL;
}

static int start_thread(struct ck_recorder *r, struct ck_err *err)
{
	sigset_t all, was;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	int rc = pthread_create(&r->thread, NULL, write_now_and_then, r);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	r->has_thread = rc == 0;
	return rc ? ck_fail(err, -rc, "cannot start a thread: %s", strerror(rc)) : 0;
}

int ck_recorder_start(struct ck_recorder *r, const struct ck_index *const *index,
		      const uint64_t *tar_len, size_t n, struct ck_err *err)
{
	int rc = ck_tracetext_open(&r->text, index, tar_len, n, err);

	if (rc == 0)
		rc = ck_firstuse_open(&r->used, r->text.base[n], 0, CK_RECORDER_RANGES, err);
	if (rc == 0)
		rc = start_thread(r, err);
	return rc < 0 ? ck_wrap(err, "recording") : 0;
}

void ck_recorder_note(struct ck_recorder *r, uint32_t layer, uint64_t off, uint64_t nbytes)
{
	uint64_t first, n;
	int rc;

	if (atomic_load_explicit(&r->paused, memory_order_relaxed) ||
	    !ck_tracetext_blocks(&r->text, layer, off, nbytes, &first, &n) ||
	    ck_firstuse_has(r->used, first, n))
		return;
	pthread_mutex_lock(&r->lock);
	bool was_full = r->full;
	rc = ck_firstuse_add(r->used, first, n, NULL);
	r->news = true;
	r->full = r->full || rc < 0;
	pthread_mutex_unlock(&r->lock);
	if (rc < 0 && !was_full)
		ck_log(CK_LOG_WARNING, "the trace is full: %s", strerror(-rc));
}

void ck_recorder_pause(struct ck_recorder *r, bool pause)
{
	if (r)
		atomic_store(&r->paused, pause);
}

void ck_recorder_close(struct ck_recorder *r)
{
	struct ck_err err = { 0 };

	if (!r)
		return;
	if (r->has_thread) {
		pthread_mutex_lock(&r->lock);
		r->closing = true;
		pthread_cond_signal(&r->wake);
		pthread_mutex_unlock(&r->lock);
		pthread_join(r->thread, NULL);
		if (ck_recorder_write(r, &err) < 0)
			ck_log(CK_LOG_WARNING, "%s", err.msg);
	}
	ck_firstuse_close(r->used);
	ck_tracetext_close(&r->text);
	pthread_cond_destroy(&r->wake);
	pthread_mutex_destroy(&r->writing);
	pthread_mutex_destroy(&r->lock);
	free(r->path);
	free(r);
}
