#include "fs/fuse/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "base/textserver.h"
#include "fs/fuse/answerer.h"
#include "fs/fuse/beacon.h"
#include "fs/fuse/cover.h"
#include "fs/fuse/fusemount.h"
#include "fs/fuse/letgo.h"
#include "fs/fuse/metrics.h"
#include "fs/fuse/mountpoint.h"
#include "fs/fuse/ops.h"
#include "fs/fuse/report.h"
#include "fs/fuse/writable.h"
#include "fs/oci/origin.h"

/* PATIENCE_MS: of the kernel's letting go of the mount. */
enum { MAX_THREADS = CK_DEADLINE_SLOTS, IDLE_THREADS = 4, LOOK_MS = 250, PATIENCE_MS = 1000 };

struct ck_mount {
	struct ck_ops ops;
	bool has_buffers;
	struct fuse_session *session; /* NULL: nothing was mounted */
	char dir[PATH_MAX];	      /* absolute, no symlinks */
	struct ck_mounted at;
	struct ck_mount_spec spec;
	int upper_lock; /* -1: none */
	bool has_erofs;
	_Atomic dev_t erofs;
	atomic_uint n_covers;	/* EROFS, an overlay: by now */
	struct ck_letgo *letgo; /* NULL: nothing has ended yet; the watcher's, then the closer's */
	int beacon;		/* -1: none */
	struct ck_answerer *answerer;
	struct ck_report_source about;
	struct ck_textserver *metrics; /* NULL: nobody asked for any */
	sigset_t signals;	       /* that end the mount, and the one that nudges */
	sigset_t mask;		       /* as it was before the mount was opened */

	_Atomic(const struct ck_err *) failed; /* what ck_mount_run will return */
	bool over;			       /* but for reads that hang; the clock's own */
};

int ck_mount_check(char full[PATH_MAX], const char *dir, struct ck_err *err)
{
	struct ck_mounted at;
	struct stat st;

	if (!realpath(dir, full))
		return ck_fail(err, -errno, "cannot mount at %s: %s", dir, strerror(errno));
	int rc = ck_mounted_at(full, &at, err);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	if (rc == 0 && at.ours && ck_mounted_stale(full, &at))
		return ck_fail(err, -EBUSY,
			       "the daemon of the mount at %s is gone (%s); clean up with: "
			       "cloakfs umount %s",
			       dir, strerror(ENOTCONN), dir);
	if (rc == 0 && at.ours)
		return ck_fail(err, -EBUSY, "an image is already mounted at %s", dir);
	if (stat(full, &st) < 0)
		return ck_fail(err, -errno, "cannot mount at %s: %s", dir, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return ck_fail(err, -ENOTDIR, "cannot mount at %s: it is not a directory", dir);
	return 0;
}

static int open_mount(struct ck_mount *m, struct ck_stack *stack, const char *dir,
		      struct ck_err *err)
{
	const struct ck_mount_spec *spec = &m->spec;
	int rc = ck_mount_check(m->dir, dir, err);

	if (rc == 0)
		rc = ck_catalog_open(&m->ops.catalog, stack, spec->view, err);
	if (rc == 0 && (rc = -pthread_key_create(&m->ops.buffers, free)) < 0)
		return ck_fail(err, rc, "cannot mount at %s: %s", dir, strerror(-rc));
	m->has_buffers = rc == 0;
	if (rc == 0)
		rc = ck_fusemount_open(&m->session, &m->at, &m->ops, spec->source, m->dir, err);
	return rc;
}

/* The signals that end a mount: those that the program was not told to ignore. */
static void ending_signals(sigset_t *out)
{
	static const int all[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction now;

	sigemptyset(out);
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (sigaction(all[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
			sigaddset(out, all[i]);
	sigaddset(out, SIGURG); /* see watch_signals */
}

int ck_mount_open(struct ck_mount **out, struct ck_stack *stack, const struct ck_mount_spec *spec,
		  const char *dir, struct ck_err *err)
{
	struct ck_mount *m = calloc(1, sizeof *m);

	if (!m)
		return ck_nomem(err, "mounting an image");
	m->beacon = m->upper_lock = -1;
	m->spec = *spec;
	ck_counters_init(&m->ops.counters);
	/* From here on a signal waits for ck_mount_run, and leaves no dead mount behind. */
	ending_signals(&m->signals);
	pthread_sigmask(SIG_BLOCK, &m->signals, &m->mask);
	int rc = open_mount(m, stack, dir, err);
	if (rc < 0)
		ck_mount_close(m);
	else
		*out = m;
	return rc;
}

/* What the thread that waits for signals shares with the one that serves. */
struct watch {
	struct ck_mount *m;
	pthread_t server;
	int signals;	    /* a signalfd of those that end it */
	bool stopped;	    /* by one of them */
	atomic_bool opened; /* the mount answers, or never will */
	atomic_bool done;
};

/* Only there to interrupt. */
static void on_nudge(int sig)
{
	(void)sig;
}

static void detach(struct ck_mount *m)
{
	int rc = 0;

	if (!m->session)
		return;
	/* EROFS first, then ours; if somebody did, or something lies over it, there is no more. */
	while (rc == 0 && ck_mounted_still(m->dir, &m->at)) {
		rc = ck_mounted_detach(m->dir, false);
		if (rc == -EBUSY)
			rc = ck_mounted_detach(m->dir, true);
	}
	if (rc < 0)
		ck_log(CK_LOG_WARNING, "cannot unmount %s: %s", m->dir, strerror(-rc));
}

/* The same, but not to be waited for. */
static void let_go(struct ck_mount *m)
{
	struct ck_err err;

	atomic_store(&m->n_covers, 0);
	if (m->session && !m->letgo &&
	    ck_letgo_start(&m->letgo, m->dir, &m->at, atomic_load(&m->erofs), &err) < 0)
		detach(m);
}

/* Whether what lay over the mount was taken away from it. */
static bool uncovered(struct ck_mount *m)
{
	struct ck_mounted now;
	unsigned n = atomic_load(&m->n_covers); /* before the table is read: they grow meanwhile */

	return n && ck_mounted_at(m->dir, &now, NULL) == 0 && now.n_covers < n &&
	       now.dev_major == m->at.dev_major && now.dev_minor == m->at.dev_minor;
}

/* Whether nobody waits any more for what is still being fetched: the kernel has let go of the
 * session, or would, if all came that it has asked for. */
static bool is_unwanted(struct ck_mount *m)
{
	return fuse_session_exited(m->session) ||
	       (m->letgo && ck_letgo_held_ms(m->letgo) >= PATIENCE_MS);
}

/* A signal that ends the mount; 0: everything is over. Whoever unmounts EROFS knows nothing of
 * the mount below, which goes after it; what is open is served on. */
static int await_signal(struct watch *w)
{
	struct ck_mount *m = w->m;
	struct signalfd_siginfo got;
	bool covers = m->spec.upper || m->spec.view == CK_VIEW_DEVICES; /* else no need to look */
	CK_AUTO(ck_closep)
	int table = covers ? open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC) : -1;
	struct pollfd on[] = { { .fd = w->signals, .events = POLLIN },
			       { .fd = table, .events = POLLPRI } };
	const struct ck_image *image = m->about.stack->image;
	int look_ms = ck_image_net(image) ? LOOK_MS : -1;

	while (poll(on, 2, look_ms) >= 0 || errno == EINTR) {
		if (atomic_load(&w->done))
			return 0;
		if (look_ms > 0 && is_unwanted(m)) {
			ck_image_cancel(image);
			look_ms = -1;
		}
		if ((on[0].revents & POLLIN) && read(w->signals, &got, sizeof got) == sizeof got &&
		    got.ssi_signo != SIGURG) /* that one is somebody else's */
			return (int)got.ssi_signo;
		if ((on[1].revents & POLLPRI) && uncovered(m))
			let_go(m);
	}
	return 0;
}

/*
 * On a signal: nobody enters any more, requests under way are answered, the end. libfuse
 * looks at its exit flag only when its wait is interrupted, and could do so just before
 * it waits: hence more than one nudge.
 */
static void *watch_signals(void *arg)
{
	struct watch *w = arg;
	const struct timespec pause = { .tv_nsec = 5000000 };
	int sig = await_signal(w);

	if (sig == 0)
		return NULL;
	w->stopped = true;
	/* Who waits for the network would wait for longer than anybody waits for us; the kernel
	 * lets go of what is being read only when it has come. */
	ck_image_cancel(w->m->about.stack->image);
	/* EROFS is being mounted, and would wait for ever for who serves it. */
	while (!atomic_load(&w->opened))
		nanosleep(&pause, NULL);
	ck_log(CK_LOG_INFO, "%s: unmounting %s", strsignal(sig), w->m->dir);
	let_go(w->m);
	if (w->m->letgo)
		(void)ck_letgo_wait(w->m->letgo, PATIENCE_MS);
	fuse_session_exit(w->m->session);
	while (!atomic_load(&w->done)) {
		pthread_kill(w->server, SIGURG);
		nanosleep(&pause, NULL);
	}
	return NULL;
}

static int serve(struct ck_mount *m, struct ck_err *err)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();

	if (!config)
		return ck_nomem(err, "serving a mount");
	fuse_loop_cfg_set_clone_fd(config, 0); /* no gain, and bars handing the session on */
	fuse_loop_cfg_set_max_threads(config, MAX_THREADS);
	fuse_loop_cfg_set_idle_threads(config, IDLE_THREADS);
	int rc = fuse_session_loop_mt(m->session, config);
	fuse_loop_cfg_destroy(config);
	if (rc < 0)
		return ck_fail(err, rc, "the session of the mount at %s broke off: %s", m->dir,
			       strerror(-rc));
	return 0;
}

struct serving {
	struct ck_mount *m;
	int code;
	struct ck_err err;
};

static void *serve_main(void *arg)
{
	struct serving *s = arg;
	sigset_t nudge;

	sigemptyset(&nudge);
	sigaddset(&nudge, SIGURG);
	pthread_sigmask(SIG_UNBLOCK, &nudge, NULL);
	s->code = serve(s->m, &s->err);
	return NULL;
}

/* While others serve: EROFS asks for its image as it is mounted, an overlay for what is below. */
static int finish_opening(struct ck_mount *m, ck_ready_fn *ready, void *ctx, struct ck_err *err)
{
	struct stat st;
	unsigned n = 0;
	int rc = 0;

	if (m->spec.view == CK_VIEW_DEVICES) {
		rc = ck_cover(&m->ops.catalog, m->dir, m->spec.userns, err);
		m->has_erofs = rc == 0;
		if (rc == 0 && stat(m->dir, &st) == 0)
			atomic_store(&m->erofs, st.st_dev);
		n++;
	}
	if (rc == 0 && m->spec.upper) {
		rc = ck_writable_at(m->dir, m->spec.upper, &m->upper_lock, err);
		n++;
	}
	atomic_store(&m->n_covers, rc == 0 ? n : 0);
	return rc == 0 && ready ? ready(ctx, err) : rc;
}

/* Until W's server has ended; without a mount it does. Another thread waits for the signals,
 * which all have blocked. */
static int run_watched(struct watch *w, ck_ready_fn *ready, void *ctx, struct ck_err *err)
{
	pthread_t watcher;
	int rc = pthread_create(&watcher, NULL, watch_signals, w);
	bool watched = rc == 0;

	if (watched)
		rc = finish_opening(w->m, ready, ctx, err);
	else
		rc = ck_fail(err, -rc, "cannot start a thread: %s", strerror(rc));
	atomic_store(&w->opened, true);
	if (rc < 0) {
		atomic_store(&w->m->failed, err);
		detach(w->m);
	}
	pthread_join(w->server, NULL);
	atomic_store(&w->done, true);
	if (watched) {
		pthread_kill(watcher, SIGURG);
		pthread_join(watcher, NULL);
	}
	return rc < 0 && w->stopped ? ck_fail(err, -EINTR, "interrupted while mounting") : rc;
}

static int run(struct ck_mount *m, ck_ready_fn *ready, void *ctx, struct ck_err *err)
{
	struct serving s = { .m = m };
	CK_AUTO(ck_closep) int signals = signalfd(-1, &m->signals, SFD_CLOEXEC);
	struct watch w = { .m = m, .signals = signals };
	if (signals < 0)
		return ck_fail(err, -errno, "cannot wait for signals: %s", strerror(errno));
	int rc = pthread_create(&w.server, NULL, serve_main, &s);

	if (rc)
		return ck_fail(err, -rc, "cannot start a thread: %s", strerror(rc));
	rc = run_watched(&w, ready, ctx, err);
	if (rc == 0 && s.code < 0) {
		rc = s.code;
		if (err)
			*err = s.err;
	}
	return rc;
}

static void on_overdue(void *ctx, const struct ck_deadline_read *r)
{
	struct ck_mount *m = ctx;

	ck_ops_overdue(&m->ops, r);
}

/* Over, and libfuse waits for threads that no one can end. Who waits for us sees the descriptors
 * go, though such a thread may hold the process even when it is killed. */
static void on_stuck(void *ctx)
{
	struct ck_mount *m = ctx;
	const struct ck_err *failed = atomic_load(&m->failed);
	bool before = m->over;

	m->over = fuse_session_exited(m->session);
	if (!m->over || !before) /* not at once: an answer may be on its way */
		return;
	if (failed)
		ck_log(CK_LOG_ERROR, "%s", failed->msg);
	ck_log(CK_LOG_WARNING, "%s is unmounted; reads of it that still hang are given up", m->dir);
	(void)close(fuse_session_fd(m->session));
	ck_textserver_stop(m->metrics);
	if (m->spec.metrics)
		ck_listen_close(m->spec.metrics); /* and with it goes the socket's file */
	ck_answerer_stop(m->answerer);		  /* hangs up on whoever waits for our end */
	ck_closep(&m->beacon);
	_exit(failed ? 1 : 0);
}

/* Nobody is there any more who would hear of what is being read: the kernel has ended the
 * connection, and libfuse waits for those who read. What they wait for of a network is given up. */
static void on_tick(void *ctx)
{
	struct ck_mount *m = ctx;
	struct pollfd p = { .fd = fuse_session_fd(m->session) };

	if (poll(&p, 1, 0) == 1 && p.revents & POLLERR)
		ck_image_cancel(m->about.stack->image);
}

static const struct ck_deadline_ops deadline_ops = { .overdue = on_overdue,
						     .stuck = on_stuck,
						     .tick = on_tick };

static int answer(void *ctx, struct ck_buf *out, struct ck_err *err)
{
	return ck_report_write(out, ctx, err);
}

static int write_metrics(void *ctx, struct ck_buf *out, struct ck_err *err)
{
	const struct ck_mount *m = ctx;
	const struct ck_metrics_mount what = {
		.image = m->spec.source,
		.mount_point = m->dir,
		.mode = m->spec.view == CK_VIEW_DEVICES ? "erofs" : "fuse",
		.manifest = m->about.stack->image->manifest_digest,
		.writable = m->spec.upper,
	};
	CK_AUTO(ck_report_free) struct ck_report r = { 0 };
	char last_error[CK_LAST_ERROR];
	int rc = ck_report_gather(&r, &m->about, last_error, err);

	return rc < 0 ? rc : ck_metrics_write(out, &r, &what, err);
}

static int serve_metrics(struct ck_mount *m, struct ck_err *err)
{
	const struct ck_text text = { CK_METRICS_PATH, CK_METRICS_TYPE, write_metrics, m };

	return m->spec.metrics ? ck_textserver_start(&m->metrics, m->spec.metrics, &text, err) : 0;
}

static void tell_about(struct ck_mount *m)
{
	const struct ck_catalog *c = &m->ops.catalog;

	m->about = (struct ck_report_source){
		.stack = c->stack,
		.counters = &m->ops.counters,
		.view = c->view == CK_VIEW_LAYERS ? "layers" : "rootfs",
		.mounted_at = (uint64_t)time(NULL),
		.mounted_ms = ck_now_ms(),
		.prefetch = m->spec.prefetch,
		.net = ck_image_net(c->stack->image),
		.remotes = ck_image_remotes(c->stack->image),
	};
}

/* Others see that we live, and may ask how. A mount works without. */
static void light_beacon(struct ck_mount *m)
{
	struct ck_err err;

	m->beacon = ck_beacon_light(m->at.dev_major, m->at.dev_minor);
	if (m->beacon < 0)
		ck_log(CK_LOG_WARNING, "cloakfs umount will not wait for this process: %s",
		       strerror(-m->beacon));
	else if (ck_answerer_start(&m->answerer, m->beacon, answer, &m->about, &err) < 0)
		ck_log(CK_LOG_WARNING, "cloakfs status will not show this mount: %s", err.msg);
}

int ck_mount_run(struct ck_mount *m, ck_ready_fn *ready, void *ctx, struct ck_err *err)
{
	struct sigaction nudged = { .sa_handler = on_nudge }, was;
	int rc = ck_deadline_open(&m->ops.deadline, m->spec.timeout_ms, &deadline_ops, m, err);

	if (rc < 0)
		return rc;
	tell_about(m);
	light_beacon(m);
	rc = serve_metrics(m, err);
	if (rc == 0) {
		sigaction(SIGURG, &nudged, &was);
		rc = run(m, ready, ctx, err);
		sigaction(SIGURG, &was, NULL);
	}
	ck_deadline_close(ck_take(m->ops.deadline));
	return rc;
}

bool ck_mount_has_erofs(const struct ck_mount *m)
{
	return m->has_erofs;
}

/* Signals that came too late to be handled have had what they wanted: there was a mount, and
 * now there is none. Where there was not, they are the caller's. */
static void restore_signals(const struct ck_mount *m, bool was_mounted)
{
	const struct timespec now = { 0 };

	while (was_mounted && sigtimedwait(&m->signals, NULL, &now) > 0)
		;
	pthread_sigmask(SIG_SETMASK, &m->mask, NULL);
}

void ck_mount_close(struct ck_mount *m)
{
	if (!m)
		return;
	bool was_mounted = m->session;
	if (!m->letgo)
		detach(m);
	ck_textserver_stop(m->metrics);
	ck_answerer_stop(m->answerer);
	if (m->session)
		fuse_session_destroy(m->session); /* and with it what the kernel waits for */
	int rc = ck_letgo_end(m->letgo);
	if (rc < 0)
		ck_log(CK_LOG_WARNING, "cannot unmount %s: %s", m->dir, strerror(-rc));
	if (m->has_buffers) { /* a thread's own goes with it; this thread stays */
		free(pthread_getspecific(m->ops.buffers));
		pthread_key_delete(m->ops.buffers);
	}
	ck_catalog_close(&m->ops.catalog);
	ck_closep(&m->upper_lock);
	ck_closep(&m->beacon);
	restore_signals(m, was_mounted);
	free(m);
}
