/*
 * session - what a command works with: the configuration, the keys, the image.
 */
#ifndef CK_SESSION_H
#define CK_SESSION_H

#include "fs/indexcache.h"
#include "fs/stack.h"
#include "keyprov/server.h"
#include "tools/cloakfs/config.h"
#include "tools/cloakfs/options.h"

struct ck_session {
	struct ck_config config;
	struct ck_attest *attest;
	struct ck_keyring *keys;     /* NULL until ck_session_image */
	struct ck_image *image;	     /* likewise */
	struct ck_indexcache *cache; /* NULL without ck_session_cache */
};

/* Loads the configuration and opens the way to the HSM, which asks nothing yet.
 * *S, zeroed before, is the caller's to close either way. */
CK_MUST_CHECK int ck_session_open(struct ck_session *s, const struct ck_options *o,
				  struct ck_err *err);

/* Adds the keys of the command line, and the image that its first argument names. */
CK_MUST_CHECK int ck_session_image(struct ck_session *s, const struct ck_options *o,
				   struct ck_err *err);

/*
 * Lets later openings take layers' indexes from the cache, and put them there: in
 * --cache-dir, else the configuration's cache_dir; where neither names a directory, none is
 * kept. Not for commands that check a layer in full. Errors: those of ck_indexcache_open.
 */
CK_MUST_CHECK int ck_session_cache(struct ck_session *s, const struct ck_options *o,
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
