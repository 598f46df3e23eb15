/* routes - which handler answers which request. */
#ifndef AZ_ROUTES_H
#define AZ_ROUTES_H

#include "tools/azsim/server.h"

struct az_route {
	enum az_site site;
	const char *method, *pattern; /* a '*' stands for one path segment */
	enum az_endpoint endpoint;
	az_handler *handle;
};

/* The route of REQ, whose arg is filled; NULL when there is none. */
const struct az_route *az_route_find(struct az_req *req);

az_handler az_imds_token, az_imds_thim, az_imds_location;
az_handler az_aad_token;
az_handler az_maa_discovery, az_maa_certs, az_maa_attest;
az_handler az_hsm_root, az_hsm_create, az_hsm_import, az_hsm_get, az_hsm_release;
az_handler az_control_settings, az_control_change, az_control_counters, az_control_reset;

#endif
