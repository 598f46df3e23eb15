#include "fs/oci/entries.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/json.h"

#define REF_NAME	 "org.opencontainers.image.ref.name"
#define ALPHANUM	 "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#define REFERRERS_PREFIX "sha256-"

const char *ck_entry_name(const json_t *entry)
{
	const json_t *annotations = json_object_get(entry, "annotations");
	const char *s = json_string_value(json_object_get(annotations, REF_NAME));

	return s ? s : "";
}

const json_t *ck_entries_find(const json_t *index, const char *name)
{
	const json_t *manifests = json_object_get(index, "manifests");

	for (size_t i = 0; i < json_array_size(manifests); i++)
		if (strcmp(ck_entry_name(json_array_get(manifests, i)), name) == 0)
			return json_array_get(manifests, i);
	return NULL;
}

void ck_referrers_name(char out[CK_REFERRERS_NAME], const uint8_t digest[CK_SHA256_LEN])
{
	memcpy(out, REFERRERS_PREFIX, sizeof REFERRERS_PREFIX - 1);
	ck_hex(out + sizeof REFERRERS_PREFIX - 1, digest, CK_SHA256_LEN);
}

bool ck_referrers_named(const char *name)
{
	size_t prefix = sizeof REFERRERS_PREFIX - 1;

	return strncmp(name, REFERRERS_PREFIX, prefix) == 0 &&
	       strspn(name + prefix, "0123456789abcdef") == 2 * CK_SHA256_LEN &&
	       !name[prefix + 2 * CK_SHA256_LEN];
}

bool ck_entry_is_referrer(const json_t *entry)
{
	return json_object_get(entry, "artifactType") || ck_referrers_named(ck_entry_name(entry));
}

/* The length of the separator that S starts with, 0 when it is none. */
static size_t separator(const char *s)
{
	if (s[0] == '-' && s[1] == '-')
		return 2;
	return s[0] && strchr("-._:@+/", s[0]);
}

int ck_entry_name_check(const char *name, struct ck_err *err)
{
	const char *s = name;

	for (;;) {
		size_t n = strspn(s, ALPHANUM), sep = separator(s + n);
		if (n > 0 && !s[n])
			break;
		if (n == 0 || sep == 0)
			return ck_fail(err, -EINVAL,
				       "REF \"%.80s\" is not letters and digits with one of "
				       "-._:@+/ between them",
				       name);
		s += n + sep;
	}
	if (ck_referrers_named(name))
		return ck_fail(err, -EINVAL,
			       "REF \"%s\" is a name that what refers to an image has", name);
	return 0;
}

int ck_entries_parse(json_t **out, const void *p, size_t nbytes, struct ck_err *err)
{
	if (nbytes)
		return ck_manifest_list_parse(out, p, nbytes, NULL, err);
	*out = json_pack("{s:i,s:[]}", "schemaVersion", 2, "manifests");
	return *out ? 0 : ck_nomem(err, "making an index");
}

static void take_name(json_t *entry)
{
	json_t *annotations = json_object_get(entry, "annotations");

	(void)json_object_del(annotations, REF_NAME);
	if (json_object_size(annotations) == 0)
		(void)json_object_del(entry, "annotations");
}

/* Gives ENTRY what it did not have yet; false when memory is out. */
static bool fill(json_t *entry, const struct ck_descriptor *d, const char *name,
		 const json_t *platform)
{
	CK_JSON *core = ck_descriptor_json(d->media_type, d->digest, d->size);
	bool ok = core && json_object_update(entry, core) == 0;

	if (ok && name && !json_is_object(json_object_get(entry, "annotations")))
		ok = json_object_set_new(entry, "annotations", json_object()) == 0;
	if (ok && name)
		ok = json_object_set_new(json_object_get(entry, "annotations"), REF_NAME,
					 json_string(name)) == 0;
	if (ok && platform)
		ok = json_object_set_new(entry, "platform", json_deep_copy(platform)) == 0;
	return ok;
}

static int add(json_t *manifests, const struct ck_descriptor *d, const char *name,
	       const json_t *platform, struct ck_err *err)
{
	json_t *entry = json_object();

	if (!entry || json_array_append_new(manifests, entry) < 0 ||
	    !fill(entry, d, name, platform))
		return ck_nomem(err, "adding to an index");
	return 0;
}

int ck_entries_set(json_t *index, const struct ck_descriptor *d, const char *name,
		   const json_t *platform, struct ck_err *err)
{
	json_t *manifests = json_object_get(index, "manifests"), *entry;
	size_t i;

	json_array_foreach (manifests, i, entry)
		if (name && strcmp(ck_entry_name(entry), name) == 0)
			take_name(entry);
	json_array_foreach (manifests, i, entry) {
		const char *digest = json_string_value(json_object_get(entry, "digest"));
		if (*ck_entry_name(entry) || !digest || strcmp(digest, d->digest_str) != 0)
			continue;
		return fill(entry, d, name, platform) ? 0 : ck_nomem(err, "adding to an index");
	}
	return add(manifests, d, name, platform, err);
}

int ck_entries_replace(json_t *index, const struct ck_descriptor *d, const char *name,
		       struct ck_err *err)
{
	json_t *manifests = json_object_get(index, "manifests");

	for (size_t i = json_array_size(manifests); i-- > 0;)
		if (strcmp(ck_entry_name(json_array_get(manifests, i)), name) == 0)
			(void)json_array_remove(manifests, i);
	return add(manifests, d, name, NULL, err);
}
