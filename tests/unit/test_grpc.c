#include "tests/unit/lib/rc.h"

#include <errno.h>
#include <string.h>

#include "keyprov/grpc.h"

static void there_and_back(void **state)
{
	(void)state;
	static const size_t sizes[] = { 0, 1, 127, 128, 300, 70000 };
	static uint8_t data[70000];

	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (uint8_t)(i * 7);
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		for (int kind = CK_GRPC_INPUT; kind <= CK_GRPC_OUTPUT; kind++) {
			CK_BUF b = { 0 }, back = { 0 };
			struct ck_err err = { 0 };
			enum ck_grpc_message k = (enum ck_grpc_message)kind;
			assert_rc(ck_grpc_encode(&b, k, data, sizes[i], &err), 0, &err);
			assert_rc(ck_grpc_decode(&back, k, b.data, b.len, &err), 0, &err);
			assert_int_equal(back.len, sizes[i]);
			if (sizes[i])
				assert_memory_equal(back.data, data, sizes[i]);
		}
	}
}

#define BYTES(...) (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ })

static const struct {
	const char *why;
	const uint8_t *p;
	size_t len;
	int want;
} frames[] = {
	{ "field 1 of 2 bytes", BYTES(0, 0, 0, 0, 4, 0x0a, 2, 'h', 'i'), 0 },
	{ "the field twice: the last counts", BYTES(0, 0, 0, 0, 6, 0x0a, 1, 'x', 0x0a, 1, 'y'), 0 },
	{ "an unknown field beside it", BYTES(0, 0, 0, 0, 5, 0x0a, 1, 'x', 0x10, 1), 0 },
	{ "an empty message", BYTES(0, 0, 0, 0, 0), 0 },
	{ "nothing", BYTES(0), -EBADMSG },
	{ "cut prefix", BYTES(0, 0, 0, 0), -EBADMSG },
	{ "cut message", BYTES(0, 0, 0, 0, 4, 0x0a, 2, 'h'), -EBADMSG },
	{ "bytes after it", BYTES(0, 0, 0, 0, 3, 0x0a, 1, 'x', 0), -EBADMSG },
	{ "compressed", BYTES(1, 0, 0, 0, 3, 0x0a, 1, 'x'), -ENOTSUP },
	{ "flag unknown", BYTES(2, 0, 0, 0, 3, 0x0a, 1, 'x'), -EBADMSG },
	{ "length above 4 MiB", BYTES(0, 0, 0x40, 0, 1, 0), -EBADMSG },
	{ "length of 4 GiB", BYTES(0, 0xff, 0xff, 0xff, 0xff, 0), -EBADMSG },
	{ "field length past the end", BYTES(0, 0, 0, 0, 3, 0x0a, 2, 'x'), -EBADMSG },
	{ "field length of 2^63",
	  BYTES(0, 0, 0, 0, 11, 0x0a, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1),
	  -EBADMSG },
	{ "field 1 as a number", BYTES(0, 0, 0, 0, 2, 0x08, 1), -EBADMSG },
	{ "an end-group", BYTES(0, 0, 0, 0, 1, 0x0c), -EBADMSG },
};

static void frames_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof frames / sizeof frames[0]; i++) {
		CK_BUF out = { 0 };
		struct ck_err err = { 0 };
		int rc = ck_grpc_decode(&out, CK_GRPC_INPUT, frames[i].p, frames[i].len, &err);
		if (rc != frames[i].want)
			fail_msg("%s: %d %s", frames[i].why, rc, err.msg);
	}
	CK_BUF y = { 0 };
	assert_int_equal(ck_grpc_decode(&y, CK_GRPC_INPUT, frames[1].p, frames[1].len, NULL), 0);
	assert_string_equal(ck_buf_str(&y), "y");
}

/* A message of two million unknown fields would take 100 MB apart. */
static void unknown_fields_are_bounded(void **state)
{
	(void)state;
	size_t len = CK_GRPC_MESSAGE_MAX;
	uint8_t *p = malloc(len + 5);
	CK_BUF out = { 0 };
	struct ck_err err = { 0 };

	assert_non_null(p);
	for (size_t i = 5; i < len + 5; i += 2) {
		p[i] = 0x10;
		p[i + 1] = 1;
	}
	p[0] = p[2] = p[3] = p[4] = 0;
	p[1] = 0x00, p[2] = 0x40;
	assert_rc(ck_grpc_decode(&out, CK_GRPC_INPUT, p, len + 5, &err), -EBADMSG, &err);
	free(p);
	assert_rc(ck_grpc_encode(&out, CK_GRPC_INPUT, "", CK_GRPC_MESSAGE_MAX, &err), -EFBIG, &err);
}

static void text_is_percent_encoded(void **state)
{
	(void)state;
	static const char *const texts[][2] = {
		{ "plain text: 1/2 (x)", "plain text: 1/2 (x)" },
		{ "100% \xc3\xbc\n", "100%25 %C3%BC%0A" },
		{ "\x7f~ ", "%7F~ " },
		{ "", "" },
	};
	char back[64];

	for (size_t i = 0; i < 4; i++) {
		CK_BUF b = { 0 };
		assert_int_equal(ck_grpc_text_encode(&b, texts[i][0], NULL), 0);
		assert_string_equal(ck_buf_str(&b), texts[i][1]);
		ck_grpc_text_decode(back, sizeof back, b.data ? b.data : (const uint8_t *)"",
				    b.len);
		assert_string_equal(back, texts[i][0]);
	}
	/* What is no escape stays; a NUL would cut the message; the room is kept to. */
	ck_grpc_text_decode(back, sizeof back, "%zz%4%00%", 9);
	assert_string_equal(back, "%zz%4?%");
	ck_grpc_text_decode(back, 4, "abcdef", 6);
	assert_string_equal(back, "abc");
	char huge[4000];
	CK_BUF b = { 0 };
	memset(huge, '%', sizeof huge);
	huge[sizeof huge - 1] = 0;
	assert_int_equal(ck_grpc_text_encode(&b, huge, NULL), 0);
	assert_true(b.len <= CK_GRPC_TEXT_MAX);
}

static void timeouts_table(void **state)
{
	(void)state;
	static const struct {
		const char *s;
		bool ok;
		uint64_t ms;
	} rows[] = {
		{ "1S", true, 1000 },	    { "100m", true, 100 },
		{ "2M", true, 120000 },	    { "1H", true, 3600000 },
		{ "1500u", true, 2 },	    { "1n", true, 1 },
		{ "0m", true, 0 },	    { "99999999H", true, 99999999ULL * 3600000 },
		{ "99999999n", true, 100 }, { "", false, 0 },
		{ "S", false, 0 },	    { "1", false, 0 },
		{ "123456789S", false, 0 }, { "-1S", false, 0 },
		{ "1.5S", false, 0 },	    { "1s", false, 0 },
		{ " 1S", false, 0 },	    { "1S ", false, 0 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		uint64_t ms = 0;
		if (ck_grpc_timeout(&ms, rows[i].s, strlen(rows[i].s)) != rows[i].ok ||
		    ms != rows[i].ms)
			fail_msg("\"%s\" gave %llu", rows[i].s, (unsigned long long)ms);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(frames_table),
		cmocka_unit_test(unknown_fields_are_bounded),
		cmocka_unit_test(text_is_percent_encoded),
		cmocka_unit_test(timeouts_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
