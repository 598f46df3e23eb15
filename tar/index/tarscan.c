#include "tar/index/tarscan.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "tar/index/acl.h"

/* What Linux holds: larger is damage or an attack (linux/limits.h). */
enum { XATTR_VALUE_MAX = 65536, XATTR_COUNT_MAX = 1024, PATH_BYTES = 4096 };

struct scan {
	struct archive *a;
	struct ck_index_builder *b;
	ck_tar_pull_fn *pull;
	ck_tar_entry_fn *on_entry; /* or NULL */
	void *ctx;
	struct ck_err *err;
	int pull_code;	   /* the pull's own error: it says more than libarchive's */
	uint64_t pulled;   /* bytes of the stream so far */
	uint64_t data_end; /* of the file data farthest back in the stream */
	bool padded;	   /* the stream has ended, and its padding was given */
};

/*
 * Some writers (umoci insert) leave out the end marks and even the padding of the last
 * file, and every reader in Go takes that for an end. libarchive wants whole records:
 * it gets the padding from here. Data that is missing is noticed in the end (scan_all).
 */
static size_t last_padding(struct scan *s)
{
	size_t n = s->padded ? 0 : (512 - s->pulled % 512) % 512;

	s->padded = true;
	return n;
}

static la_ssize_t on_read(struct archive *a, void *ctx, const void **out)
{
	struct scan *s = ctx;
	const uint8_t *p = NULL;
	size_t n = 0;

	s->pull_code = s->pull(s->ctx, &p, &n, s->err);
	if (s->pull_code < 0) {
		archive_set_error(a, EIO, "read failed");
		return ARCHIVE_FATAL;
	}
	if (n == 0) {
		static const uint8_t zeros[512];
		*out = zeros;
		return (la_ssize_t)last_padding(s);
	}
	s->pulled += n;
	*out = p;
	return (la_ssize_t)n;
}

static int add_extent(struct scan *s, const struct ck_extent *x)
{
	int rc = ck_index_add_extent(s->b, x, s->err); /* refuses sums that wrap */

	if (rc == 0 && x->tar_off + x->len > s->data_end)
		s->data_end = x->tar_off + x->len;
	return rc;
}

static int add_extents(struct scan *s, struct archive_entry *e, uint64_t size)
{
	/* Right after the header: what libarchive consumed so far ends at the data. */
	struct ck_extent x = { .tar_off = (uint64_t)archive_filter_bytes(s->a, 0), .len = size };

	if (archive_entry_sparse_reset(e) == 0)
		return size ? add_extent(s, &x) : 0;
	la_int64_t off, len;
	while (archive_entry_sparse_next(e, &off, &len) == ARCHIVE_OK) {
		if (off < 0 || len < 0 || (uint64_t)off > size ||
		    (uint64_t)len > size - (uint64_t)off)
			return ck_fail(s->err, -EBADMSG, "sparse map passes the end of the file");
		x.file_off = (uint64_t)off;
		x.len = (uint64_t)len;
		int rc = x.len ? add_extent(s, &x) : 0;
		if (rc < 0)
			return rc;
		x.tar_off += x.len;
	}
	return 0;
}

/* bsdtar writes each attribute in two spellings: one is enough. */
static bool seen(const char *const *names, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

static int add_xattrs(struct scan *s, struct archive_entry *e)
{
	const char *names[XATTR_COUNT_MAX];
	size_t n = 0, len;
	const char *name;
	const void *value;

	archive_entry_xattr_reset(e);
	while (archive_entry_xattr_next(e, &name, &value, &len) == ARCHIVE_OK) {
		if (!name || !*name || strlen(name) > 255 || len > XATTR_VALUE_MAX)
			return ck_fail(s->err, -EBADMSG, "extended attribute of impossible size");
		if (seen(names, n, name))
			continue;
		if (n == XATTR_COUNT_MAX)
			return ck_fail(s->err, -EBADMSG, "more than %d extended attributes",
				       XATTR_COUNT_MAX);
		names[n++] = name;
		int rc = ck_index_add_xattr(s->b, name, value ? value : "", len, s->err);
		if (rc < 0)
			return rc;
	}
	for (int i = 0; i < 2; i++) {
		static const char *const acl_name[] = { "system.posix_acl_access",
							"system.posix_acl_default" };
		static const int acl_type[] = { ARCHIVE_ENTRY_ACL_TYPE_ACCESS,
						ARCHIVE_ENTRY_ACL_TYPE_DEFAULT };
		CK_BUF acl = { .max = XATTR_VALUE_MAX };
		int rc =
		    seen(names, n, acl_name[i]) ? 0 : ck_acl_pack(&acl, e, acl_type[i], s->err);
		if (rc == 0 && acl.len)
			rc = ck_index_add_xattr(s->b, acl_name[i], acl.data, acl.len, s->err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int node_mode(struct scan *s, struct archive_entry *e, struct ck_entry *out)
{
	switch (archive_entry_filetype(e)) {
	case AE_IFREG:
	case AE_IFDIR:
	case AE_IFLNK:
	case AE_IFCHR:
	case AE_IFBLK:
	case AE_IFIFO:
		out->mode = archive_entry_filetype(e) | (archive_entry_perm(e) & 07777);
		return 0;
	default:
		return ck_fail(s->err, -EBADMSG, "unknown file type %o", archive_entry_filetype(e));
	}
}

static int add_link(struct scan *s, const char *target, bool hard, struct ck_entry *out)
{
	if (!target || strlen(target) >= PATH_BYTES)
		return ck_fail(s->err, -EBADMSG, "link target is missing or too long");
	if (hard)
		return ck_index_add_path(s->b, target, &out->link, s->err);
	return ck_index_add_bytes(s->b, target, strlen(target), &out->link, s->err);
}

static int add_attributes(struct scan *s, struct archive_entry *e, struct ck_entry *out)
{
	la_int64_t uid = archive_entry_uid(e), gid = archive_entry_gid(e);

	if (uid < 0 || uid > UINT32_MAX || gid < 0 || gid > UINT32_MAX)
		return ck_fail(s->err, -EBADMSG, "owner %" PRId64 ":%" PRId64 " is out of range",
			       (int64_t)uid, (int64_t)gid);
	out->uid = (uint32_t)uid;
	out->gid = (uint32_t)gid;
	out->mtime_s = archive_entry_mtime(e);
	out->mtime_ns = (uint32_t)archive_entry_mtime_nsec(e) % 1000000000;
	int rc = node_mode(s, e, out);
	if (rc < 0)
		return rc;
	if (S_ISCHR(out->mode) || S_ISBLK(out->mode)) {
		out->rdev_major = (uint32_t)archive_entry_rdevmajor(e);
		out->rdev_minor = (uint32_t)archive_entry_rdevminor(e);
	} else if (S_ISLNK(out->mode)) {
		rc = add_link(s, archive_entry_symlink(e), false, out);
	} else if (S_ISREG(out->mode)) {
		if (archive_entry_size(e) < 0)
			return ck_fail(s->err, -EBADMSG, "negative size");
		out->size = (uint64_t)archive_entry_size(e);
		rc = add_extents(s, e, out->size);
	}
	return rc < 0 ? rc : add_xattrs(s, e);
}

static int tell(struct scan *s)
{
	uint64_t at = (uint64_t)archive_read_header_position(s->a);

	return s->on_entry(s->ctx, at, s->data_end > at ? s->data_end : at, s->err);
}

static int add_entry(struct scan *s, struct archive_entry *e)
{
	const char *path = archive_entry_pathname(e);
	const char *hard = archive_entry_hardlink(e);
	struct ck_entry out = { .kind = hard ? CK_ENTRY_HARDLINK : CK_ENTRY_NODE };
	int rc;

	/* A sparse map may claim more than the file has in the tar. */
	if (s->data_end > (uint64_t)archive_read_header_position(s->a))
		return ck_fail(s->err, -EBADMSG,
			       "not a well-formed tar: the sparse file before offset %" PRId64
			       " claims bytes of what follows it",
			       (int64_t)archive_read_header_position(s->a));
	if (!path || !*path)
		rc = ck_fail(s->err, -EBADMSG, "an entry without a name");
	else if (strlen(path) >= PATH_BYTES)
		rc = ck_fail(s->err, -EBADMSG, "a path of %zu bytes: no system takes above %d",
			     strlen(path), PATH_BYTES - 1);
	else
		rc = ck_index_add_path(s->b, path, &out.path, s->err);
	if (rc == 0)
		rc = hard ? add_link(s, hard, true, &out) : add_attributes(s, e, &out);
	if (rc == 0)
		rc = ck_index_add_entry(s->b, &out, s->err);
	if (rc == 0 && s->on_entry)
		return tell(s);
	if (rc == -EBADMSG)
		return ck_wrap(s->err, "tar entry \"%.200s\" at %" PRId64, path ? path : "",
			       (int64_t)archive_read_header_position(s->a));
	return rc;
}

/*
 * libarchive turns the UTF-8 of pax headers into composed characters (NFC), which are
 * other names. It does so when it first makes a converter from UTF-8 to UTF-8 for reading,
 * and the one that it makes to show a name as UTF-8 does not: that one is then found first.
 */
static int keep_decomposed(struct archive *a, struct ck_err *err)
{
	struct archive_entry *e = archive_entry_new2(a);

	if (!e)
		return ck_nomem(err, "reading a tar");
	archive_entry_set_pathname(e, "any");
	(void)archive_entry_pathname_utf8(e);
	archive_entry_free(e);
	return 0;
}

static int scan_all(struct scan *s)
{
	struct archive_entry *e;
	int r, rc = keep_decomposed(s->a, s->err);

	if (rc < 0)
		return rc;
	archive_read_support_format_tar(s->a);
	archive_read_support_format_empty(s->a);
	r = archive_read_open(s->a, s, NULL, on_read, NULL);
	if (r == ARCHIVE_OK) {
		while ((r = archive_read_next_header(s->a, &e)) == ARCHIVE_OK ||
		       r == ARCHIVE_WARN) {
			rc = add_entry(s, e);
			if (rc < 0)
				return rc;
		}
	}
	if (s->pull_code < 0)
		return s->pull_code;
	if (r == ARCHIVE_EOF && s->data_end <= s->pulled)
		return 0;
	if (r == ARCHIVE_EOF)
		return ck_fail(s->err, -EBADMSG,
			       "not a well-formed tar: truncated inside its last file (at offset "
			       "%" PRIu64 " of %" PRIu64 ")",
			       s->pulled, s->data_end);
	if (archive_errno(s->a) == ENOMEM)
		return ck_nomem(s->err, "reading a tar");
	const char *why = archive_error_string(s->a);
	return ck_fail(s->err, -EBADMSG, "not a well-formed tar: %s (near offset %" PRId64 ")",
		       why ? why : "unknown error", (int64_t)archive_filter_bytes(s->a, 0));
}

int ck_tarscan(struct ck_index_builder *b, ck_tar_pull_fn *pull, ck_tar_entry_fn *on_entry,
	       void *ctx, struct ck_err *err)
{
	struct ck_err own = { 0 };
	struct scan s = {
		.b = b, .pull = pull, .on_entry = on_entry, .ctx = ctx, .err = err ? err : &own
	};
	/* pax names are UTF-8, and libarchive converts them to the thread's locale: in the
	 * C locale it would lose them. */
	locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	locale_t before = utf8 ? uselocale(utf8) : (locale_t)0;

	s.a = archive_read_new();
	int rc = s.a ? scan_all(&s) : ck_nomem(err, "reading a tar");
	archive_read_free(s.a);
	if (utf8) {
		uselocale(before);
		freelocale(utf8);
	}
	return rc;
}
