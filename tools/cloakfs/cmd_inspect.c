#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "keyprov/envelope.h"
#include "tools/cloakfs/commands.h"
#include "tools/cloakfs/output.h"
#include "tools/cloakfs/registryopts.h"

/* What can be said of a layer without a key. */
struct facts {
	const struct ck_image_layer *layer;
	size_t idx;
	const char *compression;
	struct ck_envelope *envelope; /* owned; NULL for a plain layer or on a problem */
	struct ck_err problem;	      /* code 0: none */
};

static void facts_free(struct facts *f)
{
	ck_envelope_free(f->envelope);
}

/* By the media type: what is inside shows only with the key. */
static const char *compression_of(const char *type)
{
	static const char suffix[] = "+encrypted";
	size_t len = strlen(type), n = sizeof suffix - 1;
	static const struct {
		const char *ending, *name;
	} known[] = { { "gzip", "gzip" }, { "zstd", "zstd" }, { ".tar", "none" } };

	if (len >= n && strcmp(type + len - n, suffix) == 0)
		len -= n;
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		size_t e = strlen(known[i].ending);
		if (len >= e && memcmp(type + len - e, known[i].ending, e) == 0)
			return known[i].name;
	}
	return "unknown";
}

static void find_facts(struct facts *f, const struct ck_image *image, size_t idx)
{
	const struct ck_image_layer *l = &image->layers[idx];

	*f = (struct facts){ .layer = l, .idx = idx };
	f->compression = compression_of(l->media_type);
	int rc = ck_envelope_parse(&f->envelope, l->annotations, &f->problem);
	if (rc == -ENODATA && !l->encrypted)
		f->problem = (struct ck_err){ 0 };
	else if (rc == 0 && !l->encrypted)
		ck_fail(
		    &f->problem, -EBADMSG,
		    "its annotations hold a wrapped key, but its media type is not an encrypted "
		    "one");
}

static void print_field(const char *name, const char *value)
{
	printf("  %-12s", name);
	ck_output_name(value, strlen(value));
	putchar('\n');
}

static void print_recipient(const struct ck_recipient *r)
{
	const struct {
		const char *before, *value;
	} parts[] = {
		{ " ", r->provider },
		{ ", key ", r->kid },
		{ ", wrapped by ", r->wrap_type },
		{ ", released by ", r->hsm_host },
		{ " against a token of ", r->maa_host },
	};

	printf("  %-12s%s", "recipient", ck_scheme_name(r->scheme));
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		if (!parts[i].value)
			continue;
		fputs(parts[i].before, stdout);
		ck_output_name(parts[i].value, strlen(parts[i].value));
	}
	putchar('\n');
}

static void print_layer(const struct facts *f)
{
	const struct ck_image_layer *l = f->layer;
	char size[CK_OUTPUT_SIZE], diff_id[CK_DIGEST_STR];

	ck_output_size(size, l->size);
	ck_digest_str(diff_id, l->diff_id);
	printf("layer %zu       %s\n", f->idx, l->digest_str);
	print_field("size", size);
	print_field("media type", l->media_type);
	print_field("compression", f->compression);
	print_field("diff_id", diff_id);
	print_field("cipher", f->envelope && f->envelope->cipher ? f->envelope->cipher
			      : l->encrypted			 ? "unknown"
								 : "none");
	for (size_t i = 0; f->envelope && i < f->envelope->n_recipients; i++)
		print_recipient(&f->envelope->recipients[i]);
	if (f->problem.code)
		print_field("PROBLEM", f->problem.msg);
}

static void print_image(const struct ck_image *image, const char *ref)
{
	char size[CK_OUTPUT_SIZE];
	uint64_t total = 0;
	size_t n_encrypted = 0;

	for (size_t i = 0; i < image->n_layers; i++) {
		total += image->layers[i].size;
		n_encrypted += image->layers[i].encrypted;
	}
	ck_output_size(size, total);
	fputs("image         ", stdout);
	ck_output_name(ref, strlen(ref));
	printf("\nmanifest      %s\n", image->manifest_digest);
	print_field("media type", image->manifest_type);
	printf("platform      %s\n", image->platform[0] ? image->platform : "(not said)");
	printf("layers        %zu, %zu of them encrypted, %s\n", image->n_layers, n_encrypted,
	       size);
}

static json_t *text_or_null(const char *s)
{
	json_t *j = s ? json_string(s) : NULL;

	return j ? j : json_null();
}

static json_t *recipients_json(const struct ck_envelope *e)
{
	json_t *array = json_array();

	for (size_t i = 0; e && i < e->n_recipients; i++) {
		const struct ck_recipient *r = &e->recipients[i];
		json_array_append_new(
		    array,
		    json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "scheme", ck_scheme_name(r->scheme),
			      "provider", text_or_null(r->provider), "kid", text_or_null(r->kid),
			      "wrap_type", text_or_null(r->wrap_type), "hsm_host",
			      text_or_null(r->hsm_host), "maa_host", text_or_null(r->maa_host)));
	}
	return array;
}

static json_t *layer_json(const struct facts *f)
{
	const struct ck_image_layer *l = f->layer;
	char diff_id[CK_DIGEST_STR];

	ck_digest_str(diff_id, l->diff_id);
	return json_pack("{s:I, s:s, s:s, s:I, s:s, s:s, s:b, s:o, s:o, s:o}", "layer",
			 (json_int_t)f->idx, "digest", l->digest_str, "media_type", l->media_type,
			 "size", (json_int_t)l->size, "diff_id", diff_id, "compression",
			 f->compression, "encrypted", l->encrypted, "cipher",
			 text_or_null(f->envelope ? f->envelope->cipher : NULL), "recipients",
			 recipients_json(f->envelope), "problem",
			 text_or_null(f->problem.code ? f->problem.msg : NULL));
}

static int print_json(const json_t *root, struct ck_err *err)
{
	if (!root)
		return ck_nomem(err, "writing JSON");
	if (json_dumpf(root, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII) < 0)
		return ck_fail(err, -EIO, "cannot write standard output");
	putchar('\n');
	return 0;
}

static json_t *image_json(const struct ck_image *image, const char *ref, json_t *layers)
{
	return json_pack("{s:o, s:{s:s, s:s, s:I}, s:o, s:O}", "image", text_or_null(ref),
			 "manifest", "digest", image->manifest_digest, "media_type",
			 image->manifest_type, "size", (json_int_t)image->manifest_len, "platform",
			 text_or_null(image->platform[0] ? image->platform : NULL), "layers",
			 layers);
}

static int inspect(const struct ck_image *image, const struct ck_options *o, struct ck_err *err)
{
	CK_AUTO(ck_json_freep) json_t *layers = json_array();
	size_t n_problems = 0;

	if (!o->json)
		print_image(image, o->args[0]);
	for (size_t i = 0; i < image->n_layers; i++) {
		CK_AUTO(facts_free) struct facts f;
		find_facts(&f, image, i);
		n_problems += f.problem.code != 0;
		if (!o->json)
			print_layer(&f);
		else if (json_array_append_new(layers, layer_json(&f)) < 0)
			return ck_nomem(err, "writing JSON");
	}
	if (o->json) {
		CK_AUTO(ck_json_freep) json_t *root = image_json(image, o->args[0], layers);
		int rc = print_json(root, err);
		if (rc < 0)
			return rc;
	}
	int rc = ck_output_flush(err);
	if (rc == 0 && n_problems)
		rc = ck_fail(err, -EBADMSG, "%zu of %zu layers cannot be opened as they are",
			     n_problems, image->n_layers);
	return rc;
}

static int run(const struct ck_options *o, struct ck_err *err)
{
	CK_AUTO(ck_image_closep) struct ck_image *image = NULL;
	CK_AUTO(ck_registryopts_free) struct ck_registryopts registry = { 0 };
	CK_AUTO(ck_config_free) struct ck_config config = { 0 };
	int rc = ck_config_load(&config, o->config, err);

	if (rc == 0)
		rc = ck_registryopts_make(&registry, &config, o, err);
	const struct ck_image_from from = { .registry = &registry.opts };
	/* Without a digest, too: here is where one sees it. */
	if (rc == 0)
		rc = ck_image_open(&image, o->args[0], o->platform, &from, err);
	return rc < 0 ? rc : inspect(image, o, err);
}

const struct ck_command ck_cmd_inspect = {
	.name = "inspect",
	.synopsis =
	    "[--config FILE] [--authfile FILE] [--plain-http] [--json] [--platform OS/ARCH] IMAGE",
	.summary = "show manifest, layers, ciphers, and who can unwrap; needs no key",
	.options = "cjaHp",
	.required = "",
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
