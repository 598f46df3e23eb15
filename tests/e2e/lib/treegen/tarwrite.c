#include "tests/e2e/lib/treegen/tarwrite.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK = 512, NAME_LEN = 100, PREFIX_LEN = 155 };

/* What the bits of an item's form choose. */
enum {
	F_GNU_LONG = 1 << 0,  /* long names by L and K, not by pax */
	F_PAX_PATH = 1 << 1,  /* a pax path though the name would fit */
	F_NO_PREFIX = 1 << 2, /* ustar's prefix is left alone */
	F_BINARY = 1 << 3,    /* numbers in base 256 where they do not fit, not in pax */
	F_PAX_OWNER = 1 << 4, /* uid and gid in pax, though they would fit */
	F_PAX_SIZE = 1 << 5,  /* so the size */
	F_OLD_TYPE = 1 << 6,  /* a NUL, or '7', for a regular file */
	F_GNU_MAGIC = 1 << 7,
	F_NO_TIME_FRACTION = 1 << 8, /* that is written anyway: .000 */
	F_COMMENT = 1 << 9,	     /* records that mean nothing here */
	F_GLOBAL = 3 << 10,	     /* all: a global header that says nothing */
	F_RAW_ACL = 1 << 13,	     /* ACLs as the kernel has them, in attributes */
	F_JUNK_HEADER = 1 << 12,     /* the header's own field is wrong where pax overrides it */
};

static void out(FILE *f, const void *p, size_t n)
{
	if (n && fwrite(p, 1, n, f) != n) {
		perror("treegen: cannot write");
		exit(2);
	}
}

static void pad(FILE *f, uint64_t len)
{
	static const char zeros[BLOCK];

	out(f, zeros, (size_t)((BLOCK - len % BLOCK) % BLOCK));
}

/* Appends "LEN KEY=VALUE\n", where LEN counts its own digits. */
static void add_record(struct text *pax, const char *key, const char *value, size_t value_len)
{
	size_t rest = strlen(key) + value_len + 3, len = rest;
	char digits[32];

	while (rest + (size_t)snprintf(digits, sizeof digits, "%zu", len) != len)
		len = rest + strlen(digits);
	text_puts(pax, digits);
	text_puts(pax, " ");
	text_puts(pax, key);
	text_puts(pax, "=");
	text_add(pax, value, value_len);
	text_puts(pax, "\n");
}

static void add_number(struct text *pax, const char *key, uint64_t v)
{
	char digits[32];

	snprintf(digits, sizeof digits, "%llu", (unsigned long long)v);
	add_record(pax, key, digits, strlen(digits));
}

/* Octal with a NUL behind it, else base 256 (two's complement). */
static void put_number(char *field, size_t width, int64_t v)
{
	if (v >= 0 && (uint64_t)v < UINT64_C(1) << 3 * (width - 1)) {
		snprintf(field, width, "%0*llo", (int)width - 1, (unsigned long long)v);
		return;
	}
	for (size_t i = width; i-- > 0; v >>= 8)
		field[i] = (char)(v & 0xff);
	field[0] = (char)(field[0] | 0x80);
}

static bool fits(uint64_t v, size_t width)
{
	return v < UINT64_C(1) << 3 * (width - 1);
}

static void finish_header(FILE *f, char h[BLOCK])
{
	unsigned int sum = 0;

	memset(h + 148, ' ', 8);
	for (size_t i = 0; i < BLOCK; i++)
		sum += (unsigned char)h[i];
	snprintf(h + 148, 7, "%06o", sum);
	out(f, h, BLOCK);
}

static void put_magic(char h[BLOCK], bool gnu)
{
	memcpy(h + 257,
	       gnu ? "ustar  "
		   : "ustar\0"
		     "00",
	       8);
}

/* A header that only carries DATA for the next one. */
static void write_extra(FILE *f, char type, const char *name, const struct text *data)
{
	char h[BLOCK] = { 0 };

	strcpy(h, name);
	put_number(h + 100, 8, 0644);
	put_number(h + 108, 8, 0);
	put_number(h + 116, 8, 0);
	put_number(h + 124, 12, (int64_t)data->len);
	put_number(h + 136, 12, 0);
	h[156] = type;
	put_magic(h, type == 'L' || type == 'K');
	finish_header(f, h);
	out(f, data->p, data->len);
	pad(f, data->len);
}

/* Where to cut PATH into ustar's prefix and name, or 0. */
static size_t prefix_cut(const struct text *path)
{
	for (size_t i = path->len < PREFIX_LEN ? path->len : PREFIX_LEN; i-- > 1;)
		if (path->p[i] == '/' && path->len - i - 1 <= NAME_LEN && i + 1 < path->len)
			return i;
	return 0;
}

static void put_text(char *field, size_t room, const char *p, size_t len)
{
	memcpy(field, p, len < room ? len : room);
}

/* The name field, and what has to stand elsewhere. */
static void put_path(FILE *f, const struct item *it, const struct text *path, char h[BLOCK],
		     struct text *pax)
{
	size_t cut = path->len > NAME_LEN ? prefix_cut(path) : 0;
	bool gnu_magic = it->form & F_GNU_MAGIC;

	if (it->form & F_PAX_PATH && !it->sparse) {
		add_record(pax, "path", path->p, path->len);
		if (it->form & F_JUNK_HEADER)
			strcpy(h, "junk");
		else
			put_text(h, NAME_LEN, path->p, path->len);
	} else if (path->len <= NAME_LEN) {
		put_text(h, NAME_LEN, path->p, path->len);
	} else if (cut && !gnu_magic && !(it->form & F_NO_PREFIX)) {
		put_text(h + 345, PREFIX_LEN, path->p, cut);
		put_text(h, NAME_LEN, path->p + cut + 1, path->len - cut - 1);
	} else if (it->form & F_GNU_LONG) {
		struct text with_nul = { 0 };

		text_add(&with_nul, path->p, path->len + 1);
		write_extra(f, 'L', "././@LongLink", &with_nul);
		put_text(h, NAME_LEN, path->p, path->len);
	} else {
		add_record(pax, "path", path->p, path->len);
		put_text(h, NAME_LEN, path->p, path->len);
	}
}

static void put_link(FILE *f, const struct item *it, char h[BLOCK], struct text *pax)
{
	const struct text *link = &it->link;
	bool is_short = link->len <= NAME_LEN;

	if (it->form & F_PAX_PATH || (!is_short && !(it->form & F_GNU_LONG))) {
		add_record(pax, "linkpath", link->p, link->len);
		if (it->form & F_JUNK_HEADER)
			return; /* the field stays empty */
	} else if (!is_short) {
		struct text with_nul = { 0 };

		text_add(&with_nul, link->p, link->len + 1);
		write_extra(f, 'K', "././@LongLink", &with_nul);
	}
	put_text(h + 157, NAME_LEN, link->p, link->len);
}

static void put_owner(const struct item *it, char h[BLOCK], struct text *pax, const char *key,
		      size_t at, uint32_t id)
{
	if (!(it->form & F_PAX_OWNER) && (fits(id, 8) || it->form & F_BINARY)) {
		put_number(h + at, 8, id);
		return;
	}
	add_number(pax, key, id);
	put_number(h + at, 8, it->form & F_JUNK_HEADER || !fits(id, 8) ? 0 : id);
}

static void put_mtime(const struct item *it, char h[BLOCK], struct text *pax)
{
	bool whole = it->mtime_ns == 0,
	     fits_octal = it->mtime >= 0 && fits((uint64_t)it->mtime, 12);
	char digits[64];

	put_number(h + 136, 12, fits_octal || it->form & F_BINARY ? it->mtime : 0);
	if (whole && (fits_octal || it->form & F_BINARY))
		return;
	/* The number is -(1 + |seconds|) + nanoseconds: before 1970 the digits run the other way.
	 */
	if (it->mtime < 0 && !whole)
		snprintf(digits, sizeof digits, "-%lld.%09u", (long long)-(it->mtime + 1),
			 1000000000 - it->mtime_ns);
	else
		snprintf(digits, sizeof digits, "%lld.%09u", (long long)it->mtime, it->mtime_ns);
	size_t len = strlen(digits);
	while (!(it->form & F_NO_TIME_FRACTION) && digits[len - 1] == '0')
		len--;
	if (digits[len - 1] == '.')
		len--;
	add_record(pax, "mtime", digits, len);
}

static void add_acl(struct text *pax, const char *key, const struct acl *a, uint64_t form)
{
	struct text t = { 0 };
	char line[64];

	if (!a->n)
		return;
	for (size_t i = 0; i < a->n; i++) {
		const struct ace *e = &a->ace[i];
		bool named = e->tag == ACE_USER || e->tag == ACE_GROUP;
		const char *word = e->tag <= ACE_USER	 ? "user"
				   : e->tag <= ACE_GROUP ? "group"
				   : e->tag == ACE_MASK	 ? "mask"
							 : "other";
		char id[16] = "", again[16] = "";

		if (named)
			snprintf(id, sizeof id, "%u", e->id);
		/* star's form has the number behind the permissions as well */
		if (named && form & F_COMMENT)
			snprintf(again, sizeof again, ":%u", e->id);
		snprintf(line, sizeof line, "%s%s:%s:%c%c%c%s", i ? "," : "", word, id,
			 e->perm & 4 ? 'r' : '-', e->perm & 2 ? 'w' : '-', e->perm & 1 ? 'x' : '-',
			 again);
		text_puts(&t, line);
	}
	add_record(pax, key, t.p, t.len);
}

static void add_raw_acl(struct text *pax, const char *key, const struct acl *a)
{
	struct text t = acl_packed(*a);

	if (a->n)
		add_record(pax, key, t.p, t.len);
}

static void add_xattrs(struct text *pax, const struct item *it)
{
	for (size_t i = 0; i < it->n_xattrs; i++) {
		struct text key = text_of("SCHILY.xattr.");

		text_puts(&key, it->xattrs[i].name.p);
		add_record(pax, key.p, it->xattrs[i].value.p, it->xattrs[i].value.len);
	}
	if (it->form & F_RAW_ACL) {
		add_raw_acl(pax, "SCHILY.xattr.system.posix_acl_access", &it->access);
		add_raw_acl(pax, "SCHILY.xattr.system.posix_acl_default", &it->deflt);
	} else {
		add_acl(pax, "SCHILY.acl.access", &it->access, it->form);
		add_acl(pax, "SCHILY.acl.default", &it->deflt, it->form);
	}
}

/* What stands before a sparse file's data: the number of segments, and each one. */
static struct text sparse_map(const struct item *it)
{
	struct text t = { 0 };
	char line[64];
	uint64_t end = 0;
	bool hole_at_end;

	if (it->n_segments)
		end = it->segments[it->n_segments - 1].off + it->segments[it->n_segments - 1].len;
	hole_at_end = end < it->size; /* GNU tar notes where it ends */
	snprintf(line, sizeof line, "%zu\n", it->n_segments + hole_at_end);
	text_puts(&t, line);
	for (size_t i = 0; i < it->n_segments; i++) {
		snprintf(line, sizeof line, "%llu\n%llu\n", (unsigned long long)it->segments[i].off,
			 (unsigned long long)it->segments[i].len);
		text_puts(&t, line);
	}
	if (hole_at_end) {
		snprintf(line, sizeof line, "%llu\n0\n", (unsigned long long)it->size);
		text_puts(&t, line);
	}
	while (t.len % BLOCK)
		text_add(&t, "", 1);
	return t;
}

static void write_range(FILE *f, const struct item *it, uint64_t off, uint64_t len)
{
	static char buf[1 << 16];

	while (len) {
		size_t n = len < sizeof buf ? (size_t)len : sizeof buf;

		item_bytes(it, off, buf, n);
		out(f, buf, n);
		off += n;
		len -= n;
	}
}

static char type_char(const struct item *it)
{
	if (it->type == FILE_ && it->form & F_OLD_TYPE && !it->sparse)
		return it->form & F_GNU_MAGIC ? '7' : 0;
	return "0523461"[it->type];
}

static void write_item(FILE *f, const struct item *it)
{
	char h[BLOCK] = { 0 };
	struct text pax = { 0 }, map = { 0 }, path = it->path;
	uint64_t stored = it->type == FILE_ ? it->size : 0;

	if ((it->form & F_GLOBAL) == F_GLOBAL) {
		add_record(&pax, "comment", "means nothing", 13);
		write_extra(f, 'g', "pax_global_header", &pax);
		pax.len = 0;
	}
	if (it->form & F_COMMENT) {
		add_record(&pax, "comment", "a=b\n\xff", 5);
		add_record(&pax, "atime", "12.5", 4);
		add_record(&pax, "ctime", "1300000000", 10);
	}
	if (it->sparse) {
		map = sparse_map(it);
		stored = map.len;
		for (size_t i = 0; i < it->n_segments; i++)
			stored += it->segments[i].len;
		add_record(&pax, "GNU.sparse.major", "1", 1);
		add_record(&pax, "GNU.sparse.minor", "0", 1);
		add_record(&pax, "GNU.sparse.name", path.p, path.len);
		add_number(&pax, "GNU.sparse.realsize", it->size);
		path = text_of("GNUSparseFile.1/file");
	}
	put_path(f, it, &path, h, &pax);
	if (it->type == SYMLINK || it->type == HARDLINK)
		put_link(f, it, h, &pax);
	put_number(h + 100, 8, it->mode);
	put_owner(it, h, &pax, "uid", 108, it->uid);
	put_owner(it, h, &pax, "gid", 116, it->gid);
	if (it->form & F_PAX_SIZE && it->type == FILE_)
		add_number(&pax, "size", stored);
	put_number(h + 124, 12,
		   (int64_t)(it->form & F_PAX_SIZE && it->form & F_JUNK_HEADER ? 0 : stored));
	put_mtime(it, h, &pax);
	add_xattrs(&pax, it);
	h[156] = type_char(it);
	put_magic(h, it->form & F_GNU_MAGIC);
	put_number(h + 329, 8, it->major);
	put_number(h + 337, 8, it->minor);
	if (pax.len)
		write_extra(f, 'x', "PaxHeaders/x", &pax);
	finish_header(f, h);
	out(f, map.p, map.len);
	if (!it->sparse)
		write_range(f, it, 0, stored);
	for (size_t i = 0; it->sparse && i < it->n_segments; i++)
		write_range(f, it, it->segments[i].off, it->segments[i].len);
	pad(f, stored);
}

void tar_write(FILE *to, const struct layer *l)
{
	static const char end[2 * BLOCK];

	for (size_t i = 0; i < l->n; i++)
		if (!l->items[i].dropped)
			write_item(to, &l->items[i]);
	out(to, end, sizeof end);
}

bool tar_gnu_reads(const struct item *it)
{
	for (size_t i = 0; it->sparse && i + 1 < it->n_segments; i++)
		if (it->segments[i].len % BLOCK)
			return false;
	if (it->form & F_RAW_ACL && (it->access.n || it->deflt.n))
		return false;
	if (it->sparse)
		return !(it->form & (F_PAX_SIZE | F_GNU_MAGIC));
	return !(it->form & F_PAX_SIZE && it->form & F_JUNK_HEADER);
}
