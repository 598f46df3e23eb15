#include "keyprov/packet.h"

#include <errno.h>
#include <openssl/rand.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "keyprov/aead.h"
#include "keyprov/oaep.h"

enum { CEK_LEN = 32, MIN_RSA_BYTES = 256 };

static enum ck_packet_kind kind_of(const char *wrap_type)
{
	if (!wrap_type)
		return CK_PACKET_RSA;
	if (strcmp(wrap_type, CK_WRAP_HYBRID) == 0)
		return CK_PACKET_HYBRID;
	/* Every other label is taken for a plain RSA block, as AASP does. */
	return strncasecmp(wrap_type, "A256", 4) == 0 ? CK_PACKET_FOREIGN : CK_PACKET_RSA;
}

int ck_packet_parse(struct ck_packet *out, const void *p, size_t nbytes, struct ck_err *err)
{
	*out = (struct ck_packet){ 0 };
	if (nbytes > CK_PACKET_MAX)
		return ck_fail(err, -EFBIG, "a packet of %zu bytes is above the limit of %d",
			       nbytes, CK_PACKET_MAX);
	/* Without the parser's text, which quotes: a server's inputs stay out of messages. */
	if (ck_json_parse(&out->doc, p, nbytes, "", NULL) < 0 || !json_is_object(out->doc))
		return ck_fail(err, -EBADMSG, "the packet is not a JSON object");
	if (ck_json_str(&out->kid, out->doc, "kid", true, err) < 0 ||
	    ck_json_str(&out->wrap_type, out->doc, "wrap_type", false, err) < 0 ||
	    ck_json_str(&out->hsm_host, out->doc, "kms_endpoint", false, err) < 0 ||
	    ck_json_str(&out->maa_host, out->doc, "attester_endpoint", false, err) < 0 ||
	    ck_json_b64(&out->wrapped, out->doc, "wrapped_data", CK_B64_STD, true, err) < 0 ||
	    ck_json_b64(&out->iv, out->doc, "iv", CK_B64_STD, false, err) < 0)
		return ck_wrap(err, "packet");
	out->kind = kind_of(out->wrap_type);
	return 0;
}

void ck_packet_free(struct ck_packet *packet)
{
	ck_buf_free(&packet->wrapped);
	ck_buf_free(&packet->iv);
	json_decref(packet->doc);
	*packet = (struct ck_packet){ 0 };
}

static int add_b64(json_t *doc, const char *key, const void *p, size_t nbytes, struct ck_err *err)
{
	CK_BUF text = { 0 };
	int rc = ck_b64_encode(&text, CK_B64_STD, p, nbytes, err);

	if (rc == 0 && json_object_set_new(doc, key, json_string(ck_buf_str(&text))) < 0)
		rc = ck_nomem(err, "making a packet");
	return rc;
}

static int emit(struct ck_buf *out, const struct ck_packet_names *names, const char *wrap_type,
		const struct ck_buf *wrapped, const struct ck_buf *iv, struct ck_err *err)
{
	CK_JSON *doc = json_pack("{s:s}", "kid", names->kid);
	int rc;

	if (!doc)
		return ck_nomem(err, "making a packet");
	if ((rc = add_b64(doc, "wrapped_data", wrapped->data, wrapped->len, err)) < 0 ||
	    (iv->len && (rc = add_b64(doc, "iv", iv->data, iv->len, err)) < 0))
		return rc;
	if (json_object_set_new(doc, "wrap_type", json_string(wrap_type)) < 0 ||
	    (names->hsm_host &&
	     json_object_set_new(doc, "kms_endpoint", json_string(names->hsm_host)) < 0) ||
	    (names->maa_host &&
	     json_object_set_new(doc, "attester_endpoint", json_string(names->maa_host)) < 0))
		return ck_nomem(err, "making a packet");
	return ck_json_dump(out, doc, err);
}

/* WRAPPED gets the OAEP block of a fresh key, then ciphertext and tag of P. */
static int wrap_hybrid(EVP_PKEY *key, const void *p, size_t nbytes, struct ck_buf *wrapped,
		       struct ck_buf *iv, struct ck_err *err)
{
	CK_SECRET cek = { 0 };
	uint8_t fresh_iv[CK_GCM_IV];
	const struct ck_plain in = { .p = p, .nbytes = nbytes };
	int rc = ck_secret_new(&cek, CEK_LEN, err);

	if (rc < 0)
		return rc;
	if (RAND_priv_bytes(cek.data, CEK_LEN) <= 0 || RAND_bytes(fresh_iv, CK_GCM_IV) <= 0)
		return ck_fail(err, -EIO, "no random numbers for a content key");
	if ((rc = ck_oaep_encrypt(key, EVP_sha256(), cek.data, CEK_LEN, wrapped, err)) < 0 ||
	    (rc = ck_buf_add(iv, fresh_iv, CK_GCM_IV, err)) < 0 ||
	    (rc = ck_buf_reserve(wrapped, nbytes + CK_GCM_TAG, err)) < 0 ||
	    (rc = ck_gcm_seal(cek.data, fresh_iv, &in, wrapped->data + wrapped->len, err)) < 0)
		return rc;
	wrapped->len += nbytes + CK_GCM_TAG;
	wrapped->data[wrapped->len] = 0;
	return 0;
}

int ck_packet_wrap(EVP_PKEY *key, const struct ck_packet_names *names, const void *p, size_t nbytes,
		   struct ck_buf *out, struct ck_err *err)
{
	CK_BUF wrapped = { 0 }, iv = { 0 };
	size_t k = ck_rsa_size(key);
	char label[32];
	int rc;

	if (k < MIN_RSA_BYTES)
		return ck_fail(err, -EINVAL,
			       "key %s is not an RSA key of 2048 bits or more, as wrapping needs",
			       names->kid);
	if (nbytes > CK_PACKET_DATA_MAX)
		return ck_fail(err, -EFBIG, "%zu bytes are more than the %d that may be wrapped",
			       nbytes, CK_PACKET_DATA_MAX);
	bool fits = ck_oaep_fits(key, EVP_sha256(), nbytes);
	snprintf(label, sizeof label, "rsa_%zu", 8 * k);
	if (fits)
		rc = ck_oaep_encrypt(key, EVP_sha256(), p, nbytes, &wrapped, err);
	else
		rc = wrap_hybrid(key, p, nbytes, &wrapped, &iv, err);
	if (rc == 0)
		rc = emit(out, names, fits ? label : CK_WRAP_HYBRID, &wrapped, &iv, err);
	return rc < 0 ? ck_wrap(err, "wrapping with key %s", names->kid) : 0;
}

static int unwrap_hybrid(const struct ck_packet *packet, EVP_PKEY *key, struct ck_secret *out,
			 struct ck_err *err)
{
	size_t k = ck_rsa_size(key), len = packet->wrapped.len;
	CK_SECRET cek = { 0 };

	if (k == 0)
		return ck_fail(err, -EINVAL, "the private key is not an RSA key");
	if (len < k || len - k < CK_GCM_TAG)
		return ck_fail(err, -EBADMSG, "the wrapped key of %zu bytes is cut short", len);
	const uint8_t *at = packet->wrapped.data;
	int rc = ck_oaep_decrypt(key, EVP_sha256(), at, k, &cek, err);
	if (rc < 0)
		return rc;
	struct ck_sealed s = {
		.iv = packet->iv.data,
		.iv_len = packet->iv.len,
		.data = at + k,
		.data_len = len - k - CK_GCM_TAG,
		.tag = at + len - CK_GCM_TAG,
		.tag_len = CK_GCM_TAG,
	};
	return ck_enc_open(ck_enc_find("A256GCM"), &cek, &s, out, err);
}

int ck_packet_unwrap(const struct ck_packet *packet, EVP_PKEY *key, struct ck_secret *out,
		     struct ck_err *err)
{
	switch (packet->kind) {
	case CK_PACKET_RSA:
		return ck_oaep_decrypt(key, EVP_sha256(), packet->wrapped.data, packet->wrapped.len,
				       out, err);
	case CK_PACKET_HYBRID:
		return unwrap_hybrid(packet, key, out, err);
	case CK_PACKET_FOREIGN:
		break;
	}
	return ck_fail(err, -ENOTSUP,
		       "wrap type %s is of a key broker that is not a Managed HSM; "
		       "give its provider as key \"provider:NAME\"",
		       packet->wrap_type ? packet->wrap_type : "(none)");
}
