/*
 * evict - makes room: what was used longest ago, blocks of blobs and small files alike.
 *
 * Which blocks that are is found without sorting them: how many bytes were last used when is
 * counted by the upper half of the time, then by the lower half within the one where enough
 * is reached. Three passes over the maps, 8 bytes for each block.
 * Call with the lock of ck_place_lock; users of the cache go on meanwhile.
 */
#ifndef CK_EVICT_H
#define CK_EVICT_H

#include "fs/cache/inside.h"

/* Makes the files of LIST, which it brings up to date, take at most GOAL bytes, as far as that can
 * be. Negative errnos: -ENOMEM, and why files could not be listed. */
CK_MUST_CHECK int ck_evict(struct ck_blobcache *c, struct ck_place_list *list, uint64_t goal);

/* Removes every file that nobody uses. */
CK_MUST_CHECK int ck_evict_unused(struct ck_blobcache *c, struct ck_place_list *list);

bool ck_evict_is_blob(const struct ck_place_entry *e);

/* Opens the blob that an entry of a list is. *FD is the caller's. -EBADMSG: it is damaged; others.
 */
CK_MUST_CHECK int ck_evict_blob(struct ck_blobcache *c, const struct ck_place_entry *e,
				struct ck_blobfile *f, int *fd);

#endif
