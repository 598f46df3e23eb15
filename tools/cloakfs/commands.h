/* commands - every subcommand's door; main.c dispatches. */
#ifndef CK_COMMANDS_H
#define CK_COMMANDS_H

#include "tools/cloakfs/options.h"

extern const struct ck_command ck_cmd_mount, ck_cmd_umount, ck_cmd_inspect, ck_cmd_ls, ck_cmd_cat,
    ck_cmd_export, ck_cmd_verify, ck_cmd_encrypt, ck_cmd_decrypt, ck_cmd_index, ck_cmd_keyprovider,
    ck_cmd_wrap, ck_cmd_unwrap, ck_cmd_status, ck_cmd_cache;

#endif
