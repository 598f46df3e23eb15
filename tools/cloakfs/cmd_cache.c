#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "fs/cache/survey.h"
#include "tools/cloakfs/cachedir.h"
#include "tools/cloakfs/commands.h"
#include "tools/cloakfs/output.h"

enum { WHEN = 40 };
static void when_text(char out[WHEN], uint64_t unix_s)
{
	time_t t = (time_t)unix_s;
	struct tm tm;

	if (!unix_s || !gmtime_r(&t, &tm) || !strftime(out, WHEN, "%Y-%m-%d %H:%M:%S UTC", &tm))
		snprintf(out, WHEN, "-");
}

static double share(const struct ck_cache_item *it)
{
	return it->size ? (double)it->there / (double)it->size : 0;
}

static void print_item(const struct ck_cache_item *it)
{
	char digest[CK_DIGEST_STR], size[CK_OUTPUT_SIZE], there[CK_OUTPUT_SIZE], when[WHEN];

	ck_digest_str(digest, it->digest);
	ck_output_size(size, it->size);
	ck_output_size(there, it->there);
	when_text(when, it->used);
	if (it->damaged)
		printf("  %s  damaged\n", digest);
	else if (it->blob)
		printf("  %s  %s, %s there (%.1f %%), used %s\n", digest, size, there,
		       100 * share(it), when);
	else
		printf("  %s  %s, used %s\n", digest, size, when);
}

static void print_items(const struct ck_cache_items *l, const char *dir, uint64_t limit)
{
	char disk[CK_OUTPUT_SIZE], most[CK_OUTPUT_SIZE];

	for (size_t i = 0; i < l->n;) {
		uint64_t sum = 0;
		size_t end = i;
		for (; end < l->n && strcmp(l->v[end].kind, l->v[i].kind) == 0; end++)
			sum += l->v[end].disk;
		ck_output_size(disk, sum);
		printf("%-7s %zu, %s on the disk\n", l->v[i].kind, end - i, disk);
		for (; i < end; i++)
			print_item(&l->v[i]);
	}
	ck_output_size(disk, l->disk);
	ck_output_size(most, limit);
	printf("total   %s of %s in ", disk, most);
	ck_output_name(dir, strlen(dir));
	putchar('\n');
}

static json_t *item_json(const struct ck_cache_item *it)
{
	char digest[CK_DIGEST_STR];
	CK_JSON *j = json_object();
	int rc = 0;

	ck_digest_str(digest, it->digest);
	if (!it->blob)
		rc |= json_object_set_new(j, "kind", json_string(it->kind));
	rc |= json_object_set_new(j, "digest", json_string(digest));
	rc |= json_object_set_new(j, "size",
				  it->damaged ? json_null() : json_integer((json_int_t)it->size));
	if (it->blob) {
		rc |= json_object_set_new(j, "bytes_there", json_integer((json_int_t)it->there));
		rc |= json_object_set_new(j, "share", json_real(share(it)));
		rc |= json_object_set_new(j, "damaged", json_boolean(it->damaged));
	}
	rc |= json_object_set_new(j, "bytes_on_disk", json_integer((json_int_t)it->disk));
	rc |= json_object_set_new(j, "last_used",
				  it->used ? json_integer((json_int_t)it->used) : json_null());
	return rc == 0 ? ck_take(j) : NULL;
}

static int print_json(const struct ck_cache_items *l, const char *dir, uint64_t limit,
		      struct ck_err *err)
{
	CK_JSON *root = json_object();
	json_t *blobs = json_array(), *others = json_array();
	int rc = json_object_set_new(root, "directory", ck_json_text(dir));

	rc |= json_object_set_new(root, "bytes_on_disk", json_integer((json_int_t)l->disk));
	rc |= json_object_set_new(root, "limit", json_integer((json_int_t)limit));
	rc |= json_object_set_new(root, "blobs", blobs);
	rc |= json_object_set_new(root, "others", others);
	for (size_t i = 0; rc == 0 && i < l->n; i++)
		rc = json_array_append_new(l->v[i].blob ? blobs : others, item_json(&l->v[i]));
	if (rc < 0)
		return ck_nomem(err, "writing JSON");
	if (json_dumpf(root, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII) < 0)
		return ck_fail(err, -EIO, "cannot write standard output");
	putchar('\n');
	return 0;
}

static int list(struct ck_blobcache *c, const struct ck_cachedir *d, const struct ck_options *o,
		struct ck_err *err)
{
	struct ck_cache_items l = { 0 };
	uint64_t limit = ck_blobcache_limit(c);
	int rc = ck_blobcache_list(&l, c, err);

	if (rc == 0 && o->json)
		rc = print_json(&l, d->path, limit, err);
	else if (rc == 0)
		print_items(&l, d->path, limit);
	ck_cache_items_free(&l);
	return rc;
}

static int prune(struct ck_blobcache *c, const struct ck_cachedir *d, const struct ck_options *o,
		 struct ck_err *err)
{
	struct ck_cache_pruned p = { 0 };
	char freed[CK_OUTPUT_SIZE], left[CK_OUTPUT_SIZE];
	int rc = ck_blobcache_prune(&p, c, ck_blobcache_limit(c), o->all, err);

	(void)d;
	if (rc < 0)
		return rc;
	ck_output_size(freed, p.before > p.after ? p.before - p.after : 0);
	ck_output_size(left, p.after);
	printf("freed %s, %s are left\n", freed, left);
	return 0;
}

static int verify(struct ck_blobcache *c, const struct ck_cachedir *d, const struct ck_options *o,
		  struct ck_err *err)
{
	struct ck_cache_verdict v = { 0 };
	int rc = ck_blobcache_verify(&v, c, err);

	(void)d, (void)o;
	if (rc < 0)
		return rc;
	printf("blobs      %" PRIu64 ", %" PRIu64
	       " of them whole and checked by their digests, %" PRIu64 " wrong\n",
	       v.blobs, v.whole, v.bad_blobs);
	printf("blocks     %" PRIu64 ", %" PRIu64 " wrong\n", v.blocks, v.bad_blocks);
	printf("documents  %" PRIu64 ", %" PRIu64 " wrong\n", v.files, v.bad_files);
	printf("indexes    %" PRIu64 ", each of which its layer's key checks when it is used\n",
	       v.unchecked);
	if (v.bad_blobs + v.bad_blocks + v.bad_files == 0)
		return 0;
	rc = ck_output_flush(err);
	return rc < 0
		   ? rc
		   : ck_fail(err, -EBADMSG, "what was wrong in the cache %s was dropped", d->path);
}

typedef int action_fn(struct ck_blobcache *c, const struct ck_cachedir *d,
		      const struct ck_options *o, struct ck_err *err);

static action_fn *which(const struct ck_options *o, struct ck_err *err)
{
	const char *word = o->args[0];
	action_fn *fn = NULL;

	if (strcmp(word, "ls") == 0)
		fn = list;
	else if (strcmp(word, "prune") == 0)
		fn = prune;
	else if (strcmp(word, "verify") == 0)
		fn = verify;
	else
		(void)ck_fail(err, CK_USAGE, "it does ls, prune or verify, not \"%s\"", word);
	if (fn && o->json && fn != list) {
		(void)ck_fail(err, CK_USAGE, "--json is for ls");
		return NULL;
	}
	if (fn && o->all && fn != prune) {
		(void)ck_fail(err, CK_USAGE, "--all is for prune");
		return NULL;
	}
	return fn;
}

/* A directory that somebody names should be there; a default one is made. */
static int open_cache(struct ck_blobcache **out, const struct ck_cachedir *d, struct ck_err *err)
{
	if (!d->path[0])
		return ck_fail(err, -ENOENT, "there is no cache: --cache-dir or cache_dir is none");
	if (d->named && access(d->path, F_OK) < 0)
		return ck_fail(err, -errno, "there is no cache in %s: %s", d->path,
			       strerror(errno));
	return ck_blobcache_open(out, d->path, d->size, err);
}

static int run(const struct ck_options *o, struct ck_err *err)
{
	CK_AUTO(ck_blobcache_closep) struct ck_blobcache *c = NULL;
	CK_AUTO(ck_config_free) struct ck_config config = { 0 };
	struct ck_cachedir d;
	action_fn *fn = which(o, err);

	if (!fn)
		return CK_USAGE;
	int rc = ck_config_load(&config, o->config, err);
	if (rc == 0)
		rc = ck_cachedir_find(&d, &config, o, err);
	if (rc == 0)
		rc = open_cache(&c, &d, err);
	if (rc < 0)
		return rc;
	rc = fn(c, &d, o, err);
	return rc < 0 ? rc : ck_output_flush(err);
}

const struct ck_command ck_cmd_cache = {
	.name = "cache",
	.synopsis = "ls [--json] [--config FILE] [--cache-dir DIR] [--cache-size SIZE]\n"
		    "       cloakfs cache prune [--all] [--config FILE] [--cache-dir DIR] "
		    "[--cache-size SIZE]\n"
		    "       cloakfs cache verify [--config FILE] [--cache-dir DIR]",
	.summary = "what the cache holds; make it smaller; check it",
	.options = "cCSjA",
	.required = "",
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
