#include "tools/azsim/config.h"

#include <stdio.h>

#include "base/json.h"
#include "tools/azsim/hsm.h"

static int add_chunk(const char *p, size_t nbytes, void *b)
{
	return ck_buf_add(b, p, nbytes, NULL);
}

int az_config_write(struct ck_buf *out, const struct az_sim *s, struct ck_err *err)
{
	json_t *hsm = json_array(), *maa = json_array(), *addresses = json_object();
	char imds[64], address[32];

	snprintf(imds, sizeof imds, "http://127.0.0.1:%u", s->http_port);
	snprintf(address, sizeof address, "127.0.0.1:%u", s->https_port);
	for (size_t i = 0; i < s->n_hsm; i++) {
		json_array_append_new(hsm, json_string(s->hsm[i].name));
		json_object_set_new(addresses, s->hsm[i].name, json_string(address));
	}
	for (size_t i = 0; i < s->n_maa; i++) {
		json_array_append_new(maa, json_string(s->maa[i].name));
		json_object_set_new(addresses, s->maa[i].name, json_string(address));
	}
	json_object_set_new(addresses, AZ_LOGIN_HOST, json_string(address));
	CK_JSON *j =
	    json_pack("{s:o,s:o,s:s,s:{s:s,s:s},s:{s:s},s:{s:s},s:s,s:s,s:s,s:s,s:o}", "hsm_hosts",
		      hsm, "maa_hosts", maa, "key_info_dir", az_path(s->dir, "key-info").s, "wrap",
		      "kms_endpoint", s->hsm[0].name, "attester_endpoint", s->maa[0].name,
		      "evidence", "tsm_dir", az_path(s->dir, "tsm").s, "identity", "client_id",
		      AZ_CLIENT_ID, "imds_url", imds, "authority_url", "https://" AZ_LOGIN_HOST,
		      "hsm_resource", az_hsm_resource(s->hsm[0].name), "ca_file",
		      az_path(s->dir, "ca.pem").s, "addresses", addresses);
	if (!j || json_dump_callback(j, add_chunk, out, JSON_INDENT(2)) < 0)
		return ck_nomem(err, "writing the configuration");
	return ck_buf_adds(out, "\n", err);
}
