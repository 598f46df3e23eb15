#include "tools/cloakfs/cachedir.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where it is when nobody says: as the FHS and the XDG base directories have it. */
static int default_path(char out[PATH_MAX])
{
	const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");

	if (geteuid() == 0)
		return snprintf(out, PATH_MAX, "/var/cache/cloakfs");
	if (xdg && *xdg == '/')
		return snprintf(out, PATH_MAX, "%s/cloakfs", xdg);
	if (home && *home == '/')
		return snprintf(out, PATH_MAX, "%s/.cache/cloakfs", home);
	return snprintf(out, PATH_MAX, "%s", "");
}

int ck_cachedir_find(struct ck_cachedir *out, const struct ck_config *c, const struct ck_options *o,
		     struct ck_err *err)
{
	const char *dir = o->cache_dir ? o->cache_dir : c->cache_dir;
	int n;

	*out = (struct ck_cachedir){ .named = dir != NULL,
				     .size = o->cache_size ? o->cache_size : c->cache_size };
	/* Most often an unset variable. */
	if (dir && !*dir)
		return ck_fail(err, -EINVAL, "--cache-dir is empty (\"none\" is no cache at all)");
	if (!dir)
		n = default_path(out->path);
	else
		n = snprintf(out->path, PATH_MAX, "%s", strcmp(dir, "none") == 0 ? "" : dir);
	return n < PATH_MAX ? 0 : ck_fail(err, -ENAMETOOLONG, "the cache's path is too long");
}
