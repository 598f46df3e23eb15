/* The index of a tar: what GNU tar and bsdtar write is read back, and what no
 * filesystem can hold is refused. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/unit/test_tarscan_stand.h"

/* A temporary directory, removed with what is in it. */
static char dir[] = "/tmp/ck-tarscan-XXXXXX";

static void run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void run(const char *fmt, ...)
{
	char cmd[2000], full[2100];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(cmd, sizeof cmd, fmt, ap);
	va_end(ap);
	snprintf(full, sizeof full, "cd %s && (%s)", dir, cmd);
	if (system(full) != 0)
		fail_msg("failed: %s", cmd);
}

static int setup(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	run("rm -rf %s", dir);
	return 0;
}

static void read_tar(struct ck_buf *out)
{
	char path[64];
	struct ck_err err = { 0 };
	snprintf(path, sizeof path, "%s/t.tar", dir);
	out->max = 64 << 20;
	assert_works(ck_file_read(out, path, &err), &err);
}

/* The file rebuilt from its extents is the file. */
static void check_content(const struct ck_index *x, const struct ck_buf *tar, const char *path)
{
	const struct ck_entry *e = entry(x, path);
	CK_BUF want = { .max = 64 << 20 };
	struct ck_err err = { 0 };
	char full[600];
	uint8_t *got = calloc(1, e->size + 1);
	snprintf(full, sizeof full, "%s/%s", dir, path);
	assert_works(ck_file_read(&want, full, &err), &err);
	assert_int_equal(e->size, want.len);
	for (size_t i = 0; i < e->n_extents; i++) {
		const struct ck_extent *t = &x->extents[e->first_extent + i];
		assert_true(t->tar_off <= tar->len && t->len <= tar->len - t->tar_off);
		assert_true(t->file_off <= e->size && t->len <= e->size - t->file_off);
		memcpy(got + t->file_off, tar->data + t->tar_off, t->len);
	}
	if (want.len)
		assert_memory_equal(got, want.data, want.len);
	free(got);
}

static void test_sparse(void **state)
{
	static const struct {
		const char *tar;
		bool holes; /* the format records them */
	} rows[] = {
		{ "tar -S --format=gnu", true },
		{ "tar -S --format=oldgnu", true },
		{ "tar -S --format=pax --sparse-version=0.0", true },
		{ "tar -S --format=pax --sparse-version=0.1", true },
		{ "tar -S --format=pax --sparse-version=1.0", true },
		{ "bsdtar --format=pax", true },
		{ "tar --format=pax", false },
		{ "tar --format=ustar", false },
	};
	(void)state;
	/* Data at the start, in the middle and at the end; many segments; only a hole. */
	run("printf start > s; truncate -s 300K s; printf middle >> s; truncate -s 900K s; printf "
	    "end >> s; truncate -s 2M hole; printf x > plain; : > empty");
	run("for i in $(seq 60); do printf data$i | dd of=many bs=1 seek=$((i*8192)) conv=notrunc "
	    "status=none; done");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		CK_BUF tar = { 0 };
		struct ck_index x = { 0 };
		struct ck_err err = { 0 };
		run("%s -cf t.tar s hole plain empty many", rows[i].tar);
		read_tar(&tar);
		for (size_t most = 777; most < 10000000; most *= 100) {
			if (scan(&x, &tar, most, &err) < 0)
				fail_msg("%s: %s", rows[i].tar, err.msg);
			check_content(&x, &tar, "s");
			check_content(&x, &tar, "hole");
			check_content(&x, &tar, "plain");
			check_content(&x, &tar, "empty");
			check_content(&x, &tar, "many");
			if (rows[i].holes) {
				assert_int_equal(entry(&x, "hole")->n_extents, 0);
				assert_true(entry(&x, "many")->n_extents > 40);
			}
			ck_index_free(&x);
		}
	}
}

static void test_names(void **state)
{
	static const char *const formats[] = { "gnu", "pax" };
	/* NFD is composed of more characters than it seems, and stays so. */
	char deep[400] = "", odd[] = "caf\xe9\xff-\xc3\xa9", nfd[] = "e\xcc\x81t\xc3\xa9";
	(void)state;
	for (int i = 0; i < 30; i++)
		strcat(deep, "directory/");
	run("mkdir -p %s && echo deep > %sfile && echo odd > '%s' && echo utf > 'na\xc3\xafve'",
	    deep, deep, odd);
	run("ln -s %sfile longlink; ln -f %sfile hard", deep, deep);
	run("echo nfd > '%s' && ln -s '%s' nfdlink", nfd, nfd);
	strcat(deep, "file");
	for (size_t i = 0; i < 2; i++) {
		CK_BUF tar = { 0 };
		struct ck_index x = { 0 };
		struct ck_err err = { 0 };
		run("tar --format=%s --sort=name -cf t.tar ./directory ./'%s' ./na* longlink hard "
		    "'%s' nfdlink",
		    formats[i], odd, nfd);
		read_tar(&tar);
		assert_works(scan(&x, &tar, 5000, &err), &err);
		check_content(&x, &tar, deep);
		check_content(&x, &tar, odd);
		check_content(&x, &tar, "na\xc3\xafve");
		check_content(&x, &tar, nfd);
		assert_string_equal(ck_index_bytes(&x, entry(&x, "nfdlink")->link), nfd);
		assert_string_equal(ck_index_bytes(&x, entry(&x, "longlink")->link), deep);
		assert_int_equal(entry(&x, "hard")->kind, CK_ENTRY_HARDLINK);
		assert_string_equal(ck_index_bytes(&x, entry(&x, "hard")->link), deep);
		/* Sorted by bytes. */
		for (size_t k = 1; k < x.n_entries; k++)
			assert_true(strcmp(ck_index_bytes(&x, x.entries[k - 1].path),
					   ck_index_bytes(&x, x.entries[k].path)) < 0);
		ck_index_free(&x);
	}
}

static void test_attributes(void **state)
{
	static const char *const tars[] = { "tar --format=pax --xattrs --xattrs-include='*' --acls",
					    "bsdtar --format=pax --xattrs --acls" };
	(void)state;
	run("mkdir -p a; cd a; echo x > f; touch -d '2001-02-03 04:05:06.789012345' "
	    "f; "
	    "chown 3000000:1234 f; chmod 6751 f; setfattr -n user.k -v v1 f; setfattr -n "
	    "user.empty f; mknod c c "
	    "5 "
	    "300; mknod b b 259 70000; mkfifo p; mkdir -m 1777 sticky; touch -d '1960-01-01 UTC' "
	    "old; "
	    "ln -s ../odd/./target l");
	run("cp /bin/true a/cap && setcap cap_net_raw+ep a/cap");
	for (size_t i = 0; i < 2; i++) {
		CK_BUF tar = { 0 };
		struct ck_index x = { 0 };
		struct ck_err err = { 0 };
		run("%s -cf t.tar a", tars[i]);
		read_tar(&tar);
		assert_works(scan(&x, &tar, 1 << 20, &err), &err);
		const struct ck_entry *f = entry(&x, "a/f");
		assert_int_equal(f->mode, S_IFREG | 06751);
		assert_int_equal(f->uid, 3000000);
		assert_int_equal(f->gid, 1234);
		assert_int_equal(f->mtime_ns, 789012345);
		assert_int_equal(f->n_xattrs, 2); /* bsdtar's two spellings are one */
		for (size_t k = 0; k < 2; k++) {
			const struct ck_xattr *a = &x.xattrs[f->first_xattr + k];
			bool empty = strcmp(ck_index_bytes(&x, a->name), "user.empty") == 0;
			assert_string_equal(ck_index_bytes(&x, a->value), empty ? "" : "v1");
		}
		const struct ck_entry *cap = entry(&x, "a/cap");
		assert_int_equal(cap->n_xattrs, 1);
		assert_string_equal(ck_index_bytes(&x, x.xattrs[cap->first_xattr].name),
				    "security.capability");
		assert_int_equal(entry(&x, "a/c")->mode & S_IFMT, S_IFCHR);
		assert_int_equal(entry(&x, "a/c")->rdev_major, 5);
		assert_int_equal(entry(&x, "a/c")->rdev_minor, 300);
		assert_int_equal(entry(&x, "a/b")->rdev_major, 259);
		assert_int_equal(entry(&x, "a/b")->rdev_minor, 70000);
		assert_int_equal(entry(&x, "a/p")->mode & S_IFMT, S_IFIFO);
		assert_int_equal(entry(&x, "a/sticky")->mode, S_IFDIR | 01777);
		assert_int_equal(entry(&x, "a/old")->mtime_s, -315619200);
		assert_string_equal(ck_index_bytes(&x, entry(&x, "a/l")->link), "../odd/./target");
		ck_index_free(&x);
	}
}

static la_ssize_t to_buf(struct archive *a, void *ctx, const void *p, size_t n)
{
	(void)a;
	return ck_buf_add(ctx, p, n, NULL) == 0 ? (la_ssize_t)n : -1;
}

/* An ACL comes back as the value that the kernel takes (linux/posix_acl_xattr.h). */
static void test_acl(void **state)
{
	static const uint8_t want[] = {
		2,    0, 0, 0,			    /* version */
		0x01, 0, 6, 0, 255,  255, 255, 255, /* user::rw- */
		0x02, 0, 4, 0, 0xe8, 3,	  0,   0,   /* user:1000:r-- */
		0x04, 0, 5, 0, 255,  255, 255, 255, /* group::r-x */
		0x10, 0, 5, 0, 255,  255, 255, 255, /* mask::r-x */
		0x20, 0, 0, 0, 255,  255, 255, 255, /* other::--- */
	};
	CK_BUF tar = { 0 };
	struct ck_index x = { 0 };
	struct ck_err err = { 0 };
	struct archive *a = archive_write_new();
	struct archive_entry *e = archive_entry_new();
	const int type = ARCHIVE_ENTRY_ACL_TYPE_ACCESS;
	(void)state;
	archive_write_set_format_pax(a);
	assert_int_equal(archive_write_open(a, &tar, NULL, to_buf, NULL), ARCHIVE_OK);
	archive_entry_set_pathname(e, "g");
	archive_entry_set_filetype(e, AE_IFREG);
	archive_entry_set_perm(e, 0650);
	archive_entry_acl_add_entry(e, type, 6, ARCHIVE_ENTRY_ACL_USER_OBJ, -1, "");
	archive_entry_acl_add_entry(e, type, 4, ARCHIVE_ENTRY_ACL_USER, 1000, "u");
	archive_entry_acl_add_entry(e, type, 5, ARCHIVE_ENTRY_ACL_GROUP_OBJ, -1, "");
	archive_entry_acl_add_entry(e, type, 5, ARCHIVE_ENTRY_ACL_MASK, -1, "");
	archive_entry_acl_add_entry(e, type, 0, ARCHIVE_ENTRY_ACL_OTHER, -1, "");
	assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
	archive_write_close(a);
	archive_entry_free(e);
	archive_write_free(a);
	assert_works(scan(&x, &tar, 1 << 20, &err), &err);
	const struct ck_entry *g = entry(&x, "g");
	assert_int_equal(g->n_xattrs, 1);
	const struct ck_xattr *t = &x.xattrs[g->first_xattr];
	assert_string_equal(ck_index_bytes(&x, t->name), "system.posix_acl_access");
	assert_int_equal(t->value.len, sizeof want);
	assert_memory_equal(ck_index_bytes(&x, t->value), want, sizeof want);
	ck_index_free(&x);
}

static void test_refused(void **state)
{
	(void)state;
	struct ck_index x = { 0 };
	struct ck_err err = { 0 };
	CK_BUF junk = { 0 };
	for (int i = 0; i < 2000; i++)
		assert_works(ck_buf_addf(&junk, &err, "no tar %d ", i), &err);
	assert_fails(scan(&x, &junk, 5000, &err), -EBADMSG, &err, "not a well-formed tar");
	/* Cut anywhere inside an entry. */
	run("head -c 5000 /dev/zero > f; tar --format=pax -cf t.tar f");
	CK_BUF tar = { 0 };
	read_tar(&tar);
	assert_works(scan(&x, &tar, 512, &err), &err);
	const size_t data_end = (size_t)x.extents[0].tar_off + 5000;
	ck_index_free(&x);
	for (size_t len = 100; len < data_end; len += 61) {
		CK_BUF cut = { 0 };
		assert_works(ck_buf_add(&cut, tar.data, len, &err), &err);
		assert_fails(scan(&x, &cut, 512, &err), -EBADMSG, &err, "tar");
	}
	CK_BUF last = { 0 };
	assert_works(ck_buf_add(&last, tar.data, data_end - 1, &err), &err);
	assert_fails(scan(&x, &last, 512, &err), -EBADMSG, &err, "truncated inside");
	/* Padding and end marks may be missing: umoci insert writes neither. */
	for (size_t len = data_end; len <= tar.len; len += 117) {
		CK_BUF cut = { 0 };
		assert_works(ck_buf_add(&cut, tar.data, len, &err), &err);
		assert_works(scan(&x, &cut, 512, &err), &err);
		assert_int_equal(x.n_entries, 1);
		check_content(&x, &cut, "f");
		ck_index_free(&x);
	}
}

/* A record "LENGTH KEY=VALUE\n" of a pax header. */
static void add_record(struct ck_buf *b, const char *key, const char *value)
{
	size_t n = strlen(key) + strlen(value) + 3, digits = 1;

	while (snprintf(NULL, 0, "%zu", n + digits) > (int)digits)
		digits++;
	assert_int_equal(ck_buf_addf(b, NULL, "%zu %s=%s\n", n + digits, key, value), 0);
}

/* A header of ustar and its data, padded. */
static void add_member(struct ck_buf *tar, char type, const char *name, const void *data,
		       size_t len)
{
	static const char zeros[512];
	char h[512] = "";
	unsigned sum = 0;

	snprintf(h, 100, "%s", name);
	snprintf(h + 100, 8, "0000644");
	snprintf(h + 108, 8, "0000000");
	snprintf(h + 116, 8, "0000000");
	snprintf(h + 124, 12, "%011zo", len);
	snprintf(h + 136, 12, "%011o", 0);
	memset(h + 148, ' ', 8);
	h[156] = type;
	memcpy(h + 257, "ustar\00000", 8);
	for (size_t i = 0; i < sizeof h; i++)
		sum += (unsigned char)h[i];
	snprintf(h + 148, 8, "%06o", sum);
	assert_int_equal(ck_buf_add(tar, h, sizeof h, NULL), 0);
	assert_int_equal(ck_buf_add(tar, data, len, NULL), 0);
	assert_int_equal(ck_buf_add(tar, zeros, (512 - len % 512) % 512, NULL), 0);
}

static void test_sparse_claims(void **state)
{
	static const struct {
		const char *map; /* number of extents, then offset and length of each */
		bool good;
	} rows[] = {
		{ "1\n100\n512\n", true },
		{ "1\n100\n900\n", false }, /* 512 are there */
		{ "0\n", false },	    /* none: libarchive takes it for the whole file */
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		CK_BUF tar = { 0 }, pax = { 0 };
		struct ck_index x = { 0 };
		struct ck_err err = { 0 };
		char body[1024] = "";
		add_record(&pax, "GNU.sparse.major", "1");
		add_record(&pax, "GNU.sparse.minor", "0");
		add_record(&pax, "GNU.sparse.name", "sparse");
		add_record(&pax, "GNU.sparse.realsize", "1000");
		add_member(&tar, 'x', "pax", pax.data, pax.len);
		strcpy(body, rows[i].map);
		add_member(&tar, '0', "sparse", body, sizeof body);
		add_member(&tar, '0', "next", "next", 4);
		int rc = scan(&x, &tar, 1 << 20, &err);
		if (rows[i].good)
			assert_works(rc, &err);
		else
			assert_fails(rc, -EBADMSG, &err, "claims bytes of what follows");
		ck_index_free(&x);
	}
}

static void test_long_path(void **state)
{
	(void)state;
	for (size_t len = 4095; len <= 4096; len++) {
		CK_BUF tar = { 0 }, pax = { 0 };
		struct ck_index x = { 0 };
		struct ck_err err = { 0 };
		char path[5000] = "";
		for (size_t i = 0; i < len; i++)
			path[i] = i % 2 ? '/' : 'a';
		add_record(&pax, "path", path);
		add_member(&tar, 'x', "pax", pax.data, pax.len);
		add_member(&tar, '0', "file", "", 0);
		int rc = scan(&x, &tar, 1 << 20, &err);
		if (len == 4095)
			assert_works(rc, &err);
		else
			assert_fails(rc, -EBADMSG, &err, "a path of 4096 bytes");
		ck_index_free(&x);
	}
}

/* The index stays below a bound that no blob can move. */
static void test_bound(void **state)
{
	CK_AUTO(ck_index_builder_freep) struct ck_index_builder *b = NULL;
	struct ck_err err = { 0 };
	struct ck_span s;
	(void)state;
	assert_works(ck_index_builder_new(&b, &err), &err);
	assert_works(ck_index_add_bytes(b, "a", 1, &s, &err), &err);
	assert_fails(ck_index_add_bytes(b, "a", 1 << 30, &s, &err), -EFBIG, &err, "1024 MiB");
}

/* Paths as they are kept. */
static void test_clean_paths(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{ "a", "a" },
		{ "./a//b/", "a/b" },
		{ "/etc/passwd", "etc/passwd" },
		{ "../../x", "x" },
		{ "a/../../b", "b" },
		{ "a/b/../c", "a/c" },
		{ ".", "" },
		{ "/", "" },
		{ "./", "" },
		{ "..a/...", "..a/..." },
	};
	CK_AUTO(ck_index_builder_freep) struct ck_index_builder *b = NULL;
	struct ck_err err = { 0 };
	struct ck_index x = { 0 };
	(void)state;
	assert_works(ck_index_builder_new(&b, &err), &err);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct ck_entry e = { 0 };
		assert_works(ck_index_add_path(b, rows[i].in, &e.path, &err), &err);
		assert_works(ck_index_add_bytes(b, rows[i].out, strlen(rows[i].out), &e.link, &err),
			     &err);
		assert_works(ck_index_add_entry(b, &e, &err), &err);
	}
	ck_index_finish(b, &x);
	for (size_t i = 0; i < x.n_entries; i++)
		assert_string_equal(ck_index_bytes(&x, x.entries[i].path),
				    ck_index_bytes(&x, x.entries[i].link));
	ck_index_free(&x);
}

static void test_extents(void **state)
{
	static const struct {
		const char *why;
		struct ck_extent a, b;
		bool good;
	} rows[] = {
		{ "in order, with a hole", { 0, 512, 10 }, { 20, 522, 10 }, true },
		{ "touching", { 0, 512, 10 }, { 10, 522, 10 }, true },
		{ "overlapping", { 0, 512, 10 }, { 9, 522, 10 }, false },
		{ "backwards", { 100, 512, 10 }, { 0, 522, 10 }, false },
		{ "past 2^63", { 0, 512, 10 }, { INT64_MAX - 5, 522, 10 }, false },
		{ "wrapping", { 0, 512, 10 }, { 20, 522, UINT64_MAX - 10 }, false },
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		CK_AUTO(ck_index_builder_freep) struct ck_index_builder *b = NULL;
		struct ck_err err = { 0 };
		assert_works(ck_index_builder_new(&b, &err), &err);
		assert_works(ck_index_add_extent(b, &rows[i].a, &err), &err);
		int rc = ck_index_add_extent(b, &rows[i].b, &err);
		if ((rc == 0) != rows[i].good)
			fail_msg("%s: %d", rows[i].why, rc);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sparse),	   cmocka_unit_test(test_names),
		cmocka_unit_test(test_attributes), cmocka_unit_test(test_acl),
		cmocka_unit_test(test_refused),	   cmocka_unit_test(test_clean_paths),
		cmocka_unit_test(test_extents),	   cmocka_unit_test(test_sparse_claims),
		cmocka_unit_test(test_long_path),  cmocka_unit_test(test_bound),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
