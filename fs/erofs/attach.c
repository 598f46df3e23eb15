#include "fs/erofs/attach.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/file.h"

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

static int set(int fs, unsigned cmd, const char *key, const char *value, struct ck_err *err)
{
	if (fsconfig(fs, cmd, key, value, 0) == 0)
		return 0;
	return told(fs, errno, key ? key : "mounting the EROFS image", err);
}

int ck_attach_open(int *mount, const char *file, const char *const *devices, size_t n_devices,
		   struct ck_err *err)
{
	CK_AUTO(ck_closep) int fs = fsopen("erofs", FSOPEN_CLOEXEC);

	if (fs < 0 && errno == ENODEV)
		return ck_fail(err, -ENOTSUP, "this kernel has no EROFS");
	if (fs < 0)
		return ck_fail(err, -errno, "fsopen of EROFS: %s", strerror(errno));
	int rc = set(fs, FSCONFIG_SET_STRING, "source", file, err);
	for (size_t i = 0; rc == 0 && i < n_devices; i++)
		rc = set(fs, FSCONFIG_SET_STRING, "device", devices[i], err);
	if (rc == 0)
		rc = set(fs, FSCONFIG_SET_FLAG, "directio", NULL, err);
	if (rc == 0)
		rc = set(fs, FSCONFIG_SET_FLAG, "ro", NULL, err);
	if (rc == 0)
		rc = set(fs, FSCONFIG_CMD_CREATE, NULL, NULL, err);
	/* Kernels before 6.12 take block devices only. */
	if (rc == -ENOTBLK)
		return ck_fail(err, -ENOTSUP, "this kernel mounts EROFS from block devices only");
	if (rc < 0)
		return rc;
	int fd = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY);
	if (fd < 0)
		return told(fs, errno, "fsmount of EROFS", err);
	*mount = fd;
	return 0;
}

int ck_attach_at(int mount, const char *dir, struct ck_err *err)
{
	if (move_mount(mount, "", AT_FDCWD, dir, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return ck_fail(err, -errno, "cannot mount at %s: %s", dir, strerror(errno));
	return 0;
}
