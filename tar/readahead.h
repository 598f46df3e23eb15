/*
 * readahead - tells who reads a layer in order, and what will be wanted next.
 *
 * A read *continues* a stream when it begins where that one's last read ended, or a small
 * part of a unit further on (the tar header between two files). One that passes from unit to
 * unit twice in this way makes the following ones worth preparing: first one, then two, then
 * four. What is read again, or late because requests overtook each other, changes nothing, and
 * nor do reads here and there: to be taken for a stream they would have to hit, time after
 * time, the little that lies right behind one of the last few.
 * Threads: any, after init.
 */
#ifndef CK_READAHEAD_H
#define CK_READAHEAD_H

#include <pthread.h>

#include "tar/inflate/units.h"

enum {
	CK_READAHEAD_STREAMS = 8,
	CK_READAHEAD_UNITS = 4,		 /* ahead of the last one read, at most */
	CK_READAHEAD_BYTES = CK_UNIT_MAX /* the same; one unit is always allowed */
};

struct ck_readahead {
	pthread_mutex_t lock;
	const struct ck_units *units; /* borrowed */
	uint64_t clock;
	struct ck_readahead_stream {
		uint64_t next;	/* byte that the reader is expected at */
		uint32_t unit;	/* the last that was read */
		uint32_t ahead; /* the first that was never worth preparing */
		unsigned steps; /* from unit to unit, in a row */
		uint64_t used;	/* the clock then; 0: never */
	} streams[CK_READAHEAD_STREAMS];
};

void ck_readahead_init(struct ck_readahead *r, const struct ck_units *units);
void ck_readahead_destroy(struct ck_readahead *r);

/* Tells of a read of NBYTES (not 0) at OFF. What to prepare for it: *N units from *FIRST on,
 * none of which was given out for this stream before. *N is mostly 0. */
void ck_readahead_note(struct ck_readahead *r, uint64_t off, size_t nbytes, uint32_t *first,
		       uint32_t *n);

#endif
