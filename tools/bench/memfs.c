/*
 * bench/memfs - one file from memory by FUSE: the most that a FUSE file can give.
 *
 * usage: memfs FILE DIR    mounts DIR, which holds "file" with FILE's bytes; returns when ready
 * Set up as cloakfs is: requests of 1 MiB, kept page cache, fuse_reply_buf, read-ahead raised.
 */
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { MAX_IO = 1 << 20 };

static const uint8_t *data;
static size_t len;

static void on_init(void *ctx, struct fuse_conn_info *conn)
{
	(void)ctx;
	conn->max_read = MAX_IO; /* as the option says, or libfuse refuses */
	conn->max_readahead = MAX_IO;
	conn->max_background = 64;
}

static struct stat attr_of(fuse_ino_t ino)
{
	struct stat st = { .st_ino = ino, .st_nlink = 1 };

	st.st_mode = ino == 1 ? S_IFDIR | 0755 : S_IFREG | 0444;
	st.st_size = ino == 1 ? 0 : (off_t)len;
	return st;
}

static void on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = { .ino = 2, .attr_timeout = 1e6, .entry_timeout = 1e6 };

	e.attr = attr_of(2);
	if (parent != 1 || strcmp(name, "file") != 0)
		fuse_reply_err(req, ENOENT);
	else
		fuse_reply_entry(req, &e);
}

static void on_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st = attr_of(ino);

	(void)fi;
	fuse_reply_attr(req, &st, 1e6);
}

static void on_read(fuse_req_t req, fuse_ino_t ino, size_t n, off_t off, struct fuse_file_info *fi)
{
	size_t left = (size_t)off < len ? len - (size_t)off : 0;

	(void)ino, (void)fi;
	fuse_reply_buf(req, (const char *)data + (left ? off : 0), n < left ? n : left);
}

static const struct fuse_lowlevel_ops ops = {
	.init = on_init, .lookup = on_lookup, .getattr = on_getattr, .read = on_read
};

static void raise_readahead(const char *dir)
{
	char path[128];
	struct stat st;

	if (stat(dir, &st) < 0)
		return;
	snprintf(path, sizeof path, "/sys/class/bdi/%u:%u/read_ahead_kb", major(st.st_dev),
		 minor(st.st_dev));
	FILE *f = fopen(path, "w");
	if (f) {
		fputs("1024", f);
		fclose(f);
	}
}

int main(int argc, char **argv)
{
	char *args[] = { argv[0], (char[]){ "-omax_read=1048576" }, NULL };
	struct fuse_args fa = FUSE_ARGS_INIT(2, args);
	struct stat st;
	int fd = argc == 3 ? open(argv[1], O_RDONLY) : -1;

	if (fd < 0 || fstat(fd, &st) < 0)
		return 2;
	len = (size_t)st.st_size;
	data = mmap(NULL, len, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	struct fuse_session *se = fuse_session_new(&fa, &ops, sizeof ops, NULL);
	if (data == MAP_FAILED || !se || fuse_session_mount(se, argv[2]) != 0 ||
	    fuse_daemonize(0) != 0)
		return 1;
	/* From another process: this one has to answer. */
	if (fork() == 0) {
		raise_readahead(argv[2]);
		_exit(0);
	}
	return fuse_session_loop_mt(se, NULL) ? 1 : 0;
}
