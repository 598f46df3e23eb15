#include "fs/erofs/dirs.h"

#include <string.h>
#include <sys/stat.h>

void ck_dirblocks_begin(struct ck_dirblocks *b, const struct ck_tree *t, ck_ino dir)
{
	b->tree = t;
	b->dir = dir;
	b->child = 0;
	b->n_dots = 0;
	b->n = 0;
	b->used = 0;
}

/* Whether the name A comes before B. */
static bool before(const struct ck_dirent *a, const struct ck_dirent *b)
{
	size_t n = a->name_len < b->name_len ? a->name_len : b->name_len;
	int d = memcmp(a->name, b->name, n);

	return d ? d < 0 : a->name_len < b->name_len;
}

/* The entry that comes next, "." and ".." where they belong; false after the last. */
static bool peek(const struct ck_dirblocks *b, struct ck_dirent *out)
{
	const struct ck_node *n = &b->tree->nodes[b->dir];
	const struct ck_dirent *child =
	    b->child < n->n_children ? &b->tree->dirents[n->first_child + b->child] : NULL;
	struct ck_dirent dots = { "..", b->n_dots + 1,
				  b->n_dots && n->parent ? n->parent : b->dir };

	if (b->n_dots < 2 && (!child || before(&dots, child)))
		*out = dots;
	else if (child)
		*out = *child;
	else
		return false;
	return true;
}

bool ck_dirblocks_next(struct ck_dirblocks *b)
{
	struct ck_dirent *d;

	b->n = 0;
	b->used = 0;
	while (b->n < EROFS_MAX_DIRENTS && peek(b, d = &b->at[b->n]) &&
	       EROFS_DIRENT_LEN + d->name_len <= EROFS_BLOCK - b->used) {
		bool dots = d->name_len <= 2 && memcmp(d->name, "..", d->name_len) == 0;
		b->used += EROFS_DIRENT_LEN + d->name_len;
		b->n_dots += dots;
		b->child += !dots;
		b->n++;
	}
	return b->n > 0;
}

static uint8_t type_of(const struct ck_node *n)
{
	switch (n->entry ? n->entry->mode & S_IFMT : S_IFDIR) {
	case S_IFREG:
		return 1;
	case S_IFDIR:
		return 2;
	case S_IFCHR:
		return 3;
	case S_IFBLK:
		return 4;
	case S_IFIFO:
		return 5;
	case S_IFLNK:
		return 7;
	default:
		return 0;
	}
}

void ck_dirblocks_put(const struct ck_dirblocks *b, uint8_t *p, const uint32_t *nid)
{
	uint32_t name_off = b->n * EROFS_DIRENT_LEN;

	for (unsigned i = 0; i < b->n; i++) {
		const struct ck_dirent *d = &b->at[i];
		uint8_t *to = p + (size_t)i * EROFS_DIRENT_LEN;
		to = ck_put_le64(to, nid[d->ino]);
		to = ck_put_le16(to, (uint16_t)name_off);
		*to = type_of(&b->tree->nodes[d->ino]);
		memcpy(p + name_off, d->name, d->name_len);
		name_off += d->name_len;
	}
}

uint64_t ck_dirblocks_len(const struct ck_tree *t, ck_ino dir)
{
	struct ck_dirblocks b;
	uint64_t n = 0;
	uint32_t last = 0;

	ck_dirblocks_begin(&b, t, dir);
	while (ck_dirblocks_next(&b)) {
		n++;
		last = b.used;
	}
	return (n - 1) * EROFS_BLOCK + last;
}
