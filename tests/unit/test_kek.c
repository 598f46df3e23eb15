#include "tests/unit/lib/rc.h"

#include <errno.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/json.h"
#include "keyprov/kek.h"
#include "keyprov/pem.h"
#include "tests/unit/lib/fake_attest.h"

static char dir[64];
static EVP_PKEY *key;

static void path_in(char out[256], const char *name)
{
	snprintf(out, 256, "%s/%s", dir, name);
}

static void put(const char *name, const char *text)
{
	char path[256];
	struct ck_err err = { 0 };

	path_in(path, name);
	assert_rc(ck_file_write(path, text, strlen(text), 0600, &err), 0, &err);
}

/* The PEM of KEY's public half, or with CIPHER or KIND of the private one. */
static void put_pem(const char *name, EVP_PKEY *k, char kind)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *p;

	if (kind == 'p')
		PEM_write_bio_PUBKEY(bio, k);
	else if (kind == 't')
		PEM_write_bio_PrivateKey_traditional(bio, k, NULL, NULL, 0, NULL, NULL);
	else if (kind == 'e')
		PEM_write_bio_PKCS8PrivateKey(bio, k, EVP_aes_128_cbc(), "pw", 2, NULL, NULL);
	else if (kind == 'l')
		PEM_write_bio_PrivateKey_traditional(bio, k, EVP_aes_128_cbc(),
						     (unsigned char *)"pw", 2, NULL, NULL);
	else
		PEM_write_bio_PKCS8PrivateKey(bio, k, NULL, NULL, 0, NULL, NULL);
	BIO_write(bio, "", 1);
	BIO_get_mem_data(bio, &p);
	put(name, p);
	BIO_free(bio);
}

static const struct {
	const char *kid;
	int want;
} kids[] = {
	{ "imagekey000", 0 },
	{ "my_key.v1-2", 0 },
	{ "k/0123456789abcdef0123456789abcdef", 0 },
	{ "", -EINVAL },
	{ ".", -EINVAL },
	{ "..", -EINVAL },
	{ "../k", -EINVAL },
	{ "/k", -EINVAL },
	{ "k/", -EINVAL },
	{ "k//v", -EINVAL },
	{ "k/../v", -EINVAL },
	{ "a/b/c", -EINVAL },
	{ ".hidden", -EINVAL },
	{ "k.", -EINVAL },
	{ "k?x=1", -EINVAL },
	{ "k#f", -EINVAL },
	{ "k@h", -EINVAL },
	{ "k%2e", -EINVAL },
	{ "k\\v", -EINVAL },
	{ "k v", -EINVAL },
	{ "k\n", -EINVAL },
	{ "k\xc3\xa4", -EINVAL },
	{ "kbs:///r/t/g", -EINVAL },
};

static void kids_table(void **state)
{
	(void)state;
	char long_kid[130];
	struct ck_err err = { 0 };

	for (size_t i = 0; i < sizeof kids / sizeof kids[0]; i++)
		if (ck_kid_check(kids[i].kid, &err) != kids[i].want)
			fail_msg("\"%s\"", kids[i].kid);
	memset(long_kid, 'k', sizeof long_kid);
	long_kid[127] = 0;
	assert_rc(ck_kid_check(long_kid, &err), 0, &err);
	long_kid[127] = 'k';
	long_kid[128] = 0;
	assert_rc(ck_kid_check(long_kid, &err), -EINVAL, &err);
}

#define HOSTS "\"kms_endpoint\":\"hsm.example\",\"attester_endpoint\":\"maa.example\"}"

static const struct {
	const char *why, *info;
	int want;
	const char *says;
} infos[] = {
	{ "as AASP's", "{\"public_key_path\":\"pub.pem\"," HOSTS, 0, "" },
	{ "more keys than we know", "{\"x\":1,\"public_key_path\":\"pub.pem\"," HOSTS, 0, "" },
	{ "no key", "{" HOSTS, -EBADMSG, "public_key_path" },
	{ "no hosts", "{\"public_key_path\":\"pub.pem\"}", -EBADMSG, "kms_endpoint" },
	{ "a URL for a host",
	  "{\"public_key_path\":\"pub.pem\",\"kms_endpoint\":\"https://hsm.example\","
	  "\"attester_endpoint\":\"m\"}",
	  -EINVAL, "bare host name" },
	{ "PEM missing: an error, not a key of another place",
	  "{\"public_key_path\":\"none.pem\"," HOSTS, -EINVAL, "none.pem" },
	{ "PEM is a private key", "{\"public_key_path\":\"priv.pem\"," HOSTS, -EINVAL,
	  "public key" },
	{ "EC key", "{\"public_key_path\":\"ec.pem\"," HOSTS, -EINVAL, "RSA" },
	{ "not JSON", "{", -EBADMSG, "not valid JSON" },
	{ "a list", "[]", -EBADMSG, "not a JSON object" },
};

static void infos_table(void **state)
{
	(void)state;
	struct fake_attest fake = { .key = key, .block_fd = -1 };
	struct ck_provider p = { .attest = fake_as_attest(&fake),
				 .key_info_dir = dir,
				 .hsm_host = "other.example",
				 .maa_host = "m" };
	char prefix[256];

	path_in(prefix, "k");
	for (size_t i = 0; i < sizeof infos / sizeof infos[0]; i++) {
		CK_BUF out = { 0 }, once = { 0 };
		struct ck_err err = { 0 };
		put("k-info.json", infos[i].info);
		if (ck_kek_wrap(&p, "k", "x", 1, &out, &err) != infos[i].want)
			fail_msg("%s: %s", infos[i].why, err.msg);
		assert_says(&err, infos[i].says);
		assert_int_equal(ck_provider_wrap(&p, prefix, "x", 1, &once, &err), infos[i].want);
		if (infos[i].want == 0)
			assert_non_null(strstr(ck_buf_str(&out), "\"hsm.example\""));
	}
	assert_int_equal(fake.n_public, 0); /* a broken file never falls back to the HSM */
}

static void hsm_is_asked_where_no_file_is(void **state)
{
	(void)state;
	struct fake_attest fake = { .key = key, .block_fd = -1 };
	struct ck_provider p = { .attest = fake_as_attest(&fake), .key_info_dir = dir };
	CK_BUF out = { 0 };
	struct ck_err err = { 0 };

	put("k-info.json", infos[0].info);
	assert_rc(ck_kek_wrap(&p, "other", "x", 1, &out, &err), -ENOENT, &err);
	p.hsm_host = "hsm2.example";
	p.maa_host = "maa2.example";
	assert_rc(ck_kek_wrap(&p, "other", "x", 1, &out, &err), 0, &err);
	assert_non_null(strstr(ck_buf_str(&out), "\"kms_endpoint\":\"hsm2.example\""));
	/* A version's public half only the HSM knows, though there is a file for the name. */
	char sub[256];
	path_in(sub, "k");
	assert_int_equal(mkdir(sub, 0700), 0);
	put("k/0123-info.json", "not for this"); /* nor is a version a path */
	assert_rc(ck_kek_wrap(&p, "k/0123", "x", 1, &out, &err), 0, &err);
	path_in(sub, "k/0123-info.json");
	assert_int_equal(unlink(sub), 0);
	path_in(sub, "k");
	assert_int_equal(rmdir(sub), 0);
	assert_int_equal(fake.n_public, 2);
	assert_rc(ck_kek_wrap(&p, "../k", "x", 1, &out, &err), -EINVAL, &err);
	fake.fail = -EACCES;
	assert_rc(ck_kek_wrap(&p, "other", "x", 1, &out, &err), -EACCES, &err);
}

static void one_shot_files(void **state)
{
	(void)state;
	struct fake_attest fake = { .key = key, .block_fd = -1, .kid = "k" };
	struct ck_provider p = { .attest = fake_as_attest(&fake) };
	char prefix[256];
	CK_BUF text = { 0 }, back = { 0 };
	struct ck_err err = { 0 };

	put("k-info.json", infos[0].info);
	path_in(prefix, "k");
	assert_rc(ck_provider_wrap(&p, prefix, "a secret", 8, &text, &err), 0, &err);
	assert_rc(ck_provider_unwrap(&p, ck_buf_str(&text), text.len, &back, &err), 0, &err);
	assert_string_equal(ck_buf_str(&back), "a secret");
	assert_rc(ck_buf_adds(&text, "\n", &err), 0, &err); /* through an editor */
	assert_rc(ck_provider_unwrap(&p, ck_buf_str(&text), text.len, &back, &err), 0, &err);
	assert_rc(ck_provider_unwrap(&p, "?", 1, &back, &err), -EBADMSG, &err);
	path_in(prefix, "none");
	assert_rc(ck_provider_wrap(&p, prefix, "a", 1, &text, &err), -ENOENT, &err);
}

static void hosts_and_kids_of_packets(void **state)
{
	(void)state;
	struct fake_attest fake = { .key = key, .block_fd = -1 };
	struct ck_provider p = { .attest = fake_as_attest(&fake) };
	struct ck_packet packet = {
		.kind = CK_PACKET_RSA, .kid = "../../k", .hsm_host = "h", .maa_host = "m"
	};
	CK_SECRET out = { 0 };
	struct ck_err err = { 0 };

	assert_rc(ck_kek_unwrap(&p, &packet, &out, &err), -EINVAL, &err);
	packet.kid = "k";
	packet.maa_host = NULL;
	assert_rc(ck_kek_unwrap(&p, &packet, &out, &err), -EBADMSG, &err);
	packet.kind = CK_PACKET_FOREIGN;
	assert_rc(ck_kek_unwrap(&p, &packet, &out, &err), -ENOTSUP, &err);
	assert_int_equal(fake.n_private, 0); /* the HSM was asked nothing */
	packet.kind = CK_PACKET_RSA;
	p.maa_host = "ours.example"; /* our own configuration fills in */
	assert_rc(ck_kek_unwrap(&p, &packet, &out, &err), -EBADMSG, &err);
	assert_int_equal(fake.n_private, 1);
	fake.fail = -EPERM;
	assert_rc(ck_kek_unwrap(&p, &packet, &out, &err), -EPERM, &err);
	assert_says(&err, "refused (fake)");
}

static void pem_files(void **state)
{
	(void)state;
	static const struct {
		const char *why;
		char kind;
		bool ec;
		int want;
		const char *says;
	} rows[] = {
		{ "PKCS#8", '8', false, 0, "" },
		{ "PKCS#1", 't', false, 0, "" },
		{ "PKCS#8 EC", '8', true, 0, "" },
		{ "SEC1", 't', true, 0, "" },
		{ "encrypted PKCS#8", 'e', false, -EINVAL, "encrypted with a password" },
		{ "encrypted PKCS#1", 'l', false, -EINVAL, "encrypted with a password" },
		{ "encrypted SEC1", 'l', true, -EINVAL, "encrypted with a password" },
		{ "a public key", 'p', false, -EINVAL, "PEM private key" },
	};
	EVP_PKEY *ec = EVP_EC_gen("P-384"), *odd = EVP_EC_gen("secp256k1"), *got = NULL;
	EVP_PKEY *small = EVP_RSA_gen(1024);
	char path[256];
	struct ck_err err = { 0 };

	path_in(path, "x.pem");
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		put_pem("x.pem", rows[i].ec ? ec : key, rows[i].kind);
		if (ck_pem_private(&got, path, &err) != rows[i].want)
			fail_msg("%s: %s", rows[i].why, err.msg);
		if (rows[i].want) {
			assert_says(&err, rows[i].says);
			continue;
		}
		assert_int_equal(EVP_PKEY_eq(got, rows[i].ec ? ec : key), 1);
		EVP_PKEY_free(got);
	}
	put_pem("x.pem", odd, '8');
	assert_rc(ck_pem_private(&got, path, &err), -EINVAL, &err);
	assert_says(&err, "P-256");
	put_pem("x.pem", small, '8');
	assert_rc(ck_pem_private(&got, path, &err), -EINVAL, &err);
	put("x.pem", "not a key\n");
	assert_rc(ck_pem_private(&got, path, &err), -EINVAL, &err);
	put("x.pem", "");
	assert_rc(ck_pem_private(&got, path, &err), -EINVAL, &err);
	path_in(path, "none.pem");
	assert_rc(ck_pem_private(&got, path, &err), -ENOENT, &err);
	assert_rc(ck_pem_private(&got, dir, &err), -EISDIR, &err);
	EVP_PKEY_free(ec);
	EVP_PKEY_free(odd);
	EVP_PKEY_free(small);
}

/* openssl ecparam -genkey puts the parameters before the key. */
static void parameters_before_the_key(void **state)
{
	(void)state;
	EVP_PKEY *ec = EVP_EC_gen("P-256"), *got = NULL;
	BIO *bio = BIO_new(BIO_s_mem());
	char path[256], *p;
	struct ck_err err = { 0 };

	PEM_write_bio_Parameters(bio, ec);
	PEM_write_bio_PrivateKey_traditional(bio, ec, NULL, NULL, 0, NULL, NULL);
	BIO_write(bio, "", 1);
	BIO_get_mem_data(bio, &p);
	put("x.pem", p);
	path_in(path, "x.pem");
	assert_rc(ck_pem_private(&got, path, &err), 0, &err);
	assert_int_equal(EVP_PKEY_eq(got, ec), 1);
	BIO_free(bio);
	EVP_PKEY_free(got);
	EVP_PKEY_free(ec);
}

static int init(void **state)
{
	struct ck_err err;
	EVP_PKEY *ec = EVP_EC_gen("P-256");

	(void)state;
	snprintf(dir, sizeof dir, "/tmp/ck-test-kek.XXXXXX");
	if (ck_secret_init(&err) || !mkdtemp(dir) || !(key = EVP_RSA_gen(2048)))
		return -1;
	put_pem("pub.pem", key, 'p');
	put_pem("priv.pem", key, '8');
	put_pem("ec.pem", ec, 'p');
	EVP_PKEY_free(ec);
	return 0;
}

static int clean(void **state)
{
	static const char *const names[] = { "pub.pem", "priv.pem", "ec.pem", "x.pem",
					     "k-info.json" };
	char path[256];

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		path_in(path, names[i]);
		(void)unlink(path);
	}
	EVP_PKEY_free(key);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kids_table),
		cmocka_unit_test(infos_table),
		cmocka_unit_test(hsm_is_asked_where_no_file_is),
		cmocka_unit_test(one_shot_files),
		cmocka_unit_test(hosts_and_kids_of_packets),
		cmocka_unit_test(pem_files),
		cmocka_unit_test(parameters_before_the_key),
	};

	return cmocka_run_group_tests(tests, init, clean);
}
