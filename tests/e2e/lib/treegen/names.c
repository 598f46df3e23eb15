#include <stdio.h>
#include <string.h>

#include "tests/e2e/lib/treegen/random.h"

enum { NAME_MAX_LEN = 255, PATH_USUAL = 400 };

static struct text random_bytes_name(struct rng *r, size_t len)
{
	struct text t = { 0 };

	for (size_t i = 0; i < len; i++) {
		char c = (char)(1 + below(r, 255));

		if (c == '/' || (i == 0 && c == '.'))
			c = 'x';
		text_add(&t, &c, 1);
	}
	return t;
}

static struct text odd_name(struct rng *r)
{
	static const char *const odd[] = {
		"with space",	 " lead",	 "trail ",
		"new\nline",	 "back\\slash",	 "-dash",
		"...",		 "..a",		 ".wh",
		".whx",		 "tab\there",	 "\xe9\xff",
		"e\xcc\x81 NFD", "\xc3\xa9 NFC", "\xe1\x84\x80\xe1\x85\xa1",
		"q\"'*?[",	 "percent%41",	 "\xf0\x9f\x98\x80",
		"del\x7f",	 "x.wh.y",	 "colon:equal=",
		"#hash",	 "~tilde",	 "\xed\xa0\x80surr"
	};

	if (one_in(r, 4))
		return random_bytes_name(r, 1 + below(r, 20));
	if (one_in(r, 6))
		return random_bytes_name(r, one_in(r, 2) ? NAME_MAX_LEN : 90 + below(r, 30));
	return text_of(odd[below(r, sizeof odd / sizeof *odd)]);
}

static struct text fresh_name(struct maker *mk)
{
	char name[32];

	if (one_in(&mk->rng, 3))
		return odd_name(&mk->rng);
	snprintf(name, sizeof name, "n%u", mk->n_fresh++);
	return text_of(name);
}

void random_pool(struct maker *mk)
{
	static const char *const plain[] = { "a", "b",	 "c",	"d",   "e",
					     "f", "bin", "lib", "etc", "usr" };

	for (size_t i = 0; i < sizeof mk->pool / sizeof *mk->pool; i++)
		mk->pool[i] = one_in(&mk->rng, 4) ? odd_name(&mk->rng) : text_of(plain[i]);
}

struct text random_name(struct maker *mk)
{
	if (one_in(&mk->rng, 3))
		return fresh_name(mk);
	return mk->pool[below(&mk->rng, sizeof mk->pool / sizeof *mk->pool)];
}

void add_known(struct maker *mk, struct text path, bool parent)
{
	struct known *k = &mk->known;

	if (k->n == k->cap) {
		k->cap = 2 * k->cap + 64;
		k->paths = grow(k->paths, k->cap, sizeof *k->paths);
		k->is_parent = grow(k->is_parent, k->cap, sizeof *k->is_parent);
	}
	k->paths[k->n] = path;
	k->is_parent[k->n++] = parent;
}

struct text random_known(struct maker *mk, bool parent)
{
	const struct known *k = &mk->known;

	for (int tries = 0; k->n && tries < 20; tries++) {
		size_t i = below(&mk->rng, k->n);

		if ((k->is_parent[i] || !parent) && k->paths[i].len < PATH_USUAL)
			return k->paths[i];
	}
	return text_of("");
}

struct text join(struct text dir, struct text name)
{
	struct text t = { 0 };

	text_add(&t, dir.p, dir.len);
	if (dir.len)
		text_puts(&t, "/");
	text_add(&t, name.p, name.len);
	return t;
}

struct text random_path(struct maker *mk)
{
	struct rng *r = &mk->rng;
	struct text dir = text_of("");

	if (one_in(r, 16)) /* again, as something else perhaps */
		return random_known(mk, false);
	if (!one_in(r, 4))
		dir = random_known(mk, !one_in(r, 20)); /* a parent that is a file, now and then */
	while (one_in(r, 8))				/* parents that may never come */
		dir = join(dir, random_name(mk));
	return join(dir, random_name(mk));
}

struct text random_spelling(struct rng *r, struct text path, bool dir, bool *odd)
{
	static const char *const starts[] = { "",     "./",  "./",	"/",	".//",
					      "././", "../", "/../../", "x/../" };
	size_t start = one_in(r, 6) ? below(r, 9) : below(r, 3);
	struct text t = text_of(starts[start]);

	*odd |= start >= 6;
	for (size_t i = 0; i < path.len; i++) {
		text_add(&t, path.p + i, 1);
		if (path.p[i] != '/' || !one_in(r, 30))
			continue;
		size_t how = below(r, 3);
		text_puts(&t, how == 0 ? "/" : how == 1 ? "./" : "y/../");
		*odd |= how == 2;
	}
	if (dir && !one_in(r, 4))
		text_puts(&t, "/");
	if (t.len == 0)
		text_puts(&t, "./");
	return t;
}

struct text random_target(struct maker *mk)
{
	struct rng *r = &mk->rng;
	struct text t = { 0 }, known = random_known(mk, one_in(r, 2));

	switch (below(r, 10)) {
	case 0:
		return text_of("..");
	case 1:
		return text_of("/");
	case 2:
		return random_name(mk); /* beside it, perhaps itself */
	case 3:
	case 4:
		text_puts(&t, "/");
		break;
	case 5:
		text_puts(&t, "../");
		break;
	case 6:
		text_puts(&t, "../../../");
		break;
	case 7:
		text_puts(&t, "nowhere/");
		break;
	case 8: /* long */
		for (size_t n = one_in(r, 8) ? 4000 : 101 + below(r, 200); t.len < n;)
			text_puts(&t, "./");
		break;
	default:
		break;
	}
	text_add(&t, known.p, known.len);
	if (t.len == 0)
		text_puts(&t, ".");
	return t;
}
