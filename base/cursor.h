/*
 * cursor - reading hostile bytes: a position that knows its end.
 * Every getter returns false, and moves nothing, when too few bytes are left.
 */
#ifndef CK_CURSOR_H
#define CK_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct ck_cursor {
	const uint8_t *p; /* next byte; borrowed */
	size_t left;	  /* bytes from p to the end */
};

static inline struct ck_cursor ck_cursor(const void *p, size_t nbytes)
{
	return (struct ck_cursor){ p, nbytes };
}

/* Borrows the next NBYTES bytes as *OUT. */
static inline bool ck_cursor_take(struct ck_cursor *c, size_t nbytes, const uint8_t **out)
{
	if (nbytes > c->left)
		return false;
	*out = c->p;
	c->p += nbytes;
	c->left -= nbytes;
	return true;
}

static inline bool ck_cursor_u8(struct ck_cursor *c, uint8_t *out)
{
	const uint8_t *p;

	if (!ck_cursor_take(c, 1, &p))
		return false;
	*out = *p;
	return true;
}

#define CK_CURSOR_INT(name, type, shift_of)                                                        \
	static inline bool ck_cursor_##name(struct ck_cursor *c, type *out)                        \
	{                                                                                          \
		const uint8_t *p;                                                                  \
		type v = 0;                                                                        \
                                                                                                   \
		if (!ck_cursor_take(c, sizeof v, &p))                                              \
			return false;                                                              \
		for (size_t i = 0; i < sizeof v; i++)                                              \
			v = (type)(v | (type)((type)p[i] << (8 * (shift_of))));                    \
		*out = v;                                                                          \
		return true;                                                                       \
	}
CK_CURSOR_INT(le16, uint16_t, i)
CK_CURSOR_INT(le32, uint32_t, i)
CK_CURSOR_INT(le64, uint64_t, i)
CK_CURSOR_INT(be16, uint16_t, sizeof v - 1 - i)
CK_CURSOR_INT(be32, uint32_t, sizeof v - 1 - i)
#undef CK_CURSOR_INT

#endif
