#include "fs/cache/blobfile.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <isa-l/crc.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/cache/blobcache.h"

enum {
	BLOCK = CK_CACHE_BLOCK,
	WORD = sizeof(struct ck_blobfile_word),
	WORDS = 512,
	FRESH = 60 * CK_TICKS
};

static const char magic[8] = "CKBLOB\r\n";
enum { VERSION = 1, MAX_LOG2 = 44 }; /* 16 TiB: no disk of ours has larger files */

struct header {
	char magic[8];
	uint32_t version, block;
	uint64_t size;
	uint8_t digest[CK_SHA256_LEN];
	uint32_t reserved, sum; /* of all before it */
};
_Static_assert(sizeof(struct header) == CK_BLOBFILE_HEADER, "no padding");

static uint32_t crc32c(uint32_t seed, const void *p, size_t nbytes)
{
	return crc32_iscsi((unsigned char *)p, (int)nbytes, seed);
}

static uint32_t block_sum(const struct ck_blobfile *f, uint64_t idx, const void *buf)
{
	uint32_t seed;

	memcpy(&seed, f->digest, sizeof seed);
	uint32_t sum = crc32c(le32toh(seed) ^ (uint32_t)idx, buf, ck_blobfile_len(f, idx));
	return sum ? sum : 1;
}

/* Bytes read: fewer than NBYTES at the file's end, or where it cannot be read. */
static size_t read_at(int fd, void *buf, size_t nbytes, uint64_t off)
{
	size_t done = 0;

	while (done < nbytes) {
		ssize_t r = pread(fd, (uint8_t *)buf + done, nbytes - done, (off_t)(off + done));
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			break;
		done += (size_t)r;
	}
	return done;
}

static int write_at(int fd, const void *buf, size_t nbytes, uint64_t off)
{
	const uint8_t *at = buf;

	while (nbytes) {
		ssize_t w = pwrite(fd, at, nbytes, (off_t)off);
		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return w < 0 ? -errno : -ENOSPC;
		at += w;
		off += (size_t)w;
		nbytes -= (size_t)w;
	}
	return 0;
}

static uint64_t word_off(const struct ck_blobfile *f, uint64_t idx)
{
	return f->head + CK_BLOBFILE_HEADER + idx * WORD;
}

bool ck_blobfile_init(struct ck_blobfile *f, const uint8_t digest[CK_SHA256_LEN], uint64_t size)
{
	if (size >> MAX_LOG2)
		return false;
	*f = (struct ck_blobfile){ .size = size, .n_blocks = (size + BLOCK - 1) / BLOCK };
	f->head = f->n_blocks * BLOCK;
	memcpy(f->digest, digest, sizeof f->digest);
	return true;
}

static struct header make_header(const struct ck_blobfile *f)
{
	struct header h = { .version = htole32(VERSION),
			    .block = htole32(BLOCK),
			    .size = htole64(f->size) };

	memcpy(h.magic, magic, sizeof h.magic);
	memcpy(h.digest, f->digest, sizeof h.digest);
	h.sum = htole32(crc32c(0, &h, offsetof(struct header, sum)));
	return h;
}

bool ck_blobfile_sound(const struct ck_blobfile *f, int fd)
{
	struct header h, want = make_header(f);

	return read_at(fd, &h, sizeof h, f->head) == sizeof h && memcmp(&h, &want, sizeof h) == 0;
}

bool ck_blobfile_identify(struct ck_blobfile *f, int fd, const uint8_t digest[CK_SHA256_LEN])
{
	struct header h;
	struct stat st;

	if (fstat(fd, &st) < 0 || st.st_size < CK_BLOBFILE_HEADER)
		return false;
	uint64_t n = ((uint64_t)st.st_size - CK_BLOBFILE_HEADER) / (BLOCK + WORD);
	return read_at(fd, &h, sizeof h, n * BLOCK) == sizeof h &&
	       ck_blobfile_init(f, digest, le64toh(h.size)) && f->n_blocks == n &&
	       ck_blobfile_sound(f, fd);
}

int ck_blobfile_format(const struct ck_blobfile *f, int fd)
{
	struct header h = make_header(f);

	if (ftruncate(fd, 0) < 0 || ftruncate(fd, (off_t)word_off(f, f->n_blocks)) < 0)
		return -errno;
	return write_at(fd, &h, sizeof h, f->head);
}

size_t ck_blobfile_len(const struct ck_blobfile *f, uint64_t idx)
{
	return f->size - idx * BLOCK < BLOCK ? (size_t)(f->size - idx * BLOCK) : BLOCK;
}

void ck_blobfile_words(const struct ck_blobfile *f, int fd, uint64_t first, size_t n,
		       struct ck_blobfile_word *out)
{
	size_t got = read_at(fd, out, n * WORD, word_off(f, first)) / WORD;

	for (size_t i = 0; i < n; i++) {
		out[i].sum = i < got ? le32toh(out[i].sum) : 0;
		out[i].used = i < got ? le32toh(out[i].used) : 0;
	}
}

static struct ck_blobfile_word word_at(const struct ck_blobfile *f, int fd, uint64_t idx)
{
	struct ck_blobfile_word w;

	ck_blobfile_words(f, fd, idx, 1, &w);
	return w;
}

enum ck_block ck_blobfile_read(const struct ck_blobfile *f, int fd, uint64_t idx, void *buf,
			       struct ck_blobfile_word *w)
{
	size_t len = ck_blobfile_len(f, idx);

	*w = word_at(f, fd, idx);
	if (!w->sum)
		return CK_BLOCK_ABSENT;
	if (read_at(fd, buf, len, idx * BLOCK) == len && block_sum(f, idx, buf) == w->sum)
		return CK_BLOCK_GOOD;
	/* It may just have been removed, or written anew. */
	return word_at(f, fd, idx).sum == w->sum ? CK_BLOCK_WRONG : CK_BLOCK_ABSENT;
}

bool ck_blobfile_get(const struct ck_blobfile *f, int fd, uint64_t idx, void *buf, uint32_t now)
{
	struct ck_blobfile_word w;
	uint64_t dropped = 0;

	switch (ck_blobfile_read(f, fd, idx, buf, &w)) {
	case CK_BLOCK_ABSENT:
		return false;
	case CK_BLOCK_WRONG:
		(void)ck_blobfile_drop(f, fd, idx, 1, false, &dropped);
		return false;
	case CK_BLOCK_GOOD:
		break;
	}
	if (ck_ticks_age(now, w.used) >= FRESH) {
		uint32_t used = htole32(now);
		(void)write_at(fd, &used, sizeof used,
			       word_off(f, idx) + offsetof(struct ck_blobfile_word, used));
	}
	return true;
}

int ck_blobfile_put(const struct ck_blobfile *f, int fd, uint64_t idx, const void *buf,
		    uint32_t now)
{
	const struct ck_blobfile_word w = { htole32(block_sum(f, idx, buf)), htole32(now) };
	int rc = write_at(fd, buf, ck_blobfile_len(f, idx), idx * BLOCK);

	return rc < 0 ? rc : write_at(fd, &w, sizeof w, word_off(f, idx));
}

static int punch(int fd, uint64_t first, uint64_t n)
{
	int how = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	return fallocate(fd, how, (off_t)(first * BLOCK), (off_t)(n * BLOCK)) < 0 ? -errno : 0;
}

int ck_blobfile_drop(const struct ck_blobfile *f, int fd, uint64_t first, uint64_t n, bool punch_it,
		     uint64_t *dropped)
{
	static const struct ck_blobfile_word absent[WORDS];
	struct ck_blobfile_word w[WORDS];
	int rc = 0;

	for (uint64_t at = 0; rc == 0 && at < n; at += WORDS) {
		size_t k = n - at < WORDS ? (size_t)(n - at) : WORDS;
		uint64_t there = 0;
		ck_blobfile_words(f, fd, first + at, k, w);
		for (size_t i = 0; i < k; i++)
			there += w[i].sum != 0;
		if (there)
			rc = write_at(fd, absent, k * WORD, word_off(f, first + at));
		if (rc == 0)
			*dropped += there;
	}
	return rc < 0 || !punch_it || n == 0 ? rc : punch(fd, first, n);
}

int ck_blobfile_sweep(const struct ck_blobfile *f, int fd)
{
	struct ck_blobfile_word w[WORDS];
	uint64_t from = 0; /* of the absent ones that end where we are */
	int rc = 0;

	for (uint64_t at = 0; rc == 0 && at < f->n_blocks; at += WORDS) {
		size_t k = f->n_blocks - at < WORDS ? (size_t)(f->n_blocks - at) : WORDS;
		ck_blobfile_words(f, fd, at, k, w);
		for (size_t i = 0; rc == 0 && i < k; i++) {
			if (!w[i].sum)
				continue;
			if (at + i > from)
				rc = punch(fd, from, at + i - from);
			from = at + i + 1;
		}
	}
	return rc < 0 || from == f->n_blocks ? rc : punch(fd, from, f->n_blocks - from);
}

uint64_t ck_blobfile_there(const struct ck_blobfile *f, int fd, uint64_t *nbytes)
{
	struct ck_blobfile_word w[WORDS];
	uint64_t there = 0;

	*nbytes = 0;
	for (uint64_t at = 0; at < f->n_blocks; at += WORDS) {
		size_t k = f->n_blocks - at < WORDS ? (size_t)(f->n_blocks - at) : WORDS;
		ck_blobfile_words(f, fd, at, k, w);
		for (size_t i = 0; i < k; i++) {
			there += w[i].sum != 0;
			*nbytes += w[i].sum ? ck_blobfile_len(f, at + i) : 0;
		}
	}
	return there;
}
