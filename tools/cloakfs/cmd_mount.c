#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "base/log.h"
#include "base/secret.h"
#include "fs/cache/survey.h"
#include "fs/oci/origin.h"
#include "tools/cloakfs/commands.h"
#include "tools/cloakfs/session.h"

static void note_pin(const char *image)
{
	if (!strstr(image, "@sha256:"))
		ck_log(
		    CK_LOG_INFO,
		    "note: encryption does not say who made an image, and %s is not pinned: what "
		    "it names can be exchanged; IMAGE@sha256:... (see inspect) pins it",
		    image);
}

enum { PATIENCE_S = 5 };

static const int stop_signals[] = { SIGINT, SIGTERM, SIGHUP };
enum { N_STOP_SIGNALS = sizeof stop_signals / sizeof *stop_signals };

static void block_stop_signals(void)
{
	sigset_t s;

	sigemptyset(&s);
	for (size_t i = 0; i < N_STOP_SIGNALS; i++)
		sigaddset(&s, stop_signals[i]);
	sigprocmask(SIG_BLOCK, &s, NULL);
}

/* A signal that is blocked waits, also where it is to be ignored. */
static bool stop_pending(void)
{
	struct sigaction now;
	sigset_t pending;

	sigpending(&pending);
	for (size_t i = 0; i < N_STOP_SIGNALS; i++)
		if (sigismember(&pending, stop_signals[i]) == 1 &&
		    sigaction(stop_signals[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
			return true;
	return false;
}

/* Leaves the terminal and whoever waits on our pipes. LOGS: stderr is a file. */
static void detach(bool logs)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)setsid();
	if (chdir("/") < 0)
		ck_log(CK_LOG_WARNING, "cannot leave the working directory: %s", strerror(errno));
	if (!logs)
		ck_log_to_syslog();
	for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO - logs; fd++)
		(void)dup2(null, fd);
	if (null > STDERR_FILENO)
		(void)close(null);
}

/* Who is to hear that the mount is there. */
struct herald {
	int fd;		  /* -1: nobody waits */
	int log;	  /* the file to log to from here on; -1: none */
	const char *note; /* NULL: no news but that */
	bool told;
	bool erofs; /* it came so far as to have one */
};

/* Closes the descriptor. Errors: -EINTR when nobody waits any more. */
static int report_ready(void *ctx, struct ck_err *err)
{
	struct herald *h = ctx;
	int fd = h->fd;

	h->told = true;
	if (h->note)
		ck_log(CK_LOG_INFO, "note: %s", h->note);
	if (h->log >= 0) {
		(void)dup2(h->log, STDERR_FILENO);
		ck_log_stamp();
	}
	if (fd < 0)
		return 0;
	h->fd = -1;
	/* From here on the mount outlives the command that made it. */
	(void)prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
	detach(h->log >= 0);
	bool told = write(fd, "", 1) == 1;
	(void)close(fd);
	return told ? 0 : ck_fail(err, -EINTR, "interrupted while mounting");
}

/* What is not written now is tried once more in the end. */
static void finish_trace(struct ck_recorder *r)
{
	struct ck_err err = { 0 };

	if (ck_recorder_write(r, &err) < 0)
		ck_log(CK_LOG_WARNING, "%s", err.msg);
}

static int serve(struct ck_mount_spec spec, enum ck_view view, const char *dir,
		 struct ck_stack *stack, struct herald *herald, struct ck_err *err)
{
	struct ck_mount *m = NULL;

	spec.view = view;
	/* A signal between mounting and serving would leave the mount behind, so it waits. */
	block_stop_signals();
	int rc = ck_mount_open(&m, stack, &spec, dir, err);
	if (rc == 0 && stop_pending())
		rc = ck_fail(err, -EINTR, "interrupted while mounting");
	if (rc == 0)
		rc = ck_mount_run(m, report_ready, herald, err);
	/* Before whoever unmounts sees the end. */
	if (stack->recorder)
		finish_trace(stack->recorder);
	herald->erofs = m && ck_mount_has_erofs(m);
	ck_mount_close(m);
	return rc;
}

/* The kernel maps ids for EROFS, not for FUSE. */
static bool maps_ids(const struct ck_options *o)
{
	return *o->idmap.uids || *o->idmap.gids;
}

static bool needs_erofs(const struct ck_options *o)
{
	return o->mode == CK_MODE_EROFS || maps_ids(o);
}

/* Whether EROFS is to answer for the tree, as far as it can be told before. */
static bool wants_erofs(const struct ck_options *o)
{
	if (o->view != CK_VIEW_ROOTFS || o->mode == CK_MODE_FUSE)
		return false;
	if (geteuid() == 0)
		return true;
	ck_log(CK_LOG_INFO, "note: FUSE mode, for EROFS mode needs root");
	return false;
}

static int serve_mode(const struct ck_options *o, const struct ck_mount_spec *spec, const char *dir,
		      struct ck_stack *stack, struct herald *herald, struct ck_err *err)
{
	if (!wants_erofs(o))
		return serve(*spec, o->view, dir, stack, herald, err);
	if (o->mode == CK_MODE_AUTO)
		herald->note = "EROFS mode: the kernel answers for names and attributes";
	int rc = serve(*spec, CK_VIEW_DEVICES, dir, stack, herald, err);
	/* What fails later is no question of the mode. */
	if (rc == 0 || rc == -EINTR || rc == -EBUSY || herald->told || herald->erofs ||
	    needs_erofs(o) || stop_pending())
		return rc;
	ck_log(CK_LOG_INFO, "note: FUSE mode, for EROFS mode failed: %s", err->msg);
	herald->note = NULL;
	return serve(*spec, o->view, dir, stack, herald, err);
}

/* What is read ahead may hang where no reader does, and closing the layers would wait for it. */
static void *give_up(void *arg)
{
	const struct timespec patience = { .tv_sec = PATIENCE_S };
	const struct ck_err *failed = arg;

	nanosleep(&patience, NULL);
	if (failed)
		ck_log(CK_LOG_ERROR, "%s", failed->msg);
	ck_log(CK_LOG_WARNING, "reads ahead that still hang are given up");
	_exit(failed ? 1 : 0);
}

static int open_log(int *out, const char *path, struct ck_err *err)
{
	*out = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	return *out < 0 ? ck_fail(err, -errno, "cannot log to %s: %s", path, strerror(errno)) : 0;
}

/* Before the long work: an address that cannot be had is told at once. */
static int open_metrics(struct ck_listener *out, const struct ck_options *o,
			const struct ck_config *c, struct ck_err *err)
{
	const char *address = o->metrics ? o->metrics : c->metrics;

	if (!address || strcmp(address, "none") == 0)
		return 0;
	return ck_listen_open(out, address, err) < 0 ? ck_wrap(err, "metrics") : 0;
}

static int open_stack(struct ck_stack **out, struct ck_session *s, const struct ck_options *o,
		      struct ck_err *err)
{
	int rc = ck_session_image(s, o->keys, o->n_keys, o, err);

	if (rc == 0)
		rc = ck_session_indexes(s, o, err);
	return rc < 0 ? rc : ck_session_stack(out, s, SIZE_MAX, o->view == CK_VIEW_ROOTFS, err);
}

/* What is said of fetching all of an image that the cache has no room for. */
static void check_room(const struct ck_session *s)
{
	uint64_t need = 0, limit = ck_blobcache_limit(s->cache);

	for (size_t i = 0; i < s->image->n_layers; i++)
		need += s->image->layers[i].size;
	if (need > limit - limit / 8)
		ck_log(CK_LOG_WARNING,
		       "the image has %" PRIu64 " MiB and the cache room for %" PRIu64
		       " MiB: what is fetched first will have to be fetched again (--cache-size)",
		       need >> 20, limit >> 20);
}

/* A mount works without. */
static void start_background(struct ck_background **out, const struct ck_session *s,
			     const struct ck_stack *stack, enum ck_prefetch_mode mode,
			     struct ck_prefetch_progress *progress)
{
	CK_AUTO(ck_freep) struct ck_background_item *items = NULL;
	bool all = mode == CK_PREFETCH_ALL;
	size_t n = 0, n_urgent = 0;
	struct ck_err err;

	if (mode == CK_PREFETCH_NONE || !ck_image_net(s->image))
		return;
	if (all)
		check_room(s);
	int rc =
	    ck_background_plan(&items, &n, &n_urgent, stack, ck_image_remotes(s->image), all, &err);
	if (rc == 0 && n)
		rc = ck_background_start(out, items, n, n_urgent, progress, &err);
	if (rc < 0)
		ck_log(CK_LOG_WARNING, "nothing is prefetched: %s", err.msg);
}

static int mount_image(const struct ck_options *o, const char *dir, int ready, struct ck_err *err)
{
	CK_SESSION s = { 0 };
	CK_AUTO(ck_stack_closep) struct ck_stack *stack = NULL;
	CK_AUTO(ck_recorder_closep) struct ck_recorder *recorder = NULL;
	CK_AUTO(ck_background_stopp) struct ck_background *background = NULL;
	struct ck_prefetch_progress progress = { 0 };
	CK_AUTO(ck_closep) int userns = -1;
	CK_AUTO(ck_closep) int log = -1;
	CK_AUTO(ck_listen_close) struct ck_listener metrics = { .fd = -1, .dir = -1 };
	int rc = maps_ids(o) ? ck_idmap_open(&userns, &o->idmap, err) : 0;

	if (rc == 0 && o->log)
		rc = open_log(&log, o->log, err);
	if (rc == 0 && o->record)
		rc = ck_recorder_open(&recorder, o->record, err);
	if (rc == 0)
		rc = ck_secret_init(err);
	if (rc == 0)
		rc = ck_session_open(&s, o, err);
	if (rc == 0)
		rc = open_metrics(&metrics, o, &s.config, err);
	if (rc == 0)
		rc = open_stack(&stack, &s, o, err);
	if (rc == 0 && recorder)
		rc = ck_stack_record(stack, recorder, err);
	if (rc < 0)
		return rc;
	note_pin(o->args[0]);
	if (metrics.fd >= 0 && metrics.dir < 0) /* a port may be any */
		ck_log(CK_LOG_INFO, "note: metrics at %s", metrics.address);
	struct ck_mount_spec spec = { .source = o->args[0],
				      .upper = o->writable,
				      .userns = userns < 0 ? NULL : &userns,
				      .metrics = metrics.fd < 0 ? NULL : &metrics,
				      .prefetch = &progress,
				      .timeout_ms = s.config.request_timeout_ms };
	struct herald herald = { .fd = ready, .log = log };
	start_background(&background, &s, stack, o->background, &progress);
	rc = serve_mode(o, &spec, dir, stack, &herald, err);
	ck_image_cancel(s.image);
	pthread_t last;
	if (pthread_create(&last, NULL, give_up, rc < 0 ? err : NULL) == 0)
		(void)pthread_detach(last);
	return rc;
}

/* In the child, forked before there was any thread or key. */
static int child(const struct ck_options *o, const char *dir, int ready, pid_t parent,
		 struct ck_err *err)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
	/* A terminal that closes is none of a daemon's business: its files are in use. */
	(void)signal(SIGHUP, SIG_IGN);
	if (getppid() != parent)
		return ck_fail(err, -EINTR, "interrupted");
	return mount_image(o, dir, ready, err);
}

/* In the parent: until the child says it is ready, or ends having told why. */
static int await(int ready, pid_t pid, struct ck_err *err)
{
	char c;
	ssize_t n;
	int status = 0;

	while ((n = read(ready, &c, 1)) < 0 && errno == EINTR)
		;
	if (n == 1)
		return 0;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status))
		return ck_fail(err, -EIO, "the mount's process was killed by signal %d (%s)",
			       WTERMSIG(status), strsignal(WTERMSIG(status)));
	return -EIO; /* the child has said why */
}

/* What can be told before the long work. */
static int check_options(const struct ck_options *o, struct ck_err *err)
{
	bool merged = o->view == CK_VIEW_ROOTFS, is_root = geteuid() == 0;

	if (needs_erofs(o) && !merged)
		return ck_fail(err, CK_USAGE, "%s is for the merged tree, not --view layers",
			       maps_ids(o) ? "--uidmap" : "--mode erofs");
	if (o->writable && !merged)
		return ck_fail(err, CK_USAGE,
			       "--writable is for the merged tree, not --view layers");
	if (maps_ids(o) && o->mode == CK_MODE_FUSE)
		return ck_fail(err, CK_USAGE,
			       "--uidmap and --gidmap need EROFS mode; in FUSE mode, mount "
			       "inside the user namespace");
	if (o->writable && !is_root)
		return ck_fail(err, -EPERM,
			       "--writable needs root, or a user namespace in which one is root");
	if (needs_erofs(o) && !is_root)
		return ck_fail(err, -EPERM, "%s needs root; without it, there is --mode fuse",
			       maps_ids(o) ? "--uidmap" : "--mode erofs");
	return 0;
}

static int run(const struct ck_options *o, struct ck_err *err)
{
	char dir[PATH_MAX];
	pid_t self = getpid();
	int rc = check_options(o, err);

	if (rc == 0)
		rc = ck_mount_check(dir, o->args[1], err);
	if (rc)
		return rc;
	if (o->foreground)
		return mount_image(o, dir, -1, err);
	/* What our caller left open would stay open as long as the mount. */
	(void)close_range(STDERR_FILENO + 1, ~0U, 0);
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return ck_fail(err, -errno, "cannot make a pipe: %s", strerror(errno));
	CK_AUTO(ck_closep) int reader = ends[0];
	CK_AUTO(ck_closep) int writer = ends[1];
	pid_t pid = fork();
	if (pid < 0)
		return ck_fail(err, -errno, "cannot start a process: %s", strerror(errno));
	if (pid == 0) {
		ck_closep(&reader);
		reader = -1;
		return child(o, dir, ck_take_fd(&writer), self, err);
	}
	ck_closep(&writer);
	writer = -1;
	return await(reader, pid, err);
}

const struct ck_command ck_cmd_mount = {
	.name = "mount",
	.synopsis =
	    "[--config FILE] [--authfile FILE] [--plain-http] [--key KEY]... [--cache-dir DIR]\n"
	    "                     [--cache-size SIZE] [--index DIR]\n"
	    "                     [--view rootfs|layers] [--mode auto|erofs|fuse]\n"
	    "                     [--writable DIR|tmpfs] [--uidmap RANGE]... [--gidmap RANGE]...\n"
	    "                     [--prefetch none|trace|all] [--record FILE] [--metrics ADDR]\n"
	    "                     [--log FILE] [--foreground] [--platform OS/ARCH] IMAGE DIR",
	.summary = "mount the image at DIR",
	.options = "ckCSIvmwUGBTgMfaHp",
	.required = "",
	.min_args = 2,
	.max_args = 2,
	.forks = true,
	.notes = true,
	.run = run,
};
