#include "fs/oci/referrers.h"

#include <errno.h>

#include "base/json.h"
#include "fs/oci/artifactdoc.h"
#include "fs/oci/entries.h"

int ck_missing_is_damage(int rc, struct ck_err *err)
{
	if (rc == -ENOENT && err)
		err->code = -EBADMSG;
	return rc == -ENOENT ? -EBADMSG : rc;
}

int ck_referrers_read(json_t **out, const struct ck_layout *l, const json_t *index,
		      const char *name, struct ck_err *err)
{
	CK_BUF text = { 0 };
	struct ck_descriptor d;
	const json_t *entry = ck_entries_find(index, name);

	if (!entry)
		return ck_fail(err, -ENOENT, "nothing refers to the image");
	int rc = ck_descriptor_read(&d, entry, err);
	if (rc == 0 && !ck_media_is_index(d.media_type))
		rc = ck_fail(err, -EBADMSG, "it is not an index but %.80s", d.media_type);
	if (rc == 0)
		rc = ck_layout_doc(l, &d, &text, err);
	if (rc == 0)
		rc = ck_manifest_list_parse(out, text.data, text.len, d.media_type, err);
	rc = ck_missing_is_damage(rc, err);
	return rc < 0 ? ck_wrap(err, "index %s", name) : 0;
}

int ck_referrers_make(struct ck_buf *text, json_t *referrers, const struct ck_descriptor *d,
		      struct ck_err *err)
{
	CK_JSON *list = referrers ? json_incref(referrers)
				  : json_pack("{s:i,s:s,s:[]}", "schemaVersion", 2, "mediaType",
					      CK_MEDIA_INDEX, "manifests");

	if (!list)
		return ck_nomem(err, "making an index");
	int rc = ck_referrers_set(list, d, err);
	if (rc == 0)
		rc = ck_json_dump(text, list, err);
	if (rc == 0 && text->len > CK_LAYOUT_MAX_DOC)
		rc = ck_fail(err, -EFBIG, "the list of what refers to the image grows too large");
	return rc;
}
