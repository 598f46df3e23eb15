#include <errno.h>
#include <fcntl.h>
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
#include "tools/cloakfs/commands.h"
#include "tools/cloakfs/session.h"

/* Before the long work: whether DIR can be mounted on, and its absolute name. */
static int check_dir(char full[PATH_MAX], const char *dir, struct ck_err *err)
{
	CK_AUTO(ck_closep) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 && errno == ENOTCONN)
		return ck_fail(err, -EBUSY,
			       "cannot mount at %s: a mount whose process has died is there; "
			       "remove it with: cloakfs umount %s",
			       dir, dir);
	if (fd < 0 || !realpath(dir, full))
		return ck_fail(err, -errno, "cannot mount at %s: %s", dir, strerror(errno));
	return 0;
}

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
	int fd; /* -1: nobody waits */
	bool told;
};

/* Closes the descriptor. Errors: -EINTR when nobody waits any more. */
static int report_ready(void *ctx, struct ck_err *err)
{
	struct herald *h = ctx;
	int fd = h->fd;

	h->told = true;
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

static int serve(const struct ck_options *o, enum ck_view view, const char *dir,
		 struct ck_stack *stack, uint64_t timeout_ms, struct herald *herald,
		 struct ck_err *err)
{
	struct ck_mount *m = NULL;

	/* A signal between mounting and serving would leave the mount behind, so it waits. */
	block_stop_signals();
	int rc = ck_mount_open(&m, stack, view, o->args[0], dir, err);
	if (rc == 0 && stop_pending())
		rc = ck_fail(err, -EINTR, "interrupted while mounting");
	if (rc == 0)
		rc = ck_mount_run(m, timeout_ms, report_ready, herald, err);
	ck_mount_close(m);
	return rc;
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

static int serve_mode(const struct ck_options *o, const char *dir, struct ck_stack *stack,
		      uint64_t timeout_ms, int ready, struct ck_err *err)
{
	struct herald herald = { .fd = ready };

	if (!wants_erofs(o))
		return serve(o, o->view, dir, stack, timeout_ms, &herald, err);
	int rc = serve(o, CK_VIEW_DEVICES, dir, stack, timeout_ms, &herald, err);
	/* What fails later is no question of the mode. */
	if (rc == 0 || rc == -EINTR || herald.told || o->mode == CK_MODE_EROFS || stop_pending())
		return rc;
	ck_log(CK_LOG_INFO, "note: FUSE mode, for EROFS mode failed: %s", err->msg);
	return serve(o, o->view, dir, stack, timeout_ms, &herald, err);
}

/* What is read ahead may hang where no reader does, and closing the layers would wait for it. */
static void *give_up(void *arg)
{
	const struct timespec patience = { .tv_sec = 1 };
	const struct ck_err *failed = arg;

	nanosleep(&patience, NULL);
	if (failed)
		ck_log(CK_LOG_ERROR, "%s", failed->msg);
	ck_log(CK_LOG_WARNING, "reads ahead that still hang are given up");
	_exit(failed ? 1 : 0);
}

static int mount_image(const struct ck_options *o, const char *dir, int ready, struct ck_err *err)
{
	CK_SESSION s = { 0 };
	CK_AUTO(ck_stack_closep) struct ck_stack *stack = NULL;
	int rc = ck_secret_init(err);

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
	rc = serve_mode(o, dir, stack, s.config.request_timeout_ms, ready, err);
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

static int run(const struct ck_options *o, struct ck_err *err)
{
	char dir[PATH_MAX];
	pid_t self = getpid();
	if (o->mode == CK_MODE_EROFS && o->view != CK_VIEW_ROOTFS)
		return ck_fail(err, CK_USAGE,
			       "--mode erofs shows the merged tree, not --view layers");
	if (o->mode == CK_MODE_EROFS && geteuid() != 0)
		return ck_fail(err, -EPERM,
			       "--mode erofs needs root; without it, there is --mode fuse");
	int rc = check_dir(dir, o->args[1], err);

	if (rc < 0)
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
	    "                     [--view rootfs|layers] [--mode fuse|erofs|auto] [--foreground]\n"
	    "                     [--platform OS/ARCH] IMAGE DIR",
	.summary = "mount the image at DIR",
	.options = "ckCIvmfp",
	.required = "",
	.min_args = 2,
	.max_args = 2,
	.forks = true,
	.run = run,
};
