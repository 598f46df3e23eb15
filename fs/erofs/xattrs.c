#include "fs/erofs/xattrs.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "fs/erofs/format.h"

enum { MAX_VALUE = UINT16_MAX, MAX_NAME = UINT8_MAX };

/* EROFS writes a number for what a name begins with. */
struct prefix {
	const char *text;
	uint8_t number;
	bool whole; /* the whole name, not a beginning */
};

static const struct prefix prefixes[] = {
	{ "user.", 1, false },
	{ "system.posix_acl_access", 2, true },
	{ "system.posix_acl_default", 3, true },
	{ "trusted.", 4, false },
	{ "security.", 6, false },
};

/* The prefix of NAME and the rest of it, or NULL where the kernel would know none. */
static const struct prefix *split(const char *name, const char **rest)
{
	for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
		const struct prefix *p = &prefixes[i];
		size_t n = strlen(p->text);
		if (strncmp(name, p->text, n) == 0 && (name[n] == 0) == p->whole) {
			*rest = name + n;
			return p;
		}
	}
	return NULL;
}

static int entry_len(uint64_t *out, const struct ck_index *x, const struct ck_xattr *a,
		     struct ck_err *err)
{
	const char *name = ck_index_bytes(x, a->name), *rest;

	if (!split(name, &rest))
		return ck_fail(err, -ENOTSUP, "EROFS does not know attributes such as %s", name);
	if (strlen(rest) > MAX_NAME)
		return ck_fail(err, -ENOTSUP, "the name of an attribute is of %zu bytes",
			       strlen(name));
	if (a->value.len > MAX_VALUE)
		return ck_fail(err, -ENOTSUP,
			       "attribute %s is of %" PRIu32 " bytes; EROFS takes %d", name,
			       a->value.len, MAX_VALUE);
	*out = ck_round_up(EROFS_XATTR_ENTRY_LEN + strlen(rest) + a->value.len, 4);
	return 0;
}

int ck_erofs_xattrs_len(uint32_t *out, const struct ck_index *x, const struct ck_entry *e,
			struct ck_err *err)
{
	uint64_t all = 0, len = 0;

	*out = 0;
	for (uint32_t i = 0; i < e->n_xattrs; i++) {
		int rc = entry_len(&len, x, &x->xattrs[e->first_xattr + i], err);
		if (rc < 0)
			return rc;
		all += len;
	}
	if (all / 4 > EROFS_XATTR_MAX_WORDS)
		return ck_fail(err, -ENOTSUP,
			       "its attributes are of %" PRIu64 " bytes; EROFS takes %d", all,
			       EROFS_XATTR_MAX_WORDS * 4);
	if (all)
		*out = (uint32_t)(EROFS_XATTR_HEAD_LEN + all);
	return 0;
}

void ck_erofs_xattrs_put(uint8_t *p, const struct ck_index *x, const struct ck_entry *e)
{
	const char *rest;

	/* The head is a filter that is not used and a count of shared attributes: zeros. */
	p += EROFS_XATTR_HEAD_LEN;
	for (uint32_t i = 0; i < e->n_xattrs; i++) {
		const struct ck_xattr *a = &x->xattrs[e->first_xattr + i];
		const struct prefix *prefix = split(ck_index_bytes(x, a->name), &rest);
		size_t len = strlen(rest);
		p[0] = (uint8_t)len;
		p[1] = prefix->number;
		ck_put_le16(p + 2, (uint16_t)a->value.len);
		memcpy(p + EROFS_XATTR_ENTRY_LEN, rest, len);
		memcpy(p + EROFS_XATTR_ENTRY_LEN + len, ck_index_bytes(x, a->value), a->value.len);
		p += ck_round_up(EROFS_XATTR_ENTRY_LEN + len + a->value.len, 4);
	}
}
