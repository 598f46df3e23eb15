#include "tools/cloakfs/commands.h"
#include "tools/cloakfs/converted.h"
#include "tools/cloakfs/session.h"

static int run(const struct ck_options *o, struct ck_err *err)
{
	CK_SESSION s = { 0 };
	int rc = ck_session_open(&s, o, err);

	if (rc == 0)
		rc = ck_session_image(&s, o->keys, o->n_keys, o, err);
	if (rc < 0)
		return rc;
	const struct ck_image_conversion how = {
		.dst = o->args[1],
		.keys = s.keys,
		.require_encrypted = s.config.require_encrypted,
	};
	return ck_convert_and_tell(&s, &how, o->args[0], "decrypting", o->json, err);
}

const struct ck_command ck_cmd_decrypt = {
	.name = "decrypt",
	.synopsis = "[--config FILE] [--authfile FILE] [--plain-http] [--key KEY]... [--json] "
		    "[--platform OS/ARCH] SRC DST",
	.summary = "write the image SRC decrypted to DST, for any tool to run",
	.options = "ckjaHp",
	.required = "",
	.min_args = 2,
	.max_args = 2,
	.notes = true,
	.run = run,
};
