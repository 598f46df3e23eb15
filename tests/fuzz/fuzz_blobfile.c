/*
 * Fuzz: any bytes as the file of a blob in the cache. What is got has the checksum that a block
 * that is put would get; nothing else is said to be there afterwards. The first byte asks for a
 * header that fits, the second is the number of blocks; then come header, map, and the file's first
 * bytes.
 */
#include <fcntl.h>
#include <isa-l/crc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fs/cache/blobcache.h"
#include "fs/cache/blobfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { MAX_BLOCKS = 20 };

static void write_at(int fd, const void *p, size_t n, off_t off)
{
	if (n && pwrite(fd, p, n, off) != (ssize_t)n)
		abort();
}

/* Makes the constants and the sum of a header fit. */
static void fit(uint8_t h[CK_BLOBFILE_HEADER])
{
	static const uint8_t start[16] = "CKBLOB\r\n\1\0\0\0\0\x80\0";

	memcpy(h, start, sizeof start);
	memset(h + 56, 0, 4);
	uint32_t sum = crc32_iscsi(h, CK_BLOBFILE_HEADER - 4, 0);
	memcpy(h + 60, &sum, sizeof sum);
}

static uint32_t sum_in(const struct ck_blobfile *f, int fd, uint64_t idx)
{
	struct ck_blobfile_word w;

	ck_blobfile_words(f, fd, idx, 1, &w);
	return w.sum;
}

static void use(const struct ck_blobfile *f, int fd)
{
	uint64_t good = 0, nbytes, dropped = 0;
	uint8_t *buf = malloc(CK_CACHE_BLOCK);
	int other = memfd_create("fuzz", MFD_CLOEXEC);

	if (!buf || other < 0 || ck_blobfile_format(f, other) < 0)
		abort();
	for (uint64_t i = 0; i < f->n_blocks; i++) {
		if (!ck_blobfile_get(f, fd, i, buf, 12345))
			continue;
		good++;
		if (ck_blobfile_put(f, other, i, buf, 0) < 0 ||
		    sum_in(f, other, i) != sum_in(f, fd, i))
			abort();
	}
	if (ck_blobfile_there(f, fd, &nbytes) != good || nbytes > f->size ||
	    ck_blobfile_sweep(f, fd) < 0 || ck_blobfile_there(f, fd, &nbytes) != good ||
	    ck_blobfile_drop(f, fd, 0, f->n_blocks, true, &dropped) < 0 || dropped != good ||
	    !ck_blobfile_sound(f, fd))
		abort();
	close(other);
	free(buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t tail[CK_BLOBFILE_HEADER + 8 * MAX_BLOCKS] = { 0 };
	struct ck_blobfile f;

	if (len < 2)
		return 0;
	size_t n_blocks = data[1] % (MAX_BLOCKS + 1), n = CK_BLOBFILE_HEADER + 8 * n_blocks;
	size_t got = len - 2 < n ? len - 2 : n, rest = len - 2 - got;
	memcpy(tail, data + 2, got);
	if (data[0] & 1)
		fit(tail);
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (fd < 0)
		abort();
	write_at(fd, data + 2 + got, rest < CK_CACHE_BLOCK * n_blocks ? rest : 0, 0);
	write_at(fd, tail, data[0] & 2 ? got : n, (off_t)(n_blocks * CK_CACHE_BLOCK));
	if (ck_blobfile_identify(&f, fd, tail + 24)) {
		if (f.n_blocks != n_blocks || f.size > n_blocks * CK_CACHE_BLOCK)
			abort();
		use(&f, fd);
	}
	close(fd);
	return 0;
}
