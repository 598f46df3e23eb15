#include "tools/azsim/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"

struct az_path az_path(const char *dir, const char *fmt, ...)
{
	struct az_path p;
	va_list ap;

	va_start(ap, fmt);
	int n = snprintf(p.s, sizeof p.s, "%s/", dir);
	vsnprintf(p.s + n, sizeof p.s - (size_t)n, fmt, ap);
	va_end(ap);
	return p;
}

int az_dir_find(char out[AZ_DIR_MAX + 1], const char *name, struct ck_err *err)
{
	char full[PATH_MAX];

	if (!realpath(name, full))
		return ck_fail(err, -errno, "no state directory %s: %s", name, strerror(errno));
	if (strlen(full) > AZ_DIR_MAX)
		return ck_fail(err, -ENAMETOOLONG,
			       "the path of state directory %s is longer than %d bytes", full,
			       AZ_DIR_MAX);
	memcpy(out, full, strlen(full) + 1);
	return 0;
}

int az_mkdir(const char *path, struct ck_err *err)
{
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return ck_fail(err, -errno, "cannot make directory %s: %s", path, strerror(errno));
	return 0;
}

int az_dir_make(char out[AZ_DIR_MAX + 1], const char *name, struct ck_err *err)
{
	static const char *const parts[] = { "ca", "amd", "aad", "maa", "hsm", "keys", "key-info" };
	int rc = az_mkdir(name, err);

	if (rc == 0)
		rc = az_dir_find(out, name, err);
	for (size_t i = 0; rc == 0 && i < sizeof parts / sizeof *parts; i++)
		rc = az_mkdir(az_path(out, "%s", parts[i]).s, err);
	return rc;
}

/* A record lock over the whole file: gone with its process, whatever ends it. */
static struct flock whole_file(void)
{
	return (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET };
}

int az_dir_hold(const char *dir, struct ck_err *err)
{
	struct az_path p = az_path(dir, "azsim.pid");
	struct flock l = whole_file();
	/* Never closed: closing any descriptor of the file would drop the lock. */
	int fd = open(p.s, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return ck_fail(err, -errno, "cannot open %s: %s", p.s, strerror(errno));
	if (fcntl(fd, F_SETLK, &l) < 0) {
		int e = errno;
		close(fd);
		if (e == EACCES || e == EAGAIN)
			return ck_fail(err, -EBUSY,
				       "a simulator with state %s runs already; stop it with: "
				       "azsim stop --state %s",
				       dir, dir);
		return ck_fail(err, -e, "cannot lock %s: %s", p.s, strerror(e));
	}
	if (ftruncate(fd, 0) < 0 || dprintf(fd, "%d\n", getpid()) < 0)
		return ck_fail(err, -EIO, "cannot write %s", p.s);
	return 0;
}

int az_dir_holder(const char *dir, pid_t *out, struct ck_err *err)
{
	struct az_path p = az_path(dir, "azsim.pid");
	struct flock l = whole_file();

	*out = 0;
	CK_AUTO(ck_closep) int fd = open(p.s, O_RDWR | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || fcntl(fd, F_GETLK, &l) < 0)
		return ck_fail(err, -errno, "cannot look at %s: %s", p.s, strerror(errno));
	*out = l.l_type == F_UNLCK ? 0 : l.l_pid;
	return 0;
}
