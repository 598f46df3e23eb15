#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/file.h"
#include "fs/cache/inside.h"

enum { FRESH_S = 60 };

static int small_name(struct ck_place_name *name, const char *kind,
		      const uint8_t digest[CK_SHA256_LEN], struct ck_err *err)
{
	if (!ck_place_name(name, kind, digest) || strcmp(kind, CK_PLACE_BLOBS) == 0)
		return ck_fail(err, -EINVAL, "\"%.20s\" is no kind of small files", kind);
	return 0;
}

/* Sets when it was used last. */
static void touch(int fd)
{
	const struct timespec now[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_NOW } };
	time_t t = time(NULL);
	struct stat st;

	if (fstat(fd, &st) == 0 && (st.st_mtim.tv_sec > t || t - st.st_mtim.tv_sec >= FRESH_S))
		(void)futimens(fd, now);
}

/* By offsets: descriptors of files in memory share theirs. */
static int read_whole(struct ck_buf *out, int fd, const char *what, struct ck_err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return ck_fail(err, -errno, "cannot read %s: %s", what, strerror(errno));
	int rc = ck_buf_reserve(out, (size_t)st.st_size, err);
	if (rc < 0)
		return ck_wrap(err, "reading %s", what);
	for (off_t off = 0; off < st.st_size;) {
		ssize_t r = pread(fd, out->data + out->len, (size_t)(st.st_size - off), off);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return ck_fail(err, r < 0 ? -errno : -EIO, "cannot read %s: %s", what,
				       r < 0 ? strerror(errno) : "it became shorter");
		off += r;
		out->len += (size_t)r;
		out->data[out->len] = 0;
	}
	return 0;
}

int ck_cache_load(struct ck_blobcache *c, const char *kind, const uint8_t digest[CK_SHA256_LEN],
		  bool use, struct ck_buf *out, struct ck_err *err)
{
	struct ck_place_name name;
	char what[CK_PLACE_KIND + CK_PLACE_HEX];
	int rc = small_name(&name, kind, digest, err);

	if (rc < 0)
		return rc;
	snprintf(what, sizeof what, "%s/%s", name.kind, name.hex);
	CK_AUTO(ck_closep) int fd = ck_place_file(&c->place, &name, false, false);
	if (fd < 0)
		return ck_fail(err, fd, "cannot open %s in the cache: %s", what, strerror(-fd));
	rc = read_whole(out, fd, what, err);
	if (rc == 0 && use)
		touch(fd);
	return rc;
}

int ck_blobcache_load(struct ck_blobcache *c, const char *kind, const uint8_t digest[CK_SHA256_LEN],
		      struct ck_buf *out, struct ck_err *err)
{
	return ck_cache_load(c, kind, digest, true, out, err);
}

int ck_blobcache_save(struct ck_blobcache *c, const char *kind, const uint8_t digest[CK_SHA256_LEN],
		      const void *p, size_t nbytes, struct ck_err *err)
{
	struct ck_place_temp t = CK_PLACE_NO_TEMP;
	struct ck_place_name name;
	int rc = small_name(&name, kind, digest, err);

	if (rc < 0)
		return rc;
	uint64_t room = (nbytes + CK_CACHE_DISK_UNIT - 1) / CK_CACHE_DISK_UNIT * CK_CACHE_DISK_UNIT;
	if (!ck_cache_room(c, room))
		return ck_fail(err, -ENOSPC, "there is no room for %zu bytes in the cache", nbytes);
	rc = ck_place_temp(&c->place, kind, &t);
	if (rc == 0)
		rc = ck_fd_write(t.fd, p, nbytes, "a file", NULL);
	if (rc == 0)
		rc = ck_place_commit(&c->place, &t, &name, true, false);
	ck_place_temp_drop(&t);
	ck_cache_room_used(c, room);
	return rc < 0 ? ck_fail(err, rc, "cannot write %s/%s in the cache: %s", name.kind, name.hex,
				strerror(-rc))
		      : 0;
}
