#include "tools/cloakfs/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <zstd.h>

#include "base/size.h"
#include "tools/cloakfs/config.h"

/* LETTER stands for the option in a command's list; only 'h' and 'l' are also short
 * options. */
static const struct known {
	char letter;
	const char *name, *value, *help;
} known[] = {
	{ 'c', "config", "FILE", "the configuration file" },
	{ 'k', "key", "KEY",
	  "hsm (the default), provider:NAME[:VALUE], or a PEM file; repeatable" },
	{ 'r', "key", "KEY",
	  "whom to encrypt for: provider:NAME:VALUE, or a PEM public key; repeatable" },
	{ 'u', "unwrap", "KEY",
	  "add the recipients to encrypted layers, too, which KEY opens (as mount's --key)" },
	{ 'e', "cipher", "CIPHER", "gcm (the default): sealed layers; ctr: as skopeo encrypts" },
	{ 'z', "compress", "HOW",
	  "zstd (the default for gcm): anew, in frames; keep: the bytes as they are" },
	{ 'q', "level", "N", "zstd's compression level (3)" },
	{ 'y', "layers", "LIST", "only these, as 0,2,-1; the lowest is 0, the uppermost -1" },
	{ 'O', "out", "DIR", "put the artifact into this layout, not the image's own" },
	{ 'P', "push", NULL, "put the artifact into the image's own registry" },
	{ 'I', "index", "DIR", "look for the image's index artifact in this layout, too" },
	{ 'C', "cache-dir", "DIR", "where what is fetched and found out is kept; none: nowhere" },
	{ 'S', "cache-size", "SIZE",
	  "how much, in bytes or with K, M, G, T; a tenth of the disk, 10G at most" },
	{ 'A', "all", NULL, "everything that is not in use" },
	{ 'a', "authfile", "FILE", "credentials of registries, instead of where they usually are" },
	{ 'H', "plain-http", NULL, "speak plain HTTP with the image's registry" },
	{ 'p', "platform", "OS/ARCH", "pick this platform, not the host's" },
	{ 'v', "view", "VIEW", "rootfs (the default): the merged tree; layers: each of them" },
	{ 'm', "mode", "MODE",
	  "auto (the default); erofs: the kernel answers for the tree; fuse: cloakfs does" },
	{ 'w', "writable", "DIR",
	  "what is changed in the tree goes into DIR; tmpfs: into memory, until it is unmounted" },
	{ 'U', "uidmap", "RANGE",
	  "IMAGE-ID:SHOWN-ID:COUNT, users to show in place of the image's; repeatable" },
	{ 'G', "gidmap", "RANGE", "the same for groups; where it is not given, --uidmap counts" },
	{ 'g', "log", "FILE", "append the mount's log to FILE; else it goes to syslog" },
	{ 'T', "record", "FILE", "write to FILE which parts of files are used, in that order" },
	{ 'B', "prefetch", "WHAT",
	  "of a registry's image, in the background: trace (the default), what its indexes say is "
	  "used first; all; none" },
	{ 'F', "prefetch", "FILE", "have mounts fetch first what FILE, of mount --record, tells" },
	{ 'M', "metrics", "ADDR",
	  "serve metrics at unix:PATH, or HOST:PORT of a loopback address; none: nowhere" },
	{ 'f', "foreground", NULL, "stay; SIGTERM or SIGINT unmounts" },
	{ 'Z', "lazy", NULL, "at once, though files are open; they stay readable until closed" },
	{ 'j', "json", NULL, "print JSON" },
	{ 'l', "long", NULL, "(-l) mode, links, owner, size and time too" },
	{ 'n', "layer", "N", "which layer, the lowest being 0" },
	{ 'L', "listen", "ADDR", "unix:PATH, or HOST:PORT of a loopback address" },
	{ 'x', "exec", NULL, "one JSON request on stdin, its answer on stdout" },
	{ 'K', "key-info", "PREFIX", "wrap with the key that PREFIX-info.json describes" },
	{ 'i', "in", "FILE", "what to read; - is stdin" },
	{ 'o', "out", "FILE", "what to write; - is stdout" },
	{ 'h', "help", NULL, "(-h) print this help" },
};
enum { N_KNOWN = sizeof known / sizeof known[0] };

static bool takes(const struct ck_command *cmd, const struct known *k)
{
	return k->letter == 'h' || strchr(cmd->options, k->letter);
}

static const struct known *find(char letter)
{
	const struct known *k = known;

	while (k->letter != letter)
		k++;
	return k;
}

static int parse_layer(size_t *out, const char *text, struct ck_err *err)
{
	char *end;

	errno = 0;
	unsigned long n = strtoul(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end || errno || n >= SIZE_MAX)
		return ck_fail(err, CK_USAGE, "--layer wants a number from 0, not \"%s\"", text);
	*out = n;
	return 0;
}

static int parse_view(enum ck_view *out, const char *text, struct ck_err *err)
{
	if (strcmp(text, "rootfs") == 0)
		*out = CK_VIEW_ROOTFS;
	else if (strcmp(text, "layers") == 0)
		*out = CK_VIEW_LAYERS;
	else
		return ck_fail(err, CK_USAGE, "--view is rootfs or layers, not \"%s\"", text);
	return 0;
}

static int parse_mode(enum ck_mode *out, const char *text, struct ck_err *err)
{
	if (strcmp(text, "fuse") == 0)
		*out = CK_MODE_FUSE;
	else if (strcmp(text, "erofs") == 0)
		*out = CK_MODE_EROFS;
	else if (strcmp(text, "auto") == 0)
		*out = CK_MODE_AUTO;
	else
		return ck_fail(err, CK_USAGE, "--mode is auto, erofs or fuse, not \"%s\"", text);
	return 0;
}

static int parse_background(enum ck_prefetch_mode *out, const char *text, struct ck_err *err)
{
	if (strcmp(text, "trace") == 0)
		*out = CK_PREFETCH_TRACE;
	else if (strcmp(text, "all") == 0)
		*out = CK_PREFETCH_ALL;
	else if (strcmp(text, "none") == 0)
		*out = CK_PREFETCH_NONE;
	else
		return ck_fail(err, CK_USAGE, "--prefetch is none, trace or all, not \"%s\"", text);
	return 0;
}

static int parse_cipher(enum ck_layer_cipher *out, const char *text, struct ck_err *err)
{
	if (strcmp(text, "gcm") == 0)
		*out = CK_LAYER_CHUNKED;
	else if (strcmp(text, "ctr") == 0)
		*out = CK_LAYER_CTR;
	else
		return ck_fail(err, CK_USAGE, "--cipher is gcm or ctr, not \"%s\"", text);
	return 0;
}

static int parse_compress(enum ck_compress *out, const char *text, struct ck_err *err)
{
	if (strcmp(text, "zstd") == 0)
		*out = CK_COMPRESS_ZSTD;
	else if (strcmp(text, "keep") == 0)
		*out = CK_COMPRESS_KEEP;
	else
		return ck_fail(err, CK_USAGE, "--compress is zstd or keep, not \"%s\"", text);
	return 0;
}

static int parse_level(int *out, const char *text, struct ck_err *err)
{
	char *end;

	errno = 0;
	long n = strtol(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end || errno || n < 1 || n > ZSTD_maxCLevel())
		return ck_fail(err, CK_USAGE, "--level wants a number from 1 to %d, not \"%s\"",
			       ZSTD_maxCLevel(), text);
	*out = (int)n;
	return 0;
}

static int parse_cache_size(uint64_t *out, const char *text, struct ck_err *err)
{
	if (ck_size_parse(out, text, err) < 0) {
		ck_wrap(err, "--cache-size");
		return CK_USAGE;
	}
	if (*out < CK_CACHE_MIN)
		return ck_fail(err, CK_USAGE, "--cache-size is at least %s, not \"%s\"",
			       CK_CACHE_MIN_TEXT, text);
	return 0;
}

static int add_key(const char **keys, size_t *n, const char *option, const char *key,
		   struct ck_err *err)
{
	if (*n == CK_OPTIONS_MAX_KEYS)
		return ck_fail(err, CK_USAGE, "more than %d --%s", CK_OPTIONS_MAX_KEYS, option);
	keys[(*n)++] = key;
	return 0;
}

static int add_range(char *map, size_t cap, const char *range, struct ck_err *err)
{
	return ck_idmap_add(map, cap, range, err) < 0 ? CK_USAGE : 0;
}

static int take_value(struct ck_options *o, char letter, const char *value, struct ck_err *err)
{
	switch (letter) {
	case 'c':
		o->config = value;
		return 0;
	case 'k':
	case 'r':
		return add_key(o->keys, &o->n_keys, "key", value, err);
	case 'u':
		return add_key(o->unwrap, &o->n_unwrap, "unwrap", value, err);
	case 'm':
		return parse_mode(&o->mode, value, err);
	case 'B':
		return parse_background(&o->background, value, err);
	case 'e':
		return parse_cipher(&o->cipher, value, err);
	case 'z':
		return parse_compress(&o->compress, value, err);
	case 'q':
		return parse_level(&o->level, value, err);
	case 'y':
		o->layers = value;
		return 0;
	case 'I':
		o->index = value;
		return 0;
	case 'U':
		return add_range(o->idmap.uids, sizeof o->idmap.uids, value, err);
	case 'G':
		return add_range(o->idmap.gids, sizeof o->idmap.gids, value, err);
	case 'g':
		o->log = value;
		return 0;
	case 'T':
		o->record = value;
		return 0;
	case 'F':
		o->prefetch = value;
		return 0;
	case 'M':
		o->metrics = value;
		return 0;
	case 'w':
		o->writable = value;
		return 0;
	case 'p':
		o->platform = value;
		return 0;
	case 'a':
		o->authfile = value;
		return 0;
	case 'C':
		o->cache_dir = value;
		return 0;
	case 'S':
		return parse_cache_size(&o->cache_size, value, err);
	case 'v':
		return parse_view(&o->view, value, err);
	case 'n':
		return parse_layer(&o->layer, value, err);
	case 'L':
		o->listen = value;
		return 0;
	case 'K':
		o->key_info = value;
		return 0;
	case 'i':
		o->in = value;
		return 0;
	case 'o':
	case 'O':
		o->out = value;
		return 0;
	}
	o->foreground |= letter == 'f';
	o->json |= letter == 'j';
	o->long_form |= letter == 'l';
	o->exec |= letter == 'x';
	o->lazy |= letter == 'Z';
	o->all |= letter == 'A';
	o->plain_http |= letter == 'H';
	o->push |= letter == 'P';
	o->help |= letter == 'h';
	return 0;
}

static int check(const struct ck_options *o, const struct ck_command *cmd, const bool *seen,
		 struct ck_err *err)
{
	for (const char *r = cmd->required; *r; r++)
		if (!seen[(unsigned char)*r])
			return ck_fail(err, CK_USAGE, "--%s %s is missing", find(*r)->name,
				       find(*r)->value);
	if (o->n_args < cmd->min_args)
		return ck_fail(err, CK_USAGE, "too few arguments");
	if (o->n_args > cmd->max_args)
		return ck_fail(err, CK_USAGE, "\"%s\" is too much", o->args[cmd->max_args]);
	return 0;
}

/* Long options are LONG + their index; a short one is its letter. */
enum { LONG = 256 };

static int misfit(int c, char **argv, struct ck_err *err)
{
	const char *word = argv[optind - 1];

	if (c == ':')
		return ck_fail(err, CK_USAGE, "%s wants a value", word);
	if (optopt >= LONG)
		return ck_fail(err, CK_USAGE, "--%s takes no value", known[optopt - LONG].name);
	if (optopt)
		return ck_fail(err, CK_USAGE, "unknown option -%c", optopt);
	return ck_fail(err, CK_USAGE, "unknown option %s", word);
}

int ck_options_parse(struct ck_options *out, const struct ck_command *cmd, int argc, char **argv,
		     struct ck_err *err)
{
	struct ck_options o = { .layer = SIZE_MAX,
				.cipher = CK_LAYER_CHUNKED,
				.background = CK_PREFETCH_TRACE };
	struct option longs[N_KNOWN + 1] = { 0 };
	bool seen[128] = { false };
	size_t n = 0;

	for (int i = 0; i < N_KNOWN; i++)
		if (takes(cmd, &known[i]))
			longs[n++] = (struct option){ known[i].name, known[i].value != NULL, NULL,
						      LONG + i };
	opterr = 0;
	const char *shorts = strchr(cmd->options, 'l') ? ":hl" : ":h";
	for (int c; (c = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
		if (c == ':' || c == '?')
			return misfit(c, argv, err);
		char letter = c >= LONG ? known[c - LONG].letter : (char)c;
		seen[(unsigned char)letter] = true;
		int rc = take_value(&o, letter, optarg, err);
		if (rc)
			return rc;
	}
	o.args = argv + optind;
	o.n_args = (size_t)(argc - optind);
	*out = o;
	return o.help ? 0 : check(&o, cmd, seen, err);
}

void ck_options_help(const struct ck_command *cmd)
{
	printf("usage: cloakfs %s %s\n\n%s\n\noptions:\n", cmd->name, cmd->synopsis, cmd->summary);
	for (size_t i = 0; i < N_KNOWN; i++) {
		const struct known *k = &known[i];
		char left[40];
		if (!takes(cmd, k))
			continue;
		snprintf(left, sizeof left, "--%s%s%s", k->name, k->value ? " " : "",
			 k->value ? k->value : "");
		printf("  %-20s %s\n", left, k->help);
	}
}
