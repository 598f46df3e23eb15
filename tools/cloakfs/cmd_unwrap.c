#include "tools/cloakfs/commands.h"
#include "tools/cloakfs/session.h"
#include "tools/cloakfs/whole.h"

enum { MAX_DATA = 4 << 20 };

static int run(const struct ck_options *o, struct ck_err *err)
{
	CK_SESSION s = { 0 };
	CK_BUF in = { .max = MAX_DATA }, out = { 0 };
	int rc = ck_session_open(&s, o, err);

	if (rc == 0)
		rc = ck_whole_read(&in, o->in, err);
	if (rc < 0)
		return rc;
	struct ck_provider p = ck_session_provider(&s);
	rc = ck_provider_unwrap(&p, ck_buf_str(&in), in.len, &out, err);
	return rc < 0 ? rc : ck_whole_write(&out, o->out, 0600, err);
}

const struct ck_command ck_cmd_unwrap = {
	.name = "unwrap",
	.synopsis = "[--config FILE] --in FILE --out FILE",
	.summary = "undo wrap: the key is released by the HSM, the result written with mode 0600",
	.options = "cio",
	.required = "io",
	.min_args = 0,
	.max_args = 0,
	.run = run,
};
