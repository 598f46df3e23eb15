/* cmds - the subcommands. Each gets its own argv (argv[0] is its name), parses it with
 * getopt_long and returns an exit code: 0 done, 1 failed, 2 usage. */
#ifndef AZ_CMDS_H
#define AZ_CMDS_H

#include "base/err.h"

int az_cmd_start(int argc, char **argv);
int az_cmd_run(int argc, char **argv);
int az_cmd_stop(int argc, char **argv);
int az_cmd_key_create(int argc, char **argv);
int az_cmd_key_import(int argc, char **argv);
int az_cmd_counters(int argc, char **argv);
int az_cmd_set(int argc, char **argv);

/* Says on stderr how WHAT failed and returns 1. */
int az_failed(const char *what, const struct ck_err *err);

/* Says on stderr that the use of WHAT is wrong and returns 2. */
int az_usage(const char *what, const char *why);

#endif
