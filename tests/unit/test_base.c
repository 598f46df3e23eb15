/* The ground: errors, buffers, base64, hex, JSON, cursors, readers, files. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cursor.h"
#include "base/file.h"
#include "base/json.h"
#include "base/reader.h"
#include "base/secret.h"
#include "base/size.h"
#include "tests/unit/lib/unit.h"

static void test_err(void **state)
{
	struct ck_err err = { 0 };
	char long_text[2000];
	(void)state;
	assert_int_equal(ck_fail(&err, -EIO, "wanted %d more", 3), -EIO);
	assert_int_equal(ck_wrap(&err, "layer %s", "x"), -EIO);
	assert_string_equal(err.msg, "layer x: wanted 3 more");
	/* A name from an image cannot forge a log line. */
	(void)ck_fail(&err, -EIO, "%s", "a\nb\x1b[2J\x7f");
	assert_string_equal(err.msg, "a?b?[2J?");
	/* Nor drive a terminal: U+009B begins what ESC [ begins. */
	(void)ck_fail(&err, -EIO, "%s",
		      "a\xc2\x9b"
		      "2J \xc3\x9c\xc2\xa0\xc2");
	assert_string_equal(err.msg, "a??2J \xc3\x9c\xc2\xa0\xc2");
	memset(long_text, 'y', sizeof long_text);
	long_text[sizeof long_text - 1] = 0;
	(void)ck_fail(&err, -EIO, "%s", long_text);
	(void)ck_wrap(&err, "%s", long_text);
	assert_true(strlen(err.msg) < sizeof err.msg);
	assert_int_equal(ck_fail(NULL, -EPERM, "nobody listens"), -EPERM);
	assert_int_equal(ck_wrap(NULL, "nobody listens"), -EIO);
}

static void test_buf(void **state)
{
	CK_BUF b = { .max = 10 };
	struct ck_err err = { 0 };
	(void)state;
	assert_string_equal(ck_buf_str(&b), "");
	assert_works(ck_buf_adds(&b, "12345", &err), &err);
	assert_works(ck_buf_addf(&b, &err, "%d", 67890), &err);
	assert_string_equal(ck_buf_str(&b), "1234567890");
	assert_fails(ck_buf_adds(&b, "x", &err), -EFBIG, &err, "10 bytes");
	assert_int_equal(ck_buf_add(&b, NULL, SIZE_MAX, NULL), -EFBIG);
	assert_string_equal(ck_buf_str(&b), "1234567890");
}

/* RFC 4648 section 10, and what a strict decoder refuses. */
static void test_base64(void **state)
{
	static const char *const good[][2] = {
		{ "", "" },
		{ "f", "Zg==" },
		{ "fo", "Zm8=" },
		{ "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" },
		{ "fooba", "Zm9vYmE=" },
		{ "foobar", "Zm9vYmFy" },
	};
	static const struct {
		enum ck_b64 form;
		const char *why, *text;
	} bad[] = {
		{ CK_B64_STD, "padding is missing", "Zg" },
		{ CK_B64_STD, "one digit alone", "Z" },
		{ CK_B64_URL, "one digit alone", "Z" },
		{ CK_B64_STD, "white space", "Zm9v\n" },
		{ CK_B64_STD, "padding inside", "Zg==Zg==" },
		{ CK_B64_STD, "three padding signs", "Z===" },
		{ CK_B64_STD, "bits behind the last byte", "Zh==" },
		{ CK_B64_URL, "bits behind the last byte", "Zh" },
		{ CK_B64_STD, "the other alphabet", "-_-_" },
		{ CK_B64_URL, "the other alphabet", "+/+/" },
		{ CK_B64_URL_PAD, "half of the padding", "Zg=" },
	};
	struct ck_err err = { 0 };
	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		CK_BUF e = { 0 }, d = { 0 };
		size_t n = strlen(good[i][0]);
		assert_works(ck_b64_encode(&e, CK_B64_STD, good[i][0], n, &err), &err);
		assert_string_equal(ck_buf_str(&e), good[i][1]);
		assert_works(ck_b64_decode(&d, CK_B64_STD, good[i][1], strlen(good[i][1]), &err),
			     &err);
		assert_string_equal(ck_buf_str(&d), good[i][0]);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		CK_BUF d = { 0 };
		int rc = ck_b64_decode(&d, bad[i].form, bad[i].text, strlen(bad[i].text), &err);
		if (rc != -EBADMSG)
			fail_msg("%s: \"%s\" gave %d", bad[i].why, bad[i].text, rc);
	}
	CK_BUF url = { 0 }, back = { 0 };
	CK_SECRET secret = { 0 };
	const uint8_t high[] = { 0xfb, 0xff, 0xbf, 0xff };
	assert_works(ck_b64_encode(&url, CK_B64_URL, high, 4, &err), &err);
	assert_string_equal(ck_buf_str(&url), "-_-__w");
	assert_works(ck_b64_decode(&back, CK_B64_URL, "-_-__w==", 8, &err), &err);
	assert_memory_equal(back.data, high, 4);
	assert_works(ck_b64_decode_secret(&secret, CK_B64_URL, "-_-__w", 6, &err), &err);
	assert_int_equal(secret.len, 4);
	assert_memory_equal(secret.data, high, 4);
	/* A NUL inside is no digit. */
	assert_int_equal(ck_b64_decode(&back, CK_B64_STD, "Zm9\0", 4, NULL), -EBADMSG);
}

/* Nothing of a secret stays behind where its base64 turns out to be malformed. */
static void test_base64_wiped(void **state)
{
	CK_BUF b = { 0 };
	struct ck_err err = { 0 };
	(void)state;
	assert_works(ck_buf_adds(&b, "kept", &err), &err);
	assert_works(ck_buf_reserve(&b, 64, &err), &err);
	assert_int_equal(ck_b64_decode(&b, CK_B64_STD, "c2VjcmV0c2VjcmV0!A==", 20, &err), -EBADMSG);
	assert_string_equal(ck_buf_str(&b), "kept");
	for (size_t i = 4; i < 4 + 18; i++) /* all that may be decoded from 20 */
		assert_int_equal(b.data[i], 0);
}

static void test_digest(void **state)
{
	static const char abc[] = /* FIPS 180-4, SHA-256 of "abc" */
	    "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
	uint8_t d[32], p[32];
	char s[CK_DIGEST_STR];
	struct ck_err err = { 0 };
	(void)state;
	ck_sha256(d, "abc", 3);
	ck_digest_str(s, d);
	assert_string_equal(s, abc);
	assert_works(ck_digest_parse(p, abc, &err), &err);
	assert_memory_equal(p, d, 32);
	assert_int_equal(ck_digest_parse(p, "sha256:ab", &err), -EBADMSG);
	assert_int_equal(ck_digest_parse(p, "sha512:ab", &err), -EBADMSG);
	assert_int_equal(ck_digest_parse(p, "../../etc/passwd", &err), -EBADMSG);
	memcpy(s, abc, sizeof s);
	s[8] = 'A'; /* one spelling only: digests become file names */
	assert_int_equal(ck_digest_parse(p, s, &err), -EBADMSG);
}

static void test_json(void **state)
{
	static const struct {
		const char *why, *text;
	} bad[] = {
		{ "empty", "" },
		{ "cut", "{\"a\":" },
		{ "two meanings", "{\"a\":1,\"a\":2}" },
		{ "more behind it", "{} {}" },
		{ "not UTF-8", "{\"a\":\"\xff\"}" },
		{ "a NUL in a string", "{\"a\":\"\\u0000\"}" },
	};
	CK_JSON *j = NULL;
	struct ck_err err = { 0 };
	const char *s;
	uint64_t n = 7;
	bool yes = false;
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		json_t *none = NULL;
		int rc = ck_json_parse(&none, bad[i].text, strlen(bad[i].text), "it", &err);
		if (rc != -EBADMSG || none)
			fail_msg("%s: %d", bad[i].why, rc);
	}
	const char text[] =
	    "{\"s\":\"x\",\"n\":5,\"neg\":-1,\"b\":true,\"z\":null,\"o\":{},\"a\":[]}";
	assert_works(ck_json_parse(&j, text, strlen(text), "it", &err), &err);
	assert_works(ck_json_str(&s, j, "s", true, &err), &err);
	assert_string_equal(s, "x");
	assert_works(ck_json_str(&s, j, "z", false, &err), &err);
	assert_null(s);
	assert_fails(ck_json_str(&s, j, "z", true, &err), -EBADMSG, &err, "missing");
	assert_fails(ck_json_str(&s, j, "n", true, &err), -EBADMSG, &err, "not a string");
	assert_works(ck_json_u64(&n, j, "n", true, &err), &err);
	assert_int_equal(n, 5);
	assert_int_equal(ck_json_u64(&n, j, "neg", true, &err), -EBADMSG);
	assert_works(ck_json_bool(&yes, j, "b", true, &err), &err);
	assert_true(yes);
	json_t *o;
	assert_works(ck_json_obj(&o, j, "o", true, &err), &err);
	assert_int_equal(ck_json_obj(&o, j, "a", true, &err), -EBADMSG);
	assert_works(ck_json_arr(&o, j, "a", true, &err), &err);
	static const char *const allowed[] = { "s", "n", "neg", "b", "z", "o", NULL };
	assert_fails(ck_json_only(j, allowed, "it", &err), -EINVAL, &err, "\"a\"");
}

static void test_cursor(void **state)
{
	static const uint8_t raw[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13 };
	struct ck_cursor c = ck_cursor(raw, sizeof raw);
	uint8_t b;
	uint16_t h;
	uint32_t w;
	uint64_t q;
	const uint8_t *p;
	(void)state;
	assert_true(ck_cursor_u8(&c, &b) && b == 1);
	assert_true(ck_cursor_le16(&c, &h) && h == 0x0302);
	assert_true(ck_cursor_be32(&c, &w) && w == 0x04050607);
	assert_false(ck_cursor_le64(&c, &q));
	assert_int_equal(c.left, 6); /* a getter that fails moves nothing */
	assert_false(ck_cursor_take(&c, SIZE_MAX, &p));
	assert_true(ck_cursor_take(&c, 6, &p) && p == raw + 7);
	assert_false(ck_cursor_u8(&c, &b));
}

/* A backend that gives little at a time, and fails at a chosen call. */
struct faulty {
	const char *text;
	size_t len, most;
	int calls, fail_at;
};

static ssize_t faulty_pread(void *ctx, void *buf, size_t nbytes, uint64_t off, struct ck_err *err)
{
	struct faulty *f = ctx;

	if (++f->calls == f->fail_at)
		return ck_fail(err, -ENETDOWN, "the cable is out");
	if (f->calls % 3 == 0)
		return -EINTR;
	if (off >= f->len)
		return 0;
	size_t n = nbytes < f->most ? nbytes : f->most;
	n = n < f->len - off ? n : (size_t)(f->len - off);
	memcpy(buf, f->text + off, n);
	return (ssize_t)n;
}

static int read_all(struct faulty *f, uint64_t len, char *buf, struct ck_err *err)
{
	static const struct ck_reader_ops ops = { .pread = faulty_pread };
	CK_AUTO(ck_reader_closep) struct ck_reader *r = NULL;
	int rc = ck_reader_open(&r, &ops, f, len, err);

	return rc < 0 ? rc : ck_reader_pread(r, buf, (size_t)len, 0, err);
}

static void test_reader(void **state)
{
	char buf[16];
	struct ck_err err = { 0 };
	(void)state;
	for (int at = 1;; at++) {
		struct faulty f = { "0123456789", 10, 3, 0, at };
		int rc = read_all(&f, 10, buf, &err);
		if (f.calls < at) { /* ran past the end: clean */
			assert_int_equal(rc, 0);
			assert_memory_equal(buf, "0123456789", 10);
			break;
		}
		assert_fails(rc, -ENETDOWN, &err, "cable");
	}
	/* Data shorter than promised is EIO, never a short file. */
	struct faulty cut = { "0123456", 7, 3, 0, 0 };
	assert_fails(read_all(&cut, 10, buf, &err), -EIO, &err,
		     "truncated: wanted 3 more bytes at 7");
	struct ck_reader *r = NULL;
	assert_works(ck_reader_open_mem(&r, "abc", 3, &err), &err);
	assert_int_equal(ck_reader_pread(r, buf, 1, 3, &err), -EINVAL);
	assert_int_equal(ck_reader_pread(r, buf, 2, 2, &err), -EINVAL);
	assert_int_equal(ck_reader_pread(r, buf, SIZE_MAX, 1, &err), -EINVAL);
	assert_int_equal(ck_reader_pread(r, buf, 1, UINT64_MAX, &err), -EINVAL);
	assert_works(ck_reader_pread(r, buf, 0, 3, &err), &err);
	assert_int_equal(ck_reader_n_read(r), 0);
	assert_works(ck_reader_pread(r, buf, 2, 1, &err), &err);
	assert_works(ck_reader_pread(r, buf, 3, 0, &err), &err);
	assert_int_equal(ck_reader_n_read(r), 5);
	ck_reader_close(r);
	static const struct ck_reader_ops none = { .pread = faulty_pread };
	assert_int_equal(ck_reader_open(&r, &none, NULL, (uint64_t)INT64_MAX + 1, &err), -EINVAL);
}

static void test_files(void **state)
{
	char dir[] = "/tmp/ck-base-XXXXXX", path[64], fifo[64];
	struct ck_err err = { 0 };
	struct ck_reader *r = NULL;
	struct stat st;
	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/f", dir);
	snprintf(fifo, sizeof fifo, "%s/p", dir);
	assert_works(ck_file_write(path, "hello", 5, 0600, &err), &err);
	assert_works(ck_file_write(path, "hello again", 11, 0640, &err), &err);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	CK_BUF exact = { .max = 11 }, small = { .max = 10 };
	assert_works(ck_file_read(&exact, path, &err), &err);
	assert_string_equal(ck_buf_str(&exact), "hello again");
	assert_fails(ck_file_read(&small, path, &err), -EFBIG, &err, "more than 10 bytes");
	assert_fails(ck_file_read(&small, "/no/such/file", &err), -ENOENT, &err, "/no/such/file");
	/* A link, such as /dev/stdout, stays; so does a device. */
	assert_int_equal(symlink("f", fifo), 0);
	assert_works(ck_file_write(fifo, "linked", 6, 0600, &err), &err);
	assert_true(lstat(fifo, &st) == 0 && S_ISLNK(st.st_mode));
	ck_buf_free(&exact);
	assert_works(ck_file_read(&exact, path, &err), &err);
	assert_string_equal(ck_buf_str(&exact), "linked");
	unlink(fifo);
	assert_int_equal(symlink("/dev/null", fifo), 0);
	assert_works(ck_file_write(fifo, "gone", 4, 0600, &err), &err);
	assert_true(stat(fifo, &st) == 0 && S_ISCHR(st.st_mode));
	unlink(fifo);
	/* A failed write leaves nothing beside. */
	assert_int_equal(ck_file_write("/proc/no", "x", 1, 0600, &err) < 0, 1);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(ck_reader_open_file(&r, AT_FDCWD, fifo, &err), -EINVAL); /* and no hang */
	assert_int_equal(ck_reader_open_file(&r, AT_FDCWD, dir, &err), -EINVAL);
	unlink(path);
	unlink(fifo);
	assert_int_equal(rmdir(dir), 0);
}

/* Appends N times PART within [ ]. */
static void add_array(struct ck_buf *b, const char *part, size_t n)
{
	struct ck_err err = { 0 };

	assert_works(ck_buf_adds(b, "[", &err), &err);
	for (size_t i = 0; i < n; i++)
		assert_works(ck_buf_addf(b, &err, i ? ",%s" : "%s", part), &err);
	assert_works(ck_buf_adds(b, "]", &err), &err);
}

static void test_json_text(void **state)
{
	(void)state;
	CK_JSON *utf8 = ck_json_text("caf\xc3\xa9"), *other = ck_json_text("caf\xe9 1\n");
	assert_string_equal(json_string_value(utf8), "caf\xc3\xa9");
	assert_string_equal(json_string_value(other), "caf? 1\n");
}

/* What a hostile document makes of the memory, its own length being allowed. */
static void test_json_memory(void **state)
{
	static const struct {
		const char *why, *part;
		size_t n;
		int rc;
	} rows[] = {
		{ "bytes as integers, the largest packet of the key provider", "255", 32 << 10, 0 },
		{ "the same in the cheapest digits", "0", 32 << 10, 0 },
		{ "empty objects, eighty times their length", "{}", 1 << 20, -EFBIG },
		{ "empty arrays", "[]", 1 << 20, -EFBIG },
		{ "few of them", "{}", 1000, 0 },
		{ "descriptors",
		  "{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\","
		  "\"digest\":\"sha256:"
		  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\","
		  "\"size\":12345}",
		  20000, 0 },
	};
	struct ck_err err = { 0 };

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		CK_BUF text = { 0 };
		CK_JSON *plain = NULL;
		CK_JSON *secret = NULL;
		add_array(&text, rows[i].part, rows[i].n);
		int rc = ck_json_parse(&plain, text.data, text.len, "it", &err);
		if (rc != rows[i].rc)
			fail_msg("%s: %d %s", rows[i].why, rc, err.msg);
		rc = ck_json_parse_secret(&secret, text.data, text.len, "it", &err);
		if (rc != rows[i].rc)
			fail_msg("%s, secret: %d %s", rows[i].why, rc, err.msg);
	}
}

/* Documents with keys live in the arena, but none of them takes it from the others. */
static void test_json_arena(void **state)
{
	struct ck_err err = { 0 };
	struct ck_secret all[64] = { 0 };
	CK_BUF text = { 0 };
	CK_JSON *small = NULL;
	CK_JSON *flood = NULL;
	CK_JSON *none = NULL;
	size_t n = 0;

	(void)state;
	assert_works(ck_secret_init(&err), &err);
	const char key[] = "{\"symkey\":\"AAAA\"}";
	assert_works(ck_json_parse_secret(&small, key, strlen(key), "it", &err), &err);
	assert_true(CRYPTO_secure_allocated(json_object_get(small, "symkey")));
	size_t before = CRYPTO_secure_used();
	add_array(&text, "{}", 5000);
	assert_works(ck_json_parse_secret(&flood, text.data, text.len, "it", &err), &err);
	assert_int_equal(json_array_size(flood), 5000);
	assert_true(CRYPTO_secure_used() - before <= 128 << 10);
	/* A full arena is told as that, and keys do not spill into ordinary memory. */
	for (size_t room = 4 << 20; room >= 16; room /= 2)
		while (n < N_OF(all) && ck_secret_new(&all[n], room, NULL) == 0)
			n++;
	assert_fails(ck_json_parse_secret(&none, key, strlen(key), "it", &err), -ENOMEM, &err,
		     "arena for keys");
	assert_null(none);
	while (n)
		ck_secret_free(&all[--n]);
	assert_works(ck_json_parse_secret(&none, key, strlen(key), "it", &err), &err);
}

static void test_secret(void **state)
{
	struct ck_err err = { 0 };
	struct ck_secret s = { 0 };
	(void)state;
	setenv("SSLKEYLOGFILE", "/tmp/keys", 1);
	assert_works(ck_secret_init(&err), &err);
	assert_null(getenv("SSLKEYLOGFILE"));
	assert_works(ck_secret_new(&s, 32, &err), &err);
	for (size_t i = 0; i < s.len; i++)
		assert_int_equal(s.data[i], 0);
	ck_secret_free(&s);
	assert_null(s.data);
	/* More than the arena holds is an error, not a fallback to ordinary memory. */
	assert_int_equal(ck_secret_new(&s, 64 << 20, &err), -ENOMEM);
}

static void test_size(void **state)
{
	static const struct {
		const char *text;
		int64_t want; /* negative: refused */
	} rows[] = {
		{ "0", 0 },
		{ "4096", 4096 },
		{ "1K", 1024 },
		{ "3M", 3 << 20 },
		{ "10G", (int64_t)10 << 30 },
		{ "2T", (int64_t)2 << 40 },
		{ "9223372036854775807", INT64_MAX },
		{ "9007199254740991K", INT64_MAX - 1023 },
		{ "9223372036854775808", -1 },
		{ "9007199254740992K", -1 },
		{ "8388608T", -1 },
		{ "18446744073709551616", -1 },
		{ "", -1 },
		{ "K", -1 },
		{ "-1", -1 },
		{ "+1", -1 },
		{ " 1", -1 },
		{ "1 K", -1 },
		{ "1k", -1 },
		{ "1KB", -1 },
		{ "1KK", -1 },
		{ "0x10", -1 },
		{ "1.5G", -1 },
		{ "1P", -1 },
	};
	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		struct ck_err err = { 0 };
		uint64_t n = 77;
		int rc = ck_size_parse(&n, rows[i].text, &err);
		if (rows[i].want < 0)
			assert_fails(rc, -EINVAL, &err, rows[i].text);
		else
			assert_works(rc, &err);
		assert_int_equal(n, rows[i].want < 0 ? 77 : rows[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_err),	     cmocka_unit_test(test_buf),
		cmocka_unit_test(test_base64),	     cmocka_unit_test(test_digest),
		cmocka_unit_test(test_json),	     cmocka_unit_test(test_json_text),
		cmocka_unit_test(test_cursor),	     cmocka_unit_test(test_reader),
		cmocka_unit_test(test_files),	     cmocka_unit_test(test_secret),
		cmocka_unit_test(test_json_memory),  cmocka_unit_test(test_json_arena),
		cmocka_unit_test(test_base64_wiped), cmocka_unit_test(test_size),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
