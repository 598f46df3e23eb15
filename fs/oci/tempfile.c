#include "fs/oci/tempfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/text.h"

#define PREFIX ".cloakfs-"
/* On the way to a name that is taken. Always the same, so that a killed run's is removed. */
#define NEXT PREFIX "next"

static int random_name(char out[CK_TEMPFILE_NAME], struct ck_err *err)
{
	uint8_t r[8];

	if (getrandom(r, sizeof r, 0) != sizeof r)
		return ck_fail(err, -errno, "cannot get random bytes: %s", strerror(errno));
	memcpy(out, PREFIX, sizeof PREFIX - 1);
	ck_hex(out + sizeof PREFIX - 1, r, sizeof r);
	return 0;
}

int ck_tempfile_open(struct ck_tempfile *out, int dir, struct ck_err *err)
{
	struct ck_tempfile f = { .dir = dir };

	f.fd = openat(dir, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0644);
	if (f.fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
		int rc = random_name(f.name, err);
		if (rc < 0)
			return rc;
		f.fd = openat(dir, f.name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	}
	if (f.fd < 0)
		return ck_fail(err, -errno, "cannot make a file: %s", strerror(errno));
	*out = f;
	return 0;
}

/* 0 or -1 with errno. */
static int link_as(const struct ck_tempfile *f, const char *name)
{
	char path[sizeof "/proc/self/fd/" + 10];

	/* The first way needs Linux 6.10 or a capability, the second /proc. */
	int rc = linkat(f->fd, "", f->dir, name, AT_EMPTY_PATH);
	if (rc == 0 || errno != ENOENT)
		return rc;
	snprintf(path, sizeof path, "/proc/self/fd/%d", f->fd);
	return linkat(AT_FDCWD, path, f->dir, name, AT_SYMLINK_FOLLOW);
}

static void close_it(struct ck_tempfile *f)
{
	ck_closep(&f->fd);
	f->fd = -1;
}

int ck_tempfile_park(struct ck_tempfile *f, struct ck_err *err)
{
	if (!f->name[0]) {
		char name[CK_TEMPFILE_NAME];
		int rc = random_name(name, err);
		if (rc < 0)
			return rc;
		if (link_as(f, name) < 0)
			return ck_fail(err, -errno, "cannot name a file: %s", strerror(errno));
		memcpy(f->name, name, sizeof name);
	}
	close_it(f);
	return 0;
}

int ck_tempfile_place(struct ck_tempfile *f, const char *name, struct ck_err *err)
{
	const char *from = f->name;
	int rc = 0;

	if (!from[0]) {
		rc = link_as(f, name);
		if (rc < 0 && errno == EEXIST) {
			from = NEXT;
			(void)unlinkat(f->dir, NEXT, 0);
			rc = link_as(f, NEXT);
		}
	}
	if (rc == 0 && from[0])
		rc = renameat(f->dir, from, f->dir, name);
	if (rc < 0) {
		rc = ck_fail(err, -errno, "cannot make %s: %s", name, strerror(errno));
		if (from != f->name)
			(void)unlinkat(f->dir, NEXT, 0);
		return rc;
	}
	f->name[0] = 0;
	close_it(f);
	return 0;
}

void ck_tempfile_drop(struct ck_tempfile *f)
{
	close_it(f);
	if (f->name[0])
		(void)unlinkat(f->dir, f->name, 0);
	f->name[0] = 0;
}

bool ck_tempfile_named(const char *name)
{
	return strncmp(name, PREFIX, sizeof PREFIX - 1) == 0;
}
