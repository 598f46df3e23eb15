#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "fs/oci/artifact.h"
#include "fs/oci/layoutstore.h"
#include "fs/oci/reference.h"
#include "fs/registry/push.h"
#include "tools/cloakfs/commands.h"
#include "tools/cloakfs/output.h"
#include "tools/cloakfs/prefetch.h"
#include "tools/cloakfs/session.h"

/* Sealed indexes as the passes make them: a store that only takes. */
struct harvest {
	struct ck_index_blob *blobs; /* owned, what they point to as well */
	size_t n, cap;
	size_t n_asked; /* for how many layers an index was looked for in vain */
};

static void harvest_free(struct harvest *h)
{
	for (size_t i = 0; i < h->n; i++) /* the digest stands before the bytes */
		free((void *)(uintptr_t)h->blobs[i].layer_digest);
	free(h->blobs);
}

static int none(void *ctx, const char *digest, struct ck_buf *out, struct ck_err *err)
{
	struct harvest *h = ctx;

	(void)digest, (void)out;
	h->n_asked++;
	return ck_fail(err, -ENOENT, "it is to be made anew");
}

static int take(void *ctx, const char *digest, const void *p, size_t nbytes,
		const struct ck_buf *windows, struct ck_err *err)
{
	struct harvest *h = ctx;
	CK_AUTO(ck_freep)
	uint8_t *own = h->n < h->cap ? malloc(CK_SHA256_LEN + nbytes + windows->len) : NULL;

	if (!own)
		return ck_nomem(err, "keeping a layer's index");
	int rc = ck_digest_parse(own, digest, err);
	if (rc < 0)
		return rc;
	memcpy(own + CK_SHA256_LEN, p, nbytes);
	if (windows->len)
		memcpy(own + CK_SHA256_LEN + nbytes, windows->data, windows->len);
	h->blobs[h->n++] = (struct ck_index_blob){ own, own + CK_SHA256_LEN, nbytes,
						   own + CK_SHA256_LEN + nbytes, windows->len };
	own = NULL;
	return 0;
}

static int tell(const struct harvest *h, const char *place, const uint8_t manifest[32],
		struct ck_err *err)
{
	char size[CK_OUTPUT_SIZE], digest[CK_DIGEST_STR];

	for (size_t i = 0; i < h->n; i++) {
		ck_digest_str(digest, h->blobs[i].layer_digest);
		ck_output_size(size, h->blobs[i].nbytes + h->blobs[i].n_windows);
		printf("index      %s of layer %.19s...\n", size, digest);
	}
	ck_digest_str(digest, manifest);
	printf("artifact   %s in %s\n", digest, place);
	return ck_output_flush(err);
}

static int check_image(const struct ck_image *image, struct ck_err *err)
{
	size_t n = 0;

	for (size_t i = 0; i < image->n_layers; i++)
		n += image->layers[i].encrypted;
	if (n == 0)
		return ck_fail(err, -EINVAL,
			       "no layer of the image is encrypted: an index is sealed under its "
			       "layer's key, and proves nothing without");
	return 0;
}

/* Before the image is read through: whether DIR, where it is there, can be written. */
static int check_dir(const char *dir, struct ck_err *err)
{
	if (access(dir, W_OK) < 0 && errno != ENOENT)
		return ck_fail(err, -errno,
			       "cannot add indexes to %s: %s; --out DIR puts them elsewhere", dir,
			       strerror(errno));
	return 0;
}

/* Where the artifact goes. */
struct target {
	const char *dir;		/* a layout, or NULL: ... */
	const struct ck_reference *ref; /* ... the image's repository */
	struct ck_blobstore *store;	/* owned; NULL until it is open */
};

static void target_close(struct target *t)
{
	ck_blobstore_close(t->store);
}

static int open_layout(struct target *t, struct ck_err *err)
{
	int rc = ck_layoutstore_open(&t->store, CK_TRANSPORT_OCI, t->dir, true, err);

	return rc < 0 ? ck_wrap(err, "cannot add indexes to %s", t->dir) : 0;
}

/* Fails early, on a small blob that an artifact needs anyway, where nothing may be pushed. */
static int open_repository(struct target *t, const struct ck_session *s, struct ck_err *err)
{
	static const struct ck_push_opts none;
	struct ck_registry *r = NULL;
	uint8_t digest[CK_SHA256_LEN];
	int rc = ck_registry_open(&r, t->ref->host, t->ref->repo, &s->registry.opts, err);

	if (rc == 0)
		rc = ck_push_open(&t->store, r, &none, err);
	if (rc == 0)
		rc = ck_blobstore_put(t->store, "{}", 2, digest, err);
	return rc < 0 ? ck_wrap(err, "cannot push indexes to %s/%s", t->ref->host, t->ref->repo)
		      : 0;
}

static int make(struct ck_session *s, struct target *to, struct harvest *h, const char *trace,
		struct ck_err *err)
{
	CK_PREFETCH prefetch = { 0 };
	CK_AUTO(ck_stack_closep) struct ck_stack *stack = NULL;
	const struct ck_index_store store = { .load = none, .save = take, .apart = true, .ctx = h };
	struct ck_descriptor subject = { .media_type = s->image->manifest_type,
					 .size = s->image->manifest_len };
	uint8_t manifest[CK_SHA256_LEN];
	int rc = check_image(s->image, err);

	if (rc == 0)
		rc = to->dir ? check_dir(to->dir, err) : open_repository(to, s, err);
	if (rc == 0)
		rc = ck_prefetch_open(&prefetch, trace, s->image, err);
	h->cap = s->image->n_layers;
	h->blobs = calloc(h->cap ? h->cap : 1, sizeof *h->blobs);
	if (!h->blobs)
		return ck_nomem(err, "keeping layers' indexes");
	s->store = &store;
	s->wants = prefetch.wants;
	if (rc == 0)
		rc = ck_session_stack(&stack, s, SIZE_MAX, false, err);
	s->store = NULL;
	s->wants = NULL;
	/* A store that fails costs a layer only a log line, which has been written then. */
	if (rc == 0 && h->n < h->n_asked)
		return ck_fail(err, -EIO,
			       "%zu of %zu indexes could not be made, and nothing was stored",
			       h->n_asked - h->n, h->n_asked);
	if (rc == 0 && h->n == 0)
		return ck_fail(err, -EINVAL,
			       "every encrypted layer of the image holds its own index already");
	if (rc == 0)
		rc = ck_digest_parse(subject.digest, s->image->manifest_digest, err);
	memcpy(subject.digest_str, s->image->manifest_digest, sizeof subject.digest_str);
	if (rc < 0)
		return rc;
	if (to->dir)
		rc = open_layout(to, err);
	if (rc == 0)
		rc = ck_artifact_write(to->store, &subject, h->blobs, h->n,
				       to->dir ? 0 : time(NULL), manifest, err);
	if (rc == 0)
		ck_prefetch_tell(&prefetch);
	return rc < 0 ? rc : tell(h, ck_blobstore_name(to->store), manifest, err);
}

/* Where the artifact is to go, by what was said. */
static int choose(struct target *t, const struct ck_options *o, const struct ck_reference *r,
		  struct ck_err *err)
{
	bool remote = r->transport == CK_TRANSPORT_DOCKER;

	*t = (struct target){ .dir = o->out, .ref = r };
	if (o->push && o->out)
		return ck_fail(err, -EINVAL, "--push and --out DIR: it is one or the other");
	if (o->push && !remote)
		return ck_fail(err, -EINVAL,
			       "--push is for an image in a registry: the indexes of others are "
			       "stored beside them, or in --out DIR");
	if (o->out || o->push)
		return 0;
	if (remote)
		return ck_fail(err, -EINVAL,
			       "the image is in a registry: --push puts its indexes there, --out "
			       "DIR into a layout");
	if (r->transport != CK_TRANSPORT_OCI)
		return ck_fail(err, -EINVAL,
			       "a dir holds one image and no artifacts: name a layout for it with "
			       "--out DIR");
	t->dir = r->dir;
	return 0;
}

static int run(const struct ck_options *o, struct ck_err *err)
{
	CK_SESSION s = { 0 };
	CK_AUTO(ck_reference_free) struct ck_reference r = { 0 };
	CK_AUTO(harvest_free) struct harvest h = { 0 };
	CK_AUTO(target_close) struct target t = { 0 };
	int rc = ck_reference_parse(&r, o->args[0], err);

	if (rc == 0)
		rc = choose(&t, o, &r, err);
	if (rc == 0)
		rc = ck_session_open(&s, o, err);
	if (rc == 0)
		rc = ck_session_image(&s, o->keys, o->n_keys, o, err);
	return rc < 0 ? rc : make(&s, &t, &h, o->prefetch, err);
}

const struct ck_command ck_cmd_index = {
	.name = "index",
	.synopsis =
	    "[--config FILE] [--authfile FILE] [--plain-http] [--key KEY]... [--prefetch FILE] "
	    "[--out DIR | --push]\n"
	    "                     [--platform OS/ARCH] IMAGE",
	.summary =
	    "make sealed indexes of an encrypted image, so that mounts need not read it through",
	.options = "ckFOPaHp",
	.required = "",
	.min_args = 1,
	.max_args = 1,
	.notes = true,
	.run = run,
};
