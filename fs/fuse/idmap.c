#include "fs/fuse/idmap.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

/* A number of 32 bits and the byte behind it, END; what follows that, or NULL. */
static const char *take_id(uint32_t *out, const char *s, char end)
{
	char *at;

	errno = 0;
	unsigned long long v = strtoull(s, &at, 10);
	if (s[0] < '0' || s[0] > '9' || errno || v > UINT32_MAX || *at != end)
		return NULL;
	*out = (uint32_t)v;
	return at + 1;
}

int ck_idmap_add(char *map, size_t cap, const char *range, struct ck_err *err)
{
	uint32_t image = 0, shown = 0, count = 0;
	size_t len = strlen(map);
	const char *s = take_id(&image, range, ':');

	s = s ? take_id(&shown, s, ':') : NULL;
	if (!s || !take_id(&count, s, 0) || count == 0)
		return ck_fail(err, -EINVAL,
			       "\"%s\" is no range of ids IMAGE-ID:SHOWN-ID:COUNT, such as "
			       "0:100000:65536",
			       range);
	int n = snprintf(map + len, cap - len, "%" PRIu32 " %" PRIu32 " %" PRIu32 "\n", image,
			 shown, count);
	if ((size_t)n < cap - len)
		return 0;
	map[len] = 0;
	return ck_fail(err, -ENOSPC, "too many ranges of ids");
}

/* Lives in a user namespace of its own until its TO_PARENT's other end is closed. */
static _Noreturn void be_namespace(int to_parent)
{
	char c = 0;

	if (unshare(CLONE_NEWUSER) < 0)
		c = (char)errno;
	if (write(to_parent, &c, 1) == 1)
		(void)!read(to_parent, &c, 1);
	_exit(0);
}

static int write_map(pid_t pid, const char *file, const char *map, struct ck_err *err)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
	CK_AUTO(ck_closep) int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, map, strlen(map)) < 0)
		return ck_fail(err, -errno, "the kernel takes no such ranges of ids: %s",
			       strerror(errno));
	return 0;
}

static int fill_namespace(int *out, pid_t pid, int from_child, const struct ck_idmap *m,
			  struct ck_err *err)
{
	char code = 0, path[64];

	if (read(from_child, &code, 1) != 1 || code)
		return ck_fail(err, code ? -code : -EIO, "cannot make a user namespace: %s",
			       strerror(code ? code : EIO));
	int rc = write_map(pid, "uid_map", *m->uids ? m->uids : m->gids, err);
	if (rc == 0)
		rc = write_map(pid, "gid_map", *m->gids ? m->gids : m->uids, err);
	snprintf(path, sizeof path, "/proc/%d/ns/user", (int)pid);
	int fd = rc == 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (rc == 0 && fd < 0)
		return ck_fail(err, -errno, "cannot open a user namespace: %s", strerror(errno));
	*out = fd;
	return rc;
}

int ck_idmap_open(int *fd, const struct ck_idmap *m, struct ck_err *err)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return ck_fail(err, -errno, "cannot make a socket: %s", strerror(errno));
	CK_AUTO(ck_closep) int ours = ends[0];
	CK_AUTO(ck_closep) int theirs = ends[1];
	pid_t pid = fork();
	if (pid < 0)
		return ck_fail(err, -errno, "cannot start a process: %s", strerror(errno));
	if (pid == 0) {
		(void)close(ours);
		be_namespace(theirs);
	}
	ck_closep(&theirs);
	theirs = -1;
	int rc = fill_namespace(fd, pid, ours, m, err);
	ck_closep(&ours);
	ours = -1;
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return rc;
}

int ck_idmap_mount(int mount, int userns, struct ck_err *err)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (unsigned)userns };

	if (mount_setattr(mount, "", AT_EMPTY_PATH, &attr, sizeof attr) < 0)
		return ck_fail(err, -errno, "the kernel does not map ids here: %s",
			       strerror(errno));
	return 0;
}
