#include "tools/azsim/ca.h"

#include "tools/azsim/dir.h"

enum { DAY = 86400, YEAR = 365 * DAY };

int az_ca_open(struct az_ca *ca, const char *dir, struct ck_err *err)
{
	int rc = az_pkey_keep(&ca->root_key, az_path(dir, "ca/root-key.pem").s, "RSA:2048", err);
	if (rc == 0)
		rc = az_pkey_keep(&ca->issuing_key, az_path(dir, "ca/issuing-key.pem").s,
				  "RSA:2048", err);
	struct az_cert_spec root = { .cn = "azsim Root CA",
				     .org = "azsim",
				     .key = ca->root_key,
				     .from_s = -DAY,
				     .to_s = 20L * YEAR,
				     .ca = true };
	if (rc == 0)
		rc = az_cert_keep(&ca->root, az_path(dir, "ca/root.pem").s, &root, err);
	struct az_cert_spec issuing = { .cn = "azsim TLS Issuing CA 01",
					.org = "azsim",
					.key = ca->issuing_key,
					.issuer = ca->root,
					.issuer_key = ca->root_key,
					.from_s = -DAY,
					.to_s = 10L * YEAR,
					.ca = true };
	if (rc == 0)
		rc = az_cert_keep(&ca->issuing, az_path(dir, "ca/issuing.pem").s, &issuing, err);
	if (rc == 0)
		rc = az_cert_save(ca->root, az_path(dir, "ca.pem").s, err);
	return rc < 0 ? ck_wrap(err, "cannot open the certificate authority") : 0;
}

void az_ca_close(struct az_ca *ca)
{
	X509_free(ca->root);
	X509_free(ca->issuing);
	EVP_PKEY_free(ca->root_key);
	EVP_PKEY_free(ca->issuing_key);
}

int az_ca_leaf(X509 **out, const struct az_ca *ca, EVP_PKEY *key, const char *const *names,
	       size_t n_names, long from_s, long to_s, struct ck_err *err)
{
	struct az_cert_spec leaf = { .cn = names[0],
				     .org = "azsim",
				     .dns = names,
				     .n_dns = n_names,
				     .key = key,
				     .issuer = ca->issuing,
				     .issuer_key = ca->issuing_key,
				     .from_s = from_s,
				     .to_s = to_s,
				     .tls = true };

	return az_cert_make(out, &leaf, err);
}
