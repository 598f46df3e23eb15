/*
 * driver - runs an LLVMFuzzerTestOneInput target where libFuzzer is not to be had (gcc).
 *
 *   fuzz_x [-n ITERATIONS] [-s SEED] [-t SECONDS] [-T SECONDS] [CORPUS FILE|DIR]...
 *
 * Runs every corpus input, then ITERATIONS seeded changes of them (default 10000), or as
 * many as -T seconds allow: the same seed and corpus give the same inputs. An input that crashes,
 * aborts, trips a sanitizer or runs longer than -t SECONDS (default 10) is written to
 * "crash-<target>" in $FUZZ_OUT or the working directory, and its name printed: run the
 * target on that file to see it again.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/fuzz/lib/mutate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* The sanitizers' hook, where a sanitizer is linked in: they end a program by _exit. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

enum { INPUT_CAP = 1 << 20, MUTATED_CAP = 1 << 16 };

struct corpus {
	struct fuzz_input *inputs;
	size_t n, cap;
};

/* Only for the handlers below, which can be given no argument. */
static struct {
	const uint8_t *data;
	size_t len;
	char crash_path[PATH_MAX];
} running;

static void write_all(int fd, const void *p, size_t nbytes)
{
	const char *at = p;

	while (nbytes) {
		ssize_t n = write(fd, at, nbytes);

		if (n <= 0)
			return;
		at += n;
		nbytes -= (size_t)n;
	}
}

/* Calls nothing that is not async-signal-safe. */
static void save_input(void)
{
	static const char text[] = "\nthis input did it: ";
	int fd;

	if (!running.data)
		return;
	fd = open(running.crash_path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0)
		return;
	write_all(fd, running.data, running.len);
	close(fd);
	write_all(STDERR_FILENO, text, sizeof text - 1);
	write_all(STDERR_FILENO, running.crash_path, strlen(running.crash_path));
	write_all(STDERR_FILENO, "\n", 1);
	running.data = NULL;
}

static void on_signal(int sig)
{
	static const char late[] = "\ntook too long";

	if (sig == SIGALRM)
		write_all(STDERR_FILENO, late, sizeof late - 1);
	save_input();
	signal(sig == SIGALRM ? SIGABRT : sig, SIG_DFL);
	raise(sig == SIGALRM ? SIGABRT : sig);
}

static void catch_crashes(const char *target)
{
	/* A sanitizer reports the last four itself, with a stack trace. */
	static const int sigs[] = { SIGALRM, SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL };
	size_t n = __sanitizer_set_death_callback ? 2 : sizeof sigs / sizeof *sigs;
	const char *dir = getenv("FUZZ_OUT");
	const char *base = strrchr(target, '/');

	snprintf(running.crash_path, sizeof running.crash_path, "%s/crash-%s", dir ? dir : ".",
		 base ? base + 1 : target);
	for (size_t i = 0; i < n; i++)
		signal(sigs[i], on_signal);
	if (__sanitizer_set_death_callback)
		__sanitizer_set_death_callback(save_input);
}

/* Runs the target on a copy of exactly LEN bytes, so that reading past it is seen. */
static void run_one(const uint8_t *data, size_t len, unsigned int seconds)
{
	uint8_t *copy = malloc(len ? len : 1);

	if (!copy) {
		fprintf(stderr, "out of memory\n");
		exit(2);
	}
	memcpy(copy, data, len);
	running.len = len;
	running.data = data;
	alarm(seconds);
	LLVMFuzzerTestOneInput(copy, len);
	alarm(0);
	running.data = NULL;
	free(copy);
}

static void add_file(struct corpus *c, const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data = malloc(INPUT_CAP);

	if (!f || !data) {
		fprintf(stderr, "cannot read corpus file %s: %s\n", path, strerror(errno));
		exit(2);
	}
	size_t len = fread(data, 1, INPUT_CAP, f);

	fclose(f);
	if (c->n == c->cap) {
		c->cap = c->cap ? 2 * c->cap : 16;
		c->inputs = realloc(c->inputs, c->cap * sizeof *c->inputs);
		if (!c->inputs)
			abort();
	}
	uint8_t *exact = realloc(data, len ? len : 1);

	c->inputs[c->n++] = (struct fuzz_input){ .data = exact ? exact : data, .len = len };
}

/* Adds a file, or a directory's files in the order of their names (the order counts). */
static void add_path(struct corpus *c, const char *path)
{
	struct dirent **names = NULL;
	struct stat st;
	int n;

	if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode)) {
		add_file(c, path);
		return;
	}
	n = scandir(path, &names, NULL, alphasort);
	if (n < 0) {
		fprintf(stderr, "cannot read corpus %s: %s\n", path, strerror(errno));
		exit(2);
	}
	for (int i = 0; i < n; i++) {
		char file[PATH_MAX];

		snprintf(file, sizeof file, "%s/%s", path, names[i]->d_name);
		if (stat(file, &st) == 0 && S_ISREG(st.st_mode))
			add_file(c, file);
		free(names[i]);
	}
	free(names);
}

static unsigned long number(const char *s)
{
	char *end;
	unsigned long n = strtoul(s, &end, 10);

	if (!*s || *end) {
		fprintf(stderr, "not a number: %s\n", s);
		exit(2);
	}
	return n;
}

int main(int argc, char **argv)
{
	unsigned long iterations = 10000, seed = 1, seconds = 10, in_all = 0, n = 0;
	time_t start = time(NULL);
	struct corpus c = { 0 };
	uint8_t *mutated = malloc(MUTATED_CAP);
	int opt;

	while ((opt = getopt(argc, argv, "n:s:t:T:")) != -1) {
		if (opt == 'n')
			iterations = number(optarg);
		else if (opt == 's')
			seed = number(optarg);
		else if (opt == 't')
			seconds = number(optarg);
		else if (opt == 'T')
			in_all = number(optarg);
		else
			return 2;
	}
	if (!mutated)
		return 2;
	for (int i = optind; i < argc; i++)
		add_path(&c, argv[i]);
	catch_crashes(argv[0]);

	for (size_t i = 0; i < c.n; i++)
		run_one(c.inputs[i].data, c.inputs[i].len, (unsigned int)seconds);
	uint64_t state = (uint64_t)seed * UINT64_C(0x9E3779B97F4A7C15) | 1;

	for (; in_all ? (unsigned long)(time(NULL) - start) < in_all : n < iterations; n++) {
		size_t len = fuzz_mutate(&state, c.inputs, c.n, mutated, MUTATED_CAP);

		run_one(mutated, len, (unsigned int)seconds);
	}
	printf("%zu corpus inputs and %lu more from seed %lu: no crash\n", c.n, n, seed);
	for (size_t i = 0; i < c.n; i++)
		free(c.inputs[i].data);
	free(c.inputs);
	free(mutated);
	return 0;
}
