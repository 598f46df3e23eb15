#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/secret.h"
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

/* Leaves the terminal and whoever waits on our pipes. */
static void detach(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)setsid();
	if (chdir("/") < 0)
		ck_log(CK_LOG_WARNING, "cannot leave the working directory: %s", strerror(errno));
	ck_log_to_syslog();
	for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
		(void)dup2(null, fd);
	if (null > STDERR_FILENO)
		(void)close(null);
}

/* Who is to hear that the mount is there. */
struct herald {
	int fd;		  /* -1: nobody waits */
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
	if (fd < 0)
		return 0;
	h->fd = -1;
	/* From here on the mount outlives the command that made it. */
	(void)prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
	detach();
	bool told = write(fd, "", 1) == 1;
	(void)close(fd);
	return told ? 0 : ck_fail(err, -EINTR, "interrupted while mounting");
}

static int serve(const struct ck_options *o, enum ck_view view, const int *userns, const char *dir,
		 struct ck_stack *stack, struct herald *herald, struct ck_err *err)
{
	struct ck_mount *m = NULL;
	struct ck_mount_spec spec = {
		.view = view, .source = o->args[0], .upper = o->writable, .userns = userns
	};

	/* A signal between mounting and serving would leave the mount behind, so it waits. */
	block_stop_signals();
	int rc = ck_mount_open(&m, stack, &spec, dir, err);
	if (rc == 0 && stop_pending())
		rc = ck_fail(err, -EINTR, "interrupted while mounting");
	if (rc == 0)
		rc = ck_mount_run(m, report_ready, herald, err);
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

static int serve_mode(const struct ck_options *o, const int *userns, const char *dir,
		      struct ck_stack *stack, int ready, struct ck_err *err)
{
	struct herald herald = { .fd = ready };

	if (!wants_erofs(o))
		return serve(o, o->view, NULL, dir, stack, &herald, err);
	if (o->mode == CK_MODE_AUTO)
		herald.note = "EROFS mode: the kernel answers for names and attributes";
	int rc = serve(o, CK_VIEW_DEVICES, userns, dir, stack, &herald, err);
	/* What fails later is no question of the mode. */
	if (rc == 0 || rc == -EINTR || rc == -EBUSY || herald.told || herald.erofs ||
	    needs_erofs(o) || stop_pending())
		return rc;
	ck_log(CK_LOG_INFO, "note: FUSE mode, for EROFS mode failed: %s", err->msg);
	herald.note = NULL;
	return serve(o, o->view, NULL, dir, stack, &herald, err);
}

static int mount_image(const struct ck_options *o, const char *dir, int ready, struct ck_err *err)
{
	CK_SESSION s = { 0 };
	CK_AUTO(ck_stack_closep) struct ck_stack *stack = NULL;
	CK_AUTO(ck_closep) int userns = -1;
	int rc = maps_ids(o) ? ck_idmap_open(&userns, &o->idmap, err) : 0;

	if (rc == 0)
		rc = ck_secret_init(err);
	if (rc == 0)
		rc = ck_session_open(&s, o, err);
	if (rc == 0)
		rc = ck_session_image(&s, o->keys, o->n_keys, o, err);
	if (rc == 0)
		rc = ck_session_indexes(&s, o, err);
	if (rc < 0)
		return rc;
	rc = ck_session_stack(&stack, &s, SIZE_MAX, o->view == CK_VIEW_ROOTFS, err);
	if (rc < 0)
		return rc;
	ck_log_init("cloakfs", CK_LOG_INFO); /* a service from here on */
	note_pin(o->args[0]);
	return serve_mode(o, userns < 0 ? NULL : &userns, dir, stack, ready, err);
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
	    "[--config FILE] [--key KEY]... [--cache-dir DIR] [--index DIR]\n"
	    "                     [--view rootfs|layers] [--mode auto|erofs|fuse]\n"
	    "                     [--writable DIR|tmpfs] [--uidmap RANGE]... [--gidmap RANGE]...\n"
	    "                     [--foreground] [--platform OS/ARCH] IMAGE DIR",
	.summary = "mount the image at DIR",
	.options = "ckCIvmwUGfp",
	.required = "",
	.min_args = 2,
	.max_args = 2,
	.forks = true,
	.run = run,
};
