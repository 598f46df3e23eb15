#include "fs/erofs/xattrs.h"

#include <errno.h>
#include <string.h>

#include "fs/erofs/format.h"

/* A name is kept as the number of its prefix and the rest. The ACLs' values are the system
 * calls' own form in both worlds. */
static const struct {
	const char *text;
	uint8_t number;
} prefixes[] = {
	{ "user.", 1 },
	{ "system.posix_acl_access", 2 },
	{ "system.posix_acl_default", 3 },
	{ "trusted.", 4 },
	{ "security.", 6 },
};
enum { N_PREFIXES = sizeof prefixes / sizeof prefixes[0] };

/* The prefix of NAME, and how long it is; N_PREFIXES: none that is known. */
static size_t prefix_of(const char *name, size_t *len)
{
	size_t i = 0;

	for (; i < N_PREFIXES; i++) {
		*len = strlen(prefixes[i].text);
		if (strncmp(name, prefixes[i].text, *len) == 0)
			break;
	}
	return i;
}

int ck_xattrs_len(size_t *out, const struct ck_index *index, const struct ck_entry *e,
		  struct ck_err *err)
{
	size_t len = 0, prefix;

	for (uint32_t i = 0; e && i < e->n_xattrs; i++) {
		const struct ck_xattr *a = &index->xattrs[e->first_xattr + i];
		if (prefix_of(ck_index_bytes(index, a->name), &prefix) == N_PREFIXES)
			return ck_fail(err, -ENOTSUP, "EROFS has no form for the attribute %.80s",
				       ck_index_bytes(index, a->name));
		if (a->name.len - prefix > UINT8_MAX || a->value.len > UINT16_MAX)
			return ck_fail(err, -ENOTSUP, "the attribute %.80s is too long for EROFS",
				       ck_index_bytes(index, a->name));
		len += ck_round_up(EROFS_XATTR_LEN + a->name.len - prefix + a->value.len, 4);
	}
	*out = len ? EROFS_XATTRS_HEADER + len : 0;
	if (*out / 4 > UINT16_MAX)
		return ck_fail(err, -ENOTSUP, "its attributes are too long for EROFS");
	return 0;
}

void ck_xattrs_write(uint8_t *p, const struct ck_index *index, const struct ck_entry *e)
{
	size_t prefix;

	p += EROFS_XATTRS_HEADER; /* zeros: nothing is shared, no filter */
	for (uint32_t i = 0; i < e->n_xattrs; i++) {
		const struct ck_xattr *a = &index->xattrs[e->first_xattr + i];
		const char *name = ck_index_bytes(index, a->name);
		size_t which = prefix_of(name, &prefix), rest = a->name.len - prefix;
		p[0] = (uint8_t)rest;
		p[1] = prefixes[which].number;
		ck_put16(p + 2, (uint16_t)a->value.len);
		memcpy(p + EROFS_XATTR_LEN, name + prefix, rest);
		memcpy(p + EROFS_XATTR_LEN + rest, ck_index_bytes(index, a->value), a->value.len);
		p += ck_round_up(EROFS_XATTR_LEN + rest + a->value.len, 4);
	}
}

uint16_t ck_xattrs_count(size_t len)
{
	return len ? (uint16_t)((len - EROFS_XATTRS_HEADER) / 4 + 1) : 0;
}
