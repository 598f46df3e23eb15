#include "tools/cloakfs/beside.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "fs/cache/blobcache.h"

/* Of files in the cache: which index of which layer was taken, and what it leads to. */
#define KIND "taken"

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

/* What the cache remembers of the image's place: in a file that is named by its own digest, and
 * says all by being there. */
struct memo {
	char text[1024];
	uint8_t digest[CK_SHA256_LEN];
};

static void memo_make(struct memo *m, const struct ck_beside *b, const char *what,
		      const char *digest)
{
	/* Cut, if need be, where it is only a directory's name. */
	snprintf(m->text, sizeof m->text, "%s\n%s\n%s\n%s/%s\n", b->image->manifest_digest, what,
		 digest, b->ref.host ? b->ref.host : b->ref.dir, b->ref.repo ? b->ref.repo : "");
	ck_sha256(m->digest, m->text, strlen(m->text));
}

static bool remembers(const struct ck_beside *b, const struct memo *m)
{
	CK_BUF text = { .max = sizeof m->text };

	return b->cache && ck_blobcache_load(b->cache, KIND, m->digest, &text, NULL) == 0;
}

/* That it cannot be remembered costs doing it again. */
static void remember(const struct ck_beside *b, const struct memo *m)
{
	struct ck_err why;

	if (b->cache && !remembers(b, m))
		(void)!ck_blobcache_save(b->cache, KIND, m->digest, m->text, strlen(m->text), &why);
}

/* That the artifact's index of LAYER was taken; false: it has none. */
static bool taken(struct memo *m, const struct ck_beside *b, const char *layer)
{
	char index[CK_DIGEST_STR];

	if (!b->artifact || !ck_artifact_has(b->artifact, layer, index))
		return false;
	memo_make(m, b, layer, index);
	return true;
}

/* Takes the artifact's index of LAYER. What is wrong with it will be the next time, too. */
static int take(struct ck_beside *b, const char *layer, struct ck_buf *out, struct ck_err *err)
{
	struct ck_index_store s = ck_artifact_store(b->artifact);
	struct memo m;
	int rc = s.load(s.ctx, layer, out, err);

	if ((rc == 0 || rc == -EBADMSG) && taken(&m, b, layer))
		remember(b, &m);
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
	struct memo m;

	look(b, HURRY_MS);
	if (!taken(&m, b, digest) || remembers(b, &m))
		return ck_fail(err, -ENOENT, "there is no newer index");
	return take(b, digest, out, err);
}

/* The windows of an index that may be the cache's, of a layer that other repositories have as well.
 * Whether a registry has them is known by the image's artifact, now or when it was last seen: to
 * find out by reading would be to find out too late. */
static int blob(void *ctx, const uint8_t digest[CK_SHA256_LEN], uint64_t size,
		struct ck_reader **out, struct ck_err *err)
{
	const struct ck_beside *b = ctx;
	char text[CK_DIGEST_STR];
	struct memo m;

	if (b->image->registry) {
		ck_digest_str(text, digest);
		memo_make(&m, b, "windows", text);
		if (b->artifact && ck_artifact_has_windows(b->artifact, digest))
			remember(b, &m);
		else if (!remembers(b, &m))
			return ck_fail(err, -ENOENT, "%s/%s is not known to have them",
				       ck_registry_host(b->image->registry),
				       ck_registry_repo(b->image->registry));
	}
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
