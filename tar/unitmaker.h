/*
 * unitmaker - makes any unit of a layer from its compressed bytes, with decoders that are
 * kept for the next one: a sequential reader of a large zstd frame goes on where it was.
 * Threads: any number at once.
 */
#ifndef CK_UNITMAKER_H
#define CK_UNITMAKER_H

#include "base/reader.h"
#include "tar/inflate/units.h"

struct ck_unitmaker; /* opaque */

/*
 * IN holds the compressed stream that UNITS describes; both are borrowed and must outlive it.
 * IN is read in whole chunks of CHUNK bytes (at most 64 KiB): what it checks as one.
 * *OUT is the caller's to close. Errors: -ENOMEM.
 */
CK_MUST_CHECK int ck_unitmaker_open(struct ck_unitmaker **out, struct ck_reader *in,
				    const struct ck_units *units, size_t chunk, struct ck_err *err);
void ck_unitmaker_close(struct ck_unitmaker *m); /* NULL is allowed; wipes */

/*
 * Decompresses unit IDX, which is NBYTES long, into BUF. What a failure leaves there is
 * unspecified. Errors: those of IN; -EBADMSG, -EIO (the stream is not what UNITS says it is);
 * -ENOMEM.
 */
CK_MUST_CHECK int ck_unitmaker_make(struct ck_unitmaker *m, uint32_t idx, uint8_t *buf,
				    size_t nbytes, struct ck_err *err);

#endif
