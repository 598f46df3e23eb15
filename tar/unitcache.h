/*
 * unitcache - decompressed units in memory: bounded in bytes, single-flight, and not to be
 * flushed by one who reads everything once.
 *
 * Two queues (2Q): a unit comes into a FIFO, and what is asked of it there does not matter, for
 * a sequential reader asks many times in a row. When it has fallen out of the FIFO and is asked
 * for again soon, it comes into the main queue, which is LRU. The FIFO has a quarter of the
 * bytes when both want more than there is; while all fits, nothing falls out.
 * Threads: any.
 */
#ifndef CK_UNITCACHE_H
#define CK_UNITCACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct ck_unitcache; /* opaque */

/* Holds at most MAX_BYTES (0: keeps nothing) unless units in use have more, which are never
 * dropped. Errors: -ENOMEM. */
CK_MUST_CHECK int ck_unitcache_open(struct ck_unitcache **out, size_t max_bytes,
				    struct ck_err *err);
void ck_unitcache_close(struct ck_unitcache *c); /* NULL is allowed; no unit may be in use */

static inline void ck_unitcache_closep(struct ck_unitcache **c)
{
	ck_unitcache_close(*c);
}

/* Fills BUF (NBYTES, the unit's whole length) with unit IDX of OWNER. What BUF holds before is
 * anything. */
typedef int ck_unit_fill_fn(void *owner, uint32_t idx, uint8_t *buf, size_t nbytes,
			    struct ck_err *err);

/*
 * The unit IDX of OWNER (a layer: its address is half of the key), NBYTES long,
 * filled on a miss by one caller while others wait. *DATA is borrowed until
 * ck_unitcache_put(HANDLE). A failed fill is not kept: every waiter gets its error,
 * the next caller tries again. FILL runs without a lock, and may use the cache for other units.
 * Errors: those of FILL, -ENOMEM.
 */
struct ck_unit;
CK_MUST_CHECK int ck_unitcache_get(struct ck_unitcache *c, void *owner, uint32_t idx, size_t nbytes,
				   ck_unit_fill_fn *fill, struct ck_unit **handle,
				   const uint8_t **data, struct ck_err *err);
void ck_unitcache_put(struct ck_unitcache *c, struct ck_unit *handle);

/* Whether the unit is there or being filled. Counts as nothing, and makes it no younger. */
CK_MUST_CHECK bool ck_unitcache_has(struct ck_unitcache *c, const void *owner, uint32_t idx);

/* Forgets every unit of OWNER, which may not be in use, and that there were any: the next owner
 * may have the same address. */
void ck_unitcache_drop(struct ck_unitcache *c, const void *owner);

struct ck_unitcache_stats {
	uint64_t hits, misses; /* calls of get; one that waited for another's fill is a hit */
	uint64_t evictions;    /* units dropped to make room */
	size_t bytes;	       /* of units, those in use and being filled too */
	size_t max_bytes;
	size_t n_ghosts; /* units that are remembered though they fell out of the FIFO */
};

/* A snapshot. */
void ck_unitcache_stats(struct ck_unitcache *c, struct ck_unitcache_stats *out);

#endif
