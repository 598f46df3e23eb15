/*
 * windows - the 32 KiB before each checkpoint, compressed by whoever has time for it.
 *
 * The thread that inflates is the one that everything waits for: it only puts a copy down
 * here, and another thread takes the work.
 * Threads: put and pack may run beside each other, each on one thread.
 */
#ifndef CK_WINDOWS_H
#define CK_WINDOWS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct ck_windows; /* opaque */

/* *OUT is the caller's to close. Errors: -ENOMEM. */
CK_MUST_CHECK int ck_windows_open(struct ck_windows **out, struct ck_err *err);
void ck_windows_close(struct ck_windows *w); /* NULL is allowed; wipes */

/* Puts down the window P[0..NBYTES) of point number POINT; later ones have higher numbers.
 * Errors: -ENOMEM. */
CK_MUST_CHECK int ck_windows_put(struct ck_windows *w, uint32_t point, const uint8_t *p,
				 size_t nbytes, struct ck_err *err);

/* Compresses what was put down so far. Errors: -ENOMEM. */
CK_MUST_CHECK int ck_windows_pack(struct ck_windows *w, struct ck_err *err);

/* Where a point's window lies in the packed bytes. */
struct ck_packed_window {
	uint64_t off;
	uint32_t len, point;
};

/* All that was packed; borrowed. *BYTES (malloc) is handed over when taken. */
const struct ck_packed_window *ck_windows_table(const struct ck_windows *w, size_t *n);
uint8_t *ck_windows_take(struct ck_windows *w, size_t *nbytes);

#endif
