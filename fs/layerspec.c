#include "fs/layerspec.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "fs/oci/media.h"
#include "keyprov/envelope.h"
#include "tar/cipher/chunked.h"

void ck_layer_name(char out[CK_LAYER_NAME], const struct ck_image *image, size_t idx)
{
	snprintf(out, CK_LAYER_NAME, "layer %zu (%.19s...)", idx, image->layers[idx].digest_str);
}

static bool has_enc_annotation(const json_t *annotations)
{
	json_t *all = (json_t *)(uintptr_t)annotations; /* jansson iterates without const */

	for (void *it = json_object_iter(all); it; it = json_object_iter_next(all, it))
		if (strncmp(json_object_iter_key(it), CK_ENC, sizeof CK_ENC - 1) == 0)
			return true;
	return false;
}

int ck_layer_check(const struct ck_image_layer *l, struct ck_err *err)
{
	bool wrapped = has_enc_annotation(l->annotations);

	if (!l->encrypted && wrapped)
		return ck_fail(
		    err, -EBADMSG,
		    "its annotations hold a wrapped key, but its media type %s is not an "
		    "encrypted one: the manifest was altered",
		    l->media_type);
	if (l->encrypted && !wrapped)
		return ck_fail(err, -EBADMSG,
			       "its media type %s is an encrypted one, but no annotation holds a "
			       "wrapped key",
			       l->media_type);
	return 0;
}

int ck_layer_demand_encrypted(const struct ck_image_layer *l, struct ck_err *err)
{
	return l->encrypted
		   ? 0
		   : ck_fail(err, -EPERM,
			     "it is not encrypted, and the configuration demands that it is "
			     "(require_encrypted)");
}

struct ck_blob_key *ck_blob_key_of(const struct ck_layer_key *k)
{
	struct ck_blob_key *out = ck_secret_alloc(sizeof *out);

	if (out) {
		out->cipher = k->cipher == CK_LAYER_CHUNKED ? CK_CIPHER_CHUNKED : CK_CIPHER_CTR;
		memcpy(out->symkey, k->symkey, sizeof out->symkey);
		memcpy(out->nonce, k->nonce, sizeof out->nonce);
		memcpy(out->hmac, k->hmac, sizeof out->hmac);
	}
	return out;
}

static int unwrap(struct ck_blob_key **out, const struct ck_image_layer *l, struct ck_keyring *keys,
		  struct ck_err *err)
{
	CK_AUTO(ck_envelope_freep) struct ck_envelope *e = NULL;
	CK_AUTO(ck_layer_key_freep) struct ck_layer_key *k = NULL;
	int rc = ck_envelope_parse(&e, l->annotations, err);

	if (rc == 0)
		rc = ck_keyring_unwrap(keys, e, &k, err);
	if (rc < 0)
		return rc;
	*out = ck_blob_key_of(k);
	return *out ? 0 : ck_nomem(err, "in the arena for keys");
}

/* 0 where there is none that makes sense. */
static uint64_t hint(const json_t *annotations)
{
	const char *text = json_string_value(json_object_get(annotations, CK_INDEX_HINT));
	CK_JSON *j = NULL;
	uint64_t off = 0;

	if (!text || ck_json_parse(&j, text, strlen(text), CK_INDEX_HINT, NULL) < 0 ||
	    ck_json_u64(&off, j, "offset", false, NULL) < 0)
		return 0;
	return off;
}

void ck_layer_announce(const struct ck_image_layer *l, struct ck_reader *blob)
{
	uint64_t off = hint(l->annotations);

	if (!off || off / CK_CHUNK > l->size / CK_CHUNK_SEALED)
		return;
	uint64_t from = CK_CHUNKED_HEADER + off / CK_CHUNK * CK_CHUNK_SEALED;
	ck_reader_advise(blob, 0, CK_CHUNKED_HEADER);
	ck_reader_advise(blob, from, l->size > from ? l->size - from : 0);
}

int ck_layerspec_make(struct ck_layerspec *out, const struct ck_image *image, size_t idx,
		      struct ck_keyring *keys, struct ck_err *err)
{
	const struct ck_image_layer *l = &image->layers[idx];
	size_t len = strlen(l->media_type);

	*out = (struct ck_layerspec){ .spec = { .name = out->name } };
	ck_layer_name(out->name, image, idx);
	if (l->encrypted)
		len -= sizeof CK_MEDIA_ENCRYPTED - 1;
	snprintf(out->media_type, sizeof out->media_type, "%.*s", (int)len, l->media_type);
	int rc = l->encrypted ? unwrap(&out->key, l, keys, err) : 0;
	out->spec.key = out->key;
	out->spec.media_type = out->media_type;
	out->spec.index_off = hint(l->annotations);
	memcpy(out->spec.digest, l->digest, sizeof out->spec.digest);
	memcpy(out->spec.diff_id, l->diff_id, sizeof out->spec.diff_id);
	return rc;
}

void ck_layerspec_free(struct ck_layerspec *s)
{
	ck_secret_dealloc(s->key, sizeof *s->key);
	s->key = NULL;
}
