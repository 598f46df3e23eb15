#include "tools/cloakfs/commands.h"

static int run(const struct ck_options *o, struct ck_err *err)
{
	return ck_unmount(o->args[0], o->lazy, err);
}

const struct ck_command ck_cmd_umount = {
	.name = "umount",
	.synopsis = "[--lazy] DIR",
	.summary = "unmount DIR, also where the mount's process has died",
	.options = "Z",
	.required = "",
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
