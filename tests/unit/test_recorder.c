/* What is read of tar streams, noted by many threads at once, becomes a trace of files: each byte
 * once, in the order of first use. */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "fs/recorder.h"
#include "fs/trace.h"
#include "fs/tracetext.h"
#include "tests/unit/lib/make.h"
#include "tests/unit/lib/unit.h"

enum { N_LAYERS = 3, TAR_LEN = 40 << 20 };

struct fixture {
	char dir[64], path[96];
	struct ck_index x[N_LAYERS];
	const struct ck_index *index[N_LAYERS];
	uint64_t tar_len[N_LAYERS];
	struct ck_recorder *r;
};

static void add(struct ck_index_builder *b, const char *path, const struct ck_extent *x, size_t n)
{
	struct ck_entry e = { .mode = S_IFREG | 0644, .size = x[n - 1].file_off + x[n - 1].len };
	struct ck_err err = { 0 };

	assert_works(ck_index_add_bytes(b, path, strlen(path), &e.path, &err), &err);
	for (size_t i = 0; i < n; i++)
		assert_works(ck_index_add_extent(b, &x[i], &err), &err);
	assert_works(ck_index_add_entry(b, &e, &err), &err);
}

static void mk_index(struct ck_index *x)
{
	static const struct ck_extent small = { 0, 512, 10 }, odd = { 0, 1536, 1000 },
				      sparse[] = { { 0, 4096, 512 }, { 8192, 4608, 1024 } },
				      big = { 0, 10 << 20, 30 << 20 };
	struct ck_index_builder *b = NULL;
	struct ck_err err = { 0 };

	assert_works(ck_index_builder_new(&b, &err), &err);
	add(b, "small", &small, 1);
	add(b, "an odd\tname\n\\", &odd, 1);
	add(b, "sparse", sparse, 2);
	add(b, "big", &big, 1);
	ck_index_finish(b, x);
	ck_index_builder_free(b);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct ck_err err = { 0 };

	snprintf(f->dir, sizeof f->dir, "/tmp/ck-recorder-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof f->path, "%s/trace", f->dir);
	for (size_t i = 0; i < N_LAYERS; i++) {
		mk_index(&f->x[i]);
		f->index[i] = &f->x[i];
		f->tar_len[i] = TAR_LEN;
	}
	assert_works(ck_recorder_open(&f->r, f->path, &err), &err);
	assert_works(ck_recorder_start(f->r, f->index, f->tar_len, N_LAYERS, &err), &err);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	ck_recorder_close(f->r);
	unlink(f->path);
	assert_int_equal(rmdir(f->dir), 0);
	for (size_t i = 0; i < N_LAYERS; i++)
		ck_index_free(&f->x[i]);
	free(f);
	return 0;
}

static void check_file(const char *path, const char *want)
{
	CK_BUF text = { 0 };
	struct ck_err err = { 0 };

	assert_works(ck_file_read(&text, path, &err), &err);
	assert_string_equal(ck_buf_str(&text), want);
}

static void check_trace(struct fixture *f, const char *want)
{
	struct ck_err err = { 0 };

	assert_works(ck_recorder_write(f->r, &err), &err);
	check_file(f->path, want);
}

#define HEAD "cloakfs-trace 1\n"

static void test_files(void **state)
{
	struct fixture *f = *state;

	check_trace(f, HEAD);
	ck_recorder_note(f->r, 2, 20 << 20, 4096);
	ck_recorder_note(f->r, 0, 512, 10);
	ck_recorder_note(f->r, 1, 0, 512); /* a header */
	ck_recorder_note(f->r, 1, 1636,
			 16); /* a part of a block is the block, as far as it has a file */
	ck_recorder_note(f->r, 1, 4000,
			 2000); /* two pieces of a file with a hole, and what is around */
	ck_recorder_note(f->r, 2, 20 << 20, 4096);	    /* again */
	ck_recorder_note(f->r, 2, (20 << 20) + 4096, 4096); /* it goes on */
	ck_recorder_note(f->r, 0, 0, 4096);		    /* with what was there before */
	check_trace(f, HEAD "2 10485760 8192 big\n"
			    "0 0 10 small\n"
			    "0 0 1000 an\\040odd\\011name\\012\\134\n"
			    "1 0 512 an\\040odd\\011name\\012\\134\n"
			    "1 0 512 sparse\n"
			    "1 8192 1024 sparse\n");
	/* What is in no layer. */
	ck_recorder_note(f->r, 3, 0, 512);
	ck_recorder_note(f->r, 0, TAR_LEN, 1);
	ck_recorder_note(f->r, 0, TAR_LEN - 10, 11);
	ck_recorder_note(f->r, 0, UINT64_MAX, 2);
	ck_recorder_note(f->r, 0, 10 << 20, 0);
	ck_recorder_pause(f->r, true);
	ck_recorder_note(f->r, 0, 10 << 20, 1);
	ck_recorder_pause(f->r, false);
	struct ck_trace t = { 0 };
	struct ck_err err = { 0 };
	assert_works(ck_recorder_write(f->r, &err), &err);
	assert_works(ck_trace_read(&t, f->path, &err), &err);
	assert_int_equal(t.n, 6);
	ck_trace_free(&t);
}

/* The end of one layer's stream and the beginning of the next are no neighbours. */
static void test_borders(void **state)
{
	struct fixture *f = *state;

	ck_recorder_note(f->r, 0, TAR_LEN - 512, 512);
	ck_recorder_note(f->r, 1, 0, 1024);
	ck_recorder_note(f->r, 1, TAR_LEN - 1, 1);
	check_trace(f, HEAD "0 31456768 512 big\n1 0 10 small\n1 31456768 512 big\n");
}

static void test_writing(void **state)
{
	struct fixture *f = *state;
	struct ck_recorder *r = NULL;
	struct ck_err err = { 0 };
	struct stat st, now;
	char here[PATH_MAX], sub[128];

	/* Without news the file is left alone; and it is private. */
	ck_recorder_note(f->r, 0, 512, 10);
	check_trace(f, HEAD "0 0 10 small\n");
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	ck_recorder_note(f->r, 0, 512, 10);
	assert_works(ck_recorder_write(f->r, &err), &err);
	assert_int_equal(stat(f->path, &now), 0);
	assert_true(st.st_ino == now.st_ino);
	/* By itself, in the end. */
	ck_recorder_note(f->r, 1, 512, 10);
	ck_recorder_close(ck_take(f->r));
	check_file(f->path, HEAD "0 0 10 small\n1 0 10 small\n");
	/* Opening empties it, from whatever directory. */
	assert_non_null(getcwd(here, sizeof here));
	assert_int_equal(chdir(f->dir), 0);
	assert_works(ck_recorder_open(&r, "trace", &err), &err);
	assert_int_equal(chdir(here), 0);
	check_file(f->path, HEAD);
	assert_works(ck_recorder_start(r, f->index, f->tar_len, 1, &err), &err);
	ck_recorder_note(r, 0, 512, 10);
	ck_recorder_note(r, 1, 512, 10);
	ck_recorder_close(r);
	check_file(f->path, HEAD "0 0 10 small\n");
	/* Early errors. */
	assert_int_equal(ck_recorder_open(&r, "/nonexistent/trace", &err), -ENOENT);
	assert_non_null(strstr(err.msg, "/nonexistent/trace"));
	assert_int_equal(ck_recorder_open(&r, f->dir, &err), -EISDIR);
	/* What cannot be written is news until it can. */
	snprintf(sub, sizeof sub, "%s/sub", f->dir);
	assert_int_equal(mkdir(sub, 0700), 0);
	snprintf(sub, sizeof sub, "%s/sub/trace", f->dir);
	assert_works(ck_recorder_open(&r, sub, &err), &err);
	assert_works(ck_recorder_start(r, f->index, f->tar_len, 1, &err), &err);
	unlink(sub);
	sub[strlen(sub) - strlen("/trace")] = 0;
	assert_int_equal(rmdir(sub), 0);
	ck_recorder_note(r, 0, 512, 10);
	assert_int_equal(ck_recorder_write(r, &err), -ENOENT);
	assert_int_equal(mkdir(sub, 0700), 0);
	assert_works(ck_recorder_write(r, &err), &err);
	strcat(sub, "/trace");
	check_file(sub, HEAD "0 0 10 small\n");
	ck_recorder_close(r);
	unlink(sub);
	sub[strlen(sub) - strlen("/trace")] = 0;
	assert_int_equal(rmdir(sub), 0);
}

/* The thread writes without being told to. */
static void test_thread(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	ck_recorder_note(f->r, 0, 512, 10);
	uint64_t until = ck_now_ms() + 30000;
	do {
		sched_yield();
		assert_int_equal(stat(f->path, &st), 0);
	} while (st.st_size == sizeof HEAD - 1 && ck_now_ms() < until);
	check_file(f->path, HEAD "0 0 10 small\n");
}

enum { N_THREADS = 8, STEP = 4096 };

struct reader {
	struct fixture *f;
	unsigned first;
};

/* Each its own layer's, or everybody's, blocks of big, one after the other. */
static void *read_big(void *arg)
{
	const struct reader *r = arg;

	for (uint64_t off = 0; off < 30 << 20; off += STEP) {
		ck_recorder_note(r->f->r, r->first % N_LAYERS, (10 << 20) + off, STEP);
		if (off % (1 << 20) == 0 && r->first == 0) {
			struct ck_err err = { 0 };
			assert_works(ck_recorder_write(r->f->r, &err), &err);
		}
	}
	return NULL;
}

static void test_many(void **state)
{
	struct fixture *f = *state;
	pthread_t t[N_THREADS];
	struct reader r[N_THREADS];
	struct ck_trace got = { 0 };
	struct ck_err err = { 0 };
	uint64_t bytes[N_LAYERS] = { 0 };

	for (unsigned i = 0; i < N_THREADS; i++) {
		r[i] = (struct reader){ f, i };
		assert_int_equal(pthread_create(&t[i], NULL, read_big, &r[i]), 0);
	}
	for (unsigned i = 0; i < N_THREADS; i++)
		pthread_join(t[i], NULL);
	assert_works(ck_recorder_write(f->r, &err), &err);
	assert_works(ck_trace_read(&got, f->path, &err), &err);
	for (size_t i = 0; i < got.n; i++) {
		assert_string_equal(got.lines[i].what.path, "big");
		bytes[got.lines[i].layer] += got.lines[i].what.len;
	}
	for (size_t i = 0; i < N_LAYERS; i++)
		assert_int_equal(bytes[i], 30 << 20);
	/* Those that read in order leave one range each, or little more. */
	assert_in_range(got.n, N_LAYERS, 50);
	ck_trace_free(&got);
}

/* More than a trace has room for: the first ones, and no error. An index of one file of one byte
 * in every other block. */
static void test_full(void **state)
{
	enum { N = CK_TRACE_LINES + 5 };
	struct ck_index_builder *b = NULL;
	struct ck_index x;
	const struct ck_index *index = &x;
	struct ck_extent *e = calloc(N, sizeof *e);
	struct ck_range *r = calloc(N, sizeof *r);
	const uint64_t tar_len = (uint64_t)N * 1024;
	struct ck_tracetext t;
	struct ck_trace back = { 0 };
	CK_BUF text = { .max = CK_TRACE_BYTES };
	struct ck_err err = { 0 };
	(void)state;
	for (uint64_t i = 0; i < N; i++) {
		e[i] = (struct ck_extent){ i * 1024, i * 1024, 1 };
		r[i] = (struct ck_range){ i * 2, 1 };
	}
	assert_works(ck_index_builder_new(&b, &err), &err);
	add(b, "f", e, N);
	ck_index_finish(b, &x);
	ck_index_builder_free(b);
	assert_works(ck_tracetext_open(&t, &index, &tar_len, 1, &err), &err);
	assert_works(ck_tracetext_write(&text, &t, r, N, &err), &err);
	assert_works(ck_trace_parse(&back, "FILE", text.data, text.len, &err), &err);
	assert_int_equal(back.n, CK_TRACE_LINES - 1); /* the head is a line, too */
	ck_trace_free(&back);
	ck_tracetext_close(&t);
	ck_index_free(&x);
	free(e);
	free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_files, setup, teardown),
		cmocka_unit_test_setup_teardown(test_borders, setup, teardown),
		cmocka_unit_test_setup_teardown(test_writing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_thread, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many, setup, teardown),
		cmocka_unit_test(test_full),
	};
	ck_log_init("test", CK_LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
