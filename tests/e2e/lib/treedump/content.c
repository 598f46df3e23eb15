#include "tests/e2e/lib/treedump/content.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 4096 };

static bool problem(const char *rel, const char *what)
{
	fprintf(stderr, "treedump: %s: %s: %s\n", rel, what, strerror(errno));
	return false;
}

bool hash_all(EVP_MD_CTX *md, const char *rel, int fd, off_t size)
{
	static unsigned char buf[1 << 17];
	ssize_t got;

	(void)size;
	while ((got = read(fd, buf, sizeof buf)) > 0)
		EVP_DigestUpdate(md, buf, (size_t)got);
	return got == 0 || problem(rel, "read");
}

static bool is_zero(const unsigned char *p, size_t n)
{
	return n == 0 || (p[0] == 0 && !memcmp(p, p + 1, n - 1));
}

static void hash_block(EVP_MD_CTX *md, uint64_t off, const unsigned char *p, size_t n)
{
	unsigned char le[8];

	for (int i = 0; i < 8; i++)
		le[i] = (unsigned char)(off >> 8 * i);
	EVP_DigestUpdate(md, le, sizeof le);
	EVP_DigestUpdate(md, p, n);
}

/* Blocks from *FROM, a multiple of a block, until one begins at or after END: where *FROM is
 * then. With MD NULL they must all be zeros. */
static bool hash_blocks(EVP_MD_CTX *md, const char *rel, int fd, off_t *from, off_t end)
{
	static unsigned char buf[256 * BLOCK];

	while (*from < end) {
		size_t left = (size_t)(end - *from) + BLOCK - 1;
		size_t want = left < sizeof buf ? left / BLOCK * BLOCK : sizeof buf;
		ssize_t got = pread(fd, buf, want, *from);

		if (got <= 0)
			return problem(rel, "read");
		for (ssize_t at = 0; at < got; at += BLOCK) {
			size_t n = got - at < BLOCK ? (size_t)(got - at) : BLOCK;

			if (is_zero(buf + at, n))
				continue;
			if (!md) {
				fprintf(stderr, "treedump: %s: a hole has data near %jd\n", rel,
					(intmax_t)(*from + at));
				return false;
			}
			hash_block(md, (uint64_t)(*from + at), buf + at, n);
		}
		*from += got;
	}
	return true;
}

static bool check_hole(const char *rel, int fd, off_t from, off_t end)
{
	off_t first_end = end - from < BLOCK ? end : from + BLOCK;
	off_t last = (end - 1) / BLOCK * BLOCK;

	return from >= end || (hash_blocks(NULL, rel, fd, &from, first_end) &&
			       hash_blocks(NULL, rel, fd, &last, end));
}

bool hash_large(EVP_MD_CTX *md, const char *rel, int fd, off_t size)
{
	off_t done = 0; /* a multiple of a block, or the end */

	while (done < size) {
		off_t data = lseek(fd, done, SEEK_DATA), end;

		if (data < 0 && errno != ENXIO)
			return problem(rel, "SEEK_DATA");
		if (data < 0)
			return check_hole(rel, fd, done, size);
		end = lseek(fd, data, SEEK_HOLE);
		if (end <= data)
			return problem(rel, "SEEK_HOLE");
		data = data / BLOCK * BLOCK;
		if (!check_hole(rel, fd, done, data))
			return false;
		done = data;
		if (!hash_blocks(md, rel, fd, &done, end))
			return false;
	}
	return true;
}
