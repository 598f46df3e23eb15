/* Traces: what is written is read, and what is not well-formed is told with file and line. */
#include <errno.h>

#include "fs/trace.h"
#include "tests/unit/lib/unit.h"

#define HEAD "cloakfs-trace 1\n"

static const struct ck_trace_line lines[] = {
	{ 0, { "usr/bin/python3", 0, 4096 } },
	{ 127, { "a b\tc\nd\\e\\040", 12345678901, 1 } },
	{ UINT32_MAX, { "\xc3\xa9\xff\x01\x7f", INT64_MAX - 1, 1 } },
	{ 3, { "x", 0, INT64_MAX } },
};

static void test_round_trip(void **state)
{
	CK_BUF text = { 0 };
	struct ck_trace t = { 0 };
	struct ck_err err = { 0 };
	(void)state;
	assert_works(ck_trace_begin(&text, &err), &err);
	for (size_t i = 0; i < N_OF(lines); i++)
		assert_works(ck_trace_add(&text, lines[i].layer, &lines[i].what, &err), &err);
	assert_string_equal(ck_buf_str(&text),
			    HEAD "0 0 4096 usr/bin/python3\n"
				 "127 12345678901 1 a\\040b\\011c\\012d\\134e\\134040\n"
				 "4294967295 9223372036854775806 1 \xc3\xa9\xff\x01\x7f\n"
				 "3 0 9223372036854775807 x\n");
	assert_works(ck_trace_parse(&t, "FILE", text.data, text.len, &err), &err);
	assert_int_equal(t.n, N_OF(lines));
	for (size_t i = 0; i < t.n; i++) {
		assert_int_equal(t.lines[i].layer, lines[i].layer);
		assert_int_equal(t.lines[i].what.off, lines[i].what.off);
		assert_int_equal(t.lines[i].what.len, lines[i].what.len);
		assert_string_equal(t.lines[i].what.path, lines[i].what.path);
	}
	ck_trace_free(&t);
	/* A line that does not fit leaves what was there. */
	CK_BUF small = { .max = sizeof HEAD + 10 };
	assert_works(ck_trace_begin(&small, &err), &err);
	assert_int_equal(ck_trace_add(&small, 0, &lines[0].what, &err), -EFBIG);
	assert_int_equal(small.len, sizeof HEAD - 1);
}

static void test_bad(void **state)
{
	static const struct {
		const char *text, *says; /* NULL: it is taken */
	} cases[] = {
		{ HEAD, NULL },
		{ HEAD "0 0 1 /with/a/slash\n", NULL },
		{ "", "FILE line 1: not a trace" },
		{ "cloakfs-trace 1", "FILE line 1: not a trace" },
		{ "cloakfs-trace 2\n", "FILE line 1: not a trace" },
		{ "cloakfs-trace 10\n", "FILE line 1: not a trace" },
		{ " " HEAD, "FILE line 1: not a trace" },
		{ HEAD "\n", "FILE line 2: no layer" },
		{ HEAD "0 0 1 a\n\n", "FILE line 3: no layer" },
		{ HEAD "0 0 1 a", "FILE line 2: it is cut short" },
		{ HEAD "0 0 1 a\n0 0 1", "FILE line 3: it is cut short" },
		{ HEAD "0 0 1\n", "FILE line 2: no length" },
		{ HEAD "0 0\n", "FILE line 2: no offset" },
		{ HEAD "0 0 1 \n", "FILE line 2: no path" },
		{ HEAD "0 0 1 /\n", "FILE line 2: no path" },
		{ HEAD "-1 0 1 a\n", "FILE line 2: no layer" },
		{ HEAD "+1 0 1 a\n", "FILE line 2: no layer" },
		{ HEAD "0  0 1 a\n", "FILE line 2: no offset" },
		{ HEAD " 0 0 1 a\n", "FILE line 2: no layer" },
		{ HEAD "0\t0 1 a\n", "FILE line 2: no layer" },
		{ HEAD "0 0x1 1 a\n", "FILE line 2: no offset" },
		{ HEAD "0 0 0 a\n", "FILE line 2: the length is 0" },
		{ HEAD "4294967296 0 1 a\n", "FILE line 2: layer is too large" },
		{ HEAD "0 9223372036854775808 1 a\n", "FILE line 2: offset is too large" },
		{ HEAD "0 0 99999999999999999999999 a\n", "FILE line 2: length is too large" },
		{ HEAD "0 1 9223372036854775807 a\n", "FILE line 2: the length is too large" },
		{ HEAD "0 0 1 a b\n", "FILE line 2: the path has a character" },
		{ HEAD "0 0 1 a\tb\n", "FILE line 2: the path has a character" },
		{ HEAD "0 0 1 a\\b\n", "FILE line 2: a backslash" },
		{ HEAD "0 0 1 a\\04\n", "FILE line 2: a backslash" },
		{ HEAD "0 0 1 a\\041\n", "FILE line 2: a backslash" },
		{ HEAD "0 0 1 a\\\n", "FILE line 2: a backslash" },
	};
	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++) {
		struct ck_trace t = { 0 };
		struct ck_err err = { 0 };
		size_t len = strlen(cases[i].text);
		char *exact = malloc(len ? len : 1);
		memcpy(exact, cases[i].text, len);
		int rc = ck_trace_parse(&t, "FILE", exact, len, &err);
		if (cases[i].says ? rc != -EBADMSG || !strstr(err.msg, cases[i].says) : rc != 0)
			fail_msg("case %zu: %d \"%s\"", i, rc, err.msg);
		free(exact);
		ck_trace_free(&t);
	}
	/* A NUL would end the path before its end. */
	static const char nul[] = HEAD "0 0 1 a\0b\n";
	struct ck_trace t = { 0 };
	struct ck_err err = { 0 };
	assert_fails(ck_trace_parse(&t, "FILE", nul, sizeof nul - 1, &err), -EBADMSG, &err,
		     "line 2: the path has a character");
	assert_fails(ck_trace_read(&t, "/nonexistent/trace", &err), -ENOENT, &err,
		     "/nonexistent/trace");
}

static void test_bounds(void **state)
{
	CK_BUF text = { 0 };
	struct ck_trace t = { 0 };
	struct ck_err err = { 0 };
	(void)state;
	for (size_t len = CK_TRACE_PATH; len <= CK_TRACE_PATH + 1; len++) {
		text.len = 0;
		assert_works(ck_buf_adds(&text, HEAD "0 0 1 ", &err), &err);
		for (size_t i = 0; i < len; i++)
			assert_works(ck_buf_adds(&text, "p", &err), &err);
		assert_works(ck_buf_adds(&text, "\n", &err), &err);
		int rc = ck_trace_parse(&t, "FILE", text.data, text.len, &err);
		assert_int_equal(rc, len > CK_TRACE_PATH ? -EBADMSG : 0);
		ck_trace_free(&t);
	}
	text.len = 0;
	assert_works(ck_buf_adds(&text, HEAD, &err), &err);
	for (size_t i = 0; i < CK_TRACE_LINES; i++)
		assert_works(ck_buf_adds(&text, "0 0 1 a\n", &err), &err);
	assert_fails(ck_trace_parse(&t, "FILE", text.data, text.len, &err), -EFBIG, &err,
		     "FILE line ");
}

static void test_wants(void **state)
{
	static const char text[] = HEAD "1 0 1 a\n0 1 1 b\n7 0 1 c\n1 2 1 d\n1 0 1 a\n";
	struct ck_trace t = { 0 };
	struct ck_wants *w = NULL;
	struct ck_err err = { 0 };
	(void)state;
	assert_works(ck_trace_parse(&t, "FILE", text, sizeof text - 1, &err), &err);
	assert_works(ck_trace_wants(&w, &t, 3, &err), &err);
	assert_int_equal(w[0].n, 1);
	assert_string_equal(w[0].v[0].path, "b");
	assert_int_equal(w[1].n, 3);
	assert_string_equal(w[1].v[0].path, "a");
	assert_string_equal(w[1].v[1].path, "d");
	assert_int_equal(w[1].v[1].off, 2);
	assert_int_equal(w[2].n, 0);
	assert_false(w[0].placed || w[1].n_missing);
	free(w);
	assert_works(ck_trace_wants(&w, &t, 0, &err), &err);
	free(w);
	ck_trace_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_wants),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
