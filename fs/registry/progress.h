/*
 * progress - how far the fetching of an image in the background has come.
 * Threads: any.
 */
#ifndef CK_REGISTRY_PROGRESS_H
#define CK_REGISTRY_PROGRESS_H

#include <stdatomic.h>
#include <stdint.h>

/* In bytes of blobs; what is kept already counts as done. TOTAL 0: nothing is to be fetched so. */
struct ck_prefetch_progress {
	_Atomic uint64_t done, total;
};

#endif
