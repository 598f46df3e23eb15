#include "fs/imageconvert.h"

#include <errno.h>
#include <openssl/rand.h>
#include <string.h>

#include "base/json.h"
#include "fs/layerspec.h"
#include "fs/oci/media.h"
#include "fs/oci/rewrite.h"
#include "fs/oci/writer.h"
#include "keyprov/newopts.h"
#include "tar/convert.h"

enum { MAKE_TRIES = 4 };

/* What is known of a layer's successor. */
struct successor {
	struct ck_layerspec from; /* where the blob is read through */
	json_t *annotations;	  /* owned */
	char media_type[CK_MEDIA_MAX + 1];
	struct ck_layer_key *key; /* of the new blob, in secret memory; NULL: plain or passed */
	struct ck_layer_converted *out;
};

struct work {
	const struct ck_image *image;
	const struct ck_image_conversion *how;
	struct ck_image_writer *writer;
	struct ck_pool *pool;
	struct successor *layers;
	uint64_t before, total; /* blob bytes, for the progress */
};

static void forget(struct successor *n)
{
	ck_layerspec_free(&n->from);
	json_decref(ck_take(n->annotations));
	ck_layer_key_free(ck_take(n->key));
}

static void work_free(struct work *w)
{
	for (size_t i = 0; w->layers && i < w->image->n_layers; i++)
		forget(&w->layers[i]);
	free(w->layers);
	ck_image_writer_close(w->writer);
	ck_pool_close(w->pool);
}

static void on_progress(void *ctx, uint64_t nbytes, uint64_t total)
{
	const struct work *w = ctx;

	(void)total;
	if (w->how->progress)
		w->how->progress(w->how->progress_ctx, w->before + nbytes, w->total);
}

static enum ck_layer_fate fate_of(const struct work *w, size_t idx)
{
	const struct ck_image_conversion *how = w->how;

	if (!how->recipients)
		return w->image->layers[idx].encrypted ? CK_LAYER_DECRYPTED : CK_LAYER_PASSED;
	if (w->image->layers[idx].encrypted)
		return how->keys ? CK_LAYER_REWRAPPED : CK_LAYER_PASSED;
	return how->chosen && !how->chosen[idx] ? CK_LAYER_PASSED : CK_LAYER_ENCRYPTED;
}

/* Whether the layer is read through, verified in full, on its way to DST; else by its digest. */
static bool read_through(const struct work *w, size_t idx)
{
	switch (w->layers[idx].out->fate) {
	case CK_LAYER_ENCRYPTED:
	case CK_LAYER_DECRYPTED:
		return true;
	case CK_LAYER_PASSED: /* an image that was decrypted is whole */
		return !w->how->recipients;
	case CK_LAYER_REWRAPPED:
		return false;
	}
	return false;
}

static int nothing_to_do(const struct work *w, struct ck_err *err)
{
	if (!w->how->recipients)
		return ck_fail(err, -EINVAL, "no layer of the image is encrypted");
	if (w->image->n_layers == 0)
		return ck_fail(err, -EINVAL, "the image has no layers to encrypt");
	return ck_fail(
	    err, -EINVAL,
	    "every layer to encrypt is encrypted already; --unwrap KEY opens them to the "
	    "new recipients as well");
}

static int check_layer(const struct work *w, const struct ck_image_layer *l, struct ck_err *err)
{
	int rc = ck_layer_check(l, err);

	return rc == 0 && w->how->require_encrypted && !w->how->recipients
		   ? ck_layer_demand_encrypted(l, err)
		   : rc;
}

static int decide(struct work *w, struct ck_err *err)
{
	size_t n_done = 0;

	for (size_t i = 0; i < w->image->n_layers; i++) {
		const struct ck_image_layer *l = &w->image->layers[i];
		char name[CK_LAYER_NAME];
		if (check_layer(w, l, err) < 0) {
			ck_layer_name(name, w->image, i);
			return ck_wrap(err, "%s", name);
		}
		w->layers[i].out->fate = fate_of(w, i);
		n_done += w->layers[i].out->fate != CK_LAYER_PASSED;
		w->total += l->size;
	}
	return n_done ? 0 : nothing_to_do(w, err);
}

/* A fresh key. */
static struct ck_layer_key *key_new(enum ck_layer_cipher cipher)
{
	struct ck_layer_key *k = ck_secret_alloc(sizeof *k);

	if (!k)
		return NULL;
	k->cipher = cipher;
	if (RAND_priv_bytes(k->symkey, sizeof k->symkey) != 1 ||
	    (cipher == CK_LAYER_CTR && RAND_priv_bytes(k->nonce, sizeof k->nonce) != 1)) {
		ck_layer_key_free(k);
		return NULL;
	}
	return k;
}

/* Wraps the key of a layer that is to be encrypted; its blob comes later. */
static int wrap_new(struct work *w, size_t idx, struct ck_err *err)
{
	struct successor *n = &w->layers[idx];
	CK_SECRET opts = { 0 };

	n->key = key_new(w->how->cipher);
	if (!n->key)
		return ck_nomem(err, "making a layer's key");
	int rc = ck_newopts_private(&opts, n->key, w->image->layers[idx].digest_str, err);
	return rc < 0 ? rc : ck_recipients_wrap(w->how->recipients, &opts, n->annotations, err);
}

/* Wraps the key that an encrypted layer has for the recipients, too. */
static int wrap_more(struct work *w, size_t idx, struct ck_err *err)
{
	CK_AUTO(ck_envelope_freep) struct ck_envelope *e = NULL;
	CK_SECRET opts = { 0 };
	int rc = ck_envelope_parse(&e, w->image->layers[idx].annotations, err);

	if (rc == 0)
		rc = ck_keyring_unwrap_opts(w->how->keys, e, &opts, err);
	return rc < 0
		   ? rc
		   : ck_recipients_wrap(w->how->recipients, &opts, w->layers[idx].annotations, err);
}

/* Not by jansson's own copy: it loses members where memory runs out, and does not say so. */
static int copy_annotations(json_t **out, const json_t *from, struct ck_err *err)
{
	*out = json_object();
	if (!*out || (from && json_object_update(*out, (json_t *)(uintptr_t)from) < 0))
		return ck_nomem(err, "converting a layer");
	return 0;
}

/* Everything that asks somebody for a key, before there is work to lose. */
static int prepare(struct work *w, size_t idx, struct ck_err *err)
{
	struct successor *n = &w->layers[idx];
	const struct ck_image_layer *l = &w->image->layers[idx];
	const char *zstd = w->how->recompress ? "zstd" : NULL;
	char type[CK_MEDIA_MAX + 1] = "";
	int rc = 0;

	if (read_through(w, idx))
		rc = ck_layerspec_make(&n->from, w->image, idx, w->how->keys, err);
	if (rc == 0 && w->how->wants)
		n->from.spec.wants = &w->how->wants[idx];
	if (rc == 0)
		rc = copy_annotations(&n->annotations, l->annotations, err);
	if (rc < 0)
		return rc;
	snprintf(n->media_type, sizeof n->media_type, "%s", l->media_type);
	switch (n->out->fate) {
	case CK_LAYER_ENCRYPTED:
		rc = ck_media_layer(n->media_type, sizeof n->media_type, l->media_type, zstd, err);
		return rc < 0 ? rc : wrap_new(w, idx, err);
	case CK_LAYER_REWRAPPED:
		return wrap_more(w, idx, err);
	case CK_LAYER_DECRYPTED:
		ck_annotations_strip(n->annotations);
		return ck_media_layer(n->media_type, sizeof n->media_type, l->media_type, NULL,
				      err);
	case CK_LAYER_PASSED:
		/* A docker image becomes an OCI one, and so its plain layers; what is of no known
		 * type, or is bound to it, stays. */
		if (!l->encrypted &&
		    ck_media_layer(type, sizeof type, l->media_type, NULL, NULL) == 0)
			memcpy(n->media_type, type, sizeof type);
		return 0;
	}
	return rc;
}

static int pass_on(struct work *w, size_t idx, struct ck_reader *blob, struct ck_err *err)
{
	struct ck_layer_converted *out = w->layers[idx].out;
	const struct ck_image_layer *l = &w->image->layers[idx];

	memcpy(out->digest, l->digest_str, sizeof out->digest);
	out->size = l->size;
	return ck_image_writer_copy(w->writer, blob, l->digest, on_progress, w, err);
}

static int to_new_blob(void *ctx, const void *p, size_t nbytes, struct ck_err *err)
{
	return ck_new_blob_write(ctx, p, nbytes, err);
}

/* What readers of a new encrypted blob must know that was not known before it was made. */
static int annotate(struct successor *n, const struct ck_converted *made, struct ck_err *err)
{
	memcpy(n->key->hmac, made->hmac, sizeof n->key->hmac);
	int rc = ck_newopts_public(n->annotations, n->key, err);
	if (rc < 0 || !made->index_len)
		return rc;
	char hint[80];
	snprintf(hint, sizeof hint, "{\"offset\":%llu,\"length\":%llu}",
		 (unsigned long long)made->index_off, (unsigned long long)made->index_len);
	if (json_object_set_new(n->annotations, CK_INDEX_HINT, json_string(hint)) < 0)
		return ck_nomem(err, "converting a layer");
	return 0;
}

static int write_blob(struct work *w, const struct successor *n, struct ck_reader *blob,
		      const struct ck_conversion *how, struct ck_converted *made,
		      struct ck_err *err)
{
	struct ck_layer_converted *out = n->out;
	CK_AUTO(ck_new_blob_dropp) struct ck_new_blob *new = NULL;
	uint8_t digest[CK_SHA256_LEN];
	int rc = ck_new_blob_open(&new, w->writer, err);

	if (rc < 0)
		return rc;
	const struct ck_sink sink = { to_new_blob, new };
	rc = ck_convert(made, &n->from.spec, blob, how, &sink, on_progress, w, err);
	if (rc == 0)
		rc = ck_new_blob_end(new, digest, &out->size, err);
	if (rc == 0)
		ck_digest_str(out->digest, digest);
	out->index_len = made->index_len;
	return rc;
}

static int make_anew(struct work *w, size_t idx, struct ck_reader *blob, struct ck_err *err)
{
	struct successor *n = &w->layers[idx];
	struct ck_converted made = { 0 };
	struct ck_conversion how = { .media_type = n->media_type, .pool = w->pool };
	struct ck_blob_key *key = NULL;
	int rc = 0;

	if (n->key) {
		how.key = key = ck_blob_key_of(n->key);
		how.recompress = w->how->recompress;
		how.level = w->how->level;
		if (!key)
			rc = ck_nomem(err, "in the arena for keys");
	}
	if (rc == 0)
		rc = write_blob(w, n, blob, &how, &made, err);
	ck_secret_dealloc(key, sizeof *key);
	if (rc == 0 && n->key) {
		rc = annotate(n, &made, err);
		strncat(n->media_type, CK_MEDIA_ENCRYPTED,
			sizeof n->media_type - 1 - strlen(n->media_type));
	}
	return rc;
}

/* A registry may lose what it took of a blob that is nowhere else. What is made in its place has a
 * key of its own: nobody has verified yet what the first one was made of. */
static int make_until_kept(struct work *w, size_t idx, struct ck_reader *blob, struct ck_err *err)
{
	int rc = make_anew(w, idx, blob, err);

	for (int i = 1; rc == -ESTALE && i < MAKE_TRIES; i++) {
		forget(&w->layers[idx]);
		rc = prepare(w, idx, err);
		if (rc == 0)
			rc = make_anew(w, idx, blob, err);
	}
	return rc;
}

static int convert_layer(struct work *w, size_t idx, struct ck_err *err)
{
	CK_AUTO(ck_reader_closep) struct ck_reader *blob = NULL;
	int rc = ck_image_blob(w->image, idx, &blob, err);

	if (rc < 0)
		return rc;
	rc = read_through(w, idx) ? make_until_kept(w, idx, blob, err) : pass_on(w, idx, blob, err);
	w->before += w->image->layers[idx].size;
	return rc;
}

static int each_layer(struct work *w, int (*step)(struct work *, size_t, struct ck_err *),
		      struct ck_err *err)
{
	for (size_t i = 0; i < w->image->n_layers; i++) {
		char name[CK_LAYER_NAME];
		if (step(w, i, err) == 0)
			continue;
		ck_layer_name(name, w->image, i);
		/* tar/ names the layer itself. */
		return strncmp(err->msg, name, strlen(name)) == 0 ? err->code
								  : ck_wrap(err, "%s", name);
	}
	return 0;
}

static int commit(struct work *w, char manifest_digest[CK_DIGEST_STR], struct ck_err *err)
{
	CK_BUF manifest = { 0 };
	uint8_t digest[CK_SHA256_LEN];
	size_t n = w->image->n_layers;
	CK_AUTO(ck_freep) struct ck_new_layer *layers = calloc(n ? n : 1, sizeof *layers);

	if (!layers)
		return ck_nomem(err, "writing a manifest");
	for (size_t i = 0; i < n; i++) {
		layers[i] = (struct ck_new_layer){ .media_type = w->layers[i].media_type,
						   .size = w->layers[i].out->size,
						   .annotations = w->layers[i].annotations };
		int rc = ck_digest_parse(layers[i].digest, w->layers[i].out->digest, err);
		if (rc < 0)
			return rc;
	}
	int rc = ck_rewrite_manifest(&manifest, w->image, layers, err);
	if (rc == 0)
		rc = ck_image_writer_put(w->writer, w->image->config, w->image->config_len, digest,
					 err);
	if (rc == 0)
		rc = ck_image_writer_commit(w->writer, manifest.data, manifest.len,
					    CK_MEDIA_MANIFEST, NULL, digest, err);
	if (rc == 0)
		ck_digest_str(manifest_digest, digest);
	return rc;
}

int ck_image_convert(const struct ck_image *image, const struct ck_image_conversion *how,
		     struct ck_layer_converted *layers, char manifest_digest[CK_DIGEST_STR],
		     struct ck_err *err)
{
	CK_AUTO(work_free) struct work w = { .image = image, .how = how };
	struct ck_err own = { 0 };
	size_t n = image->n_layers;

	err = err ? err : &own;
	w.layers = calloc(n ? n : 1, sizeof *w.layers);
	if (!w.layers)
		return ck_nomem(err, "converting an image");
	for (size_t i = 0; i < n; i++)
		w.layers[i].out = &layers[i];
	int rc = decide(&w, err);
	if (rc == 0)
		rc = ck_image_writer_open(&w.writer, how->dst, &how->dst_opts, err);
	if (rc == 0)
		rc = each_layer(&w, prepare, err);
	if (rc == 0 && how->recipients && how->recompress)
		rc = ck_pool_open(&w.pool, 0, 64, err);
	if (rc == 0)
		rc = each_layer(&w, convert_layer, err);
	return rc < 0 ? rc : commit(&w, manifest_digest, err);
}
