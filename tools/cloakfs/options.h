/*
 * options - the command line of every subcommand, by one table.
 */
#ifndef CK_OPTIONS_H
#define CK_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "fs/background.h"
#include "fs/fuse/idmap.h"
#include "fs/fuse/mount.h"
#include "keyprov/keyring.h"

enum { CK_OPTIONS_MAX_KEYS = 16 };

/* ck_options.compress; not given, it depends on the cipher. */
enum ck_compress { CK_COMPRESS_DEFAULT, CK_COMPRESS_ZSTD, CK_COMPRESS_KEEP };

/* Who answers for the merged tree. */
enum ck_mode { CK_MODE_AUTO, CK_MODE_EROFS, CK_MODE_FUSE };

struct ck_options {
	const char *config, *platform, *cache_dir, *key_info, *in, *out, *listen;
	const char *keys[CK_OPTIONS_MAX_KEYS], *unwrap[CK_OPTIONS_MAX_KEYS];
	size_t n_keys, n_unwrap;
	const char *layers, *index, *writable, *log, *record, *prefetch, *metrics, *authfile;
	enum ck_layer_cipher cipher;
	enum ck_compress compress;
	int level;	     /* zstd's; 0 when not given */
	uint64_t cache_size; /* bytes; 0 when not given */
	size_t layer;	     /* SIZE_MAX when not given */
	enum ck_view view;
	enum ck_mode mode;
	enum ck_prefetch_mode background;
	struct ck_idmap idmap;
	bool json, long_form, foreground, exec, lazy, all, plain_http, push;
	bool help;
	char **args; /* what is no option; n_args of them */
	size_t n_args;
};

struct ck_command {
	const char *name, *synopsis, *summary;
	const char *options;  /* letters of those it takes; see options.c */
	const char *required; /* letters of those it must get */
	size_t min_args, max_args;
	/* Secret memory does not stay locked in a forked child: such a command makes its
	 * own after it forked. */
	bool forks;
	bool notes; /* notes are shown, such as what a tag names: to whom they matter later */
	/* Returns 0, a negative errno, or CK_USAGE; an empty message has been told already. */
	int (*run)(const struct ck_options *o, struct ck_err *err);
};

enum { CK_USAGE = 1 };

/* Parses ARGV[0..ARGC), ARGV[0] being the command's name. Prints nothing.
 * Returns 0 or CK_USAGE with a message. */
CK_MUST_CHECK int ck_options_parse(struct ck_options *out, const struct ck_command *cmd, int argc,
				   char **argv, struct ck_err *err);

/* Prints CMD's help on stdout. */
void ck_options_help(const struct ck_command *cmd);

#endif
