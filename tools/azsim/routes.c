#include "tools/azsim/routes.h"

#include <string.h>
#include <strings.h>

static const struct az_route routes[] = {
	{ AZ_SITE_METADATA, "GET", "/metadata/identity/oauth2/token", AZ_IMDS_TOKEN,
	  az_imds_token },
	{ AZ_SITE_METADATA, "GET", "/metadata/THIM/amd/certification", AZ_THIM, az_imds_thim },
	{ AZ_SITE_METADATA, "GET", "/metadata/instance/compute/location", AZ_UNCOUNTED,
	  az_imds_location },
	{ AZ_SITE_METADATA, "GET", "/azsim/settings", AZ_UNCOUNTED, az_control_settings },
	{ AZ_SITE_METADATA, "PUT", "/azsim/settings", AZ_UNCOUNTED, az_control_change },
	{ AZ_SITE_METADATA, "GET", "/azsim/counters", AZ_UNCOUNTED, az_control_counters },
	{ AZ_SITE_METADATA, "DELETE", "/azsim/counters", AZ_UNCOUNTED, az_control_reset },
	{ AZ_SITE_LOGIN, "POST", "/*/oauth2/v2.0/token", AZ_AAD_TOKEN, az_aad_token },
	{ AZ_SITE_MAA, "GET", "/.well-known/openid-configuration", AZ_MAA_DISCOVERY,
	  az_maa_discovery },
	{ AZ_SITE_MAA, "GET", "/certs", AZ_MAA_CERTS, az_maa_certs },
	{ AZ_SITE_MAA, "POST", "/attest/SevSnpVm", AZ_MAA_ATTEST, az_maa_attest },
	{ AZ_SITE_HSM, "GET", "/", AZ_UNCOUNTED, az_hsm_root },
	{ AZ_SITE_HSM, "POST", "/keys/*/create", AZ_HSM_CREATE, az_hsm_create },
	{ AZ_SITE_HSM, "PUT", "/keys/*", AZ_HSM_IMPORT, az_hsm_import },
	{ AZ_SITE_HSM, "GET", "/keys/*", AZ_HSM_GET, az_hsm_get },
	{ AZ_SITE_HSM, "GET", "/keys/*/*", AZ_HSM_GET, az_hsm_get },
	{ AZ_SITE_HSM, "POST", "/keys/*/release", AZ_HSM_RELEASE, az_hsm_release },
	{ AZ_SITE_HSM, "POST", "/keys/*/*/release", AZ_HSM_RELEASE, az_hsm_release },
};

/* Segments compare without case, as the services do; stars fill ARG in turn. */
static bool matches(const char *pattern, const char *path, char arg[AZ_PATH_ARGS][AZ_ARG_MAX])
{
	size_t n = 0;

	for (;;) {
		size_t plen = strcspn(pattern, "/"), len = strcspn(path, "/");
		if (plen == 1 && *pattern == '*') {
			if (len == 0 || len >= AZ_ARG_MAX || n == AZ_PATH_ARGS)
				return false;
			memcpy(arg[n], path, len);
			arg[n++][len] = 0;
		} else if (plen != len || strncasecmp(pattern, path, len) != 0) {
			return false;
		}
		pattern += plen;
		path += len;
		if (!*pattern || !*path)
			return *pattern == *path;
		pattern++;
		path++;
	}
}

const struct az_route *az_route_find(struct az_req *req)
{
	for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
		const struct az_route *r = &routes[i];
		memset(req->arg, 0, sizeof req->arg);
		if (r->site == req->site && strcmp(r->method, req->method) == 0 &&
		    matches(r->pattern, req->path, req->arg))
			return r;
	}
	return NULL;
}
