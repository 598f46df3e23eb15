#include "tests/fault/jwt.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fault/util.h"

struct fr_jwt {
	EVP_PKEY *key;
	char *head; /* base64url */
};

struct fr_jwt *fr_jwt_open(const char *key_file, const char *cert_file)
{
	struct fr_jwt *j = fr_alloc(sizeof *j);
	FILE *k = fopen(key_file, "re"), *c = fopen(cert_file, "re");
	X509 *cert = c ? PEM_read_X509(c, NULL, NULL, NULL) : NULL;
	unsigned char *der = NULL;

	j->key = k ? PEM_read_PrivateKey(k, NULL, NULL, NULL) : NULL;
	int len = cert ? i2d_X509(cert, &der) : -1;
	if (!j->key || len <= 0)
		fr_die("no key in %s or no certificate in %s", key_file, cert_file);
	char *x5c = fr_base64_encode(der, (size_t)len, false);
	json_t *head = json_pack("{s:s, s:s, s:[s]}", "typ", "JWT", "alg", "RS256", "x5c", x5c);
	char *text = json_dumps(head, JSON_COMPACT);
	j->head = fr_base64_encode(text, strlen(text), true);
	free(text);
	json_decref(head);
	free(x5c);
	OPENSSL_free(der);
	X509_free(cert);
	(void)fclose(k);
	(void)fclose(c);
	return j;
}

char *fr_jwt_sign(const struct fr_jwt *j, json_t *claims)
{
	char *text = json_dumps(claims, JSON_COMPACT);
	char *body = fr_base64_encode(text, strlen(text), true);
	size_t cap = strlen(j->head) + strlen(body) + 1200, len = 768;
	char *token = fr_alloc(cap);
	unsigned char sig[768];
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	(void)snprintf(token, cap, "%s.%s", j->head, body);
	if (EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, j->key) != 1 ||
	    EVP_DigestSign(ctx, sig, &len, (const unsigned char *)token, strlen(token)) != 1)
		fr_die("cannot sign a token");
	EVP_MD_CTX_free(ctx);
	char *last = fr_base64_encode(sig, len, true);
	fr_append(token, cap, ".%s", last);
	free(last);
	free(body);
	free(text);
	return token;
}
