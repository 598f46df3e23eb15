/*
 * treegen - random image layers, and the tree that they make, from a seed.
 *
 *   treegen SEED DIR
 *
 * Writes to DIR, which is there: 0.tar, 1.tar .. the layers, lowest first; want.dump, the
 * merged tree as `treedump -cl` prints it; want.ls, its root as `cloakfs ls -l` lists it, but
 * one space between columns; gnu.tar, what GNU tar can unpack of layer 0, and gnu.dump, what
 * `treedump -dl` prints of that. In treegen/ the writer of tars and the model of the tree share
 * nothing but the entries, and with cloakfs nothing at all.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/e2e/lib/treegen/model.h"
#include "tests/e2e/lib/treegen/random.h"
#include "tests/e2e/lib/treegen/tarwrite.h"

static const char *dir;

static FILE *create(const char *name)
{
	struct text path = text_of(dir);
	FILE *f;

	text_puts(&path, "/");
	text_puts(&path, name);
	f = fopen(path.p, "wbe");
	if (!f) {
		perror(path.p);
		exit(2);
	}
	return f;
}

static void finish(FILE *f)
{
	if (fclose(f) != 0) {
		perror("treegen: cannot write");
		exit(2);
	}
}

static void stdout_to(const char *name)
{
	finish(stdout);
	stdout = create(name);
}

int main(int argc, char **argv)
{
	struct stack s = { 0 };
	struct node *root;
	FILE *f;

	if (argc != 3) {
		fprintf(stderr, "usage: treegen SEED DIR\n");
		return 2;
	}
	dir = argv[2];
	random_stack(&s, strtoull(argv[1], NULL, 10));
	root = model_build(&s, false);
	for (size_t i = 0; i < s.n_layers; i++) {
		char name[] = { (char)('0' + i), '.', 't', 'a', 'r', 0 };

		f = create(name);
		tar_write(f, &s.layers[i]);
		finish(f);
	}
	stdout_to("want.dump");
	model_dump(root, true);
	stdout_to("want.ls");
	model_list(root);

	s.n_layers = 1;
	for (size_t i = 0; i < s.layers[0].n; i++)
		s.layers[0].items[i].odd |= !tar_gnu_reads(&s.layers[0].items[i]);
	root = model_build(&s, true);
	f = create("gnu.tar");
	tar_write(f, &s.layers[0]);
	finish(f);
	stdout_to("gnu.dump");
	model_dump(root, false);
	finish(stdout);
	return 0;
}
