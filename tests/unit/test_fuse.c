/*
 * fuse: what the layers hold, seen through the kernel. One mount of each view for all
 * tests; the lower layer holds one of everything, the upper one hides and replaces.
 */
#include <dirent.h>
#include <grp.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "fs/fuse/catalog.h"
#include "tests/unit/test_fuse_stand.h"

enum {
	BIG = 3000000,
	MANY = 5000,
	HOLE_AT = 1 << 20,
	SPARSE_LEN = 5 << 20,
	DATA_LEN = 65536,
	N_READERS = 4
};

static struct stand root, layers;
static struct ck_buf big; /* what d/big holds */
static char long_name[256];

static void add_text(struct archive *a, const char *path, mode_t mode, const char *text)
{
	stand_add(a, stand_entry(path, mode), text, strlen(text));
}

static void add_special(struct archive *a)
{
	struct archive_entry *e = stand_entry("d/link", S_IFLNK | 0777);
	archive_entry_set_symlink(e, "../d/big");
	stand_add(a, e, NULL, 0);
	e = stand_entry("d/hard", S_IFREG | 0644);
	archive_entry_set_hardlink(e, "d/suid");
	archive_entry_unset_size(e);
	stand_add(a, e, NULL, 0);
	e = stand_entry("d/null", S_IFCHR | 0666);
	archive_entry_set_rdevmajor(e, 1);
	archive_entry_set_rdevminor(e, 3);
	stand_add(a, e, NULL, 0);
	e = stand_entry("d/block", S_IFBLK | 0660);
	archive_entry_set_rdevmajor(e, 259);
	archive_entry_set_rdevminor(e, 70000);
	stand_add(a, e, NULL, 0);
	stand_add(a, stand_entry("d/fifo", S_IFIFO | 0600), NULL, 0);
}

static void add_sparse(struct archive *a)
{
	struct archive_entry *e = stand_entry("d/sparse", S_IFREG | 0644);
	uint8_t *data = calloc(1, SPARSE_LEN);

	memset(data + HOLE_AT, 'x', DATA_LEN);
	archive_entry_set_size(e, SPARSE_LEN);
	archive_entry_sparse_add_entry(e, HOLE_AT, DATA_LEN);
	stand_add(a, e, data, SPARSE_LEN);
	free(data);
}

static void add_xattrs(struct archive *a)
{
	/* VFS_CAP_REVISION_2, cap_net_bind_service permitted and effective */
	static const uint8_t cap[20] = { 1, 0, 0, 2, 0, 4 };
	struct archive_entry *e = stand_entry("d/xattrs", S_IFREG | 0755);

	archive_entry_xattr_add_entry(e, "user.one", "1", 1);
	archive_entry_xattr_add_entry(e, "user.none", "", 0);
	archive_entry_xattr_add_entry(e, "security.capability", cap, sizeof cap);
	archive_entry_xattr_add_entry(e, "trusted.t", "t\0u", 3);
	stand_add(a, e, "x", 1);
}

/* Mode 0640, and user 70001 may read. */
static void add_acl(struct archive *a)
{
	struct archive_entry *e = stand_entry("acl", S_IFREG | 0640);
	enum { ACCESS = ARCHIVE_ENTRY_ACL_TYPE_ACCESS, R = ARCHIVE_ENTRY_ACL_READ };

	archive_entry_acl_add_entry(e, ACCESS, R, ARCHIVE_ENTRY_ACL_USER, 70001, "reader");
	archive_entry_acl_add_entry(e, ACCESS, R, ARCHIVE_ENTRY_ACL_MASK, -1, "");
	stand_add(a, e, "acl", 3);
}

static void make_layers(struct stand *s)
{
	struct archive *a = stand_tar(&s->tar[0]);
	struct archive_entry *e = stand_entry("d", S_IFDIR | 01750);

	archive_entry_set_uid(e, 70000);
	archive_entry_set_gid(e, 8);
	stand_add(a, e, NULL, 0);
	stand_add(a, stand_entry("d/big", S_IFREG | 0644), big.data, big.len);
	add_text(a, "d/suid", S_IFREG | 06755, "#!/bin/true\n");
	add_text(a, "d/empty", S_IFREG | 0400, "");
	add_special(a);
	add_sparse(a);
	add_xattrs(a);
	add_acl(a);
	add_text(a, "d/\xff\xfe\n", S_IFREG | 0644, "no UTF-8");
	add_text(a, long_name, S_IFREG | 0644, "long");
	add_text(a, "gone/x", S_IFREG | 0644, "gone");
	add_text(a, "changed", S_IFREG | 0644, "old");
	for (int i = 0; i < MANY; i++) {
		char path[32];
		snprintf(path, sizeof path, "many/f%d", i);
		add_text(a, path, S_IFREG | 0644, path);
	}
	archive_write_free(a);
	a = stand_tar(&s->tar[1]);
	add_text(a, ".wh.gone", S_IFREG | 0644, "");
	add_text(a, "changed", S_IFREG | 0644, "new, longer");
	add_text(a, "implied/x", S_IFREG | 0644, "x");
	archive_write_free(a);
}

static int set_up(void **state)
{
	(void)state;
	mk_bytes(&big, 7, BIG);
	memset(long_name, 'n', 255);
	make_layers(&root);
	make_layers(&layers);
	stand_open(&root);
	stand_open(&layers);
	stand_mount(&root, CK_VIEW_ROOTFS, "oci:/a dir,with\\odd:1");
	stand_mount(&layers, CK_VIEW_LAYERS, "oci:x");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	stand_unmount(&root);
	stand_unmount(&layers);
	stand_close(&root);
	stand_close(&layers);
	ck_buf_free(&big);
	return 0;
}

static void assert_text(const char *path, const char *text)
{
	CK_BUF b = { 0 };
	struct ck_err err = { 0 };

	assert_works(ck_file_read(&b, path, &err), &err);
	assert_string_equal(ck_buf_str(&b), text);
}

static void test_attributes(void **state)
{
	static const struct {
		const char *why, *path;
		mode_t mode;
		nlink_t nlink;
		off_t size;
		uid_t uid;
		unsigned major, minor;
	} rows[] = {
		{ "sticky directory, big uid", "d", S_IFDIR | 01750, 2, 4096, 70000, 0, 0 },
		{ "setuid, two names", "d/suid", S_IFREG | 06755, 2, 12, 0, 0, 0 },
		{ "the other name", "d/hard", S_IFREG | 06755, 2, 12, 0, 0, 0 },
		{ "empty", "d/empty", S_IFREG | 0400, 1, 0, 0, 0, 0 },
		{ "symlink", "d/link", S_IFLNK | 0777, 1, 8, 0, 0, 0 },
		{ "character device", "d/null", S_IFCHR | 0666, 1, 0, 0, 1, 3 },
		{ "large minor", "d/block", S_IFBLK | 0660, 1, 0, 0, 259, 70000 },
		{ "FIFO", "d/fifo", S_IFIFO | 0600, 1, 0, 0, 0, 0 },
		{ "a name that is no UTF-8", "d/\xff\xfe\n", S_IFREG | 0644, 1, 8, 0, 0, 0 },
		{ "a name of 255 bytes", long_name, S_IFREG | 0644, 1, 4, 0, 0, 0 },
		{ "of the upper layer", "changed", S_IFREG | 0644, 1, 11, 0, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct stat st;
		if (lstat(stand_path(&root, rows[i].path), &st) < 0)
			fail_msg("%s: %s", rows[i].why, strerror(errno));
		if (st.st_mode != rows[i].mode || st.st_nlink != rows[i].nlink ||
		    st.st_size != rows[i].size || st.st_uid != rows[i].uid ||
		    st.st_rdev != makedev(rows[i].major, rows[i].minor) ||
		    st.st_mtim.tv_sec != 1700000000 || st.st_mtim.tv_nsec != 123456789)
			fail_msg("%s: mode %o nlink %lu size %ld uid %u rdev %lx mtime %ld.%ld",
				 rows[i].why, st.st_mode, st.st_nlink, st.st_size, st.st_uid,
				 st.st_rdev, st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	}
	struct stat a, b;
	assert_int_equal(lstat(stand_path(&root, "d/suid"), &a), 0);
	assert_int_equal(lstat(stand_path(&root, "d/hard"), &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	assert_int_equal(lstat(stand_path(&root, "implied"), &a), 0);
	assert_int_equal(a.st_mode, S_IFDIR | 0755);
	assert_int_equal(lstat(root.dir, &a), 0);
	assert_int_equal(a.st_nlink, 2 + 3); /* d, implied, many */
	assert_int_equal(a.st_ino, 1);
}

static void test_absent(void **state)
{
	static const char *const absent[] = { "gone", "gone/x", ".wh.gone", "nothing", "d/x" };
	struct stat st;

	(void)state;
	for (int again = 0; again < 2; again++) /* the second time from the kernel's memory */
		for (size_t i = 0; i < sizeof absent / sizeof *absent; i++) {
			assert_int_equal(lstat(stand_path(&root, absent[i]), &st), -1);
			assert_int_equal(errno, ENOENT);
		}
	assert_int_equal(open(stand_path(&root, "changed"), O_WRONLY), -1);
	assert_int_equal(errno, EROFS);
	assert_int_equal(mkdir(stand_path(&root, "new"), 0777), -1);
	assert_int_equal(errno, EROFS);
}

static void test_links(void **state)
{
	char text[64];

	(void)state;
	ssize_t n = readlink(stand_path(&root, "d/link"), text, sizeof text);
	assert_int_equal(n, 8);
	assert_memory_equal(text, "../d/big", 8);
	assert_int_equal(readlink(stand_path(&root, "d/big"), text, sizeof text), -1);
	assert_int_equal(errno, EINVAL);
	assert_text(stand_path(&root, "changed"), "new, longer");
	assert_text(stand_path(&root, "d/hard"), "#!/bin/true\n");
	assert_text(stand_path(&root, "d/empty"), "");
	assert_text(stand_path(&root, "d/\xff\xfe\n"), "no UTF-8");
}

static void test_xattrs(void **state)
{
	const char *path = stand_path(&root, "d/xattrs");
	char list[256], value[64];
	size_t names = 0;

	(void)state;
	ssize_t n = llistxattr(path, NULL, 0);
	assert_int_equal(llistxattr(path, list, sizeof list), n);
	for (ssize_t i = 0; i < n; i += (ssize_t)strlen(list + i) + 1)
		names++;
	assert_int_equal(names, 4);
	assert_int_equal(llistxattr(path, list, 3), -1);
	assert_int_equal(errno, ERANGE);
	assert_int_equal(lgetxattr(path, "user.one", value, sizeof value), 1);
	assert_int_equal(value[0], '1');
	assert_int_equal(lgetxattr(path, "user.none", value, sizeof value), 0);
	assert_int_equal(lgetxattr(path, "trusted.t", value, sizeof value), 3);
	assert_memory_equal(value, "t\0u", 3);
	assert_int_equal(lgetxattr(path, "security.capability", NULL, 0), 20);
	assert_int_equal(lgetxattr(path, "security.capability", value, 19), -1);
	assert_int_equal(errno, ERANGE);
	assert_int_equal(lgetxattr(path, "user.two", value, sizeof value), -1);
	assert_int_equal(errno, ENODATA);
	assert_int_equal(llistxattr(stand_path(&root, "implied"), list, sizeof list), 0);
}

typedef int as_user_fn(void);

/* What F returns when UID calls it. */
static int as_user(uid_t uid, as_user_fn *f)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(setgroups(0, NULL) < 0 || setgid(8) < 0 || setuid(uid) < 0 ? 99 : f());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int open_by_mode(void)
{
	if (open(stand_path(&root, "d/empty"), O_RDONLY | O_CLOEXEC) >= 0 || errno != EACCES)
		return 1;
	return open(stand_path(&root, "changed"), O_RDONLY | O_CLOEXEC) >= 0 ? 0 : 2;
}

static int list_no_trusted(void)
{
	char list[256];
	ssize_t n = llistxattr(stand_path(&root, "d/xattrs"), list, sizeof list);

	return n > 0 && !memmem(list, (size_t)n, "trusted.", 8) ? 0 : 1;
}

static int open_acl(void)
{
	return open(stand_path(&root, "acl"), O_RDONLY | O_CLOEXEC) >= 0 ? 0 : errno;
}

static void test_as_user(void **state)
{
	(void)state;
	assert_int_equal(as_user(70000, open_by_mode), 0);
	assert_int_equal(as_user(70000, list_no_trusted), 0);
	assert_int_equal(as_user(70001, open_acl), 0);
	assert_int_equal(as_user(70002, open_acl), EACCES);
}

static void test_data(void **state)
{
	int fd = open(stand_path(&root, "d/big"), O_RDONLY | O_CLOEXEC);
	uint8_t *buf = malloc(BIG + 1);
	uint64_t seed = 3;

	(void)state;
	assert_true(fd >= 0);
	for (int i = 0; i < 300; i++) {
		size_t off = mk_random(&seed) % BIG, n = 1 + mk_random(&seed) % 70000;
		size_t want = n < BIG - off ? n : BIG - off;
		assert_int_equal(pread(fd, buf, n, (off_t)off), want);
		assert_memory_equal(buf, big.data + off, want);
	}
	assert_int_equal(pread(fd, buf, BIG + 1, 0), BIG);
	assert_memory_equal(buf, big.data, BIG);
	assert_int_equal(pread(fd, buf, 10, BIG), 0);
	assert_int_equal(pread(fd, buf, 10, (off_t)1 << 40), 0);
	void *map = mmap(NULL, BIG, PROT_READ, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	assert_memory_equal(map, big.data, BIG);
	munmap(map, BIG);
	close(fd);
	free(buf);
}

static void test_sparse(void **state)
{
	int fd = open(stand_path(&root, "d/sparse"), O_RDONLY | O_CLOEXEC);
	uint8_t *buf = malloc(SPARSE_LEN);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(read(fd, buf, SPARSE_LEN), SPARSE_LEN);
	for (size_t i = 0; i < SPARSE_LEN; i++)
		if (buf[i] != (i >= HOLE_AT && i < HOLE_AT + DATA_LEN ? 'x' : 0))
			fail_msg("byte %zu is %d", i, buf[i]);
	assert_int_equal(lseek(fd, 0, SEEK_DATA), HOLE_AT);
	assert_int_equal(lseek(fd, HOLE_AT + 5, SEEK_DATA), HOLE_AT + 5);
	assert_int_equal(lseek(fd, 0, SEEK_HOLE), 0);
	assert_int_equal(lseek(fd, HOLE_AT + 5, SEEK_HOLE), HOLE_AT + DATA_LEN);
	assert_int_equal(lseek(fd, HOLE_AT, SEEK_HOLE), HOLE_AT + DATA_LEN);
	assert_int_equal(lseek(fd, HOLE_AT + DATA_LEN, SEEK_DATA), -1);
	assert_int_equal(errno, ENXIO);
	assert_int_equal(lseek(fd, SPARSE_LEN, SEEK_HOLE), -1);
	assert_int_equal(errno, ENXIO);
	close(fd);
	fd = open(stand_path(&root, "d/big"), O_RDONLY | O_CLOEXEC);
	assert_int_equal(lseek(fd, 100, SEEK_DATA), 100);
	assert_int_equal(lseek(fd, 100, SEEK_HOLE), BIG);
	close(fd);
	free(buf);
}

/* Lists DIR, checking inode numbers against lstat; returns how many names. */
static size_t count_names(const char *dir)
{
	DIR *d = opendir(dir);
	size_t n = 0;

	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d)); n++) {
		struct stat st;
		if (strcmp(e->d_name, "..") == 0)
			continue; /* of the mount's root: outside */
		assert_int_equal(fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW), 0);
		assert_int_equal(st.st_ino, e->d_ino);
		assert_int_equal(DTTOIF(e->d_type), st.st_mode & S_IFMT);
	}
	closedir(d);
	return n;
}

static void test_listing(void **state)
{
	char first[256];

	(void)state;
	for (int again = 0; again < 2; again++) {
		assert_int_equal(count_names(stand_path(&root, "many")), 2 + MANY);
		assert_int_equal(count_names(stand_path(&root, "d")), 2 + 11);
		assert_int_equal(count_names(root.dir), 2 + 6);
		assert_int_equal(count_names(stand_path(&root, "implied")), 2 + 1);
	}
	/* A place in the listing keeps its meaning. */
	DIR *d = opendir(stand_path(&root, "many"));
	for (int i = 0; i < 3000; i++)
		assert_non_null(readdir(d));
	long at = telldir(d);
	snprintf(first, sizeof first, "%s", readdir(d)->d_name);
	rewinddir(d);
	assert_non_null(readdir(d));
	seekdir(d, at);
	assert_string_equal(readdir(d)->d_name, first);
	closedir(d);
}

static int read_at_random(uint64_t seed)
{
	int fd = open(stand_path(&root, "d/big"), O_RDONLY | O_CLOEXEC);
	uint8_t *buf = malloc(200000);
	int bad = 0;

	for (int i = 0; i < 150; i++) {
		size_t n = 1 + mk_random(&seed) % 200000, off = mk_random(&seed) % (BIG - n);
		if (i % 16 == 0) /* so that the daemon is asked again */
			posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		if (pread(fd, buf, n, (off_t)off) != (ssize_t)n ||
		    memcmp(buf, big.data + off, n) != 0)
			bad = 1;
	}
	free(buf);
	close(fd);
	return bad;
}

static void test_many_readers(void **state)
{
	pid_t pid[N_READERS];
	int status;

	(void)state;
	for (unsigned i = 0; i < N_READERS; i++)
		if ((pid[i] = fork()) == 0)
			_exit(read_at_random(i + 1));
	for (unsigned i = 0; i < N_READERS; i++) {
		assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
	}
}

static void test_statfs(void **state)
{
	struct statvfs st;
	const struct ck_tree *t = root.stack.tree;
	uint64_t bytes = 0;

	(void)state;
	for (size_t i = 1; i <= t->n_nodes; i++)
		bytes += t->nodes[i].entry ? t->nodes[i].entry->size : 0;
	assert_int_equal(statvfs(root.dir, &st), 0);
	assert_int_equal(st.f_blocks * st.f_frsize, (bytes + 4095) / 4096 * 4096);
	assert_int_equal(st.f_bavail, 0);
	assert_int_equal(st.f_files, t->n_nodes);
	assert_int_equal(st.f_namemax, 255);
	assert_true(st.f_flag & ST_RDONLY);
	assert_false(st.f_flag & (ST_NOSUID | ST_NODEV));
}

static void test_mount_table(void **state)
{
	CK_BUF table = { 0 };
	char line[256];

	(void)state;
	snprintf(line, sizeof line, "oci:/a\\040dir,with\\134odd:1 %s fuse.cloakfs ro,", root.dir);
	assert_int_equal(ck_file_read(&table, "/proc/mounts", NULL), 0);
	const char *at = strstr(ck_buf_str(&table), line);
	assert_non_null(at);
	char *end = strchr(at, '\n');
	*end = 0;
	assert_non_null(strstr(at, "allow_other"));
	assert_non_null(strstr(at, "default_permissions"));
	assert_non_null(strstr(at, "max_read=1048576"));
}

static void test_read_ahead(void **state)
{
	struct stat st;
	char path[64];

	(void)state;
	assert_int_equal(stat(root.dir, &st), 0);
	snprintf(path, sizeof path, "/sys/class/bdi/%u:%u/read_ahead_kb", major(st.st_dev),
		 minor(st.st_dev));
	assert_text(path, "1024\n");
}

static void assert_names(const char *dir, const char *want)
{
	struct dirent **e;
	CK_BUF got = { 0 };
	int n = scandir(dir, &e, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		assert_int_equal(ck_buf_addf(&got, NULL, "%s ", e[i]->d_name), 0);
		free(e[i]);
	}
	free(e);
	assert_string_equal(ck_buf_str(&got), want);
}

static void test_layers_view(void **state)
{
	struct stat st, other;
	CK_BUF tar = { 0 };

	(void)state;
	assert_names(layers.dir, ". .. 0 0.tar 1 1.tar config.json manifest.json ");
	assert_names(stand_path(&layers, "1"), ". .. .wh.gone changed implied ");
	assert_text(stand_path(&layers, "manifest.json"), "{\"the\":\"manifest\"}");
	assert_text(stand_path(&layers, "config.json"), "{}");
	assert_text(stand_path(&layers, "0/changed"), "old");
	assert_text(stand_path(&layers, "1/changed"), "new, longer");
	assert_text(stand_path(&layers, "0/gone/x"), "gone");
	for (size_t i = 0; i < STAND_LAYERS; i++) {
		char name[16];
		snprintf(name, sizeof name, "%zu.tar", i);
		ck_buf_free(&tar);
		assert_int_equal(ck_file_read(&tar, stand_path(&layers, name), NULL), 0);
		assert_int_equal(tar.len, layers.tar[i].len);
		assert_memory_equal(tar.data, layers.tar[i].data, tar.len);
	}
	assert_int_equal(count_names(layers.dir), 8);
	assert_int_equal(count_names(stand_path(&layers, "0")), 2 + 6);
	assert_int_equal(count_names(stand_path(&layers, "0/d")), 2 + 11);
	assert_int_equal(stat(layers.dir, &st), 0);
	assert_int_equal(st.st_nlink, 2 + STAND_LAYERS);
	/* ".." leads back, and no two nodes share a number. */
	assert_int_equal(stat(stand_path(&layers, "0/d/../.."), &other), 0);
	assert_int_equal(st.st_ino, other.st_ino);
	assert_int_equal(stat(stand_path(&layers, "0"), &st), 0);
	assert_int_equal(stat(stand_path(&layers, "1"), &other), 0);
	assert_int_not_equal(st.st_ino, other.st_ino);
	static const char *const absent[] = { "2", "2.tar", "00", "0.tarx", "0tar", "-1", "1.ta" };
	for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
		assert_int_equal(lstat(stand_path(&layers, absent[i]), &st), -1);
}

/* They hold the files that only their owners may read: tar streams, and all that EROFS needs. */
static void test_kept_from_others(void **state)
{
	struct ck_err err = { 0 };
	struct ck_catalog c;
	struct ck_item item;
	struct stat st;
	uint64_t n = 0;

	(void)state;
	for (size_t i = 0; i < STAND_LAYERS; i++) {
		assert_int_equal(stat(stand_path(&layers, i ? "1.tar" : "0.tar"), &st), 0);
		assert_int_equal(st.st_mode, S_IFREG | 0400);
		assert_int_equal(st.st_uid, geteuid());
	}
	assert_works(ck_catalog_open(&c, &root.stack, CK_VIEW_DEVICES, &err), &err);
	for (; ck_catalog_item(&c, n + 1, &item); n++) {
		ck_catalog_stat(&c, &item, &st);
		assert_int_equal(st.st_mode & 0277, 0);
		if (S_ISLNK(st.st_mode))
			assert_int_equal(st.st_size, strlen(c.image_path));
	}
	assert_int_equal(n, 3 + STAND_LAYERS);
	int image = c.image;
	assert_int_equal(fstat(image, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0400);
	ck_catalog_close(&c);
	assert_int_equal(fcntl(image, F_GETFD), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_attributes),   cmocka_unit_test(test_absent),
		cmocka_unit_test(test_links),	     cmocka_unit_test(test_xattrs),
		cmocka_unit_test(test_as_user),	     cmocka_unit_test(test_data),
		cmocka_unit_test(test_sparse),	     cmocka_unit_test(test_listing),
		cmocka_unit_test(test_many_readers), cmocka_unit_test(test_statfs),
		cmocka_unit_test(test_mount_table),  cmocka_unit_test(test_read_ahead),
		cmocka_unit_test(test_layers_view),  cmocka_unit_test(test_kept_from_others),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
