/*
 * unitcache - decompressed units in memory: bounded in bytes, LRU, single-flight.
 * Threads: any.
 */
#ifndef CK_UNITCACHE_H
#define CK_UNITCACHE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct ck_unitcache; /* opaque */

/* Holds at most MAX_BYTES of unused units; units in use are never dropped.
 * Errors: -ENOMEM. */
CK_MUST_CHECK int ck_unitcache_open(struct ck_unitcache **out, size_t max_bytes,
				    struct ck_err *err);
void ck_unitcache_close(struct ck_unitcache *c); /* NULL is allowed; no unit may be in use */

static inline void ck_unitcache_closep(struct ck_unitcache **c)
{
	ck_unitcache_close(*c);
}

/* Fills BUF (NBYTES, the unit's whole length) with unit IDX of OWNER. */
typedef int ck_unit_fill_fn(void *owner, uint32_t idx, uint8_t *buf, size_t nbytes,
			    struct ck_err *err);

/*
 * The unit IDX of OWNER (a layer: its address is half of the key), NBYTES long,
 * filled on a miss by one caller while others wait. *DATA is borrowed until
 * ck_unitcache_put(HANDLE). A failed fill is not kept: every waiter gets its error,
 * the next caller tries again.
 * Errors: those of FILL, -ENOMEM.
 */
struct ck_unit;
CK_MUST_CHECK int ck_unitcache_get(struct ck_unitcache *c, void *owner, uint32_t idx, size_t nbytes,
				   ck_unit_fill_fn *fill, struct ck_unit **handle,
				   const uint8_t **data, struct ck_err *err);
void ck_unitcache_put(struct ck_unitcache *c, struct ck_unit *handle);

/* Forgets every unit of OWNER; none may be in use. */
void ck_unitcache_drop(struct ck_unitcache *c, const void *owner);

#endif
