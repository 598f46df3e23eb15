#include "base/fsmount.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/cleanup.h"

/* What the kernel has to say, a message each read: "e erofs: cannot find valid ...". */
static int told(int fs, int code, const char *doing, struct ck_err *err)
{
	char line[256];
	ssize_t n = read(fs, line, sizeof line - 1);

	if (n <= 2)
		return ck_fail(err, -code, "%s: %s", doing, strerror(code));
	line[n] = 0;
	line[strcspn(line, "\n")] = 0;
	return ck_fail(err, -code, "%s: %s (%s)", doing, strerror(code), line + 2);
}

int ck_fsmount_begin(int *fs, const char *type, const char *source, struct ck_err *err)
{
	CK_AUTO(ck_closep) int fd = fsopen(type, FSOPEN_CLOEXEC);

	if (fd < 0 && errno == ENODEV)
		return ck_fail(err, -ENOTSUP, "this kernel has no %s", type);
	if (fd < 0)
		return ck_fail(err, -errno, "fsopen of %s: %s", type, strerror(errno));
	int rc = ck_fsmount_set(fd, "source", source, err);
	if (rc == 0)
		*fs = ck_take_fd(&fd);
	return rc;
}

int ck_fsmount_set(int fs, const char *key, const char *value, struct ck_err *err)
{
	unsigned cmd = value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG;

	return fsconfig(fs, cmd, key, value, 0) == 0 ? 0 : told(fs, errno, key, err);
}

/* What was said of a try that may fail is not to be told of a later one. */
static void drop_messages(int fs)
{
	char line[256];

	while (read(fs, line, sizeof line) > 0)
		;
}

/* Where a descriptor is taken itself (overlayfs from 6.13 on), mount tables show its path. */
int ck_fsmount_set_fd(int fs, const char *key, int fd, struct ck_err *err)
{
	char path[32];

	if (fsconfig(fs, FSCONFIG_SET_FD, key, NULL, fd) == 0)
		return 0;
	drop_messages(fs);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return ck_fsmount_set(fs, key, path, err);
}

int ck_fsmount_create(int *mount, int fs, unsigned attrs, struct ck_err *err)
{
	if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return told(fs, errno, "mounting", err);
	int fd = fsmount(fs, FSMOUNT_CLOEXEC, attrs);
	if (fd < 0)
		return told(fs, errno, "fsmount", err);
	*mount = fd;
	return 0;
}

int ck_fsmount_at(int mount, const char *dir, struct ck_err *err)
{
	if (move_mount(mount, "", AT_FDCWD, dir, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return ck_fail(err, -errno, "cannot mount at %s: %s", dir, strerror(errno));
	return 0;
}
