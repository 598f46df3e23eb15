#include "fs/erofs/attach.h"

#include <errno.h>
#include <sys/mount.h>

#include "base/cleanup.h"
#include "base/fsmount.h"

int ck_attach_open(int *mount, const char *file, const char *const *devices, size_t n_devices,
		   struct ck_err *err)
{
	CK_AUTO(ck_closep) int fs = -1;
	int rc = ck_fsmount_begin(&fs, "erofs", file, err);

	for (size_t i = 0; rc == 0 && i < n_devices; i++)
		rc = ck_fsmount_set(fs, "device", devices[i], err);
	if (rc == 0)
		rc = ck_fsmount_set(fs, "directio", NULL, err);
	if (rc == 0)
		rc = ck_fsmount_set(fs, "ro", NULL, err);
	if (rc == 0)
		rc = ck_fsmount_create(mount, fs, MOUNT_ATTR_RDONLY, err);
	/* Kernels before 6.12 take block devices only. */
	if (rc == -ENOTBLK)
		return ck_fail(err, -ENOTSUP, "this kernel mounts EROFS from block devices only");
	return rc;
}
