/* What was said lately is not said again, until it is time. */
#include "base/seldom.h"
#include "tests/unit/lib/unit.h"

static void test_seldom(void **state)
{
	struct ck_seldom s = { 0 };

	(void)state;
	assert_false(ck_seldom_said(&s, 0, 5, 1000)); /* the clock may have just begun */
	assert_true(ck_seldom_said(&s, 0, 5, 1000));
	assert_true(ck_seldom_said(&s, 0, 1004, 1000)); /* that it is silent is no reason to be */
	assert_false(ck_seldom_said(&s, 0, 1005, 1000));
	assert_true(ck_seldom_said(&s, 0, 1006, 1000));
}

/* Several things in turn, each once. */
static void test_several(void **state)
{
	struct ck_seldom s = { 0 };
	unsigned said = 0;

	(void)state;
	for (uint64_t i = 0; i < 1000; i++)
		said += !ck_seldom_said(&s, i % 6 * 5002544, 100 + i, 5000);
	assert_int_equal(said, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_seldom),
		cmocka_unit_test(test_several),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
