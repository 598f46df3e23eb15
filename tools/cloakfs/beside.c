#include "tools/cloakfs/beside.h"

#include <errno.h>

#include "base/log.h"

int ck_beside_open(struct ck_beside *b, const char *ref, const struct ck_image *image,
		   struct ck_err *err)
{
	b->image = image;
	return ck_reference_parse(&b->ref, ref, err);
}

void ck_beside_close(struct ck_beside *b)
{
	ck_artifact_close(b->artifact);
	ck_reference_free(&b->ref);
}

static void look(struct ck_beside *b)
{
	const char *manifest = b->image->manifest_digest;
	struct ck_err why = { 0 };
	int rc = -ENOENT;

	b->looked = true;
	if (b->image->registry)
		rc = ck_artifact_open_remote(&b->artifact, b->image->registry, manifest, &why);
	else if (b->ref.transport == CK_TRANSPORT_OCI)
		rc = ck_artifact_open(&b->artifact, b->ref.dir, manifest, &why);
	if (rc < 0 && rc != -ENOENT)
		ck_log(CK_LOG_WARNING, "the image's index artifact is not used: %s", why.msg);
}

static int load(void *ctx, const char *digest, struct ck_buf *out, struct ck_err *err)
{
	struct ck_beside *b = ctx;

	if (!b->looked)
		look(b);
	if (!b->artifact)
		return ck_fail(err, -ENOENT, "there is no index artifact");
	struct ck_index_store s = ck_artifact_store(b->artifact);
	return s.load(s.ctx, digest, out, err);
}

/* For an index of that artifact, which may have come from elsewhere this time. */
static int blob(void *ctx, const uint8_t digest[CK_SHA256_LEN], uint64_t size,
		struct ck_reader **out, struct ck_err *err)
{
	const struct ck_beside *b = ctx;

	return ck_image_other_blob(b->image, digest, size, out, err);
}

struct ck_index_store ck_beside_store(struct ck_beside *b)
{
	return (struct ck_index_store){ .load = load, .blob = blob, .ctx = b };
}
