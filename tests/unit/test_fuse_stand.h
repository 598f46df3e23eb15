/*
 * stand - what the tests of real mounts stand on: layers written by libarchive, a stack
 * over them in memory that the test may damage, and a daemon in a process of its own,
 * so that a mount that hangs or dies does not take the test along.
 */
#ifndef CK_TEST_FUSE_STAND_H
#define CK_TEST_FUSE_STAND_H

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/log.h"
#include "fs/fuse/mount.h"
#include "tests/unit/lib/make.h"
#include "tests/unit/lib/unit.h"

enum { STAND_LAYERS = 2 };

struct stand {
	struct ck_buf tar[STAND_LAYERS];
	uint8_t *blob[STAND_LAYERS]; /* shared with the daemon */
	struct ck_image image;
	struct ck_image_layer layer[STAND_LAYERS];
	struct ck_layer *open[STAND_LAYERS];
	const struct ck_index *index[STAND_LAYERS];
	struct ck_stack stack;
	char dir[32]; /* the mount point */
	char log[64]; /* what the daemon wrote to stderr */
	pid_t daemon;
	unsigned linger_ms; /* the daemon lives on that long after its mount */
};

static inline la_ssize_t stand_to_buf(struct archive *a, void *ctx, const void *p, size_t n)
{
	(void)a;
	assert_int_equal(ck_buf_add(ctx, p, n, NULL), 0);
	return (la_ssize_t)n;
}

static inline struct archive *stand_tar(struct ck_buf *out)
{
	struct archive *a = archive_write_new();

	archive_write_set_format_pax(a);
	archive_write_set_bytes_per_block(a, 0);
	assert_int_equal(archive_write_open(a, out, NULL, stand_to_buf, NULL), ARCHIVE_OK);
	return a;
}

/* An entry to be filled further and given to stand_add. */
static inline struct archive_entry *stand_entry(const char *path, mode_t mode)
{
	struct archive_entry *e = archive_entry_new();

	archive_entry_set_pathname(e, path);
	archive_entry_set_mode(e, mode);
	archive_entry_set_mtime(e, 1700000000, 123456789);
	return e;
}

static inline void stand_add(struct archive *a, struct archive_entry *e, const void *data,
			     size_t nbytes)
{
	if (!archive_entry_size_is_set(e))
		archive_entry_set_size(e, (la_int64_t)nbytes);
	assert_true(archive_write_header(a, e) >= ARCHIVE_WARN);
	if (nbytes)
		assert_int_equal(archive_write_data(a, data, nbytes), nbytes);
	assert_true(archive_write_finish_entry(a) >= ARCHIVE_WARN);
	archive_entry_free(e);
}

/* Opens the layers in S->tar as a stack; plain, uncompressed. */
static inline void stand_open(struct stand *s)
{
	struct ck_err err = { 0 };

	assert_works(ck_unitcache_open(&s->stack.cache, 1 << 20, &err), &err);
	for (size_t i = 0; i < STAND_LAYERS; i++) {
		struct ck_reader *r = NULL;
		struct ck_layer_spec spec = mk_spec(&s->tar[i], &s->tar[i], NULL);
		char name[32];
		snprintf(name, sizeof name, "layer %zu (test)", i);
		spec.name = name;
		s->blob[i] = mmap(NULL, s->tar[i].len, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		assert_ptr_not_equal(s->blob[i], MAP_FAILED);
		memcpy(s->blob[i], s->tar[i].data, s->tar[i].len);
		assert_works(ck_reader_open_mem(&r, s->blob[i], s->tar[i].len, &err), &err);
		assert_works(
		    ck_layer_open(&s->open[i], &spec, r, s->stack.cache, NULL, NULL, NULL, &err),
		    &err);
		s->index[i] = ck_layer_index(s->open[i]);
	}
	s->image = (struct ck_image){ .manifest = "{\"the\":\"manifest\"}",
				      .manifest_len = 18,
				      .config = "{}",
				      .config_len = 2,
				      .layers = s->layer,
				      .n_layers = STAND_LAYERS };
	s->stack.image = &s->image;
	s->stack.layers = s->open;
	s->stack.index = s->index;
	assert_works(ck_stack_merge(&s->stack, &err), &err);
	snprintf(s->dir, sizeof s->dir, "/tmp/ck-fuse-XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	snprintf(s->log, sizeof s->log, "%s.log", s->dir);
}

/* Mounts in a process of its own, and waits until that is done. */
static inline void stand_mount(struct stand *s, enum ck_view view, const char *source)
{
	int ready[2];
	char c;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	fflush(NULL);
	s->daemon = fork();
	assert_true(s->daemon >= 0);
	if (s->daemon == 0) {
		struct ck_err err = { 0 };
		struct ck_mount *m = NULL;
		struct ck_mount_spec spec = { .view = view, .source = source };
		prctl(PR_SET_PDEATHSIG, SIGTERM); /* a test that crashes leaves no mount */
		int log = open(s->log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		dup2(log, 2);
		close(log);
		int rc = ck_mount_open(&m, &s->stack, &spec, s->dir, &err);
		if (rc < 0) {
			dprintf(2, "%s\n", err.msg);
			_exit(1);
		}
		if (write(ready[1], "", 1) != 1)
			_exit(2);
		rc = ck_mount_run(m, NULL, NULL, &err);
		ck_mount_close(m);
		usleep(s->linger_ms * 1000);
		exit(rc == 0 ? 0 : 3); /* not _exit: sanitizers look back here */
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
}

/* The daemon's exit code; its end must be near. */
static inline int stand_wait(struct stand *s)
{
	int status = -1;

	assert_int_equal(waitpid(s->daemon, &status, 0), s->daemon);
	s->daemon = 0;
	CK_BUF log = { 0 };
	if (ck_file_read(&log, s->log, NULL) == 0 && strstr(ck_buf_str(&log), "Sanitizer"))
		fail_msg("the daemon: %s", ck_buf_str(&log));
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static inline void stand_unmount(struct stand *s)
{
	struct ck_err err = { 0 };

	assert_works(ck_unmount(s->dir, false, &err), &err);
	assert_int_equal(stand_wait(s), 0);
}

static inline void stand_close(struct stand *s)
{
	if (s->daemon)
		kill(s->daemon, SIGKILL);
	while (umount2(s->dir, MNT_DETACH) == 0)
		;
	unlink(s->log);
	rmdir(s->dir);
	ck_tree_free(s->stack.tree);
	for (size_t i = 0; i < STAND_LAYERS; i++) {
		ck_layer_close(s->open[i]);
		munmap(s->blob[i], s->tar[i].len);
		ck_buf_free(&s->tar[i]);
	}
	ck_unitcache_close(s->stack.cache);
}

/* "DIR/REST", in one of a few buffers that take turns. */
static inline const char *stand_path(const struct stand *s, const char *rest)
{
	static char out[8][512];
	static unsigned turn;
	char *p = out[turn++ % 8];

	snprintf(p, sizeof out[0], "%s/%s", s->dir, rest);
	return p;
}

#endif
