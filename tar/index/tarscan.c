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
#include "tar/index/paxhead.h"
#include "tar/index/window.h"

/* What Linux holds: larger is damage or an attack (linux/limits.h). */
enum { XATTR_VALUE_MAX = 65536, XATTR_COUNT_MAX = 1024, PATH_BYTES = 4096 };

/* libarchive takes an extended header of 1 MiB at most; there may be a few. */
enum { HEADERS_MAX = 4 << 20 };

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
	uint64_t head_end; /* of the newest entry's headers */
	struct ck_window window;
	bool padded; /* the stream has ended, and its padding was given */
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

	uint64_t keep = s->data_end > s->head_end ? s->data_end : s->head_end;
	s->pull_code = ck_window_keep(&s->window, keep, s->err);
	if (s->pull_code == 0)
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
	ck_window_add(&s->window, p, n);
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

/* The kernel takes a mode's bits from an access list, and keeps none that says no more. */
static int add_acl(struct scan *s, struct ck_entry *out, enum ck_acl_type type, const void *value,
		   size_t len)
{
	struct ck_acl acl;
	int rc = ck_acl_read(&acl, value, len, s->err);

	if (rc < 0 || acl.n_entries == 0 || S_ISLNK(out->mode))
		return rc;
	if (type == CK_ACL_ACCESS) {
		out->mode = (out->mode & ~(mode_t)0777) | acl.perm;
		if (!acl.has_mask)
			return 0;
	}
	return ck_index_add_xattr(s->b, ck_acl_name[type], value, len, s->err);
}

static int add_xattr(struct scan *s, struct ck_entry *out, const char *name, const void *value,
		     size_t len)
{
	for (enum ck_acl_type t = 0; t < CK_ACL_TYPES; t++)
		if (strcmp(name, ck_acl_name[t]) == 0)
			return add_acl(s, out, t, value, len);
	return ck_index_add_xattr(s->b, name, value, len, s->err);
}

static int add_xattrs(struct scan *s, struct archive_entry *e, struct ck_entry *out)
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
		int rc = add_xattr(s, out, name, value ? value : "", len);
		if (rc < 0)
			return rc;
	}
	for (enum ck_acl_type t = 0; t < CK_ACL_TYPES; t++) {
		CK_BUF acl = { .max = XATTR_VALUE_MAX };
		int rc = seen(names, n, ck_acl_name[t]) ? 0 : ck_acl_pack(&acl, e, t, s->err);
		if (rc == 0 && acl.len)
			rc = add_acl(s, out, t, acl.data, acl.len);
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

/* TARGET is libarchive's, unless a record names another. */
static int add_link(struct scan *s, const char *target, const struct ck_paxhead *h,
		    struct ck_entry *out)
{
	char link[PATH_BYTES];
	size_t len = h->link ? h->link_len : target ? strlen(target) : 0;

	if (len == 0 || len >= sizeof link)
		return ck_fail(s->err, -EBADMSG, "link target is missing or too long");
	memcpy(link, h->link ? h->link : target, len);
	link[len] = 0;
	if (strlen(link) != len)
		return ck_fail(s->err, -EBADMSG, "a NUL in a link target");
	if (out->kind == CK_ENTRY_HARDLINK)
		return ck_index_add_path(s->b, link, &out->link, s->err);
	return ck_index_add_bytes(s->b, link, len, &out->link, s->err);
}

static int add_attributes(struct scan *s, struct archive_entry *e, const struct ck_paxhead *h,
			  struct ck_entry *out)
{
	la_int64_t uid = archive_entry_uid(e), gid = archive_entry_gid(e);

	if (uid < 0 || uid > UINT32_MAX || gid < 0 || gid > UINT32_MAX)
		return ck_fail(s->err, -EBADMSG, "owner %" PRId64 ":%" PRId64 " is out of range",
			       (int64_t)uid, (int64_t)gid);
	out->uid = (uint32_t)uid;
	out->gid = (uint32_t)gid;
	out->mtime_s = h->has_mtime ? h->mtime_s : archive_entry_mtime(e);
	out->mtime_ns = h->has_mtime ? h->mtime_ns : (uint32_t)archive_entry_mtime_nsec(e);
	int rc = node_mode(s, e, out);
	if (rc < 0)
		return rc;
	if (S_ISCHR(out->mode) || S_ISBLK(out->mode)) {
		out->rdev_major = (uint32_t)archive_entry_rdevmajor(e);
		out->rdev_minor = (uint32_t)archive_entry_rdevminor(e);
	} else if (S_ISLNK(out->mode)) {
		rc = add_link(s, archive_entry_symlink(e), h, out);
	} else if (S_ISREG(out->mode)) {
		if (archive_entry_size(e) < 0)
			return ck_fail(s->err, -EBADMSG, "negative size");
		out->size = (uint64_t)archive_entry_size(e);
		rc = add_extents(s, e, out->size);
	}
	return rc < 0 ? rc : add_xattrs(s, e, out);
}

static int tell(struct scan *s)
{
	uint64_t at = (uint64_t)archive_read_header_position(s->a);

	return s->on_entry(s->ctx, at, s->data_end > at ? s->data_end : at, s->err);
}

/* The headers of the entry that libarchive has just read. */
static int read_heads(struct scan *s, struct ck_paxhead *out)
{
	uint64_t from = (uint64_t)archive_read_header_position(s->a);

	s->head_end = (uint64_t)archive_filter_bytes(s->a, 0);
	if (s->head_end > s->pulled) /* by the padding */
		s->head_end = s->pulled;
	const uint8_t *head = ck_window_at(&s->window, from, s->head_end);
	if (!head)
		return ck_fail(s->err, -EBADMSG, "headers of more than %d bytes", HEADERS_MAX);
	ck_paxhead_read(out, head, (size_t)(s->head_end - from));
	return 0;
}

static int add_entry(struct scan *s, struct archive_entry *e)
{
	const char *path = archive_entry_pathname(e);
	const char *hard = archive_entry_hardlink(e);
	struct ck_paxhead h;
	int rc = read_heads(s, &h);
	struct ck_entry out = { .kind = hard ? CK_ENTRY_HARDLINK : CK_ENTRY_NODE };

	if (rc < 0)
		return rc;
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
		rc = out.kind == CK_ENTRY_HARDLINK ? add_link(s, hard, &h, &out)
						   : add_attributes(s, e, &h, &out);
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
	struct scan s = { .b = b,
			  .pull = pull,
			  .on_entry = on_entry,
			  .ctx = ctx,
			  .err = err ? err : &own,
			  .window = { .kept = { .max = HEADERS_MAX } } };
	/* pax names are UTF-8, and libarchive converts them to the thread's locale: in the
	 * C locale it would lose them. */
	locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	locale_t before = utf8 ? uselocale(utf8) : (locale_t)0;

	s.a = archive_read_new();
	int rc = s.a ? scan_all(&s) : ck_nomem(err, "reading a tar");
	archive_read_free(s.a);
	ck_window_free(&s.window);
	if (utf8) {
		uselocale(before);
		freelocale(utf8);
	}
	return rc;
}
