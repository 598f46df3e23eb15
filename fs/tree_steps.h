/*
 * steps - the parts of a path, one after the other, with the texts of the symlinks
 * met on the way put in front. Private to the tree.
 * No recursion: the number of symlinks is bounded as the kernel does.
 */
#ifndef CK_TREE_STEPS_H
#define CK_TREE_STEPS_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum { CK_STEPS_LINKS = 40 }; /* as MAXSYMLINKS in the kernel */

struct ck_steps {
	struct {
		const char *p;
		size_t len;
	} left[CK_STEPS_LINKS + 1]; /* what is still to walk; the last one first */
	unsigned n;
	unsigned n_followed;
};

static inline void ck_steps_init(struct ck_steps *s, const char *path, size_t len)
{
	s->left[0].p = path;
	s->left[0].len = len;
	s->n = 1;
	s->n_followed = 0;
}

/* True when no part is left. */
static inline bool ck_steps_done(struct ck_steps *s)
{
	while (s->n) {
		while (s->left[s->n - 1].len && *s->left[s->n - 1].p == '/') {
			s->left[s->n - 1].p++;
			s->left[s->n - 1].len--;
		}
		if (s->left[s->n - 1].len)
			return false;
		s->n--;
	}
	return true;
}

/* The next part, never empty, borrowed from the path or the symlink; false at the end. */
static inline bool ck_steps_next(struct ck_steps *s, const char **part, size_t *len)
{
	if (ck_steps_done(s))
		return false;
	const char *p = s->left[s->n - 1].p, *slash = memchr(p, '/', s->left[s->n - 1].len);
	*part = p;
	*len = slash ? (size_t)(slash - p) : s->left[s->n - 1].len;
	s->left[s->n - 1].p += *len;
	s->left[s->n - 1].len -= *len;
	return true;
}

/* Goes on with the TEXT of a symlink; false when there were too many. */
static inline bool ck_steps_follow(struct ck_steps *s, const char *text, size_t len)
{
	if (s->n_followed++ == CK_STEPS_LINKS)
		return false;
	s->left[s->n].p = text;
	s->left[s->n++].len = len;
	return true;
}

#endif
