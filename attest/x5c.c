#include "attest/x5c.h"

#include <errno.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/json.h"

enum { CERTS_MAX = 10, CERT_MAX = 64 << 10 };

static void stack_freep(STACK_OF(X509) * *s)
{
	sk_X509_pop_free(*s, X509_free);
}
#define CERT_STACK CK_AUTO(stack_freep) STACK_OF(X509)

static int add_cert(STACK_OF(X509) * chain, const json_t *entry, struct ck_buf *der,
		    struct ck_err *err)
{
	const char *text = json_string_value(entry);

	if (!text)
		return ck_fail(err, -EBADMSG, "x5c holds something other than text");
	int rc = ck_b64_decode(der, CK_B64_STD, text, strlen(text), err);
	if (rc < 0)
		return ck_wrap(err, "x5c");
	const unsigned char *at = der->data;
	X509 *cert = d2i_X509(NULL, &at, (long)der->len);
	if (!cert || at != der->data + der->len) {
		X509_free(cert);
		return ck_fail(err, -EBADMSG, "x5c holds a malformed certificate");
	}
	if (sk_X509_push(chain, cert) <= 0) {
		X509_free(cert);
		return ck_nomem(err, "reading x5c");
	}
	return 0;
}

static int check_thumbprint(const json_t *header, const struct ck_buf *leaf, struct ck_err *err)
{
	CK_BUF want = { 0 };
	uint8_t is[CK_SHA256_LEN];

	int rc = ck_json_b64(&want, header, "x5t#S256", CK_B64_URL, false, err);
	if (rc < 0 || !json_object_get(header, "x5t#S256"))
		return rc;
	ck_sha256(is, leaf->data, leaf->len);
	if (want.len != sizeof is || memcmp(want.data, is, sizeof is) != 0)
		return ck_fail(err, -EBADMSG, "x5t#S256 is not of the first x5c certificate");
	return 0;
}

static int read_chain(STACK_OF(X509) * chain, const json_t *header, struct ck_err *err)
{
	json_t *x5c;
	const json_t *entry;
	size_t i;

	int rc = ck_json_arr(&x5c, header, "x5c", true, err);
	if (rc < 0)
		return rc;
	if (json_array_size(x5c) < 1 || json_array_size(x5c) > CERTS_MAX)
		return ck_fail(err, -EBADMSG, "x5c holds %zu certificates", json_array_size(x5c));
	json_array_foreach (x5c, i, entry) {
		CK_BUF der = { .max = CERT_MAX };
		rc = add_cert(chain, entry, &der, err);
		if (rc == 0 && i == 0)
			rc = check_thumbprint(header, &der, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static X509_STORE *roots(const char *ca_file, struct ck_err *err)
{
	X509_STORE *store = X509_STORE_new();

	if (store && (ca_file ? X509_STORE_load_file(store, ca_file)
			      : X509_STORE_set_default_paths(store)) == 1)
		return store;
	X509_STORE_free(store);
	ck_fail(err, -EINVAL, "cannot read the roots in %s", ca_file ? ca_file : "the system");
	return NULL;
}

static int verify(STACK_OF(X509) * chain, const char *host, X509_STORE *store, struct ck_err *err)
{
	X509 *leaf = sk_X509_value(chain, 0);
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	int rc = 0;

	if (!ctx || X509_STORE_CTX_init(ctx, store, leaf, chain) != 1 ||
	    X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER) != 1)
		rc = ck_nomem(err, "verifying a certificate chain");
	else if (X509_verify_cert(ctx) != 1)
		rc = ck_fail(err, -EBADMSG, "its certificate is not trusted: %s",
			     X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
	else if (X509_check_host(leaf, host, 0,
				 X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
				     X509_CHECK_FLAG_NEVER_CHECK_SUBJECT,
				 NULL) != 1)
		rc = ck_fail(err, -EBADMSG, "its certificate is not for host %s", host);
	X509_STORE_CTX_free(ctx);
	return rc;
}

int ck_x5c_verify(EVP_PKEY **out, const json_t *header, const char *host, const char *ca_file,
		  struct ck_err *err)
{
	CERT_STACK *chain = sk_X509_new_null();

	if (!chain)
		return ck_nomem(err, "reading x5c");
	int rc = read_chain(chain, header, err);
	if (rc < 0)
		return rc;
	X509_STORE *store = roots(ca_file, err);
	if (!store)
		return -EINVAL;
	rc = verify(chain, host, store, err);
	X509_STORE_free(store);
	if (rc == 0 && !(*out = X509_get_pubkey(sk_X509_value(chain, 0))))
		rc = ck_fail(err, -EBADMSG, "its certificate has no usable key");
	return rc;
}
