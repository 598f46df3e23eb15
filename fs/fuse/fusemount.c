#include "fs/fuse/fusemount.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"

enum { READ_AHEAD_KB = CK_MAX_IO / 1024 };

/* libfuse writes to stderr, which a daemon no longer has. */
static void on_fuse_log(enum fuse_log_level level, const char *fmt, va_list ap)
{
	char line[512];

	vsnprintf(line, sizeof line, fmt, ap);
	line[strcspn(line, "\n")] = 0;
	ck_log(level <= FUSE_LOG_WARNING ? CK_LOG_WARNING : CK_LOG_DEBUG, "libfuse: %s", line);
}

/*
 * As root the mount is made here, which tells why where it fails; the session takes the
 * descriptor over. suid and dev are honoured: nothing forbids them.
 */
static int mount_as_root(struct fuse_session *s, const char *source, const char *dir,
			 struct ck_err *err)
{
	char opts[160], fd_path[32];
	CK_AUTO(ck_closep) int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return ck_fail(err, -errno, "cannot open /dev/fuse: %s (is the fuse module there?)",
			       strerror(errno));
	snprintf(opts, sizeof opts,
		 "fd=%d,rootmode=40000,user_id=%u,group_id=%u,default_permissions,allow_other,"
		 "max_read=%d",
		 fd, geteuid(), getegid(), CK_MAX_IO);
	if (mount(source, dir, CK_FUSE_TYPE, MS_RDONLY, opts) < 0)
		return ck_fail(err, -errno, "cannot mount at %s: %s", dir, strerror(errno));
	snprintf(fd_path, sizeof fd_path, "/dev/fd/%d", fd);
	if (fuse_session_mount(s, fd_path) < 0) {
		(void)umount2(dir, MNT_DETACH);
		return ck_fail(err, -EIO, "libfuse does not take the mount at %s", dir);
	}
	(void)ck_take_fd(&fd);
	return 0;
}

static int mount_as_user(struct fuse_session *s, const char *dir, struct ck_err *err)
{
	if (fuse_session_mount(s, dir) < 0)
		return ck_fail(err, -EPERM, "cannot mount at %s: fusermount3 refused", dir);
	return 0;
}

/* SOURCE goes into an option here; its commas and backslashes are escaped. */
static int new_session(struct fuse_session **out, struct ck_ops *ops, const char *source,
		       struct ck_err *err)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	char name[PATH_MAX + 16], max_read[32], *opts = NULL;
	int rc = -ENOMEM;

	fuse_set_log_func(on_fuse_log);
	snprintf(name, sizeof name, "fsname=%s", source);
	snprintf(max_read, sizeof max_read, "max_read=%d", CK_MAX_IO);
	if (fuse_opt_add_opt_escaped(&opts, name) == 0 &&
	    fuse_opt_add_opt(&opts, "subtype=cloakfs,ro,default_permissions") == 0 &&
	    fuse_opt_add_opt(&opts, max_read) == 0 && fuse_opt_add_arg(&args, "cloakfs") == 0 &&
	    fuse_opt_add_arg(&args, "-o") == 0 && fuse_opt_add_arg(&args, opts) == 0) {
		*out = fuse_session_new(&args, &ck_fuse_ops, sizeof ck_fuse_ops, ops);
		rc = *out ? 0 : -EINVAL;
	}
	free(opts);
	fuse_opt_free_args(&args);
	return rc < 0 ? ck_fail(err, rc, "cannot make a FUSE session") : 0;
}

/* Answers the kernel's first request, by which both sides tell what they can. */
static int shake_hands(struct fuse_session *s, const char *dir, struct ck_err *err)
{
	struct fuse_buf buf = { 0 };
	int rc = fuse_session_receive_buf(s, &buf);

	if (rc > 0)
		fuse_session_process_buf(s, &buf);
	free(buf.mem);
	if (rc <= 0 || fuse_session_exited(s))
		return ck_fail(err, rc < 0 ? rc : -EIO,
			       "the kernel and libfuse do not come together for the mount at %s",
			       dir);
	return 0;
}

/* The kernel starts with 128 KiB; after the handshake it takes more from root. */
static void raise_read_ahead(const struct ck_mounted *at)
{
	char path[64], kb[16];
	int n = snprintf(kb, sizeof kb, "%d", READ_AHEAD_KB);

	snprintf(path, sizeof path, "/sys/class/bdi/%u:%u/read_ahead_kb", at->dev_major,
		 at->dev_minor);
	CK_AUTO(ck_closep) int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || ck_fd_write(fd, kb, (size_t)n, path, NULL) < 0)
		ck_log(CK_LOG_DEBUG, "read-ahead of %s stays as it is: %s", path, strerror(errno));
}

/* S is mounted: what comes next, or it is not any more. */
static int finish(struct fuse_session *s, struct ck_mounted *at, const char *dir,
		  struct ck_err *err)
{
	*at = (struct ck_mounted){ 0 };
	int rc = ck_mounted_at(dir, at, err);

	if (rc == -ENOENT)
		rc = ck_fail(err, rc, "the mount at %s vanished at once", dir);
	if (rc == 0)
		rc = shake_hands(s, dir, err);
	if (rc == 0)
		raise_read_ahead(at);
	else if (ck_mounted_still(dir, at) && ck_mounted_detach(dir, true) < 0)
		ck_log(CK_LOG_WARNING, "%s stays mounted; clean up with: cloakfs umount %s", dir,
		       dir);
	return rc;
}

int ck_fusemount_open(struct fuse_session **out, struct ck_mounted *at, struct ck_ops *ops,
		      const char *source, const char *dir, struct ck_err *err)
{
	struct fuse_session *s = NULL;
	int rc = new_session(&s, ops, source, err);

	if (rc == 0)
		rc = geteuid() == 0 ? mount_as_root(s, source, dir, err)
				    : mount_as_user(s, dir, err);
	if (rc == 0)
		rc = finish(s, at, dir, err);
	if (rc == 0)
		*out = s;
	else if (s)
		fuse_session_destroy(s);
	return rc;
}
