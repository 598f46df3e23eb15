#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "fs/fuse/beacon.h"
#include "fs/fuse/mount.h"
#include "fs/fuse/mountpoint.h"

/* END_MS: requests that are being answered end first. BELOW_MS: for the mounts below EROFS or
 * an overlay, where no daemon is to be seen. PATIENCE_MS: of the kernel's unmounting. */
enum { END_MS = 30000, BELOW_MS = 500, LOOK_MS = 2, PATIENCE_MS = 1000 };

static int refuse(const char *dir, int rc, struct ck_err *err)
{
	if (rc == -EBUSY)
		return ck_fail(err, rc,
			       "cannot unmount %s: files in it are open, or it is some process's "
			       "working directory (fuser -vm %s shows them; umount --lazy does not "
			       "wait for them)",
			       dir, dir);
	if (rc == -EPERM)
		return ck_fail(err, rc, "cannot unmount %s: only root and who mounted it may", dir);
	return ck_fail(err, rc, "cannot unmount %s: %s", dir, strerror(-rc));
}

/* After the uppermost its daemon takes the mounts below away; where it does not, we do. Not both
 * at once: another mount may lie under them. Nobody is in them but through the uppermost, of which
 * another mount namespace may have a copy: so they go at once, and are not found busy. */
static int detach_below(const char *path, const struct ck_mounted *m, unsigned patience_ms)
{
	const struct timespec pause = { .tv_nsec = LOOK_MS * 1000000 };
	uint64_t end = ck_now_ms() + patience_ms;

	while (ck_mounted_still(path, m)) {
		if (ck_now_ms() < end) {
			nanosleep(&pause, NULL);
			continue;
		}
		int rc = ck_mounted_detach(path, true);
		if (rc < 0)
			return rc;
	}
	return 0;
}

struct detaching {
	const char *path;
	bool lazy;
	int code;
};

static void *detach_main(void *arg)
{
	struct detaching *d = arg;

	d->code = ck_mounted_detach(d->path, d->lazy);
	return NULL;
}

/* Whether the uppermost of what M was has left the tree. */
static bool has_left(const char *path, const struct ck_mounted *m)
{
	struct ck_mounted now;
	struct ck_err err;
	int rc = ck_mounted_at(path, &now, &err);

	return rc == -ENOENT || (rc == 0 && now.n_covers < m->n_covers);
}

/* An EROFS that nobody uses any more is not gone before all has come that is being read of it: from
 * a network, perhaps, which does not answer. Its daemon PID, told to end, gives that up. Where it
 * is used by others, in mount namespaces of theirs, that is not waited for. */
static int detach(const char *path, bool lazy, const struct ck_mounted *m, pid_t pid)
{
	struct detaching d = { .path = path, .lazy = lazy };
	struct timespec end;
	pthread_t t;

	if (pid <= 0 || !m->n_covers || pthread_create(&t, NULL, detach_main, &d) != 0)
		return ck_mounted_detach(path, lazy);
	for (;;) {
		clock_gettime(CLOCK_REALTIME, &end);
		end.tv_sec += PATIENCE_MS / 1000;
		if (pthread_timedjoin_np(t, NULL, &end) == 0)
			return d.code;
		if (has_left(path, m))
			(void)kill(pid, SIGTERM);
	}
}

int ck_unmount(const char *dir, bool lazy, struct ck_err *err)
{
	char path[PATH_MAX];
	struct ck_mounted m;
	pid_t pid = 0;

	if (!realpath(dir, path)) /* it asks nothing of a dead mount */
		return ck_fail(err, -errno, "cannot unmount %s: %s", dir, strerror(errno));
	int rc = ck_mounted_at(path, &m, err);
	if (rc == -ENOENT)
		return ck_fail(err, -EINVAL, "nothing is mounted at %s", path);
	if (rc < 0)
		return rc;
	if (!m.ours)
		return ck_fail(err, -EINVAL, "what is mounted at %s is of type %s, not %s", path,
			       m.type, CK_FUSE_TYPE);
	/* Before the mount goes: its device number may soon be another's. */
	CK_AUTO(ck_closep) int beacon = ck_beacon_find(m.dev_major, m.dev_minor, geteuid(), &pid);
	rc = detach(path, lazy, &m, beacon < 0 ? 0 : pid);
	if (rc == -EBUSY && ck_mounted_stale(path, &m)) { /* what is open there is dead anyway */
		lazy = true;
		rc = ck_mounted_detach(path, true);
	}
	if (rc == 0 && m.n_covers)
		rc = detach_below(path, &m, beacon >= 0 ? END_MS : BELOW_MS);
	if (rc < 0)
		return refuse(path, rc, err);
	if (!lazy && beacon >= 0 && ck_beacon_await_end(beacon, pid, END_MS) == -ETIMEDOUT)
		return ck_fail(
		    err, -ETIMEDOUT,
		    "%s is unmounted, but its daemon (process %d) still answers requests "
		    "after %d seconds",
		    path, (int)pid, END_MS / 1000);
	return 0;
}
