#include "fs/oci/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/json.h"

enum { PATH_LEN = sizeof "blobs/sha256/" + 2 * CK_SHA256_LEN };

static void blob_path(char out[PATH_LEN], const struct ck_layout *l,
		      const uint8_t digest[CK_SHA256_LEN])
{
	size_t at = 0;

	if (l->transport == CK_TRANSPORT_OCI) {
		at = sizeof "blobs/sha256/" - 1;
		memcpy(out, "blobs/sha256/", at);
	}
	ck_hex(out + at, digest, CK_SHA256_LEN);
}

static int open_file(const struct ck_layout *l, const char *path, struct ck_err *err)
{
	/* O_NONBLOCK: a FIFO must not hold us up before we see what it is. */
	CK_AUTO(ck_closep)
	int fd = openat(l->fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;

	if (fd < 0 && errno == ELOOP)
		return ck_fail(err, -ELOOP,
			       "%s is a symbolic link, which an image layout may not hold", path);
	if (fd < 0 || fstat(fd, &st) < 0)
		return ck_fail(err, -errno, "cannot open %s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return ck_fail(err, -EINVAL, "%s is not a regular file", path);
	return ck_take_fd(&fd);
}

static int read_file(const struct ck_layout *l, const char *path, size_t max, struct ck_buf *out,
		     struct ck_err *err)
{
	CK_AUTO(ck_closep) int fd = open_file(l, path, err);

	if (fd < 0)
		return fd;
	out->max = max;
	return ck_fd_read(out, fd, path, err);
}

static int check_oci_version(const struct ck_buf *text, struct ck_err *err)
{
	CK_AUTO(ck_json_freep) json_t *j = NULL;
	const char *v;
	int rc = ck_json_parse(&j, text->data, text->len, "oci-layout", err);

	if (rc == 0)
		rc = ck_json_str(&v, j, "imageLayoutVersion", true, err);
	if (rc < 0)
		return rc;
	if (strncmp(v, "1.", 2) != 0)
		return ck_fail(err, -ENOTSUP, "layout version \"%.20s\" is not supported, only 1.x",
			       v);
	return 0;
}

int ck_layout_version(const struct ck_layout *l, struct ck_err *err)
{
	static const char dir_version[] = "Directory Transport Version: 1.";
	bool oci = l->transport == CK_TRANSPORT_OCI;
	CK_BUF text = { 0 };
	int rc = read_file(l, oci ? "oci-layout" : "version", 4096, &text, err);

	if (rc < 0)
		return rc;
	if (oci)
		return check_oci_version(&text, err);
	if (strncmp(ck_buf_str(&text), dir_version, sizeof dir_version - 1) != 0)
		return ck_fail(err, -ENOTSUP, "version of the directory is not 1.x but \"%.60s\"",
			       ck_buf_str(&text));
	return 0;
}

int ck_layout_open(struct ck_layout *out, enum ck_transport transport, const char *dir,
		   struct ck_err *err)
{
	CK_AUTO(ck_closep) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct ck_layout l = { transport, fd };

	if (fd < 0)
		return ck_fail(err, -errno, "cannot open directory %s: %s", dir, strerror(errno));
	int rc = ck_layout_version(&l, err);
	/* A layout must say that it is one; skopeo's directories need not. */
	if (rc == -ENOENT && transport == CK_TRANSPORT_DIR)
		rc = 0;
	if (rc < 0)
		return rc;
	l.fd = ck_take_fd(&fd);
	*out = l;
	return 0;
}

void ck_layout_close(struct ck_layout *l)
{
	ck_closep(&l->fd);
	l->fd = -1;
}

const char *ck_layout_root_name(const struct ck_layout *l)
{
	return l->transport == CK_TRANSPORT_OCI ? "index.json" : "manifest.json";
}

int ck_layout_root(const struct ck_layout *l, struct ck_buf *out, struct ck_err *err)
{
	return read_file(l, ck_layout_root_name(l), CK_LAYOUT_MAX_DOC, out, err);
}

int ck_layout_doc(const struct ck_layout *l, const struct ck_descriptor *d, struct ck_buf *out,
		  struct ck_err *err)
{
	return ck_layout_whole(l, d, CK_LAYOUT_MAX_DOC, out, err);
}

int ck_layout_whole(const struct ck_layout *l, const struct ck_descriptor *d, size_t max,
		    struct ck_buf *out, struct ck_err *err)
{
	char path[PATH_LEN];
	uint8_t digest[CK_SHA256_LEN];
	size_t at = out->len, limit = out->max;
	struct stat st;

	if (d->size > max)
		return ck_fail(err, -EFBIG, "its %" PRIu64 " bytes are more than the %zu allowed",
			       d->size, max);
	blob_path(path, l, d->digest);
	CK_AUTO(ck_closep) int fd = open_file(l, path, err);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return ck_fail(err, -errno, "cannot open %s: %s", path, strerror(errno));
	if ((uint64_t)st.st_size != d->size)
		return ck_fail(err, -EBADMSG,
			       "its size is %jd bytes, but its descriptor says %" PRIu64,
			       (intmax_t)st.st_size, d->size);
	out->max = at + (d->size ? (size_t)d->size : 1);
	/* At once: growing would take twice the memory. */
	int rc = ck_buf_reserve(out, (size_t)d->size, err);
	if (rc == 0)
		rc = ck_fd_read(out, fd, path, err);
	out->max = limit;
	if (rc < 0)
		return rc;
	ck_sha256(digest, ck_buf_str(out) + at, out->len - at);
	if (memcmp(digest, d->digest, sizeof digest) != 0)
		return ck_fail(err, -EBADMSG, "its bytes do not have that digest: it is damaged");
	return 0;
}

int ck_layout_blob(const struct ck_layout *l, const uint8_t digest[CK_SHA256_LEN], uint64_t size,
		   struct ck_reader **out, struct ck_err *err)
{
	CK_AUTO(ck_reader_closep) struct ck_reader *r = NULL;
	char path[PATH_LEN];

	blob_path(path, l, digest);
	CK_AUTO(ck_closep) int fd = open_file(l, path, err);
	if (fd < 0)
		return fd;
	int rc = ck_reader_open_fd(&r, fd, path, err);
	if (rc < 0)
		return rc;
	fd = -1;
	if (ck_reader_len(r) != size)
		return ck_fail(err, -EBADMSG,
			       "the size of its blob is %" PRIu64
			       " bytes, but the manifest says %" PRIu64,
			       ck_reader_len(r), size);
	*out = ck_take(r);
	return 0;
}
