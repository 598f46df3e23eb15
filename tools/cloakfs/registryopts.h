/*
 * registryopts - how registries are spoken to: what configuration and command line say of it.
 */
#ifndef CK_REGISTRYOPTS_H
#define CK_REGISTRYOPTS_H

#include "fs/registry/registry.h"
#include "tools/cloakfs/config.h"
#include "tools/cloakfs/options.h"

struct ck_registryopts {
	struct ck_registry_opts opts; /* borrows from all below, and from config and options */
	struct ck_http_opts http;
	const char **plain_http; /* owned array */
	char **hosts;		 /* owned: those of the arguments; n_hosts of them */
	size_t n_hosts;
};

/* Fills OUT, which must not move afterwards. With --plain-http the registries that arguments name
 * are added to the configuration's. Errors: -ENOMEM. */
CK_MUST_CHECK int ck_registryopts_make(struct ck_registryopts *out, const struct ck_config *c,
				       const struct ck_options *o, struct ck_err *err);
void ck_registryopts_free(struct ck_registryopts *r); /* {0} is allowed */

/* Refuses the image IMAGE where the configuration demands a digest and it has none.
 * Errors: -EPERM, those of ck_reference_parse. */
CK_MUST_CHECK int ck_registryopts_demand(const struct ck_config *c, const char *image,
					 struct ck_err *err);

#endif
