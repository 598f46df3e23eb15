/*
 * session - what a command works with: the configuration, the keys, the image.
 */
#ifndef CK_SESSION_H
#define CK_SESSION_H

#include "fs/cache/blobcache.h"
#include "fs/oci/artifact.h"
#include "fs/registry/registry.h"
#include "fs/stack.h"
#include "keyprov/server.h"
#include "tools/cloakfs/beside.h"
#include "tools/cloakfs/config.h"
#include "tools/cloakfs/options.h"
#include "tools/cloakfs/registryopts.h"

struct ck_session {
	struct ck_config config;
	struct ck_registryopts registry;
	struct ck_attest *attest;
	struct ck_keyring *keys;	    /* NULL until ck_session_image */
	struct ck_image *image;		    /* likewise */
	struct ck_blobcache *cache;	    /* NULL until ck_session_cache */
	bool cache_kept;		    /* it is on a disk, and there for the next time */
	struct ck_beside beside;	    /* the image's own index artifact */
	struct ck_artifact *artifact;	    /* that of --index DIR */
	struct ck_index_store stores[4];    /* chained; of the above */
	const struct ck_index_store *store; /* for openings; NULL: no index is asked for */
	bool full;			    /* openings read every layer through */
	struct ck_wants *wants;		    /* for openings, as in ck_stack_opts; borrowed */
};

/* Loads the configuration and opens the way to the HSM, which asks nothing yet.
 * *S, zeroed before, is the caller's to close either way. */
CK_MUST_CHECK int ck_session_open(struct ck_session *s, const struct ck_options *o,
				  struct ck_err *err);

/* Adds KEYS (none: "hsm"), and the image that the command's first argument names, which must have
 * a digest where the configuration demands it. */
CK_MUST_CHECK int ck_session_image(struct ck_session *s, const char *const *keys, size_t n_keys,
				   const struct ck_options *o, struct ck_err *err);

/* Opens the cache that cachedir.h finds, once. Where there is none, or a default one cannot be
 * used, which costs a log line, it is in memory. Errors: those of ck_blobcache_open for one that
 * was asked for by name. */
CK_MUST_CHECK int ck_session_cache(struct ck_session *s, const struct ck_options *o,
				   struct ck_err *err);

/*
 * Lets later openings take layers' indexes from where they may be: the cache on the disk, which
 * takes new ones, too, and index artifacts beside the image or in --index DIR. Not for commands
 * that check a layer in full. Errors: those of ck_session_cache, and of ck_artifact_open for what
 * was asked for by name.
 */
CK_MUST_CHECK int ck_session_indexes(struct ck_session *s, const struct ck_options *o,
				     struct ck_err *err);

/*
 * Opens the image's layers (ONLY as in ck_stack_open) under a progress bar, and with
 * MERGE their tree. *OUT is the caller's to close before the session.
 */
CK_MUST_CHECK int ck_session_stack(struct ck_stack **out, const struct ck_session *s, size_t only,
				   bool merge, struct ck_err *err);

/* The key provider as the configuration describes it; borrows from S. */
struct ck_provider ck_session_provider(const struct ck_session *s);

void ck_session_close(struct ck_session *s);

#define CK_SESSION CK_AUTO(ck_session_close) struct ck_session

#endif
