#include <errno.h>
#include <inttypes.h>

#include "base/secret.h"
#include "tools/cloakfs/bar.h"
#include "tools/cloakfs/commands.h"
#include "tools/cloakfs/output.h"
#include "tools/cloakfs/session.h"

/* Layers are opened one by one, so that one that fails does not hide the next; those
 * that hold stay open for the check of the whole. */
struct verify {
	const struct ck_session *session;
	struct ck_stack **stacks;      /* one a layer; NULL: failed */
	const struct ck_index **index; /* of each */
	size_t n_failed;
	struct ck_bar bar;
	uint64_t before, total; /* blob bytes */
};

static void verify_free(struct verify *v)
{
	for (size_t i = 0; v->stacks && i < v->session->image->n_layers; i++)
		ck_stack_close(v->stacks[i]);
	free(v->stacks);
	free(v->index);
	ck_bar_end(&v->bar);
}

static void on_progress(void *ctx, uint64_t nbytes, uint64_t total)
{
	struct verify *v = ctx;

	(void)total;
	ck_bar_update(&v->bar, v->before + nbytes, v->total);
}

static int print_ok(const struct verify *v, size_t idx, struct ck_err *err)
{
	const struct ck_image_layer *l = &v->session->image->layers[idx];
	const struct ck_layer *layer = v->stacks[idx]->layers[idx];
	char size[CK_OUTPUT_SIZE];

	ck_output_size(size, ck_layer_len(layer));
	printf("ok      layer %zu (%.19s...): %s, compression %s, %s of tar, %zu entries\n", idx,
	       l->digest_str, l->encrypted ? "encrypted" : "plain", ck_layer_compression(layer),
	       size, v->index[idx]->n_entries);
	return ck_output_flush(err);
}

static int print_failed(const char *why, struct ck_err *err)
{
	printf("failed  %s\n", why);
	return ck_output_flush(err);
}

static int verify_layer(struct verify *v, size_t idx, struct ck_err *err)
{
	const struct ck_stack_opts opts = {
		.keys = v->session->keys,
		.require_encrypted = v->session->config.require_encrypted,
		.full = true,
		.progress = on_progress,
		.progress_ctx = v,
	};
	struct ck_err why = { 0 };
	int rc = ck_stack_open(&v->stacks[idx], v->session->image, idx, &opts, &why);

	ck_bar_hide(&v->bar);
	v->before += v->session->image->layers[idx].size;
	if (rc < 0) {
		v->n_failed++;
		return print_failed(why.msg, err);
	}
	v->index[idx] = v->stacks[idx]->index[idx];
	return print_ok(v, idx, err);
}

/* Layers that are whole may still not fit together. */
static int verify_tree(struct verify *v, struct ck_err *err)
{
	CK_AUTO(ck_tree_freep) struct ck_tree *tree = NULL;
	struct ck_err why = { 0 };
	int rc =
	    ck_tree_build(&tree, v->index, v->session->image->n_layers, CK_WHITEOUTS_APPLY, &why);

	if (rc < 0) {
		ck_wrap(&why, "the merged tree");
		rc = print_failed(why.msg, err);
		return rc < 0 ? rc : ck_fail(err, -EBADMSG, "the layers do not fit together");
	}
	printf("ok      the merged tree: %zu files and directories\n", tree->n_nodes);
	return ck_output_flush(err);
}

static int verify_image(struct verify *v, struct ck_err *err)
{
	const struct ck_image *image = v->session->image;
	size_t n = image->n_layers;

	v->stacks = calloc(n ? n : 1, sizeof(struct ck_stack *));
	v->index = calloc(n ? n : 1, sizeof(const struct ck_index *));
	if (!v->stacks || !v->index)
		return ck_nomem(err, "verifying an image");
	for (size_t i = 0; i < n; i++)
		v->total += image->layers[i].size;
	ck_bar_start(&v->bar, "verifying");
	for (size_t i = 0; i < n; i++) {
		int rc = verify_layer(v, i, err);
		if (rc < 0)
			return rc;
	}
	if (v->n_failed)
		return ck_fail(err, -EBADMSG, "%zu of %zu layers failed", v->n_failed, n);
	return verify_tree(v, err);
}

static int run(const struct ck_options *o, struct ck_err *err)
{
	CK_SESSION s = { 0 };
	CK_AUTO(verify_free) struct verify v = { .session = &s };
	int rc = ck_session_open(&s, o, err);

	if (rc == 0)
		rc = ck_session_image(&s, o->keys, o->n_keys, o, err);
	return rc < 0 ? rc : verify_image(&v, err);
}

const struct ck_command ck_cmd_verify = {
	.name = "verify",
	.synopsis = "[--config FILE] [--authfile FILE] [--plain-http] [--key KEY]... [--platform "
		    "OS/ARCH] IMAGE",
	.summary = "check every layer in full, and that they fit together",
	.options = "ckaHp",
	.required = "",
	.min_args = 1,
	.max_args = 1,
	.notes = true,
	.run = run,
};
