/* One blob's way into a registry: its pieces, and what becomes of it when they are cut. */
#include <errno.h>

#include "base/file.h"
#include "base/text.h"
#include "fs/registry/upload.h"
#include "fs/registry/uploadstep.h"
#include "tests/unit/lib/tinyreg.h"
#include "tests/unit/lib/unit.h"

enum { CHUNK = 1000, MOST = 20000 };

struct fixture {
	struct tinyreg *t;
	struct tinyreg_knobs *k;
	struct ck_registry *r;
	atomic_bool one_piece;
	uint8_t bytes[MOST];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	const struct ck_registry_opts opts = { 0 };
	struct ck_err err = { 0 };

	f->t = tinyreg_open();
	f->k = tinyreg_knobs(f->t);
	assert_works(ck_registry_open(&f->r, tinyreg_host(f->t), "r/x", &opts, &err), &err);
	for (size_t i = 0; i < MOST; i++)
		f->bytes[i] = (uint8_t)(i * 7 + i / 251);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	ck_registry_close(f->r);
	tinyreg_close(f->t);
	free(f);
	return 0;
}

static void again(void **state)
{
	assert_int_equal(teardown(state), 0);
	assert_int_equal(setup(state), 0);
}

static const char *name_of(const void *p, size_t nbytes)
{
	static char name[CK_DIGEST_STR];
	uint8_t digest[32];

	ck_sha256(digest, p, nbytes);
	ck_digest_str(name, digest);
	return name;
}

/* The first SIZE bytes, written in pieces of STEP. */
static int push(struct fixture *f, size_t size, size_t step, struct ck_err *err)
{
	const struct ck_upload_opts opts = { .chunk = CHUNK, .one_piece = &f->one_piece };
	struct ck_upload *u = NULL;
	uint8_t digest[32];
	int rc = ck_upload_open(&u, f->r, &opts, err);

	for (size_t off = 0; rc == 0 && off < size; off += step)
		rc = ck_upload_write(u, f->bytes + off, size - off < step ? size - off : step, err);
	ck_sha256(digest, f->bytes, size);
	if (rc == 0)
		rc = ck_upload_end(u, digest, err);
	ck_upload_close(u);
	return rc;
}

static void expect_stored(struct fixture *f, size_t size)
{
	size_t nbytes = 0;
	const void *p = tinyreg_get(f->t, name_of(f->bytes, size), &nbytes);

	assert_non_null(p);
	assert_int_equal(nbytes, size);
	assert_memory_equal(p, f->bytes, size);
}

static void expect_there(struct fixture *f, size_t size)
{
	expect_stored(f, size);
	assert_int_equal(tinyreg_n_open(f->t), 0);
}

static void sends_in_chunks(void **state)
{
	static const struct {
		size_t size;
		const char *ranges;
	} rows[] = {
		{ 0, "" },
		{ 1, "" },
		{ 1000, "" },
		{ 1001, "0-999 1000-1000" },
		{ 2000, "0-999 1000-1999" },
		{ 3500, "0-999 1000-1999 2000-2999 3000-3499" },
	};
	static const size_t steps[] = { 1, 7, 1000, 1700, 100000 };

	for (size_t i = 0; i < N_OF(rows) * N_OF(steps) * 2; i++) {
		size_t row = i / 2 / N_OF(steps);
		struct fixture *f = *state;
		struct ck_err err = { 0 };
		f->k->relative = f->k->strict = i % 2;
		assert_works(push(f, rows[row].size, steps[i / 2 % N_OF(steps)], &err), &err);
		expect_there(f, rows[row].size);
		assert_string_equal(tinyreg_ranges(f->t), rows[row].ranges);
		assert_int_equal(tinyreg_received(f->t), rows[row].size);
		again(state);
	}
}

static void skips_what_is_there(void **state)
{
	struct fixture *f = *state;
	struct ck_err err = { 0 };

	tinyreg_put(f->t, name_of(f->bytes, 900), f->bytes, 900);
	assert_works(push(f, 900, 100, &err), &err);
	assert_int_equal(tinyreg_count(f->t, "POST"), 0);
	assert_int_equal(tinyreg_count(f->t, "HEAD"), 1);
	/* What has its name and another size is not it. */
	tinyreg_put(f->t, name_of(f->bytes, 901), f->bytes, 900);
	assert_works(push(f, 901, 100, &err), &err);
	expect_there(f, 901);
}

/* A cut in every piece, at every kind of place. */
static void resumes_after_a_cut(void **state)
{
	static const size_t keeps[] = { 0, 1, 500, 999, 1000 };

	for (unsigned i = 0; i < 4 * N_OF(keeps); i++) {
		struct fixture *f = *state;
		struct ck_err err = { 0 };
		unsigned nth = i / N_OF(keeps);
		size_t sent = nth == 3 ? 500 : 1000, keep = keeps[i % N_OF(keeps)];
		keep = keep < sent ? keep : sent;
		/* One byte of the first piece cannot be told from none: it starts anew. */
		size_t kept = nth == 0 && keep == 1 ? 0 : keep;
		f->k->relative = f->k->strict = i % 2;
		f->k->patch = (struct tinyreg_fault){ .nth = nth, .times = 1, .keep = keep };
		assert_works(push(f, 3500, 300, &err), &err);
		expect_there(f, 3500);
		assert_int_equal(tinyreg_received(f->t), 3500 + sent - kept);
		assert_int_equal(tinyreg_count(f->t, "POST"), nth == 0 && keep <= 1 ? 2 : 1);
		again(state);
	}
}

static void goes_on_after_trouble(void **state)
{
	static const char *const statuses[] = { "503 Busy", "408 Slow", "429 Slower", "409 Not",
						"416 Range Not Satisfiable" };

	for (size_t i = 0; i < N_OF(statuses); i++) {
		struct fixture *f = *state;
		struct ck_err err = { 0 };
		f->k->patch = (struct tinyreg_fault){ 2, 2, 0, statuses[i], 0 };
		f->k->put = (struct tinyreg_fault){ 0, 1, 0, statuses[i], 0 };
		assert_works(push(f, 3500, 300, &err), &err);
		expect_there(f, 3500);
		assert_int_equal(tinyreg_received(f->t), 3500 + 2 * 1000);
		again(state);
	}
}

static void waits_as_long_as_it_is_told(void **state)
{
	struct fixture *f = *state;
	struct ck_err err = { 0 };
	uint64_t start = ck_now_ms();

	f->k->patch = (struct tinyreg_fault){ 1, 1, 0, "429 Slower\r\nRetry-After: 1", 0 };
	assert_works(push(f, 2500, 300, &err), &err);
	expect_there(f, 2500);
	assert_true(ck_now_ms() - start >= 1000);
}

static void follows_the_last_part_of_a_path(void **state)
{
	struct fixture *f = *state;
	struct ck_err err = { 0 };

	f->k->relative = f->k->last_part = true;
	assert_works(push(f, 2500, 300, &err), &err);
	expect_there(f, 2500);
}

static void refuses_answers_that_make_no_sense(void **state)
{
	static const struct {
		const char *location, *least, *part;
	} rows[] = {
		{ "", "5", "empty or too long" },
		{ "/v2/x", "five", "is no number: five" },
		{ "/v2/x", "-5", "is no number" },
		{ "/v2/x", "5x", "is no number" },
		{ "/v2/x", "99999999999999999999", "is no number" },
		{ "/v2/x", "99999999999", "more than 64 MiB" },
		{ "ftp://x/v2/x", "5", "no place of HTTP: ftp://x" },
	};

	for (size_t i = 0; i < N_OF(rows); i++) {
		struct fixture *f = *state;
		struct ck_err err = { 0 };
		f->k->location = rows[i].location;
		f->k->least = rows[i].least;
		int rc = push(f, 2500, 300, &err);
		if (rc != -EPROTO && rc != -ENOTSUP)
			fail_msg("%zu: %d %s", i, rc, err.msg);
		assert_non_null(strstr(err.msg, rows[i].part));
		assert_int_equal(tinyreg_received(f->t), 0);
		again(state);
	}
}

/* Much of it in all, little of it at a time. */
static void has_patience(void **state)
{
	struct fixture *f = *state;
	struct ck_err err = { 0 };

	f->k->patch = (struct tinyreg_fault){ 0, 1000, 0, "503 Busy", 2 };
	assert_works(push(f, 9500, 300, &err), &err);
	expect_there(f, 9500);
	assert_int_equal(tinyreg_count(f->t, "PATCH"), 20);
}

static void does_not_believe_what_cannot_be(void **state)
{
	static const struct {
		const char *patch, *get;
		const char *part; /* NULL: it works */
	} rows[] = {
		{ "0-10", NULL, NULL },	 /* less than it had; asked, it says more */
		{ "0-998", NULL, NULL }, /* likewise */
		{ "0-x", NULL, NULL },
		{ "0-1000", NULL, NULL }, /* who counts from 1 */
		{ NULL, "0-10", "has lost the 2000 bytes" },
		{ NULL, "0-1998", "has lost the 2000 bytes" },
		{ NULL, "0-3000", "has lost the 2000 bytes" }, /* more than was sent */
		{ NULL, "none", "has lost the 2000 bytes" },
	};

	for (size_t i = 0; i < N_OF(rows); i++) {
		struct fixture *f = *state;
		struct ck_err err = { 0 };
		f->k->patch_range = rows[i].patch;
		f->k->get_range = rows[i].get;
		if (rows[i].get)
			f->k->patch = (struct tinyreg_fault){ .nth = 2, .times = 1 };
		int rc = push(f, rows[i].patch ? 1500 : 3000, 300, &err);
		if (rows[i].part) {
			assert_fails(rc, -ESTALE, &err, rows[i].part);
		} else {
			assert_works(rc, &err);
			expect_there(f, 1500);
		}
		again(state);
	}
}

static void gives_up_in_the_end(void **state)
{
	struct fixture *f = *state;
	struct ck_err err = { 0 };

	f->k->patch = (struct tinyreg_fault){ 1, 1000, 0, "503 Busy", 0 };
	assert_fails(push(f, 3500, 300, &err), -EPROTO, &err, "given up after 6 tries");
	assert_non_null(strstr(err.msg, "503"));
	assert_int_equal(tinyreg_count(f->t, "PATCH"), 7);
	assert_int_equal(tinyreg_n_open(f->t), 0);
}

/* An upload that is gone: what is in the buffer goes anew, what had left it cannot. */
static void tells_what_is_lost(void **state)
{
	for (int strict = 0; strict < 2; strict++) {
		struct fixture *f = *state;
		struct ck_err err = { 0 };
		f->k->strict = f->k->strict_get = strict;
		f->k->forgetful = !strict;
		f->k->patch = (struct tinyreg_fault){ .nth = 0, .times = 1, .keep = 500 };
		assert_works(push(f, 3500, 300, &err), &err);
		expect_stored(f, 3500);
		/* Who does not know where an upload is cannot cancel it. */
		assert_int_equal(tinyreg_n_open(f->t), strict);
		assert_int_equal(tinyreg_received(f->t), 4500);
		again(state);
		f = *state;
		f->k->strict = f->k->strict_get = strict;
		f->k->forgetful = !strict;
		f->k->patch = (struct tinyreg_fault){ .nth = 2, .times = 1, .keep = 500 };
		assert_fails(push(f, 3500, 300, &err), -ESTALE, &err,
			     "has lost the 2000 bytes that it took");
		assert_null(tinyreg_get(f->t, name_of(f->bytes, 3500), NULL));
		again(state);
	}
}

static void ends_though_answers_are_cut(void **state)
{
	static const struct {
		size_t size, keep;
		unsigned n_post;
	} rows[] = {
		{ 3500, 0, 1 },	 /* all was there, only the word is lost */
		{ 800, 800, 1 }, /* likewise, in one piece */
		{ 800, 0, 2 },	 /* it never came */
		{ 800, 300, 2 }, /* nor all of it */
		{ 3500, 0, 1 },
	};

	for (size_t i = 0; i < N_OF(rows); i++) {
		struct fixture *f = *state;
		struct ck_err err = { 0 };
		f->k->put = (struct tinyreg_fault){ .nth = 0, .times = 1, .keep = rows[i].keep };
		assert_works(push(f, rows[i].size, 300, &err), &err);
		expect_there(f, rows[i].size);
		assert_int_equal(tinyreg_count(f->t, "POST"), rows[i].n_post);
		again(state);
	}
}

static void knows_who_takes_no_chunks(void **state)
{
	struct fixture *f = *state;
	struct ck_err err = { 0 };

	f->k->no_patch = true;
	for (int i = 0; i < 2; i++) {
		assert_works(push(f, 3500 - (size_t)i, 300, &err), &err);
		expect_there(f, 3500 - (size_t)i);
		assert_int_equal(tinyreg_count(f->t, "PATCH"), 1);
	}
	again(state);
	f = *state;
	f->k->one_patch = true;
	assert_fails(push(f, 3500, 300, &err), -ESTALE, &err, "has lost the 1000 bytes");
	assert_int_equal(tinyreg_n_open(f->t), 0);
	assert_works(push(f, 3500, 300, &err), &err);
	expect_there(f, 3500);
	assert_int_equal(tinyreg_count(f->t, "PATCH"), 2);
}

static void bounds_what_it_keeps(void **state)
{
	struct fixture *f = *state;
	const struct ck_upload_opts opts = { .chunk = CHUNK, .one_piece = &f->one_piece };
	CK_AUTO(ck_freep) uint8_t *much = calloc(1, 65 << 20);
	struct ck_upload *u = NULL;
	struct ck_err err = { 0 };

	f->one_piece = true;
	assert_works(ck_upload_open(&u, f->r, &opts, &err), &err);
	assert_fails(ck_upload_write(u, much, 65 << 20, &err), -ENOTSUP, &err,
		     "more than 64 MiB in one request");
	ck_upload_close(u);
	f->one_piece = false;
	f->k->min_chunk = (64 << 20) + 1;
	assert_fails(push(f, 3500, 300, &err), -ENOTSUP, &err, "more than 64 MiB in one request");
	assert_int_equal(tinyreg_n_open(f->t), 0);
}

static void keeps_to_the_least_length(void **state)
{
	struct fixture *f = *state;
	struct ck_err err = { 0 };

	f->k->min_chunk = 1500;
	f->k->patch = (struct tinyreg_fault){ .nth = 1, .times = 1, .keep = 100 };
	assert_works(push(f, 5000, 300, &err), &err);
	expect_there(f, 5000);
	/* What was left after the cut is not too short either. */
	assert_string_equal(tinyreg_ranges(f->t), "0-1499 1500-2999 1600-3099 3100-4599 4600-4999");
	again(state);
	f = *state;
	f->k->min_chunk = 10; /* ours are larger */
	assert_works(push(f, 1500, 300, &err), &err);
	assert_string_equal(tinyreg_ranges(f->t), "0-999 1000-1499");
}

static void makes_pieces_smaller(void **state)
{
	struct fixture *f = *state;
	struct ck_err err = { 0 };

	f->k->max_body = 300;
	assert_works(push(f, 1700, 300, &err), &err);
	expect_there(f, 1700);
	assert_string_equal(tinyreg_ranges(f->t), "0-999 0-499 0-249 250-499 500-749 750-999 "
						  "1000-1249 1250-1499 1500-1699");
	again(state);
	f = *state;
	f->k->max_body = 300; /* what would have gone at once */
	assert_works(push(f, 700, 300, &err), &err);
	expect_there(f, 700);
	assert_string_equal(tinyreg_ranges(f->t), "0-499 0-249 250-499 500-699");
	again(state);
	f = *state;
	f->k->max_body = 5;
	assert_fails(push(f, 1700, 300, &err), -EPROTO, &err, "a piece of 7 bytes");
	again(state);
	f = *state;
	f->k->max_body = 300;
	f->k->min_chunk = 400;
	assert_fails(push(f, 1700, 300, &err), -EPROTO, &err, "a piece of 500 bytes");
	again(state);
	f = *state;
	f->k->max_body = 300;
	f->one_piece = true;
	assert_fails(push(f, 700, 300, &err), -EPROTO, &err, "413");
	/* Nothing at all is as small as it can be. */
	again(state);
	f = *state;
	f->k->put = (struct tinyreg_fault){ .times = 9, .status = "413 Too Large" };
	assert_fails(push(f, 0, 1, &err), -EPROTO, &err, "413");
}

static void takes_answers_that_say_little(void **state)
{
	struct fixture *f = *state;
	struct ck_err err = { 0 };

	f->k->quiet = true;
	assert_works(push(f, 3500, 300, &err), &err);
	expect_there(f, 3500);
}

static void mounts(void **state)
{
	struct fixture *f = *state;
	struct ck_upload *u = NULL;
	struct ck_err err = { 0 };
	uint8_t digest[32];
	const struct ck_upload_opts opts = {
		.chunk = CHUNK, .one_piece = &f->one_piece, .digest = digest, .from = "beside"
	};

	ck_sha256(digest, f->bytes, 1500);
	tinyreg_put_beside(f->t, name_of(f->bytes, 1500), f->bytes, 1500);
	/* It does not, and opens an upload instead. */
	assert_int_equal(ck_upload_open(&u, f->r, &opts, &err), 0);
	assert_works(ck_upload_write(u, f->bytes, 1500, &err), &err);
	assert_works(ck_upload_end(u, digest, &err), &err);
	ck_upload_close(u);
	expect_there(f, 1500);
	assert_int_equal(tinyreg_count(f->t, "POST"), 1);
	/* It does. */
	f->k->mounts = true;
	ck_sha256(digest, f->bytes, 1600);
	tinyreg_put_beside(f->t, name_of(f->bytes, 1600), f->bytes, 1600);
	assert_int_equal(ck_upload_open(&u, f->r, &opts, &err), 1);
	expect_there(f, 1600);
	assert_int_equal(tinyreg_received(f->t), 1500);
	assert_int_equal(tinyreg_count(f->t, "POST"), 2);
}

static void cancels_what_is_not_ended(void **state)
{
	struct fixture *f = *state;
	const struct ck_upload_opts opts = { .chunk = CHUNK, .one_piece = &f->one_piece };
	struct ck_upload *u = NULL;
	struct ck_err err = { 0 };

	assert_works(ck_upload_open(&u, f->r, &opts, &err), &err);
	assert_works(ck_upload_write(u, f->bytes, 1500, &err), &err);
	assert_int_equal(tinyreg_n_open(f->t), 1);
	ck_upload_close(u);
	assert_int_equal(tinyreg_n_open(f->t), 0);
	assert_int_equal(tinyreg_count(f->t, "DELETE"), 1);
}

/* What arrived is not what was sent. */
static void tells_of_another_digest(void **state)
{
	struct fixture *f = *state;
	const struct ck_upload_opts opts = { .chunk = CHUNK, .one_piece = &f->one_piece };

	for (size_t size = 500; size <= 1500; size += 1000) {
		struct ck_upload *u = NULL;
		struct ck_err err = { 0 };
		uint8_t digest[32] = { 1 };
		assert_works(ck_upload_open(&u, f->r, &opts, &err), &err);
		assert_works(ck_upload_write(u, f->bytes, size, &err), &err);
		assert_fails(ck_upload_end(u, digest, &err), size < CHUNK ? -EPROTO : -ESTALE, &err,
			     size < CHUNK ? "in one piece" : "has all of the blob and refuses it");
		assert_non_null(strstr(err.msg, "400"));
		ck_upload_close(u);
	}
}

static void reads_ranges(void **state)
{
	static const struct {
		const char *text;
		uint64_t end; /* 0: it is none */
	} rows[] = {
		{ "0-0", 1 },
		{ "0-999", 1000 },
		{ "bytes=0-999", 1000 },
		{ "bytes 0-999", 1000 },
		{ "0-9223372036854775806", INT64_MAX },
		{ "0-9223372036854775807", 0 },
		{ "0-99999999999999999999", 0 },
		{ "1-999", 0 },
		{ "0-", 0 },
		{ "0--1", 0 },
		{ "0-+1", 0 },
		{ "0- 1", 0 },
		{ "0-9x", 0 },
		{ "bytes0-9", 0 },
		{ "bytes", 0 },
		{ "", 0 },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		uint64_t end = 0;
		assert_int_equal(ck_uploadstep_range(rows[i].text, &end), rows[i].end != 0);
		assert_int_equal(end, rows[i].end);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(sends_in_chunks),
		T(skips_what_is_there),
		T(resumes_after_a_cut),
		T(goes_on_after_trouble),
		T(waits_as_long_as_it_is_told),
		T(follows_the_last_part_of_a_path),
		T(refuses_answers_that_make_no_sense),
		T(has_patience),
		T(does_not_believe_what_cannot_be),
		T(gives_up_in_the_end),
		T(tells_what_is_lost),
		T(ends_though_answers_are_cut),
		T(knows_who_takes_no_chunks),
		T(bounds_what_it_keeps),
		T(keeps_to_the_least_length),
		T(makes_pieces_smaller),
		T(takes_answers_that_say_little),
		T(mounts),
		T(cancels_what_is_not_ended),
		T(tells_of_another_digest),
		cmocka_unit_test(reads_ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
