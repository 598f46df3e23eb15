/*
 * cacheblob - puts blocks of a file into a cache, as fs/cache/blobfile.h describes it.
 *
 *   cacheblob [--as HEX] DIR FILE AGE [IDX]...
 *
 * The blocks IDX, or all; last used AGE seconds ago. With --as they are said to be of the blob of
 * that digest, as a disk that lies has it. Prints the digest. Shares no code with cloakfs: it is
 * what the header says.
 */
#include <endian.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 16384, HEADER = 64 };

/* CRC-32C, bit by bit, without the usual inversions. */
static uint32_t crc(uint32_t seed, const uint8_t *p, size_t n)
{
	while (n--) {
		seed ^= *p++;
		for (int i = 0; i < 8; i++)
			seed = seed >> 1 ^ (seed & 1 ? 0x82f63b78 : 0);
	}
	return seed;
}

static void write_at(int fd, const void *p, size_t n, uint64_t off)
{
	if (pwrite(fd, p, n, (off_t)off) == (ssize_t)n)
		return;
	perror("cacheblob: writing");
	exit(1);
}

static uint32_t seed_of(const uint8_t digest[32], uint64_t idx)
{
	uint32_t seed;

	memcpy(&seed, digest, 4);
	return le32toh(seed) ^ (uint32_t)idx;
}

static void put_block(int fd, const uint8_t *p, uint64_t size, const uint8_t digest[32],
		      uint64_t idx, uint32_t used)
{
	uint64_t at = idx * BLOCK, n_blocks = (size + BLOCK - 1) / BLOCK;
	size_t len = size - at < BLOCK ? (size_t)(size - at) : BLOCK;
	uint32_t sum = crc(seed_of(digest, idx), p + at, len);
	uint32_t word[2] = { htole32(sum ? sum : 1), htole32(used) };

	write_at(fd, p + at, len, at);
	write_at(fd, word, sizeof word, n_blocks * BLOCK + HEADER + 8 * idx);
}

static void put_header(int fd, uint64_t size, const uint8_t digest[32])
{
	uint64_t n_blocks = (size + BLOCK - 1) / BLOCK, len = htole64(size);
	uint32_t version = htole32(1), block = htole32(BLOCK);
	uint8_t h[HEADER] = "CKBLOB\r\n";

	memcpy(h + 8, &version, 4);
	memcpy(h + 12, &block, 4);
	memcpy(h + 16, &len, 8);
	memcpy(h + 24, digest, 32);
	uint32_t sum = htole32(crc(0, h, HEADER - 4));
	memcpy(h + HEADER - 4, &sum, 4);
	if (ftruncate(fd, (off_t)(n_blocks * BLOCK + HEADER + 8 * n_blocks)) < 0) {
		perror("cacheblob: ftruncate");
		exit(1);
	}
	write_at(fd, h, sizeof h, n_blocks * BLOCK);
}

int main(int argc, char **argv)
{
	char path[4096], hex[65];
	uint8_t digest[32];
	struct stat st;
	struct timespec now;
	const char *as = NULL;

	if (argc > 2 && strcmp(argv[1], "--as") == 0) {
		as = argv[2];
		argv += 2;
		argc -= 2;
	}
	if (argc < 4 || (as && strlen(as) != 64))
		return 2;
	int in = open(argv[2], O_RDONLY);
	if (in < 0 || fstat(in, &st) < 0) {
		perror(argv[2]);
		return 1;
	}
	uint64_t size = (uint64_t)st.st_size, n_blocks = (size + BLOCK - 1) / BLOCK;
	uint8_t *p = malloc(size + 1);
	if (!p || read(in, p, size) != (ssize_t)size)
		return 1;
	SHA256(p, size, digest);
	for (int i = 0; as && i < 32; i++)
		digest[i] = (uint8_t)strtoul((char[]){ as[2 * i], as[2 * i + 1], 0 }, NULL, 16);
	for (int i = 0; i < 32; i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
	snprintf(path, sizeof path, "%s/blobs", argv[1]);
	(void)mkdir(path, 0700);
	snprintf(path, sizeof path, "%s/blobs/%s", argv[1], hex);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0) {
		perror(path);
		return 1;
	}
	put_header(fd, size, digest);
	clock_gettime(CLOCK_REALTIME, &now);
	uint32_t used = (uint32_t)((uint64_t)(now.tv_sec - atoi(argv[3])) * 64);
	for (uint64_t i = 0; argc == 4 && i < n_blocks; i++)
		put_block(fd, p, size, digest, i, used);
	for (int i = 4; i < argc; i++)
		put_block(fd, p, size, digest, strtoull(argv[i], NULL, 10), used);
	puts(hex);
	free(p);
	return close(fd) < 0;
}
