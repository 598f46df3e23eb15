#include "tests/unit/lib/rc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cmdcall.h"
#include "base/file.h"

/* Runs SCRIPT with sh; IN goes in, at most MAX bytes come out. */
static int run_sh(const char *script, const char *in, size_t max, uint64_t ms, struct ck_buf *out,
		  struct ck_err *err)
{
	char *argv[] = { "/bin/sh", "-c", (char *)(uintptr_t)script, "arg 0", "a b", NULL };

	*out = (struct ck_buf){ .max = max };
	return ck_cmdcall(argv, in, strlen(in), ck_now_ms() + ms, NULL, out, err);
}

static const struct {
	const char *why, *script, *in;
	int want;
	const char *out, *says;
} rows[] = {
	{ "there and back", "cat", "{\"op\":1}", 0, "{\"op\":1}", "" },
	{ "arguments go as they are", "printf %s \"$1\"", "", 0, "a b", "" },
	{ "it need not read", "echo ok", "{}", 0, "ok\n", "" },
	{ "it may reopen its input", "cat /dev/stdin", "x", 0, "x", "" },
	{ "chatter on stderr is no failure", "echo hm >&2; echo ok", "", 0, "ok\n", "" },
	{ "a status, and why", "echo 'kbs: 401' >&2; exit 3", "", -EIO, NULL,
	  "status 3: kbs: 401" },
	{ "an answer, but a status", "echo ok; exit 1", "", -EIO, NULL, "status 1" },
	{ "a signal", "kill -KILL $$", "", -EIO, NULL, "signal 9" },
	{ "the end of a long story", "seq 1 500 >&2; echo why >&2; exit 1", "", -EIO, NULL, "why" },
	{ "too much of an answer", "yes", "", -EFBIG, NULL, "1000" },
	{ "too much to say is cut, not waited for", "seq 1 100000 >&2; echo ok", "", 0, "ok\n",
	  "" },
	{ "not found", "exec /nonexistent/program", "", -EIO, NULL, "status 127" },
};

static void runs_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		CK_BUF out = { 0 };
		struct ck_err err = { 0 };
		int rc = run_sh(rows[i].script, rows[i].in, 1000, 20000, &out, &err);
		if (rc != rows[i].want)
			fail_msg("%s: %d %s", rows[i].why, rc, err.msg);
		assert_says(&err, rows[i].says);
		if (rows[i].out)
			assert_string_equal(ck_buf_str(&out), rows[i].out);
	}
}

static void not_a_program(void **state)
{
	(void)state;
	char *none[] = { "/nonexistent/program", NULL }, *path[] = { "true", NULL };
	CK_BUF out = { 0 };
	struct ck_err err = { 0 };

	assert_rc(ck_cmdcall(none, "", 0, ck_now_ms() + 5000, NULL, &out, &err), -ENOENT, &err);
	assert_says(&err, "/nonexistent/program");
	assert_rc(ck_cmdcall(path, "", 0, ck_now_ms() + 5000, NULL, &out, &err), 0, &err);
}

/* Gives up what has come so far as to write into the file PATH. */
struct giver_up {
	const char *path;
	atomic_bool cancel;
};

static void *give_up(void *arg)
{
	struct giver_up *g = arg;
	struct stat st;

	while (stat(g->path, &st) == 0 && st.st_size == 0)
		(void)poll(NULL, 0, 5);
	atomic_store(&g->cancel, true);
	return NULL;
}

/* However it hangs, the deadline ends it, and nothing of it is left. */
static void deadlines(void **state)
{
	(void)state;
	/* Each leaves the number of what must be gone in the file $0. */
	static const char *const scripts[] = {
		"echo $$ >\"$0\"; exec sleep 1000",	      /* mute */
		"echo $$ >\"$0\"; exec >&- 2>&-; sleep 1000", /* done talking, but there */
		"sleep 1000 & echo $! >\"$0\"; exit 0",	      /* a child holds the pipe */
		"trap '' TERM; echo $$ >\"$0\"; while :; do sleep 1; done", /* deaf */
	};
	char path[] = "/tmp/ck-test-cmdcall.XXXXXX";

	ck_closep(&(int){ mkstemp(path) });
	for (size_t i = 0; i < 8; i++) {
		CK_BUF out = { 0 }, pid = { 0 };
		struct ck_err err = { 0 };
		char *argv[] = { "sh", "-c", (char *)(uintptr_t)scripts[i % 4], path, NULL };
		uint64_t start = ck_now_ms();
		struct giver_up g = { .path = path };
		assert_int_equal(truncate(path, 0), 0);
		if (i < 4) {
			assert_rc(ck_cmdcall(argv, "", 0, start + 300, NULL, &out, &err),
				  -ETIMEDOUT, &err);
			assert_true(ck_now_ms() - start >= 300);
		} else {
			pthread_t t;
			assert_int_equal(pthread_create(&t, NULL, give_up, &g), 0);
			int rc = ck_cmdcall(argv, "", 0, start + 60000, &g.cancel, &out, &err);
			pthread_join(t, NULL);
			assert_rc(rc, -ECANCELED, &err);
		}
		assert_true(ck_now_ms() - start < 10000);
		assert_rc(ck_file_read(&pid, path, &err), 0, &err);
		/* Killed; a grandchild is init's to reap, which takes a moment. */
		pid_t p = atoi(ck_buf_str(&pid));
		assert_true(p > 1);
		for (int tries = 0; kill(p, 0) == 0; tries++) {
			char stat_path[64];
			CK_BUF stat = { 0 };
			snprintf(stat_path, sizeof stat_path, "/proc/%d/stat", p);
			if (ck_file_read(&stat, stat_path, NULL) < 0 ||
			    strstr(ck_buf_str(&stat), ") Z "))
				break;
			assert_true(tries < 500);
			(void)poll(NULL, 0, 10);
		}
	}
	(void)unlink(path);
}

/* The child has no descriptor of ours but its three, and no signals blocked or ignored. */
static void child_inherits_nothing(void **state)
{
	(void)state;
	/* Not by way of a shell, which clears its mask itself. */
	char *status[] = { "grep", "-E", "SigBlk|SigIgn", "/proc/self/status", NULL };
	CK_BUF fds = { 0 }, signals = { 0 };
	struct ck_err err = { 0 };
	sigset_t all, old;
	int fd = open("/dev/null", O_RDONLY); /* not close-on-exec, as a careless library's */

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &old);
	int rc = ck_cmdcall(status, "", 0, ck_now_ms() + 20000, NULL, &signals, &err);
	sigprocmask(SIG_SETMASK, &old, NULL);
	assert_rc(rc, 0, &err);
	assert_non_null(strstr(ck_buf_str(&signals), "SigBlk:\t0000000000000000"));
	/* SIGPIPE, which main ignores; libc leaves two of its own ignored. */
	const char *ignored = strstr(ck_buf_str(&signals), "SigIgn:\t");
	assert_non_null(ignored);
	assert_int_equal(strtoull(ignored + 8, NULL, 16) & 1U << (SIGPIPE - 1), 0);

	assert_rc(run_sh("ls /proc/self/fd | tr '\\n' ' '", "", 1000, 20000, &fds, &err), 0, &err);
	assert_string_equal(ck_buf_str(&fds), "0 1 2 3 "); /* 3: of ls itself */
	ck_closep(&fd);
}

/* Where SIGCHLD is ignored nobody can tell how a child ended: that is no success. */
static void ignored_sigchld(void **state)
{
	(void)state;
	CK_BUF out = { 0 };
	struct ck_err err = { 0 };

	(void)signal(SIGCHLD, SIG_IGN);
	int rc = run_sh("exit 1", "", 1000, 20000, &out, &err);
	(void)signal(SIGCHLD, SIG_DFL);
	assert_rc(rc, -ECHILD, &err);
}

/* A daemon may run with its standard descriptors closed. */
static void closed_standard_descriptors(void **state)
{
	(void)state;
	CK_BUF out = { 0 };
	struct ck_err err = { 0 };
	int in = dup(0);

	ck_closep(&(int){ 0 });
	int rc = run_sh("cat; echo hm >&2", "hello", 1000, 20000, &out, &err);
	assert_int_equal(dup2(in, 0), 0);
	ck_closep(&in);
	assert_rc(rc, 0, &err);
	assert_string_equal(ck_buf_str(&out), "hello");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_table),	   cmocka_unit_test(not_a_program),
		cmocka_unit_test(deadlines),	   cmocka_unit_test(child_inherits_nothing),
		cmocka_unit_test(ignored_sigchld), cmocka_unit_test(closed_standard_descriptors),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
