#include <errno.h>
#include <string.h>

#include "fs/oci/reference.h"
#include "tools/cloakfs/commands.h"
#include "tools/cloakfs/converted.h"
#include "tools/cloakfs/session.h"

static bool equal(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

/* A name in a registry that stood for what is encrypted would stand for what everybody can read,
 * for all who pull it. */
static int check_places(const char *src, const char *dst, struct ck_err *err)
{
	CK_AUTO(ck_reference_free) struct ck_reference s = { 0 }, d = { 0 };
	int rc = ck_reference_parse(&s, src, err);

	if (rc == 0)
		rc = ck_reference_parse(&d, dst, err);
	if (rc == 0 && equal(s.host, d.host) && equal(s.repo, d.repo) && equal(s.name, d.name))
		rc = ck_fail(err, -EINVAL,
			     "%s would stand for the decrypted image, for all who pull it: name "
			     "another tag or repository",
			     dst);
	return rc;
}

static int run(const struct ck_options *o, struct ck_err *err)
{
	CK_SESSION s = { 0 };
	int rc = check_places(o->args[0], o->args[1], err);

	if (rc == 0)
		rc = ck_session_open(&s, o, err);
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
