#include "base/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct ck_reader {
	const struct ck_reader_ops *ops;
	void *ctx; /* owned */
	uint64_t len;
	atomic_uint_fast64_t n_read, n_wrong;
};

int ck_reader_open(struct ck_reader **out, const struct ck_reader_ops *ops, void *ctx, uint64_t len,
		   struct ck_err *err)
{
	if (len > INT64_MAX)
		return ck_fail(err, -EINVAL, "data of %" PRIu64 " bytes", len);
	struct ck_reader *r = calloc(1, sizeof *r);
	if (!r)
		return ck_nomem(err, "opening a reader");
	r->ops = ops;
	r->ctx = ctx;
	r->len = len;
	*out = r;
	return 0;
}

uint64_t ck_reader_len(const struct ck_reader *r)
{
	return r->len;
}

uint64_t ck_reader_n_read(const struct ck_reader *r)
{
	return atomic_load_explicit(&r->n_read, memory_order_relaxed);
}

uint64_t ck_reader_n_wrong(const struct ck_reader *r)
{
	return atomic_load_explicit(&r->n_wrong, memory_order_relaxed);
}

int ck_reader_pread(struct ck_reader *r, void *buf, size_t nbytes, uint64_t off, struct ck_err *err)
{
	/* Subtract, never add: off + nbytes could wrap. */
	if (off > r->len || nbytes > r->len - off)
		return ck_fail(err, -EINVAL,
			       "read of %zu bytes at %" PRIu64 " is outside data of %" PRIu64,
			       nbytes, off, r->len);
	size_t done = 0;
	while (done < nbytes) {
		ssize_t n =
		    r->ops->pread(r->ctx, (char *)buf + done, nbytes - done, off + done, err);
		if (n == -EINTR)
			continue;
		if (n < 0)
			return (int)n;
		if (n == 0)
			return ck_fail(err, -EIO, "truncated: wanted %zu more bytes at %" PRIu64,
				       nbytes - done, off + done);
		done += (size_t)n;
	}
	atomic_fetch_add_explicit(&r->n_read, nbytes, memory_order_relaxed);
	return 0;
}

bool ck_reader_refetch(struct ck_reader *r, uint64_t off, uint64_t nbytes)
{
	atomic_fetch_add_explicit(&r->n_wrong, 1, memory_order_relaxed);
	return r->ops->refetch && r->ops->refetch(r->ctx, off, nbytes);
}

void ck_reader_advise(struct ck_reader *r, uint64_t off, uint64_t nbytes)
{
	if (!r->ops->advise || off >= r->len)
		return;
	r->ops->advise(r->ctx, off, nbytes < r->len - off ? nbytes : r->len - off);
}

void ck_reader_close(struct ck_reader *r)
{
	if (!r)
		return;
	if (r->ops->close)
		r->ops->close(r->ctx);
	free(r);
}

struct file {
	int fd;
};

static ssize_t file_pread(void *ctx, void *buf, size_t nbytes, uint64_t off, struct ck_err *err)
{
	const struct file *f = ctx;
	ssize_t n = pread(f->fd, buf, nbytes, (off_t)off);

	if (n < 0)
		return ck_fail(err, -errno, "read of %zu bytes at %" PRIu64 " failed: %s", nbytes,
			       off, strerror(errno));
	return n;
}

static void file_close(void *ctx)
{
	struct file *f = ctx;

	(void)close(f->fd);
	free(f);
}

int ck_reader_open_fd(struct ck_reader **out, int fd, const char *name, struct ck_err *err)
{
	static const struct ck_reader_ops ops = { .pread = file_pread, .close = file_close };
	struct stat st;

	if (fstat(fd, &st) < 0)
		return ck_fail(err, -errno, "cannot open %s: %s", name, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return ck_fail(err, -EINVAL, "%s is not a regular file", name);
	CK_AUTO(ck_freep) struct file *f = malloc(sizeof *f);
	if (!f)
		return ck_nomem(err, "opening a file");
	f->fd = fd;
	int rc = ck_reader_open(out, &ops, f, (uint64_t)st.st_size, err);
	if (rc == 0)
		f = NULL;
	return rc;
}

int ck_reader_open_file(struct ck_reader **out, int dirfd, const char *path, struct ck_err *err)
{
	CK_AUTO(ck_closep) int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return ck_fail(err, -errno, "cannot open %s: %s", path, strerror(errno));
	int rc = ck_reader_open_fd(out, fd, path, err);
	if (rc == 0)
		fd = -1;
	return rc;
}

struct mem {
	const uint8_t *p;
	size_t len;
};

static ssize_t mem_pread(void *ctx, void *buf, size_t nbytes, uint64_t off, struct ck_err *err)
{
	const struct mem *m = ctx;

	(void)err;
	if (off >= m->len)
		return 0;
	if (nbytes > m->len - off)
		nbytes = (size_t)(m->len - off);
	memcpy(buf, m->p + off, nbytes);
	return (ssize_t)nbytes;
}

int ck_reader_open_mem(struct ck_reader **out, const void *p, size_t nbytes, struct ck_err *err)
{
	static const struct ck_reader_ops ops = { .pread = mem_pread, .close = free };
	CK_AUTO(ck_freep) struct mem *m = malloc(sizeof *m);

	if (!m)
		return ck_nomem(err, "opening a reader");
	*m = (struct mem){ p, nbytes };
	int rc = ck_reader_open(out, &ops, m, nbytes, err);
	if (rc == 0)
		m = NULL;
	return rc;
}
