#include "tools/azsim/sim.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "tools/azsim/aad.h"
#include "tools/azsim/config.h"
#include "tools/azsim/hsm.h"
#include "tools/azsim/maa.h"
#include "tools/azsim/server.h"
#include "tools/azsim/tsm.h"

const struct az_maa_host *az_sim_maa(const struct az_sim *s, const char *name)
{
	for (size_t i = 0; i < s->n_maa; i++)
		if (strcmp(s->maa[i].name, name) == 0)
			return &s->maa[i];
	return NULL;
}

const struct az_hsm_host *az_sim_hsm(const struct az_sim *s, const char *name)
{
	for (size_t i = 0; i < s->n_hsm; i++)
		if (strcmp(s->hsm[i].name, name) == 0)
			return &s->hsm[i];
	return NULL;
}

static int save_json(const char *path, json_t *taken, struct ck_err *err)
{
	CK_JSON *j = taken;
	CK_BUF text = { 0 };
	int rc = j ? ck_json_dump(&text, j, err) : ck_nomem(err, "writing the state");

	return rc < 0 ? rc : ck_file_write(path, text.data, text.len, 0600, err);
}

int az_sim_save_settings(struct az_sim *s, struct ck_err *err)
{
	return save_json(az_path(s->dir, "settings.json").s, az_settings_json(&s->settings, false),
			 err);
}

/* The defaults, then what an earlier run had, then what this start was told. */
static int open_settings(struct az_sim *s, const json_t *changes, struct ck_err *err)
{
	struct az_path path = az_path(s->dir, "settings.json");
	CK_JSON *saved = NULL;
	int rc = 0;

	az_settings_init(&s->settings);
	if (access(path.s, F_OK) == 0)
		rc = ck_json_file(&saved, path.s, 65536, err);
	if (rc == 0 && saved && az_settings_change(&s->settings, saved, err) < 0)
		rc = ck_wrap(err, "%s", path.s);
	if (rc == 0 && changes)
		rc = az_settings_change(&s->settings, changes, err);
	return rc < 0 ? rc : az_sim_save_settings(s, err);
}

static int open_ports(struct az_sim *s, struct ck_err *err)
{
	struct az_path path = az_path(s->dir, "ports.json");
	CK_JSON *j = NULL;
	uint64_t https = 0, http = 0;

	if (access(path.s, F_OK) < 0)
		return 0;
	int rc = ck_json_file(&j, path.s, 65536, err);
	if (rc == 0)
		rc = ck_json_u64(&https, j, "https", true, err);
	if (rc == 0)
		rc = ck_json_u64(&http, j, "http", true, err);
	s->https_port = (unsigned)(https & 0xffff);
	s->http_port = (unsigned)(http & 0xffff);
	return rc;
}

/* The workload identity that AAD knows: a ready token file, and the environment of AKS. */
static int write_workload_identity(const struct az_sim *s, struct ck_err *err)
{
	struct az_path file = az_path(s->dir, "federated-token");
	CK_BUF token = { 0 };
	CK_BUF env = { 0 };
	int rc = az_aad_federated_token(&token, s->federated_key, 30 * 86400L, err);

	if (rc == 0)
		rc = ck_file_write(file.s, token.data, token.len, 0600, err);
	if (rc == 0)
		rc = ck_buf_addf(&env, err,
				 "AZURE_CLIENT_ID=%s\nAZURE_TENANT_ID=%s\n"
				 "AZURE_FEDERATED_TOKEN_FILE=%s\n"
				 "AZURE_AUTHORITY_HOST=https://%s/\n",
				 AZ_CLIENT_ID, AZ_TENANT, file.s, AZ_LOGIN_HOST);
	return rc < 0 ? rc
		      : ck_file_write(az_path(s->dir, "workload-identity.env").s, env.data, env.len,
				      0600, err);
}

static int open_services(struct az_sim *s, const struct az_sim_opts *o, struct ck_err *err)
{
	int rc = az_ca_open(&s->ca, s->dir, err);

	if (rc == 0)
		rc = az_amd_open(&s->amd, s->dir, err);
	if (rc == 0)
		rc = az_pkey_keep(&s->aad_key, az_path(s->dir, "aad/token-key.pem").s, "RSA:2048",
				  err);
	if (rc == 0)
		rc = az_pkey_keep(&s->federated_key, az_path(s->dir, "aad/federated-key.pem").s,
				  "RSA:2048", err);
	if (rc == 0)
		rc = write_workload_identity(s, err);
	for (; rc == 0 && s->n_maa < o->n_maa; s->n_maa++)
		rc = az_maa_open(&s->maa[s->n_maa], s->dir, o->maa[s->n_maa], err);
	for (; rc == 0 && s->n_hsm < o->n_hsm; s->n_hsm++)
		rc = az_hsm_open(&s->hsm[s->n_hsm], &s->ca, s->dir, o->hsm[s->n_hsm], err);
	az_keystore_init(&s->keys, s->dir);
	return rc;
}

static void close_services(struct az_sim *s)
{
	for (size_t i = 0; i < s->n_maa; i++)
		az_maa_close(&s->maa[i]);
	for (size_t i = 0; i < s->n_hsm; i++)
		az_hsm_close(&s->hsm[i]);
	EVP_PKEY_free(s->aad_key);
	EVP_PKEY_free(s->federated_key);
	az_amd_close(&s->amd);
	az_ca_close(&s->ca);
	ck_http_close(s->http);
}

/* The client with which the HSM asks attestation instances: this process, by their names. */
static int open_http(struct az_sim *s, struct ck_err *err)
{
	struct az_path ca = az_path(s->dir, "ca.pem");
	struct ck_http_address to[AZ_MAX_HOSTS];
	char address[32];

	snprintf(address, sizeof address, "127.0.0.1:%u", s->https_port);
	for (size_t i = 0; i < s->n_maa; i++)
		to[i] = (struct ck_http_address){ s->maa[i].name, address };
	struct ck_http_opts opts = { .ca_file = ca.s, .addresses = to, .n_addresses = s->n_maa };
	return ck_http_open(&s->http, &opts, err);
}

/* Writes what a client needs to find this simulator. */
static int publish(struct az_sim *s, struct ck_buf *config, struct ck_err *err)
{
	int rc = save_json(
	    az_path(s->dir, "ports.json").s,
	    json_pack("{s:i,s:i}", "https", (int)s->https_port, "http", (int)s->http_port), err);

	if (rc == 0)
		rc = az_config_write(config, s, err);
	return rc < 0 ? rc
		      : ck_file_write(az_path(s->dir, "cloakfs.json").s, config->data, config->len,
				      0600, err);
}

static int serve(struct az_sim *s, int (*ready)(const char *, void *, struct ck_err *), void *arg,
		 const sigset_t *until, struct ck_err *err)
{
	struct az_server *server = NULL;
	struct az_tsm *tsm = NULL;
	CK_BUF config = { 0 };
	int sig, rc = az_server_start(&server, s, err);

	if (rc == 0)
		rc = open_http(s, err);
	if (rc == 0)
		rc = az_tsm_start(&tsm, az_path(s->dir, "tsm").s, &s->amd, &s->settings, err);
	if (rc == 0)
		rc = publish(s, &config, err);
	if (rc == 0)
		rc = ready(ck_buf_str(&config), arg, err);
	if (rc == 0) {
		sigwait(until, &sig);
		ck_log(CK_LOG_INFO, "stopping");
	}
	az_tsm_stop(tsm);
	az_server_stop(server);
	return rc;
}

int az_sim_run(const struct az_sim_opts *o,
	       int (*ready)(const char *config, void *arg, struct ck_err *err), void *arg,
	       struct ck_err *err)
{
	struct az_sim s = { 0 };
	sigset_t until;

	/* Every thread inherits this mask, so that only the sigwait above sees them. */
	sigemptyset(&until);
	sigaddset(&until, SIGTERM);
	sigaddset(&until, SIGINT);
	pthread_sigmask(SIG_BLOCK, &until, NULL);
	signal(SIGPIPE, SIG_IGN);

	int rc = az_dir_make(s.dir, o->dir, err);
	if (rc == 0)
		rc = az_dir_hold(s.dir, err);
	if (rc == 0)
		rc = open_settings(&s, o->changes, err);
	if (rc == 0)
		rc = open_ports(&s, err);
	if (rc == 0)
		rc = open_services(&s, o, err);
	if (rc == 0)
		rc = serve(&s, ready, arg, &until, err);
	close_services(&s);
	return rc;
}
