#include "fs/fuse/writable.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/fsmount.h"
#include "fs/fuse/mountpoint.h"

/* A tmpfs at DIR, and its root. */
static int mount_tmpfs(int *root, const char *dir, struct ck_err *err)
{
	CK_AUTO(ck_closep) int fs = -1;
	CK_AUTO(ck_closep) int mount = -1;
	int rc = ck_fsmount_begin(&fs, "tmpfs", "tmpfs", err);

	if (rc == 0)
		rc = ck_fsmount_set(fs, "mode", "0700", err);
	if (rc == 0)
		rc = ck_fsmount_create(&mount, fs, 0, err);
	if (rc == 0)
		rc = ck_fsmount_at(mount, dir, err);
	if (rc == 0)
		*root = ck_take_fd(&mount);
	return rc;
}

static int open_upper(int *base, const char *path, struct ck_err *err)
{
	CK_AUTO(ck_closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return ck_fail(err, -errno, "cannot write to %s: %s", path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return ck_fail(err, errno == EWOULDBLOCK ? -EBUSY : -errno,
			       "cannot write to %s: %s", path,
			       errno == EWOULDBLOCK ? "another mount does" : strerror(errno));
	*base = ck_take_fd(&fd);
	return 0;
}

/* What the upper filesystem has no room for in kind (-ENOTSUP) stays out. */
static int copy_xattrs(int from, int to, struct ck_err *err)
{
	char names[XATTR_LIST_MAX], value[XATTR_SIZE_MAX];
	ssize_t n = flistxattr(from, names, sizeof names);

	for (const char *name = names; n > 0 && name < names + n; name += strlen(name) + 1) {
		ssize_t len = fgetxattr(from, name, value, sizeof value);
		if (len >= 0 && fsetxattr(to, name, value, (size_t)len, 0) < 0 && errno != ENOTSUP)
			return ck_fail(err, -errno, "cannot set %s: %s", name, strerror(errno));
	}
	return 0;
}

/* The overlay's root is the upper one alone: a new one takes after the tree's. */
static int make_upper(int *upper, int base, int lower, struct ck_err *err)
{
	struct stat st;
	bool made = mkdirat(base, "upper", 0700) == 0;

	if (!made && errno != EEXIST)
		return ck_fail(err, -errno, "cannot make \"upper\": %s", strerror(errno));
	CK_AUTO(ck_closep) int fd = openat(base, "upper", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return ck_fail(err, -errno, "cannot open \"upper\": %s", strerror(errno));
	if (made) {
		int rc = copy_xattrs(lower, fd, err);
		if (rc < 0)
			return rc;
		if (fstat(lower, &st) < 0 || fchown(fd, st.st_uid, st.st_gid) < 0 ||
		    fchmod(fd, st.st_mode & 07777) < 0 ||
		    futimens(fd, (struct timespec[2]){ st.st_atim, st.st_mtim }) < 0)
			return ck_fail(err, -errno, "cannot make \"upper\" as the root is: %s",
				       strerror(errno));
	}
	*upper = ck_take_fd(&fd);
	return 0;
}

static int make_work(int *work, int base, struct ck_err *err)
{
	if (mkdirat(base, "work", 0700) < 0 && errno != EEXIST)
		return ck_fail(err, -errno, "cannot make \"work\": %s", strerror(errno));
	*work = openat(base, "work", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *work < 0 ? ck_fail(err, -errno, "cannot open \"work\": %s", strerror(errno)) : 0;
}

/* In a user namespace overlayfs may not use trusted attributes. */
static bool in_user_namespace(void)
{
	CK_BUF map = { .max = 4096 };
	unsigned inside, outside, n;

	return ck_file_read(&map, "/proc/self/uid_map", NULL) == 0 &&
	       (sscanf(ck_buf_str(&map), "%u %u %u", &inside, &outside, &n) != 3 || inside ||
		outside || n != UINT_MAX);
}

static int make_overlay(int *mount, const char *dir, int lower, int base, struct ck_err *err)
{
	char source[PATH_MAX + 16];
	CK_AUTO(ck_closep) int fs = -1;
	CK_AUTO(ck_closep) int upper = -1;
	CK_AUTO(ck_closep) int work = -1;
	int rc = make_upper(&upper, base, lower, err);

	snprintf(source, sizeof source, "%s/" CK_COVER_WRITABLE, dir);
	if (rc == 0)
		rc = make_work(&work, base, err);
	if (rc == 0)
		rc = ck_fsmount_begin(&fs, "overlay", source, err);
	/* One that adds a layer takes a descriptor, but is younger. */
	if (rc == 0 && ck_fsmount_set_fd(fs, "lowerdir+", lower, NULL) < 0)
		rc = ck_fsmount_set_fd(fs, "lowerdir", lower, err);
	if (rc == 0)
		rc = ck_fsmount_set_fd(fs, "upperdir", upper, err);
	if (rc == 0)
		rc = ck_fsmount_set_fd(fs, "workdir", work, err);
	if (rc == 0 && in_user_namespace())
		rc = ck_fsmount_set(fs, "userxattr", NULL, err);
	return rc < 0 ? rc : ck_fsmount_create(mount, fs, 0, err);
}

int ck_writable_at(const char *dir, const char *upper, int *lock, struct ck_err *err)
{
	bool in_memory = strcmp(upper, CK_WRITABLE_TMPFS) == 0;
	CK_AUTO(ck_closep) int lower = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CK_AUTO(ck_closep) int base = -1;
	CK_AUTO(ck_closep) int mount = -1;

	if (lower < 0)
		return ck_fail(err, -errno, "cannot open %s: %s", dir, strerror(errno));
	int rc = in_memory ? mount_tmpfs(&base, dir, err) : open_upper(&base, upper, err);
	if (rc < 0)
		return rc;
	rc = make_overlay(&mount, dir, lower, base, err);
	if (rc < 0)
		rc = ck_wrap(err, "--writable %s", upper);
	/* It had to be somewhere for the overlay to take it, and is the overlay's now. */
	if (in_memory)
		(void)umount2(dir, MNT_DETACH);
	if (rc == 0)
		rc = ck_fsmount_at(mount, dir, err);
	if (rc == 0 && !in_memory)
		*lock = ck_take_fd(&base);
	return rc;
}
