#include "fs/oci/outdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "base/file.h"
#include "base/json.h"
#include "fs/oci/entries.h"
#include "fs/oci/tempfile.h"

enum { MAX_TRIES = 100, LOCK_WAIT_MS = 60000 };

/* A killed run may have left what we would make; only an index or manifest makes an image. */
static bool may_stay(enum ck_transport transport, const char *name)
{
	uint8_t raw[CK_SHA256_LEN];

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || ck_tempfile_named(name))
		return true;
	if (transport == CK_TRANSPORT_OCI)
		return strcmp(name, "blobs") == 0;
	return strcmp(name, "version") == 0 || ck_unhex(raw, sizeof raw, name);
}

static void closedirp(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

/* A mistyped name should not fill somebody's home with blobs. */
static int check_empty(const struct ck_layout *l, struct ck_err *err)
{
	bool oci = l->transport == CK_TRANSPORT_OCI;
	int fd = openat(l->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CK_AUTO(closedirp) DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d)
		return ck_fail(err, -errno, "cannot look into it: %s", strerror(errno));
	for (const struct dirent *e; (errno = 0, e = readdir(d));) {
		if (may_stay(l->transport, e->d_name))
			continue;
		if (!oci && strcmp(e->d_name, "manifest.json") == 0)
			return ck_fail(err, -EEXIST, "it holds an image already");
		return ck_fail(err, -EEXIST, "it is not empty, and no image layout: it holds %s",
			       e->d_name);
	}
	return errno ? ck_fail(err, -errno, "cannot look into it: %s", strerror(errno)) : 0;
}

/* Fails early on what a commit would fail on. */
static int check_contents(const struct ck_layout *l, struct ck_err *err)
{
	CK_AUTO(ck_json_freep) json_t *index = NULL;
	CK_BUF text = { 0 };

	int rc = l->transport == CK_TRANSPORT_OCI ? ck_layout_version(l, err) : -ENOENT;
	if (rc == -ENOENT)
		return check_empty(l, err);
	if (rc == 0)
		rc = ck_layout_root(l, &text, err);
	if (rc == -ENOENT)
		return 0; /* killed before it wrote its first image */
	if (rc < 0)
		return rc;
	rc = ck_entries_parse(&index, text.data, text.len, err);
	return rc < 0 ? ck_wrap(err, "index.json") : 0;
}

static int make_dir(bool *made, int at, const char *name, struct ck_err *err)
{
	if (mkdirat(at, name, 0755) == 0)
		*made = true;
	else if (errno != EEXIST)
		return ck_fail(err, -errno, "cannot make directory %s: %s", name, strerror(errno));
	return 0;
}

static int open_dir(int at, const char *name, int flags, struct ck_err *err)
{
	struct stat st;
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags);

	if (fd >= 0)
		return fd;
	int code = errno;
	if (flags && fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
		return ck_fail(err, -ELOOP,
			       "%s is a symbolic link, which an image layout may not hold", name);
	return ck_fail(err, -code, "cannot open directory %s: %s", name, strerror(code));
}

/* Opens what is in DIR, once that is open. */
static int open_blobs(struct ck_outdir *d, bool make, struct ck_err *err)
{
	int root = d->layout.fd;

	int rc = check_contents(&d->layout, err);
	if (rc < 0)
		return rc;
	if (d->layout.transport == CK_TRANSPORT_DIR)
		return d->blobs = open_dir(root, ".", 0, err);
	rc = make ? make_dir(&d->made_blobs, root, "blobs", err) : 0;
	if (rc == 0)
		rc = d->middle = open_dir(root, "blobs", O_NOFOLLOW, err);
	if (rc < 0)
		return rc;
	rc = make ? make_dir(&d->made_sha256, d->middle, "sha256", err) : 0;
	return rc < 0 ? rc : (d->blobs = open_dir(d->middle, "sha256", O_NOFOLLOW, err));
}

/* Says that we are here: who else made the directories must not remove them. */
static int enter(const struct ck_outdir *d, struct ck_err *err)
{
	bool oci = d->layout.transport == CK_TRANSPORT_OCI;

	if (flock(d->blobs, (oci ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0)
		return 0;
	if (errno != EWOULDBLOCK)
		return ck_fail(err, -errno, "cannot lock it: %s", strerror(errno));
	return ck_fail(err, -EBUSY, "another process is %s it", oci ? "removing" : "writing into");
}

static bool is_removed(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && st.st_nlink == 0;
}

/* *AGAIN: a writer who made the directories, and has no use for them, is taking them away. */
static int try_open(struct ck_outdir *d, bool make, bool *again, struct ck_err *err)
{
	*again = false;
	int rc = make ? make_dir(&d->made_root, AT_FDCWD, d->path, err) : 0;
	if (rc == 0)
		rc = d->layout.fd = open_dir(AT_FDCWD, d->path, 0, err);
	if (rc < 0) {
		*again = rc == -ENOENT && d->made_root;
		return rc;
	}
	rc = open_blobs(d, make, err);
	if (rc >= 0)
		rc = enter(d, err);
	/* Its parts may go before it does. */
	*again =
	    (rc == -EBUSY && d->layout.transport == CK_TRANSPORT_OCI) || (rc == -ENOENT && make);
	if (is_removed(d->layout.fd) || is_removed(d->blobs)) {
		*again = make;
		rc = ck_fail(err, -EBUSY, "another process is removing it");
	}
	return rc < 0 ? rc : 0;
}

/* Undoes try_open. */
static void leave(struct ck_outdir *d, bool keep)
{
	/* Others may be waiting to name their files here. */
	if (!keep && (d->blobs < 0 || flock(d->blobs, LOCK_EX | LOCK_NB) == 0)) {
		if (d->made_sha256)
			(void)unlinkat(d->middle, "sha256", AT_REMOVEDIR);
		if (d->made_blobs)
			(void)unlinkat(d->layout.fd, "blobs", AT_REMOVEDIR);
		if (d->made_root)
			(void)rmdir(d->path);
	}
	ck_closep(&d->blobs);
	ck_closep(&d->middle);
	ck_layout_close(&d->layout);
}

int ck_outdir_open(struct ck_outdir *out, enum ck_transport transport, const char *dir, bool make,
		   struct ck_err *err)
{
	static const struct timespec moment = { .tv_nsec = 1000000 };
	CK_AUTO(ck_freep) char *path = strdup(dir);
	struct ck_outdir d;
	bool again = true;
	int rc = path ? -EBUSY : ck_nomem(err, "opening a layout");

	for (int i = 0; path && again && i < MAX_TRIES; i++) {
		if (i)
			(void)nanosleep(&moment, NULL);
		d = (struct ck_outdir){ { transport, -1 }, -1, -1, path, false, false, false };
		rc = try_open(&d, make, &again, err);
		if (rc < 0)
			leave(&d, false);
		else
			break;
	}
	if (rc < 0)
		return rc;
	path = NULL;
	*out = d;
	return 0;
}

void ck_outdir_close(struct ck_outdir *d, bool keep)
{
	leave(d, keep);
	free(ck_take(d->path));
}

int ck_outdir_lock(const struct ck_outdir *d, struct ck_err *err)
{
	static const struct timespec moment = { .tv_nsec = 5000000 };
	uint64_t start = ck_now_ms();

	/* A dir's only writer has it locked. */
	if (d->layout.transport == CK_TRANSPORT_DIR)
		return 0;
	while (flock(d->layout.fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return ck_fail(err, -errno, "cannot lock it: %s", strerror(errno));
		if (ck_now_ms() - start > LOCK_WAIT_MS)
			return ck_fail(err, -EBUSY, "another process has kept it locked for %d s",
				       LOCK_WAIT_MS / 1000);
		(void)nanosleep(&moment, NULL);
	}
	return 0;
}

void ck_outdir_unlock(const struct ck_outdir *d)
{
	if (d->layout.transport == CK_TRANSPORT_OCI)
		(void)flock(d->layout.fd, LOCK_UN);
}

static int sync_dir(int fd, struct ck_err *err)
{
	/* EINVAL: a filesystem without such a thing. */
	if (fsync(fd) < 0 && errno != EINVAL)
		return ck_fail(err, -errno, "cannot write the directory: %s", strerror(errno));
	return 0;
}

int ck_outdir_sync_root(const struct ck_outdir *d, struct ck_err *err)
{
	return sync_dir(d->layout.fd, err);
}

int ck_outdir_sync(const struct ck_outdir *d, struct ck_err *err)
{
	int rc = sync_dir(d->blobs, err);

	if (rc == 0 && d->made_sha256)
		rc = sync_dir(d->middle, err);
	if (rc == 0)
		rc = sync_dir(d->layout.fd, err);
	if (rc < 0 || !d->made_root)
		return rc;
	CK_AUTO(ck_closep)
	int above = openat(d->layout.fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* Who may not list the directory above cannot have it written either. */
	return above < 0 ? 0 : sync_dir(above, err);
}
