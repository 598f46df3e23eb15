/*
 * format - EROFS as it lies on a disk, as far as this room writes it. All little-endian.
 * Source: the kernel's documentation, filesystems/erofs ("On-disk details"), and its
 * definitions in fs/erofs/erofs_fs.h.
 *
 *   0      zeros (for boot code)
 *   1024   superblock, 128 bytes
 *   1152   device table, one slot of 128 bytes for each device beside the image
 *   meta   inodes, at multiples of 32 bytes; the number of a slot is an inode's "nid".
 *          Behind an inode: its extended attributes, then a directory's or symlink's
 *          last bytes, or a file's chunk indexes at a multiple of 8.
 *   data   whole blocks of directories and symlinks
 */
#ifndef CK_EROFS_FORMAT_H
#define CK_EROFS_FORMAT_H

#include <stdint.h>

enum {
	EROFS_BLOCK_BITS = 9,
	EROFS_BLOCK = 1 << EROFS_BLOCK_BITS, /* the least: tar pads to as much */

	EROFS_SUPER_OFF = 1024,
	EROFS_SUPER_LEN = 128,
	EROFS_COMPAT_MTIME = 1 << 1, /* the time in an inode is that of modification */
	EROFS_INCOMPAT_CHUNKS = 1 << 2,
	EROFS_INCOMPAT_DEVICES = 1 << 3,

	EROFS_DEVICE_LEN = 128,
	EROFS_DEVICE_TAG = 64,
	EROFS_MAX_DEVICES = 65535,

	EROFS_SLOT = 32,
	EROFS_INODE_LEN = 64, /* the extended form */
	EROFS_INODE_EXTENDED = 1,
	EROFS_PLAIN = 0 << 1,  /* data in whole blocks */
	EROFS_INLINE = 2 << 1, /* the same, but the last part behind the inode */
	EROFS_CHUNKS = 4 << 1, /* chunk indexes behind the inode */

	EROFS_CHUNK_INDEXES = 0x20, /* of 8 bytes, with a device each */
	EROFS_CHUNK_INDEX_LEN = 8,
	EROFS_MAX_CHUNK_BITS = EROFS_BLOCK_BITS + 31,

	EROFS_XATTR_HEAD_LEN = 12,
	EROFS_XATTR_ENTRY_LEN = 4,
	EROFS_XATTR_MAX_WORDS = 65535 - 1, /* of 4 bytes, after the head */

	EROFS_DIRENT_LEN = 12,
	EROFS_MAX_DIRENTS = EROFS_BLOCK / (EROFS_DIRENT_LEN + 1), /* in a block */
};

#define EROFS_MAGIC	UINT32_C(0xe0f5e1e2)
#define EROFS_HOLE	UINT32_MAX /* a block number: zeros */
#define EROFS_MAX_BLOCK (UINT32_MAX - 1)
/* Of one device: 2 TiB - 512. */
#define EROFS_MAX_DEVICE ((uint64_t)UINT32_MAX * EROFS_BLOCK)

static inline uint8_t *ck_put_le(uint8_t *p, uint64_t v, unsigned nbytes)
{
	for (unsigned i = 0; i < nbytes; i++)
		p[i] = (uint8_t)(v >> (8 * i));
	return p + nbytes;
}

static inline uint8_t *ck_put_le16(uint8_t *p, uint16_t v)
{
	return ck_put_le(p, v, 2);
}

static inline uint8_t *ck_put_le32(uint8_t *p, uint32_t v)
{
	return ck_put_le(p, v, 4);
}

static inline uint8_t *ck_put_le64(uint8_t *p, uint64_t v)
{
	return ck_put_le(p, v, 8);
}

/* V, at most 2^63, up to the next multiple of TO, a power of two. */
static inline uint64_t ck_round_up(uint64_t v, uint64_t to)
{
	return (v + to - 1) & ~(to - 1);
}

#endif
