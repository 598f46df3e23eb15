/*
 * treedump - prints everything a file tree holds, one sorted line a file, so that
 * two trees can be compared with diff.
 *
 *   treedump [-cdlmx] [-e PATH]... DIR
 *     -c  also check that readdir and stat agree on inode numbers and types
 *     -d  leave out the mtimes of directories (unpackers differ there)
 *     -l  also the link counts of directories (filesystems differ there)
 *     -m  whole seconds only
 *     -x  leave out extended attributes
 *     -e  leave out PATH (relative to DIR, as printed) and all below it
 *
 * A line: PATH TYPE MODE UID:GID SIZE MTIME LINKS RDEV XATTRS CONTENT. Bytes that are not
 * plain printable ASCII are written \xHH. LINKS is "2=first/path": the
 * count, and the first name of the same inode. CONTENT is a sha256 or a link's target; of a
 * file above 64 MiB "blocks:" and a sha256 (content.h). Paths may be longer than PATH_MAX.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/e2e/lib/treedump/content.h"

static struct {
	bool check, no_dir_mtime, dir_links, whole_seconds, no_xattrs;
	const char *excluded[64];
	int n_excluded;
	bool failed;
} opt;

struct link {
	dev_t dev;
	ino_t ino;
	char *path;
	struct link *next;
};

static struct link *links;

static void problem(const char *path, const char *what)
{
	fprintf(stderr, "treedump: %s: %s: %s\n", path, what, strerror(errno));
	opt.failed = true;
}

static void *must(void *p)
{
	if (!p) {
		fprintf(stderr, "treedump: out of memory\n");
		exit(2);
	}
	return p;
}

static void print_escaped(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c <= ' ' || c > '~' || c == '\\')
			printf("\\x%02x", c);
		else
			putchar(c);
	}
}

static const char *first_name(const struct stat *st, const char *path)
{
	struct link *l;

	for (l = links; l; l = l->next)
		if (l->dev == st->st_dev && l->ino == st->st_ino)
			return l->path;
	l = must(malloc(sizeof *l));
	*l = (struct link){ st->st_dev, st->st_ino, must(strdup(path)), links };
	links = l;
	return path;
}

static void print_content(const char *rel, const char *path, off_t size)
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned int n = 0;
	EVP_MD_CTX *md = must(EVP_MD_CTX_new());
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	EVP_DigestInit_ex(md, EVP_sha256(), NULL);
	if (fd < 0)
		problem(rel, "open");
	else if (!(size > CONTENT_LARGE ? hash_large : hash_all)(md, rel, fd, size))
		opt.failed = true;
	EVP_DigestFinal_ex(md, sum, &n);
	EVP_MD_CTX_free(md);
	if (fd >= 0)
		close(fd);
	printf(size > CONTENT_LARGE ? " blocks:" : " ");
	for (unsigned int i = 0; i < n; i++)
		printf("%02x", sum[i]);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void print_xattrs(const char *rel, const char *path)
{
	static char list[65536], value[65536];
	char *names[256];
	size_t n_names = 0;
	ssize_t len = llistxattr(path, list, sizeof list);

	if (len < 0 && errno != ENOTSUP)
		problem(rel, "llistxattr");
	for (ssize_t at = 0; at < len && n_names < 256; at += (ssize_t)strlen(list + at) + 1)
		names[n_names++] = list + at;
	qsort(names, n_names, sizeof *names, by_text);
	printf(" [");
	for (size_t i = 0; i < n_names; i++) {
		ssize_t n = lgetxattr(path, names[i], value, sizeof value);

		if (n < 0)
			problem(rel, names[i]);
		printf("%s", i ? "," : "");
		print_escaped(names[i], strlen(names[i]));
		putchar('=');
		print_escaped(value, n > 0 ? (size_t)n : 0);
	}
	putchar(']');
}

static void print_target(const char *rel, const char *path, const struct stat *st)
{
	static char target[PATH_MAX]; /* not on the stack, which is as deep as the tree */
	ssize_t n = readlink(path, target, sizeof target);

	if (n < 0) {
		problem(rel, "readlink");
		return;
	}
	if (n != st->st_size)
		fprintf(stderr, "treedump: %s: link of %zd bytes has size %lld\n", rel, n,
			(long long)st->st_size);
	opt.failed |= n != st->st_size;
	printf(" ->");
	print_escaped(target, (size_t)n);
}

static char type_of(mode_t mode)
{
	return S_ISREG(mode)	? 'f'
	       : S_ISDIR(mode)	? 'd'
	       : S_ISLNK(mode)	? 'l'
	       : S_ISCHR(mode)	? 'c'
	       : S_ISBLK(mode)	? 'b'
	       : S_ISFIFO(mode) ? 'p'
				: '?';
}

/* REL is the path as printed, PATH the one to open: short, by way of /proc. */
static void print_line(const char *rel, const char *path, const struct stat *st)
{
	bool dir = S_ISDIR(st->st_mode), device = S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode);

	print_escaped(rel, strlen(rel));
	printf(" %c %04o %u:%u", type_of(st->st_mode), st->st_mode & 07777U, st->st_uid,
	       st->st_gid);
	if (dir || device)
		printf(" -");
	else
		printf(" %lld", (long long)st->st_size);
	if (dir && opt.no_dir_mtime)
		printf(" -");
	else if (opt.whole_seconds)
		printf(" %lld", (long long)st->st_mtim.tv_sec);
	else
		printf(" %lld.%09ld", (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
	if (dir && opt.dir_links)
		printf(" %ju", (uintmax_t)st->st_nlink);
	else if (dir || st->st_nlink == 1)
		printf(" -");
	else {
		printf(" %ju=", (uintmax_t)st->st_nlink);
		print_escaped(first_name(st, rel), strlen(first_name(st, rel)));
	}
	if (device)
		printf(" %u,%u", major(st->st_rdev), minor(st->st_rdev));
	else
		printf(" -");
	if (!opt.no_xattrs)
		print_xattrs(rel, path);
	if (S_ISREG(st->st_mode))
		print_content(rel, path, st->st_size);
	if (S_ISLNK(st->st_mode))
		print_target(rel, path, st);
	putchar('\n');
}

static bool is_excluded(const char *rel)
{
	for (int i = 0; i < opt.n_excluded; i++)
		if (!strcmp(rel, opt.excluded[i]))
			return true;
	return false;
}

static void check_entry(const char *path, const struct dirent *d, const struct stat *st)
{
	unsigned char type = (unsigned char)((st->st_mode & S_IFMT) >> 12);

	if (d->d_ino != st->st_ino || (d->d_type != DT_UNKNOWN && d->d_type != type)) {
		fprintf(stderr, "treedump: %s: readdir says inode %ju type %u, stat %ju type %u\n",
			path, (uintmax_t)d->d_ino, d->d_type, (uintmax_t)st->st_ino, type);
		opt.failed = true;
	}
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void dump(const char *rel, int dir, const char *name, const struct dirent *from);

static void dump_names(const char *rel, int fd)
{
	struct dirent **names = NULL;
	int n = scandirat(fd, ".", &names, NULL, by_name);

	if (n < 0)
		problem(rel, "readdir");
	for (int i = 0; i < n; i++) {
		const char *name = names[i]->d_name;
		char *sub;

		if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
			if (asprintf(&sub, "%s%s%s", strcmp(rel, ".") ? rel : "",
				     strcmp(rel, ".") ? "/" : "", name) < 0)
				must(NULL);
			dump(sub, fd, name, names[i]);
			free(sub);
		}
		free(names[i]);
	}
	free(names);
}

static void dump(const char *rel, int dir, const char *name, const struct dirent *from)
{
	char path[NAME_MAX + 64];
	struct stat st;
	int fd;

	if (is_excluded(rel))
		return;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
		problem(rel, "lstat");
		return;
	}
	if (opt.check && from)
		check_entry(rel, from, &st);
	snprintf(path, sizeof path, "/proc/self/fd/%d/%s", dir, name);
	print_line(rel, path, &st);
	if (!S_ISDIR(st.st_mode))
		return;
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		problem(rel, "open");
		return;
	}
	dump_names(rel, fd);
	close(fd);
}

int main(int argc, char **argv)
{
	struct rlimit files;
	int c, root;

	while ((c = getopt(argc, argv, "cdlmxe:")) != -1) {
		if (c == 'c')
			opt.check = true;
		else if (c == 'd')
			opt.no_dir_mtime = true;
		else if (c == 'l')
			opt.dir_links = true;
		else if (c == 'm')
			opt.whole_seconds = true;
		else if (c == 'x')
			opt.no_xattrs = true;
		else if (c == 'e' && opt.n_excluded < 64)
			opt.excluded[opt.n_excluded++] = optarg;
		else
			return 2;
	}
	if (optind + 1 != argc) {
		fprintf(stderr, "usage: treedump [-cdlmx] [-e PATH]... DIR\n");
		return 2;
	}
	/* One for each directory on the way down. */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	root = open(argv[optind], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0) {
		perror(argv[optind]);
		return 2;
	}
	dump(".", root, ".", NULL);
	close(root);
	while (links) {
		struct link *l = links;

		links = l->next;
		free(l->path);
		free(l);
	}
	if (fflush(stdout) != 0 || ferror(stdout)) {
		perror("treedump: stdout");
		return 1;
	}
	return opt.failed ? 1 : 0;
}
