#include <errno.h>

#include "tools/cloakfs/commands.h"
#include "tools/cloakfs/output.h"
#include "tools/cloakfs/session.h"

enum { PIECE = 1 << 20 };

static int copy_out(struct ck_layer *layer, struct ck_err *err)
{
	uint64_t len = ck_layer_len(layer);
	CK_AUTO(ck_freep) uint8_t *buf = malloc(PIECE);

	if (!buf)
		return ck_nomem(err, "exporting a layer");
	for (uint64_t off = 0; off < len;) {
		size_t n = len - off < PIECE ? (size_t)(len - off) : PIECE;
		int rc = ck_layer_pread(layer, buf, n, off, err);
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

	if (isatty(STDOUT_FILENO))
		return ck_fail(
		    err, -EINVAL,
		    "standard output is a terminal: send the tar to a file or a program");
	s.full = true; /* what is written cannot be taken back */
	int rc = ck_session_open(&s, o, err);
	if (rc == 0)
		rc = ck_session_image(&s, o->keys, o->n_keys, o, err);
	if (rc == 0)
		rc = ck_session_stack(&stack, &s, o->layer, false, err);
	if (rc == 0)
		rc = copy_out(stack->layers[o->layer], err);
	return rc;
}

const struct ck_command ck_cmd_export = {
	.name = "export",
	.synopsis = "[--config FILE] [--authfile FILE] [--plain-http] [--key KEY]... [--platform "
		    "OS/ARCH] --layer N IMAGE",
	.summary = "write the decrypted tar of one layer to standard output",
	.options = "ckaHpn",
	.required = "n",
	.min_args = 1,
	.max_args = 1,
	.notes = true,
	.run = run,
};
