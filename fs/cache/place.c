#include "fs/cache/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "fs/cache/blobcache.h"
#include "fs/cache/place_list.h"

static const char old_prefix[] = "sha256-", old_suffix[] = ".index";

bool ck_place_name(struct ck_place_name *out, const char *kind, const uint8_t digest[CK_SHA256_LEN])
{
	size_t len = strlen(kind);

	if (len == 0 || len >= sizeof out->kind ||
	    strspn(kind, "abcdefghijklmnopqrstuvwxyz") != len)
		return false;
	memcpy(out->kind, kind, len + 1);
	ck_hex(out->hex, digest, CK_SHA256_LEN);
	return true;
}

static bool same_name(const struct ck_place_name *a, const struct ck_place_name *b)
{
	return strcmp(a->kind, b->kind) == 0 && strcmp(a->hex, b->hex) == 0;
}

static int open_top(const char *path, struct ck_err *err)
{
	struct stat st;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return ck_fail(err, -errno, "cannot make the cache directory %s: %s", path,
			       strerror(errno));
	CK_AUTO(ck_closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno != ENOTDIR)
		return ck_fail(err, -errno, "cannot use the cache directory %s: %s", path,
			       strerror(errno));
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_uid != geteuid())
		return ck_fail(err, -EPERM, "the cache directory %s is not a directory of ours",
			       path);
	return ck_take_fd(&fd);
}

/* The directory of a kind. A cache that was removed while it was in use is made anew. */
static int open_kind(struct ck_place *p, const char *kind, bool make)
{
	struct stat st;

	for (int tries = 0;; tries++) {
		CK_AUTO(ck_closep)
		int fd = openat(p->dir, kind, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0) {
			if (fstat(fd, &st) < 0 || st.st_uid != geteuid())
				return -EPERM;
			return ck_take_fd(&fd);
		}
		if (errno != ENOENT || !make || tries == 2)
			return -errno;
		if (mkdirat(p->dir, kind, 0700) == 0 || errno == EEXIST)
			continue;
		if (errno != ENOENT)
			return -errno;
		CK_AUTO(ck_closep) int top = open_top(p->path, NULL);
		if (top < 0)
			return top;
		if (dup3(top, p->dir, O_CLOEXEC) < 0)
			return -errno;
	}
}

/* Indexes of versions that had nothing else stood in DIR itself. */
static void take_over(struct ck_place *p)
{
	enum { PREFIX = sizeof old_prefix - 1, HEX = CK_PLACE_HEX - 1 };
	CK_AUTO(ck_closedirp) DIR *d = ck_opendirat(p->dir, ".");
	CK_AUTO(ck_closep) int to = -1;
	uint8_t digest[CK_SHA256_LEN];
	struct ck_place_name name;

	for (struct dirent *e; d && (e = readdir(d));) {
		if (strncmp(e->d_name, old_prefix, PREFIX) != 0 ||
		    strlen(e->d_name) != PREFIX + HEX + sizeof old_suffix - 1 ||
		    strcmp(e->d_name + PREFIX + HEX, old_suffix) != 0)
			continue;
		snprintf(name.hex, sizeof name.hex, "%.*s", HEX, e->d_name + PREFIX);
		if (!ck_unhex(digest, sizeof digest, name.hex))
			continue;
		if (to < 0)
			to = open_kind(p, CK_CACHE_INDEX, true);
		if (to < 0 || renameat(p->dir, e->d_name, to, name.hex) < 0)
			return;
	}
}

int ck_place_open(struct ck_place *p, const char *path, struct ck_err *err)
{
	*p = (struct ck_place){ .dir = -1 };
	if (path) {
		CK_AUTO(ck_closep) int fd = open_top(path, err);
		if (fd < 0)
			return fd;
		/* The working directory may be another one when it is made again. */
		p->path = realpath(path, NULL);
		if (!p->path)
			return ck_fail(err, -errno, "cannot use the cache directory %s: %s", path,
				       strerror(errno));
		p->dir = ck_take_fd(&fd);
		take_over(p);
	}
	pthread_mutex_init(&p->lock, NULL);
	return 0;
}

void ck_place_close(struct ck_place *p)
{
	for (size_t i = 0; i < p->n_files; i++)
		ck_closep(&p->files[i].fd);
	free(p->files);
	free(p->path);
	ck_closep(&p->dir);
	pthread_mutex_destroy(&p->lock);
}

/* Call with the lock held. NULL: there is none. */
static struct ck_place_memory *find(struct ck_place *p, const struct ck_place_name *name)
{
	for (size_t i = 0; i < p->n_files; i++)
		if (same_name(&p->files[i].name, name))
			return &p->files[i];
	return NULL;
}

static int memory_file(struct ck_place *p, const struct ck_place_name *name, bool use)
{
	int rc = -ENOENT;

	pthread_mutex_lock(&p->lock);
	struct ck_place_memory *f = find(p, name);
	if (f) {
		rc = fcntl(f->fd, F_DUPFD_CLOEXEC, 0);
		if (rc < 0)
			rc = -errno;
		else
			f->users += use;
	}
	pthread_mutex_unlock(&p->lock);
	return rc;
}

/* A file that is just being removed as unused is -ESTALE. */
static int disk_file(const struct ck_place *p, int dir, const struct ck_place_name *name,
		     bool writable, bool use)
{
	struct stat st;
	CK_AUTO(ck_closep)
	int fd =
	    openat(dir, name->hex,
		   (writable ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid())
		return -EPERM;
	/* A filesystem without such locks only removes files too early, which costs their bytes. */
	if (use && flock(fd, LOCK_SH) == 0 && ck_place_lost(p, fd))
		return -ESTALE;
	return ck_take_fd(&fd);
}

int ck_place_file(struct ck_place *p, const struct ck_place_name *name, bool writable, bool use)
{
	if (!p->path)
		return memory_file(p, name, use);
	CK_AUTO(ck_closep) int dir = open_kind(p, name->kind, false);
	int rc = dir < 0 ? dir : -ESTALE;
	for (int tries = 0; rc == -ESTALE && tries < 8; tries++)
		rc = disk_file(p, dir, name, writable, use);
	return rc;
}

void ck_place_done(struct ck_place *p, const struct ck_place_name *name, int fd)
{
	if (fd < 0)
		return;
	if (!p->path) {
		pthread_mutex_lock(&p->lock);
		struct ck_place_memory *f = find(p, name);
		if (f && f->users)
			f->users--;
		pthread_mutex_unlock(&p->lock);
	}
	(void)close(fd);
}

int ck_place_temp(struct ck_place *p, const char *kind, struct ck_place_temp *out)
{
	struct ck_place_temp t = CK_PLACE_NO_TEMP;
	uint8_t r[8];

	if (!p->path) {
		t.fd = memfd_create("cloakfs-cache", MFD_CLOEXEC);
		if (t.fd < 0)
			return -errno;
		*out = t;
		return 0;
	}
	if (getrandom(r, sizeof r, 0) != sizeof r)
		return -errno;
	snprintf(t.name, sizeof t.name, CK_PLACE_TEMP);
	ck_hex(t.name + strlen(CK_PLACE_TEMP), r, sizeof r);
	t.dir = open_kind(p, kind, true);
	if (t.dir < 0)
		return t.dir;
	t.fd = openat(t.dir, t.name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (t.fd < 0) {
		int rc = -errno;
		ck_closep(&t.dir);
		return rc;
	}
	*out = t;
	return 0;
}

/* Call with the lock held. Takes over the descriptor FD on success. */
static int memory_add(struct ck_place *p, const struct ck_place_name *name, int fd, bool replace,
		      bool use)
{
	struct ck_place_memory *f = find(p, name);

	if (f && !replace)
		return -EEXIST;
	if (f) {
		ck_closep(&f->fd);
		f->fd = fd;
		f->users += use;
		return 0;
	}
	if (p->n_files == p->cap) {
		size_t cap = p->cap ? 2 * p->cap : 16;
		struct ck_place_memory *v = reallocarray(p->files, cap, sizeof *v);
		if (!v)
			return -ENOMEM;
		p->files = v;
		p->cap = cap;
	}
	p->files[p->n_files++] = (struct ck_place_memory){ *name, fd, use };
	return 0;
}

static int memory_commit(struct ck_place *p, const struct ck_place_temp *t,
			 const struct ck_place_name *name, bool replace, bool use)
{
	CK_AUTO(ck_closep) int fd = fcntl(t->fd, F_DUPFD_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	pthread_mutex_lock(&p->lock);
	int rc = memory_add(p, name, fd, replace, use);
	pthread_mutex_unlock(&p->lock);
	if (rc == 0)
		fd = -1;
	return rc;
}

int ck_place_commit(struct ck_place *p, struct ck_place_temp *t, const struct ck_place_name *name,
		    bool replace, bool use)
{
	if (!p->path)
		return memory_commit(p, t, name, replace, use);
	if (use)
		(void)flock(t->fd, LOCK_SH);
	int rc = replace ? -1 : renameat2(t->dir, t->name, t->dir, name->hex, RENAME_NOREPLACE);
	/* Where the filesystem knows no such renaming, the last of several is the one that stays.
	 */
	if (rc < 0 && (replace || errno == EINVAL || errno == ENOSYS))
		rc = renameat(t->dir, t->name, t->dir, name->hex);
	if (rc < 0)
		return -errno;
	t->name[0] = 0;
	return 0;
}

void ck_place_temp_drop(struct ck_place_temp *t)
{
	if (t->name[0])
		(void)unlinkat(t->dir, t->name, 0);
	ck_closep(&t->fd);
	ck_closep(&t->dir);
	*t = (struct ck_place_temp)CK_PLACE_NO_TEMP;
}

bool ck_place_lost(const struct ck_place *p, int fd)
{
	struct stat st;

	return p->path && (fstat(fd, &st) < 0 || st.st_nlink == 0);
}

static bool memory_remove(struct ck_place *p, const struct ck_place_name *name, bool used)
{
	bool removed = false;

	pthread_mutex_lock(&p->lock);
	struct ck_place_memory *f = find(p, name);
	if (f && (used || !f->users)) {
		ck_closep(&f->fd);
		*f = p->files[--p->n_files];
		removed = true;
	}
	pthread_mutex_unlock(&p->lock);
	return removed;
}

void ck_place_remove(struct ck_place *p, const struct ck_place_name *name)
{
	if (!p->path) {
		(void)memory_remove(p, name, true);
		return;
	}
	CK_AUTO(ck_closep) int dir = open_kind(p, name->kind, false);
	if (dir >= 0)
		(void)unlinkat(dir, name->hex, 0);
}

bool ck_place_remove_unused(struct ck_place *p, const struct ck_place_name *name, int fd)
{
	struct stat by_fd, by_name;

	if (!p->path)
		return memory_remove(p, name, false);
	CK_AUTO(ck_closep) int dir = open_kind(p, name->kind, false);
	if (dir < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return false;
	bool removed = fstat(fd, &by_fd) == 0 &&
		       fstatat(dir, name->hex, &by_name, AT_SYMLINK_NOFOLLOW) == 0 &&
		       by_fd.st_ino == by_name.st_ino && unlinkat(dir, name->hex, 0) == 0;
	(void)flock(fd, LOCK_UN);
	return removed;
}

int ck_place_lock(struct ck_place *p, bool wait, int *fd)
{
	*fd = -1;
	if (!p->path)
		return 0;
	CK_AUTO(ck_closep)
	int f =
	    openat(p->dir, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
	if (f < 0)
		return -errno;
	while (flock(f, wait ? LOCK_EX : LOCK_EX | LOCK_NB) < 0)
		if (errno != EINTR)
			return -errno;
	*fd = ck_take_fd(&f);
	return 0;
}

uint64_t ck_place_capacity(const struct ck_place *p)
{
	struct statvfs v;

	if (!p->path || fstatvfs(p->dir, &v) < 0)
		return 0;
	return (uint64_t)v.f_blocks * v.f_frsize;
}
