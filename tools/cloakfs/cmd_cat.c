#include <errno.h>

#include "tools/cloakfs/commands.h"
#include "tools/cloakfs/output.h"
#include "tools/cloakfs/session.h"

enum { PIECE = 1 << 20 };

static int copy_out(struct ck_stack *stack, const struct ck_node *node, struct ck_err *err)
{
	uint64_t size = node->entry->size;
	CK_AUTO(ck_freep) uint8_t *buf = malloc(PIECE);

	if (!buf)
		return ck_nomem(err, "reading a file");
	for (uint64_t off = 0; off < size;) {
		size_t n = size - off < PIECE ? (size_t)(size - off) : PIECE;
		int rc = ck_stack_read(stack, node->layer, node->entry, buf, n, off, err);
		if (rc == 0)
			rc = ck_output_bytes(buf, n, err);
		if (rc < 0)
			return rc;
		off += n;
	}
	return 0;
}

static int run(const struct ck_options *o, struct ck_err *err)
{
	CK_SESSION s = { 0 };
	CK_AUTO(ck_stack_closep) struct ck_stack *stack = NULL;
	const char *path = o->args[1];
	ck_ino ino = 0;
	int rc = ck_session_open(&s, o, err);

	if (rc == 0)
		rc = ck_session_image(&s, o->keys, o->n_keys, o, err);
	if (rc == 0)
		rc = ck_session_indexes(&s, o, err);
	if (rc == 0)
		rc = ck_session_stack(&stack, &s, SIZE_MAX, true, err);
	if (rc == 0)
		rc = ck_tree_walk(stack->tree, stack->index, path, true, &ino, err);
	if (rc < 0)
		return rc;
	const struct ck_node *node = &stack->tree->nodes[ino];
	if (!node->entry || S_ISDIR(node->entry->mode))
		return ck_fail(err, -EISDIR, "%s is a directory", path);
	if (!S_ISREG(node->entry->mode))
		return ck_fail(err, -EINVAL, "%s is not a regular file", path);
	rc = copy_out(stack, node, err);
	return rc < 0 ? ck_wrap(err, "%s", path) : 0;
}

const struct ck_command ck_cmd_cat = {
	.name = "cat",
	.synopsis = "[--config FILE] [--authfile FILE] [--plain-http] [--key KEY]... [--cache-dir "
		    "DIR] [--cache-size SIZE] [--index DIR] [--platform "
		    "OS/ARCH] IMAGE PATH",
	.summary = "write a file of the image to standard output",
	.options = "ckCSIaHp",
	.required = "",
	.min_args = 2,
	.max_args = 2,
	.run = run,
};
