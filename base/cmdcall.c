#include "base/cmdcall.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/secret.h"

enum { STDERR_MAX = 4096, STDERR_SHOWN = 300, TICK_MS = 50 };

/* The reading ends and the child. */
struct child {
	pid_t pid;
	int out, err;
};

/* The request as a file: no pipe to fill, no SIGPIPE. Sealed only by being unlinked. */
static int request_fd(const void *in, size_t nbytes, struct ck_err *err)
{
	CK_AUTO(ck_closep) int fd = memfd_create("request", MFD_CLOEXEC);

	if (fd < 0)
		return ck_fail(err, -errno, "cannot make a request file: %s", strerror(errno));
	int rc = ck_fd_write(fd, in, nbytes, "the request file", err);
	if (rc < 0)
		return rc;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return ck_fail(err, -errno, "cannot rewind the request: %s", strerror(errno));
	return ck_take_fd(&fd);
}

static int spawn(pid_t *pid, char *const argv[], int in, int out, int err_fd)
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int rc = posix_spawn_file_actions_init(&fa);

	if (rc)
		return rc;
	if ((rc = posix_spawnattr_init(&attr))) {
		posix_spawn_file_actions_destroy(&fa);
		return rc;
	}
	sigemptyset(&none);
	sigfillset(&all);
	if (!(rc = posix_spawn_file_actions_adddup2(&fa, in, 0)) &&
	    !(rc = posix_spawn_file_actions_adddup2(&fa, out, 1)) &&
	    !(rc = posix_spawn_file_actions_adddup2(&fa, err_fd, 2)) &&
	    !(rc = posix_spawn_file_actions_addclosefrom_np(&fa, 3)) &&
	    !(rc = posix_spawnattr_setsigmask(&attr, &none)) &&
	    !(rc = posix_spawnattr_setsigdefault(&attr, &all)) &&
	    !(rc = posix_spawnattr_setpgroup(&attr, 0)) &&
	    !(rc = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
						       POSIX_SPAWN_SETPGROUP)))
		rc = posix_spawnp(pid, argv[0], &fa, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	posix_spawnattr_destroy(&attr);
	return rc;
}

/* Moves FD above the standard ones: dup2 onto a lower number of the same set would
 * otherwise overwrite another, and dup2 onto itself would keep close-on-exec. */
static int lift(int fd)
{
	if (fd < 0 || fd > 2)
		return fd;
	int up = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	(void)close(fd);
	return up;
}

static int start(struct child *c, char *const argv[], const void *in, size_t nbytes,
		 struct ck_err *err)
{
	int o[2] = { -1, -1 }, e[2] = { -1, -1 }, rc = 0;
	int req = request_fd(in, nbytes, err);

	if (req < 0)
		return req;
	if (pipe2(o, O_CLOEXEC) < 0 || pipe2(e, O_CLOEXEC) < 0)
		rc = errno;
	req = lift(req);
	o[1] = lift(o[1]);
	e[1] = lift(e[1]);
	if (rc == 0)
		rc = spawn(&c->pid, argv, req, o[1], e[1]);
	ck_closep(&req);
	ck_closep(&o[1]);
	ck_closep(&e[1]);
	if (rc) {
		ck_closep(&o[0]);
		ck_closep(&e[0]);
		return ck_fail(err, -rc, "cannot run %s: %s", argv[0], strerror(rc));
	}
	c->out = o[0];
	c->err = e[0];
	return 0;
}

/* Reads what FD has; closes it at its end. Past B's max: -EFBIG, or thrown away when
 * EXCESS_IS_FINE. */
static int drain(int *fd, struct ck_buf *b, bool excess_is_fine, struct ck_err *err)
{
	uint8_t chunk[4096];
	ssize_t n = read(*fd, chunk, sizeof chunk);

	if (n < 0)
		return errno == EINTR || errno == EAGAIN
			   ? 0
			   : ck_fail(err, -errno, "cannot read its answer: %s", strerror(errno));
	if (n == 0) {
		ck_closep(fd);
		*fd = -1;
		return 0;
	}
	int rc = ck_buf_add(b, chunk, (size_t)n, err);
	ck_wipe(chunk, (size_t)n);
	return rc == -EFBIG && excess_is_fine ? 0 : rc;
}

static bool given_up(const atomic_bool *cancel)
{
	return cancel && atomic_load(cancel);
}

static int pump(struct child *c, uint64_t deadline_ms, const atomic_bool *cancel,
		struct ck_buf *out, struct ck_buf *errs, struct ck_err *err)
{
	while (c->out >= 0 || c->err >= 0) {
		struct pollfd fds[2] = { { .fd = c->out, .events = POLLIN },
					 { .fd = c->err, .events = POLLIN } };
		uint64_t now = ck_now_ms();
		int rc = 0;

		if (now >= deadline_ms)
			return ck_fail(err, -ETIMEDOUT, "it gave no answer in time");
		if (given_up(cancel))
			return ck_fail(err, -ECANCELED, "it was given up");
		int ms = cancel && deadline_ms - now > TICK_MS ? TICK_MS : (int)(deadline_ms - now);
		if (poll(fds, 2, ms) < 0 && errno != EINTR)
			return ck_fail(err, -errno, "cannot wait for it: %s", strerror(errno));
		if (fds[0].revents)
			rc = drain(&c->out, out, false, err);
		if (rc == 0 && fds[1].revents)
			rc = drain(&c->err, errs, true, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Waits for the child's end until the deadline or *CANCEL, or kills its group, and reaps it.
 * Returns 1 when it had to be killed, 0 when it ended, -ECHILD when how it ended cannot be
 * told (its number may be another's already: nothing is killed). */
static int reap(struct child *c, uint64_t deadline_ms, const atomic_bool *cancel, bool kill_now,
		int *status)
{
	unsigned pause_ms = 1;

	while (!kill_now) {
		pid_t p = waitpid(c->pid, status, WNOHANG);
		if (p == c->pid)
			return 0;
		if (p < 0 && errno != EINTR)
			return -ECHILD;
		kill_now = ck_now_ms() >= deadline_ms || given_up(cancel);
		(void)poll(NULL, 0, (int)pause_ms);
		pause_ms = pause_ms < 64 ? 2 * pause_ms : 64;
	}
	(void)kill(-c->pid, SIGKILL);
	while (waitpid(c->pid, status, 0) < 0 && errno == EINTR)
		;
	return 1;
}

/* The last part of what it said: programs give the reason at the end. */
static const char *tail(const struct ck_buf *b)
{
	const char *s = ck_buf_str(b);

	return b->len > STDERR_SHOWN ? s + b->len - STDERR_SHOWN : s;
}

int ck_cmdcall(char *const argv[], const void *in, size_t nbytes, uint64_t deadline_ms,
	       const atomic_bool *cancel, struct ck_buf *out, struct ck_err *err)
{
	struct child c = { -1, -1, -1 };
	CK_BUF errs = { .max = STDERR_MAX };
	int rc = start(&c, argv, in, nbytes, err);

	if (rc < 0)
		return rc;
	rc = pump(&c, deadline_ms, cancel, out, &errs, err);
	int status = 0;
	int killed = reap(&c, deadline_ms, cancel, rc < 0, &status);
	ck_closep(&c.out);
	ck_closep(&c.err);
	while (errs.len && errs.data[errs.len - 1] == '\n')
		errs.data[--errs.len] = 0;
	if (rc < 0)
		return ck_wrap(err, "%s", argv[0]);
	if (killed < 0)
		return ck_fail(err, killed, "%s: cannot tell how it ended: %s", argv[0],
			       strerror(-killed));
	if (killed && given_up(cancel))
		return ck_fail(err, -ECANCELED, "%s: it was given up", argv[0]);
	if (killed)
		return ck_fail(err, -ETIMEDOUT, "%s: it did not end in time", argv[0]);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	/* posix_spawn may say so in this way, too; a shell would add a word. */
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127 && errs.len == 0)
		return ck_fail(err, -ENOENT, "cannot run %s", argv[0]);
	if (WIFEXITED(status))
		return ck_fail(err, -EIO, "%s ended with status %d: %s", argv[0],
			       WEXITSTATUS(status), tail(&errs));
	return ck_fail(err, -EIO, "%s was ended by signal %d: %s", argv[0], WTERMSIG(status),
		       tail(&errs));
}
