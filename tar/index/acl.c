#include "tar/index/acl.h"

#include <archive.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct item {
	uint16_t tag, perm;
	uint32_t id;
};

static void put_le(uint8_t *out, uint32_t v, size_t nbytes)
{
	for (size_t i = 0; i < nbytes; i++)
		out[i] = (uint8_t)(v >> (8 * i));
}

/* The kernel's tag for libarchive's; 0 when there is none. */
static uint16_t kernel_tag(int tag)
{
	switch (tag) {
	case ARCHIVE_ENTRY_ACL_USER_OBJ:
		return 0x01;
	case ARCHIVE_ENTRY_ACL_USER:
		return 0x02;
	case ARCHIVE_ENTRY_ACL_GROUP_OBJ:
		return 0x04;
	case ARCHIVE_ENTRY_ACL_GROUP:
		return 0x08;
	case ARCHIVE_ENTRY_ACL_MASK:
		return 0x10;
	case ARCHIVE_ENTRY_ACL_OTHER:
		return 0x20;
	default:
		return 0;
	}
}

/* The kernel wants tags ascending, and ids ascending within a tag. */
static int by_tag_then_id(const void *pa, const void *pb)
{
	const struct item *a = pa, *b = pb;

	if (a->tag != b->tag)
		return a->tag < b->tag ? -1 : 1;
	return (a->id > b->id) - (a->id < b->id);
}

int ck_acl_pack(struct ck_buf *b, struct archive_entry *e, int type, struct ck_err *err)
{
	int n = archive_entry_acl_reset(e, type), got_type, permset, tag, id;
	const char *name;

	/* An access list that says no more than the mode is counted as none. */
	if (n <= 0)
		return 0;
	CK_AUTO(ck_freep) struct item *items = calloc((size_t)n, sizeof *items);
	if (!items)
		return ck_nomem(err, "reading an access control list");
	size_t k = 0;
	while (k < (size_t)n && archive_entry_acl_next(e, type, &got_type, &permset, &tag, &id,
						       &name) == ARCHIVE_OK) {
		struct item i = { kernel_tag(tag), (uint16_t)(permset & 7), UINT32_MAX };
		if (!i.tag)
			return ck_fail(err, -EBADMSG, "access control list with an unknown tag");
		if (i.tag == 0x02 || i.tag == 0x08)
			i.id = (uint32_t)id;
		items[k++] = i;
	}
	qsort(items, k, sizeof *items, by_tag_then_id);
	uint8_t raw[8] = { 2 };
	int rc = ck_buf_add(b, raw, 4, err);
	for (size_t i = 0; rc == 0 && i < k; i++) {
		put_le(raw, items[i].tag, 2);
		put_le(raw + 2, items[i].perm, 2);
		put_le(raw + 4, items[i].id, 4);
		rc = ck_buf_add(b, raw, 8, err);
	}
	return rc;
}
