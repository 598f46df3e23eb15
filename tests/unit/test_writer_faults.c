/*
 * The writer of images when its system calls fail, each in turn, and when it is killed
 * before each: an image is there in full or the old state is.
 * The calls by which a writer changes the disk are stood in for here.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "base/file.h"
#include "fs/oci/image.h"
#include "tests/unit/lib/mkimage.h"
#include "tests/unit/lib/tmplayout.h"
#include "tests/unit/lib/unit.h"

/* What happens at call number AT, counted from 1. */
static struct {
	int calls, at;
	bool armed, kill;
	int code;	    /* errno that it fails with */
	bool no_tmpfile;    /* the filesystem has no O_TMPFILE */
	bool no_proc;	    /* no linkat by AT_EMPTY_PATH: /proc is needed */
	const char *remove; /* a layout whose directories another writer is taking away */
	bool locked;	    /* somebody holds the layout's lock for good */
	int last;	    /* which call was the last */
	struct ck_buf *log; /* of what changes the disk; NULL: none */
	uint64_t clock_ns;  /* added to the clock */
} fault;

enum { OPEN, MKDIR, WRITE, FSYNC, LINK, RENAME, LOCK };

static bool fails(int what)
{
	if (!fault.armed)
		return false;
	fault.last = what;
	if (++fault.calls != fault.at)
		return false;
	if (fault.kill)
		(void)raise(SIGKILL);
	errno = fault.code;
	return true;
}

/* Notes a call, on the file NAME or the one that is open as FD. */
static void note(const char *call, int fd, const char *name)
{
	char path[64], target[256] = "";
	uint8_t raw[32];

	if (!fault.log)
		return;
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (!name && readlink(path, target, sizeof target - 1) > 0)
		name = strrchr(target, '/') + 1;
	/* A file without a name is "#inode (deleted)" there. */
	if (name[0] == '#')
		name = "file";
	if (ck_unhex(raw, 32, name))
		name = "HEX";
	assert_int_equal(ck_buf_addf(fault.log, NULL, "%s %s\n", call, name), 0);
}

int openat(int dir, const char *path, int flags, ...)
{
	va_list ap;

	va_start(ap, flags);
	bool nameless = (flags & O_TMPFILE) == O_TMPFILE;
	mode_t mode = nameless || (flags & O_CREAT) ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	if (fault.no_tmpfile && nameless) {
		errno = EOPNOTSUPP;
		return -1;
	}
	if ((flags & O_ACCMODE) != O_RDONLY && fails(OPEN))
		return -1;
	return (int)syscall(SYS_openat, dir, path, flags, mode);
}

int mkdirat(int dir, const char *path, mode_t mode)
{
	if (fault.log)
		note("mkdir", -1, strrchr(path, '/') ? strrchr(path, '/') + 1 : path);
	return fails(MKDIR) ? -1 : (int)syscall(SYS_mkdirat, dir, path, mode);
}

ssize_t write(int fd, const void *p, size_t nbytes)
{
	if (fails(WRITE))
		return -1;
	note("write", fd, NULL);
	/* Short, so that a killed writer leaves a part. */
	return syscall(SYS_write, fd, p, fault.armed && nbytes > 7 ? nbytes - 7 : nbytes);
}

/* Not on the disk at all: that is what takes time. */
int fsync(int fd)
{
	note("sync", fd, NULL);
	return fails(FSYNC) ? -1 : 0;
}

int linkat(int from, const char *old, int to, const char *new, int flags)
{
	if (fault.no_proc && (flags & AT_EMPTY_PATH)) {
		errno = ENOENT;
		return -1;
	}
	note("link", -1, new);
	return fails(LINK) ? -1 : (int)syscall(SYS_linkat, from, old, to, new, flags);
}

int renameat(int from, const char *old, int to, const char *new)
{
	note("rename", -1, new);
	return fails(RENAME) ? -1 : (int)syscall(SYS_renameat2, from, old, to, new, 0);
}

int flock(int fd, int op)
{
	/* Once, while its directories are open but not locked yet. */
	if (fault.remove && (op & LOCK_SH)) {
		const char *dir = fault.remove;
		fault.remove = NULL;
		assert_int_equal(rmdir(tmplayout_fmt("%s/blobs/sha256", dir)), 0);
		assert_int_equal(rmdir(tmplayout_fmt("%s/blobs", dir)), 0);
		(void)rmdir(dir);
	}
	if (fault.locked && (op & LOCK_EX)) {
		errno = EWOULDBLOCK;
		return -1;
	}
	return !(op & LOCK_UN) && fails(LOCK) ? -1 : (int)syscall(SYS_flock, fd, op);
}

/* Who waits is told that the time has passed. */
int nanosleep(const struct timespec *want, struct timespec *left)
{
	(void)left;
	fault.clock_ns += (uint64_t)want->tv_nsec * 100;
	return 0;
}

int clock_gettime(clockid_t id, struct timespec *out)
{
	long rc = syscall(SYS_clock_gettime, id, out);

	out->tv_sec += (time_t)(fault.clock_ns / 1000000000);
	return (int)rc;
}

static int setup(void **state)
{
	static struct tmplayout t;

	memset(&fault, 0, sizeof fault);
	tmplayout_make(&t);
	*state = &t;
	return 0;
}

static int teardown(void **state)
{
	memset(&fault, 0, sizeof fault);
	tmplayout_remove(*state);
	return 0;
}

/* Every way to write. */
static const struct way {
	const char *transport;
	bool there; /* the layout holds an image already */
	bool no_tmpfile, no_proc;
	size_t n_layers; /* of the new image */
	int step;	 /* to the next call that fails: many do the same */
} ways[] = {
	{ "oci", false, false, false, 2, 1 }, { "oci", true, false, false, 2, 1 },
	{ "oci", true, false, true, 2, 1 },   { "oci", false, true, false, 2, 1 },
	{ "oci", true, true, false, 2, 1 },   { "oci", true, false, false, 66, 7 },
	{ "dir", false, false, false, 2, 1 }, { "dir", false, true, false, 2, 1 },
};

static const char *ref_of(const struct tmplayout *t, const struct way *w)
{
	return tmplayout_fmt("%s:%s/l%s", w->transport, t->dir,
			     strcmp(w->transport, "oci") == 0 ? ":x" : "");
}

static const char *dir_of(const struct tmplayout *t)
{
	return tmplayout_fmt("%s/l", t->dir);
}

static void start(const struct tmplayout *t, const struct way *w)
{
	struct ck_err err = { 0 };
	uint8_t digest[32];

	fault.armed = false;
	if (w->there)
		assert_works(mkimage_write(ref_of(t, w), 1, 2, digest, &err), &err);
	fault.no_tmpfile = w->no_tmpfile;
	fault.no_proc = w->no_proc;
	fault.calls = 0;
}

static void clear(const struct tmplayout *t)
{
	struct tmplayout l;

	snprintf(l.dir, sizeof l.dir, "%s", dir_of(t));
	fault.armed = false;
	tmplayout_remove(&l);
}

static bool opens(const struct tmplayout *t, const struct way *w, size_t n_layers, unsigned seed)
{
	struct ck_image *img = NULL;
	char want[64], digest[CK_DIGEST_STR];
	uint8_t raw[32];

	if (ck_image_open(&img, ref_of(t, w), NULL, NULL, NULL) < 0)
		return false;
	mkimage_layer(want, seed, 0);
	ck_sha256(raw, want, strlen(want));
	ck_digest_str(digest, raw);
	bool is = img->n_layers == n_layers && strcmp(img->layers[0].digest_str, digest) == 0;
	for (size_t i = 0; is && i < n_layers; i++) {
		struct ck_reader *r = NULL;
		is = ck_image_blob(img, i, &r, NULL) == 0;
		ck_reader_close(r);
	}
	ck_image_close(img);
	return is;
}

static bool opens_at_all(const struct tmplayout *t, const struct way *w)
{
	struct ck_image *img = NULL;
	bool is = ck_image_open(&img, ref_of(t, w), NULL, NULL, NULL) == 0;

	ck_image_close(img);
	return is;
}

/* The last step has failed: the new image is there, and may not be told from the old. */
static bool is_past_the_root(const struct tmplayout *t, const struct way *w)
{
	return fault.last == FSYNC && opens(t, w, w->n_layers, 2);
}

static void each_call_may_fail(void **state)
{
	const struct tmplayout *t = *state;
	int past = 0;

	for (size_t i = 0; i < N_OF(ways); i++) {
		for (int at = 1;; at += ways[i].step) {
			CK_BUF before = { 0 }, after = { 0 };
			struct ck_err err = { 0 };
			uint8_t digest[32];
			start(t, &ways[i]);
			mkimage_list(&before, dir_of(t));
			fault.at = at;
			fault.code = at % 2 ? EIO : ENOSPC;
			fault.armed = true;
			int rc =
			    mkimage_write(ref_of(t, &ways[i]), 2, ways[i].n_layers, digest, &err);
			fault.armed = false;
			if (fault.calls < at) {
				assert_works(rc, &err);
				assert_true(opens(t, &ways[i], ways[i].n_layers, 2));
				clear(t);
				break;
			}
			if (rc != -fault.code || !strstr(err.msg, strerror(fault.code)))
				fail_msg("way %zu, call %d: %d %s", i, at, rc, err.msg);
			mkimage_list(&after, dir_of(t));
			if (strcmp(ck_buf_str(&before), ck_buf_str(&after)) != 0) {
				if (!is_past_the_root(t, &ways[i]))
					fail_msg("way %zu, call %d: left\n%s\nnot\n%s", i, at,
						 ck_buf_str(&after), ck_buf_str(&before));
				past++;
			}
			clear(t);
		}
	}
	/* Once each, but for the way of which not every call was tried. */
	assert_in_range(past, N_OF(ways) - 1, N_OF(ways));
}

/* In a process of its own. Returns whether it was killed. */
static bool run_killed(const struct tmplayout *t, const struct way *w, int at)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct ck_err err = { 0 };
		uint8_t digest[32];
		fault.at = at;
		fault.kill = true;
		fault.armed = true;
		_exit(mkimage_write(ref_of(t, w), 2, w->n_layers, digest, &err) < 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		return true;
	assert_int_equal(status, 0);
	return false;
}

static void may_be_killed_at_any_call(void **state)
{
	const struct tmplayout *t = *state;

	for (size_t i = 0; i < N_OF(ways); i++) {
		bool killed = true, was_new = false;
		int olds = 0;
		for (int at = 1; killed; at += ways[i].step) {
			const struct way *w = &ways[i];
			CK_BUF list = { 0 };
			struct ck_err err = { 0 };
			uint8_t digest[32];
			start(t, w);
			killed = run_killed(t, w, at);
			mkimage_check_names(dir_of(t));
			bool new = opens(t, w, w->n_layers, 2);
			bool old = w->there ? opens(t, w, 2, 1) : !opens_at_all(t, w);
			if (new == old || (was_new && old) || (!killed && old))
				fail_msg("way %zu, call %d: neither old nor new", i, at);
			was_new = new;
			olds += old;
			/* Without a name nothing is left of what was not complete. */
			mkimage_list(&list, dir_of(t));
			if (!w->no_tmpfile && w->n_layers <= 60 && old)
				assert_null(strstr(ck_buf_str(&list), ".cloakfs-0"));
			/* What it left keeps nobody from trying again. */
			if (!new) {
				int rc = mkimage_write(ref_of(t, w), 2, w->n_layers, digest, &err);
				assert_works(rc, &err);
				assert_true(opens(t, w, w->n_layers, 2));
			}
			clear(t);
		}
		assert_true(olds > 10);
	}
}

static void waits_for_the_lock_a_minute(void **state)
{
	const struct tmplayout *t = *state;
	struct ck_err err = { 0 };
	uint8_t digest[32];

	assert_works(mkimage_write(ref_of(t, &ways[1]), 1, 2, digest, &err), &err);
	uint64_t from = ck_now_ms();
	fault.locked = true;
	assert_fails(mkimage_write(ref_of(t, &ways[1]), 2, 2, digest, &err), -EBUSY, &err,
		     "has kept it locked for 60 s");
	assert_in_range(ck_now_ms() - from, 60000, 70000);
	fault.locked = false;
	assert_true(opens(t, &ways[1], 2, 1));
	assert_works(mkimage_write(ref_of(t, &ways[1]), 2, 2, digest, &err), &err);
}

static void starts_again_when_others_clear_up(void **state)
{
	const struct tmplayout *t = *state;
	struct ck_err err = { 0 };
	uint8_t digest[32];

	for (int there = 0; there < 2; there++) {
		if (there) {
			tmplayout_file(t, "l/oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}", 30);
			tmplayout_file(t, "l/index.json", "{\"schemaVersion\":2,\"manifests\":[]}",
				       34);
		}
		fault.remove = dir_of(t);
		assert_works(mkimage_write(ref_of(t, &ways[0]), 2, 2, digest, &err), &err);
		assert_null(fault.remove);
		assert_true(opens(t, &ways[0], 2, 2));
		clear(t);
	}
}

/* What is on the disk must never lead to what is not yet. */
static void writes_to_the_disk_in_order(void **state)
{
	const struct tmplayout *t = *state;
	CK_BUF log = { 0 };
	struct ck_err err = { 0 };
	uint8_t digest[32];
	const char *top = strrchr(t->dir, '/') + 1;

	fault.log = &log;
	assert_works(mkimage_write(ref_of(t, &ways[0]), 1, 1, digest, &err), &err);
	fault.log = NULL;
	assert_string_equal(ck_buf_str(&log),
			    tmplayout_fmt("mkdir l\nmkdir blobs\nmkdir sha256\n"
					  "write file\nwrite file\nsync file\n" /* the layer */
					  "write file\nsync file\n"		/* the config */
					  "write file\nsync file\n"		/* the manifest */
					  "link HEX\nlink HEX\nlink HEX\n"
					  "write file\nsync file\nlink oci-layout\n"
					  "sync sha256\nsync blobs\nsync l\nsync %s\n"
					  "write file\nsync file\nlink index.json\nsync l\n",
					  top));
	/* The second time index.json is there, and the new one takes its name at once. */
	ck_buf_free(&log);
	fault.log = &log;
	assert_works(mkimage_write(ref_of(t, &ways[0]), 2, 1, digest, &err), &err);
	fault.log = NULL;
	assert_string_equal(ck_buf_str(&log),
			    "mkdir l\nmkdir blobs\nmkdir sha256\n"
			    "write file\nwrite file\nsync file\nwrite file\nsync file\n"
			    "write file\nsync file\nlink HEX\nlink HEX\nlink HEX\n"
			    "sync sha256\nsync l\n"
			    "write file\nsync file\nlink index.json\nlink .cloakfs-next\n"
			    "rename index.json\nsync l\n");
}

#define IN_DIR(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIR(each_call_may_fail),
		IN_DIR(may_be_killed_at_any_call),
		IN_DIR(starts_again_when_others_clear_up),
		IN_DIR(writes_to_the_disk_in_order),
		IN_DIR(waits_for_the_lock_a_minute),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
