/*
 * units - where a compressed stream can be entered, and how it is cut up.
 *
 * A *point* is a place where decompression can start: the start of a gzip member or
 * zstd frame, or a block boundary inside a deflate stream with the 32 KiB before it.
 * A *unit* is a run of decompressed bytes that is made and cached as a whole; it
 * begins at its point or, where the stream offers none for long (a large zstd frame),
 * some way behind it.
 * Threads: read-only once recorded; any number of readers.
 */
#ifndef CK_UNITS_H
#define CK_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "tar/inflate/windows.h"

enum ck_compression { CK_COMPRESSION_NONE, CK_COMPRESSION_GZIP, CK_COMPRESSION_ZSTD };

enum {
	CK_WINDOW_LEN = 32768, /* RFC 1951: the farthest a match reaches back */
	/* Bytes of a window at most as zstd compresses it (its ZSTD_COMPRESSBOUND, rounded up). */
	CK_WINDOW_PACKED_MAX = CK_WINDOW_LEN + 1024,
	CK_UNIT_MAX = 4 << 20 /* bytes of a unit at most */
};

struct ck_point {
	uint64_t out_off;    /* decompressed bytes before it */
	uint64_t in_off;     /* first compressed byte that is needed */
	uint64_t window_off; /* of its zstd-compressed window in windows */
	uint32_t window_len; /* 0: none needed */
	uint8_t bits;	     /* low bits of byte in_off that belong to the block before */
	uint8_t mid;	     /* 1 inside a deflate stream: no header comes next */
};

struct ck_unit_start {
	uint64_t out_off;
	uint32_t point;
};

/* Where windows are that are not in memory. */
struct ck_windowstore {
	/* Gives the window of point number POINT, LEN bytes at OFF of what the store holds, as zstd
	 * compressed it. From any thread. */
	int (*read)(void *ctx, uint32_t point, uint64_t off, size_t len, uint8_t *out,
		    struct ck_err *err);
	void *ctx;
};

struct ck_units {
	enum ck_compression compression;
	uint64_t len;	 /* decompressed bytes in all */
	uint64_t in_len; /* compressed bytes in all */
	struct ck_point *points;
	size_t n_points, cap_points;
	struct ck_unit_start *units; /* ascending by out_off, none empty */
	size_t n_units, cap_units;
	uint8_t
	    *windows; /* NULL: there are none, or they are in STORE, borrowed, windows_len of it */
	size_t windows_len;
	struct ck_windowstore store;
	/* While recording: the windows as they come; whoever opens one here may pack them on
	 * another thread. */
	struct ck_windows *recorded;
};

/* Adds a point and a unit that begins there. WINDOW (CK_WINDOW_LEN bytes or fewer, the
 * output before it) is copied. Errors: -EFBIG, -ENOMEM. */
CK_MUST_CHECK int ck_units_add_point(struct ck_units *u, const struct ck_point *p,
				     const uint8_t *window, size_t window_len, struct ck_err *err);
/* Adds a unit behind the last point. */
CK_MUST_CHECK int ck_units_add_unit(struct ck_units *u, uint64_t out_off, struct ck_err *err);

/* Ends recording: LEN bytes out of IN_LEN. Nobody else packs any more. Errors: -ENOMEM. */
CK_MUST_CHECK int ck_units_finish(struct ck_units *u, uint64_t len, uint64_t in_len,
				  struct ck_err *err);
void ck_units_free(struct ck_units *u); /* {0} is allowed */

/* Errors: -EBADMSG when units that came from outside do not fit together. */
CK_MUST_CHECK int ck_units_check(const struct ck_units *u, struct ck_err *err);

/* The unit that holds byte OFF (below u->len), and its end. */
uint32_t ck_units_find(const struct ck_units *u, uint64_t off);
uint64_t ck_units_end(const struct ck_units *u, uint32_t idx);

/* The compressed bytes that unit IDX may need end here. */
uint64_t ck_units_in_end(const struct ck_units *u, uint32_t idx);

/* Whether unit IDX begins at its point and is the only one that needs it: it is then made from
 * the bytes between the point's in_off and ck_units_in_end. */
bool ck_units_alone(const struct ck_units *u, uint32_t idx);

/* Writes the window of point P to OUT; its length in *LEN. Errors: -EIO, those of the store. */
CK_MUST_CHECK int ck_units_window(const struct ck_units *u, const struct ck_point *p,
				  uint8_t out[CK_WINDOW_LEN], size_t *len, struct ck_err *err);

#endif
