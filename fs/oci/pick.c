#include "fs/oci/pick.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "fs/oci/entries.h"

/* The entries still in question: borrowed objects. */
struct choice {
	const json_t **entries; /* owned array */
	size_t n;
};

static void choice_free(struct choice *c)
{
	free(c->entries);
}

static const char *text_of(const json_t *obj, const char *key)
{
	const char *s = json_string_value(json_object_get(obj, key));

	return s ? s : "";
}

static bool is_image(const json_t *entry)
{
	const char *type = text_of(entry, "mediaType");

	return ck_media_is_index(type) || ck_media_is_manifest(type);
}

/* What was added to an image is not what is looked for, unless by its name. */
static bool passed_over(const json_t *entry, const struct ck_wish *w)
{
	return ck_entry_is_referrer(entry) &&
	       !(w->name && strcmp(ck_entry_name(entry), w->name) == 0);
}

/* The type of an artifact among ENTRIES, "" when there is none. */
static const char *artifact_in(const json_t *entries)
{
	const char *type = "";

	for (size_t i = 0; i < json_array_size(entries) && !*type; i++)
		type = text_of(json_array_get(entries, i), "artifactType");
	return type;
}

/* Keeps the entries whose value (by GET) is WANTED, unless none is and KEEP_IF_NONE. */
static void keep(struct choice *c, const char *(*get)(const json_t *), const char *wanted,
		 bool keep_if_none)
{
	size_t n = 0;

	for (size_t i = 0; i < c->n; i++)
		n += strcmp(get(c->entries[i]), wanted) == 0;
	if (n == 0 && keep_if_none)
		return;
	n = 0;
	for (size_t i = 0; i < c->n; i++)
		if (strcmp(get(c->entries[i]), wanted) == 0)
			c->entries[n++] = c->entries[i];
	c->n = n;
}

static const char *digest_of(const json_t *entry)
{
	return text_of(entry, "digest");
}

static bool all_the_same(const struct choice *c)
{
	for (size_t i = 1; i < c->n; i++)
		if (strcmp(digest_of(c->entries[i]), digest_of(c->entries[0])) != 0)
			return false;
	return c->n > 0;
}

/* Whether the entries are one image for several platforms. */
static bool by_platform(const struct choice *c, const char *name)
{
	for (size_t i = 0; i < c->n; i++) {
		if (!json_is_object(json_object_get(c->entries[i], "platform")))
			return false;
		if (!name && *ck_entry_name(c->entries[i]))
			return false;
	}
	return true;
}

static int add_platform(struct ck_buf *list, const json_t *entry, struct ck_err *err)
{
	struct ck_platform p;
	char text[CK_PLATFORM_STR];

	if (ck_platform_read(&p, json_object_get(entry, "platform"), NULL) < 0)
		return 0;
	ck_platform_str(text, &p);
	return ck_buf_addf(list, err, "%s%s", list->len ? ", " : "", *text ? text : "(any)");
}

static int pick_platform(const struct choice *c, const struct ck_platform *want, const json_t **out,
			 struct ck_err *err)
{
	CK_BUF there = { 0 };
	int best = -1, rc;

	for (size_t i = 0; i < c->n; i++) {
		struct ck_platform p;
		rc = ck_platform_read(&p, json_object_get(c->entries[i], "platform"), err);
		if (rc < 0)
			return ck_wrap(err, "the platform of manifest %zu", i);
		int rank = ck_platform_rank(want, &p);
		if (rank > best) {
			best = rank;
			*out = c->entries[i];
		}
		rc = add_platform(&there, c->entries[i], err);
		if (rc < 0)
			return rc;
	}
	if (best >= 0)
		return 0;
	char text[CK_PLATFORM_STR];
	ck_platform_str(text, want);
	return ck_fail(err, -EINVAL, "there is no image for %s, only for: %s", text,
		       there.len ? ck_buf_str(&there) : "nothing");
}

static int list_names(struct ck_buf *list, const struct choice *c, struct ck_err *err)
{
	for (size_t i = 0; i < c->n; i++) {
		const char *name = ck_entry_name(c->entries[i]);
		int rc = *name ? ck_buf_addf(list, err, "%s%s", list->len ? ", " : "", name)
			       : ck_buf_addf(list, err, "%s(no name) @%.80s", list->len ? ", " : "",
					     digest_of(c->entries[i]));
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int pick_named(struct choice *c, const char *name, struct ck_err *err)
{
	CK_BUF names = { 0 };
	int rc = list_names(&names, c, err);

	if (rc < 0)
		return rc;
	keep(c, ck_entry_name, name, false);
	if (c->n == 0)
		return ck_fail(err, -ENOENT, "no image is called \"%s\" there, only: %s", name,
			       names.len ? ck_buf_str(&names) : "nothing");
	return 0;
}

/* Whether the only image there is must not be questioned further. */
static bool settled(const struct choice *c, const struct ck_wish *w)
{
	if (!all_the_same(c))
		return false;
	if (strcmp(digest_of(c->entries[0]), w->pin) == 0)
		return true;
	/* In a layout a single image is what was asked for; in an index it still has to
	 * suit the machine, unless it does not say. */
	return (w->layout && !w->strict) ||
	       !json_is_object(json_object_get(c->entries[0], "platform"));
}

static int pick_entry(struct choice *c, const struct ck_wish *w, const json_t **out,
		      struct ck_err *err)
{
	if (w->name) {
		int rc = pick_named(c, w->name, err);
		if (rc < 0)
			return rc;
	}
	if (*w->pin)
		keep(c, digest_of, w->pin, true);
	if (c->n == 0)
		return ck_fail(err, -EINVAL, "there is no image in it");
	if (settled(c, w)) {
		*out = c->entries[0];
		return 0;
	}
	if (!w->layout || all_the_same(c) || by_platform(c, w->name))
		return pick_platform(c, w->platform, out, err);
	CK_BUF names = { 0 };
	int rc = list_names(&names, c, err);
	if (rc < 0)
		return rc;
	return ck_fail(err, -EINVAL,
		       "there are several images in it, say which with oci:DIR:REF: %s",
		       ck_buf_str(&names));
}

int ck_pick(struct ck_descriptor *out, const json_t *index, const struct ck_wish *asked,
	    struct ck_err *err)
{
	const json_t *manifests = json_object_get(index, "manifests"), *picked = NULL;
	size_t n = json_array_size(manifests);
	CK_AUTO(choice_free) struct choice c = { calloc(n ? n : 1, sizeof *c.entries), 0 };

	if (!c.entries)
		return ck_nomem(err, "picking an image");
	for (size_t i = 0; i < n; i++) {
		const json_t *entry = json_array_get(manifests, i);
		if (is_image(entry) && !passed_over(entry, asked))
			c.entries[c.n++] = entry;
	}
	if (c.n == 0 && !asked->name && *artifact_in(manifests))
		return ck_fail(err, -ENOTSUP,
			       "there is no container image in it, only what refers to one: %.80s",
			       artifact_in(manifests));
	int rc = pick_entry(&c, asked, &picked, err);
	return rc < 0 ? rc : ck_descriptor_read(out, picked, err);
}
