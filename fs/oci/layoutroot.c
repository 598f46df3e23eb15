/* layoutroot - the root document of a layout, with a new manifest in it. */
#include <errno.h>

#include "base/json.h"
#include "fs/oci/entries.h"
#include "fs/oci/layoutstore_steps.h"
#include "fs/oci/referrers.h"

/* Puts the list of referrers with the artifact M in it, and sets it in INDEX. */
static int set_artifact(struct ck_layoutstore *s, json_t *index, const struct ck_new_manifest *m,
			struct ck_err *err)
{
	CK_AUTO(ck_json_freep) json_t *referrers = NULL;
	CK_BUF text = { 0 };
	char name[CK_REFERRERS_NAME];

	ck_referrers_name(name, m->subject->digest);
	int rc = ck_referrers_read(&referrers, &s->dir.layout, index, name, err);
	if (rc == 0 || rc == -ENOENT)
		rc = ck_referrers_make(&text, referrers, &m->d, err);
	if (rc < 0)
		return rc;
	struct ck_descriptor d = { .media_type = CK_MEDIA_INDEX, .size = text.len };
	rc = ck_blobstore_put(&s->base, text.data, text.len, d.digest, err);
	return rc < 0 ? rc : ck_entries_replace(index, &d, name, err);
}

static int make_index(struct ck_layoutstore *s, const struct ck_new_manifest *m,
		      const struct ck_buf *old, struct ck_buf *new, struct ck_err *err)
{
	CK_AUTO(ck_json_freep) json_t *index = NULL;
	uint8_t digest[CK_SHA256_LEN];

	int rc = ck_blobstore_put(&s->base, m->p, m->d.size, digest, err);
	if (rc < 0)
		return rc;
	rc = ck_entries_parse(&index, old->data, old->len, err);
	if (rc < 0)
		return ck_wrap(err, "index.json");
	rc = m->subject ? set_artifact(s, index, m, err)
			: ck_entries_set(index, &m->d, m->name, m->platform, err);
	return rc < 0 ? rc : ck_json_dump(new, index, err);
}

int ck_layoutstore_root(struct ck_layoutstore *s, const struct ck_new_manifest *m,
			const struct ck_buf *old, struct ck_buf *new, struct ck_err *err)
{
	int rc = m->subject ? 0 : ck_blobstore_whole(&s->base, m, err);

	if (rc < 0)
		return rc;
	if (s->dir.layout.transport == CK_TRANSPORT_OCI)
		return make_index(s, m, old, new, err);
	if (old->len)
		return ck_fail(err, -EEXIST, "it holds an image by now");
	return ck_buf_add(new, m->p, m->d.size, err);
}
