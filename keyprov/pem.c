#include "keyprov/pem.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

#include "base/file.h"
#include "keyprov/oaep.h"

enum { FILE_MAX = 64 << 10, MIN_RSA_BYTES = 256 };

/* Instead of OpenSSL's own, which would ask the terminal. */
static int no_password(char *buf, int cap, int rwflag, void *ctx)
{
	(void)buf, (void)cap, (void)rwflag, (void)ctx;
	return -1;
}

static bool usable(const EVP_PKEY *key)
{
	static const char *const groups[] = { "prime256v1", "secp384r1", "secp521r1" };
	char group[64];

	if (ck_rsa_size(key))
		return ck_rsa_size(key) >= MIN_RSA_BYTES;
	if (!EVP_PKEY_is_a(key, "EC") ||
	    EVP_PKEY_get_group_name(key, group, sizeof group, NULL) <= 0)
		return false;
	for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
		if (strcmp(group, groups[i]) == 0)
			return true;
	return false;
}

/* What is looked for in a file. */
struct wanted {
	EVP_PKEY *(*read)(BIO *, EVP_PKEY **, pem_password_cb *, void *);
	const char *name;
	bool no_private; /* a private key beside it is an error */
};

static int load(EVP_PKEY **out, const char *path, const struct wanted *w, struct ck_err *err)
{
	CK_BUF text = { .max = FILE_MAX };
	int rc = ck_file_read(&text, path, err);

	if (rc < 0)
		return rc;
	const char *s = ck_buf_str(&text);
	/* OpenSSL would take the public half out of some forms of them. */
	if (w->no_private && strstr(s, "PRIVATE KEY-----"))
		return ck_fail(err, -EINVAL,
			       "%s holds a private key; to encrypt, give its public half (openssl "
			       "pkey -in FILE -pubout)",
			       path);
	if (strstr(s, "-----BEGIN ENCRYPTED PRIVATE KEY-----") || strstr(s, "4,ENCRYPTED"))
		return ck_fail(err, -EINVAL,
			       "%s is encrypted with a password, which is not supported; "
			       "decrypt it first (openssl pkey)",
			       path);
	BIO *bio = BIO_new_mem_buf(s, (int)text.len);
	EVP_PKEY *key = bio ? w->read(bio, NULL, no_password, NULL) : NULL;
	BIO_free(bio);
	ERR_clear_error();
	if (!key)
		return ck_fail(err, -EINVAL, "%s does not hold a PEM %s", path, w->name);
	if (!usable(key)) {
		EVP_PKEY_free(key);
		return ck_fail(err, -EINVAL,
			       "the key in %s is neither RSA of 2048 bits or more nor EC on "
			       "P-256, P-384 or P-521",
			       path);
	}
	*out = key;
	return 0;
}

int ck_pem_private(EVP_PKEY **out, const char *path, struct ck_err *err)
{
	static const struct wanted w = { PEM_read_bio_PrivateKey, "private key", false };

	return load(out, path, &w, err);
}

int ck_pem_public(EVP_PKEY **out, const char *path, struct ck_err *err)
{
	static const struct wanted w = { PEM_read_bio_PUBKEY, "public key", false };

	return load(out, path, &w, err);
}

static EVP_PKEY *read_recipient(BIO *bio, EVP_PKEY **out, pem_password_cb *cb, void *ctx)
{
	EVP_PKEY *key = PEM_read_bio_PUBKEY(bio, out, cb, ctx);

	if (key || BIO_reset(bio) <= 0)
		return key;
	X509 *cert = PEM_read_bio_X509(bio, NULL, cb, ctx);
	key = cert ? X509_get_pubkey(cert) : NULL;
	X509_free(cert);
	return key;
}

int ck_pem_recipient(EVP_PKEY **out, const char *path, struct ck_err *err)
{
	static const struct wanted w = { read_recipient, "public key or certificate", true };

	return load(out, path, &w, err);
}
