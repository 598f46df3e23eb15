/*
 * erofs: images as the kernel and erofs-utils see them. Each is written to a file with the
 * tars beside it, checked by fsck.erofs, mounted, and compared with the tree and the indexes
 * in every name, attribute and byte. Needs root, and build/trixie (tests/e2e/lib/trixie.sh).
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>

#include "tests/unit/test_erofs_world.h"

enum { PIECE = 1 << 20 };

static char top[64]; /* a directory on a disk: the kernel takes no files of tmpfs */

static const char *in_top(const char *name)
{
	static char path[4][128];
	static unsigned at;

	at = (at + 1) % 4;
	snprintf(path[at], sizeof path[at], "%s/%s", top, name);
	return path[at];
}

static int set_up(void **state)
{
	(void)state;
	snprintf(top, sizeof top, "/var/tmp/ck-erofs-XXXXXX");
	assert_non_null(mkdtemp(top));
	assert_int_equal(mkdir(in_top("mnt"), 0755), 0);
	return 0;
}

static void run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void run(const char *fmt, ...)
{
	char command[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof command, fmt, ap);
	va_end(ap);
	fflush(NULL);
	int status = system(command);
	if (status != 0)
		fail_msg("%s: status %d", command, status);
}

static int tear_down(void **state)
{
	(void)state;
	umount2(in_top("mnt"), MNT_DETACH);
	if (!getenv("CK_KEEP"))
		run("rm -rf %s", top);
	return 0;
}

static int create(const char *name)
{
	int fd = open(in_top(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	return fd;
}

static void write_file(const char *name, const void *p, size_t nbytes)
{
	int fd = create(name);

	assert_int_equal(write(fd, p, nbytes), nbytes);
	close(fd);
}

/* The patch device, as who serves it would make it; zeros stay unwritten. */
static void write_patch(const struct world *w)
{
	static uint8_t buf[PIECE], zeros[PIECE];
	uint64_t len = ck_erofs_patch_len(w->image), off = 0;
	struct ck_erofs_patch p;
	int fd = create("patch");

	assert_int_equal(len % 512, 0);
	assert_int_equal(ftruncate(fd, (off_t)len), 0);
	while (ck_erofs_patch_find(w->image, off, &p)) {
		size_t n = p.nbytes < PIECE ? (size_t)p.nbytes : PIECE;
		assert_true(n > 0);
		memset(buf, 0, n);
		if (p.ino)
			world_read(w, p.ino, buf, n, p.file_off);
		if (memcmp(buf, zeros, n) != 0)
			assert_int_equal(pwrite(fd, buf, n, (off_t)off), n);
		off += n;
	}
	assert_int_equal(off, len);
	close(fd);
}

static void write_files(const struct world *w)
{
	char name[32];

	write_file("meta.erofs", w->bytes, w->len);
	for (size_t i = 0; i < w->n; i++) {
		snprintf(name, sizeof name, "%zu.tar", i);
		write_file(name, w->tar[i].data, w->tar[i].len);
	}
	if (ck_erofs_patch_len(w->image))
		write_patch(w);
}

static void config(int fs, const char *key, const char *name)
{
	if (fsconfig(fs, FSCONFIG_SET_STRING, key, in_top(name), 0) != 0)
		fail_msg("%s=%s: %s", key, name, strerror(errno));
}

static void mount_it(const struct world *w)
{
	char name[32], log[512] = "";
	int fs = fsopen("erofs", FSOPEN_CLOEXEC);

	assert_true(fs >= 0);
	config(fs, "source", "meta.erofs");
	for (size_t i = 0; i < w->n; i++) {
		snprintf(name, sizeof name, "%zu.tar", i);
		config(fs, "device", name);
	}
	if (ck_erofs_patch_len(w->image))
		config(fs, "device", "patch");
	assert_int_equal(fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0), 0);
	if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) != 0) {
		int code = errno;
		ssize_t n = read(fs, log, sizeof log - 1);
		fail_msg("mount: %s (%.*s)", strerror(code), (int)(n > 0 ? n : 0), log);
	}
	int m = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY);
	assert_true(m >= 0);
	assert_int_equal(move_mount(m, "", AT_FDCWD, in_top("mnt"), MOVE_MOUNT_F_EMPTY_PATH), 0);
	close(m);
	close(fs);
}

static void check_attributes(const struct stat *st, const struct stat *want, const char *path)
{
	if (st->st_mode != want->st_mode || st->st_uid != want->st_uid ||
	    st->st_gid != want->st_gid || st->st_nlink != want->st_nlink ||
	    st->st_rdev != want->st_rdev || st->st_mtim.tv_sec != want->st_mtim.tv_sec ||
	    st->st_mtim.tv_nsec != want->st_mtim.tv_nsec)
		fail_msg("%s: mode %o uid %u gid %u nlink %lu rdev %lx mtime %lld.%09ld", path,
			 st->st_mode, st->st_uid, st->st_gid, (unsigned long)st->st_nlink,
			 (unsigned long)st->st_rdev, (long long)st->st_mtim.tv_sec,
			 st->st_mtim.tv_nsec);
	if (!S_ISDIR(st->st_mode) && st->st_size != want->st_size)
		fail_msg("%s: size %lld, not %lld", path, (long long)st->st_size,
			 (long long)want->st_size);
}

static void check_xattrs(const struct world *w, ck_ino ino, int at)
{
	static char list[1 << 18], value[1 << 16];
	const struct ck_node *n = &w->tree->nodes[ino];
	char path[32];
	size_t all = 0;

	/* The name may not be UTF-8 or end in anything: by the descriptor. */
	snprintf(path, sizeof path, "/proc/self/fd/%d", at);
	ssize_t listed = listxattr(path, list, sizeof list);
	assert_true(listed >= 0);
	for (uint32_t i = 0; n->entry && i < n->entry->n_xattrs; i++) {
		const struct ck_index *x = w->index[n->layer];
		const struct ck_xattr *a = &x->xattrs[n->entry->first_xattr + i];
		const char *name = ck_index_bytes(x, a->name);
		ssize_t got = getxattr(path, name, value, sizeof value);
		if (got != (ssize_t)a->value.len ||
		    memcmp(value, ck_index_bytes(x, a->value), a->value.len) != 0)
			fail_msg("%s of inode %u: %zd bytes, %s", name, ino, got,
				 strerror(got < 0 ? errno : 0));
		all += strlen(name) + 1;
		assert_non_null(memmem(list, (size_t)listed, name, strlen(name) + 1));
	}
	assert_int_equal(listed, all);
}

static bool ref_has_data(const struct world *w, ck_ino ino, uint64_t from, uint64_t to)
{
	const struct ck_node *n = &w->tree->nodes[ino];
	const struct ck_extent *x = &w->x[n->layer].extents[n->entry->first_extent];

	for (uint32_t i = 0; i < n->entry->n_extents; i++)
		if (x[i].file_off < to && from < x[i].file_off + x[i].len)
			return true;
	return false;
}

/* Every byte of what the kernel says are data; no data in what it says are holes. */
static uint64_t check_bytes(const struct world *w, ck_ino ino, int fd, off_t size)
{
	static uint8_t got[PIECE], want[PIECE];
	uint64_t data_bytes = 0;

	for (off_t at = 0; at < size;) {
		off_t data = lseek(fd, at, SEEK_DATA);
		assert_true(data >= 0 || errno == ENXIO);
		data = data < 0 ? size : data;
		assert_false(at < data && ref_has_data(w, ino, (uint64_t)at, (uint64_t)data));
		off_t end = data < size ? lseek(fd, data, SEEK_HOLE) : size;
		assert_true(end >= data);
		for (at = data; at < end;) {
			size_t n = end - at < PIECE ? (size_t)(end - at) : PIECE;
			assert_int_equal(pread(fd, got, n, at), n);
			world_read(w, ino, want, n, (uint64_t)at);
			if (memcmp(got, want, n) != 0)
				fail_msg("inode %u: other bytes at %lld", ino, (long long)at);
			at += (off_t)n;
			data_bytes += n;
		}
	}
	char c;
	assert_int_equal(pread(fd, &c, 1, size), 0);
	return data_bytes;
}

struct seen {
	ino_t *ino; /* by tree number */
	size_t names;
};

static void check_node(const struct world *w, int dir, const char *name, ck_ino ino,
		       struct seen *seen)
{
	struct stat st, want;
	int at = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (at < 0)
		fail_msg("%s: %s", name, strerror(errno));
	assert_int_equal(fstat(at, &st), 0);
	ck_stack_stat(w->tree, ino, &want);
	check_attributes(&st, &want, name);
	assert_true(seen->ino[ino] == 0 || seen->ino[ino] == st.st_ino);
	bool again = seen->ino[ino] != 0;
	seen->ino[ino] = st.st_ino;
	assert_true(st.st_ino > 0);
	if (!again && !S_ISLNK(st.st_mode))
		check_xattrs(w, ino, at);
	if (S_ISREG(st.st_mode) && !again) {
		int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		check_bytes(w, ino, fd, st.st_size);
		close(fd);
	} else if (S_ISLNK(st.st_mode)) {
		const struct ck_node *n = &w->tree->nodes[ino];
		char text[4097];
		ssize_t len = readlinkat(dir, name, text, sizeof text);
		assert_int_equal(len, n->entry->link.len);
		assert_memory_equal(text, ck_index_bytes(w->index[n->layer], n->entry->link),
				    (size_t)len);
	}
	close(at);
}

/* readdir gives all names, each once, with inode and type, "." and ".." too. */
static void check_listing(const struct world *w, ck_ino ino, int fd, const struct seen *seen)
{
	const struct ck_node *n = &w->tree->nodes[ino];
	DIR *d = fdopendir(dup(fd));
	size_t found = 0, dots = 0;

	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));) {
		struct stat want;
		bool dot = strcmp(e->d_name, ".") == 0, dotdot = strcmp(e->d_name, "..") == 0;
		ck_ino child = dot ? ino
			       : dotdot
				   ? (n->parent ? n->parent : ino)
				   : ck_tree_lookup(w->tree, ino, e->d_name, strlen(e->d_name));
		assert_true(child > 0);
		ck_stack_stat(w->tree, child, &want);
		assert_int_equal(e->d_type, IFTODT(want.st_mode));
		assert_true(seen->ino[child] == 0 || seen->ino[child] == e->d_ino || child == 1);
		dots += dot || dotdot;
		found += !(dot || dotdot);
	}
	closedir(d);
	assert_int_equal(found, n->n_children);
	assert_int_equal(dots, 2);
}

static void check_dir(const struct world *w, ck_ino ino, int fd, struct seen *seen)
{
	const struct ck_node *n = &w->tree->nodes[ino];

	for (uint32_t i = 0; i < n->n_children; i++) {
		const struct ck_dirent *d = &w->tree->dirents[n->first_child + i];
		char name[256];
		snprintf(name, sizeof name, "%.*s", (int)d->name_len, d->name);
		check_node(w, fd, name, d->ino, seen);
		seen->names++;
		const struct ck_node *c = &w->tree->nodes[d->ino];
		if (c->entry && !S_ISDIR(c->entry->mode))
			continue;
		int sub = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(sub >= 0);
		check_dir(w, d->ino, sub, seen);
		close(sub);
	}
	check_listing(w, ino, fd, seen);
	assert_int_equal(openat(fd, "-absent-", O_RDONLY | O_CLOEXEC), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(openat(fd, "\xff\xff", O_RDONLY | O_CLOEXEC), -1);
	assert_int_equal(errno, ENOENT);
}

static int by_number(const void *a, const void *b)
{
	ino_t x = *(const ino_t *)a, y = *(const ino_t *)b;

	return (x > y) - (x < y);
}

static void check_tree(const struct world *w)
{
	struct seen seen = { calloc(w->tree->n_nodes + 1, sizeof(ino_t)), 0 };
	int fd = open(in_top("mnt"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	check_node(w, fd, ".", 1, &seen);
	check_dir(w, 1, fd, &seen);
	close(fd);
	assert_int_equal(seen.names, w->tree->n_dirents);
	/* Different nodes, different numbers. */
	qsort(seen.ino + 1, w->tree->n_nodes, sizeof(ino_t), by_number);
	for (size_t i = 2; i <= w->tree->n_nodes; i++)
		assert_true(seen.ino[i] > seen.ino[i - 1]);
	free(seen.ino);
}

static void check_tools(const struct world *w)
{
	char devices[WORLD_LAYERS * 64] = "";
	size_t len = 0;

	for (size_t i = 0; i < w->n && i < 8; i++)
		len += (size_t)snprintf(devices + len, sizeof devices - len, " --device=%s/%zu.tar",
					top, i);
	if (ck_erofs_patch_len(w->image))
		snprintf(devices + len, sizeof devices - len, " --device=%s/patch", top);
	run("build/trixie/bin/fsck.erofs%s %s/meta.erofs >%s/log 2>&1 || { cat %s/log >&2; "
	    "exit 1; }",
	    w->n <= 8 ? devices : "", top, top, top);
	run("build/trixie/bin/dump.erofs -s %s/meta.erofs >%s/log 2>&1", top, top);
	run("grep -q 'Filesystem created' %s/log", top);
	run("! grep -qi 'warn\\|corrupt\\|error' %s/log", top);
}

static void check_all(const struct world *w)
{
	write_files(w);
	check_tools(w);
	mount_it(w);
	check_tree(w);
	assert_int_equal(umount2(in_top("mnt"), 0), 0);
}

static void add_text(struct archive *a, const char *path, const char *text)
{
	world_add(a, world_entry(path, S_IFREG | 0644), text, strlen(text));
}

static void add_dir(struct archive *a, const char *path, mode_t mode)
{
	world_add(a, world_entry(path, S_IFDIR | mode), NULL, 0);
}

static void add_special(struct archive *a, const char *path, mode_t mode, dev_t dev)
{
	struct archive_entry *e = world_entry(path, mode);

	archive_entry_set_rdev(e, dev);
	world_add(a, e, NULL, 0);
}

static void add_link(struct archive *a, const char *path, const char *target)
{
	struct archive_entry *e = world_entry(path, S_IFREG | 0644);

	archive_entry_set_hardlink(e, target);
	world_add(a, e, NULL, 0);
}

static void add_symlink(struct archive *a, const char *path, size_t len)
{
	struct archive_entry *e = world_entry(path, S_IFLNK | 0755);
	char text[4096];

	memset(text, 'x', len);
	for (size_t i = 200; i < len; i += 200)
		text[i] = '/';
	text[len] = 0;
	archive_entry_set_symlink(e, text);
	world_add(a, e, NULL, 0);
}

static void add_timed(struct archive *a, const char *path, time_t s, long ns)
{
	struct archive_entry *e = world_entry(path, S_IFREG | 06755);

	archive_entry_set_mtime(e, s, ns);
	archive_entry_set_uid(e, 4000000000);
	archive_entry_set_gid(e, 3999999999);
	world_add(a, e, "t", 1);
}

static void add_sizes(struct archive *a)
{
	static const size_t sizes[] = { 0, 1, 511, 512, 513, 4095, 4096, 4097, 65536, 3000001 };
	char path[32];

	for (size_t i = 0; i < N_OF(sizes); i++) {
		CK_BUF b = { 0 };
		mk_bytes(&b, i, sizes[i]);
		snprintf(path, sizeof path, "sizes/%zu", sizes[i]);
		world_add(a, world_entry(path, S_IFREG | 0600), b.data, b.len);
	}
}

static void add_all_kinds(struct world *w)
{
	struct archive *a = world_tar(w);
	char name[300];

	add_dir(a, "d", 01777);
	add_text(a, "d/file", "lower");
	add_text(a, "d/gone", "gone");
	add_text(a, "implied/by/none/file", "x");
	add_sizes(a);
	for (size_t len = 1; len < 4096; len += len < 600 ? 7 : 499) {
		snprintf(name, sizeof name, "links/%zu", len);
		add_symlink(a, name, len);
	}
	add_symlink(a, "links/max", 4095);
	archive_write_free(a);
	a = world_tar(w);
	add_link(a, "d/hard", "d/file");
	add_link(a, "e/hard", "d/file");
	add_text(a, "d/.wh.gone", "");
	memset(name, 'n', 255);
	name[255] = 0;
	add_text(a, name, "long name");
	memset(name, 'o', 255);
	add_dir(a, name, 0700);
	add_text(a, "\xff\xfe/\x80\x81 not utf-8", "bytes");
	add_text(a, "!before the dots", "x");
	add_text(a, ".-between the dots", "x");
	add_text(a, ".hidden", "x");
	add_text(a, "..more", "x");
	add_special(a, "dev/zero", S_IFCHR | 0666, makedev(1, 5));
	add_special(a, "dev/odd", S_IFBLK | 0600, makedev(4095, 1048575));
	add_special(a, "dev/fifo", S_IFIFO | 0600, 0);
	add_timed(a, "time/negative", -2, 999999999);
	add_timed(a, "time/zero", 0, 0);
	add_timed(a, "time/far", (time_t)1 << 40, 1);
	archive_write_free(a);
}

static void test_kinds(void **state)
{
	struct world *w = world_new();

	(void)state;
	add_all_kinds(w);
	world_make(w);
	assert_int_equal(ck_erofs_patch_len(w->image), 0);
	assert_int_equal(w->tree->nodes[world_find(w, "d/file")].nlink, 3);
	check_all(w);
	world_free(w);
}

static void add_acl(struct archive_entry *e, int type)
{
	archive_entry_acl_add_entry(e, type, 6, ARCHIVE_ENTRY_ACL_USER_OBJ, -1, "");
	archive_entry_acl_add_entry(e, type, 4, ARCHIVE_ENTRY_ACL_USER, 70001, "u");
	archive_entry_acl_add_entry(e, type, 5, ARCHIVE_ENTRY_ACL_GROUP_OBJ, -1, "");
	archive_entry_acl_add_entry(e, type, 7, ARCHIVE_ENTRY_ACL_MASK, -1, "");
	archive_entry_acl_add_entry(e, type, 4, ARCHIVE_ENTRY_ACL_OTHER, -1, "");
}

/* Values of NBYTES, so that what is behind the inode ends at every place in a block. */
static void add_valued(struct archive *a, const char *dir, mode_t mode, size_t nbytes)
{
	char path[64];
	CK_BUF b = { 0 };

	mk_bytes(&b, nbytes, nbytes);
	snprintf(path, sizeof path, "%s/%zu", dir, nbytes);
	struct archive_entry *e = world_entry(path, mode);
	if (S_ISLNK(mode))
		archive_entry_set_symlink(e, "short/target");
	archive_entry_xattr_add_entry(e, "trusted.sized", b.data, b.len);
	world_add(a, e, "data", S_ISREG(mode) ? 4 : 0);
}

static void test_xattrs(void **state)
{
	static const uint8_t cap[] = { 1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
	struct world *w = world_new();
	struct archive *a = world_tar(w);
	char name[256];

	(void)state;
	struct archive_entry *e = world_entry("all", S_IFREG | 0755);
	archive_entry_xattr_add_entry(e, "user.one", "1", 1);
	archive_entry_xattr_add_entry(e, "user.none", "", 0);
	archive_entry_xattr_add_entry(e, "security.capability", cap, sizeof cap);
	archive_entry_xattr_add_entry(e, "security.selinux", "a_u:o_r:t:s0", 13);
	archive_entry_xattr_add_entry(e, "trusted.t", "t\0u", 3);
	memset(name, 'u', 255);
	memcpy(name, "user.", 5);
	name[255] = 0;
	archive_entry_xattr_add_entry(e, name, "long", 4);
	add_acl(e, ARCHIVE_ENTRY_ACL_TYPE_ACCESS);
	world_add(a, e, "x", 1);
	e = world_entry("dir", S_IFDIR | 0755);
	add_acl(e, ARCHIVE_ENTRY_ACL_TYPE_ACCESS);
	add_acl(e, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT);
	world_add(a, e, NULL, 0);
	for (size_t n = 0; n < 1100; n += 3) {
		add_valued(a, "f", S_IFREG | 0644, n);
		add_valued(a, "d", S_IFDIR | 0755, n);
		add_valued(a, "l", S_IFLNK | 0777, n);
	}
	add_valued(a, "f", S_IFREG | 0644, 65535);
	archive_write_free(a);
	world_make(w);
	assert_int_equal(w->tree->nodes[world_find(w, "dir")].entry->n_xattrs, 2);
	check_all(w);
	world_free(w);
}

/* Data at ODD places: 700 at 100, 5000 at 70001, up to the end. */
static void add_odd_sparse(struct archive *a, const char *path, size_t size)
{
	struct archive_entry *e = world_entry(path, S_IFREG | 0644);
	CK_BUF b = { 0 };

	mk_bytes(&b, size, size);
	archive_entry_set_size(e, (la_int64_t)size); /* else the rest is refused */
	archive_entry_sparse_add_entry(e, 100, 700);
	archive_entry_sparse_add_entry(e, 70001, 5000);
	archive_entry_sparse_add_entry(e, 131072, 65536);
	archive_entry_sparse_add_entry(e, (la_int64_t)size - 999, 999);
	world_add(a, e, b.data, size);
}

static void test_unaligned(void **state)
{
	struct world *w = world_new();
	struct archive *a = world_tar(w);

	(void)state;
	add_text(a, "plain", "x");
	add_odd_sparse(a, "odd", 300001);
	add_odd_sparse(a, "other", 1 << 20);
	archive_write_free(a);
	a = world_tar(w);
	add_odd_sparse(a, "upper", 262144);
	archive_write_free(a);
	world_make(w);
	assert_true(ck_erofs_patch_len(w->image) > 0);
	check_all(w);
	world_free(w);
}

/* Makes PATH by a shell's commands, and appends what GNU tar makes of it. */
static void add_sparse_layer(struct world *w, const char *commands)
{
	struct ck_err err = { 0 };

	run("mkdir %s/in && cd %s/in && %s", top, top, commands);
	run("tar -C %s/in --sparse --format=pax -cf %s/in.tar .", top, top);
	struct ck_buf *b = &w->tar[w->n++];
	int fd = open(in_top("in.tar"), O_RDONLY | O_CLOEXEC);
	uint8_t buf[4096];
	for (ssize_t n; (n = read(fd, buf, sizeof buf)) > 0;)
		assert_works(ck_buf_add(b, buf, (size_t)n, &err), &err);
	close(fd);
	run("rm -rf %s/in %s/in.tar", top, top);
}

static void check_holes(const char *name, uint64_t most)
{
	uint64_t all = 0;
	int fd = open(in_top(name), O_RDONLY | O_CLOEXEC);
	off_t data = 0, end = lseek(fd, 0, SEEK_END);

	for (off_t at = 0; at < end && (data = lseek(fd, at, SEEK_DATA)) >= 0;
	     at = lseek(fd, data, SEEK_HOLE))
		all += (uint64_t)(lseek(fd, data, SEEK_HOLE) - data);
	close(fd);
	if (all > most || all == 0)
		fail_msg("%s: %llu bytes of data", name, (unsigned long long)all);
}

static void test_sparse(void **state)
{
	struct world *w = world_new();

	(void)state;
	add_sparse_layer(
	    w, "truncate -s 6G six && truncate -s 1T tera && truncate -s 3T hole && "
	       "for at in 0 1000003 2999999 6291455; do "
	       "head -c 4096 /dev/urandom | dd of=six bs=1024 seek=$at conv=notrunc status=none; "
	       "done; head -c 5000 /dev/urandom | dd of=tera bs=1M seek=700000 conv=notrunc "
	       "status=none; echo end >>tera");
	world_make(w);
	write_files(w);
	check_tools(w);
	mount_it(w);
	check_tree(w);
	/* Not finer than 65536 chunks a file. */
	check_holes("mnt/six", 4 * 2 * (UINT64_C(6) << 30) / 65536 * 2);
	check_holes("mnt/tera", 4 * (UINT64_C(1) << 40) / 65536);
	assert_int_equal(umount2(in_top("mnt"), 0), 0);
	world_free(w);
}

static void test_empty(void **state)
{
	struct world *w = world_new();

	(void)state;
	world_make(w);
	check_all(w);
	world_free(w);
	w = world_new();
	archive_write_free(world_tar(w));
	world_make(w);
	check_all(w);
	world_free(w);
}

static void test_many_layers(void **state)
{
	struct world *w = world_new();
	char path[32], text[32];

	(void)state;
	for (size_t i = 0; i < 300; i++) {
		struct archive *a = world_tar(w);
		snprintf(path, sizeof path, "f%zu", i);
		snprintf(text, sizeof text, "of layer %zu", i);
		add_text(a, path, text);
		snprintf(text, sizeof text, "top is layer %zu", i);
		add_text(a, "same", text);
		if (i % 100 == 99)
			add_odd_sparse(a, "odd", 200000 + i);
		archive_write_free(a);
	}
	world_make(w);
	assert_true(ck_erofs_patch_len(w->image) > 0);
	check_all(w);
	world_free(w);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void test_large_directory(void **state)
{
	struct world *w = world_new();
	struct archive *a = world_tar(w);
	const char *wanted = getenv("CK_EROFS_ENTRIES");
	size_t n = wanted ? strtoul(wanted, NULL, 10) : 100000;
	char path[64];

	(void)state;
	for (size_t i = 0; i < n; i++) {
		snprintf(path, sizeof path, "large/file number %zu", i * 7919 % n);
		struct archive_entry *e = world_entry(path, S_IFREG | 0644);
		archive_entry_set_mtime(e, 1700000000, 0); /* no pax header */
		world_add(a, e, "x", 1);
	}
	archive_write_free(a);
	world_merge(w);
	struct ck_err err = { 0 };
	double from = seconds();
	assert_works(world_build(w, &err), &err);
	double took = seconds() - from;
	print_message("# %zu entries: %.1f ms, %.1f bytes each\n", n, took * 1e3,
		      (double)w->len / (double)n);
	check_all(w);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_kinds, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_xattrs, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_unaligned, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_sparse, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_empty, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_many_layers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_large_directory, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
