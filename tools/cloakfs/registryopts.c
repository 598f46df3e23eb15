#include "tools/cloakfs/registryopts.h"

#include <errno.h>

#include "fs/oci/reference.h"

static int add_hosts(struct ck_registryopts *r, const struct ck_options *o, struct ck_err *err)
{
	r->hosts = calloc(o->n_args + 1, sizeof *r->hosts);
	if (!r->hosts)
		return ck_nomem(err, "reading the command line");
	for (size_t i = 0; o->plain_http && i < o->n_args; i++) {
		CK_AUTO(ck_reference_free) struct ck_reference ref = { 0 };
		/* What is no image, or none that can be, somebody else complains of. */
		if (ck_reference_parse(&ref, o->args[i], NULL) == 0 && ref.host)
			r->hosts[r->n_hosts++] = ck_take(ref.host);
	}
	return 0;
}

int ck_registryopts_make(struct ck_registryopts *out, const struct ck_config *c,
			 const struct ck_options *o, struct ck_err *err)
{
	size_t n = 0;
	int rc = add_hosts(out, o, err);

	if (rc < 0)
		return rc;
	for (const char *const *p = c->registry.plain_http; p && *p; p++)
		n++;
	out->plain_http = calloc(n + out->n_hosts + 1, sizeof *out->plain_http);
	if (!out->plain_http)
		return ck_nomem(err, "reading the command line");
	for (size_t i = 0; i < n; i++)
		out->plain_http[i] = c->registry.plain_http[i];
	for (size_t i = 0; i < out->n_hosts; i++)
		out->plain_http[n + i] = out->hosts[i];
	out->http = (struct ck_http_opts){
		.ca_file = c->ca_file,
		.addresses = c->addresses,
		.n_addresses = c->n_addresses,
	};
	out->opts = (struct ck_registry_opts){
		.auth_file = o->authfile ? o->authfile : c->registry.auth_file,
		.hosts_dir = c->registry.hosts_dir,
		.certs_dir = c->registry.certs_dir,
		.plain_http = out->plain_http,
		.http = &out->http,
		.timeout_ms = c->registry.timeout_ms,
	};
	return 0;
}

void ck_registryopts_free(struct ck_registryopts *r)
{
	for (size_t i = 0; i < r->n_hosts; i++)
		free(r->hosts[i]);
	free(r->hosts);
	free(r->plain_http);
	*r = (struct ck_registryopts){ 0 };
}

int ck_registryopts_demand(const struct ck_config *c, const char *image, struct ck_err *err)
{
	CK_AUTO(ck_reference_free) struct ck_reference ref = { 0 };
	int rc = c->require_digest ? ck_reference_parse(&ref, image, err) : 0;

	if (rc < 0 || !c->require_digest || ref.pin[0])
		return rc;
	return ck_fail(
	    err, -EPERM,
	    "image %s has no digest, and the configuration (require_digest) demands one: "
	    "write %s@sha256:..., with what 'cloakfs inspect' says the manifest is",
	    image, image);
}
