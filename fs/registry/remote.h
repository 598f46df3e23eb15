/*
 * remote - a blob in a registry, as a reader.
 *
 * Bytes are fetched in whole blocks of the cache when somebody needs them, neighbours together,
 * each once: who comes for what is on its way waits for that. What came is kept in the cache, and
 * nothing is believed: whoever reads verifies, and says ck_reader_refetch. Who reads in order is
 * fetched for ahead, by as much as round trip and bandwidth ask for.
 * A read that cannot have its bytes within the net's timeout fails, and the next one tries again.
 * Threads: any.
 */
#ifndef CK_REMOTE_H
#define CK_REMOTE_H

#include "base/reader.h"
#include "fs/cache/blobcache.h"
#include "fs/registry/net.h"
#include "fs/registry/registry.h"

struct ck_remote; /* opaque; lives as long as its reader */

/* The blob DIGEST of SIZE bytes. NET, R and C (NULL: nothing is kept) are borrowed. *READER is the
 * caller's to close, which ends what is still being fetched; *OUT may be NULL.
 * Asks nothing yet. Errors: -ENOMEM. */
CK_MUST_CHECK int ck_remote_open(struct ck_reader **reader, struct ck_remote **out,
				 struct ck_net *net, struct ck_registry *r, struct ck_blobcache *c,
				 const uint8_t digest[CK_SHA256_LEN], uint64_t size,
				 struct ck_err *err);

/*
 * Fetches what is missing of [OFF, OFF + LEN), so that it is kept, in this thread, piece by
 * piece; unless URGENT, each only once nobody waits for a read.
 * Errors: those of ck_registry_fetch, -ECANCELED.
 */
CK_MUST_CHECK int ck_remote_prefetch(struct ck_remote *r, uint64_t off, uint64_t len, bool urgent,
				     struct ck_err *err);

/* Bytes that came over the network, and that are kept now. */
uint64_t ck_remote_fetched(struct ck_remote *r);
uint64_t ck_remote_kept(struct ck_remote *r);

#endif
