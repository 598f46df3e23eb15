/*
 * blobfile - the sparse file of one blob: which of its blocks are there, and their bytes.
 *
 * Block I lies at I * CK_CACHE_BLOCK, as far as the blob goes. At the next multiple of
 * CK_CACHE_BLOCK behind the blob's end stands a header of 64 bytes, and behind it the map, little-
 * endian as all of it: for each block a word {u32 checksum, u32 last use}. A checksum of 0 says
 * that the block is absent (one that comes out as 0 is written as 1). It is a CRC-32C that starts
 * from the blob's digest and the block's number, so that a block in another's place does not have
 * its own. A block is written first, then its word; removed the other way round. So whatever comes
 * between, a word that has the checksum of what is there is right.
 * Times are in 64ths of a second since the epoch, modulo 2^32: what was used more than a year ago
 * cannot be told from what a wrong clock has put into the future, and both count as oldest.
 * Functions give 0 or a negative errno. Threads and processes: any.
 */
#ifndef CK_BLOBFILE_H
#define CK_BLOBFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

enum { CK_BLOBFILE_HEADER = 64 };

struct ck_blobfile {
	uint8_t digest[CK_SHA256_LEN];
	uint64_t size, n_blocks;
	uint64_t head; /* where the header is */
};

struct ck_blobfile_word {
	uint32_t sum, used;
};

enum { CK_TICKS = 64 };			    /* in a second */
#define CK_TICKS_OLDEST ((uint32_t)1 << 31) /* an age */

/* Ticks between USED and NOW, at most CK_TICKS_OLDEST. What others use after somebody looked at the
 * clock is not old. */
static inline uint32_t ck_ticks_age(uint32_t now, uint32_t used)
{
	if (used - now <= 60 * CK_TICKS)
		return 0;
	return now - used < CK_TICKS_OLDEST ? now - used : CK_TICKS_OLDEST;
}

/* False where no file could hold a blob of that size. */
bool ck_blobfile_init(struct ck_blobfile *f, const uint8_t digest[CK_SHA256_LEN], uint64_t size);

/* The blob that the file holds, by its length and header; false: none. */
bool ck_blobfile_identify(struct ck_blobfile *f, int fd, const uint8_t digest[CK_SHA256_LEN]);

/* Whether the header is that of the blob. */
bool ck_blobfile_sound(const struct ck_blobfile *f, int fd);

/* Drops whatever the file holds, and makes it an empty one of the blob's. */
int ck_blobfile_format(const struct ck_blobfile *f, int fd);

size_t ck_blobfile_len(const struct ck_blobfile *f, uint64_t idx); /* of a block, bytes */

/* N words of the map; absent where they cannot be read. */
void ck_blobfile_words(const struct ck_blobfile *f, int fd, uint64_t first, size_t n,
		       struct ck_blobfile_word *out);

enum ck_block { CK_BLOCK_ABSENT, CK_BLOCK_GOOD, CK_BLOCK_WRONG };

/* Reads a block. WRONG: what is there does not have the checksum, and was not being written. */
enum ck_block ck_blobfile_read(const struct ck_blobfile *f, int fd, uint64_t idx, void *buf,
			       struct ck_blobfile_word *w);

/* The same for those who use it: a wrong one is dropped. A last use of more than a minute before
 * NOW becomes NOW. */
bool ck_blobfile_get(const struct ck_blobfile *f, int fd, uint64_t idx, void *buf, uint32_t now);

int ck_blobfile_put(const struct ck_blobfile *f, int fd, uint64_t idx, const void *buf,
		    uint32_t now);

/* Drops N blocks, within the blob, from FIRST on. *DROPPED grows by how many were there. With
 * PUNCH their place on the disk is given back: -EOPNOTSUPP where that cannot be. */
int ck_blobfile_drop(const struct ck_blobfile *f, int fd, uint64_t first, uint64_t n, bool punch,
		     uint64_t *dropped);

/* Gives back what lies under blocks that are absent: processes were killed over them. */
int ck_blobfile_sweep(const struct ck_blobfile *f, int fd);

/* Blocks that are said to be there, and the bytes of the blob in them. */
uint64_t ck_blobfile_there(const struct ck_blobfile *f, int fd, uint64_t *nbytes);

#endif
