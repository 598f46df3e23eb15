/* What is taken for reading in order, what is not, and how far ahead it leads. */
#include "tar/readahead.h"
#include "tests/unit/lib/make.h"
#include "tests/unit/lib/unit.h"

enum { MIB = 1 << 20 };

/* N units of LEN bytes, and nobody reading them yet. */
struct stand {
	struct ck_units units;
	struct ck_readahead r;
	uint32_t given; /* units given out in all */
	uint32_t end;	/* behind the last of them */
};

static void stand_open(struct stand *s, size_t n, uint64_t len)
{
	struct ck_err err = { 0 };
	const struct ck_point p = { 0 };

	*s = (struct stand){ 0 };
	assert_works(ck_units_add_point(&s->units, &p, NULL, 0, &err), &err);
	for (size_t i = 1; i < n; i++)
		assert_works(ck_units_add_unit(&s->units, i * len, &err), &err);
	assert_int_equal(ck_units_finish(&s->units, n * len, n * len, NULL), 0);
	ck_readahead_init(&s->r, &s->units);
}

static void stand_close(struct stand *s)
{
	ck_readahead_destroy(&s->r);
	ck_units_free(&s->units);
}

/* Reads; how many units that makes worth preparing. */
static uint32_t note(struct stand *s, uint64_t off, size_t nbytes)
{
	uint32_t first = 0, n;

	ck_readahead_note(&s->r, off, nbytes, &first, &n);
	if (n) {
		uint32_t last = ck_units_find(&s->units, off + nbytes - 1);
		assert_true(first > last && first + n <= s->units.n_units);
		assert_true(first + n - 1 - last <= CK_READAHEAD_UNITS);
		s->given += n;
		s->end = first + n;
	}
	return n;
}

/* From the third unit on: one ahead, two, four; each given out once, to the end. */
static void test_in_order(void **state)
{
	static const uint32_t end[] = { 0, 0, 4, 6, 9, 10, 11, 12, 12, 12, 12, 12 };
	struct stand s;
	(void)state;
	stand_open(&s, 12, MIB);
	for (uint64_t off = 0; off < 12 * MIB; off += 4096) {
		note(&s, off, 4096);
		assert_int_equal(s.end, end[off / MIB]);
	}
	assert_int_equal(s.given, 12 - 3);
	stand_close(&s);
	/* The same by one read for each unit, and by reads of several. */
	stand_open(&s, 12, MIB);
	for (uint64_t off = 0; off < 12 * MIB; off += MIB) {
		note(&s, off, MIB);
		assert_int_equal(s.end, end[off / MIB]);
	}
	stand_close(&s);
	stand_open(&s, 40, MIB / 8);
	for (uint64_t i = 0; i < 5; i++) {
		note(&s, i * MIB, MIB);
		uint32_t last = (uint32_t)i * 8 + 7;
		assert_int_equal(s.end, i < 2 ? 0 : i == 2 ? last + 2 : i == 3 ? last + 3 : 0);
		if (i == 3)
			break;
	}
	stand_close(&s);
}

/* However often the same unit is read, in whatever order, there or from its first byte. */
static void test_same_unit(void **state)
{
	struct stand s;
	uint64_t seed = 1;
	(void)state;
	stand_open(&s, 12, MIB);
	for (int i = 0; i < 10000; i++)
		assert_int_equal(note(&s, 3 * MIB + mk_random(&seed) % (MIB - 4096), 4096), 0);
	for (uint64_t unit = 4; unit < 7; unit++) /* nor does it hide what follows */
		note(&s, unit * MIB, MIB);
	assert_true(s.given > 0);
	uint32_t given = s.given;
	for (uint64_t off = 6 * MIB; off < 7 * MIB; off += 4096)
		for (int i = 0; i < 3; i++)
			assert_int_equal(note(&s, off, 4096), 0);
	assert_int_equal(s.given, given);
	stand_close(&s);
}

/* Reads here and there, from few units and from many, and backwards. */
static void test_random(void **state)
{
	static const struct {
		size_t n_units, unit, most; /* bytes of a read */
	} rows[] = {
		{ 40, MIB, 4096 },     { 40, MIB, 65536 },	 { 40, MIB / 4, 4096 },
		{ 40, MIB / 8, 4096 }, { 400, MIB, 131072 },	 { 4000, MIB, 131072 },
		{ 9, MIB, 4096 },      { 4000, MIB / 8, 16384 }, { 1, MIB, 4096 },
	};
	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		struct stand s;
		uint64_t seed = i;
		stand_open(&s, rows[i].n_units, rows[i].unit);
		for (int k = 0; k < 200000; k++) {
			size_t n = 1 + mk_random(&seed) % rows[i].most;
			note(&s, mk_random(&seed) % (s.units.len - n), n);
		}
		if (s.given)
			fail_msg("row %zu: %u units", i, s.given);
		for (uint64_t off = s.units.len; off; off -= 4096)
			note(&s, off - 4096, 4096);
		assert_int_equal(s.given, 0);
		stand_close(&s);
	}
}

/* Files one after the other: a header is left out between them, and now and then a small file. A
 * reader who leaves out more is none who reads in order. */
static void test_gaps(void **state)
{
	static const struct {
		uint64_t skip;
		bool in_order;
	} rows[] = { { 512, true }, { 60000, true }, { MIB / 8, true }, { MIB / 8 + 1, false } };
	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		struct stand s;
		stand_open(&s, 12, MIB);
		for (uint64_t off = 0; off < 11 * MIB; off += 10000 + rows[i].skip)
			note(&s, off, 10000);
		assert_int_equal(s.given, rows[i].in_order ? 12 - 3 : 0);
		stand_close(&s);
	}
}

/* Requests of one reader that overtake each other, as they do on several threads. */
static void test_overtaking(void **state)
{
	struct stand s;
	(void)state;
	stand_open(&s, 40, MIB);
	for (uint64_t i = 0; i < 40 * 8; i += 2) {
		note(&s, (i + 1) * (MIB / 8), MIB / 8);
		note(&s, i * (MIB / 8), MIB / 8);
	}
	assert_int_equal(s.given, 40 - 3);
	stand_close(&s);
}

/* As many readers as there is room for; and one amid others who read here and there. */
static void test_many_streams(void **state)
{
	enum { LEN = 10 };
	struct stand s;
	uint64_t seed = 7;
	(void)state;
	stand_open(&s, CK_READAHEAD_STREAMS * LEN, MIB);
	for (uint64_t off = 0; off < LEN * MIB; off += 65536)
		for (uint64_t k = 0; k < CK_READAHEAD_STREAMS; k++)
			note(&s, k * LEN * MIB + off, 65536);
	/* Each looks beyond its end, but for the last. */
	assert_true(s.given >= CK_READAHEAD_STREAMS * (LEN - 3));
	stand_close(&s);

	stand_open(&s, 1000, MIB);
	for (uint64_t off = 0; off < 4 * MIB; off += 65536)
		note(&s, off, 65536);
	assert_true(s.given > 0);
	for (uint64_t off = 4 * MIB; off < 20 * MIB; off += 65536) {
		note(&s, off, 65536);
		for (int i = 0; i < 30; i++)
			note(&s, 30 * MIB + mk_random(&seed) % (960 * MIB), 4096);
	}
	assert_int_equal(s.end, 19 + 1 + CK_READAHEAD_UNITS);
	assert_int_equal(s.given, s.end - 3);
	/* One who left is forgotten in the end. */
	for (int i = 0; i < 1000; i++)
		note(&s, 30 * MIB + mk_random(&seed) % (960 * MIB), 4096);
	assert_int_equal(note(&s, 20 * MIB, MIB), 0);
	stand_close(&s);
}

/* Large units: not more than CK_READAHEAD_BYTES of them, but one. */
static void test_bytes(void **state)
{
	static const struct {
		size_t unit;
		uint32_t ahead;
	} rows[] = { { MIB / 8, 4 }, { MIB, 4 },     { MIB + 4096, 3 },
		     { 2 * MIB, 2 }, { 3 * MIB, 1 }, { 4 * MIB, 1 } };
	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		struct stand s;
		stand_open(&s, 30, rows[i].unit);
		for (uint64_t unit = 0; unit < 20; unit++)
			note(&s, unit * rows[i].unit, rows[i].unit);
		assert_int_equal(s.end, 19 + 1 + rows[i].ahead);
		stand_close(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_in_order),   cmocka_unit_test(test_same_unit),
		cmocka_unit_test(test_random),	   cmocka_unit_test(test_gaps),
		cmocka_unit_test(test_overtaking), cmocka_unit_test(test_many_streams),
		cmocka_unit_test(test_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
