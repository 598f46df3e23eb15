#include "tools/cloakfs/converted.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "fs/oci/reference.h"
#include "tools/cloakfs/bar.h"
#include "tools/cloakfs/output.h"

static const char *const fates[] = {
	[CK_LAYER_PASSED] = "passed",
	[CK_LAYER_ENCRYPTED] = "encrypted",
	[CK_LAYER_DECRYPTED] = "decrypted",
	[CK_LAYER_REWRAPPED] = "rewrapped",
};

static int tell_json(const struct ck_image *image, const struct ck_layer_converted *layers,
		     const char *manifest, struct ck_err *err)
{
	CK_BUF text = { 0 };
	CK_JSON *list = json_array();

	for (size_t i = 0; list && i < image->n_layers; i++) {
		const struct ck_layer_converted *l = &layers[i];
		json_t *item =
		    json_pack("{s:s, s:s, s:I, s:s, s:I, s:I}", "fate", fates[l->fate], "from",
			      image->layers[i].digest_str, "from_size",
			      (json_int_t)image->layers[i].size, "digest", l->digest, "size",
			      (json_int_t)l->size, "index_length", (json_int_t)l->index_len);
		if (json_array_append_new(list, item) < 0)
			return ck_nomem(err, "telling the result");
	}
	CK_JSON *doc = json_pack("{s:s, s:O}", "manifest", manifest, "layers", list);
	if (!doc)
		return ck_nomem(err, "telling the result");
	int rc = ck_json_dump(&text, doc, err);
	if (rc == 0)
		puts(ck_buf_str(&text));
	return rc < 0 ? rc : ck_output_flush(err);
}

static int tell(const struct ck_image *image, const struct ck_layer_converted *layers,
		const char *manifest, struct ck_err *err)
{
	for (size_t i = 0; i < image->n_layers; i++) {
		const struct ck_layer_converted *l = &layers[i];
		char from[CK_OUTPUT_SIZE], to[CK_OUTPUT_SIZE];
		ck_output_size(from, image->layers[i].size);
		ck_output_size(to, l->size);
		printf("%-10s layer %zu (%.19s...): %s", fates[l->fate], i, l->digest, to);
		if (l->fate == CK_LAYER_ENCRYPTED || l->fate == CK_LAYER_DECRYPTED)
			printf(", was %s", from);
		if (l->index_len) {
			ck_output_size(to, l->index_len);
			printf(", index %s", to);
		}
		putchar('\n');
	}
	printf("manifest   %s\n", manifest);
	return ck_output_flush(err);
}

/* The repository that SRC is in, where that is in the registry of DST, too. */
static int set_mount_from(struct ck_image_conversion *how, struct ck_reference *src,
			  const char *src_text, struct ck_err *err)
{
	CK_AUTO(ck_reference_free) struct ck_reference dst = { 0 };
	int rc = ck_reference_parse(src, src_text, err);

	if (rc == 0)
		rc = ck_reference_parse(&dst, how->dst, err);
	if (rc == 0 && src->host && dst.host && strcmp(src->host, dst.host) == 0)
		how->dst_opts.push.mount_from = src->repo;
	return rc;
}

int ck_convert_and_tell(const struct ck_session *s, const struct ck_image_conversion *how,
			const char *src, const char *label, bool json, struct ck_err *err)
{
	CK_AUTO(ck_reference_free) struct ck_reference from = { 0 };
	CK_AUTO(ck_bar_end) struct ck_bar bar = { 0 };
	struct ck_image_conversion own = *how;
	size_t n = s->image->n_layers;
	char manifest[CK_DIGEST_STR];
	CK_AUTO(ck_freep) struct ck_layer_converted *layers = calloc(n ? n : 1, sizeof *layers);

	if (!layers)
		return ck_nomem(err, "converting an image");
	own.dst_opts.registry = s->registry.opts;
	int rc = set_mount_from(&own, &from, src, err);
	if (rc < 0)
		return rc;
	ck_bar_start(&bar, label);
	own.progress = ck_bar_update;
	own.progress_ctx = &bar;
	rc = ck_image_convert(s->image, &own, layers, manifest, err);
	if (rc < 0)
		return rc;
	ck_bar_hide(&bar);
	return json ? tell_json(s->image, layers, manifest, err)
		    : tell(s->image, layers, manifest, err);
}
