#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

int ck_fd_read(struct ck_buf *b, int fd, const char *name, struct ck_err *err)
{
	size_t max = b->max ? b->max : (size_t)1 << 30;

	for (;;) {
		/* One byte more than allowed shows that there is more. */
		size_t room = max - b->len < 65536 ? max - b->len : 65536;
		uint8_t over;
		if (room == 0) {
			ssize_t r = read(fd, &over, 1);
			if (r < 0 && errno == EINTR)
				continue;
			if (r == 0)
				return 0;
			if (r > 0)
				return ck_fail(err, -EFBIG, "%s holds more than %zu bytes", name,
					       max);
			return ck_fail(err, -errno, "cannot read %s: %s", name, strerror(errno));
		}
		int rc = ck_buf_reserve(b, room, err);
		if (rc < 0)
			return ck_wrap(err, "reading %s", name);
		ssize_t r = read(fd, b->data + b->len, room);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return ck_fail(err, -errno, "cannot read %s: %s", name, strerror(errno));
		b->len += (size_t)r;
		b->data[b->len] = 0;
		if (r == 0)
			return 0;
	}
}

int ck_file_read(struct ck_buf *b, const char *path, struct ck_err *err)
{
	CK_AUTO(ck_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return ck_fail(err, -errno, "cannot open %s: %s", path, strerror(errno));
	return ck_fd_read(b, fd, path, err);
}

int ck_fd_write(int fd, const void *p, size_t nbytes, const char *name, struct ck_err *err)
{
	const uint8_t *at = p;

	while (nbytes) {
		ssize_t w = write(fd, at, nbytes);
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return ck_fail(err, -errno, "cannot write %s: %s", name, strerror(errno));
		at += w;
		nbytes -= (size_t)w;
	}
	return 0;
}

static int write_through(const char *path, const void *p, size_t nbytes, struct ck_err *err)
{
	CK_AUTO(ck_closep) int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return ck_fail(err, -errno, "cannot open %s: %s", path, strerror(errno));
	return ck_fd_write(fd, p, nbytes, path, err);
}

int ck_file_write(const char *path, const void *p, size_t nbytes, mode_t mode, struct ck_err *err)
{
	char tmp[PATH_MAX];
	struct stat st;

	/* Root could otherwise put a file where /dev/null or /dev/stdout was. */
	if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return write_through(path, p, nbytes, err);
	int n = snprintf(tmp, sizeof tmp, "%s.XXXXXX", path);

	if (n < 0 || (size_t)n >= sizeof tmp)
		return ck_fail(err, -ENAMETOOLONG, "path %s is too long", path);
	CK_AUTO(ck_closep) int fd = mkostemp(tmp, O_CLOEXEC);
	if (fd < 0)
		return ck_fail(err, -errno, "cannot create %s: %s", path, strerror(errno));
	int rc = ck_fd_write(fd, p, nbytes, path, err);
	if (rc == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0 || rename(tmp, path) < 0))
		rc = ck_fail(err, -errno, "cannot write %s: %s", path, strerror(errno));
	if (rc < 0)
		(void)unlink(tmp);
	return rc;
}

uint64_t ck_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}
