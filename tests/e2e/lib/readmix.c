/*
 * readmix - reads a mount in every way a program may, at random, and compares with a copy.
 *
 *   readmix [-j THREADS] [-n OPERATIONS] [-t SECONDS] [-s SEED] COPY MOUNT
 *
 * Each thread does OPERATIONS (1000), or goes on for SECONDS: takes a file of COPY at random and,
 * in MOUNT, reads a range of it by pread, by mmap, or in small steps to its end; compares its
 * attributes; lists its directory; looks up names that are not there; asks where its data lie.
 * The first difference is told, with its seed, and the exit status is 1.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { RANGE_MAX = 300000, NAMES_MAX = 1000000 };

static const char *copy, *mount;
static char **names; /* below COPY, "/..." */
static size_t n_names;
static unsigned long operations = 1000, seconds, seed = 1;
static atomic_bool failed;

static uint64_t next(uint64_t *state) /* splitmix64 */
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static void differ(const char *name, const char *what, uint64_t at)
{
	if (!atomic_exchange(&failed, true))
		fprintf(stderr, "readmix: seed %lu: %s: %s at %llu (errno: %s)\n", seed, name, what,
			(unsigned long long)at, strerror(errno));
}

static int open_in(const char *top, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s%s", top, name);
	return open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
}

static bool whole(int fd, void *buf, size_t n, uint64_t off)
{
	return pread(fd, buf, n, (off_t)off) == (ssize_t)n;
}

static void by_pread(const char *name, int want, int got, uint64_t off, size_t n)
{
	uint8_t *a = malloc(n), *b = malloc(n);

	if (!whole(want, a, n, off) || !whole(got, b, n, off) || memcmp(a, b, n) != 0)
		differ(name, "pread", off);
	free(a);
	free(b);
}

static void by_mmap(const char *name, int want, int got, uint64_t off, size_t n)
{
	uint64_t start = off / 4096 * 4096;
	size_t len = (size_t)(off - start) + n;
	uint8_t *a = mmap(NULL, len, PROT_READ, MAP_PRIVATE, want, (off_t)start);
	uint8_t *b = mmap(NULL, len, PROT_READ, MAP_PRIVATE, got, (off_t)start);

	if (a == MAP_FAILED || b == MAP_FAILED || memcmp(a, b, len) != 0)
		differ(name, "mmap", off);
	munmap(a, len);
	munmap(b, len);
}

static void in_steps(const char *name, int want, int got, uint64_t off, uint64_t *r)
{
	uint8_t a[5000], b[5000];
	ssize_t n = 1;

	for (int i = 0; i < 50 && n > 0; i++, off += (uint64_t)n) {
		size_t step = next(r) % sizeof a + 1;
		n = pread(want, a, step, (off_t)off);
		if (pread(got, b, step, (off_t)off) != n || (n > 0 && memcmp(a, b, (size_t)n)))
			differ(name, "steps", off);
	}
}

/* Where the copy has data, the mount may not have a hole; the other way round it may. */
static void holes(const char *name, int got, uint64_t off, uint64_t size)
{
	uint8_t zero[4096] = { 0 }, b[4096];
	off_t data = lseek(got, (off_t)off, SEEK_DATA);
	uint64_t end = data < 0 ? size : (uint64_t)data;

	for (; off < end; off += sizeof b) {
		size_t n = end - off < sizeof b ? (size_t)(end - off) : sizeof b;
		if (!whole(got, b, n, off) || memcmp(b, zero, n) != 0)
			differ(name, "a hole that is none", off);
	}
}

static void attributes(const char *name)
{
	char path[PATH_MAX], a[PATH_MAX], b[PATH_MAX];
	struct stat want, got;

	snprintf(path, sizeof path, "%s%s", copy, name);
	int rc = lstat(path, &want);
	ssize_t n = S_ISLNK(want.st_mode) ? readlink(path, a, sizeof a) : 0;
	snprintf(path, sizeof path, "%s%s", mount, name);
	bool dir = S_ISDIR(want.st_mode); /* whose times unpackers set differently */
	if (rc < 0 || lstat(path, &got) < 0 || want.st_mode != got.st_mode ||
	    want.st_uid != got.st_uid || want.st_gid != got.st_gid || want.st_rdev != got.st_rdev ||
	    (!dir && (want.st_mtim.tv_sec != got.st_mtim.tv_sec ||
		      want.st_mtim.tv_nsec != got.st_mtim.tv_nsec || want.st_size != got.st_size ||
		      want.st_nlink != got.st_nlink)))
		differ(name, "attributes", 0);
	else if (S_ISLNK(want.st_mode) &&
		 (readlink(path, b, sizeof b) != n || memcmp(a, b, (size_t)n) != 0))
		differ(name, "link", 0);
	snprintf(path, sizeof path, "%s%s.absent", mount, name);
	if (lstat(path, &got) == 0 || (errno != ENOENT && errno != ENAMETOOLONG))
		differ(name, "an absent name", 0);
}

static uint64_t listing(const char *top, const char *dir)
{
	char path[PATH_MAX];
	uint64_t sum = 0;

	snprintf(path, sizeof path, "%s%s", top, dir);
	DIR *d = opendir(path);
	for (struct dirent *e; d && (e = readdir(d));) {
		uint64_t h = 5381;
		for (const char *s = e->d_name; *s; s++)
			h = h * 33 + (unsigned char)*s;
		sum += h;
	}
	if (d)
		closedir(d);
	return d ? sum : 1;
}

static void operate(const char *name, uint64_t *r)
{
	char path[PATH_MAX];
	struct stat st;
	unsigned what = (unsigned)(next(r) % 8);

	snprintf(path, sizeof path, "%s%s", copy, name);
	if (lstat(path, &st) < 0)
		differ(name, "the copy", 0);
	else if (S_ISDIR(st.st_mode) && listing(copy, name) != listing(mount, name))
		differ(name, "listing", 0);
	if (!S_ISREG(st.st_mode) || st.st_size == 0 || what == 0) {
		attributes(name);
		return;
	}
	int want = open_in(copy, name), got = open_in(mount, name);
	uint64_t off = next(r) % (uint64_t)st.st_size, left = (uint64_t)st.st_size - off;
	size_t n = (size_t)(next(r) % RANGE_MAX + 1);
	if (n > left)
		n = (size_t)left;
	if (want < 0 || got < 0)
		differ(name, "open", 0);
	else if (what <= 3)
		by_pread(name, want, got, off, n);
	else if (what <= 5)
		by_mmap(name, want, got, off, n);
	else if (what == 6)
		in_steps(name, want, got, off, r);
	else
		holes(name, got, off, (uint64_t)st.st_size);
	if (want >= 0)
		close(want);
	if (got >= 0)
		close(got);
}

static void *reader(void *arg)
{
	uint64_t r = seed * 1000 + (uintptr_t)arg;
	time_t end = time(NULL) + (time_t)seconds;

	for (unsigned long i = 0; !failed && (seconds ? time(NULL) < end : i < operations); i++)
		operate(names[next(&r) % n_names], &r);
	return NULL;
}

static int add(const char *path, const struct stat *st, int type, struct FTW *w)
{
	(void)st;
	(void)type;
	(void)w;
	if (n_names < NAMES_MAX)
		names[n_names++] = strdup(path + strlen(copy));
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long n_threads = 4;
	pthread_t thread[64];

	for (int c; (c = getopt(argc, argv, "j:n:t:s:")) != -1;) {
		if (c == '?')
			return 2;
		unsigned long v = strtoul(optarg, NULL, 10);
		*(c == 'j' ? &n_threads : c == 'n' ? &operations : c == 't' ? &seconds : &seed) = v;
	}
	if (argc - optind != 2 || n_threads == 0 || n_threads > 64)
		return 2;
	copy = argv[optind];
	mount = argv[optind + 1];
	names = calloc(NAMES_MAX, sizeof *names);
	if (!names || nftw(copy, add, 32, FTW_PHYS) != 0 || n_names < 2)
		return 2;
	for (unsigned long i = 0; i < n_threads; i++)
		if (pthread_create(&thread[i], NULL, reader, (void *)(uintptr_t)i) != 0)
			return 2;
	for (unsigned long i = 0; i < n_threads; i++)
		pthread_join(thread[i], NULL);
	return failed;
}
