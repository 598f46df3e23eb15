#include "fs/erofs/dirs.h"

#include <string.h>
#include <sys/stat.h>

#include "fs/erofs/format.h"

/* Goes through a directory in the order of names. */
struct walk {
	const struct ck_dirent *next, *end;
	struct ck_dirent dots[2]; /* what is left of "." and ".." */
	size_t n_dots;
};

static void begin(struct walk *w, const struct ck_tree *t, ck_ino ino)
{
	const struct ck_node *n = &t->nodes[ino];

	*w = (struct walk){
		.next = t->dirents + n->first_child,
		.end = t->dirents + n->first_child + n->n_children,
		.dots = { { "..", 2, ino == 1 ? 1 : n->parent }, { ".", 1, ino } },
		.n_dots = 2,
	};
}

static bool before(const struct ck_dirent *a, const struct ck_dirent *b)
{
	int order = memcmp(a->name, b->name, a->name_len < b->name_len ? a->name_len : b->name_len);

	return order ? order < 0 : a->name_len < b->name_len;
}

/* The next one, or false. */
static bool step(struct walk *w, struct ck_dirent *out)
{
	const struct ck_dirent *dot = w->n_dots ? &w->dots[w->n_dots - 1] : NULL;

	if (dot && (w->next == w->end || before(dot, w->next))) {
		*out = *dot;
		w->n_dots--;
		return true;
	}
	if (w->next == w->end)
		return false;
	*out = *w->next++;
	return true;
}

/* Whether a block that has USED bytes takes one of NAME_LEN more. */
static bool fits(size_t used, size_t name_len)
{
	return used + EROFS_DIRENT_LEN + name_len <= EROFS_BLOCK;
}

uint64_t ck_dirs_len(const struct ck_tree *t, ck_ino ino)
{
	struct ck_dirent d;
	struct walk w;
	uint64_t blocks = 0;
	size_t used = 0;

	for (begin(&w, t, ino); step(&w, &d);) {
		if (!fits(used, d.name_len)) {
			blocks++;
			used = 0;
		}
		used += EROFS_DIRENT_LEN + d.name_len;
	}
	return blocks * EROFS_BLOCK + used;
}

static uint8_t type_of(const struct ck_tree *t, ck_ino ino)
{
	const struct ck_entry *e = t->nodes[ino].entry;

	switch (e ? e->mode & S_IFMT : S_IFDIR) {
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
	case S_IFSOCK:
		return 6;
	default:
		return 7; /* symlink */
	}
}

/* The N entries of one block. */
static void write_block(uint8_t *p, const struct ck_tree *t, const struct ck_dirent *d, size_t n,
			const uint32_t *nids)
{
	size_t name_off = n * EROFS_DIRENT_LEN;

	for (size_t i = 0; i < n; i++) {
		uint8_t *at = p + i * EROFS_DIRENT_LEN;
		ck_put64(at, nids[d[i].ino]);
		ck_put16(at + DE_NAME_OFF, (uint16_t)name_off);
		at[DE_TYPE] = type_of(t, d[i].ino);
		memcpy(p + name_off, d[i].name, d[i].name_len);
		name_off += d[i].name_len;
	}
}

void ck_dirs_write(uint8_t *p, const struct ck_tree *t, ck_ino ino, const uint32_t *nids)
{
	struct ck_dirent d, block[EROFS_BLOCK / EROFS_DIRENT_LEN];
	struct walk w;
	size_t n = 0, used = 0;

	for (begin(&w, t, ino); step(&w, &d);) {
		if (!fits(used, d.name_len)) {
			write_block(p, t, block, n, nids);
			p += EROFS_BLOCK;
			n = used = 0;
		}
		block[n++] = d;
		used += EROFS_DIRENT_LEN + d.name_len;
	}
	write_block(p, t, block, n, nids);
}
