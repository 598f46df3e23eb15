#include "tests/unit/lib/rc.h"

#include <errno.h>
#include <jansson.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/json.h"
#include "keyprov/keyring.h"
#include "keyprov/newopts.h"
#include "keyprov/recipients.h"
#include "tests/unit/lib/mint.h"
#include "tests/unit/lib/provider_thread.h"
#include "tests/unit/lib/skopeo_jwe.h"

#define ENC    "org.opencontainers.image.enc."
#define AGENT  ENC "keys.provider.attestation-agent"
#define OTHER  ENC "keys.provider.other"
#define JWE    ENC "keys.jwe"
#define CONFIG "OCICRYPT_KEYPROVIDER_CONFIG"
#define OURS   "provider:attestation-agent:aasp:imagekey000"

static char dir[64];
static EVP_PKEY *key, *ec;

/* DIR/NAME; good until the fourth call after this one. */
static const char *in_dir(const char *name)
{
	static char paths[4][160];
	static int at;
	char *p = paths[at++ % 4];

	snprintf(p, sizeof paths[0], "%s/%s", dir, name);
	return p;
}

static void put(const char *name, const char *text)
{
	struct ck_err err = { 0 };

	assert_rc(ck_file_write(in_dir(name), text, strlen(text), 0600, &err), 0, &err);
}

/* One provider "attestation-agent" with ENTRY, and "other", a program that answers "xyz"
 * or fails. */
static void put_config(const char *entry, bool other_works)
{
	CK_BUF b = { 0 };

	assert_int_equal(
	    ck_buf_addf(&b, NULL,
			"{\"key-providers\":{\"attestation-agent\":%s,\"other\":{\"cmd\":{\"path\":"
			"\"/bin/sh\",\"args\":[\"-c\",\"%s\"]}}}}",
			entry,
			other_works
			    ? "echo '{\\\"keywrapresults\\\":{\\\"annotation\\\":\\\"eHl6\\\"}}'"
			    : "echo out of keys >&2; exit 1"),
	    0);
	put("config.json", ck_buf_str(&b));
	assert_int_equal(setenv(CONFIG, in_dir("config.json"), 1), 0);
}

/* ---- what is wrapped, by whom, and who opens it ---- */

static const struct ck_layer_key layer_key = {
	.cipher = CK_LAYER_CTR, .symkey = "symkey", .nonce = "nonce", .hmac = "hmac"
};

static void new_opts(struct ck_secret *out)
{
	struct ck_err err = { 0 };

	assert_rc(ck_newopts_private(out, &layer_key, "sha256:00", &err), 0, &err);
}

#define RECIPIENTS CK_AUTO(ck_recipients_closep) struct ck_recipients

static struct ck_recipients *recipients(const struct ck_provider *own, const char *spec)
{
	struct ck_recipients *r;
	struct ck_err err = { 0 };

	assert_rc(ck_recipients_open(&r, own, &err), 0, &err);
	if (spec)
		assert_rc(ck_recipients_add(r, spec, &err), 0, &err);
	return r;
}

static int wrap(const struct ck_recipients *r, json_t *annotations, struct ck_err *err)
{
	CK_SECRET opts = { 0 };

	new_opts(&opts);
	return ck_recipients_wrap(r, &opts, annotations, err);
}

/* The annotations of a layer whose key was wrapped for R. */
static json_t *wrapped(const struct ck_recipients *r)
{
	json_t *a = json_object();
	struct ck_err err = { 0 };

	assert_rc(ck_newopts_public(a, &layer_key, &err), 0, &err);
	assert_rc(wrap(r, a, &err), 0, &err);
	return a;
}

static size_t n_packets(const json_t *a, const char *name)
{
	const char *s = json_string_value(json_object_get(a, name));
	size_t n = s ? 1 : 0;

	while (s && (s = strchr(s, ',')))
		s++, n++;
	return n;
}

/* Opens A with SPEC alone. */
static int opens(const json_t *a, struct fake_attest *fake, const char *spec, struct ck_err *err)
{
	CK_AUTO(ck_keyring_closep) struct ck_keyring *k = NULL;
	CK_AUTO(ck_envelope_freep) struct ck_envelope *e = NULL;
	CK_AUTO(ck_layer_key_freep) struct ck_layer_key *lk = NULL;

	assert_rc(ck_keyring_open(&k, fake ? fake_as_attest(fake) : NULL, err), 0, err);
	assert_rc(ck_keyring_add(k, spec, err), 0, err);
	assert_rc(ck_envelope_parse(&e, a, err), 0, err);
	int rc = ck_keyring_unwrap(k, e, &lk, err);
	if (rc == 0)
		assert_memory_equal(lk, &layer_key, sizeof layer_key);
	return rc;
}

static struct fake_attest fake_hsm(void)
{
	return (struct fake_attest){ .key = key, .block_fd = -1 };
}

static struct ck_provider own_provider(struct fake_attest *fake)
{
	return (struct ck_provider){ .attest = fake_as_attest(fake),
				     .key_info_dir = dir,
				     .hsm_host = "hsm.example",
				     .maa_host = "maa.example" };
}

/* ---- tests ---- */

static void this_process_itself(void **state)
{
	(void)state;
	static const char *const specs[] = { OURS, "provider:attestation-agent:SKR:imagekey000",
					     "provider:attestation-agent:skr:imagekey000/v1:more" };
	struct fake_attest fake = fake_hsm();
	struct ck_provider own = own_provider(&fake);
	struct ck_err err = { 0 };

	for (size_t i = 0; i < 3; i++) {
		fake.n_public = fake.n_private = 0;
		RECIPIENTS *r = recipients(&own, specs[i]);
		assert_int_equal(fake.n_public, 1);
		CK_JSON *a = wrapped(r), *b = wrapped(r);
		assert_int_equal(fake.n_public, 1); /* once for all layers */
		assert_int_equal(fake.n_private, 0);
		assert_false(json_equal(a, b));
		assert_int_equal(n_packets(a, AGENT), 1);
		assert_int_equal(json_object_size(a), 2);
		assert_rc(opens(a, &fake, "hsm", &err), 0, &err);
		assert_rc(opens(b, &fake, "hsm", &err), 0, &err);
	}
	/* Under another name, from a key-info file, and set to nothing is not set. */
	assert_int_equal(setenv(CONFIG, "", 1), 0);
	put("filekey-info.json",
	    "{\"public_key_path\":\"rsa-pub.pem\",\"kms_endpoint\":\"h.example\","
	    "\"attester_endpoint\":\"m.example\"}");
	fake.n_public = 0;
	RECIPIENTS *r = recipients(&own, "provider:other:aasp:filekey");
	CK_JSON *a = wrapped(r);
	assert_int_equal(n_packets(a, OTHER), 1);
	assert_int_equal(fake.n_public, 0);
	assert_rc(opens(a, &fake, "hsm", &err), 0, &err);
	(void)unlink(in_dir("filekey-info.json"));
}

/* Mistakes show when a recipient is added, not after hours of encryption. */
static void specs_that_are_none(void **state)
{
	(void)state;
	static const struct {
		const char *spec;
		int want;
		const char *says;
	} rows[] = {
		{ "provider:", -EINVAL, "names no provider" },
		{ "provider::aasp:k", -EINVAL, "names no provider" },
		{ "provider:\xff:aasp:k", -EINVAL, "UTF-8" },
		{ "provider:x", -EINVAL,
		  "recipient provider:x: set " CONFIG " to the file that says how to reach this "
		  "provider, or name a key of the HSM: provider:x:aasp:<key id>" },
		{ "provider:x:kbs:///a/b/c", -EINVAL, "set " CONFIG },
		{ "provider:x:aasp", -EINVAL, "names no key: provider:x:aasp:<key id>" },
		{ "provider:x:aasp:", -EINVAL, "names no key" },
		{ "provider:x:aasp:../k", -EINVAL, "key id" },
		{ "provider:x:aasp:nosuchkey", -EACCES, "there is no key nosuchkey" },
		{ "provider:x:aasp:eckey", -EINVAL, "not an RSA key of 2048 bits" },
		{ "provider:x:aasp:brokenkey", -EBADMSG, "public_key_path" },
		{ "hsm", -EINVAL, "which key to encrypt for" },
		{ "", -ENOENT, "" },
		{ "/nonexistent/key.pem", -ENOENT, "/nonexistent/key.pem" },
		{ "/", -EISDIR, "" },
	};
	struct fake_attest fake = fake_hsm();
	struct ck_provider own = own_provider(&fake);
	struct ck_err err = { 0 };
	char long_spec[700] = "provider:x:aasp:";

	fake.kid = "imagekey000";
	put("eckey-info.json", "{\"public_key_path\":\"ec-pub.pem\",\"kms_endpoint\":\"h.example\","
			       "\"attester_endpoint\":\"m.example\"}");
	put("brokenkey-info.json", "{}");
	RECIPIENTS *r = recipients(&own, NULL);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (ck_recipients_add(r, rows[i].spec, &err) != rows[i].want)
			fail_msg("%s: %d %s", rows[i].spec, err.code, err.msg);
		assert_says(&err, rows[i].says);
	}
	/* A key id that is too long is not taken for a shorter one. */
	fake.kid = NULL;
	memset(long_spec + strlen(long_spec), 'a', 127);
	assert_rc(ck_recipients_add(r, long_spec, &err), 0, &err);
	strcat(long_spec, "/");
	memset(long_spec + strlen(long_spec), 'b', 128);
	assert_rc(ck_recipients_add(r, long_spec, &err), -EINVAL, &err);
	assert_int_equal(ck_recipients_count(r), 1);

	/* Where this process is no provider. */
	RECIPIENTS *none = recipients(NULL, NULL);
	assert_rc(ck_recipients_add(none, OURS, &err), -EINVAL, &err);
	assert_says(&err, "set " CONFIG " to the file that says how to reach this provider");
	assert_null(strstr(err.msg, "<key id>"));
	/* Or has no HSM to ask. */
	struct ck_provider wrapping = { .key_info_dir = dir };
	RECIPIENTS *bare = recipients(&wrapping, NULL);
	assert_rc(ck_recipients_add(bare, OURS, &err), -ENOENT, &err);
	assert_says(&err, "key imagekey000 is not known");
	assert_int_equal(ck_recipients_count(bare), 0);
	(void)unlink(in_dir("eckey-info.json"));
	(void)unlink(in_dir("brokenkey-info.json"));
}

/* Where it is set, the variable decides, even about keys that would be ours. */
static void the_configuration_comes_first(void **state)
{
	(void)state;
	struct fake_attest fake = fake_hsm();
	struct ck_provider own = own_provider(&fake);
	struct ck_err err = { 0 };

	put_config("{\"grpc\":\"unix:///nonexistent/s\"}", true);
	RECIPIENTS *r = recipients(&own, NULL);
	assert_rc(ck_recipients_add(r, "provider:third:aasp:imagekey000", &err), -ENOENT, &err);
	assert_says(&err, "lists no key provider named third");
	assert_rc(ck_recipients_add(r, OURS, &err), 0, &err);
	CK_JSON *a = json_object();
	assert_rc(wrap(r, a, &err), -ENOENT, &err);
	assert_says(&err, "wrapping a layer's key for provider:attestation-agent: key provider "
			  "attestation-agent: ");
	assert_int_equal(json_object_size(a), 0);
	assert_int_equal(fake.n_public, 0);
	put("config.json", "{");
	assert_rc(ck_recipients_add(r, OURS, &err), -EBADMSG, &err);
	assert_int_equal(unlink(in_dir("config.json")), 0);
	assert_rc(ck_recipients_add(r, OURS, &err), -ENOENT, &err);
	assert_int_equal(ck_recipients_count(r), 1);
}

/* Our own server, over TCP and a unix socket: what it wrapped it unwraps. */
static void by_a_grpc_provider(void **state)
{
	(void)state;
	struct fake_attest fake = fake_hsm();
	char listen[128] = "127.0.0.1:0", entry[256];
	struct ck_err err = { 0 };

	for (int i = 0; i < 2; i++) {
		struct provider_thread t;
		if (i)
			snprintf(listen, sizeof listen, "unix:%s", in_dir("s"));
		provider_start(&t, &fake, listen);
		snprintf(entry, sizeof entry, "{\"grpc\":\"%s\"}", t.target);
		put_config(entry, true);
		RECIPIENTS *r = recipients(NULL, OURS);
		assert_rc(ck_recipients_add(r, "provider:attestation-agent:skr:second", &err), 0,
			  &err);
		CK_JSON *a = wrapped(r);
		assert_int_equal(n_packets(a, AGENT), 2);
		assert_rc(opens(a, NULL, "provider:attestation-agent:aasp", &err), 0, &err);
		assert_rc(opens(a, &fake, "hsm", &err), 0, &err);

		/* What it refuses. */
		RECIPIENTS *keyless = recipients(NULL, "provider:attestation-agent");
		CK_JSON *none = json_object();
		assert_rc(wrap(keyless, none, &err), -EIO, &err);
		assert_says(&err, "the request names no key");
		assert_int_equal(json_object_size(none), 0);
		assert_int_equal(provider_stop(&t), 0);
		assert_rc(wrap(r, none, &err), i ? -ENOENT : -ECONNREFUSED, &err);
	}
}

static void by_a_program(void **state)
{
	(void)state;
	struct ck_err err = { 0 };

	put_config("{}", true);
	RECIPIENTS *r = recipients(NULL, "provider:other:anything");
	CK_JSON *a = wrapped(r);
	assert_string_equal(json_string_value(json_object_get(a, OTHER)), "eHl6");
	put_config("{}", false);
	assert_rc(wrap(r, a, &err), 0, &err); /* as it was when added */
	assert_string_equal(json_string_value(json_object_get(a, OTHER)), "eHl6,eHl6");
}

static void put_key(const char *name, EVP_PKEY *k, char form)
{
	FILE *f = fopen(in_dir(name), "w");
	int ok = 0;

	assert_non_null(f);
	if (form == 'p')
		ok = PEM_write_PUBKEY(f, k);
	else if (form == '8')
		ok = PEM_write_PrivateKey(f, k, NULL, NULL, 0, NULL, NULL);
	else if (form == 'e')
		ok = PEM_write_PKCS8PrivateKey(f, k, EVP_aes_128_cbc(), "pw", 2, NULL, NULL);
	else {
		BIO *bio = BIO_new_fp(f, BIO_NOCLOSE);
		ok = PEM_write_bio_PrivateKey_traditional(bio, k, NULL, NULL, 0, NULL, NULL);
		BIO_free(bio);
	}
	assert_int_equal(ok, 1);
	assert_int_equal(fclose(f), 0);
}

static void for_pem_keys(void **state)
{
	(void)state;
	static const char *const pubs[] = { "rsa-pub.pem", "ec-pub.pem", "rsa-cert.pem",
					    "ec-cert.pem" };
	const struct mint_cert cert = { .cn = "somebody", .from_s = -20, .till_s = -10 };
	EVP_PKEY *pair[] = { key, ec };
	struct ck_err err = { 0 };

	for (int i = 0; i < 2; i++) {
		X509 *c = mint_cert(&cert, pair[i], NULL, NULL);
		mint_pem_file(in_dir(pubs[2 + i]), c);
		X509_free(c);
		put_key(i ? "ec.pem" : "rsa.pem", pair[i], '8');
	}
	for (int i = 0; i < 4; i++) {
		RECIPIENTS *r = recipients(NULL, in_dir(pubs[i]));
		CK_JSON *a = wrapped(r);
		assert_int_equal(n_packets(a, JWE), 1);
		assert_rc(opens(a, NULL, in_dir(i % 2 ? "ec.pem" : "rsa.pem"), &err), 0, &err);
		assert_rc(opens(a, NULL, in_dir(i % 2 ? "rsa.pem" : "ec.pem"), &err), -ENOKEY,
			  &err);
	}
	/* One packet each, and both open. */
	RECIPIENTS *r = recipients(NULL, in_dir(pubs[0]));
	assert_rc(ck_recipients_add(r, in_dir(pubs[1]), &err), 0, &err);
	assert_int_equal(ck_recipients_count(r), 2);
	CK_JSON *a = wrapped(r);
	assert_int_equal(n_packets(a, JWE), 2);
	assert_rc(opens(a, NULL, in_dir("rsa.pem"), &err), 0, &err);
	assert_rc(opens(a, NULL, in_dir("ec.pem"), &err), 0, &err);
	for (int i = 2; i < 4; i++)
		(void)unlink(in_dir(pubs[i]));
}

static void pem_files_that_are_refused(void **state)
{
	(void)state;
	EVP_PKEY *ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), *weak = EVP_RSA_gen(1024),
		 *koblitz = EVP_EC_gen("secp256k1");
	CK_BUF both = { 0 };
	RECIPIENTS *r = recipients(NULL, NULL);
	struct ck_err err = { 0 };

	put_key("pkcs8.pem", key, '8');
	put_key("pkcs1.pem", key, 't');
	put_key("sec1.pem", ec, 't');
	put_key("ec8.pem", ec, '8');
	put_key("locked.pem", key, 'e');
	put_key("ed.pem", ed, 'p');
	put_key("weak.pem", weak, 'p');
	put_key("koblitz.pem", koblitz, 'p');
	put("junk.pem", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n");
	put("badcert.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
	put("empty.pem", "");
	assert_rc(ck_file_read(&both, in_dir("rsa-pub.pem"), &err), 0, &err);
	assert_rc(ck_file_read(&both, in_dir("sec1.pem"), &err), 0, &err);
	put("both.pem", ck_buf_str(&both));
	static const struct {
		const char *name, *says;
	} rows[] = {
		{ "pkcs8.pem", "private key; to encrypt, give its public half (openssl pkey" },
		{ "pkcs1.pem", "-pubout" },
		{ "sec1.pem", "-pubout" },
		{ "ec8.pem", "-pubout" },
		{ "locked.pem", "-pubout" },
		{ "both.pem", "-pubout" },
		{ "ed.pem", "neither RSA of 2048 bits or more nor EC" },
		{ "weak.pem", "neither RSA of 2048 bits or more nor EC" },
		{ "koblitz.pem", "neither RSA of 2048 bits or more nor EC" },
		{ "junk.pem", "does not hold a PEM public key or certificate" },
		{ "badcert.pem", "does not hold a PEM public key or certificate" },
		{ "empty.pem", "does not hold a PEM public key or certificate" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (ck_recipients_add(r, in_dir(rows[i].name), &err) != -EINVAL)
			fail_msg("%s was taken", rows[i].name);
		assert_says(&err, rows[i].says);
		assert_says(&err, rows[i].name);
		(void)unlink(in_dir(rows[i].name));
	}
	assert_int_equal(ck_recipients_count(r), 0);
	EVP_PKEY_free(ed);
	EVP_PKEY_free(weak);
	EVP_PKEY_free(koblitz);
}

/* Packets come behind those that are there, which stay as they are. */
static void packets_are_added_behind(void **state)
{
	(void)state;
	struct fake_attest fake = fake_hsm();
	struct ck_provider own = own_provider(&fake);
	CK_JSON *a =
	    json_pack("{s:s, s:s, s:s, s:s, s:s}", "title", "x", ENC "pubopts", skopeo_pubopts_one,
		      JWE, skopeo_jwe_one, AGENT, "e30=,e30=", OTHER, "");
	CK_JSON *before = json_deep_copy(a);
	struct ck_err err = { 0 };

	RECIPIENTS *r = recipients(&own, OURS);
	assert_rc(ck_recipients_add(r, "provider:other:aasp:k", &err), 0, &err);
	assert_rc(ck_recipients_add(r, in_dir("rsa-pub.pem"), &err), 0, &err);
	assert_rc(ck_recipients_add(r, "provider:third:aasp:k", &err), 0, &err);
	assert_rc(ck_recipients_add(r, in_dir("ec-pub.pem"), &err), 0, &err);
	assert_rc(wrap(r, a, &err), 0, &err);

	assert_int_equal(json_object_size(a), 6);
	assert_int_equal(n_packets(a, AGENT), 3);
	assert_int_equal(n_packets(a, OTHER), 1);
	assert_int_equal(n_packets(a, JWE), 3);
	assert_int_equal(n_packets(a, ENC "keys.provider.third"), 1);
	static const char *const grown[] = { JWE, AGENT };
	for (int i = 0; i < 2; i++) {
		const char *old = json_string_value(json_object_get(before, grown[i]));
		const char *new = json_string_value(json_object_get(a, grown[i]));
		assert_memory_equal(new, old, strlen(old));
		assert_int_equal(new[strlen(old)], ',');
	}
	assert_true(
	    json_equal(json_object_get(a, ENC "pubopts"), json_object_get(before, ENC "pubopts")));
	assert_true(json_equal(json_object_get(a, "title"), json_object_get(before, "title")));
}

/* A recipient for a layer that is encrypted already: unwrapped, wrapped, opened. */
static void for_one_more(void **state)
{
	(void)state;
	CK_AUTO(ck_keyring_closep) struct ck_keyring *k = NULL;
	CK_AUTO(ck_envelope_freep) struct ck_envelope *e = NULL, *e2 = NULL;
	CK_AUTO(ck_layer_key_freep) struct ck_layer_key *old = NULL, *new = NULL;
	CK_SECRET opts = { 0 };
	CK_JSON *a =
	    json_pack("{s:s, s:s}", JWE, skopeo_jwe_one, ENC "pubopts", skopeo_pubopts_one);
	struct ck_err err = { 0 };

	put("skopeo.pem", skopeo_ec_pem);
	put_key("rsa.pem", key, '8');
	assert_rc(ck_keyring_open(&k, NULL, &err), 0, &err);
	assert_rc(ck_keyring_add(k, in_dir("skopeo.pem"), &err), 0, &err);
	assert_rc(ck_envelope_parse(&e, a, &err), 0, &err);
	assert_rc(ck_keyring_unwrap(k, e, &old, &err), 0, &err);
	assert_rc(ck_keyring_unwrap_opts(k, e, &opts, &err), 0, &err);
	assert_int_equal(opts.len, 193);
	RECIPIENTS *r = recipients(NULL, in_dir("rsa-pub.pem"));
	assert_rc(ck_recipients_wrap(r, &opts, a, &err), 0, &err);
	ck_keyring_close(k);
	k = NULL;

	assert_rc(ck_keyring_open(&k, NULL, &err), 0, &err);
	assert_rc(ck_keyring_add(k, in_dir("rsa.pem"), &err), 0, &err);
	assert_rc(ck_envelope_parse(&e2, a, &err), 0, &err);
	assert_int_equal(e2->n_recipients, 2);
	assert_rc(ck_keyring_unwrap(k, e2, &new, &err), 0, &err);
	assert_memory_equal(new, old, sizeof *new);
}

/* The second of three fails: as if nobody had asked. */
static void all_or_nothing(void **state)
{
	(void)state;
	CK_JSON *a = json_pack("{s:s, s:s}", "title", "x", JWE, skopeo_jwe_one);
	CK_JSON *before = json_deep_copy(a);
	struct ck_err err = { 0 };

	put_config("{}", false);
	RECIPIENTS *r = recipients(NULL, in_dir("rsa-pub.pem"));
	assert_rc(ck_recipients_add(r, "provider:other", &err), 0, &err);
	assert_rc(ck_recipients_add(r, in_dir("ec-pub.pem"), &err), 0, &err);
	assert_rc(wrap(r, a, &err), -EIO, &err);
	assert_says(&err, "for provider:other: key provider other: ");
	assert_says(&err, "out of keys");
	assert_true(json_equal(a, before));
}

/* What our own reader refuses is not made. */
static void what_would_not_be_read_is_not_written(void **state)
{
	(void)state;
	CK_BUF many = { 0 };
	RECIPIENTS *r = recipients(NULL, in_dir("ec-pub.pem"));
	struct ck_err err = { 0 };

	for (int i = 0; i < 63; i++)
		assert_rc(ck_buf_adds(&many, i ? ",e30=" : "e30=", &err), 0, &err);
	CK_JSON *a = json_pack("{s:s}", AGENT, ck_buf_str(&many));
	assert_rc(wrap(r, a, &err), 0, &err); /* the 64th */
	assert_int_equal(json_object_size(a), 2);
	CK_JSON *full = json_deep_copy(a);
	assert_rc(wrap(r, a, &err), -EBADMSG, &err);
	assert_says(&err, "cannot be wrapped for all recipients");
	assert_says(&err, "more than 64 recipients");
	assert_true(json_equal(a, full));

	static const struct {
		const char *name;
		json_t *(*value)(void);
		const char *says;
	} rows[] = { { JWE, json_true, "not a string" },
		     { AGENT, json_true, "not a string" },
		     { ENC "pubopts", json_true, "not a string" } };
	for (size_t i = 0; i < 3; i++) {
		CK_JSON *bad = json_object(), *same = NULL;
		json_object_set_new(bad, rows[i].name, rows[i].value());
		same = json_deep_copy(bad);
		assert_rc(wrap(r, bad, &err), -EBADMSG, &err);
		assert_says(&err, rows[i].says);
		assert_true(json_equal(bad, same));
	}
	CK_JSON *garbage = json_pack("{s:s}", JWE, "!");
	assert_rc(wrap(r, garbage, &err), -EBADMSG, &err);
	CK_JSON *list = json_array();
	assert_rc(wrap(r, list, &err), -EINVAL, &err);
	assert_int_equal(json_array_size(list), 0);
}

static void counts_and_lengths(void **state)
{
	(void)state;
	CK_JSON *a = json_object();
	CK_SECRET empty = { 0 }, most = { 0 }, more = { 0 };
	RECIPIENTS *r = recipients(NULL, NULL);
	struct ck_err err = { 0 };

	assert_rc(ck_secret_new(&empty, 0, &err), 0, &err);
	assert_rc(ck_secret_new(&most, 8 << 10, &err), 0, &err);
	assert_rc(ck_secret_new(&more, (8 << 10) + 1, &err), 0, &err);
	assert_int_equal(ck_recipients_count(r), 0);
	assert_rc(ck_recipients_wrap(r, &most, a, &err), -EINVAL, &err);
	assert_says(&err, "nobody");
	for (size_t i = 0; i < 64; i++) {
		assert_rc(ck_recipients_add(r, in_dir("ec-pub.pem"), &err), 0, &err);
		assert_int_equal(ck_recipients_count(r), i + 1);
	}
	assert_rc(ck_recipients_add(r, in_dir("ec-pub.pem"), &err), -EINVAL, &err);
	assert_says(&err, "more than 64");
	assert_int_equal(ck_recipients_count(r), 64);
	assert_rc(ck_recipients_wrap(r, &empty, a, &err), -EINVAL, &err);
	assert_rc(ck_recipients_wrap(r, &more, a, &err), -EINVAL, &err);
	assert_int_equal(json_object_size(a), 0);
	assert_rc(ck_recipients_wrap(r, &most, a, &err), 0, &err);
	assert_int_equal(n_packets(a, JWE), 64);
}

/* ---- without memory ---- */

static json_malloc_t real_malloc;
static long n_left; /* allocations of JSON that still succeed; negative: all */

static void *failing_malloc(size_t nbytes)
{
	if (n_left == 0)
		return NULL;
	n_left -= n_left > 0;
	return real_malloc(nbytes);
}

/* Each allocation of JSON fails in turn: annotations are whole or as they were. */
static void memory_runs_out(void **state)
{
	(void)state;
	struct fake_attest fake = fake_hsm();
	struct ck_provider own = own_provider(&fake);
	RECIPIENTS *r = recipients(&own, OURS);
	json_free_t real_free;
	CK_SECRET opts = { 0 };
	struct ck_err err = { 0 };

	assert_rc(ck_recipients_add(r, in_dir("ec-pub.pem"), &err), 0, &err);
	/* Enough of them that the table has to grow when they are put in. */
	for (int i = 0; i < 8; i++) {
		char spec[64];
		snprintf(spec, sizeof spec, "provider:p%d:aasp:k", i);
		assert_rc(ck_recipients_add(r, spec, &err), 0, &err);
	}
	new_opts(&opts);
	json_get_alloc_funcs(&real_malloc, &real_free);
	bool failed = true;
	for (long at = 0; failed; at++) {
		CK_JSON *a = json_pack("{s:s, s:s}", "title", "x", JWE, skopeo_jwe_one);
		CK_JSON *before = json_deep_copy(a);
		json_set_alloc_funcs(failing_malloc, real_free);
		n_left = at;
		int rc = ck_recipients_wrap(r, &opts, a, &err);
		failed = n_left == 0;
		json_set_alloc_funcs(real_malloc, real_free);
		if (rc < 0) {
			assert_true(failed);
			assert_true(json_equal(a, before));
		} else {
			assert_int_equal(json_object_size(a), 2 + 9);
			assert_int_equal(n_packets(a, JWE), 2);
		}
		assert_true(at < 100000);
	}
}

/* ---- many layers at once ---- */

struct worker {
	const struct ck_recipients *r;
	json_t *a;
	struct ck_err err;
	int rc;
	pthread_t thread;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	CK_SECRET opts = { 0 };

	w->rc = ck_newopts_private(&opts, &layer_key, "sha256:00", &w->err);
	for (int i = 0; w->rc == 0 && i < 5; i++)
		w->rc = ck_recipients_wrap(w->r, &opts, w->a, &w->err);
	return NULL;
}

static void on_many_threads(void **state)
{
	(void)state;
	struct fake_attest fake = fake_hsm();
	struct ck_provider own = own_provider(&fake);
	RECIPIENTS *r = recipients(&own, OURS);
	struct worker w[4];
	struct ck_err err = { 0 };

	assert_rc(ck_recipients_add(r, in_dir("ec-pub.pem"), &err), 0, &err);
	assert_rc(ck_recipients_add(r, in_dir("rsa-pub.pem"), &err), 0, &err);
	put_config("{}", true);
	assert_rc(ck_recipients_add(r, "provider:other", &err), 0, &err);
	for (int i = 0; i < 4; i++) {
		w[i] = (struct worker){ .r = r, .a = json_object() };
		assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	}
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_join(w[i].thread, NULL), 0);
	for (int i = 0; i < 4; i++) {
		assert_rc(w[i].rc, 0, &w[i].err);
		assert_int_equal(n_packets(w[i].a, AGENT), 5);
		assert_int_equal(n_packets(w[i].a, JWE), 10);
		assert_int_equal(n_packets(w[i].a, OTHER), 5);
		assert_rc(ck_newopts_public(w[i].a, &layer_key, &err), 0, &err);
		assert_rc(opens(w[i].a, &fake, "hsm", &err), 0, &err);
		json_decref(w[i].a);
	}
}

/* Each test begins without the variable. */
static int unset(void **state)
{
	(void)state;
	return unsetenv(CONFIG);
}

static int init(void **state)
{
	struct ck_err err;

	(void)state;
	snprintf(dir, sizeof dir, "/tmp/ck-test-recipients.XXXXXX");
	if (ck_secret_init(&err) || !mkdtemp(dir) || !(key = EVP_RSA_gen(2048)) ||
	    !(ec = EVP_EC_gen("P-384")))
		return -1;
	put_key("rsa-pub.pem", key, 'p');
	put_key("ec-pub.pem", ec, 'p');
	return 0;
}

static int clean(void **state)
{
	(void)state;
	static const char *const names[] = { "config.json", "rsa-pub.pem", "ec-pub.pem",
					     "rsa.pem",	    "ec.pem",	   "skopeo.pem" };

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		(void)unlink(in_dir(names[i]));
	EVP_PKEY_free(key);
	EVP_PKEY_free(ec);
	return rmdir(dir);
}

#define TEST(f) cmocka_unit_test_setup(f, unset)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(this_process_itself),
		TEST(specs_that_are_none),
		TEST(the_configuration_comes_first),
		TEST(by_a_grpc_provider),
		TEST(by_a_program),
		TEST(for_pem_keys),
		TEST(pem_files_that_are_refused),
		TEST(packets_are_added_behind),
		TEST(for_one_more),
		TEST(all_or_nothing),
		TEST(what_would_not_be_read_is_not_written),
		TEST(counts_and_lengths),
		TEST(memory_runs_out),
		TEST(on_many_threads),
	};

	return cmocka_run_group_tests(tests, init, clean);
}
