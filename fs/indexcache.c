#include "fs/indexcache.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"

struct ck_indexcache {
	char *dir;
};

int ck_indexcache_open(struct ck_indexcache **out, const char *dir, struct ck_err *err)
{
	struct stat st;

	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return ck_fail(err, -errno, "cannot make the cache directory %s: %s", dir,
			       strerror(errno));
	if (stat(dir, &st) < 0)
		return ck_fail(err, -errno, "cannot use the cache directory %s: %s", dir,
			       strerror(errno));
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid())
		return ck_fail(err, -EPERM, "the cache directory %s is not a directory of ours",
			       dir);
	CK_AUTO(ck_indexcache_closep) struct ck_indexcache *c = calloc(1, sizeof *c);
	if (!c || !(c->dir = strdup(dir)))
		return ck_nomem(err, "opening the cache");
	*out = ck_take(c);
	return 0;
}

void ck_indexcache_close(struct ck_indexcache *c)
{
	if (!c)
		return;
	free(c->dir);
	free(c);
}

/* DIR/sha256-<hex>.index. The digest is checked: it comes from an image. */
static int file_name(char out[PATH_MAX], const struct ck_indexcache *c, const char *digest,
		     struct ck_err *err)
{
	uint8_t raw[CK_SHA256_LEN];
	int rc = ck_digest_parse(raw, digest, err);

	if (rc < 0)
		return rc;
	int n = snprintf(out, PATH_MAX, "%s/sha256-%s.index", c->dir, digest + strlen("sha256:"));
	return n < PATH_MAX ? 0 : ck_fail(err, -ENAMETOOLONG, "path %s is too long", c->dir);
}

static int load(void *ctx, const char *digest, struct ck_buf *out, struct ck_err *err)
{
	char path[PATH_MAX];
	int rc = file_name(path, ctx, digest, err);

	if (rc < 0)
		return rc;
	CK_AUTO(ck_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return ck_fail(err, -errno, "cannot open %s: %s", path, strerror(errno));
	return ck_fd_read(out, fd, path, err);
}

static int save(void *ctx, const char *digest, const void *p, size_t nbytes, struct ck_err *err)
{
	char path[PATH_MAX];
	int rc = file_name(path, ctx, digest, err);

	return rc < 0 ? rc : ck_file_write(path, p, nbytes, 0600, err);
}

struct ck_index_store ck_indexcache_store(struct ck_indexcache *c)
{
	return (struct ck_index_store){ .load = load, .save = save, .ctx = c };
}
