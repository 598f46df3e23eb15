/*
 * bench/readfs - reads a mounted tree in one of several ways, and says how fast it was.
 *
 *   readfs seq FILE [MAX-MIB]    from start to end, 1 MiB at a time -> MB/s
 *   readfs warm FILE             the same, once it was read -> MB/s
 *   readfs random FILE N THREADS N reads of 4 KiB at random places -> reads/s, p50, p99 (us)
 *   readfs touch FILE            4 KiB once in every MiB, in random order -> p50, p99 (us)
 *   readfs all DIR THREADS       every regular file, whole -> seconds, files, MB/s
 *   readfs find DIR              every name with its attributes -> seconds, names
 *   readfs hot DIR N             the same once more, the kernel knowing all of it -> seconds; and
 *                                N times lstat of a name at random -> ns each
 *
 * Seeded: the same places each time. Prints one line of "name=value".
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 1 << 20, PAGE = 4096, THREADS_MAX = 16 };

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what)
{
	fprintf(stderr, "readfs: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t next_random(uint64_t *s)
{
	uint64_t z = *s += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int open_file(const char *path, uint64_t *size)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0)
		die(path);
	*size = (uint64_t)st.st_size;
	return fd;
}

static uint64_t read_through(const char *path, uint8_t *buf, uint64_t max)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	uint64_t len = 0;
	ssize_t n;

	if (fd < 0)
		die(path);
	while (len < max && (n = read(fd, buf, PIECE)) != 0) {
		if (n < 0)
			die(path);
		len += (uint64_t)n;
	}
	close(fd);
	return len;
}

static void run_seq(const char *path, uint64_t max)
{
	uint8_t *buf = malloc(PIECE);
	double t = now_s();
	uint64_t len = read_through(path, buf, max);

	t = now_s() - t;
	printf("mb_per_s=%.0f seconds=%.3f\n", (double)len / t / 1e6, t);
	free(buf);
}

static void run_warm(const char *path)
{
	uint8_t *buf = malloc(PIECE);

	(void)read_through(path, buf, UINT64_MAX);
	free(buf);
	run_seq(path, UINT64_MAX);
}

struct reader {
	int fd;
	uint64_t size, seed;
	size_t n;
	double *us;
};

static void *read_random(void *arg)
{
	struct reader *r = arg;
	uint8_t buf[PAGE];

	for (size_t i = 0; i < r->n; i++) {
		uint64_t off = next_random(&r->seed) % (r->size / PAGE) * PAGE;
		double t = now_s();
		if (pread(r->fd, buf, PAGE, (off_t)off) != PAGE)
			die("read");
		r->us[i] = (now_s() - t) * 1e6;
	}
	return NULL;
}

static void run_random(const char *path, size_t n, size_t threads)
{
	struct reader readers[THREADS_MAX];
	pthread_t ids[THREADS_MAX];
	double *us = calloc(n, sizeof *us), t = now_s();
	uint64_t size;
	int fd = open_file(path, &size);

	posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	for (size_t i = 0; i < threads; i++) {
		readers[i] =
		    (struct reader){ fd, size, i + 1, n / threads, us + i * (n / threads) };
		if (pthread_create(&ids[i], NULL, read_random, &readers[i]) != 0)
			die("thread");
	}
	for (size_t i = 0; i < threads; i++)
		pthread_join(ids[i], NULL);
	t = now_s() - t;
	n = n / threads * threads;
	qsort(us, n, sizeof *us, by_value);
	printf("reads_per_s=%.0f p50_us=%.0f p99_us=%.0f\n", (double)n / t, us[n / 2],
	       us[n * 99 / 100]);
}

static void run_touch(const char *path)
{
	uint64_t size, seed = 3;
	int fd = open_file(path, &size);
	size_t n = (size_t)(size / PIECE);
	double *us = calloc(n, sizeof *us);
	size_t *order = calloc(n, sizeof *order);
	uint8_t buf[PAGE];

	posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	for (size_t i = 0; i < n; i++) {
		size_t k = (size_t)(next_random(&seed) % (i + 1));
		order[i] = order[k];
		order[k] = i;
	}
	for (size_t i = 0; i < n; i++) {
		uint64_t in = next_random(&seed) % (PIECE / PAGE) * PAGE;
		double t = now_s();
		if (pread(fd, buf, PAGE, (off_t)(order[i] * PIECE + in)) != PAGE)
			die("read");
		us[i] = (now_s() - t) * 1e6;
	}
	qsort(us, n, sizeof *us, by_value);
	printf("touch_p50_us=%.0f touch_p99_us=%.0f\n", us[n / 2], us[n * 99 / 100]);
}

/* The names of a tree; nftw takes no argument of its own. */
static struct {
	char **files;
	size_t n, cap, n_names;
	int keep;
} tree;

static int on_name(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)ftw;
	tree.n_names++;
	if (!tree.keep || type != FTW_F || !S_ISREG(st->st_mode))
		return 0;
	if (tree.n == tree.cap) {
		tree.cap = tree.cap ? 2 * tree.cap : 4096;
		tree.files = reallocarray(tree.files, tree.cap, sizeof *tree.files);
	}
	tree.files[tree.n++] = strdup(path);
	return 0;
}

static void run_find(const char *dir)
{
	double t = now_s();

	if (nftw(dir, on_name, 64, FTW_PHYS) != 0)
		die(dir);
	printf("seconds=%.3f names=%zu\n", now_s() - t, tree.n_names);
}

static void run_hot(const char *dir, size_t n)
{
	struct stat st;
	uint64_t seed = 1;
	double t, find_s;

	tree.keep = 1;
	if (nftw(dir, on_name, 64, FTW_PHYS) != 0)
		die(dir);
	tree.keep = 0;
	t = now_s();
	if (nftw(dir, on_name, 64, FTW_PHYS) != 0)
		die(dir);
	find_s = now_s() - t;
	t = now_s();
	for (size_t i = 0; i < n; i++)
		if (lstat(tree.files[next_random(&seed) % tree.n], &st) < 0)
			die("lstat");
	printf("hot_find_s=%.4f lstat_ns=%.0f\n", find_s, (now_s() - t) * 1e9 / (double)n);
}

struct worker {
	size_t first, step;
	uint64_t nbytes;
};

static void *read_files(void *arg)
{
	struct worker *w = arg;
	uint8_t *buf = malloc(PIECE);

	for (size_t i = w->first; i < tree.n; i += w->step)
		w->nbytes += read_through(tree.files[i], buf, UINT64_MAX);
	free(buf);
	return NULL;
}

static void run_all(const char *dir, size_t threads)
{
	struct worker workers[THREADS_MAX];
	pthread_t ids[THREADS_MAX];
	uint64_t nbytes = 0;
	double t = now_s();

	tree.keep = 1;
	if (nftw(dir, on_name, 64, FTW_PHYS) != 0)
		die(dir);
	for (size_t i = 0; i < threads; i++) {
		workers[i] = (struct worker){ i, threads, 0 };
		if (pthread_create(&ids[i], NULL, read_files, &workers[i]) != 0)
			die("thread");
	}
	for (size_t i = 0; i < threads; i++) {
		pthread_join(ids[i], NULL);
		nbytes += workers[i].nbytes;
	}
	t = now_s() - t;
	printf("seconds=%.3f files=%zu mb_per_s=%.0f\n", t, tree.n, (double)nbytes / t / 1e6);
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";
	size_t n = argc > 3 ? strtoul(argv[3], NULL, 10) : 0;
	size_t threads = argc > 4 ? strtoul(argv[4], NULL, 10) : 1;

	if (threads < 1 || threads > THREADS_MAX)
		threads = 1;
	if (strcmp(what, "seq") == 0)
		run_seq(argv[2], n ? (uint64_t)n << 20 : UINT64_MAX);
	else if (strcmp(what, "warm") == 0)
		run_warm(argv[2]);
	else if (strcmp(what, "random") == 0 && n)
		run_random(argv[2], n, threads);
	else if (strcmp(what, "touch") == 0)
		run_touch(argv[2]);
	else if (strcmp(what, "all") == 0 && n)
		run_all(argv[2], n <= THREADS_MAX ? n : 1);
	else if (strcmp(what, "find") == 0)
		run_find(argv[2]);
	else if (strcmp(what, "hot") == 0 && n)
		run_hot(argv[2], n);
	else {
		fprintf(stderr,
			"usage: readfs seq|warm|random|touch|all|find|hot ...: see its source\n");
		return 2;
	}
	return 0;
}
