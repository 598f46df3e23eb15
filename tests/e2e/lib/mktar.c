/*
 * mktar - writes a tar stream from a description, odd and broken ones included.
 *
 *   mktar <DESCRIPTION >TAR
 *
 * A line: TYPE NAME [KEY=VALUE]...   In NAME and VALUE, \xHH is a byte.
 *   TYPE  file dir symlink hardlink char block fifo global (a pax global header; its
 *         records are the x. keys), blocks (NAME zero blocks), text (NAME as is, no header),
 *         end (the two zero blocks; not written otherwise)
 *   KEY   mode uid gid mtime size   numbers; mtime may be 12.345; size= lies about the data
 *         data=TEXT from=FILE zeros=N link=TARGET major= minor= type=C magic=gnu|ustar|v7
 *         x.KEY=VALUE  a pax record       long=gnu|pax  how names over 100 bytes are written
 *         base256=1    numbers in GNU's binary form        badsum=1  a wrong checksum
 * Source: POSIX.1-2017 pax "ustar Interchange Format", GNU tar manual "Basic Tar Format".
 */
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 512 };

struct text {
	char *p;
	size_t len;
};

struct item {
	struct text name, link, data, pax;
	const char *from, *magic, *longform;
	uint64_t mode, uid, gid, size, zeros, major, minor;
	int64_t mtime;
	char type;
	bool has_size, base256, badsum;
};

static unsigned long line_no;

static void fail(const char *what, const char *arg)
{
	fprintf(stderr, "mktar: line %lu: %s %s\n", line_no, what, arg);
	exit(1);
}

static void add(struct text *t, const void *p, size_t n)
{
	t->p = realloc(t->p, t->len + n + 1);
	if (!t->p)
		fail("out of", "memory");
	memcpy(t->p + t->len, p, n);
	t->len += n;
	t->p[t->len] = 0;
}

static int hex(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

/* Appends S with its \xHH undone. */
static void add_unescaped(struct text *t, const char *s)
{
	for (; *s; s++) {
		char c = *s;

		if (s[0] == '\\' && s[1] == 'x' && isxdigit((unsigned char)s[2]) &&
		    isxdigit((unsigned char)s[3])) {
			c = (char)(hex(s[2]) << 4 | hex(s[3]));
			s += 3;
		}
		add(t, &c, 1);
	}
}

/* Appends "LEN KEY=VALUE\n", where LEN counts its own digits. */
static void add_pax(struct text *t, const char *key, const struct text *value)
{
	size_t rest = strlen(key) + value->len + 3, len = rest + 1;
	char digits[32];

	while (rest + (size_t)snprintf(digits, sizeof digits, "%zu", len) != len)
		len = rest + strlen(digits);
	add(t, digits, strlen(digits));
	add(t, " ", 1);
	add(t, key, strlen(key));
	add(t, "=", 1);
	add(t, value->p ? value->p : "", value->len);
	add(t, "\n", 1);
}

static void out(const void *p, size_t n)
{
	if (n && fwrite(p, 1, n, stdout) != n)
		fail("cannot write:", strerror(errno));
}

static void out_padded(const void *p, size_t n)
{
	static const char zeros[BLOCK];

	out(p, n);
	out(zeros, (BLOCK - n % BLOCK) % BLOCK);
}

static void put_number(char *field, size_t width, uint64_t v, bool base256)
{
	if (base256) {
		for (size_t i = width; i-- > 0; v >>= 8)
			field[i] = (char)(v & 0xff);
		field[0] = (char)(field[0] | 0x80);
		return;
	}
	field[width - 1] = 0;
	for (size_t i = width - 1; i-- > 0; v >>= 3)
		field[i] = (char)('0' + (v & 7));
	if (v)
		fail("number does not fit; use", "base256=1");
}

static void put_text(char *field, size_t width, const struct text *t)
{
	if (t->len)
		memcpy(field, t->p, t->len < width ? t->len : width);
}

static void out_header(const struct item *it, uint64_t size)
{
	char h[BLOCK] = { 0 };
	unsigned int sum = it->badsum ? 1 : 0;
	bool ustar = !strcmp(it->magic, "ustar");

	put_text(h, 100, &it->name);
	put_number(h + 100, 8, it->mode, false);
	put_number(h + 108, 8, it->uid, it->base256);
	put_number(h + 116, 8, it->gid, it->base256);
	put_number(h + 124, 12, it->has_size ? it->size : size, it->base256);
	put_number(h + 136, 12, (uint64_t)it->mtime, it->base256);
	h[156] = it->type;
	put_text(h + 157, 100, &it->link);
	if (strcmp(it->magic, "v7") != 0) {
		memcpy(h + 257, ustar ? "ustar\0" : "ustar  ", ustar ? 6 : 8);
		if (ustar)
			memcpy(h + 263, "00", 2);
		put_number(h + 329, 8, it->major, false);
		put_number(h + 337, 8, it->minor, false);
	}
	memset(h + 148, ' ', 8);
	for (size_t i = 0; i < BLOCK; i++)
		sum += (unsigned char)h[i];
	put_number(h + 148, 7, sum, false);
	out(h, BLOCK);
}

/* An entry that only carries DATA for the next one: pax (x, g) or GNU long (L, K). */
static void out_extra(char type, const char *name, const struct text *data, const char *magic)
{
	struct text n = { .p = (char *)(uintptr_t)name, .len = strlen(name) };
	struct item it = { .name = n, .type = type, .mode = 0644, .magic = magic };

	out_header(&it, data->len);
	out_padded(data->p, data->len);
}

static void out_long(struct item *it, const struct text *t, char gnu_type, const char *pax_key)
{
	if (t->len <= 100)
		return;
	if (!strcmp(it->longform, "gnu")) {
		struct text with_nul = { 0 };

		add(&with_nul, t->p, t->len);
		add(&with_nul, "", 1);
		out_extra(gnu_type, "././@LongLink", &with_nul, "gnu");
		free(with_nul.p);
	} else {
		add_pax(&it->pax, pax_key, t);
	}
}

static void read_from(struct item *it)
{
	FILE *f = fopen(it->from, "rb");
	char buf[65536];
	size_t n;

	if (!f)
		fail("cannot open", it->from);
	while ((n = fread(buf, 1, sizeof buf, f)) > 0)
		add(&it->data, buf, n);
	fclose(f);
}

static void out_item(struct item *it)
{
	static const char zeros[65536];

	if (it->type == 'g') {
		out_extra('g', "pax_global_header", &it->pax, "ustar");
		return;
	}
	if (it->from)
		read_from(it);
	out_long(it, &it->link, 'K', "linkpath");
	out_long(it, &it->name, 'L', "path");
	if (it->pax.len)
		out_extra('x', "PaxHeaders/x", &it->pax, "ustar");
	out_header(it, it->data.len + it->zeros);
	if (!it->zeros) {
		out_padded(it->data.p, it->data.len);
		return;
	}
	out(it->data.p, it->data.len);
	for (uint64_t left = it->zeros; left;) {
		size_t n = left < sizeof zeros ? (size_t)left : sizeof zeros;

		out(zeros, n);
		left -= n;
	}
	out(zeros, (size_t)((BLOCK - (it->data.len + it->zeros) % BLOCK) % BLOCK));
}

static void set_mtime(struct item *it, const char *v)
{
	it->mtime = strtoll(v, NULL, 10);
	if (strchr(v, '.')) {
		struct text t = { .p = (char *)(uintptr_t)v, .len = strlen(v) };

		add_pax(&it->pax, "mtime", &t);
	}
}

static void set(struct item *it, const char *key, const char *v)
{
	const struct {
		const char *key;
		uint64_t *at;
	} numbers[] = { { "uid", &it->uid },	 { "gid", &it->gid },	  { "size", &it->size },
			{ "zeros", &it->zeros }, { "major", &it->major }, { "minor", &it->minor } };

	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		if (!strcmp(key, numbers[i].key)) {
			*numbers[i].at = strtoull(v, NULL, 10);
			it->has_size |= numbers[i].at == &it->size;
			return;
		}
	if (!strcmp(key, "mode"))
		it->mode = strtoull(v, NULL, 8);
	else if (!strcmp(key, "mtime"))
		set_mtime(it, v);
	else if (!strcmp(key, "data"))
		add_unescaped(&it->data, v);
	else if (!strcmp(key, "link"))
		add_unescaped(&it->link, v);
	else if (!strcmp(key, "from"))
		it->from = v;
	else if (!strcmp(key, "type"))
		it->type = *v;
	else if (!strcmp(key, "magic"))
		it->magic = v;
	else if (!strcmp(key, "long"))
		it->longform = v;
	else if (!strcmp(key, "base256"))
		it->base256 = *v == '1';
	else if (!strcmp(key, "badsum"))
		it->badsum = *v == '1';
	else if (!strncmp(key, "x.", 2)) {
		struct text t = { 0 };

		add_unescaped(&t, v);
		add_pax(&it->pax, key + 2, &t);
		free(t.p);
	} else
		fail("unknown key", key);
}

static char type_char(const char *word)
{
	static const struct {
		const char *word;
		char c;
	} types[] = {
		{ "file", '0' },  { "hardlink", '1' }, { "symlink", '2' }, { "char", '3' },
		{ "block", '4' }, { "dir", '5' },      { "fifo", '6' },	   { "global", 'g' }
	};

	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (!strcmp(word, types[i].word))
			return types[i].c;
	fail("unknown type", word);
	return 0;
}

/* Lines that are no entries. Returns false when the line is one. */
static bool plain_line(const char *type, const char *name)
{
	static const char zeros[2 * BLOCK];
	struct text t = { 0 };

	if (!strcmp(type, "end")) {
		out(zeros, sizeof zeros);
	} else if (!strcmp(type, "blocks")) {
		for (unsigned long n = strtoul(name, NULL, 10); n; n--)
			out(zeros, BLOCK);
	} else if (!strcmp(type, "text")) {
		add_unescaped(&t, name);
		out(t.p, t.len);
		free(t.p);
	} else {
		return false;
	}
	return true;
}

static void do_line(char *line)
{
	char *save = NULL, *type = strtok_r(line, " \t\n", &save), *word;
	char *name = strtok_r(NULL, " \t\n", &save);

	if (!type || *type == '#')
		return;
	if (plain_line(type, name ? name : ""))
		return;
	if (!name)
		fail("no name after", type);
	struct item it = { .type = type_char(type), .magic = "ustar", .longform = "pax" };

	it.mode = it.type == '5' ? 0755 : 0644;
	add_unescaped(&it.name, name);
	while ((word = strtok_r(NULL, " \t\n", &save))) {
		char *eq = strchr(word, '=');

		/* A pax key may not hold '=', so the first one ends it. */
		if (!eq)
			fail("not KEY=VALUE:", word);
		*eq = 0;
		set(&it, word, eq + 1);
	}
	out_item(&it);
	free(it.name.p);
	free(it.link.p);
	free(it.data.p);
	free(it.pax.p);
}

int main(void)
{
	char *line = NULL;
	size_t cap = 0;

	while (getline(&line, &cap, stdin) >= 0) {
		line_no++;
		do_line(line);
	}
	free(line);
	if (fflush(stdout) != 0)
		fail("cannot write:", strerror(errno));
	return 0;
}
