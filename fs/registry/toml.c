#include "fs/registry/toml.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"

enum { DEPTH_MAX = 8, PARTS_MAX = 8, ENTRIES_MAX = 10000 };

struct parser {
	const char *at, *end;
	const char *name;
	unsigned line, n_entries;
	struct ck_err *err;
};

static int bad(const struct parser *p, const char *what)
{
	return ck_fail(p->err, -EBADMSG, "%s line %u: %s", p->name, p->line, what);
}

static int no_memory(const struct parser *p)
{
	return ck_nomem(p->err, "reading a TOML file");
}

static char peek(const struct parser *p)
{
	return p->at < p->end ? *p->at : 0;
}

static void skip_blanks(struct parser *p)
{
	while (peek(p) == ' ' || peek(p) == '\t')
		p->at++;
}

/* Passes over a comment and the line's end; false: something else is there. */
static bool skip_line_end(struct parser *p)
{
	skip_blanks(p);
	if (peek(p) == '#')
		while (p->at < p->end && *p->at != '\n')
			p->at++;
	if (p->at == p->end)
		return true;
	if (*p->at == '\r' && p->end - p->at > 1 && p->at[1] == '\n')
		p->at++;
	if (*p->at != '\n')
		return false;
	p->at++;
	p->line++;
	return true;
}

/* Blanks, comments and line ends, as they may stand in an array. */
static void skip_space(struct parser *p)
{
	for (;;) {
		const char *from = p->at;
		skip_blanks(p);
		if (p->at < p->end && (*p->at == '\n' || *p->at == '#' || *p->at == '\r'))
			if (!skip_line_end(p))
				return;
		if (p->at == from)
			return;
	}
}

static int add_utf8(struct parser *p, struct ck_buf *b, uint32_t c)
{
	char u[4];
	size_t n = 0;

	if (c == 0 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return bad(p, "an escape names no character");
	if (c < 0x80) {
		u[n++] = (char)c;
	} else if (c < 0x800) {
		u[n++] = (char)(0xc0 | c >> 6);
		u[n++] = (char)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		u[n++] = (char)(0xe0 | c >> 12);
		u[n++] = (char)(0x80 | (c >> 6 & 0x3f));
		u[n++] = (char)(0x80 | (c & 0x3f));
	} else {
		u[n++] = (char)(0xf0 | c >> 18);
		u[n++] = (char)(0x80 | (c >> 12 & 0x3f));
		u[n++] = (char)(0x80 | (c >> 6 & 0x3f));
		u[n++] = (char)(0x80 | (c & 0x3f));
	}
	return ck_buf_add(b, u, n, p->err);
}

static int read_hex(struct parser *p, unsigned n_digits, uint32_t *out)
{
	uint32_t v = 0;

	for (unsigned i = 0; i < n_digits; i++, p->at++) {
		char c = peek(p);
		if (!isxdigit((unsigned char)c))
			return bad(p, "an escape wants more hex digits");
		v = v * 16 + (uint32_t)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
	}
	*out = v;
	return 0;
}

/* What stands behind a backslash. */
static int read_escape(struct parser *p, struct ck_buf *b)
{
	static const char from[] = "btnfr\"\\", to[] = "\b\t\n\f\r\"\\";
	char c = peek(p);
	const char *known = c ? strchr(from, c) : NULL;
	uint32_t v = 0;

	if (p->at < p->end)
		p->at++;
	if (known)
		return ck_buf_add(b, &to[known - from], 1, p->err);
	if (c != 'u' && c != 'U')
		return bad(p, "there is no such escape");
	int rc = read_hex(p, c == 'u' ? 4 : 8, &v);
	return rc < 0 ? rc : add_utf8(p, b, v);
}

/* A string in quotes, "basic" or 'literal'. */
static int read_string(struct parser *p, struct ck_buf *b)
{
	char quote = *p->at++;

	if (p->end - p->at >= 2 && p->at[0] == quote && p->at[1] == quote)
		return bad(p, "strings over several lines are not supported");
	for (;;) {
		if (p->at == p->end || *p->at == '\n')
			return bad(p, "a string has no end");
		char c = *p->at++;
		int rc;
		if (c == quote)
			return 0;
		if (((unsigned char)c < ' ' && c != '\t') || c == 0x7f)
			return bad(p, "a control character in a string");
		if (c == '\\' && quote == '"')
			rc = read_escape(p, b);
		else
			rc = ck_buf_add(b, &c, 1, p->err);
		if (rc < 0)
			return rc;
	}
}

static bool is_bare(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '-';
}

static int read_key(struct parser *p, struct ck_buf *b)
{
	const char *from = p->at;

	if (peek(p) == '"' || peek(p) == '\'')
		return read_string(p, b);
	while (p->at < p->end && is_bare(*p->at))
		p->at++;
	if (p->at == from)
		return bad(p, "a key is expected here");
	return ck_buf_add(b, from, (size_t)(p->at - from), p->err);
}

static int read_value(struct parser *p, json_t **out, int depth);

static int read_array(struct parser *p, json_t **out, int depth)
{
	CK_JSON *array = json_array();

	if (!array)
		return no_memory(p);
	p->at++;
	for (;;) {
		json_t *v;
		skip_space(p);
		if (peek(p) == ']') {
			p->at++;
			*out = ck_take(array);
			return 0;
		}
		int rc = read_value(p, &v, depth + 1);
		if (rc < 0)
			return rc;
		if (json_array_append_new(array, v) < 0)
			return no_memory(p);
		skip_space(p);
		if (peek(p) == ',')
			p->at++;
		else if (peek(p) != ']')
			return bad(p, "an array wants ',' or ']' here");
	}
}

static int read_integer(struct parser *p, json_t **out)
{
	int64_t v = 0;
	bool minus = peek(p) == '-';
	const char *from;

	if (minus || peek(p) == '+')
		p->at++;
	for (from = p->at; isdigit((unsigned char)peek(p)); p->at++) {
		if (p->at - from >= 18)
			return bad(p, "a number is too large");
		v = v * 10 + (*p->at - '0');
	}
	if (p->at == from || (p->at - from > 1 && *from == '0') || is_bare(peek(p)) ||
	    (peek(p) && strchr(".:+", peek(p))))
		return bad(p, "this kind of value is not supported");
	*out = json_integer(minus ? -v : v);
	return *out ? 0 : no_memory(p);
}

static bool take_word(struct parser *p, const char *word)
{
	size_t n = strlen(word), left = (size_t)(p->end - p->at);

	if (left < n || memcmp(p->at, word, n) != 0 || (left > n && is_bare(p->at[n])))
		return false;
	p->at += n;
	return true;
}

static int read_value(struct parser *p, json_t **out, int depth)
{
	CK_BUF text = { 0 };

	if (depth > DEPTH_MAX)
		return bad(p, "arrays are nested too deep");
	if (++p->n_entries > ENTRIES_MAX)
		return bad(p, "there are too many values");
	if (peek(p) == '[')
		return read_array(p, out, depth);
	if (take_word(p, "true") || take_word(p, "false")) {
		*out = json_boolean(p->at[-2] == 'u');
		return 0;
	}
	if (peek(p) != '"' && peek(p) != '\'')
		return read_integer(p, out);
	int rc = read_string(p, &text);
	if (rc < 0)
		return rc;
	*out = json_stringn((const char *)ck_buf_str(&text), text.len);
	return *out ? 0 : bad(p, "a string is not UTF-8");
}

static int read_pair(struct parser *p, json_t *table)
{
	CK_BUF key = { 0 };
	json_t *v;
	int rc = read_key(p, &key);

	if (rc < 0)
		return rc;
	skip_blanks(p);
	if (peek(p) == '.')
		return bad(p, "dotted keys are not supported: write a [table]");
	if (peek(p) != '=')
		return bad(p, "a key wants '=' behind it");
	p->at++;
	skip_blanks(p);
	if (json_object_get(table, ck_buf_str(&key)))
		return bad(p, "a key is there twice");
	rc = read_value(p, &v, 0);
	if (rc < 0)
		return rc;
	if (json_object_set_new(table, ck_buf_str(&key), v) < 0)
		return bad(p, "a key is not UTF-8");
	return 0;
}

/* Steps from TABLE into its table KEY, which is made where it is missing. */
static int step(struct parser *p, json_t **table, const char *key, bool *made)
{
	json_t *next = json_object_get(*table, key);

	*made = !next;
	if (!next) {
		next = json_object();
		if (!next)
			return no_memory(p);
		if (json_object_set_new(*table, key, next) < 0)
			return bad(p, "a key is not UTF-8");
	}
	if (!json_is_object(next))
		return bad(p, "a table has the name of a value");
	*table = next;
	return 0;
}

/* "[a."b".c]"; a table that was only passed through before may still come. */
static int read_header(struct parser *p, json_t *root, json_t *seen, json_t **table)
{
	CK_BUF id = { 0 };
	int n = 0;

	p->at++;
	if (peek(p) == '[')
		return bad(p, "arrays of tables are not supported");
	*table = root;
	for (;;) {
		CK_BUF key = { 0 };
		bool made;
		skip_blanks(p);
		int rc = ++n > PARTS_MAX ? bad(p, "tables are nested too deep") : read_key(p, &key);
		if (rc == 0)
			rc = step(p, table, ck_buf_str(&key), &made);
		if (rc == 0)
			rc = ck_buf_addf(&id, p->err, "%zu:%s", key.len, ck_buf_str(&key));
		if (rc < 0)
			return rc;
		skip_blanks(p);
		if (peek(p) != '.')
			break;
		p->at++;
	}
	if (peek(p) != ']')
		return bad(p, "a table's name wants ']' behind it");
	p->at++;
	if (++p->n_entries > ENTRIES_MAX)
		return bad(p, "there are too many values");
	if (json_object_get(seen, ck_buf_str(&id)))
		return bad(p, "a table is there twice");
	return json_object_set_new(seen, ck_buf_str(&id), json_true()) < 0 ? no_memory(p) : 0;
}

int ck_toml_parse(json_t **out, const char *text, size_t len, const char *name, struct ck_err *err)
{
	struct parser p = { text, text + len, name, 1, 0, err };
	CK_JSON *root = json_object();
	CK_JSON *seen = json_object();
	json_t *table = root;

	if (!root || !seen)
		return no_memory(&p);
	if (memchr(text, 0, len))
		return ck_fail(err, -EBADMSG, "%s has NUL bytes in it", name);
	for (;;) {
		skip_space(&p);
		if (p.at == p.end)
			break;
		int rc = *p.at == '[' ? read_header(&p, root, seen, &table) : read_pair(&p, table);
		if (rc < 0)
			return rc;
		if (!skip_line_end(&p))
			return bad(&p, "something more stands on the line");
	}
	*out = ck_take(root);
	return 0;
}
