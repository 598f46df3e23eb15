/*
 * ramfile: what is written there is what is read, whoever may drop pages; and nobody finds it.
 * Needs root.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/ramfile.h"
#include "tests/unit/lib/unit.h"

enum { PAGE = 4096, PAGES = 300, LEN = PAGES * PAGE - 512 };

static void test_a_file(void **state)
{
	struct ck_err err = { 0 };
	struct statfs fs;
	struct stat st;
	void *p;
	int fd;

	(void)state;
	assert_works(ck_ramfile_open(&fd, &p, LEN, &err), &err);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0400);
	assert_int_equal(st.st_uid, geteuid());
	assert_int_equal(st.st_size, LEN);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(fstatfs(fd, &fs), 0);
	assert_int_equal(fs.f_type, RAMFS_MAGIC);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	for (size_t i = 0; i < LEN; i++)
		assert_int_equal(((const char *)p)[i], 0);
	munmap(p, LEN);
	close(fd);
}

/* As the kernel opens it, after whoever wrote it has let go of what it could see of it. */
static void test_kept(void **state)
{
	static unsigned char resident[PAGES], got[LEN];
	struct ck_err err = { 0 };
	char path[32];
	void *p;
	int fd;

	(void)state;
	assert_works(ck_ramfile_open(&fd, &p, LEN, &err), &err);
	for (size_t i = 0; i < LEN; i++)
		((unsigned char *)p)[i] = (unsigned char)(i / 511);
	munmap(p, LEN);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	int again = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(again >= 0);
	close(fd);
	p = mmap(NULL, LEN, PROT_READ, MAP_SHARED, again, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	/* What the kernel does when memory is short, with these pages. */
	assert_int_equal(madvise(p, LEN, MADV_POPULATE_READ), 0);
	assert_int_equal(madvise(p, LEN, MADV_PAGEOUT), 0);
	assert_int_equal(mincore(p, LEN, resident), 0);
	for (size_t i = 0; i < PAGES; i++)
		assert_true(resident[i] & 1);
	munmap(p, LEN);
	assert_int_equal(pread(again, got, sizeof got, 0), LEN);
	for (size_t i = 0; i < LEN; i++)
		assert_int_equal(got[i], (unsigned char)(i / 511));
	close(again);
}

static void test_mounted_nowhere(void **state)
{
	CK_BUF now = { 0 };
	struct ck_err err = { 0 };
	void *p;
	int fd;

	(void)state;
	assert_works(ck_ramfile_open(&fd, &p, LEN, &err), &err);
	assert_works(ck_file_read(&now, "/proc/self/mountinfo", &err), &err);
	assert_null(strstr(ck_buf_str(&now), " - ramfs cloakfs "));
	munmap(p, LEN);
	close(fd);
}

static void test_not_root(void **state)
{
	struct ck_err err = { 0 };
	void *p;
	int fd;

	(void)state;
	assert_int_equal(syscall(SYS_setresuid, -1, 65534, -1), 0); /* of this thread */
	int rc = ck_ramfile_open(&fd, &p, LEN, &err);
	assert_int_equal(syscall(SYS_setresuid, -1, 0, -1), 0);
	assert_fails(rc, -EPERM, &err, "ramfs");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_file),
		cmocka_unit_test(test_kept),
		cmocka_unit_test(test_mounted_nowhere),
		cmocka_unit_test(test_not_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
