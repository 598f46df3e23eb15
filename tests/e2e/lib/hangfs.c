/*
 * hangfs - a filesystem whose server stops answering.
 *
 *   hangfs DIR CONTROL MOUNTPOINT     shows DIR, read-only; serves until killed
 *
 * While there is a file CONTROL with "WORD FROM TO [deaf]" in it, reads of the bytes FROM..TO-1 of
 * files whose path has WORD in it ("/": of all) are not answered; they are when it has gone. Who
 * is killed while it waits ends, as with NFS; with "deaf" not even that, as with a dead disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_WAITING = 500 };

static int dir;
static const char *control;

/* Relative to DIR. */
static const char *below(const char *path)
{
	return path[1] ? path + 1 : ".";
}

static bool hangs(const char *path, off_t off, size_t nbytes, bool *deaf)
{
	char word[256] = "", how[16] = "";
	long long from, to;
	FILE *f = fopen(control, "re");
	bool there = f && fscanf(f, "%255s %lld %lld %15s", word, &from, &to, how) >= 3;

	if (f)
		(void)fclose(f);
	*deaf = strcmp(how, "deaf") == 0;
	return there && strstr(path, word) && off < to && off + (off_t)nbytes > from;
}

static int on_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	(void)fi;
	return fstatat(dir, below(path), st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int on_open(const char *path, struct fuse_file_info *fi)
{
	int fd = openat(dir, below(path), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	fi->fh = (uint64_t)fd;
	fi->direct_io = 1; /* nothing is kept by the kernel: each read comes here */
	return 0;
}

static int on_read(const char *path, char *buf, size_t nbytes, off_t off, struct fuse_file_info *fi)
{
	bool deaf;

	while (hangs(path, off, nbytes, &deaf)) {
		if (fuse_interrupted() && !deaf)
			return -EINTR;
		(void)usleep(20000);
	}
	ssize_t n = pread((int)fi->fh, buf, nbytes, off);
	return n < 0 ? -errno : (int)n;
}

static int on_release(const char *path, struct fuse_file_info *fi)
{
	(void)path;
	return close((int)fi->fh);
}

static const struct fuse_operations ops = {
	.getattr = on_getattr,
	.open = on_open,
	.read = on_read,
	.release = on_release,
};

int main(int argc, char **argv)
{
	char *args[] = { argv[0], "-ofsname=hangfs,allow_other,ro", NULL };
	struct fuse_args a = FUSE_ARGS_INIT(2, args);
	struct fuse_loop_config *loop = fuse_loop_cfg_create();

	if (argc != 4) {
		(void)fputs("usage: hangfs DIR CONTROL MOUNTPOINT\n", stderr);
		return 2;
	}
	dir = open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC);
	control = argv[2];
	struct fuse *f = dir < 0 ? NULL : fuse_new(&a, &ops, sizeof ops, NULL);
	if (!loop || !f || fuse_mount(f, argv[3]) < 0) {
		(void)fprintf(stderr, "hangfs: cannot mount %s at %s\n", argv[1], argv[3]);
		return 1;
	}
	fuse_loop_cfg_set_max_threads(loop, MAX_WAITING);
	int rc = fuse_loop_mt(f, loop);
	fuse_unmount(f);
	return rc != 0;
}
