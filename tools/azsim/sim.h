/* sim - the whole simulator: every service, one state directory, one process. */
#ifndef AZ_SIM_H
#define AZ_SIM_H

#include "base/http.h"
#include "tools/azsim/amd.h"
#include "tools/azsim/ca.h"
#include "tools/azsim/dir.h"
#include "tools/azsim/keystore.h"
#include "tools/azsim/settings.h"

#define AZ_TENANT      "7a2c1c6e-0000-4000-8000-00000000a251"
#define AZ_CLIENT_ID   "c1ad0f5e-0000-4000-8000-00000000a251"
#define AZ_LOGIN_HOST  "login.microsoftonline.com"
#define AZ_HSM_DOMAIN  ".managedhsm.azure.net"
#define AZ_FED_ISSUER  "https://oidc.azsim.test/" AZ_TENANT "/"
#define AZ_FED_SUBJECT "system:serviceaccount:default:cloakfs"

enum { AZ_MAX_HOSTS = 16 };

/* An attestation instance and its signing keys: tokens are signed with the first;
 * after a rotation /certs shows only the second. */
struct az_maa_host {
	const char *name;
	EVP_PKEY *key[2];
	X509 *cert[2];
};

/* A key store and the certificate that signs its releases. */
struct az_hsm_host {
	const char *name;
	EVP_PKEY *key;
	X509 *leaf;
};

struct az_sim {
	char dir[AZ_DIR_MAX + 1];
	struct az_settings settings;
	struct az_ca ca;
	struct az_amd amd;
	EVP_PKEY *aad_key;	 /* signs access tokens */
	EVP_PKEY *federated_key; /* signs the workload's federated tokens */
	struct az_maa_host maa[AZ_MAX_HOSTS];
	size_t n_maa;
	struct az_hsm_host hsm[AZ_MAX_HOSTS];
	size_t n_hsm;
	struct az_keystore keys;
	struct ck_http *http; /* how the HSM reaches the attestation instances */
	unsigned https_port, http_port;
};

struct az_sim_opts {
	const char *dir;
	const char *hsm[AZ_MAX_HOSTS], *maa[AZ_MAX_HOSTS];
	size_t n_hsm, n_maa;
	json_t *changes; /* settings given at the start, as az_settings_change takes them */
};

/*
 * Opens the state, starts both listeners and the evidence device, writes cloakfs.json,
 * calls READY, and serves until SIGTERM or SIGINT. OPTS stays the caller's.
 * Errors: whatever kept it from starting.
 */
CK_MUST_CHECK int az_sim_run(const struct az_sim_opts *opts,
			     int (*ready)(const char *config, void *arg, struct ck_err *err),
			     void *arg, struct ck_err *err);

/* The instance called NAME, or NULL. */
const struct az_maa_host *az_sim_maa(const struct az_sim *s, const char *name);
const struct az_hsm_host *az_sim_hsm(const struct az_sim *s, const char *name);

/* Notes the settings in the state directory. Errors: errnos. */
CK_MUST_CHECK int az_sim_save_settings(struct az_sim *s, struct ck_err *err);

#endif
