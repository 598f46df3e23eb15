#include "tools/cloakfs/beside.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "fs/cache/blobcache.h"

#define KIND "taken" /* of files in the cache: which index of which layer was */

enum { HURRY_MS = 2000 };

int ck_beside_open(struct ck_beside *b, const char *ref, const struct ck_image *image,
		   struct ck_blobcache *cache, struct ck_err *err)
{
	b->image = image;
	b->cache = cache;
	return ck_reference_parse(&b->ref, ref, err);
}

void ck_beside_close(struct ck_beside *b)
{
	ck_artifact_close(b->artifact);
	ck_reference_free(&b->ref);
}

static void look(struct ck_beside *b, unsigned hurry_ms)
{
	const char *manifest = b->image->manifest_digest;
	struct ck_err why = { 0 };
	int rc = -ENOENT;

	if (b->looked || (hurry_ms && b->hurried))
		return;
	if (b->image->registry)
		rc = ck_artifact_open_remote(&b->artifact, b->image->registry, b->cache, manifest,
					     hurry_ms, &why);
	else if (b->ref.transport == CK_TRANSPORT_OCI)
		rc = ck_artifact_open(&b->artifact, b->ref.dir, manifest, &why);
	/* Who hurries may do without. Whether anybody cannot, is not known yet. */
	b->hurried = true;
	b->looked = rc == 0 || rc == -ENOENT || !hurry_ms;
	if (b->looked && rc < 0 && rc != -ENOENT)
		ck_log(CK_LOG_WARNING, "the image's index artifact is not used: %s", why.msg);
}

/* What the cache is to remember, and its digest; false: the artifact has no index of LAYER. */
static bool describe(const struct ck_beside *b, const char *layer, char text[4 * CK_DIGEST_STR],
		     uint8_t digest[CK_SHA256_LEN])
{
	char index[CK_DIGEST_STR];

	if (!b->artifact || !ck_artifact_has(b->artifact, layer, index))
		return false;
	snprintf(text, 4 * CK_DIGEST_STR, "%s\n%s\n%s\n", b->image->manifest_digest, layer, index);
	ck_sha256(digest, text, strlen(text));
	return true;
}

/* A file that is named by its own digest says all by being there. */
static bool was_taken(const struct ck_beside *b, const uint8_t digest[CK_SHA256_LEN])
{
	CK_BUF text = { .max = 4 * CK_DIGEST_STR };

	return b->cache && ck_blobcache_load(b->cache, KIND, digest, &text, NULL) == 0;
}

/* Takes the artifact's index of LAYER. What is wrong with it will be the next time, too. */
static int take(struct ck_beside *b, const char *layer, struct ck_buf *out, struct ck_err *err)
{
	struct ck_index_store s = ck_artifact_store(b->artifact);
	char text[4 * CK_DIGEST_STR];
	uint8_t digest[CK_SHA256_LEN];
	struct ck_err why;
	int rc = s.load(s.ctx, layer, out, err);

	/* That it cannot be remembered costs doing it again. */
	if ((rc == 0 || rc == -EBADMSG) && b->cache && describe(b, layer, text, digest))
		(void)!ck_blobcache_save(b->cache, KIND, digest, text, strlen(text), &why);
	return rc;
}

static int load(void *ctx, const char *digest, struct ck_buf *out, struct ck_err *err)
{
	struct ck_beside *b = ctx;

	look(b, 0);
	if (!b->artifact)
		return ck_fail(err, -ENOENT, "there is no index artifact");
	return take(b, digest, out, err);
}

static int load_newer(void *ctx, const char *digest, struct ck_buf *out, struct ck_err *err)
{
	struct ck_beside *b = ctx;
	char text[4 * CK_DIGEST_STR];
	uint8_t of_text[CK_SHA256_LEN];

	look(b, HURRY_MS);
	if (!describe(b, digest, text, of_text) || was_taken(b, of_text))
		return ck_fail(err, -ENOENT, "there is no newer index");
	return take(b, digest, out, err);
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

struct ck_index_store ck_beside_newer(struct ck_beside *b)
{
	return (struct ck_index_store){ .load = load_newer, .ctx = b };
}
