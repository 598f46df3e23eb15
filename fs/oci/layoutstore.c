#include "fs/oci/layoutstore.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "fs/oci/layoutstore_steps.h"

enum { MAX_OPEN = 64, HEX_LEN = 2 * CK_SHA256_LEN + 1 };

#define OCI_MARK "{\"imageLayoutVersion\":\"1.0.0\"}"
#define DIR_MARK "Directory Transport Version: 1.1\n"

static void close_store(struct ck_blobstore *base)
{
	struct ck_layoutstore *s = ck_layoutstore_of(base);

	for (size_t i = 0; i < s->n_items; i++)
		ck_tempfile_drop(&s->items[i].file);
	ck_outdir_close(&s->dir, s->committed);
	pthread_mutex_destroy(&s->lock);
	free(s->items);
	free(s);
}

bool ck_layoutstore_there(const struct ck_layoutstore *s, const uint8_t digest[CK_SHA256_LEN],
			  uint64_t size)
{
	char name[HEX_LEN];
	struct stat st;

	ck_hex(name, digest, CK_SHA256_LEN);
	return fstatat(s->dir.blobs, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	       (uint64_t)st.st_size == size;
}

static struct ck_blobitem *find(const struct ck_layoutstore *s, const uint8_t digest[CK_SHA256_LEN])
{
	for (size_t i = 0; i < s->n_items; i++)
		if (memcmp(s->items[i].digest, digest, CK_SHA256_LEN) == 0)
			return &s->items[i];
	return NULL;
}

static int has(struct ck_blobstore *base, const uint8_t digest[CK_SHA256_LEN], uint64_t size,
	       struct ck_err *err)
{
	struct ck_layoutstore *s = ck_layoutstore_of(base);

	(void)err;
	pthread_mutex_lock(&s->lock);
	const struct ck_blobitem *i = find(s, digest);
	bool new = i && i->size == size;
	pthread_mutex_unlock(&s->lock);
	return new || ck_layoutstore_there(s, digest, size);
}

/* With the lock held. */
static int add_item(struct ck_layoutstore *s, struct ck_tempfile *file,
		    const uint8_t digest[CK_SHA256_LEN], uint64_t size, struct ck_err *err)
{
	struct ck_blobitem *i = find(s, digest);

	if (i && (i->ours || !file))
		return 0;
	if (!i && s->n_items == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 64;
		struct ck_blobitem *more = reallocarray(s->items, cap, sizeof *more);
		if (!more)
			return ck_nomem(err, "adding a blob");
		s->items = more;
		s->cap = cap;
	}
	if (!i)
		i = &s->items[s->n_items++];
	*i = (struct ck_blobitem){ .size = size, .ours = file, .file = CK_TEMPFILE_NONE };
	memcpy(i->digest, digest, CK_SHA256_LEN);
	if (file) {
		i->file = *file;
		*file = (struct ck_tempfile)CK_TEMPFILE_NONE;
	}
	return 0;
}

int ck_layoutstore_item(struct ck_layoutstore *s, struct ck_tempfile *file,
			const uint8_t digest[CK_SHA256_LEN], uint64_t size, struct ck_err *err)
{
	/* What has a name already need not stay open either. */
	if (file && (file->name[0] || atomic_fetch_add(&s->n_open, 1) >= MAX_OPEN)) {
		int rc = ck_tempfile_park(file, err);
		if (rc < 0)
			return rc;
	}
	pthread_mutex_lock(&s->lock);
	int rc = add_item(s, file, digest, size, err);
	pthread_mutex_unlock(&s->lock);
	return rc;
}

static int place(const struct ck_layoutstore *s, struct ck_blobitem *i, struct ck_err *err)
{
	char name[HEX_LEN];

	/* Another writer's is as good. */
	if (ck_layoutstore_there(s, i->digest, i->size))
		return 0;
	ck_hex(name, i->digest, CK_SHA256_LEN);
	if (!i->ours)
		return ck_fail(err, -ENOENT, "blob %s was there, and has been removed meanwhile",
			       name);
	bool taken = faccessat(s->dir.blobs, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	int rc = ck_tempfile_place(&i->file, name, err);
	/* A damaged one that ours replaced is no loss. */
	i->placed = rc == 0 && !taken;
	return rc;
}

/* Writes the file NAME into the layout's own directory, with the mode of the one before. */
static int put_file(const struct ck_layoutstore *s, const char *name, const void *p, size_t nbytes,
		    struct ck_err *err)
{
	int root = s->dir.layout.fd;
	CK_AUTO(ck_tempfile_drop) struct ck_tempfile f = CK_TEMPFILE_NONE;
	struct stat st;

	int rc = ck_tempfile_open(&f, root, err);
	if (rc == 0)
		rc = ck_fd_write(f.fd, p, nbytes, name, err);
	if (rc < 0)
		return rc;
	if (fstatat(root, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
		(void)fchmod(f.fd, st.st_mode & 0777);
	if (fsync(f.fd) < 0)
		return ck_fail(err, -errno, "cannot write %s: %s", name, strerror(errno));
	return ck_tempfile_place(&f, name, err);
}

static const char *mark_name(const struct ck_layoutstore *s)
{
	return s->dir.layout.transport == CK_TRANSPORT_OCI ? "oci-layout" : "version";
}

/* Says what kind of directory it is, where that is not said. */
static int put_mark(const struct ck_layoutstore *s, bool *made, struct ck_err *err)
{
	bool oci = s->dir.layout.transport == CK_TRANSPORT_OCI;
	const char *text = oci ? OCI_MARK : DIR_MARK;
	int rc = ck_layout_version(&s->dir.layout, err);

	if (rc != -ENOENT)
		return rc;
	rc = put_file(s, mark_name(s), text, strlen(text), err);
	*made = rc == 0;
	return rc;
}

static void undo(struct ck_layoutstore *s, bool made_mark)
{
	for (size_t i = 0; i < s->n_items; i++) {
		char name[HEX_LEN];
		ck_hex(name, s->items[i].digest, CK_SHA256_LEN);
		if (s->items[i].placed)
			(void)unlinkat(s->dir.blobs, name, 0);
	}
	if (made_mark)
		(void)unlinkat(s->dir.layout.fd, mark_name(s), 0);
}

static int publish(struct ck_layoutstore *s, const struct ck_buf *root, bool *made_mark,
		   struct ck_err *err)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < s->n_items; i++)
		rc = place(s, &s->items[i], err);
	if (rc == 0)
		rc = put_mark(s, made_mark, err);
	if (rc == 0)
		rc = ck_outdir_sync(&s->dir, err);
	if (rc < 0)
		return rc;
	rc = put_file(s, ck_layout_root_name(&s->dir.layout), root->data, root->len, err);
	s->committed = rc == 0;
	return rc < 0 ? rc : ck_outdir_sync_root(&s->dir, err);
}

static int add_locked(struct ck_layoutstore *s, const struct ck_new_manifest *m, struct ck_err *err)
{
	CK_BUF old = { 0 }, new = { 0 };
	bool made_mark = false;

	int rc = ck_layout_root(&s->dir.layout, &old, err);
	if (rc == 0 || rc == -ENOENT)
		rc = ck_layoutstore_root(s, m, &old, &new, err);
	if (rc == 0 && new.len > CK_LAYOUT_MAX_DOC)
		rc = ck_fail(err, -EFBIG, "%s would grow to %zu bytes, more than the %d allowed",
			     ck_layout_root_name(&s->dir.layout), new.len, CK_LAYOUT_MAX_DOC);
	if (rc == 0)
		rc = publish(s, &new, &made_mark, err);
	if (!s->committed)
		undo(s, made_mark);
	return rc;
}

static int add(struct ck_blobstore *base, const struct ck_new_manifest *m, struct ck_err *err)
{
	struct ck_layoutstore *s = ck_layoutstore_of(base);
	int rc = ck_outdir_lock(&s->dir, err);

	if (rc < 0)
		return rc;
	rc = add_locked(s, m, err);
	ck_outdir_unlock(&s->dir);
	return rc;
}

int ck_layoutstore_open(struct ck_blobstore **out, enum ck_transport transport, const char *dir,
			bool make, struct ck_err *err)
{
	static const struct ck_blobstore_ops ops = {
		.blob = ck_layoutblob_open,
		.write = ck_layoutblob_write,
		.end = ck_layoutblob_end,
		.drop = ck_layoutblob_drop,
		.has = has,
		.add = add,
		.close = close_store,
	};
	CK_AUTO(ck_freep) struct ck_layoutstore *s = calloc(1, sizeof *s);

	if (!s)
		return ck_nomem(err, "opening a layout");
	int rc = ck_outdir_open(&s->dir, transport, dir, make, err);
	if (rc < 0)
		return rc;
	pthread_mutex_init(&s->lock, NULL);
	s->base = (struct ck_blobstore){ .ops = &ops, .name = s->dir.path };
	*out = &s->base;
	s = NULL;
	return 0;
}
