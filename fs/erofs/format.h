/*
 * format - EROFS on the disk, as far as we write it. Little-endian; private to fs/erofs.
 *
 * Blocks of 512 bytes, for a tar aligns what it holds to no more; extended inodes; files
 * in chunks that lie on other devices. Nothing is compressed.
 * Source: Linux, fs/erofs/erofs_fs.h and Documentation/filesystems/erofs.rst.
 */
#ifndef CK_EROFS_FORMAT_H
#define CK_EROFS_FORMAT_H

#include <stdint.h>

enum { EROFS_BLOCK_BITS = 9, EROFS_BLOCK = 1 << EROFS_BLOCK_BITS };

/* The superblock, and the offsets of its fields. */
enum {
	EROFS_SUPER_OFF = 1024,
	EROFS_SUPER_LEN = 128,
	SB_MAGIC = 0,
	SB_COMPAT = 8,
	SB_BLOCK_BITS = 12,
	SB_ROOT_NID = 14,
	SB_INOS = 16,
	SB_BLOCKS = 36,
	SB_META_BLOCK = 40,
	SB_INCOMPAT = 80,
	SB_N_DEVICES = 86,
	SB_DEVICES_SLOT = 88, /* in units of a slot's length */
};
#define EROFS_MAGIC 0xe0f5e1e2U
enum { EROFS_COMPAT_MTIME = 2, EROFS_INCOMPAT_CHUNKED = 4, EROFS_INCOMPAT_DEVICES = 8 };

enum { EROFS_DEVICE_LEN = 128, DEVICE_BLOCKS = 64 };

/* An inode's number is where it stands in the area of the inodes, in these units. */
enum { EROFS_NID_UNIT = 32, EROFS_NID_BITS = 5 };

enum {
	EROFS_INODE_LEN = 64,
	IN_FORMAT = 0,
	IN_XATTRS = 2,
	IN_MODE = 4,
	IN_SIZE = 8,
	IN_DATA = 16, /* a block, a device's number, or the form of the chunks */
	IN_INO = 20,
	IN_UID = 24,
	IN_GID = 28,
	IN_MTIME = 32,
	IN_MTIME_NS = 40,
	IN_NLINK = 44,
};
enum { EROFS_EXTENDED = 1, EROFS_PLAIN = 0 << 1, EROFS_INLINE = 2 << 1, EROFS_CHUNKS = 4 << 1 };

enum { EROFS_CHUNK_LEN = 8, CHUNK_DEVICE = 2, CHUNK_BLOCK = 4 };
enum { EROFS_CHUNK_INDEXES = 0x20, EROFS_CHUNK_BITS_MAX = 31 };
#define EROFS_HOLE UINT32_MAX

enum { EROFS_DIRENT_LEN = 12, DE_NAME_OFF = 8, DE_TYPE = 10 };

enum { EROFS_XATTRS_HEADER = 12, EROFS_XATTR_LEN = 4 };

static inline void ck_put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static inline void ck_put32(uint8_t *p, uint32_t v)
{
	ck_put16(p, (uint16_t)v);
	ck_put16(p + 2, (uint16_t)(v >> 16));
}

static inline void ck_put64(uint8_t *p, uint64_t v)
{
	ck_put32(p, (uint32_t)v);
	ck_put32(p + 4, (uint32_t)(v >> 32));
}

static inline uint64_t ck_round_up(uint64_t n, uint64_t unit)
{
	return (n + unit - 1) / unit * unit;
}

#endif
