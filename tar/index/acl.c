#include "tar/index/acl.h"

#include <archive.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

const char *const ck_acl_name[CK_ACL_TYPES] = { "system.posix_acl_access",
						"system.posix_acl_default" };

/* The kernel's tags. */
enum { USER_OBJ = 1, USER = 2, GROUP_OBJ = 4, GROUP = 8, MASK = 16, OTHER = 32 };

enum { VERSION = 2, HEAD_LEN = 4, ITEM_LEN = 8 };

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
		return USER_OBJ;
	case ARCHIVE_ENTRY_ACL_USER:
		return USER;
	case ARCHIVE_ENTRY_ACL_GROUP_OBJ:
		return GROUP_OBJ;
	case ARCHIVE_ENTRY_ACL_GROUP:
		return GROUP;
	case ARCHIVE_ENTRY_ACL_MASK:
		return MASK;
	case ARCHIVE_ENTRY_ACL_OTHER:
		return OTHER;
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

int ck_acl_pack(struct ck_buf *b, struct archive_entry *e, enum ck_acl_type acl_type,
		struct ck_err *err)
{
	int type = acl_type == CK_ACL_ACCESS ? ARCHIVE_ENTRY_ACL_TYPE_ACCESS
					     : ARCHIVE_ENTRY_ACL_TYPE_DEFAULT;
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
		if (i.tag == USER || i.tag == GROUP) {
			i.id = (uint32_t)id;
			if (id < 0 || id == INT_MAX) /* it cuts larger ones to that */
				return ck_fail(err, -EBADMSG,
					       "access control list with an id above %d",
					       INT_MAX - 1);
		}
		items[k++] = i;
	}
	qsort(items, k, sizeof *items, by_tag_then_id);
	uint8_t raw[ITEM_LEN] = { VERSION };
	int rc = ck_buf_add(b, raw, HEAD_LEN, err);
	for (size_t i = 0; rc == 0 && i < k; i++) {
		put_le(raw, items[i].tag, 2);
		put_le(raw + 2, items[i].perm, 2);
		put_le(raw + 4, items[i].id, 4);
		rc = ck_buf_add(b, raw, ITEM_LEN, err);
	}
	return rc;
}

static uint32_t get_le(const uint8_t *p, size_t nbytes)
{
	uint32_t v = 0;

	for (size_t i = 0; i < nbytes; i++)
		v |= (uint32_t)p[i] << (8 * i);
	return v;
}

/* Adds one entry; false where it is none, or comes too late. LAST is the tag before it. */
static bool add_item(struct ck_acl *a, struct item i, uint16_t last)
{
	bool named = i.tag == USER || i.tag == GROUP;

	if (i.perm > 7 || (i.tag < last || (i.tag == last && !named)))
		return false;
	switch (i.tag) {
	case USER_OBJ:
		a->perm |= (mode_t)i.perm << 6;
		return true;
	case GROUP_OBJ:
		a->perm |= (mode_t)i.perm << 3;
		return true;
	case MASK: /* stands for the group in a mode */
		a->perm = (a->perm & ~(mode_t)070) | (mode_t)i.perm << 3;
		a->has_mask = true;
		return true;
	case OTHER:
		a->perm |= i.perm;
		return true;
	default:
		return named;
	}
}

int ck_acl_read(struct ck_acl *out, const void *value, size_t len, struct ck_err *err)
{
	const uint8_t *p = value;
	struct ck_acl a = { 0 };
	unsigned tags = 0;
	uint16_t last = 0;

	if (len < HEAD_LEN || (len - HEAD_LEN) % ITEM_LEN || get_le(p, HEAD_LEN) != VERSION)
		return ck_fail(err, -EBADMSG, "malformed access control list");
	for (size_t at = HEAD_LEN; at < len; at += ITEM_LEN) {
		struct item i = { (uint16_t)get_le(p + at, 2), (uint16_t)get_le(p + at + 2, 2), 0 };
		if (!add_item(&a, i, last))
			return ck_fail(err, -EBADMSG, "malformed access control list");
		tags |= i.tag;
		last = i.tag;
		a.n_entries++;
	}
	const unsigned needed = USER_OBJ | GROUP_OBJ | OTHER;
	if (a.n_entries && ((tags & needed) != needed || ((tags & (USER | GROUP)) && !a.has_mask)))
		return ck_fail(err, -EBADMSG, "access control list without a needed entry");
	*out = a;
	return 0;
}
