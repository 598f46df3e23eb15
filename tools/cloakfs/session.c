#include "tools/cloakfs/session.h"

#include <string.h>

#include "tools/cloakfs/bar.h"

int ck_session_open(struct ck_session *s, const struct ck_options *o, struct ck_err *err)
{
	struct ck_config *c = &s->config;
	int rc = ck_config_load(c, o->config, err);

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

int ck_session_image(struct ck_session *s, const struct ck_options *o, struct ck_err *err)
{
	int rc = ck_keyring_open(&s->keys, s->attest, err);

	if (rc == 0 && o->n_keys == 0)
		rc = ck_keyring_add(s->keys, "hsm", err);
	for (size_t i = 0; rc == 0 && i < o->n_keys; i++)
		rc = ck_keyring_add(s->keys, o->keys[i], err);
	return rc < 0 ? rc : ck_image_open(&s->image, o->args[0], o->platform, err);
}

int ck_session_cache(struct ck_session *s, const struct ck_options *o, struct ck_err *err)
{
	const char *dir = o->cache_dir ? o->cache_dir : s->config.cache_dir;

	if (!dir || strcmp(dir, "none") == 0)
		return 0;
	return ck_indexcache_open(&s->cache, dir, err);
}

int ck_session_stack(struct ck_stack **out, const struct ck_session *s, size_t only, bool merge,
		     struct ck_err *err)
{
	CK_AUTO(ck_stack_closep) struct ck_stack *stack = NULL;
	CK_AUTO(ck_bar_end) struct ck_bar bar = { 0 };
	const struct ck_index_store store =
	    s->cache ? ck_indexcache_store(s->cache) : (struct ck_index_store){ 0 };
	const struct ck_stack_opts opts = {
		.keys = s->keys,
		.store = s->cache ? &store : NULL,
		.require_encrypted = s->config.require_encrypted,
		.progress = ck_bar_update,
		.progress_ctx = &bar,
	};

	ck_bar_start(&bar, "verifying");
	int rc = ck_stack_open(&stack, s->image, only, &opts, err);
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
	ck_indexcache_close(s->cache);
	ck_image_close(s->image);
	ck_keyring_close(s->keys);
	ck_attest_close(s->attest);
	ck_config_free(&s->config);
}
