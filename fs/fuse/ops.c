#include "fs/fuse/ops.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/file.h"
#include "base/log.h"

/* Seconds; the kernel's clock does not reach further. */
#define FOREVER 1e9

/* MAX_AHEAD: read-ahead, and all that EROFS reads of layers, that the kernel sends us at once. One
 * layer that hangs takes as many threads: fewer than are stuck when others are refused, too, and
 * with so many stuck there are still threads for metadata. */
enum { SAME_FAILURE_MS = 1000, MAX_AHEAD = CK_DEADLINE_SLOTS * 3 / 8 };

static struct ck_ops *ops_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* This thread's CK_MAX_IO bytes, or NULL. */
static char *buffer(struct ck_ops *o)
{
	char *b = pthread_getspecific(o->buffers);

	if (b)
		return b;
	b = malloc(CK_MAX_IO);
	if (b && pthread_setspecific(o->buffers, b) != 0) {
		free(b);
		b = NULL;
	}
	return b;
}

/* Answers for a number that no reply ever named. */
static bool find(fuse_req_t req, fuse_ino_t id, struct ck_item *out)
{
	if (ck_catalog_item(&ops_of(req)->catalog, id, out))
		return true;
	fuse_reply_err(req, ESTALE);
	return false;
}

static void on_init(void *ctx, struct fuse_conn_info *conn)
{
	struct ck_ops *o = ctx;
	unsigned want = FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO | FUSE_CAP_PARALLEL_DIROPS |
			FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_CACHE_SYMLINKS;

	/* Asking for ACLs makes the kernel fetch them for each inode: only where some are. */
	if (o->catalog.has_acl)
		want |= FUSE_CAP_POSIX_ACL;
	conn->want = want & conn->capable;
	conn->max_read = CK_MAX_IO;
	conn->max_write = CK_MAX_IO; /* bounds the pages of a read, too */
	conn->max_readahead = CK_MAX_IO;
	conn->max_background = MAX_AHEAD;
	conn->time_gran = 1;
	o->no_open = conn->capable & FUSE_CAP_NO_OPEN_SUPPORT;
	o->no_opendir = conn->capable & FUSE_CAP_NO_OPENDIR_SUPPORT;
}

static void fill_entry(const struct ck_catalog *c, const struct ck_item *item,
		       struct fuse_entry_param *out)
{
	*out = (struct fuse_entry_param){ .ino = item->id,
					  .attr_timeout = FOREVER,
					  .entry_timeout = FOREVER };
	ck_catalog_stat(c, item, &out->attr);
}

static void on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	const struct ck_catalog *c = &ops_of(req)->catalog;
	struct fuse_entry_param e = { .entry_timeout = FOREVER }; /* absent, for ever */
	struct ck_item dir, item;

	if (!find(req, parent, &dir))
		return;
	uint64_t id = ck_catalog_lookup(c, &dir, name, strlen(name));
	if (id && ck_catalog_item(c, id, &item))
		fill_entry(c, &item, &e);
	fuse_reply_entry(req, &e);
}

static void on_getattr(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
	struct ck_item item;
	struct stat st;

	(void)fi;
	if (!find(req, id, &item))
		return;
	ck_catalog_stat(&ops_of(req)->catalog, &item, &st);
	fuse_reply_attr(req, &st, FOREVER);
}

static void on_readlink(fuse_req_t req, fuse_ino_t id)
{
	struct ck_item item;

	if (!find(req, id, &item))
		return;
	const struct ck_entry *e = ck_item_entry(&item);
	if (item.kind == CK_ITEM_LINK)
		fuse_reply_readlink(req, item.link);
	else if (e && S_ISLNK(e->mode))
		fuse_reply_readlink(
		    req, ck_index_bytes(ck_catalog_index(&ops_of(req)->catalog, &item), e->link));
	else
		fuse_reply_err(req, EINVAL);
}

static void on_open(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
	(void)id;
	if (ops_of(req)->no_open) {
		fuse_reply_err(req, ENOSYS);
		return;
	}
	fi->keep_cache = 1;
	fuse_reply_open(req, fi);
}

static void on_opendir(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
	(void)id;
	if (ops_of(req)->no_opendir) {
		fuse_reply_err(req, ENOSYS);
		return;
	}
	fi->keep_cache = 1;
	fi->cache_readdir = 1;
	fuse_reply_open(req, fi);
}

/* The kernel tries a failed read-ahead again as a read: told once is enough. */
static bool told_lately(struct ck_ops *o, uint64_t id, uint64_t off)
{
	uint64_t what = id * UINT64_C(0x9e3779b97f4a7c15) ^ off;

	return ck_seldom_said(&o->failed_reads, what, ck_now_ms(), SAME_FAILURE_MS);
}

static void say(struct ck_ops *o, const char *line)
{
	ck_log(CK_LOG_ERROR, "%s", line);
	ck_counters_error(&o->counters, line);
}

static void log_failed_read(struct ck_ops *o, const struct ck_item *item, size_t nbytes,
			    uint64_t off, const struct ck_err *err)
{
	char path[256], line[CK_LAST_ERROR];

	if (told_lately(o, item->id, off))
		return;
	ck_catalog_path(&o->catalog, item, path, sizeof path);
	snprintf(line, sizeof line,
		 "layer %" PRIu32 ": read of %zu bytes at %" PRIu64 " of %s failed: %s",
		 item->layer, nbytes, off, path, err->msg);
	say(o, line);
}

/* A dead disk fails whatever is asked of it: one line a second, LAST being when there was one. */
static void log_late_read(struct ck_ops *o, const struct ck_deadline_read *r,
			  _Atomic uint64_t *last, const char *why)
{
	struct ck_deadline_stats now;
	struct ck_item item;
	char path[256] = "", line[CK_LAST_ERROR];
	uint64_t t = ck_now_ms(), before = atomic_load(last);

	if ((before && t - before < SAME_FAILURE_MS) ||
	    !atomic_compare_exchange_strong(last, &before, t))
		return;
	if (ck_catalog_item(&o->catalog, r->id, &item))
		ck_catalog_path(&o->catalog, &item, path, sizeof path);
	ck_deadline_stats(o->deadline, &now);
	snprintf(line, sizeof line,
		 "layer %" PRIu32 ": read of %zu bytes at %" PRIu64 " of %s %s (%u hang; so far "
		 "%" PRIu64 " overdue, %" PRIu64 " refused)",
		 r->layer, r->nbytes, r->off, path, why, now.stuck, now.overdue, now.refused);
	say(o, line);
}

void ck_ops_overdue(void *ctx, const struct ck_deadline_read *r)
{
	struct ck_ops *o = ctx;
	char why[64];
	uint64_t ms = ck_deadline_timeout_ms(o->deadline);

	fuse_reply_err(r->req, EIO);
	ck_counters_failed(&o->counters);
	snprintf(why, sizeof why, "not answered within %" PRIu64 ".%" PRIu64 " s", ms / 1000,
		 ms % 1000 / 100);
	log_late_read(o, r, &o->overdue_ms, why);
}

/* Of data that are not in memory, by the deadline. */
static void read_layer(fuse_req_t req, const struct ck_item *item, size_t nbytes, uint64_t off)
{
	struct ck_ops *o = ops_of(req);
	struct ck_err err = { 0 };
	struct ck_deadline_read r = {
		.req = req, .layer = item->layer, .id = item->id, .off = off, .nbytes = nbytes
	};
	char *buf = nbytes <= CK_MAX_IO ? buffer(o) : NULL;

	if (item->kind == CK_ITEM_PATCH)
		r.layer = o->catalog.n_layers; /* it has bytes of any */
	int slot = ck_deadline_begin(o->deadline, &r);
	if (slot < 0) {
		ck_counters_failed(&o->counters);
		log_late_read(o, &r, &o->refused_ms, "refused, for others hang");
		fuse_reply_err(req, EIO);
		return;
	}
	int rc = buf ? ck_catalog_read(&o->catalog, item, buf, nbytes, off, &err)
		     : ck_nomem(&err, "answering a read");
	if (!ck_deadline_end(o->deadline, slot))
		return; /* answered, and REQ is gone */
	if (rc == 0) {
		ck_counters_read(&o->counters, nbytes);
		fuse_reply_buf(req, buf, nbytes);
		return;
	}
	ck_counters_failed(&o->counters);
	log_failed_read(o, item, nbytes, off, &err);
	fuse_reply_err(req, EIO);
}

static void on_read(fuse_req_t req, fuse_ino_t id, size_t nbytes, off_t off_signed,
		    struct fuse_file_info *fi)
{
	struct ck_item item;
	uint64_t off = (uint64_t)off_signed;

	(void)fi;
	if (!find(req, id, &item))
		return;
	uint64_t len = ck_item_len(&item), left = off < len ? len - off : 0;
	if (nbytes > left)
		nbytes = (size_t)left;
	if (item.kind == CK_ITEM_DOC || nbytes == 0)
		fuse_reply_buf(req, nbytes ? (const char *)item.doc + off : NULL, nbytes);
	else
		read_layer(req, &item, nbytes, off);
}

/* The IDX-th entry of a listing, "." and ".." included; false past the last. */
static bool list(const struct ck_catalog *c, const struct ck_item *dir, uint64_t idx,
		 char name[CK_NAME_CAP], struct ck_item *out)
{
	uint64_t id;

	if (idx == 0 || idx == 1) {
		snprintf(name, CK_NAME_CAP, "%s", idx ? ".." : ".");
		id = idx ? ck_catalog_parent(c, dir) : dir->id;
	} else {
		id = ck_catalog_child(c, dir, idx - 2, name);
	}
	return id && ck_catalog_item(c, id, out);
}

static size_t add_dirent(fuse_req_t req, bool plus, char *at, size_t room, const char *name,
			 const struct ck_item *item, uint64_t next)
{
	const struct ck_catalog *c = &ops_of(req)->catalog;
	struct fuse_entry_param e;

	fill_entry(c, item, &e);
	if (!plus)
		return fuse_add_direntry(req, at, room, name, &e.attr, (off_t)next);
	return fuse_add_direntry_plus(req, at, room, name, &e, (off_t)next);
}

static void reply_dir(fuse_req_t req, fuse_ino_t id, size_t nbytes, off_t off, bool plus)
{
	struct ck_ops *o = ops_of(req);
	struct ck_item dir, item;
	char name[CK_NAME_CAP], *buf = buffer(o);
	size_t used = 0;

	if (!find(req, id, &dir))
		return;
	if (!buf) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	if (nbytes > CK_MAX_IO)
		nbytes = CK_MAX_IO;
	for (uint64_t i = (uint64_t)off; list(&o->catalog, &dir, i, name, &item); i++) {
		size_t n = add_dirent(req, plus, buf + used, nbytes - used, name, &item, i + 1);
		if (n > nbytes - used)
			break;
		used += n;
	}
	fuse_reply_buf(req, buf, used);
}

static void on_readdir(fuse_req_t req, fuse_ino_t id, size_t nbytes, off_t off,
		       struct fuse_file_info *fi)
{
	(void)fi;
	reply_dir(req, id, nbytes, off, false);
}

static void on_readdirplus(fuse_req_t req, fuse_ino_t id, size_t nbytes, off_t off,
			   struct fuse_file_info *fi)
{
	(void)fi;
	reply_dir(req, id, nbytes, off, true);
}

static void on_statfs(fuse_req_t req, fuse_ino_t id)
{
	const struct ck_catalog *c = &ops_of(req)->catalog;
	struct statvfs st = { .f_bsize = 4096, .f_frsize = 4096, .f_namemax = CK_NAME_CAP - 1 };

	(void)id;
	st.f_blocks = c->total_bytes / 4096 + (c->total_bytes % 4096 != 0);
	st.f_files = c->n_nodes;
	fuse_reply_statfs(req, &st);
}

/* Replies P[0..LEN), or its length where the caller only asks for that. */
static void reply_xattr(fuse_req_t req, const void *p, size_t len, size_t room)
{
	if (room == 0)
		fuse_reply_xattr(req, len);
	else if (len > room)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, p, len);
}

static void on_getxattr(fuse_req_t req, fuse_ino_t id, const char *name, size_t room)
{
	struct ck_item item;

	if (!find(req, id, &item))
		return;
	const struct ck_entry *e = ck_item_entry(&item);
	const struct ck_index *x = e ? ck_catalog_index(&ops_of(req)->catalog, &item) : NULL;
	for (uint32_t i = 0; e && i < e->n_xattrs; i++) {
		const struct ck_xattr *a = &x->xattrs[e->first_xattr + i];
		if (strcmp(ck_index_bytes(x, a->name), name) == 0) {
			reply_xattr(req, ck_index_bytes(x, a->value), a->value.len, room);
			return;
		}
	}
	fuse_reply_err(req, ENODATA);
}

static void on_listxattr(fuse_req_t req, fuse_ino_t id, size_t room)
{
	static const char trusted[] = "trusted."; /* none of an ordinary user's business */
	struct ck_ops *o = ops_of(req);
	struct ck_item item;
	char *buf = buffer(o);
	size_t used = 0;

	if (!find(req, id, &item))
		return;
	const struct ck_entry *e = ck_item_entry(&item);
	const struct ck_index *x = e ? ck_catalog_index(&o->catalog, &item) : NULL;
	for (uint32_t i = 0; e && i < e->n_xattrs; i++) {
		struct ck_span s = x->xattrs[e->first_xattr + i].name;
		const char *name = ck_index_bytes(x, s);
		if (fuse_req_ctx(req)->uid && strncmp(name, trusted, sizeof trusted - 1) == 0)
			continue;
		if (!buf || s.len >= CK_MAX_IO - used) {
			fuse_reply_err(req, buf ? E2BIG : ENOMEM);
			return;
		}
		memcpy(buf + used, name, s.len + 1);
		used += s.len + 1;
	}
	reply_xattr(req, buf, used, room);
}

/* Where from OFF on the next data of a file are (DATA), or the next hole. */
static uint64_t seek(const struct ck_extent *x, uint32_t n, uint64_t len, uint64_t off, bool data)
{
	uint32_t lo = 0, hi = n;

	while (lo < hi) { /* the first extent that ends behind OFF */
		uint32_t mid = lo + (hi - lo) / 2;
		if (x[mid].file_off + x[mid].len <= off)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < n && x[lo].file_off < len; lo++) {
		if (x[lo].len == 0)
			continue;
		if (data)
			return off > x[lo].file_off ? off : x[lo].file_off;
		if (x[lo].file_off > off)
			return off;
		off = x[lo].file_off + x[lo].len;
	}
	return data || off > len ? len : off;
}

static void on_lseek(fuse_req_t req, fuse_ino_t id, off_t off, int whence,
		     struct fuse_file_info *fi)
{
	struct ck_item item;

	(void)fi;
	if (!find(req, id, &item))
		return;
	const struct ck_entry *e = ck_item_entry(&item);
	struct ck_extent whole = { .len = ck_item_len(&item) };
	const struct ck_extent *x = &whole;
	uint32_t n = 1;
	bool data = whence == SEEK_DATA;
	if (e) {
		x = ck_catalog_index(&ops_of(req)->catalog, &item)->extents + e->first_extent;
		n = e->n_extents;
	}
	if (!data && whence != SEEK_HOLE) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	uint64_t at = whole.len;
	if (off >= 0 && (uint64_t)off < whole.len)
		at = seek(x, n, whole.len, (uint64_t)off, data);
	if (off < 0 || (uint64_t)off >= whole.len || (data && at == whole.len))
		fuse_reply_err(req, ENXIO);
	else
		fuse_reply_lseek(req, (off_t)at);
}

const struct fuse_lowlevel_ops ck_fuse_ops = {
	.init = on_init,
	.lookup = on_lookup,
	.getattr = on_getattr,
	.readlink = on_readlink,
	.open = on_open,
	.read = on_read,
	.opendir = on_opendir,
	.readdir = on_readdir,
	.readdirplus = on_readdirplus,
	.statfs = on_statfs,
	.getxattr = on_getxattr,
	.listxattr = on_listxattr,
	.lseek = on_lseek,
};
