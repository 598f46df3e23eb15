#include "base/ramfile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fsmount.h"

static int failed(const char *doing, struct ck_err *err)
{
	int code = errno;

	return ck_fail(err, -code, "cannot %s a file in ramfs: %s", doing, strerror(code));
}

/* The mount goes with its descriptor, its filesystem with the files that are open. */
static int make(int *file, struct ck_err *err)
{
	CK_AUTO(ck_closep) int fs = -1;
	CK_AUTO(ck_closep) int mount = -1;
	int rc = ck_fsmount_begin(&fs, "ramfs", "cloakfs", err);

	if (rc == 0)
		rc = ck_fsmount_create(
		    &mount, fs, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, err);
	if (rc < 0)
		return ck_wrap(err, "a ramfs");
	*file = openat(mount, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0400);
	return *file < 0 ? failed("make", err) : 0;
}

int ck_ramfile_open(int *file, void **bytes, size_t nbytes, struct ck_err *err)
{
	CK_AUTO(ck_closep) int fd = -1;
	int rc = make(&fd, err);

	if (rc < 0)
		return rc;
	if (ftruncate(fd, (off_t)nbytes) < 0)
		return failed("size", err);
	void *p = mmap(NULL, nbytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return failed("map", err);
	*bytes = p;
	*file = ck_take_fd(&fd);
	return 0;
}
