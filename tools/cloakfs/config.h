/*
 * config - the configuration file: JSON, described in cloakfs(8).
 * Unknown keys are errors; relative paths are relative to the file's directory.
 */
#ifndef CK_CONFIG_H
#define CK_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/http.h"

#define CK_CONFIG_DEFAULT "/etc/cloakfs/cloakfs.json"
#define CK_CONFIG_ENV	  "CLOAKFS_CONFIG"

#define CK_CACHE_MIN	  ((uint64_t)1 << 20) /* the least that a cache may be told to hold */
#define CK_CACHE_MIN_TEXT "1M"

/* Strings are NULL where the file does not say; all belong to the configuration. */
struct ck_config {
	const char **hsm_hosts, **maa_hosts; /* NULL-ended */
	const char *key_info_dir;
	const char *wrap_hsm_host, *wrap_maa_host;
	const char *tsm_dir, *sev_guest, *host_certs;
	const char *client_id;
	const char *imds_url, *authority_url, *hsm_resource;
	const char *ca_file, *cache_dir, *metrics;
	struct ck_http_address *addresses;
	size_t n_addresses;
	uint64_t unit_cache_mib; /* 0: not said */
	uint64_t cache_size;	 /* bytes; 0: not said */
	uint64_t request_timeout_ms;
	bool require_encrypted, require_digest;
	struct {
		const char *auth_file, *hosts_dir, *certs_dir;
		const char **plain_http; /* NULL-ended; owned array */
		uint64_t timeout_ms;	 /* 0: not said */
	} registry;
	json_t *json; /* private: holds the strings */
};

/*
 * Loads PATH, or, when it is NULL, what CLOAKFS_CONFIG names, or the default file when
 * there is one, or nothing: then every member is empty, or what cloakfs(8) says.
 * *OUT is the caller's to ck_config_free.
 * Errors: errnos, -EFBIG, -EBADMSG (not JSON, wrong type), -EINVAL (unknown key, a
 * value that cannot be), -ENOMEM.
 */
CK_MUST_CHECK int ck_config_load(struct ck_config *out, const char *path, struct ck_err *err);
void ck_config_free(struct ck_config *c); /* {0} is allowed */

#endif
