#include "fs/oci/image.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "fs/oci/manifest.h"
#include "fs/oci/media.h"
#include "fs/oci/origin.h"
#include "fs/oci/pick.h"
#include "fs/oci/platform.h"
#include "fs/oci/reference.h"
#include "fs/oci/source.h"

enum { MAX_NESTED = 2 };

/* A blob that is no layer. */
struct other {
	uint8_t digest[CK_SHA256_LEN];
	struct ck_remote *remote; /* NULL: a layout's */
};

/* What an image owns; PUB is what its users see. */
struct store {
	struct ck_image pub;
	struct ck_source source;
	char *media_type; /* of the manifest, as its descriptor or a registry says; NULL in a dir */
	struct ck_buf manifest, config;
	struct ck_manifest doc;
	struct ck_image_layer *layers;
	struct ck_remote **remotes; /* of the layers' blobs that were opened last */
	struct other *others;	    /* n_others of them, owned */
	size_t n_others;
};

static void store_free(struct store *s)
{
	if (!s)
		return;
	ck_source_close(&s->source);
	free(s->media_type);
	ck_buf_free(&s->manifest);
	ck_buf_free(&s->config);
	ck_manifest_free(&s->doc);
	free(s->layers);
	free(s->remotes);
	free(s->others);
	free(s);
}

static void store_freep(struct store **s)
{
	store_free(*s);
}

/* Reads the document that D names, an index into DOC, else the manifest. */
static int read_next(struct store *s, const struct ck_descriptor *d, struct ck_buf *doc,
		     struct ck_err *err)
{
	free(s->media_type);
	s->media_type = strdup(d->media_type);
	if (!s->media_type)
		return ck_nomem(err, "opening an image");
	ck_buf_free(doc);
	bool index = ck_media_is_index(d->media_type);
	int rc = ck_source_doc(&s->source, d, index ? doc : &s->manifest, err);
	return rc < 0 ? ck_wrap(err, "%s %s", index ? "index" : "manifest", d->digest_str) : 0;
}

/* Walks from the index DOC, which is called WHAT, through nested indexes to the manifest. */
static int walk(struct store *s, struct ck_buf *doc, const char *root, struct ck_wish wish,
		struct ck_err *err)
{
	char what[96];

	snprintf(what, sizeof what, "%s", root);
	for (int depth = 0;; depth++) {
		CK_AUTO(ck_json_freep) json_t *index = NULL;
		struct ck_descriptor d;

		int rc = ck_manifest_list_parse(&index, doc->data, doc->len, s->media_type, err);
		if (rc == 0)
			rc = ck_pick(&d, index, &wish, err);
		if (rc < 0)
			return ck_wrap(err, "%s", what);
		/* The pin names an image or a whole index: found, it binds all below. */
		if (strcmp(d.digest_str, wish.pin) == 0)
			wish.pin = "";
		bool more = ck_media_is_index(d.media_type);
		if (more && depth == MAX_NESTED)
			return ck_fail(err, -EBADMSG, "%s: indexes are nested more than %d deep",
				       what, MAX_NESTED);
		rc = read_next(s, &d, doc, err);
		if (rc < 0)
			return rc;
		if (!more && *wish.pin)
			return ck_fail(err, -EBADMSG, "manifest %s is not the pinned %s",
				       d.digest_str, wish.pin);
		if (!more)
			return 0;
		snprintf(what, sizeof what, "index %s", d.digest_str);
		wish.layout = false;
		wish.name = NULL;
	}
}

static int find_in_layout(struct store *s, const struct ck_reference *ref, struct ck_wish wish,
			  struct ck_err *err)
{
	CK_BUF doc = { 0 };
	int rc = ck_layout_root(&s->source.layout, &doc, err);

	wish.layout = true;
	wish.name = ref->name;
	wish.pin = ref->pin;
	return rc < 0 ? rc : walk(s, &doc, "index.json", wish, err);
}

/* A tag is asked for once: what it names then is what is read. */
static int find_in_registry(struct store *s, const struct ck_reference *ref, struct ck_wish wish,
			    struct ck_err *err)
{
	char digest[CK_DIGEST_STR], what[96];
	bool pinned = ref->pin[0];
	CK_BUF doc = { 0 };
	int rc = ck_source_resolve(&s->source, pinned ? ref->pin : ref->name, &doc, &s->media_type,
				   digest, err);

	if (rc < 0)
		return rc;
	if (!pinned)
		ck_log(CK_LOG_INFO, "note: docker://%s/%s:%s is %s", ref->host, ref->repo,
		       ref->name, digest);
	if (ck_media_is_index(s->media_type)) {
		snprintf(what, sizeof what, "index %s", digest);
		wish.pin = "";
		return walk(s, &doc, what, wish, err);
	}
	s->manifest = doc;
	doc = (struct ck_buf){ 0 };
	return 0;
}

static int find_in_dir(struct store *s, const struct ck_reference *ref, struct ck_err *err)
{
	uint8_t digest[CK_SHA256_LEN];
	char text[CK_DIGEST_STR];
	int rc = ck_layout_root(&s->source.layout, &s->manifest, err);

	if (rc < 0)
		return rc;
	ck_sha256(digest, ck_buf_str(&s->manifest), s->manifest.len);
	ck_digest_str(text, digest);
	if (ref->pin[0] && strcmp(text, ref->pin) != 0)
		return ck_fail(err, -EBADMSG, "manifest %s is not the pinned %s", text, ref->pin);
	return 0;
}

static void show_layer(struct ck_image_layer *to, const struct ck_descriptor *d)
{
	static const char suffix[] = CK_MEDIA_ENCRYPTED;
	size_t len = strlen(d->media_type), n = sizeof suffix - 1;

	to->media_type = d->media_type;
	memcpy(to->digest_str, d->digest_str, sizeof to->digest_str);
	memcpy(to->digest, d->digest, sizeof to->digest);
	to->size = d->size;
	to->annotations = d->annotations;
	to->encrypted = len >= n && strcmp(d->media_type + len - n, suffix) == 0;
}

static int read_config(struct store *s, struct ck_platform *platform, struct ck_err *err)
{
	size_t n = s->doc.n_layers;
	CK_AUTO(ck_freep) uint8_t(*diff_ids)[CK_SHA256_LEN] = calloc(n ? n : 1, sizeof *diff_ids);

	s->layers = calloc(n ? n : 1, sizeof *s->layers);
	s->remotes = calloc(n ? n : 1, sizeof(struct ck_remote *));
	if (!diff_ids || !s->layers || !s->remotes)
		return ck_nomem(err, "opening an image");
	int rc = ck_source_doc(&s->source, &s->doc.config, &s->config, err);
	if (rc == 0)
		rc = ck_manifest_config_parse(diff_ids, n, platform, s->config.data, s->config.len,
					      err);
	if (rc < 0)
		return ck_wrap(err, "config %s", s->doc.config.digest_str);
	for (size_t i = 0; i < n; i++) {
		show_layer(&s->layers[i], &s->doc.layers[i]);
		memcpy(s->layers[i].diff_id, diff_ids[i], CK_SHA256_LEN);
	}
	return 0;
}

static int read_documents(struct store *s, struct ck_platform *platform, struct ck_err *err)
{
	uint8_t digest[CK_SHA256_LEN];
	struct ck_image *pub = &s->pub;
	ck_sha256(digest, ck_buf_str(&s->manifest), s->manifest.len);
	ck_digest_str(pub->manifest_digest, digest);

	int rc = ck_manifest_parse(&s->doc, s->manifest.data, s->manifest.len, s->media_type, err);
	if (rc < 0)
		return ck_wrap(err, "manifest %s", pub->manifest_digest);
	rc = read_config(s, platform, err);
	if (rc < 0)
		return rc;
	pub->manifest_type = s->doc.media_type;
	pub->manifest = s->manifest.data;
	pub->manifest_len = s->manifest.len;
	pub->config = s->config.data;
	pub->config_len = s->config.len;
	ck_platform_str(pub->platform, platform);
	pub->layers = s->layers;
	pub->n_layers = s->doc.n_layers;
	return 0;
}

static int find(struct store *s, const struct ck_reference *ref, const struct ck_platform *want,
		bool strict, struct ck_err *err)
{
	const struct ck_wish wish = { .platform = want, .strict = strict };

	switch (ref->transport) {
	case CK_TRANSPORT_DIR:
		return find_in_dir(s, ref, err);
	case CK_TRANSPORT_DOCKER:
		return find_in_registry(s, ref, wish, err);
	default:
		return find_in_layout(s, ref, wish, err);
	}
}

static int open_store(struct store *s, const struct ck_reference *ref, const char *platform,
		      const struct ck_image_from *from, struct ck_err *err)
{
	const struct ck_image_from none = { 0 };
	struct ck_platform want, is;

	from = from ? from : &none;
	ck_platform_host(&want);
	int rc = platform ? ck_platform_parse(&want, platform, err) : 0;
	if (rc == 0)
		rc = ck_source_open(&s->source, ref, from->registry, from->cache, err);
	if (rc == 0)
		rc = find(s, ref, &want, platform, err);
	if (rc == 0)
		rc = read_documents(s, &is, err);
	if (rc < 0)
		return rc;
	/* An image for another machine can be looked at, unless this one was asked for. */
	if (platform && s->pub.platform[0] && ck_platform_rank(&want, &is) < 0)
		return ck_fail(err, -EINVAL, "its platform is %s, not %s", s->pub.platform,
			       platform);
	return 0;
}

int ck_image_open(struct ck_image **out, const char *ref, const char *platform,
		  const struct ck_image_from *from, struct ck_err *err)
{
	CK_AUTO(ck_reference_free) struct ck_reference r = { 0 };
	CK_AUTO(store_freep) struct store *s = calloc(1, sizeof *s);

	if (!s)
		return ck_nomem(err, "opening an image");
	s->source = CK_SOURCE_NONE;
	int rc = ck_reference_parse(&r, ref, err);
	if (rc < 0)
		return rc;
	rc = open_store(s, &r, platform, from, err);
	if (rc < 0)
		return ck_wrap(err, "cannot open image %s", ref);
	s->pub.registry = s->source.registry;
	s->pub.store = s;
	*out = &s->pub;
	s = NULL;
	return 0;
}

void ck_image_close(struct ck_image *img)
{
	if (img)
		store_free(img->store);
}

int ck_image_blob(const struct ck_image *img, size_t idx, struct ck_reader **out,
		  struct ck_err *err)
{
	const struct store *s = img->store;

	if (idx >= img->n_layers)
		return ck_fail(err, -EINVAL, "there is no layer %zu: the image has %zu", idx,
			       img->n_layers);
	return ck_source_blob(&s->source, img->layers[idx].digest, img->layers[idx].size, out,
			      &s->remotes[idx], err);
}

static struct other *other(const struct store *s, const uint8_t digest[CK_SHA256_LEN])
{
	for (size_t i = 0; i < s->n_others; i++)
		if (memcmp(s->others[i].digest, digest, CK_SHA256_LEN) == 0)
			return &s->others[i];
	return NULL;
}

int ck_image_other_blob(const struct ck_image *img, const uint8_t digest[CK_SHA256_LEN],
			uint64_t size, struct ck_reader **out, struct ck_err *err)
{
	struct store *s = img->store;
	struct other *o = other(s, digest);

	if (!o) {
		o = reallocarray(s->others, s->n_others + 1, sizeof *o);
		if (!o)
			return ck_nomem(err, "opening a blob");
		s->others = o;
		o = &o[s->n_others++];
		memcpy(o->digest, digest, sizeof o->digest);
	}
	o->remote = NULL;
	return ck_source_blob(&s->source, digest, size, out, &o->remote, err);
}

struct ck_remote *ck_image_other_remote(const struct ck_image *img,
					const uint8_t digest[CK_SHA256_LEN])
{
	const struct store *s = img->store;
	const struct other *o = s ? other(s, digest) : NULL;

	return o ? o->remote : NULL;
}

struct ck_net *ck_image_net(const struct ck_image *img)
{
	const struct store *s = img->store;

	return s ? s->source.net : NULL;
}

void ck_image_cancel(const struct ck_image *img)
{
	if (ck_image_net(img))
		ck_net_cancel(ck_image_net(img));
}

struct ck_remote *const *ck_image_remotes(const struct ck_image *img)
{
	const struct store *s = img->store;

	return s ? s->remotes : NULL;
}
