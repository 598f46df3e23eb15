#include "tests/unit/lib/rc.h"

#include <errno.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/json.h"
#include "keyprov/dial.h"
#include "keyprov/gojson.h"
#include "keyprov/grpccall.h"
#include "keyprov/keyring.h"
#include "keyprov/packet.h"
#include "tests/unit/lib/provider_thread.h"
#include "tests/unit/lib/skopeo_jwe.h"

#define ENC	"org.opencontainers.image.enc."
#define KEY32	"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define NONCE16 "EBESExQVFhcYGRobHB0eHw=="

static const char optsdata[] = "{\"symkey\":\"" KEY32 "\",\"digest\":\"sha256:"
			       "0000000000000000000000000000000000000000000000000000000000000000\","
			       "\"cipheroptions\":{\"nonce\":\"" NONCE16 "\"}}";

static char dir[64], config[96];
static EVP_PKEY *key, *other;

static void path_in(char out[128], const char *name)
{
	snprintf(out, 128, "%s/%s", dir, name);
}

static void put(const char *name, const char *text, mode_t mode)
{
	char path[128];
	struct ck_err err = { 0 };

	path_in(path, name);
	assert_rc(ck_file_write(path, text, strlen(text), mode, &err), 0, &err);
}

/* Appends a packet of the annotation KEY. */
static void add(json_t *a, const char *name, const void *p, size_t len)
{
	CK_BUF b = { 0 };
	const char *old = json_string_value(json_object_get(a, name));

	if (old)
		assert_int_equal(ck_buf_addf(&b, NULL, "%s,", old), 0);
	assert_int_equal(ck_b64_encode(&b, CK_B64_STD, p, len, NULL), 0);
	json_object_set_new(a, name, json_string(ck_buf_str(&b)));
}

static void add_pubopts(json_t *a, const char *cipher)
{
	CK_BUF b = { 0 };

	assert_int_equal(
	    ck_buf_addf(&b, NULL, "{\"cipher\":\"%s\",\"hmac\":\"" KEY32 "\"}", cipher), 0);
	add(a, ENC "pubopts", b.data, b.len);
}

/* An AASP packet of DATA for K, under annotation NAME. */
static void add_aasp(json_t *a, const char *name, EVP_PKEY *k, const char *kid, const char *host,
		     const char *data)
{
	CK_BUF b = { 0 };
	struct ck_packet_names names = { kid, host, "maa.example" };

	assert_int_equal(ck_packet_wrap(k, &names, data, strlen(data), &b, NULL), 0);
	add(a, name, b.data, b.len);
}

#define SEALED_PUBOPTS                                                                             \
	"{\"cipher\":\"C2SP_CHUNKED_V1_AES_256_GCM\",\"hmac\":\"\",\"cipheroptions\":{}}"
#define AGENT ENC "keys.provider.attestation-agent"

static json_t *aasp_image(void)
{
	json_t *a = json_object();

	add_pubopts(a, "AES_256_CTR_HMAC_SHA256");
	add_aasp(a, AGENT, key, "imagekey000", "hsm.example", optsdata);
	return a;
}

/* Unwraps A's key with the keys of K; checks it when it comes. */
static int unwrap(struct ck_keyring *k, const json_t *a, struct ck_err *err)
{
	CK_AUTO(ck_envelope_freep) struct ck_envelope *e = NULL;
	CK_AUTO(ck_layer_key_freep) struct ck_layer_key *lk = NULL;

	assert_rc(ck_envelope_parse(&e, a, err), 0, err);
	int rc = ck_keyring_unwrap(k, e, &lk, err);
	if (rc == 0) {
		assert_int_equal(lk->symkey[31], 31);
		assert_int_equal(lk->nonce[15], 31);
		assert_int_equal(lk->hmac[1], 1);
	}
	return rc;
}

static struct ck_keyring *ring(struct fake_attest *fake, const char *spec)
{
	struct ck_keyring *k;
	struct ck_err err = { 0 };

	assert_rc(ck_keyring_open(&k, fake ? fake_as_attest(fake) : NULL, &err), 0, &err);
	if (spec)
		assert_rc(ck_keyring_add(k, spec, &err), 0, &err);
	return k;
}

#define RING CK_AUTO(ck_keyring_closep) struct ck_keyring

static void by_the_hsm(void **state)
{
	(void)state;
	struct fake_attest fake = { .key = key, .block_fd = -1 };
	RING *k = ring(&fake, "hsm");
	CK_JSON *a = aasp_image();
	struct ck_err err = { 0 };

	assert_rc(unwrap(k, a, &err), 0, &err);
	assert_int_equal(fake.n_private, 1);
	fake.fail = -EPERM;
	assert_rc(unwrap(k, a, &err), -EPERM, &err);
	assert_says(&err, "provider attestation-agent (key imagekey000): release of key");
}

/* A bad recipient, of whatever badness, never stops the next; all reasons are told. */
static void one_bad_recipient_does_not_stop_the_next(void **state)
{
	(void)state;
	struct fake_attest fake = { .key = key, .block_fd = -1 };
	RING *k = ring(&fake, "hsm");
	CK_JSON *a = json_object();
	struct ck_err err = { 0 };

	add_pubopts(a, "AES_256_CTR_HMAC_SHA256");
	static const char traversal[] = "{\"kid\":\"../etc\",\"wrapped_data\":\"\","
					"\"kms_endpoint\":\"h\",\"attester_endpoint\":\"m\"}";
	add(a, AGENT, traversal, strlen(traversal));
	add_aasp(a, AGENT, other, "strange", "hsm.example", optsdata);
	add_aasp(a, AGENT, key, "nonsense", "hsm.example", "{}");
	add(a, ENC "keys.jwe", "{}", 2);
	assert_rc(unwrap(k, a, &err), -EBADMSG, &err);
	assert_says(&err, "key ../etc): ");
	assert_says(&err, "key strange): unwrapping with key strange");
	assert_says(&err, "key nonsense): private options");
	add_aasp(a, AGENT, key, "imagekey000", "hsm.example", optsdata);
	assert_rc(unwrap(k, a, &err), 0, &err);
}

static void nothing_fits(void **state)
{
	(void)state;
	struct fake_attest fake = { .key = key, .block_fd = -1 };
	RING *k = ring(&fake, "hsm");
	CK_JSON *a = json_object();
	struct ck_err err = { 0 };

	add_pubopts(a, "AES_256_CTR_HMAC_SHA256");
	assert_rc(unwrap(k, a, &err), -ENOKEY, &err);
	assert_says(&err, "for nobody");
	add(a, ENC "keys.pkcs7", "x", 1);
	add(a, ENC "keys.pgp", "x", 1);
	add(a, ENC "keys.pkcs11", "x", 1);
	add(a, ENC "keys.jwe", "x", 1);
	add(a, AGENT,
	    "{\"kid\":\"kbs:///a/b/c\",\"wrapped_data\":\"AAAA\",\"iv\":\"AAAAAAAAAAAAAAAA\","
	    "\"wrap_type\":\"A256GCM\"}",
	    strlen("{\"kid\":\"kbs:///a/b/c\",\"wrapped_data\":\"AAAA\",\"iv\":"
		   "\"AAAAAAAAAAAAAAAA\",\"wrap_type\":\"A256GCM\"}"));
	assert_rc(unwrap(k, a, &err), -ENOKEY, &err);
	assert_says(&err, "pkcs7: this scheme is not supported");
	assert_says(&err, "pgp: this");
	assert_says(&err, "pkcs11: this");
	assert_says(&err, "jwe: no PEM private key");
	assert_says(&err, "kbs:///a/b/c): not a packet of an HSM's key");
	assert_int_equal(fake.n_private, 0);

	/* The message of 64 recipients is cut, not overrun. */
	CK_JSON *many = json_object();
	add_pubopts(many, "AES_256_CTR_HMAC_SHA256");
	for (int i = 0; i < 64; i++)
		add_aasp(many, AGENT, key, "k", "hsm.example", "{}");
	assert_rc(unwrap(k, many, &err), -EBADMSG, &err);
	assert_int_equal(fake.n_private, 64);
	RING *none = ring(NULL, NULL);
	assert_rc(unwrap(none, many, &err), -ENOKEY, &err);
	assert_says(&err, "neither key \"hsm\" nor this provider");
}

static void cipher_is_looked_at_before_anybody_is_asked(void **state)
{
	(void)state;
	struct fake_attest fake = { .key = key, .block_fd = -1 };
	RING *k = ring(&fake, "hsm");
	CK_JSON *a = json_object();
	struct ck_err err = { 0 };

	add_pubopts(a, "AES_256_GCM");
	add_aasp(a, AGENT, key, "imagekey000", "hsm.example", optsdata);
	assert_rc(unwrap(k, a, &err), -ENOTSUP, &err);
	assert_int_equal(fake.n_private, 0);
}

/* What a sealed layer's packet holds, and what of it is handed on. */
static void a_sealed_layer(void **state)
{
	(void)state;
	static const char sealed[] = "{\"symkey\":\"" KEY32 "\",\"digest\":\"sha256:00\","
				     "\"cipheroptions\":{}}";
	struct fake_attest fake = { .key = key, .block_fd = -1 };
	RING *k = ring(&fake, "hsm");
	CK_JSON *a = json_object();
	CK_AUTO(ck_envelope_freep) struct ck_envelope *e = NULL;
	CK_AUTO(ck_layer_key_freep) struct ck_layer_key *lk = NULL;
	CK_SECRET opts = { 0 };
	struct ck_err err = { 0 };

	add(a, ENC "pubopts", SEALED_PUBOPTS, strlen(SEALED_PUBOPTS));
	add_aasp(a, AGENT, key, "other", "hsm.example", optsdata); /* CTR's: it has a nonce */
	add_aasp(a, AGENT, key, "imagekey000", "hsm.example", sealed);
	assert_rc(ck_envelope_parse(&e, a, &err), 0, &err);
	assert_rc(ck_keyring_unwrap(k, e, &lk, &err), 0, &err);
	assert_int_equal(lk->cipher, CK_LAYER_CHUNKED);
	assert_int_equal(lk->symkey[31], 31);
	assert_int_equal(lk->nonce[15], 0);
	assert_rc(ck_keyring_unwrap_opts(k, e, &opts, &err), 0, &err);
	assert_int_equal(opts.len, strlen(sealed));
	assert_memory_equal(opts.data, sealed, opts.len);

	/* An HMAC there: somebody's change, and nobody is asked. */
	CK_JSON *changed = json_deep_copy(a);
	json_object_del(changed, ENC "pubopts");
	add_pubopts(changed, "C2SP_CHUNKED_V1_AES_256_GCM");
	int before = fake.n_private;
	assert_rc(unwrap(k, changed, &err), -EBADMSG, &err);
	assert_says(&err, "HMAC");
	assert_int_equal(fake.n_private, before);
}

/* The options come as they were wrapped; those that are no good for the layer do not. */
static void options_to_wrap_again(void **state)
{
	(void)state;
	static const char spaced[] = "{ \"cipheroptions\":{\"nonce\":\"" NONCE16 "\"}, \"more\":1,"
				     "\"symkey\":\"" KEY32 "\"}\n";
	struct fake_attest fake = { .key = key, .block_fd = -1 };
	RING *k = ring(&fake, "hsm");
	CK_JSON *a = json_object();
	struct ck_err err = { 0 };

	add_pubopts(a, "AES_256_CTR_HMAC_SHA256");
	add_aasp(a, AGENT, key, "nonsense", "hsm.example", "{}");
	for (int i = 0; i < 2; i++) {
		CK_AUTO(ck_envelope_freep) struct ck_envelope *e = NULL;
		CK_SECRET opts = { 0 };
		if (i)
			add_aasp(a, AGENT, key, "imagekey000", "hsm.example", spaced);
		assert_rc(ck_envelope_parse(&e, a, &err), 0, &err);
		size_t before = CRYPTO_secure_used();
		assert_rc(ck_keyring_unwrap_opts(k, e, &opts, &err), i ? 0 : -EBADMSG, &err);
		if (i) {
			/* What a recipient that was no good held is not kept. (The first round
			 * fills OpenSSL's caches.) */
			assert_int_equal(CRYPTO_secure_used(), before + 128);

			assert_int_equal(opts.len, strlen(spaced));
			assert_memory_equal(opts.data, spaced, opts.len);
		} else {
			assert_says(&err, "key nonsense): private options: \"symkey\" is missing");
			assert_null(opts.data);
		}
	}
}

static void by_pem_files(void **state)
{
	(void)state;
	struct ck_err err = { 0 };
	char ec[128], ec521[128], rsa[128];
	FILE *f;

	put("ec.pem", skopeo_ec_pem, 0600);
	put("ec521.pem", skopeo_ec521_pem, 0600);
	path_in(ec, "ec.pem");
	path_in(ec521, "ec521.pem");
	path_in(rsa, "rsa.pem");
	assert_non_null(f = fopen(rsa, "w"));
	PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
	fclose(f);

	/* Images of real skopeo: one recipient, then three of which two are ours. */
	for (int i = 0; i < 3; i++) {
		CK_JSON *a = json_object();
		CK_AUTO(ck_envelope_freep) struct ck_envelope *e = NULL;
		CK_AUTO(ck_layer_key_freep) struct ck_layer_key *lk = NULL;
		RING *k = ring(NULL, i == 2 ? ec521 : ec);
		json_object_set_new(a, ENC "keys.jwe",
				    json_string(i ? skopeo_jwe_three : skopeo_jwe_one));
		json_object_set_new(a, ENC "pubopts",
				    json_string(i ? skopeo_pubopts_three : skopeo_pubopts_one));
		assert_rc(ck_envelope_parse(&e, a, &err), 0, &err);
		assert_rc(ck_keyring_unwrap(k, e, &lk, &err), 0, &err);
		assert_memory_equal(lk->hmac, e->hmac, 32);
	}
	CK_JSON *a = json_object();
	RING *k = ring(NULL, rsa);
	json_object_set_new(a, ENC "keys.jwe", json_string(skopeo_jwe_three));
	json_object_set_new(a, ENC "pubopts", json_string(skopeo_pubopts_three));
	assert_rc(unwrap(k, a, &err), -ENOKEY, &err);
	assert_says(&err, "jwe (RSA-OAEP, ECDH-ES+A256KW, ECDH-ES+A256KW): JWE: none of its");
	/* Several keys: the one that fits is found. */
	assert_rc(ck_keyring_add(k, ec, &err), 0, &err);
	CK_AUTO(ck_envelope_freep) struct ck_envelope *e = NULL;
	CK_AUTO(ck_layer_key_freep) struct ck_layer_key *lk = NULL;
	assert_rc(ck_envelope_parse(&e, a, &err), 0, &err);
	assert_rc(ck_keyring_unwrap(k, e, &lk, &err), 0, &err);
	(void)unlink(ec);
	(void)unlink(ec521);
	(void)unlink(rsa);
}

/* ---- other providers ---- */

static void put_config(const char *entry)
{
	CK_BUF b = { 0 };

	assert_int_equal(
	    ck_buf_addf(&b, NULL, "{\"key-providers\":{\"attestation-agent\":%s}}", entry), 0);
	assert_int_equal(ck_file_write(config, b.data, b.len, 0600, NULL), 0);
}

static void by_a_grpc_provider(void **state)
{
	(void)state;
	struct fake_attest fake = { .key = key, .block_fd = -1 };
	struct provider_thread t;
	char entry[256], listen[128] = "127.0.0.1:0";
	CK_JSON *a = aasp_image();
	struct ck_err err = { 0 };

	for (int i = 0; i < 2; i++) {
		if (i)
			snprintf(listen, sizeof listen, "unix:%s/s", dir);
		provider_start(&t, &fake, listen);
		snprintf(entry, sizeof entry, "{\"grpc\":\"%s\"}", t.target);
		put_config(entry);
		RING *k = ring(NULL, "provider:attestation-agent:aasp");
		RING *bare = ring(NULL, "provider:attestation-agent");
		assert_rc(unwrap(k, a, &err), 0, &err);
		assert_rc(unwrap(bare, a, &err), 0, &err);
		fake.fail = -EACCES;
		assert_rc(unwrap(k, a, &err), -EIO, &err);
		assert_says(&err, "key provider attestation-agent: ");
		assert_says(&err, "refused (fake): 100% no");
		fake.fail = 0;
		assert_int_equal(provider_stop(&t), 0);
		assert_rc(unwrap(k, a, &err), i ? -ENOENT : -ECONNREFUSED, &err);
		assert_says(&err, t.target);
	}
}

static void by_a_program(void **state)
{
	(void)state;
	char entry[512], script[128];
	CK_BUF answer = { 0 }, text = { 0 };
	CK_JSON *a = aasp_image();
	struct ck_err err = { 0 };

	/* Go's form of bytes; and the request must be one that others take. */
	assert_rc(ck_b64_encode(&text, CK_B64_STD, optsdata, strlen(optsdata), &err), 0, &err);
	assert_rc(ck_buf_addf(&answer, &err,
			      "#!/bin/sh\n"
			      "in=$(cat)\n"
			      "case $in in '{\"op\":\"keyunwrap\",\"keywrapparams\":{\"ec\":null,"
			      "\"optsdata\":null},\"keyunwrapparams\":{\"dc\":{\"Parameters\":{"
			      "\"attestation-agent\":[\"'*'\"]}},\"annotation\":\"'*'\"}}') ;; "
			      "*) echo \"bad request\" >&2; exit 1 ;; esac\n"
			      "case $in in *'[\"'$1'\"]'*) ;; *) echo \"bad value\" >&2; exit 1 ;; "
			      "esac\n"
			      "echo '{\"KeyUnwrapResults\":{\"optsdata\":\"%s\"},"
			      "\"keywrapresults\":null}'\n",
			      ck_buf_str(&text)),
		  0, &err);
	put("provider.sh", ck_buf_str(&answer), 0700);
	path_in(script, "provider.sh");
	snprintf(entry, sizeof entry,
		 "{\"cmd\":{\"path\":\"%s\",\"args\":[\"RW5hYmxlZA==\"]},\"grpc\":\"nowhere:1\"}",
		 script);
	put_config(entry);
	RING *k = ring(NULL, "provider:attestation-agent");
	assert_rc(unwrap(k, a, &err), 0, &err);
	RING *valued = ring(NULL, "provider:attestation-agent:a:b"); /* YTpi */
	assert_rc(unwrap(valued, a, &err), -EIO, &err);
	assert_says(&err, "bad value");
	(void)unlink(script);
	assert_rc(unwrap(k, a, &err), -ENOENT, &err);
}

static void bad_answers(void **state)
{
	(void)state;
	static const struct {
		const char *answer, *says;
	} rows[] = {
		{ "", "not valid JSON" },
		{ "[]", "not an object" },
		{ "{}", "no \"optsdata\"" },
		{ "{\"keyunwrapresults\":{\"optsdata\":null}}", "no \"optsdata\"" },
		{ "{\"keyunwrapresults\":{\"optsdata\":\"SECRET!\"}}", "not valid base64" },
		{ "{\"keyunwrapresults\":{\"optsdata\":[256]}}", "not a byte" },
		{ "{\"keyunwrapresults\":{\"optsdata\":\"e30=\"}}", "symkey" },
		{ "SECRET", "not valid JSON" },
	};
	CK_JSON *a = aasp_image();

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		CK_JSON *entry =
		    json_pack("{s:{s:s, s:[s]}}", "cmd", "path", "echo", "args", rows[i].answer);
		CK_BUF b = { 0 };
		struct ck_err err = { 0 };
		assert_int_equal(ck_json_dump(&b, entry, NULL), 0);
		put_config(ck_buf_str(&b));
		RING *k = ring(NULL, "provider:attestation-agent");
		assert_rc(unwrap(k, a, &err), -EBADMSG, &err);
		assert_says(&err, rows[i].says);
		assert_null(strstr(err.msg, "SECRET"));
	}
}

/* PEM keys are for this process alone, other than with ocicrypt. */
static void pem_keys_are_not_sent_to_providers(void **state)
{
	(void)state;
	struct ck_err err = { 0 };
	char entry[512], seen[128], pem[128];
	CK_JSON *a = aasp_image();
	CK_BUF text = { 0 };

	put("ec.pem", skopeo_ec_pem, 0600);
	path_in(pem, "ec.pem");
	path_in(seen, "seen");
	snprintf(entry, sizeof entry,
		 "{\"cmd\":{\"path\":\"/bin/sh\",\"args\":[\"-c\",\"cat >%s; exit 1\"]}}", seen);
	put_config(entry);
	RING *k = ring(NULL, pem);
	assert_rc(ck_keyring_add(k, "provider:attestation-agent", &err), 0, &err);
	assert_rc(unwrap(k, a, &err), -EIO, &err);
	assert_rc(ck_file_read(&text, seen, &err), 0, &err);
	CK_JSON *doc = NULL;
	assert_rc(ck_json_parse(&doc, text.data, text.len, "", &err), 0, &err);
	json_t *dc = json_object_get(json_object_get(doc, "keyunwrapparams"), "dc");
	CK_JSON *want = json_pack("{s:{s:[s]}}", "Parameters", "attestation-agent", "RW5hYmxlZA==");
	assert_true(json_equal(dc, want));
	(void)unlink(seen);
	(void)unlink(pem);

	/* And a packet for one provider is not shown to another. */
	CK_JSON *others = json_object();
	add_pubopts(others, "AES_256_CTR_HMAC_SHA256");
	add_aasp(others, ENC "keys.provider.other", key, "imagekey000", "hsm.example", optsdata);
	assert_rc(unwrap(k, others, &err), -ENOKEY, &err);
	assert_says(&err,
		    "provider other (key imagekey000): neither key \"hsm\" nor this provider");
	assert_int_equal(access(seen, F_OK), -1);
}

static void configuration_table(void **state)
{
	(void)state;
	static const struct {
		const char *text; /* NULL: no file */
		int want;
		const char *says;
	} rows[] = {
		{ NULL, -ENOENT, "OCICRYPT_KEYPROVIDER_CONFIG: cannot open" },
		{ "{", -EBADMSG, "not valid JSON" },
		{ "[]", -EBADMSG, "key-providers" },
		{ "{}", -EBADMSG, "key-providers" },
		{ "{\"key-providers\":{}}", -ENOENT, "lists no key provider named p" },
		{ "{\"key-providers\":{\"p\":1}}", -EBADMSG, "not an object" },
		{ "{\"key-providers\":{\"p\":{}}}", -ENOTSUP, "neither" },
		{ "{\"key-providers\":{\"p\":{\"path\":\"/x\"}}}", -ENOTSUP, "neither" },
		{ "{\"key-providers\":{\"p\":{\"ttrpc\":\"unix:///x\"}}}", -ENOTSUP, "neither" },
		{ "{\"key-providers\":{\"p\":{\"grpc\":\"\"}}}", -ENOTSUP, "neither" },
		{ "{\"key-providers\":{\"p\":{\"grpc\":\"a:1\",\"grpc-tls\":{}}}}", -ENOTSUP,
		  "grpc-tls" },
		{ "{\"key-providers\":{\"p\":{\"cmd\":{}}}}", -EBADMSG, "path" },
		{ "{\"key-providers\":{\"p\":{\"cmd\":{\"path\":\"a\",\"args\":[1]}}}}", -EBADMSG,
		  "not a string" },
		{ "{\"key-providers\":{\"p\":{\"grpc\":\"a:1\"}}}", 0, "" },
	};
	struct ck_err err = { 0 };

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		RING *k = ring(NULL, NULL);
		(void)unlink(config);
		if (rows[i].text)
			assert_int_equal(
			    ck_file_write(config, rows[i].text, strlen(rows[i].text), 0600, NULL),
			    0);
		err.msg[0] = 0;
		assert_rc(ck_keyring_add(k, "provider:p", &err), rows[i].want, &err);
		assert_says(&err, rows[i].says);
	}
	unsetenv("OCICRYPT_KEYPROVIDER_CONFIG");
	RING *k = ring(NULL, NULL);
	assert_rc(ck_keyring_add(k, "provider:p", &err), -EINVAL, &err);
	assert_says(&err, "set OCICRYPT_KEYPROVIDER_CONFIG");
	assert_int_equal(setenv("OCICRYPT_KEYPROVIDER_CONFIG", config, 1), 0);
}

static void keys_that_are_none(void **state)
{
	(void)state;
	RING *k = ring(NULL, NULL);
	struct ck_err err = { 0 };

	assert_rc(ck_keyring_add(k, "hsm", &err), -EINVAL, &err);
	assert_says(&err, "configuration");
	assert_rc(ck_keyring_add(k, "provider:", &err), -EINVAL, &err);
	assert_rc(ck_keyring_add(k, "provider::x", &err), -EINVAL, &err);
	assert_rc(ck_keyring_add(k, "/nonexistent.pem", &err), -ENOENT, &err);
	assert_rc(ck_keyring_add(k, "", &err), -ENOENT, &err);
	struct fake_attest fake = { .key = key, .block_fd = -1 };
	RING *full = ring(&fake, NULL);
	for (int i = 0; i < 64; i++)
		assert_rc(ck_keyring_add(full, "hsm", &err), 0, &err);
	assert_rc(ck_keyring_add(full, "hsm", &err), -EINVAL, &err);
}

/* What a call meets that is no key provider: each ends in time and says what it was. */
static void peers_that_are_no_providers(void **state)
{
	(void)state;
	static const struct {
		const char *why, *says;
		const char *answer; /* sent on accept; NULL: silence; "": hang up */
		size_t len;
		int want;
	} rows[] = {
		{ "accepts and is silent", "no answer in time", NULL, 0, -ETIMEDOUT },
		{ "hangs up", "closed the connection", "", 0, -EPROTO },
		{ "speaks HTTP/1.1", "not HTTP/2", "HTTP/1.1 400 Bad Request\r\n\r\n", 28,
		  -EPROTO },
		{ "settings, then silence", "no answer in time", "\0\0\0\4\0\0\0\0\0", 9,
		  -ETIMEDOUT },
		{ "settings, then goes away", "ended the call",
		  "\0\0\0\4\0\0\0\0\0\0\0\x08\7\0\0\0\0\0\0\0\0\0\0\0\0\0", 26, -EPROTO },
		{ "resets the call", "ended the call",
		  "\0\0\0\4\0\0\0\0\0\0\0\4\3\0\0\0\0\1\0\0\0\1", 22, -EPROTO },
		{ "HTTP status 404, as nghttpd", "HTTP status 404",
		  "\0\0\0\4\0\0\0\0\0\0\0\1\1\5\0\0\0\1\x8d", 19, -EPROTO },
		{ "status 200 and no trailers", "no grpc-status",
		  "\0\0\0\4\0\0\0\0\0\0\0\1\1\5\0\0\0\1\x88", 19, -EPROTO },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct sockaddr_storage ss = { .ss_family = AF_INET };
		socklen_t len = sizeof ss;
		int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fds[2];
		char target[160];
		CK_BUF out = { 0 };
		struct ck_err err = { 0 };

		/* Bound to any loopback port, accepted by a child that plays the peer. */
		unsigned char addr[16] = { AF_INET, 0, 0, 0, 127, 0, 0, 1 };
		assert_int_equal(bind(l, (struct sockaddr *)addr, sizeof addr), 0);
		assert_int_equal(listen(l, 1), 0);
		assert_int_equal(getsockname(l, (struct sockaddr *)&ss, &len), 0);
		const unsigned char *port = (const unsigned char *)&ss + 2;
		snprintf(target, sizeof target, "127.0.0.1:%d", port[0] << 8 | port[1]);
		assert_int_equal(pipe(fds), 0);
		pid_t pid = fork();
		if (pid == 0) {
			char c;
			int s = accept(l, NULL, NULL);
			close(fds[1]);
			if (rows[i].answer && send(s, rows[i].answer, rows[i].len, 0) < 0)
				_exit(1);
			if (rows[i].answer && rows[i].len == 0)
				shutdown(s, SHUT_RDWR);
			_exit(read(fds[0], &c, 1) == 0 ? 0 : 1); /* until the parent is done */
		}
		ck_closep(&fds[0]);
		ck_closep(&l);
		int rc = ck_grpccall(target, "/a.B/C", "{}", 2, ck_now_ms() + 400, &out, &err);
		ck_closep(&fds[1]);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		if (rc != rows[i].want)
			fail_msg("%s: %d %s", rows[i].why, rc, err.msg);
		assert_says(&err, rows[i].says);
	}
}

static void targets_table(void **state)
{
	(void)state;
	static const struct {
		const char *target;
		int want;
	} rows[] = {
		{ "nohost", -EINVAL },
		{ ":1", -EINVAL },
		{ "127.0.0.1:", -EINVAL },
		{ "127.0.0.1:x", -EINVAL },
		{ "127.0.0.1:65536", -EINVAL },
		{ "unix://", -EINVAL },
		{ "unix:///nonexistent/s", -ENOENT },
		{ "http://127.0.0.1:1", -ECONNREFUSED },
		{ "tcp://127.0.0.1:1", -ECONNREFUSED },
		{ "dns:///localhost:1", -ECONNREFUSED },
		{ "https://127.0.0.1:1", -EINVAL },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct ck_err err = { 0 };
		if (ck_dial(rows[i].target, ck_now_ms() + 5000, &err) != rows[i].want)
			fail_msg("%s: %d %s", rows[i].target, err.code, err.msg);
	}
}

static int init(void **state)
{
	struct ck_err err;

	(void)state;
	snprintf(dir, sizeof dir, "/tmp/ck-test-keyring.XXXXXX");
	if (ck_secret_init(&err) || !mkdtemp(dir) || !(key = EVP_RSA_gen(2048)) ||
	    !(other = EVP_RSA_gen(2048)))
		return -1;
	snprintf(config, sizeof config, "%s/config.json", dir);
	return setenv("OCICRYPT_KEYPROVIDER_CONFIG", config, 1);
}

static int clean(void **state)
{
	(void)state;
	(void)unlink(config);
	EVP_PKEY_free(key);
	EVP_PKEY_free(other);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_the_hsm),
		cmocka_unit_test(one_bad_recipient_does_not_stop_the_next),
		cmocka_unit_test(nothing_fits),
		cmocka_unit_test(cipher_is_looked_at_before_anybody_is_asked),
		cmocka_unit_test(a_sealed_layer),
		cmocka_unit_test(options_to_wrap_again),
		cmocka_unit_test(by_pem_files),
		cmocka_unit_test(by_a_grpc_provider),
		cmocka_unit_test(by_a_program),
		cmocka_unit_test(bad_answers),
		cmocka_unit_test(pem_keys_are_not_sent_to_providers),
		cmocka_unit_test(configuration_table),
		cmocka_unit_test(keys_that_are_none),
		cmocka_unit_test(peers_that_are_no_providers),
		cmocka_unit_test(targets_table),
	};

	return cmocka_run_group_tests(tests, init, clean);
}
