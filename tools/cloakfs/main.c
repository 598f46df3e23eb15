/* cloakfs - mounts encrypted OCI images, their keys released by attestation. */
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/secret.h"
#include "tools/cloakfs/commands.h"
#include "tools/cloakfs/output.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

static const struct ck_command *const commands[] = {
	&ck_cmd_mount, &ck_cmd_umount, &ck_cmd_status,	    &ck_cmd_inspect, &ck_cmd_ls,
	&ck_cmd_cat,   &ck_cmd_export, &ck_cmd_verify,	    &ck_cmd_encrypt, &ck_cmd_decrypt,
	&ck_cmd_index, &ck_cmd_cache,  &ck_cmd_keyprovider, &ck_cmd_wrap,    &ck_cmd_unwrap,
};
enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

static void print_help(FILE *to)
{
	fputs("usage: cloakfs COMMAND [OPTION]... [ARGUMENT]...\n"
	      "Mounts encrypted OCI images; their keys are released by attestation.\n\ncommands:\n",
	      to);
	for (size_t i = 0; i < N_COMMANDS; i++)
		fprintf(to, "  %-12s %s\n", commands[i]->name, commands[i]->summary);
	fputs("\nIMAGE is docker://HOST/NAME[:TAG], oci:DIR[:REF] or dir:DIR; @sha256:... behind "
	      "it\npins its digest.\n"
	      "'cloakfs COMMAND --help' says more, cloakfs(8) all.\n",
	      to);
}

/* A file opened later must not become fd 0, 1 or 2; these stay unusable instead. */
static void fill_stdio(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDONLY);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		(void)close(fd);
}

static int tell(const struct ck_command *cmd, int rc, const struct ck_err *err)
{
	if (rc == 0)
		return 0;
	if (rc == CK_USAGE) {
		fprintf(stderr, "cloakfs %s: %s\nusage: cloakfs %s %s\n", cmd->name, err->msg,
			cmd->name, cmd->synopsis);
		return EXIT_USAGE;
	}
	if (err->msg[0])
		ck_log(CK_LOG_ERROR, "%s", err->msg);
	return EXIT_FAILED;
}

static int run(const struct ck_command *cmd, int argc, char **argv)
{
	struct ck_options o;
	struct ck_err err = { 0 };
	int rc = ck_options_parse(&o, cmd, argc, argv, &err);

	if (rc == 0 && o.help) {
		ck_options_help(cmd);
		return tell(cmd, ck_output_flush(&err), &err);
	}
	if (cmd->notes)
		ck_log_init("cloakfs", CK_LOG_INFO);
	if (rc == 0 && !cmd->forks)
		rc = ck_secret_init(&err);
	if (rc == 0)
		rc = cmd->run(&o, &err);
	return tell(cmd, rc, &err);
}

/* The words that are no command. Returns -1 when WORD is none of them. */
static int answer(const char *word)
{
	struct ck_err err = { 0 };

	if (strcmp(word, "--version") == 0)
		puts("cloakfs " CK_VERSION);
	else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 ||
		 strcmp(word, "help") == 0)
		print_help(stdout);
	else
		return -1;
	return tell(NULL, ck_output_flush(&err), &err);
}

int main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "";

	fill_stdio();
	/* Units of a layer come and go by the megabyte: given back at once, they leave no holes
	 * in a heap that only grows. */
	(void)mallopt(M_MMAP_THRESHOLD, 256 << 10);
	/* Two heaps for all threads: what a dozen of them leave unused is more than they wait. */
	(void)mallopt(M_ARENA_MAX, 2);
	/* A command that only looks says one thing; others, and services, say more. */
	ck_log_init("cloakfs", CK_LOG_WARNING);
	(void)signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error with a message */
	(void)signal(SIGXFSZ, SIG_IGN); /* so is a file that may not grow any more */
	/* Ignored by some who start us; then nobody could tell how a child ended. */
	(void)signal(SIGCHLD, SIG_DFL);
	for (size_t i = 0; i < N_COMMANDS; i++)
		if (strcmp(word, commands[i]->name) == 0)
			return run(commands[i], argc - 1, argv + 1);
	int rc = answer(word);
	if (rc >= 0)
		return rc;
	if (*word)
		fprintf(stderr, "cloakfs: there is no command \"%s\"\n\n", word);
	print_help(stderr);
	return EXIT_USAGE;
}
