/* Blocks in the order of first use, beside a model that knows nothing of words and bits. */
#include <errno.h>

#include "base/firstuse.h"
#include "tests/unit/lib/make.h"
#include "tests/unit/lib/unit.h"

/* Adds N pairs of first block and number, and compares the ranges with WANT. */
static void check(uint64_t gap, const uint64_t (*add)[2], size_t n, const uint64_t (*want)[2],
		  size_t n_want)
{
	struct ck_firstuse *f = NULL;
	struct ck_err err = { 0 };
	size_t got;

	assert_works(ck_firstuse_open(&f, 10000, gap, 100, &err), &err);
	for (size_t i = 0; i < n; i++) {
		assert_works(ck_firstuse_add(f, add[i][0], add[i][1], &err), &err);
		assert_true(ck_firstuse_has(f, add[i][0], add[i][1]));
	}
	const struct ck_range *r = ck_firstuse_ranges(f, &got);
	assert_int_equal(got, n_want);
	for (size_t i = 0; i < got; i++) {
		assert_int_equal(r[i].off, want[i][0]);
		assert_int_equal(r[i].len, want[i][1]);
	}
	ck_firstuse_close(f);
}

#define CHECK(gap, add, want) check(gap, add, N_OF(add), want, N_OF(want))

static void test_order(void **state)
{
	static const uint64_t apart[][2] = { { 700, 10 }, { 5, 1 }, { 300, 64 } };
	static const uint64_t twice[][2] = { { 100, 10 }, { 100, 10 }, { 102, 3 }, { 95, 20 } };
	static const uint64_t twice_want[][2] = { { 95, 20 } };
	static const uint64_t bridge[][2] = { { 0, 10 }, { 20, 10 }, { 5, 40 } };
	static const uint64_t bridge_want[][2] = { { 0, 45 } };
	static const uint64_t turns[][2] = { { 0, 8 }, { 1000, 8 }, { 8, 8 }, { 1008, 8 } };
	static const uint64_t turns_want[][2] = { { 0, 16 }, { 1000, 16 } };
	(void)state;
	CHECK(0, apart, apart);
	CHECK(0, twice, twice_want);
	CHECK(0, bridge, bridge_want);
	CHECK(0, turns, turns_want);
}

static void test_gaps(void **state)
{
	static const uint64_t near[][2] = { { 100, 10 }, { 114, 6 }, { 90, 6 } };
	static const uint64_t near_want[][2] = { { 90, 30 } };
	static const uint64_t far[][2] = { { 100, 10 }, { 115, 6 }, { 90, 5 } };
	static const uint64_t far_want[][2] = { { 100, 10 }, { 115, 6 }, { 90, 5 } };
	static const uint64_t fill[][2] = { { 100, 10 }, { 500, 1 }, { 119, 10 }, { 114, 1 } };
	static const uint64_t fill_want[][2] = { { 100, 29 }, { 500, 1 } };
	(void)state;
	CHECK(4, near, near_want);
	CHECK(4, fill, fill_want);
	CHECK(4, far, far_want);
	/* What was taken in with a gap is used, and no range is entered by another. */
	static const uint64_t in[][2] = { { 100, 10 }, { 114, 6 }, { 111, 2 }, { 200, 1 } };
	static const uint64_t in_want[][2] = { { 100, 20 }, { 200, 1 } };
	CHECK(4, in, in_want);
}

/* An old range grows no more, and there is a last one. */
static void test_bounds(void **state)
{
	struct ck_firstuse *f = NULL;
	struct ck_err err = { 0 };
	size_t n;
	(void)state;
	assert_works(ck_firstuse_open(&f, 100000, 0, 40, &err), &err);
	for (uint64_t i = 0; i < 17; i++)
		assert_works(ck_firstuse_add(f, i * 100, 1, &err), &err);
	assert_works(ck_firstuse_add(f, 1, 1, &err), &err); /* next to the first of 17 */
	assert_int_equal((ck_firstuse_ranges(f, &n), n), 18);
	assert_works(ck_firstuse_add(f, 301, 1, &err), &err); /* to one of the last 16 */
	assert_int_equal((ck_firstuse_ranges(f, &n), n), 18);
	for (uint64_t i = 18; i < 40; i++)
		assert_works(ck_firstuse_add(f, 10000 + i * 100, 1, &err), &err);
	assert_fails(ck_firstuse_add(f, 50, 1, &err), -EFBIG, &err, "more than 40 ranges");
	assert_false(ck_firstuse_has(f, 50, 1));
	assert_works(ck_firstuse_add(f, 13901, 5, &err), &err);	 /* the last one may grow */
	assert_works(ck_firstuse_add(f, 13896, 20, &err), &err); /* to either side */
	assert_int_equal((ck_firstuse_ranges(f, &n), n), 40);
	ck_firstuse_close(f);
}

enum { LEN = 4000 };

/* Any calls: each block is in one range, once it was asked for; all ranges hold is used. */
static void test_model(void **state)
{
	uint64_t seed = 1;
	(void)state;
	for (int round = 0; round < 300; round++) {
		struct ck_firstuse *f = NULL;
		struct ck_err err = { 0 };
		bool asked[LEN] = { false }, got[LEN] = { false };
		uint64_t gap = mk_random(&seed) % 3 * 20, len = 1 + mk_random(&seed) % LEN;
		size_t n;
		assert_works(ck_firstuse_open(&f, len, gap, 5000, &err), &err);
		for (int i = 0; i < 60; i++) {
			uint64_t off = mk_random(&seed) % len,
				 most = mk_random(&seed) % 2 ? 9 : 300;
			uint64_t nb = mk_random(&seed) % most;
			nb = nb < len - off ? nb : len - off;
			assert_works(ck_firstuse_add(f, off, nb, &err), &err);
			memset(asked + off, true, nb);
		}
		const struct ck_range *r = ck_firstuse_ranges(f, &n);
		for (size_t i = 0; i < n; i++) {
			assert_true(r[i].len && r[i].off < len && r[i].len <= len - r[i].off);
			for (uint64_t b = r[i].off; b < r[i].off + r[i].len; b++) {
				assert_false(got[b]);
				got[b] = true;
			}
		}
		for (uint64_t b = 0; b < len; b++) {
			assert_true(got[b] || !asked[b]);
			assert_true(gap || got[b] == asked[b]);
			assert_int_equal(ck_firstuse_has(f, b, 1), got[b]);
		}
		ck_firstuse_close(f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_gaps),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_model),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
