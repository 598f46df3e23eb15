/* Tars made by hand, byte by byte: what extended headers say of times, links and access lists, and
 * headers of every size. */
#include <errno.h>
#include <sys/stat.h>

#include "tests/unit/test_tarscan_stand.h"

/* A block as POSIX.1 has it, with what this test's tars need. */
static void put_header(struct ck_buf *tar, char type, const char *name, size_t size)
{
	char h[512] = { 0 };
	unsigned sum = 0;

	snprintf(h, 100, "%s", name);
	memcpy(h + 100,
	       "0000640\0"
	       "0000001\0"
	       "0000002\0",
	       24);
	snprintf(h + 124, 12, "%011zo", size);
	memcpy(h + 136,
	       "00000000007\0"
	       "        ",
	       20);
	h[156] = type;
	memcpy(h + 257,
	       "ustar\0"
	       "00",
	       8);
	for (size_t i = 0; i < sizeof h; i++)
		sum += (unsigned char)h[i];
	snprintf(h + 148, 8, "%06o", sum);
	assert_int_equal(ck_buf_add(tar, h, sizeof h, NULL), 0);
}

static void put_data(struct ck_buf *tar, const void *p, size_t nbytes)
{
	static const char zeros[512];

	assert_int_equal(ck_buf_add(tar, p, nbytes, NULL), 0);
	assert_int_equal(ck_buf_add(tar, zeros, (512 - nbytes % 512) % 512, NULL), 0);
}

struct record {
	const char *key, *value;
	size_t len; /* of the value; 0: as a string */
};

static void put_record(struct ck_buf *records, const struct record *r)
{
	size_t len = r->len ? r->len : strlen(r->value), rest = strlen(r->key) + len + 3;
	size_t total = rest;

	for (int i = 0; i < 3; i++) /* its own digits count */
		total = rest + (size_t)snprintf(NULL, 0, "%zu", total);
	assert_int_equal(ck_buf_addf(records, NULL, "%zu %s=", total, r->key), 0);
	assert_int_equal(ck_buf_add(records, r->value, len, NULL), 0);
	assert_int_equal(ck_buf_adds(records, "\n", NULL), 0);
}

static void put_records(struct ck_buf *tar, char type, const struct record *r, size_t n)
{
	CK_BUF records = { 0 };

	for (size_t i = 0; i < n; i++)
		put_record(&records, &r[i]);
	put_header(tar, type, "records", records.len);
	put_data(tar, records.data, records.len);
}

static void put_entry(struct ck_buf *tar, char type, const char *name, const struct record *r,
		      size_t n)
{
	if (n)
		put_records(tar, 'x', r, n);
	put_header(tar, type, name, 0);
}

static void put_end(struct ck_buf *tar)
{
	static const char zeros[1024];

	put_data(tar, zeros, sizeof zeros);
}

static void test_times(void **state)
{
	static const struct {
		const char *text;
		int64_t s;
		uint32_t ns;
	} want[] = {
		{ "1700000000.123456789", 1700000000, 123456789 },
		{ "12", 12, 0 },
		{ "-1.25", -2, 750000000 },
		{ "-2", -2, 0 },
		{ "-0.5", -1, 500000000 },
		{ "-0.000000001", -1, 999999999 },
		{ "0.5", 0, 500000000 },
		{ "3.1234567899", 3, 123456789 },
		{ "-315619200.000000001", -315619201, 999999999 },
	};
	enum { N = sizeof want / sizeof *want };
	CK_BUF tar = { 0 };
	(void)state;
	for (size_t i = 0; i < N; i++) {
		const struct record r[] = { { "mtime", want[i].text, 0 } };
		put_entry(&tar, '0', want[i].text, r, 1);
	}
	const struct record before[] = { { "mtime", "-1.5", 0 } };
	put_header(&tar, 'L', "L", sizeof "long");
	put_data(&tar, "long", sizeof "long");
	put_records(&tar, 'x', before, 1);
	put_header(&tar, '0', "short", 0);
	put_records(&tar, 'g', before, 1); /* of no entry */
	put_entry(&tar, '0', "none", NULL, 0);
	put_end(&tar);
	/* However the stream comes: a header may lie across its blocks. */
	for (size_t most = 100; most <= tar.len; most += 517) {
		struct ck_index x = { 0 };
		struct ck_err err = { 0 };
		assert_works(scan(&x, &tar, most, &err), &err);
		for (size_t i = 0; i < N; i++) {
			const struct ck_entry *e = entry(&x, want[i].text);
			assert_int_equal(e->mtime_s, want[i].s);
			assert_int_equal(e->mtime_ns, want[i].ns);
		}
		assert_int_equal(entry(&x, "none")->mtime_s, 7);
		assert_int_equal(entry(&x, "long")->mtime_s, -2);
		ck_index_free(&x);
	}
}

/* A link whose target stands in a record alone, as Go writes what ustar cannot hold. */
static void test_pax_links(void **state)
{
	CK_BUF tar = { 0 };
	struct ck_index x = { 0 };
	struct ck_err err = { 0 };
	char deep[600];
	(void)state;
	memset(deep, 'd', sizeof deep);
	deep[sizeof deep - 1] = 0;
	const struct record sym[] = { { "comment", "linkpath=no", 0 },
				      { "linkpath", "\xff/./../t", 0 } };
	const struct record far[] = { { "linkpath", deep, 0 } };
	const struct record hard[] = { { "linkpath", "./d//file", 0 } };
	put_entry(&tar, '0', "d/file", NULL, 0);
	put_entry(&tar, '1', "first", hard, 1);
	put_entry(&tar, '2', "sym", sym, 2);
	put_entry(&tar, '2', "far", far, 1);
	put_entry(&tar, '1', "hard", hard, 1);
	put_end(&tar);
	assert_works(scan(&x, &tar, 1000, &err), &err);
	assert_string_equal(ck_index_bytes(&x, entry(&x, "sym")->link), "\xff/./../t");
	assert_true(S_ISLNK(entry(&x, "sym")->mode));
	assert_string_equal(ck_index_bytes(&x, entry(&x, "far")->link), deep);
	assert_int_equal(entry(&x, "hard")->kind, CK_ENTRY_HARDLINK);
	assert_string_equal(ck_index_bytes(&x, entry(&x, "hard")->link), "d/file");
	assert_int_equal(entry(&x, "first")->kind, CK_ENTRY_HARDLINK);
	assert_string_equal(ck_index_bytes(&x, entry(&x, "first")->link), "d/file");
	ck_index_free(&x);
}

static void test_nul_in_link(void **state)
{
	const struct record r[] = { { "linkpath", "a\0b", 3 } };
	struct ck_index x = { 0 };
	struct ck_err err = { 0 };
	CK_BUF tar = { 0 };
	(void)state;
	put_entry(&tar, '2', "l", r, 1);
	put_end(&tar);
	assert_fails(scan(&x, &tar, 512, &err), -EBADMSG, &err, "NUL in a link");
}

/* Headers of megabytes, in small blocks; and more than anybody needs. */
static void test_large_headers(void **state)
{
	enum { COMMENT = 1000000, MOST = 4 };
	char *comment = malloc(COMMENT + 1);
	(void)state;
	assert_non_null(comment);
	memset(comment, 'c', COMMENT);
	comment[COMMENT] = 0;
	for (int n = MOST; n <= MOST + 1; n++) {
		CK_BUF tar = { 0 };
		struct ck_index x = { 0 };
		struct ck_err err = { 0 };
		const struct record r[] = { { "mtime", "-0.5", 0 }, { "comment", comment, 0 } };
		put_entry(&tar, '0', "first", NULL, 0);
		for (int i = 0; i < n; i++)
			put_records(&tar, 'x', &r[i > 0], i == 0 ? 2 : 1);
		put_header(&tar, '0', "f", 0);
		for (int i = 0; i < 10000; i++) /* megabytes of them, and none has any data */
			put_header(&tar, '0', "empty", 0);
		put_end(&tar);
		int rc = scan(&x, &tar, 65500, &err);
		if (n > MOST) {
			assert_fails(rc, -EBADMSG, &err, "headers of more than 4194304 bytes");
			continue;
		}
		assert_works(rc, &err);
		assert_int_equal(entry(&x, "f")->mtime_s, -1);
		ck_index_free(&x);
	}
	free(comment);
}

#define ACL_HEAD	   "\2\0\0\0"
#define ACL(tag, perm, id) tag "\0" perm "\0" id
#define NO_ID		   "\xff\xff\xff\xff"

/* A mode's bits follow the list, as setxattr(2) has it; what the kernel refuses is refused. */
static void test_acl_modes(void **state)
{
	static const char u[] = "user::rw-,user:7:r--,group::rwx,mask::r--,other::---";
	static const char raw[] = ACL_HEAD ACL("\1", "\7", NO_ID) ACL("\2", "\6", "\7\0\0\0")
	    ACL("\4", "\7", NO_ID) ACL("\x10", "\5", NO_ID) ACL("\x20", "\1", NO_ID);
	static const char same[] =
	    ACL_HEAD ACL("\1", "\6", NO_ID) ACL("\4", "\4", NO_ID) ACL("\x20", "\4", NO_ID);
	static const char no_mask[] = ACL_HEAD ACL("\1", "\7", NO_ID) ACL("\2", "\6", "\7\0\0\0")
	    ACL("\4", "\7", NO_ID) ACL("\x20", "\1", NO_ID);
	static const char no_other[] = ACL_HEAD ACL("\1", "\7", NO_ID) ACL("\4", "\7", NO_ID);
	static const char order[] =
	    ACL_HEAD ACL("\4", "\6", NO_ID) ACL("\1", "\4", NO_ID) ACL("\x20", "\4", NO_ID);
	static const char twice[] = ACL_HEAD ACL("\1", "\6", NO_ID) ACL("\4", "\6", NO_ID)
	    ACL("\4", "\4", NO_ID) ACL("\x20", "\4", NO_ID);
	static const char perm[] =
	    ACL_HEAD ACL("\1", "\x0f", NO_ID) ACL("\4", "\4", NO_ID) ACL("\x20", "\4", NO_ID);
	static const char tag[] = ACL_HEAD ACL("\1", "\6", NO_ID) ACL("\4", "\4", NO_ID)
	    ACL("\x20", "\4", NO_ID) ACL("\x40", "\4", NO_ID);
	static const char version[] = "\3\0\0\0";
	static const char key[] = "SCHILY.xattr.system.posix_acl_access";
	static const struct {
		struct record r;
		char type;
		mode_t mode; /* 0: refused */
		unsigned n_xattrs;
	} want[] = {
		{ { "SCHILY.acl.access", u, 0 }, '0', S_IFREG | 0640, 1 },
		{ { "SCHILY.acl.default", u, 0 }, '5', S_IFDIR | 0640, 1 },
		{ { key, raw, sizeof raw - 1 }, '0', S_IFREG | 0751, 1 },
		{ { key, raw, sizeof raw - 1 }, '2', S_IFLNK | 0640, 0 },
		{ { key, same, sizeof same - 1 }, '0', S_IFREG | 0644, 0 },
		{ { key, raw, 4 }, '0', S_IFREG | 0640, 0 },
		{ { key, raw, sizeof raw - 2 }, '0', 0, 0 },
		{ { key, raw, 3 }, '0', 0, 0 },
		{ { key, no_mask, sizeof no_mask - 1 }, '0', 0, 0 },
		{ { key, no_other, sizeof no_other - 1 }, '0', 0, 0 },
		{ { key, order, sizeof order - 1 }, '0', 0, 0 },
		{ { key, twice, sizeof twice - 1 }, '0', 0, 0 },
		{ { key, perm, sizeof perm - 1 }, '0', 0, 0 },
		{ { key, tag, sizeof tag - 1 }, '0', 0, 0 },
		{ { key, version, sizeof version - 1 }, '0', 0, 0 },
		{ { "SCHILY.acl.access",
		    "user::rw-,user:4294967290:rwx,group::r--,mask::rwx,other::---", 0 },
		  '0',
		  0,
		  0 },
	};
	(void)state;
	for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
		struct record r[] = { want[i].r, { "linkpath", "t", 0 } };
		struct ck_index x = { 0 };
		struct ck_err err = { 0 };
		CK_BUF tar = { 0 };
		put_entry(&tar, want[i].type, "e", r, 2);
		put_end(&tar);
		int rc = scan(&x, &tar, 1 << 20, &err);
		if (!want[i].mode) {
			assert_int_equal(rc, -EBADMSG);
			assert_non_null(strstr(err.msg, "access control list"));
			continue;
		}
		assert_works(rc, &err);
		if (entry(&x, "e")->mode != want[i].mode ||
		    entry(&x, "e")->n_xattrs != want[i].n_xattrs)
			fail_msg("case %zu: mode %o, %u attributes", i, entry(&x, "e")->mode,
				 entry(&x, "e")->n_xattrs);
		ck_index_free(&x);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_times),	    cmocka_unit_test(test_pax_links),
		cmocka_unit_test(test_nul_in_link), cmocka_unit_test(test_large_headers),
		cmocka_unit_test(test_acl_modes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
