/* azsim - the local Azure: identity, attestation, Managed HSM and an SNP evidence device. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "tools/azsim/cmds.h"
#include "tools/azsim/fault.h"

static const char help[] =
    "azsim - a local Azure for cloakfs: metadata service, identity, attestation,\n"
    "Managed HSM, and the evidence device of an SEV-SNP guest. Real cryptography,\n"
    "own roots, one process on 127.0.0.1.\n"
    "\n"
    "  azsim start --state DIR [options]   start in the background; prints the cloakfs\n"
    "                                      configuration that reaches it\n"
    "  azsim run --state DIR [options]     the same in the foreground\n"
    "  azsim stop --state DIR              stop, unmount, wait until it has ended\n"
    "    --hsm HOST          a Managed HSM (repeatable; hsm1.managedhsm.azure.net)\n"
    "    --maa HOST          an attestation instance (repeatable;\n"
    "                        sharedeus.eus.attest.azure.net)\n"
    "    --measurement HEX96, --host-data HEX64, --vmpl N, --debug\n"
    "                        the guest; kept in the state until changed\n"
    "  azsim key-create --state DIR --name KID [--size 3072] [--policy FILE]\n"
    "        [--not-exportable] [--info-dir DIR] [--hsm HOST] [--maa HOST]\n"
    "  azsim key-import --state DIR --name KID --pem FILE [--policy FILE]\n"
    "        [--info-dir DIR] [--hsm HOST] [--maa HOST]\n"
    "                                      a key with its release policy; --info-dir\n"
    "                                      also writes KID-info.json, KID-pub.pem and\n"
    "                                      KID-release-policy.json\n"
    "  azsim counters --state DIR [--reset]\n"
    "                                      requests served since the start or the reset\n"
    "  azsim set --state DIR NAME=VALUE... measurement, host-data, vmpl, debug;\n"
    "                                      fault.ENDPOINT=MODE[*COUNT], \"off\" clears\n"
    "\n"
    "The HSM's own look at an instance's discovery document and keys is a request like\n"
    "any other: it counts, and meets the faults set. Endpoints and their faults:\n";

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} cmds[] = {
	{ "start", az_cmd_start },
	{ "run", az_cmd_run },
	{ "stop", az_cmd_stop },
	{ "key-create", az_cmd_key_create },
	{ "key-import", az_cmd_key_import },
	{ "counters", az_cmd_counters },
	{ "set", az_cmd_set },
};

int az_failed(const char *what, const struct ck_err *err)
{
	fprintf(stderr, "azsim %s: %s\n", what, err->msg);
	return 1;
}

int az_usage(const char *what, const char *why)
{
	fprintf(stderr, "azsim %s: %s; see azsim --help\n", what, why);
	return 2;
}

static int print_help(void)
{
	CK_BUF faults = { 0 };
	struct ck_err err = { 0 };

	if (az_fault_list(&faults, &err) < 0)
		return az_failed("--help", &err);
	printf("%s%s", help, ck_buf_str(&faults));
	return 0;
}

int main(int argc, char **argv)
{
	ck_log_init("azsim", CK_LOG_INFO);
	if (argc < 2) {
		fprintf(stderr, "azsim: no command; see azsim --help\n");
		return 2;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return print_help();
	for (size_t i = 0; i < sizeof cmds / sizeof *cmds; i++)
		if (strcmp(cmds[i].name, argv[1]) == 0)
			return cmds[i].run(argc - 1, argv + 1);
	fprintf(stderr, "azsim: no command \"%s\"; see azsim --help\n", argv[1]);
	return 2;
}
