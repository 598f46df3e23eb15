#include "tools/cloakfs/session.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "fs/cache/indexstore.h"
#include "fs/oci/reference.h"
#include "tools/cloakfs/bar.h"
#include "tools/cloakfs/cachedir.h"

#define MEMORY_MAX ((uint64_t)256 << 20) /* of a cache that is on no disk */

int ck_session_open(struct ck_session *s, const struct ck_options *o, struct ck_err *err)
{
	struct ck_config *c = &s->config;
	int rc = ck_config_load(c, o->config, err);

	if (rc == 0)
		rc = ck_registryopts_make(&s->registry, c, o, err);
	if (rc < 0)
		return rc;
	const struct ck_attest_opts opts = {
		.hsm_hosts = c->hsm_hosts,
		.maa_hosts = c->maa_hosts,
		.tsm_dir = c->tsm_dir,
		.sev_guest = c->sev_guest,
		.host_certs = c->host_certs,
		.imds_url = c->imds_url,
		.authority_url = c->authority_url,
		.hsm_resource = c->hsm_resource,
		.client_id = c->client_id,
		.http = { c->ca_file, c->addresses, c->n_addresses },
	};
	return ck_attest_open(&s->attest, &opts, err);
}

int ck_session_image(struct ck_session *s, const char *const *keys, size_t n_keys,
		     const struct ck_options *o, struct ck_err *err)
{
	int rc = ck_registryopts_demand(&s->config, o->args[0], err);

	if (rc == 0)
		rc = ck_keyring_open(&s->keys, s->attest, err);

	if (rc == 0 && n_keys == 0)
		rc = ck_keyring_add(s->keys, "hsm", err);
	for (size_t i = 0; rc == 0 && i < n_keys; i++)
		rc = ck_keyring_add(s->keys, keys[i], err);
	if (rc == 0 && ck_reference_remote(o->args[0]))
		rc = ck_session_cache(s, o, err);
	const struct ck_image_from from = { &s->registry.opts, s->cache };
	return rc < 0 ? rc : ck_image_open(&s->image, o->args[0], o->platform, &from, err);
}

/* The cache on the disk. One that nobody asked for may be missing. */
static int open_kept(struct ck_session *s, const struct ck_cachedir *d, struct ck_err *err)
{
	struct ck_err why = { 0 };

	if (!d->path[0])
		return 0;
	if (!d->named) {
		char parent[PATH_MAX];
		snprintf(parent, sizeof parent, "%.*s", (int)(strrchr(d->path, '/') - d->path),
			 d->path);
		(void)mkdir(parent,
			    geteuid() == 0 ? 0755 : 0700); /* a new user's; mostly it is there */
	}
	int rc = ck_blobcache_open(&s->cache, d->path, d->size, d->named ? err : &why);
	if (rc < 0 && d->named)
		return rc;
	if (rc < 0)
		ck_log(CK_LOG_WARNING, "nothing is kept for the next time: %s", why.msg);
	s->cache_kept = rc == 0;
	return 0;
}

int ck_session_cache(struct ck_session *s, const struct ck_options *o, struct ck_err *err)
{
	struct ck_cachedir d;
	int rc = s->cache ? 0 : ck_cachedir_find(&d, &s->config, o, err);

	if (rc < 0 || s->cache)
		return rc;
	rc = open_kept(s, &d, err);
	if (rc == 0 && !s->cache)
		rc = ck_blobcache_open(&s->cache, NULL, d.size < MEMORY_MAX ? d.size : MEMORY_MAX,
				       err);
	return rc;
}

static void chain(struct ck_session *s, size_t *n, struct ck_index_store store)
{
	s->stores[*n] = store;
	if (*n)
		s->stores[*n - 1].next = &s->stores[*n];
	s->store = s->stores;
	++*n;
}

int ck_session_indexes(struct ck_session *s, const struct ck_options *o, struct ck_err *err)
{
	size_t n = 0;
	int rc = ck_session_cache(s, o, err);

	if (rc == 0)
		rc = ck_beside_open(&s->beside, o->args[0], s->image,
				    s->cache_kept ? s->cache : NULL, err);
	if (rc == 0 && o->index)
		rc = ck_artifact_open(&s->artifact, o->index, s->image->manifest_digest, err);
	if (rc < 0)
		return rc;
	if (s->cache_kept) {
		chain(s, &n, ck_beside_newer(&s->beside));
		chain(s, &n, ck_blobcache_indexes(s->cache));
	}
	chain(s, &n, ck_beside_store(&s->beside));
	if (s->artifact)
		chain(s, &n, ck_artifact_store(s->artifact));
	return 0;
}

int ck_session_stack(struct ck_stack **out, const struct ck_session *s, size_t only, bool merge,
		     struct ck_err *err)
{
	CK_AUTO(ck_stack_closep) struct ck_stack *stack = NULL;
	CK_AUTO(ck_bar_end) struct ck_bar bar = { 0 };
	const struct ck_stack_opts opts = {
		.keys = s->keys,
		.store = s->store,
		.full = s->full,
		.wants = s->wants,
		.require_encrypted = s->config.require_encrypted,
		.cache_bytes = (size_t)s->config.unit_cache_mib << 20,
		.progress = ck_bar_update,
		.progress_ctx = &bar,
	};

	ck_bar_start(&bar, "verifying");
	int rc = ck_stack_open(&stack, s->image, only, &opts, err);
	if (rc == 0)
		ck_bar_tell(&bar);
	if (rc == 0 && merge)
		rc = ck_stack_merge(stack, err);
	if (rc == 0)
		*out = ck_take(stack);
	return rc;
}

struct ck_provider ck_session_provider(const struct ck_session *s)
{
	return (struct ck_provider){
		.attest = s->attest,
		.key_info_dir = s->config.key_info_dir,
		.hsm_host = s->config.wrap_hsm_host,
		.maa_host = s->config.wrap_maa_host,
	};
}

void ck_session_close(struct ck_session *s)
{
	ck_artifact_close(s->artifact);
	ck_beside_close(&s->beside);
	ck_image_close(s->image);
	ck_blobcache_close(s->cache);
	ck_keyring_close(s->keys);
	ck_attest_close(s->attest);
	ck_registryopts_free(&s->registry);
	ck_config_free(&s->config);
}
