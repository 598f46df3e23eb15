#include "fs/fuse/letgo.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"

enum { LOOK_MS = 500 };

struct ck_letgo {
	char path[PATH_MAX];
	struct ck_mounted m;
	dev_t erofs;
	pthread_t thread;
	pthread_mutex_t lock; /* over what follows */
	pthread_cond_t news;
	uint64_t since_ms; /* when it went into the kernel; 0: it is not there */
	bool taken, ending;
	int code;
};

static struct timespec at_ms(uint64_t ms)
{
	return (struct timespec){ (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };
}

static void enter(struct ck_letgo *l)
{
	pthread_mutex_lock(&l->lock);
	l->since_ms = ck_now_ms();
	pthread_mutex_unlock(&l->lock);
}

static void leave(struct ck_letgo *l)
{
	pthread_mutex_lock(&l->lock);
	l->since_ms = 0;
	pthread_mutex_unlock(&l->lock);
}

/* EROFS first, then ours; if somebody did, or something lies over it, there is no more. */
static int take(struct ck_letgo *l)
{
	int rc = 0;

	while (rc == 0 && ck_mounted_still(l->path, &l->m)) {
		enter(l);
		rc = ck_mounted_detach(l->path, false);
		if (rc == -EBUSY)
			rc = ck_mounted_detach(l->path, true);
		leave(l);
	}
	/* Somebody was faster. */
	return rc == -EINVAL && !ck_mounted_still(l->path, &l->m) ? 0 : rc;
}

/* ustat(2) takes the lock that who unmounts it holds. */
static bool is_used(struct ck_letgo *l)
{
	bool used = false;

#ifdef SYS_ustat
	char out[64]; /* it needs half of them */
	enter(l);
	used = syscall(SYS_ustat, (unsigned)l->erofs, out) == 0;
	leave(l);
#endif
	return used;
}

static bool rest(struct ck_letgo *l)
{
	struct timespec t = at_ms(ck_now_ms() + LOOK_MS);

	pthread_mutex_lock(&l->lock);
	while (!l->ending && pthread_cond_timedwait(&l->news, &l->lock, &t) == 0)
		;
	bool ending = l->ending;
	pthread_mutex_unlock(&l->lock);
	return !ending;
}

static void *letgo_main(void *arg)
{
	struct ck_letgo *l = arg;

	(void)close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_UNSHARE);
	int rc = take(l);
	pthread_mutex_lock(&l->lock);
	l->code = rc;
	l->taken = true;
	pthread_cond_broadcast(&l->news);
	pthread_mutex_unlock(&l->lock);
	while (l->erofs && is_used(l) && rest(l))
		;
	return NULL;
}

static int start_thread(struct ck_letgo *l)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int rc = pthread_create(&l->thread, NULL, letgo_main, l);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc;
}

static void release(struct ck_letgo *l)
{
	pthread_cond_destroy(&l->news);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

int ck_letgo_start(struct ck_letgo **out, const char *path, const struct ck_mounted *m, dev_t erofs,
		   struct ck_err *err)
{
	pthread_condattr_t attr;
	struct ck_letgo *l = calloc(1, sizeof *l);

	if (!l)
		return ck_nomem(err, "unmounting");
	snprintf(l->path, sizeof l->path, "%s", path);
	l->m = *m;
	l->erofs = erofs;
	pthread_mutex_init(&l->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&l->news, &attr);
	pthread_condattr_destroy(&attr);
	int rc = start_thread(l);
	if (rc) {
		release(l);
		return ck_fail(err, -rc, "cannot start a thread: %s", strerror(rc));
	}
	*out = l;
	return 0;
}

bool ck_letgo_wait(struct ck_letgo *l, unsigned ms)
{
	struct timespec t = at_ms(ck_now_ms() + ms);

	pthread_mutex_lock(&l->lock);
	while (!l->taken && pthread_cond_timedwait(&l->news, &l->lock, &t) == 0)
		;
	bool taken = l->taken;
	pthread_mutex_unlock(&l->lock);
	return taken;
}

uint64_t ck_letgo_held_ms(struct ck_letgo *l)
{
	pthread_mutex_lock(&l->lock);
	uint64_t ms = l->since_ms ? ck_now_ms() - l->since_ms : 0;
	pthread_mutex_unlock(&l->lock);
	return ms;
}

int ck_letgo_end(struct ck_letgo *l)
{
	if (!l)
		return 0;
	pthread_mutex_lock(&l->lock);
	l->ending = true;
	pthread_cond_broadcast(&l->news);
	pthread_mutex_unlock(&l->lock);
	pthread_join(l->thread, NULL);
	int rc = l->code;
	release(l);
	return rc;
}
