#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "fs/oci/reference.h"

#include "tools/cloakfs/commands.h"
#include "tools/cloakfs/converted.h"
#include "tools/cloakfs/prefetch.h"
#include "tools/cloakfs/session.h"

/* Marks in CHOSEN[0..N) the layers that LIST names: "0,2,-1". */
static int choose(bool *chosen, size_t n, const char *list, struct ck_err *err)
{
	for (const char *at = list;; at++) {
		char *end;
		errno = 0;
		long i = strtol(at, &end, 10);
		if (end == at || errno || (*end && *end != ',') || !strchr("-0123456789", *at))
			return ck_fail(err, CK_USAGE,
				       "--layers wants numbers with commas between, as 0,2,-1, not "
				       "\"%s\"",
				       list);
		size_t idx = i < 0 ? n + (size_t)i : (size_t)i; /* wraps back */
		if (idx >= n)
			return ck_fail(err, -EINVAL,
				       "there is no layer %ld: the image has %zu, from 0 or from "
				       "-1 downwards",
				       i, n);
		chosen[idx] = true;
		if (!*end)
			return 0;
		at = end;
	}
}

enum { LEVEL = 3 }; /* zstd's own default */

static bool is_same_dir(const char *one, const char *other)
{
	struct stat a, b;

	return stat(one, &a) == 0 && stat(other, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

/* In one layout or repository the plain layers are still there when all is done. */
static void note_same_place(const struct ck_options *o, const struct ck_image *image)
{
	CK_AUTO(ck_reference_free) struct ck_reference src = { 0 }, dst = { 0 };
	bool plain = false;

	for (size_t i = 0; i < image->n_layers; i++)
		plain |= !image->layers[i].encrypted;
	if (!plain || ck_reference_parse(&src, o->args[0], NULL) < 0 ||
	    ck_reference_parse(&dst, o->args[1], NULL) < 0)
		return;
	if (src.dir && dst.dir && is_same_dir(src.dir, dst.dir))
		ck_log(
		    CK_LOG_INFO,
		    "note: %s holds the image's layers as they were, too: give another directory "
		    "away, not this one",
		    src.dir);
	if (src.host && dst.host && strcmp(src.host, dst.host) == 0 &&
	    strcmp(src.repo, dst.repo) == 0)
		ck_log(CK_LOG_INFO,
		       "note: %s/%s holds the image's layers as they were, too: who may read the "
		       "one may read the others",
		       src.host, src.repo);
}

static int add_recipients(struct ck_recipients *r, const struct ck_options *o, struct ck_err *err)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < o->n_keys; i++)
		rc = ck_recipients_add(r, o->keys[i], err);
	return rc;
}

static int encrypt(const struct ck_session *s, const struct ck_recipients *r,
		   const struct ck_options *o, struct ck_err *err)
{
	size_t n = s->image->n_layers;
	CK_AUTO(ck_freep) bool *chosen = calloc(n ? n : 1, sizeof *chosen);
	bool keep = o->compress == CK_COMPRESS_KEEP ||
		    (o->compress == CK_COMPRESS_DEFAULT && o->cipher == CK_LAYER_CTR);
	struct ck_image_conversion how = {
		.dst = o->args[1],
		.recipients = r,
		.keys = o->n_unwrap ? s->keys : NULL,
		.cipher = o->cipher,
		.recompress = !keep,
		.level = o->level ? o->level : LEVEL,
		.chosen = o->layers ? chosen : NULL,
	};
	CK_PREFETCH prefetch = { 0 };

	if (!chosen)
		return ck_nomem(err, "encrypting an image");
	if (o->level && keep)
		return ck_fail(err, CK_USAGE, "--level is for --compress zstd: the bytes are kept");
	if (o->prefetch && (keep || o->cipher != CK_LAYER_CHUNKED))
		return ck_fail(err, CK_USAGE,
			       "--prefetch is for indexes inside sealed layers, packed anew; for "
			       "others, there is cloakfs index --prefetch");
	note_same_place(o, s->image);
	int rc = o->layers ? choose(chosen, n, o->layers, err) : 0;
	if (rc == 0)
		rc = ck_prefetch_open(&prefetch, o->prefetch, s->image, err);
	how.wants = prefetch.wants;
	if (rc == 0)
		rc = ck_convert_and_tell(s, &how, o->args[0], "encrypting", o->json, err);
	if (rc == 0)
		ck_prefetch_tell(&prefetch);
	return rc;
}

static int run(const struct ck_options *o, struct ck_err *err)
{
	CK_SESSION s = { 0 };
	CK_AUTO(ck_recipients_closep) struct ck_recipients *r = NULL;
	int rc = ck_session_open(&s, o, err);

	if (rc < 0)
		return rc;
	const struct ck_provider own = ck_session_provider(&s);
	rc = ck_recipients_open(&r, &own, err);
	if (rc == 0)
		rc = add_recipients(r, o, err);
	if (rc == 0)
		rc = ck_session_image(&s, o->unwrap, o->n_unwrap, o, err);
	return rc < 0 ? rc : encrypt(&s, r, o, err);
}

const struct ck_command ck_cmd_encrypt = {
	.name = "encrypt",
	.synopsis =
	    "[--config FILE] [--authfile FILE] [--plain-http] --key KEY... [--cipher gcm|ctr] "
	    "[--compress zstd|keep]\n"
	    "                       [--level N] [--layers LIST] [--unwrap KEY]...\n"
	    "                       [--prefetch FILE] [--json] [--platform OS/ARCH] SRC DST",
	.summary = "write the image SRC encrypted to DST",
	.options = "cruezqyFjaHp",
	.required = "r",
	.min_args = 2,
	.max_args = 2,
	.notes = true,
	.run = run,
};
