#include "tests/e2e/lib/treegen/random.h"

#include <string.h>

static struct item *new_item(struct layer *l)
{
	if (l->n == l->cap)
		l->items = grow(l->items, l->cap = 2 * l->cap + 16, sizeof *l->items);
	memset(&l->items[l->n], 0, sizeof *l->items);
	return &l->items[l->n++];
}

static enum type random_type(struct rng *r)
{
	static const enum type types[] = { FILE_,    FILE_,    FILE_, FILE_,   DIR_,
					   DIR_,     DIR_,     DIR_,  SYMLINK, SYMLINK,
					   HARDLINK, HARDLINK, CHAR,  BLOCK_,  FIFO };

	return types[below(r, sizeof types / sizeof *types)];
}

static void add_entry(struct maker *mk, struct layer *l, enum type type, struct text path)
{
	struct item *it = new_item(l);

	it->type = type;
	it->path = random_spelling(&mk->rng, path, type == DIR_, &it->odd);
	if (type == SYMLINK)
		it->link = random_target(mk);
	else if (type == HARDLINK)
		it->link = random_spelling(
		    &mk->rng, one_in(&mk->rng, 8) ? random_path(mk) : random_known(mk, false),
		    false, &it->odd);
	else
		it->link = text_of("");
	random_attributes(&mk->rng, it);
	add_known(mk, path, type == DIR_ || type == SYMLINK);
}

static void add_whiteout(struct maker *mk, struct layer *l)
{
	struct rng *r = &mk->rng;
	struct text path = random_known(mk, one_in(r, 2)), name = text_of(".wh."), dir = { 0 };
	char *slash = strrchr(path.p, '/');
	struct item *it;

	if (one_in(r, 4)) {
		dir = path;
		text_puts(&name, ".wh..opq");
	} else {
		text_add(&dir, path.p, slash ? (size_t)(slash - path.p) : 0);
		if (one_in(r, 6)) {
			struct text absent = random_name(mk);
			text_add(&name, absent.p, absent.len < 250 ? absent.len : 250);
		} else {
			text_puts(&name, slash ? slash + 1 : path.p);
		}
	}
	if (name.len > 255 || dir.len + name.len > 3900)
		return;
	it = new_item(l);
	it->type = one_in(r, 20) ? DIR_ : FILE_; /* whatever it is, it means the same */
	it->path = random_spelling(r, join(dir, name), false, &it->odd);
	it->link = text_of("");
	random_attributes(r, it);
	it->sparse = false;
	it->size = it->n_segments = 0;
	it->odd = true;
	if (one_in(r, 10)) { /* below what is kept for whiteouts */
		text_puts(&it->path, "/below");
		it->type = FILE_;
	}
}

static void add_big_directory(struct maker *mk, struct layer *l)
{
	struct text dir = join(random_known(mk, true), random_name(mk));
	size_t n = 700 + below(&mk->rng, 1500);

	add_entry(mk, l, DIR_, dir);
	for (size_t i = 0; i < n; i++) {
		struct text name = random_name(mk);
		char digits[] = { (char)('0' + i / 1000), (char)('0' + i / 100 % 10),
				  (char)('0' + i / 10 % 10), (char)('0' + i % 10), 0 };
		struct item *it = new_item(l);

		struct text full = { 0 };
		text_add(&full, name.p, name.len < 200 ? name.len : 200);
		text_puts(&full, digits);
		it->type = FILE_;
		it->path = join(dir, full);
		it->link = text_of("");
		it->mode = 0644;
		it->mtime = (int64_t)i;
	}
}

/* Directories as deep as one path can say, and then deeper by way of a symlink. */
static void add_deep(struct maker *mk, struct layer *l)
{
	struct rng *r = &mk->rng;
	size_t len = one_in(r, 4) ? 1 + below(r, 20) : 150 + below(r, 100);
	struct text path = text_of(""), name = { 0 }, s = random_name(mk);

	while (name.len < len)
		text_puts(&name, "p");
	for (size_t most = 500 + below(r, 3300); path.len + len + 1 < most;)
		path = join(path, name);
	add_entry(mk, l, DIR_, path);
	add_entry(mk, l, SYMLINK, s);
	l->items[l->n - 1].link = path;
	if (path.len + s.len + 1 < 3900)
		add_entry(mk, l, FILE_, join(s, path));
	add_entry(mk, l, FILE_, join(s, text_of("down")));
}

static void shuffle(struct rng *r, struct layer *l)
{
	for (size_t i = l->n; i > 1; i--) {
		size_t k = below(r, i);
		struct item t = l->items[k];

		l->items[k] = l->items[i - 1];
		l->items[i - 1] = t;
	}
}

static void random_layer(struct maker *mk, struct layer *l)
{
	struct rng *r = &mk->rng;
	size_t n = one_in(r, 12) ? 0 : one_in(r, 4) ? below(r, 10) : 10 + below(r, 90);

	for (size_t i = 0; i < n; i++) {
		if (one_in(r, mk->layer ? 12 : 40))
			add_whiteout(mk, l);
		else
			add_entry(mk, l, random_type(r), random_path(mk));
	}
	if (n && one_in(r, 12))
		add_deep(mk, l);
	if (n && one_in(r, 10))
		add_big_directory(mk, l);
	if (n && one_in(r, 4))
		shuffle(r, l);
}

void random_stack(struct stack *s, uint64_t seed)
{
	struct maker mk = { .rng = { seed } };

	random_pool(&mk);
	s->n_layers = 1 + below(&mk.rng, MAX_LAYERS);
	for (mk.layer = 0; mk.layer < s->n_layers; mk.layer++)
		random_layer(&mk, &s->layers[mk.layer]);
}
