#include "tools/azsim/tsm.h"

#include <errno.h>
#include <fuse3/fuse.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "base/cleanup.h"
#include "tools/azsim/dir.h"
#include "tools/azsim/tsmentry.h"

struct az_tsm {
	struct az_tsm_source src;
	struct az_tsm_entry *entries;
	struct fuse *fuse;
	pthread_t thread;
	char dir[sizeof(struct az_path)];
};

/* An open attribute. What is read is what was true at the first read, as configfs
 * keeps one buffer per open file. */
struct open_file {
	struct az_tsm_entry *entry;
	const struct az_tsm_attr *attr;
	struct ck_buf data;
	bool filled; /* data holds what to show */
	bool dirty;  /* data holds what to store at close */
};

static struct az_tsm *self(void)
{
	return fuse_get_context()->private_data;
}

/* The entry that PATH names or is in; the name below it in *REST ("" for the entry). */
static struct az_tsm_entry *find_entry(const char *path, const char **rest)
{
	size_t n = strcspn(path + 1, "/");

	*rest = path[1 + n] ? path + 1 + n + 1 : "";
	for (struct az_tsm_entry *e = self()->entries; e; e = e->next)
		if (strlen(e->name) == n && memcmp(e->name, path + 1, n) == 0)
			return e;
	return NULL;
}

static const struct az_tsm_attr *find_attr(const char *name)
{
	const struct az_tsm_attr *a = az_tsm_attrs;

	while (a->name && strcmp(a->name, name) != 0)
		a++;
	return a->name ? a : NULL;
}

static int tsm_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	const char *rest;

	(void)fi;
	memset(st, 0, sizeof *st);
	st->st_nlink = 1;
	st->st_uid = getuid();
	st->st_gid = getgid();
	struct az_tsm_entry *e = find_entry(path, &rest);
	if (strcmp(path, "/") == 0 || (e && !*rest)) {
		st->st_mode = S_IFDIR | 0755;
		st->st_nlink = 2;
		return 0;
	}
	const struct az_tsm_attr *a = e ? find_attr(rest) : NULL;
	if (!a)
		return -ENOENT;
	st->st_mode = S_IFREG | a->mode;
	st->st_size = a->binary ? 0 : 4096; /* as configfs: a page, or unknown */
	return 0;
}

static int tsm_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t off,
		       struct fuse_file_info *fi, enum fuse_readdir_flags flags)
{
	const char *rest;

	(void)off;
	(void)fi;
	(void)flags;
	fill(buf, ".", NULL, 0, 0);
	fill(buf, "..", NULL, 0, 0);
	if (strcmp(path, "/") == 0) {
		for (struct az_tsm_entry *e = self()->entries; e; e = e->next)
			fill(buf, e->name, NULL, 0, 0);
		return 0;
	}
	if (!find_entry(path, &rest))
		return -ENOENT;
	for (const struct az_tsm_attr *a = az_tsm_attrs; a->name; a++)
		fill(buf, a->name, NULL, 0, 0);
	return 0;
}

static int tsm_mkdir(const char *path, mode_t mode)
{
	const char *rest;
	struct az_tsm *t = self();

	(void)mode;
	if (find_entry(path, &rest))
		return *rest ? -EPERM : -EEXIST;
	if (*rest)
		return -ENOENT;
	struct az_tsm_entry *e = calloc(1, sizeof *e);
	if (!e)
		return -ENOMEM;
	if (strlen(path + 1) >= sizeof e->name) {
		free(e);
		return -ENAMETOOLONG;
	}
	memcpy(e->name, path + 1, strlen(path + 1));
	e->refs = 1;
	e->next = t->entries;
	t->entries = e;
	return 0;
}

static int tsm_rmdir(const char *path)
{
	const char *rest;
	struct az_tsm_entry *e = find_entry(path, &rest), **at = &self()->entries;

	if (!e)
		return -ENOENT;
	if (*rest)
		return -ENOTDIR;
	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	az_tsm_entry_unref(e);
	return 0;
}

static int tsm_unlink(const char *path)
{
	(void)path;
	return -EPERM;
}

static int tsm_open(const char *path, struct fuse_file_info *fi)
{
	const char *rest;
	struct az_tsm_entry *e = find_entry(path, &rest);
	const struct az_tsm_attr *a = e ? find_attr(rest) : NULL;
	int how = fi->flags & O_ACCMODE;

	if (!a)
		return -ENOENT;
	if ((how != O_RDONLY && !a->store) || (how != O_WRONLY && !a->show))
		return -EACCES;
	struct open_file *f = calloc(1, sizeof *f);
	if (!f)
		return -ENOMEM;
	f->entry = e;
	f->attr = a;
	e->refs++;
	fi->fh = (uint64_t)(uintptr_t)f;
	fi->direct_io = 1;
	return 0;
}

static struct open_file *file_of(const struct fuse_file_info *fi)
{
	return (struct open_file *)(uintptr_t)fi->fh;
}

static int tsm_read(const char *path, char *buf, size_t nbytes, off_t off,
		    struct fuse_file_info *fi)
{
	struct open_file *f = file_of(fi);

	(void)path;
	if (!f->filled) {
		int rc = f->attr->show(&self()->src, f->entry, &f->data);
		if (rc < 0)
			return rc;
		f->filled = true;
	}
	if (off < 0 || (uint64_t)off >= f->data.len)
		return 0;
	size_t left = f->data.len - (size_t)off;
	if (nbytes > left)
		nbytes = left;
	memcpy(buf, f->data.data + off, nbytes);
	return (int)nbytes;
}

static int tsm_write(const char *path, const char *p, size_t nbytes, off_t off,
		     struct fuse_file_info *fi)
{
	struct open_file *f = file_of(fi);
	static const uint8_t zeros[AZ_TSM_INBLOB_MAX];

	(void)path;
	if (!f->attr->binary) {
		int rc = f->attr->store(&self()->src, f->entry, p, nbytes);
		return rc < 0 ? rc : (int)nbytes;
	}
	if (off < 0 || off > AZ_TSM_INBLOB_MAX || nbytes > AZ_TSM_INBLOB_MAX - (size_t)off)
		return -EFBIG;
	size_t end = (size_t)off + nbytes;
	if (f->data.len < end && ck_buf_add(&f->data, zeros, end - f->data.len, NULL) < 0)
		return -ENOMEM;
	memcpy(f->data.data + off, p, nbytes);
	f->dirty = true;
	return (int)nbytes;
}

/* At close(2). The kernel stores a binary attribute here and has nobody to tell of an
 * error: a blob of the wrong size shows when the report is read. */
static int tsm_flush(const char *path, struct fuse_file_info *fi)
{
	struct open_file *f = file_of(fi);

	(void)path;
	if (f->dirty)
		(void)f->attr->store(&self()->src, f->entry, f->data.data, f->data.len);
	f->dirty = false;
	return 0;
}

static int tsm_release(const char *path, struct fuse_file_info *fi)
{
	struct open_file *f = file_of(fi);

	(void)path;
	ck_buf_free(&f->data);
	az_tsm_entry_unref(f->entry);
	free(f);
	return 0;
}

/* A shell's `> inblob` truncates first. */
static int tsm_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
	(void)path;
	(void)size;
	(void)fi;
	return 0;
}

static void *tsm_init(struct fuse_conn_info *conn, struct fuse_config *cfg)
{
	(void)conn;
	/* Every look is a fresh one. */
	cfg->entry_timeout = cfg->attr_timeout = cfg->negative_timeout = 0;
	return self();
}

static const struct fuse_operations ops = {
	.getattr = tsm_getattr,
	.readdir = tsm_readdir,
	.mkdir = tsm_mkdir,
	.rmdir = tsm_rmdir,
	.unlink = tsm_unlink,
	.open = tsm_open,
	.read = tsm_read,
	.write = tsm_write,
	.flush = tsm_flush,
	.release = tsm_release,
	.truncate = tsm_truncate,
	.init = tsm_init,
};

/* Takes DIR out of the tree at once, busy or not; as root, else through fusermount3. */
static void detach(const char *dir)
{
	if (umount2(dir, MNT_DETACH | UMOUNT_NOFOLLOW) == 0 || errno != EPERM)
		return;
	pid_t pid = fork();
	if (pid == 0) {
		execlp("fusermount3", "fusermount3", "-u", "-z", "-q", "--", dir, (char *)NULL);
		_exit(127);
	}
	if (pid > 0)
		(void)waitpid(pid, NULL, 0);
}

static int prepare(const char *dir, struct ck_err *err)
{
	struct stat st;

	/* The mount of a simulator that was killed. */
	if (stat(dir, &st) < 0 && errno == ENOTCONN)
		detach(dir);
	return az_mkdir(dir, err);
}

static void *serve(void *arg)
{
	struct az_tsm *t = arg;

	(void)fuse_loop(t->fuse);
	return NULL;
}

static void wake(int sig)
{
	(void)sig;
}

static int mount_on(struct az_tsm *t, struct ck_err *err)
{
	static char name[] = "azsim", flag[] = "-o",
		    with[] = "fsname=azsim-tsm,subtype=azsim,default_permissions";
	char *argv[] = { name, flag, with, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(3, argv);

	t->fuse = fuse_new(&args, &ops, sizeof ops, t);
	fuse_opt_free_args(&args);
	if (!t->fuse)
		return ck_fail(err, -EIO, "cannot make the evidence device");
	if (fuse_mount(t->fuse, t->dir) == 0)
		return 0;
	fuse_destroy(t->fuse);
	return ck_fail(err, -EIO,
		       "cannot mount the evidence device on %s: is /dev/fuse there, and may this "
		       "user mount?",
		       t->dir);
}

int az_tsm_start(struct az_tsm **out, const char *dir, const struct az_amd *amd,
		 struct az_settings *settings, struct ck_err *err)
{
	CK_AUTO(ck_freep) struct az_tsm *t = calloc(1, sizeof *t);
	struct sigaction sa = { .sa_handler = wake };
	struct stat st;

	if (!t)
		return ck_nomem(err, "making the evidence device");
	t->src = (struct az_tsm_source){ amd, settings };
	snprintf(t->dir, sizeof t->dir, "%s", dir);
	int rc = prepare(dir, err);
	if (rc == 0)
		rc = mount_on(t, err);
	if (rc < 0)
		return rc;
	sigaction(SIGUSR1, &sa, NULL); /* no SA_RESTART: it must end a read */
	rc = pthread_create(&t->thread, NULL, serve, t);
	if (rc) {
		fuse_unmount(t->fuse);
		fuse_destroy(t->fuse);
		return ck_fail(err, -rc, "cannot start the evidence device: %s", strerror(rc));
	}
	struct az_tsm *running = ck_take(t);
	if (stat(dir, &st) < 0) {
		rc = ck_fail(err, -errno, "the evidence device does not answer: %s",
			     strerror(errno));
		az_tsm_stop(running);
		return rc;
	}
	*out = running;
	return 0;
}

void az_tsm_stop(struct az_tsm *t)
{
	if (!t)
		return;
	/* Detaching ends the loop, except while a client holds a file open; then the
	 * signal does, as often as it takes. */
	fuse_exit(t->fuse);
	detach(t->dir);
	for (;;) {
		struct timespec at;
		clock_gettime(CLOCK_REALTIME, &at);
		at.tv_nsec += 20000000;
		at.tv_sec += at.tv_nsec / 1000000000;
		at.tv_nsec %= 1000000000;
		if (pthread_timedjoin_np(t->thread, NULL, &at) == 0)
			break;
		pthread_kill(t->thread, SIGUSR1);
	}
	fuse_unmount(t->fuse);
	fuse_destroy(t->fuse);
	while (t->entries) {
		struct az_tsm_entry *e = t->entries;
		t->entries = e->next;
		az_tsm_entry_unref(e);
	}
	free(t);
}
