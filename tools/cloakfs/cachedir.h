/*
 * cachedir - which cache a command uses: --cache-dir, else the configuration's cache_dir, else
 * /var/cache/cloakfs, or for others than root a directory of their own; "none" is none.
 */
#ifndef CK_CACHEDIR_H
#define CK_CACHEDIR_H

#include <limits.h>

#include "tools/cloakfs/config.h"
#include "tools/cloakfs/options.h"

struct ck_cachedir {
	char path[PATH_MAX]; /* "": on no disk */
	bool named;	     /* somebody asked for it */
	uint64_t size;	     /* of --cache-size or the configuration; 0: nobody says */
};

/* Errors: -EINVAL (an empty name), -ENAMETOOLONG. */
CK_MUST_CHECK int ck_cachedir_find(struct ck_cachedir *out, const struct ck_config *c,
				   const struct ck_options *o, struct ck_err *err);

#endif
