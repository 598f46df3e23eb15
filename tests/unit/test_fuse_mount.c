/*
 * fuse: the life of a mount: how it begins, how it ends, what is left when its daemon is
 * killed, and what a layer that changes underneath costs the reader.
 */
#include <sys/socket.h>
#include <sys/syscall.h>

#include "fs/fuse/beacon.h"
#include "fs/fuse/mountpoint.h"
#include "tests/unit/test_fuse_stand.h"

static const struct ck_mount_spec spec = { .view = CK_VIEW_ROOTFS,
					   .source = "x",
					   .timeout_ms = 60000 };

enum { FILE_LEN = 4 << 20 };

static struct stand st;
static struct ck_buf content; /* of "file" */

static int set_up(void **state)
{
	(void)state;
	st = (struct stand){ 0 };
	mk_bytes(&content, 11, FILE_LEN);
	for (size_t i = 0; i < STAND_LAYERS; i++) {
		struct archive *a = stand_tar(&st.tar[i]);
		if (i == 0) {
			stand_add(a, stand_entry("file", S_IFREG | 0644), content.data,
				  content.len);
			stand_add(a, stand_entry("dir/other", S_IFREG | 0644), "other", 5);
		}
		archive_write_free(a);
	}
	stand_open(&st);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	stand_close(&st);
	ck_buf_free(&content);
	return 0;
}

static bool mounted(void)
{
	struct ck_mounted m;

	return ck_mounted_at(st.dir, &m, NULL) == 0;
}

static int open_file(void)
{
	int fd = open(stand_path(&st, "file"), O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static const char *log_text(struct ck_buf *b)
{
	ck_buf_free(b);
	assert_int_equal(ck_file_read(b, st.log, NULL), 0);
	return ck_buf_str(b);
}

static void test_signals(void **state)
{
	static const int all[] = { SIGTERM, SIGINT, SIGHUP };

	(void)state;
	for (size_t i = 0; i < 2 * sizeof all / sizeof *all; i++) {
		char c;
		bool busy = i >= sizeof all / sizeof *all;
		stand_mount(&st, CK_VIEW_ROOTFS, "oci:x");
		int fd = busy ? open_file() : -1;
		assert_int_equal(kill(st.daemon, all[i % 3]), 0);
		assert_int_equal(stand_wait(&st), 0);
		assert_false(mounted());
		if (!busy)
			continue;
		/* What was open is dead, not hanging. */
		assert_int_equal(pread(fd, &c, 1, 0), -1);
		assert_int_equal(errno, ENOTCONN);
		close(fd);
	}
}

/* A program told to ignore a signal goes on ignoring it. */
static void test_ignored_signal(void **state)
{
	(void)state;
	signal(SIGHUP, SIG_IGN);
	stand_mount(&st, CK_VIEW_ROOTFS, "oci:x");
	signal(SIGHUP, SIG_DFL);
	int fd = open_file();
	assert_int_equal(kill(st.daemon, SIGHUP), 0);
	char c;
	assert_int_equal(pread(fd, &c, 1, 0), 1);
	assert_true(mounted());
	close(fd);
	assert_int_equal(kill(st.daemon, SIGTERM), 0);
	assert_int_equal(stand_wait(&st), 0);
	CK_BUF log = { 0 };
	assert_non_null(strstr(log_text(&log), strsignal(SIGTERM)));
	assert_null(strstr(log_text(&log), strsignal(SIGHUP)));
}

static void test_unmount(void **state)
{
	struct ck_err err = { 0 };
	int status;

	(void)state;
	st.linger_ms = 100;
	stand_mount(&st, CK_VIEW_ROOTFS, "oci:x");
	int fd = open_file();
	assert_fails(ck_unmount(st.dir, false, &err), -EBUSY, &err, "open");
	assert_true(mounted());
	close(fd);
	assert_works(ck_unmount(st.dir, false, &err), &err);
	assert_false(mounted());
	/* It waited for the daemon: there is nothing left to wait for. Not so under valgrind
	 * 3.19, which has no pidfd_open. */
	int self = (int)syscall(SYS_pidfd_open, getpid(), 0);
	assert_int_equal(waitpid(st.daemon, &status, self < 0 ? 0 : WNOHANG), st.daemon);
	ck_closep(&self);
	st.daemon = 0;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_fails(ck_unmount(st.dir, false, &err), -EINVAL, &err, "nothing is mounted");
}

/* As fusermount3 -u and umount do: the daemon sees it and ends. */
static void test_unmounted_by_others(void **state)
{
	(void)state;
	stand_mount(&st, CK_VIEW_ROOTFS, "oci:x");
	assert_int_equal(umount2(st.dir, 0), 0);
	assert_int_equal(stand_wait(&st), 0);
}

/* What is mounted over ours is not taken away in our name. */
static void test_covered(void **state)
{
	struct ck_err err = { 0 };

	(void)state;
	stand_mount(&st, CK_VIEW_ROOTFS, "oci:x");
	assert_int_equal(mount("over", st.dir, "tmpfs", 0, NULL), 0);
	assert_fails(ck_unmount(st.dir, false, &err), -EINVAL, &err, "of type tmpfs");
	assert_int_equal(kill(st.daemon, SIGTERM), 0);
	assert_int_equal(stand_wait(&st), 0);
	struct ck_mounted m;
	assert_int_equal(ck_mounted_at(st.dir, &m, NULL), 0);
	assert_string_equal(m.type, "tmpfs");
}

static void test_killed(void **state)
{
	struct ck_err err = { 0 };
	struct ck_mount *m = NULL;

	(void)state;
	stand_mount(&st, CK_VIEW_ROOTFS, "oci:x");
	int fd = open_file();
	assert_int_equal(kill(st.daemon, SIGKILL), 0);
	assert_int_equal(stand_wait(&st), -SIGKILL);
	assert_fails(ck_mount_open(&m, &st.stack, &spec, st.dir, &err), -EBUSY, &err,
		     "cloakfs umount");
	assert_works(ck_unmount(st.dir, false, &err), &err); /* though a file is open */
	assert_false(mounted());
	close(fd);
	stand_mount(&st, CK_VIEW_ROOTFS, "oci:x");
	stand_unmount(&st);
}

static void test_refused(void **state)
{
	struct ck_err err = { 0 };
	struct ck_mount *m = NULL;
	char file[64], none[64];

	(void)state;
	snprintf(file, sizeof file, "%s/f", st.dir);
	snprintf(none, sizeof none, "%s/none", st.dir);
	close(open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	assert_fails(ck_mount_open(&m, &st.stack, &spec, file, &err), -ENOTDIR, &err,
		     "not a directory");
	unlink(file);
	assert_fails(ck_mount_open(&m, &st.stack, &spec, none, &err), -ENOENT, &err, none);
	assert_fails(ck_unmount(none, false, &err), -ENOENT, &err, none);
	stand_mount(&st, CK_VIEW_LAYERS, "oci:x");
	assert_fails(ck_mount_open(&m, &st.stack, &spec, st.dir, &err), -EBUSY, &err,
		     "already mounted");
	stand_unmount(&st);
	assert_fails(ck_unmount("/proc", false, &err), -EINVAL, &err, "of type proc");
	struct ck_tree *tree = st.stack.tree;
	st.stack.tree = NULL;
	assert_fails(ck_mount_open(&m, &st.stack, &spec, st.dir, &err), -EINVAL, &err,
		     "not merged");
	st.stack.tree = tree;
	assert_false(mounted());
	assert_null(m);
	ck_mount_close(NULL);
}

/* Opened and never run: nothing stays mounted. */
static void test_closed_before_run(void **state)
{
	struct ck_err err = { 0 };
	struct ck_mount *m = NULL;

	(void)state;
	assert_works(ck_mount_open(&m, &st.stack, &spec, st.dir, &err), &err);
	assert_true(mounted());
	ck_mount_close(m);
	assert_false(mounted());
}

/* A relative path, a symlink and a trailing slash name the same mount. */
static void test_names_of_dir(void **state)
{
	struct ck_err err = { 0 };
	char link[64], slash[64];

	(void)state;
	snprintf(link, sizeof link, "%s.link", st.dir);
	snprintf(slash, sizeof slash, "%s///", st.dir);
	assert_int_equal(symlink(st.dir, link), 0);
	const char *const names[] = { link, slash, st.dir + 1 };
	assert_int_equal(chdir("/"), 0);
	for (size_t i = 0; i < 3; i++) {
		stand_mount(&st, CK_VIEW_ROOTFS, "oci:x");
		assert_works(ck_unmount(names[i], false, &err), &err);
		assert_int_equal(stand_wait(&st), 0);
		assert_false(mounted());
	}
	unlink(link);
}

/* One changed byte: EIO where it lies, the rest as it was, one line that says what. */
static void test_damage(void **state)
{
	const uint64_t tar_off = st.index[0]->extents[0].tar_off, at = 2000000;
	uint8_t *buf = malloc(FILE_LEN);
	CK_BUF log = { 0 };
	char line[128];

	(void)state;
	stand_mount(&st, CK_VIEW_ROOTFS, "oci:x");
	st.blob[0][tar_off + at] ^= 1;
	int fd = open_file();
	posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	assert_int_equal(pread(fd, buf, 100, at), -1);
	assert_int_equal(errno, EIO);
	uint64_t page = at / 4096 * 4096;
	snprintf(line, sizeof line,
		 "layer 0: read of 4096 bytes at %llu of /file failed: ", (unsigned long long)page);
	const char *said = strstr(log_text(&log), line);
	assert_non_null(said);
	assert_non_null(strstr(said, "layer 0 (test)")); /* and which check, in tar's words */
	assert_null(strstr(said + 1, line)); /* the kernel tried twice: once is enough */
	uint64_t n_lost = 0;
	for (uint64_t off = 0; off < FILE_LEN; off += 4096) {
		ssize_t n = pread(fd, buf, 4096, (off_t)off);
		if (n < 0) {
			assert_int_equal(errno, EIO);
			n_lost += 4096;
			continue;
		}
		assert_false(off <= at && at < off + 4096);
		assert_int_equal(n, 4096);
		assert_memory_equal(buf, content.data + off, 4096);
	}
	assert_in_range(n_lost, 4096, 1 << 20); /* what is checked as one */
	st.blob[0][tar_off + at] ^= 1;		/* an EIO is not remembered */
	assert_int_equal(pread(fd, buf, 100, at), 100);
	assert_memory_equal(buf, content.data + at, 100);
	close(fd);
	free(buf);
	stand_unmount(&st);
}

/* The beacon by itself: there while it burns, and one sees it go out. */
static void test_beacon(void **state)
{
	pid_t pid = 0;

	(void)state;
	assert_int_equal(ck_beacon_find(4095, 1, geteuid(), &pid), -ENOENT);
	int lit = ck_beacon_light(4095, 1);
	assert_true(lit >= 0);
	assert_int_equal(ck_beacon_find(4095, 11, geteuid(), &pid), -ENOENT);
	int seen = ck_beacon_find(4095, 1, geteuid(), &pid);
	assert_true(seen >= 0);
	assert_int_equal(pid, getpid());
	assert_int_equal(ck_beacon_await_end(seen, pid, 20), -ETIMEDOUT);
	close(lit);
	assert_int_equal(ck_beacon_await_end(seen, pid, 5000), 0);
	close(seen);
	assert_int_equal(ck_beacon_find(4095, 1, geteuid(), &pid), -ENOENT);
}

/* The number of a device may be another mount's while the daemon of the one before still ends: what
 * was lit last is the one that is there, wherever the others stand in the table. */
static void test_beacons_of_a_device(void **state)
{
	enum { N = 8 };
	int lit[N];
	pid_t pid = 0;

	(void)state;
	for (int i = 0; i < N; i++) {
		lit[i] = ck_beacon_light(4095, 2);
		assert_true(lit[i] >= 0);
		int seen = ck_beacon_find(4095, 2, geteuid(), &pid);
		assert_true(seen >= 0);
		int met = accept(lit[i], NULL, NULL); /* does not block */
		assert_true(met >= 0);
		close(met);
		close(seen);
	}
	for (int i = N - 1; i > 0; i--) {
		close(lit[i]);
		int seen = ck_beacon_find(4095, 2, geteuid(), &pid);
		int met = accept(lit[i - 1], NULL, NULL);
		assert_true(seen >= 0 && met >= 0);
		close(met);
		close(seen);
	}
	close(lit[0]);
}

#define WITH_STAND(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STAND(test_signals),      WITH_STAND(test_ignored_signal),
		WITH_STAND(test_unmount),      WITH_STAND(test_unmounted_by_others),
		WITH_STAND(test_covered),      WITH_STAND(test_killed),
		WITH_STAND(test_refused),      WITH_STAND(test_closed_before_run),
		WITH_STAND(test_names_of_dir), WITH_STAND(test_damage),
		cmocka_unit_test(test_beacon), cmocka_unit_test(test_beacons_of_a_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
