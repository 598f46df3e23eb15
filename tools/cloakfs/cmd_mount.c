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

static sigset_t stop_signals(void)
{
	sigset_t s;

	sigemptyset(&s);
	sigaddset(&s, SIGINT);
	sigaddset(&s, SIGTERM);
	sigaddset(&s, SIGHUP);
	return s;
}

static bool stop_pending(void)
{
	sigset_t pending;

	sigpending(&pending);
	return sigismember(&pending, SIGINT) == 1 || sigismember(&pending, SIGTERM) == 1 ||
	       sigismember(&pending, SIGHUP) == 1;
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

/* Says through READY, which it closes, that the mount is there. Errors: -EINTR when nobody waits.
 */
static int report_ready(int ready, struct ck_err *err)
{
	if (ready < 0)
		return 0;
	/* From here on the mount outlives the command that made it. */
	(void)prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
	detach();
	bool told = write(ready, "", 1) == 1;
	(void)close(ready);
	return told ? 0 : ck_fail(err, -EINTR, "interrupted while mounting");
}

static int serve(const struct ck_options *o, const char *dir, struct ck_stack *stack, int ready,
		 struct ck_err *err)
{
	struct ck_mount *m = NULL;
	sigset_t stop = stop_signals();

	/* A signal between mounting and serving would leave the mount behind, so it waits. */
	sigprocmask(SIG_BLOCK, &stop, NULL);
	int rc = ck_mount_open(&m, stack, o->view, o->args[0], dir, err);
	if (rc == 0 && stop_pending())
		rc = ck_fail(err, -EINTR, "interrupted while mounting");
	if (rc == 0)
		rc = report_ready(ready, err);
	if (rc == 0)
		rc = ck_mount_run(m, err);
	ck_mount_close(m);
	return rc;
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
	return serve(o, dir, stack, ready, err);
}

/* In the child, forked before there was any thread or key. */
static int child(const struct ck_options *o, const char *dir, int ready, pid_t parent,
		 struct ck_err *err)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
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
	.synopsis = "[--config FILE] [--key KEY]... [--cache-dir DIR] [--index DIR]\n"
		    "                     [--view rootfs|layers] [--foreground] [--platform "
		    "OS/ARCH] IMAGE DIR",
	.summary = "mount the image at DIR",
	.options = "ckCIvfp",
	.required = "",
	.min_args = 2,
	.max_args = 2,
	.forks = true,
	.run = run,
};
