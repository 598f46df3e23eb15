/* pushlist - the list of what refers to an image, in a registry that keeps none. */
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/json.h"
#include "fs/oci/artifactdoc.h"
#include "fs/oci/entries.h"
#include "fs/oci/layout.h"
#include "fs/oci/referrers.h"
#include "fs/registry/push_steps.h"

enum { TRIES = 8 };

/* Reads the list with tag NAME, past mirrors and what they keep; *OUT is the caller's reference,
 * NULL where there is no list. */
static int read_list(json_t **out, struct ck_registry *r, const char *name, struct ck_err *err)
{
	static const char *const headers[] = { "Accept: " CK_MEDIA_INDEX };
	CK_HTTP_RES res = { 0 };
	char path[sizeof "manifests/" + CK_REFERRERS_NAME];
	const struct ck_registry_req req = { .method = "GET",
					     .path = path,
					     .headers = headers,
					     .n_headers = 1,
					     .push = true,
					     .max_body = CK_LAYOUT_MAX_DOC };

	snprintf(path, sizeof path, "manifests/%s", name);
	int rc = ck_registry_do(r, &req, &res, err);
	if (rc == 0 && res.status == 404)
		return 0;
	if (rc == 0 && res.status != 200)
		rc = ck_registry_refused(&res, err);
	/* What is there and no list is somebody's: it is not written over. */
	if (rc == 0)
		rc = ck_manifest_list_parse(out, res.body.data, res.body.len, NULL, err);
	return rc < 0 ? ck_wrap(err, "the list of what refers to the image, %s", name) : 0;
}

/* What artifacts of ours a list may have. */
struct ours {
	bool listed; /* the one that we put */
	bool newer;  /* one that was in no list before */
	json_t *old; /* digests of those that were, owned */
};

static bool holds(const json_t *strings, const char *s)
{
	for (size_t i = 0; i < json_array_size(strings); i++)
		if (strcmp(json_string_value(json_array_get(strings, i)), s) == 0)
			return true;
	return false;
}

static int look(struct ours *o, const json_t *list, const char *digest, bool first,
		struct ck_err *err)
{
	const json_t *manifests = json_object_get(list, "manifests");

	o->listed = o->newer = false;
	for (size_t i = 0; i < json_array_size(manifests); i++) {
		const json_t *entry = json_array_get(manifests, i);
		const char *type = json_string_value(json_object_get(entry, "artifactType"));
		const char *is = json_string_value(json_object_get(entry, "digest"));
		if (!is || !type || strcmp(type, CK_ARTIFACT_TYPE) != 0)
			continue;
		if (strcmp(is, digest) == 0)
			o->listed = true;
		else if (!first && !holds(o->old, is))
			o->newer = true;
		else if (first && json_array_append_new(o->old, json_string(is)) < 0)
			return ck_nomem(err, "reading a list");
	}
	return 0;
}

/* Once round: reads the list, and puts it back with D in it, unless it is, or somebody's who came
 * after us. 1: nothing is left to do. */
static int set_entry(struct ck_registry *r, const char *name, const struct ck_descriptor *d,
		     struct ours *ours, bool first, struct ck_err *err)
{
	CK_AUTO(ck_json_freep) json_t *list = NULL;
	CK_HTTP_RES res = { 0 };
	CK_BUF text = { 0 };
	int rc = read_list(&list, r, name, err);

	if (rc == 0)
		rc = look(ours, list, d->digest_str, first, err);
	if (rc < 0)
		return rc;
	if (ours->listed || ours->newer)
		return 1;
	rc = ck_referrers_make(&text, list, d, err);
	if (rc == 0)
		rc = ck_push_manifest(r, name, CK_MEDIA_INDEX, text.data, text.len, &res, err);
	return rc;
}

/* Who runs into another should not do so in step for ever. */
static void step_aside(int round)
{
	uint8_t r = 0;

	(void)!getrandom(&r, sizeof r, 0);
	const struct timespec t = { 0, (r % 50 + 1) * round * 1000000L };
	(void)nanosleep(&t, NULL);
}

int ck_push_listed(struct ck_registry *r, const struct ck_descriptor *subject,
		   const struct ck_descriptor *d, struct ck_err *err)
{
	CK_AUTO(ck_json_freep) json_t *old = json_array();
	struct ours ours = { .old = old };
	char name[CK_REFERRERS_NAME];
	int rc = old ? 0 : ck_nomem(err, "reading a list");

	ck_referrers_name(name, subject->digest);
	for (int i = 0; rc == 0 && i < TRIES; i++) {
		if (i > 1)
			step_aside(i);
		rc = set_entry(r, name, d, &ours, i == 0, err);
	}
	if (rc == 0)
		return ck_fail(err, -EBUSY,
			       "others keep changing the list of what refers to the image, %s",
			       name);
	return rc < 0 ? rc : 0;
}
