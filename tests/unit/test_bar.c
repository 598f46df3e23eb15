/* The progress bar: what a terminal sees, and what a file does. */
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/unit/lib/unit.h"
#include "tools/cloakfs/bar.h"

#define MIB ((uint64_t)1 << 20)

static char got[8192];

/* Has STDERR be FD meanwhile, and lets a bar of AGE_MS run over it. */
static void run_on(int fd, uint64_t age_ms, uint64_t nbytes)
{
	struct ck_bar bar;
	int was = dup(STDERR_FILENO);

	fflush(stderr);
	assert_true(dup2(fd, STDERR_FILENO) >= 0);
	ck_bar_start(&bar, "verifying");
	bar.start_ms -= age_ms;
	ck_bar_update(&bar, nbytes, 400 * MIB);
	ck_bar_tell(&bar);
	ck_bar_end(&bar);
	ck_bar_tell(&bar); /* no more */
	fflush(stderr);
	dup2(was, STDERR_FILENO);
	close(was);
}

static const char *on_terminal(uint64_t age_ms)
{
	int ours, theirs;
	struct pollfd on;
	ssize_t n = 0;

	assert_int_equal(openpty(&ours, &theirs, NULL, NULL, NULL), 0);
	run_on(theirs, age_ms, 300 * MIB);
	on = (struct pollfd){ .fd = ours, .events = POLLIN };
	if (poll(&on, 1, 0) > 0)
		n = read(ours, got, sizeof got - 1);
	got[n > 0 ? n : 0] = 0;
	close(ours);
	close(theirs);
	return got;
}

static const char *on_file(uint64_t age_ms, uint64_t nbytes)
{
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	run_on(ends[1], age_ms, nbytes);
	ssize_t n = read(ends[0], got, sizeof got - 1);
	got[n > 0 ? n : 0] = 0;
	close(ends[0]);
	close(ends[1]);
	return got;
}

static void test_terminal(void **state)
{
	(void)state;
	assert_string_equal(on_terminal(0), "");
	assert_non_null(strstr(on_terminal(100000),
			       "\rverifying [######################........]  75%  300.0 of "
			       "400.0 MiB  3.0 MiB/s\033[K"));
	assert_string_equal(got + strlen(got) - 4, "\r\033[K");
	assert_null(strstr(got, "note"));
}

static void test_file(void **state)
{
	(void)state;
	assert_string_equal(on_file(0, 300 * MIB), "");
	assert_string_equal(on_file(4000, 300 * MIB), "");
	assert_string_equal(on_file(100000, 0), ""); /* nothing was to be gone through */
	double mib, seconds, rate;
	char end;
	assert_int_equal(sscanf(on_file(100000, 300 * MIB),
				"cloakfs: note: verifying: %lf MiB in %lf s, %lf MiB/s%c", &mib,
				&seconds, &rate, &end),
			 4);
	assert_true(mib == 300 && seconds >= 100 && seconds < 110 && rate > 2.7 && rate < 3.01);
	assert_true(end == '\n' && strchr(got, '\n') == got + strlen(got) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_terminal),
		cmocka_unit_test(test_file),
	};

	return cmocka_run_group_tests_name("bar", tests, NULL, NULL);
}
