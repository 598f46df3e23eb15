#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "tools/cloakfs/commands.h"
#include "tools/cloakfs/output.h"
#include "tools/cloakfs/session.h"

enum { CELL = 48 };

/* The columns of one line that -l aligns. */
enum { MODE, NLINK, UID, GID, SIZE, TIME, N_CELLS };
struct line {
	char cell[N_CELLS][CELL];
};

static void mode_text(char out[CELL], mode_t m)
{
	static const struct {
		mode_t type;
		char c;
	} types[] = { { S_IFREG, '-' }, { S_IFDIR, 'd' }, { S_IFLNK, 'l' },
		      { S_IFCHR, 'c' }, { S_IFBLK, 'b' }, { S_IFIFO, 'p' } };

	memcpy(out, "?rwxrwxrwx", 11);
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
		if ((m & S_IFMT) == types[i].type)
			out[0] = types[i].c;
	for (unsigned i = 0; i < 9; i++)
		if (!(m & (0400U >> i)))
			out[1 + i] = '-';
	if (m & S_ISUID)
		out[3] = m & S_IXUSR ? 's' : 'S';
	if (m & S_ISGID)
		out[6] = m & S_IXGRP ? 's' : 'S';
	if (m & S_ISVTX)
		out[9] = m & S_IXOTH ? 't' : 'T';
}

static void time_text(char out[CELL], time_t t)
{
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(out, CELL, "%Y-%m-%dT%H:%M:%SZ", &tm))
		snprintf(out, CELL, "@%" PRId64, (int64_t)t);
}

static void fill(struct line *l, const struct ck_tree *tree, ck_ino ino)
{
	struct stat st;

	ck_stack_stat(tree, ino, &st);
	mode_text(l->cell[MODE], st.st_mode);
	snprintf(l->cell[NLINK], CELL, "%ju", (uintmax_t)st.st_nlink);
	snprintf(l->cell[UID], CELL, "%u", st.st_uid);
	snprintf(l->cell[GID], CELL, "%u", st.st_gid);
	if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
		snprintf(l->cell[SIZE], CELL, "%u, %u", major(st.st_rdev), minor(st.st_rdev));
	else
		snprintf(l->cell[SIZE], CELL, "%jd", (intmax_t)st.st_size);
	time_text(l->cell[TIME], st.st_mtim.tv_sec);
}

static void widen(int width[N_CELLS], const struct ck_tree *tree, ck_ino ino)
{
	struct line l;

	fill(&l, tree, ino);
	for (size_t c = 0; c < N_CELLS; c++) {
		int n = (int)strlen(l.cell[c]);
		width[c] = n > width[c] ? n : width[c];
	}
}

static void print_line(const struct ck_stack *s, ck_ino ino, const char *name, size_t len,
		       const int width[N_CELLS])
{
	struct line l;

	fill(&l, s->tree, ino);
	for (size_t c = 0; c < N_CELLS; c++)
		printf("%*s ", width[c], l.cell[c]);
	ck_output_name(name, len);
	const struct ck_node *n = &s->tree->nodes[ino];
	if (n->entry && S_ISLNK(n->entry->mode)) {
		fputs(" -> ", stdout);
		ck_output_name(ck_index_bytes(s->index[n->layer], n->entry->link),
			       n->entry->link.len);
	}
	putchar('\n');
}

static void print_short(const char *name, size_t len)
{
	ck_output_name(name, len);
	putchar('\n');
}

static void list(const struct ck_stack *s, ck_ino ino, const char *path, bool long_form)
{
	const struct ck_tree *t = s->tree;
	const struct ck_node *n = &t->nodes[ino];
	const struct ck_dirent one = { path, (uint32_t)strlen(path), ino };
	bool dir = !n->entry || S_ISDIR(n->entry->mode);
	const struct ck_dirent *d = dir ? t->dirents + n->first_child : &one;
	size_t n_lines = dir ? n->n_children : 1;
	int width[N_CELLS] = { 0 };

	for (size_t i = 0; long_form && i < n_lines; i++)
		widen(width, t, d[i].ino);
	for (size_t i = 0; i < n_lines && !ferror(stdout); i++) {
		if (long_form)
			print_line(s, d[i].ino, d[i].name, d[i].name_len, width);
		else
			print_short(d[i].name, d[i].name_len);
	}
}

static int run(const struct ck_options *o, struct ck_err *err)
{
	CK_SESSION s = { 0 };
	CK_AUTO(ck_stack_closep) struct ck_stack *stack = NULL;
	const char *path = o->n_args > 1 ? o->args[1] : "/";
	ck_ino ino = 0;
	int rc = ck_session_open(&s, o, err);

	if (rc == 0)
		rc = ck_session_image(&s, o->keys, o->n_keys, o, err);
	if (rc == 0)
		rc = ck_session_indexes(&s, o, err);
	if (rc == 0)
		rc = ck_session_stack(&stack, &s, SIZE_MAX, true, err);
	/* As ls does: -l shows a link itself. */
	if (rc == 0)
		rc = ck_tree_walk(stack->tree, stack->index, path, !o->long_form, &ino, err);
	if (rc < 0)
		return rc;
	list(stack, ino, path, o->long_form);
	return ck_output_flush(err);
}

const struct ck_command ck_cmd_ls = {
	.name = "ls",
	.synopsis = "[-l] [--config FILE] [--authfile FILE] [--plain-http] [--key KEY]... "
		    "[--cache-dir DIR] [--cache-size SIZE] [--index DIR] "
		    "[--platform OS/ARCH] "
		    "IMAGE [PATH]",
	.summary = "list a directory of the image",
	.options = "ckCSIaHpl",
	.required = "",
	.min_args = 1,
	.max_args = 2,
	.run = run,
};
