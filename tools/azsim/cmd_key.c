/* azsim key-create, azsim key-import */
#include <errno.h>
#include <getopt.h>
#include <openssl/core_names.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "tools/azsim/aad.h"
#include "tools/azsim/client.h"
#include "tools/azsim/cmds.h"
#include "tools/azsim/hsm.h"
#include "tools/azsim/jose.h"
#include "tools/azsim/keystore.h"

enum { DEFAULT_BITS = 3072 };

struct key_opts {
	const char *state, *name, *policy, *pem, *info_dir, *hsm, *maa, *size;
	bool not_exportable;
};

/* Fills O from the options; false when one is unknown. */
static bool read_options(struct key_opts *o, int argc, char **argv)
{
	enum { STATE, NAME, POLICY, PEM, INFO_DIR, HSM, MAA, SIZE, N_TEXTS, NOT_EXPORTABLE };
	static const struct option options[] = {
		{ "state", required_argument, NULL, STATE },
		{ "name", required_argument, NULL, NAME },
		{ "policy", required_argument, NULL, POLICY },
		{ "pem", required_argument, NULL, PEM },
		{ "info-dir", required_argument, NULL, INFO_DIR },
		{ "hsm", required_argument, NULL, HSM },
		{ "maa", required_argument, NULL, MAA },
		{ "size", required_argument, NULL, SIZE },
		{ "not-exportable", no_argument, NULL, NOT_EXPORTABLE },
		{ 0 },
	};
	const char **const texts[N_TEXTS] = { &o->state,    &o->name, &o->policy, &o->pem,
					      &o->info_dir, &o->hsm,  &o->maa,	  &o->size };
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == NOT_EXPORTABLE)
			o->not_exportable = true;
		else if (c < N_TEXTS)
			*texts[c] = optarg;
		else
			return false;
	}
	return true;
}

/* What is wrong with the command line; NULL when nothing is. */
static const char *parse(struct key_opts *o, int argc, char **argv, bool import)
{
	if (!read_options(o, argc, argv))
		return "unknown option";
	if (!o->state || !o->name || optind != argc)
		return "--state DIR or --name KID is missing, or there is too much";
	if (!az_key_name_ok(o->name))
		return "the key's name is not of letters, digits and hyphens";
	if (import && !o->pem)
		return "--pem FILE is missing";
	if (import ? o->size || o->not_exportable : o->pem != NULL)
		return "--pem is for key-import, --size and --not-exportable for key-create";
	return NULL;
}

/* Tokens of MAA, of a guest that is not debuggable, at level 0, with the measurement that
 * the simulator's guest has now. */
static int default_policy(json_t **out, struct az_client *c, const char *maa, struct ck_err *err)
{
	CK_JSON *settings = NULL;
	char authority[300];
	int rc = az_client_control(&settings, c, "GET", "/azsim/settings", NULL, err);

	if (rc < 0)
		return rc;
	snprintf(authority, sizeof authority, "https://%s", maa);
	*out = json_pack(
	    "{s:s,s:[{s:s,s:[{s:s,s:s},{s:s,s:s},{s:s,s:s},{s:s,s:O}]}]}", "version", "1.0.0",
	    "anyOf", "authority", authority, "allOf", "claim", "x-ms-attestation-type", "equals",
	    "sevsnpvm", "claim", "x-ms-sevsnpvm-is-debuggable", "equals", "false", "claim",
	    "x-ms-sevsnpvm-vmpl", "equals", "0", "claim", "x-ms-sevsnpvm-launchmeasurement",
	    "equals", json_object_get(settings, "measurement"));
	return *out ? 0 : ck_nomem(err, "writing a policy");
}

/* The text of the release policy: FILE's own bytes, or the default. */
static int read_policy(struct ck_buf *out, struct az_client *c, const struct key_opts *o,
		       struct ck_err *err)
{
	CK_JSON *policy = NULL;

	if (o->policy)
		return ck_file_read(out, o->policy, err);
	int rc = default_policy(&policy, c, o->maa, err);
	return rc < 0 ? rc : ck_json_dump(out, policy, err);
}

/* The members of a private JWK beyond az_jwk_public's. */
static int add_private(json_t *jwk, const EVP_PKEY *k, struct ck_err *err)
{
	static const struct {
		const char *jwk, *ossl;
	} members[] = {
		{ "d", OSSL_PKEY_PARAM_RSA_D },		 { "p", OSSL_PKEY_PARAM_RSA_FACTOR1 },
		{ "q", OSSL_PKEY_PARAM_RSA_FACTOR2 },	 { "dp", OSSL_PKEY_PARAM_RSA_EXPONENT1 },
		{ "dq", OSSL_PKEY_PARAM_RSA_EXPONENT2 }, { "qi", OSSL_PKEY_PARAM_RSA_COEFFICIENT1 },
	};

	for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
		CK_BUF text = { 0 };
		int rc = az_jwk_number(&text, k, members[i].ossl, err);
		if (rc < 0)
			return rc;
		json_object_set_new(jwk, members[i].jwk, json_string(ck_buf_str(&text)));
	}
	return 0;
}

static int import_body(json_t **out, const struct key_opts *o, struct ck_err *err)
{
	AZ_PKEY *k = NULL;
	json_t *jwk = NULL;
	int rc = az_pkey_load(&k, o->pem, err);

	if (rc == 0 && !EVP_PKEY_is_a(k, "RSA"))
		rc = ck_fail(err, -EINVAL, "%s is not an RSA key", o->pem);
	if (rc == 0)
		rc = az_jwk_public(&jwk, k, err);
	if (rc < 0)
		return rc;
	json_object_set_new(jwk, "kty", json_string("RSA-HSM"));
	rc = add_private(jwk, k, err);
	*out = json_pack("{s:o,s:b}", "key", jwk, "hsm", 1);
	return rc < 0 ? rc : *out ? 0 : ck_nomem(err, "importing a key");
}

static int make_body(json_t **out, const struct key_opts *o, const struct ck_buf *policy,
		     struct ck_err *err)
{
	CK_BUF data = { 0 };
	int rc = 0;

	if (o->pem)
		rc = import_body(out, o, err);
	else
		*out = json_pack("{s:s,s:i,s:[s,s,s,s]}", "kty", "RSA-HSM", "key_size",
				 o->size ? atoi(o->size) : DEFAULT_BITS, "key_ops", "wrapKey",
				 "unwrapKey", "encrypt", "decrypt");
	if (rc < 0 || o->not_exportable)
		return rc;
	rc = ck_b64_encode(&data, CK_B64_URL, policy->data, policy->len, err);
	if (rc < 0)
		return rc;
	json_object_set_new(*out, "attributes", json_pack("{s:b}", "exportable", 1));
	json_object_set_new(*out, "release_policy",
			    json_pack("{s:s,s:s,s:b}", "contentType",
				      "application/json; charset=utf-8", "data", ck_buf_str(&data),
				      "immutable", 0));
	return 0;
}

/* Calls the HSM as an administrator would. The token comes from the state directory, so
 * that making keys leaves the counters of the identity services alone. */
static int call_hsm(json_t **out, struct az_client *c, const struct key_opts *o, const json_t *body,
		    struct ck_err *err)
{
	AZ_PKEY *key = NULL;
	CK_BUF token = { 0 };
	CK_BUF url = { 0 };
	int rc = az_pkey_load(&key, az_path(c->dir, "aad/token-key.pem").s, err);

	if (rc == 0)
		rc =
		    az_aad_access_token(&token, key, az_hsm_resource(o->hsm), time(NULL), 300, err);
	if (rc == 0)
		rc = ck_buf_addf(&url, err, "https://%s/keys/%s%s?api-version=7.4", o->hsm, o->name,
				 o->pem ? "" : "/create");
	if (rc == 0)
		rc = az_client_call(out, c, o->pem ? "PUT" : "POST", ck_buf_str(&url),
				    ck_buf_str(&token), body, err);
	return rc < 0 ? ck_wrap(err, "cannot make key %s at %s", o->name, o->hsm) : 0;
}

static int write_info(const struct key_opts *o, const json_t *bundle, const struct ck_buf *policy,
		      struct ck_err *err)
{
	char dir[AZ_DIR_MAX + 1];
	AZ_PKEY *k = NULL;
	CK_BUF pem = { 0 };
	CK_BUF info = { 0 };
	int rc = az_mkdir(o->info_dir, err);

	if (rc == 0)
		rc = az_dir_find(dir, o->info_dir, err);
	if (rc == 0)
		rc = az_jwk_read(&k, json_object_get(bundle, "key"), false, err);
	if (rc == 0)
		rc = az_pkey_public_pem(&pem, k, err);
	if (rc < 0)
		return rc;
	struct az_path pub = az_path(dir, "%s-pub.pem", o->name);
	CK_JSON *j = json_pack("{s:s,s:s,s:s}", "public_key_path", pub.s, "kms_endpoint", o->hsm,
			       "attester_endpoint", o->maa);
	rc = j ? ck_json_dump(&info, j, err) : ck_nomem(err, "writing key info");
	if (rc == 0)
		rc = ck_file_write(pub.s, pem.data, pem.len, 0644, err);
	if (rc == 0)
		rc = ck_file_write(az_path(dir, "%s-info.json", o->name).s, info.data, info.len,
				   0644, err);
	if (rc == 0 && policy->len)
		rc = ck_file_write(az_path(dir, "%s-release-policy.json", o->name).s, policy->data,
				   policy->len, 0644, err);
	return rc;
}

static int make_key(struct key_opts *o, struct ck_err *err)
{
	CK_AUTO(az_client_close) struct az_client c;
	CK_BUF policy = { 0 };
	CK_JSON *body = NULL;
	CK_JSON *bundle = NULL;
	int rc = az_client_open(&c, o->state, err);

	if (rc < 0)
		return rc;
	if (!o->hsm)
		o->hsm =
		    json_string_value(json_array_get(json_object_get(c.config, "hsm_hosts"), 0));
	if (!o->maa)
		o->maa =
		    json_string_value(json_array_get(json_object_get(c.config, "maa_hosts"), 0));
	if (!o->not_exportable)
		rc = read_policy(&policy, &c, o, err);
	if (rc == 0)
		rc = make_body(&body, o, &policy, err);
	if (rc == 0)
		rc = call_hsm(&bundle, &c, o, body, err);
	if (rc == 0 && o->info_dir)
		rc = write_info(o, bundle, &policy, err);
	if (rc == 0)
		printf("%s\n",
		       json_string_value(json_object_get(json_object_get(bundle, "key"), "kid")));
	return rc;
}

int az_cmd_key_create(int argc, char **argv)
{
	struct key_opts o = { 0 };
	struct ck_err err = { 0 };
	const char *wrong = parse(&o, argc, argv, false);

	if (wrong)
		return az_usage("key-create", wrong);
	return make_key(&o, &err) < 0 ? az_failed("key-create", &err) : 0;
}

int az_cmd_key_import(int argc, char **argv)
{
	struct key_opts o = { 0 };
	struct ck_err err = { 0 };
	const char *wrong = parse(&o, argc, argv, true);

	if (wrong)
		return az_usage("key-import", wrong);
	return make_key(&o, &err) < 0 ? az_failed("key-import", &err) : 0;
}
