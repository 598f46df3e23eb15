#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "fs/fuse/status.h"
#include "tools/cloakfs/commands.h"
#include "tools/cloakfs/output.h"

static const char *const state_names[] = { [CK_STATUS_SERVING] = "serving",
					   [CK_STATUS_SILENT] = "silent",
					   [CK_STATUS_UNSEEN] = "unseen",
					   [CK_STATUS_GONE] = "gone" };

/* "3 d 4 h", "4 h 12 min", "12 min 5 s", "5 s" */
enum { SPAN = 48 };
static void span_text(char out[SPAN], uint64_t s)
{
	if (s >= 86400)
		snprintf(out, SPAN, "%" PRIu64 " d %" PRIu64 " h", s / 86400, s / 3600 % 24);
	else if (s >= 3600)
		snprintf(out, SPAN, "%" PRIu64 " h %" PRIu64 " min", s / 3600, s / 60 % 60);
	else if (s >= 60)
		snprintf(out, SPAN, "%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
	else
		snprintf(out, SPAN, "%" PRIu64 " s", s);
}

enum { WHEN = 40 };
static void when_text(char out[WHEN], uint64_t unix_s)
{
	time_t t = (time_t)unix_s;
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(out, WHEN, "%Y-%m-%d %H:%M:%S UTC", &tm))
		snprintf(out, WHEN, "%" PRIu64, unix_s);
}

static void print_name(const char *name, const char *value)
{
	printf("  %-12s", name);
	ck_output_name(value, strlen(value));
	putchar('\n');
}

/* Words of a daemon's, in as many columns as they need and at least WIDTH. */
static void print_word(const char *s, size_t width)
{
	size_t len = strlen(s);

	ck_output_name(s, len);
	printf("%*s", len < width ? (int)(width - len) : 0, "");
}

static void print_layer(size_t idx, const struct ck_report_layer *l)
{
	char blob[CK_OUTPUT_SIZE], tar[CK_OUTPUT_SIZE], fetched[CK_OUTPUT_SIZE];

	ck_output_size(blob, l->blob_size);
	ck_output_size(tar, l->tar_size);
	ck_output_size(fetched, l->bytes_fetched);
	printf("    %-3zu ", idx);
	print_word(l->compression, 4);
	printf("  %-9s  blob %10s, tar %10s, fetched %10s; ",
	       l->sealed      ? "sealed"
	       : l->encrypted ? "encrypted"
			      : "plain",
	       blob, tar, fetched);
	if (l->index) {
		fputs("verified chunk by chunk, index ", stdout);
		print_word(l->index, 0);
	} else {
		fputs("verified in full at mount", stdout);
	}
	if (l->prefetch_ranges && l->prefetch_ranges != CK_REPORT_NONE) {
		ck_output_size(tar, l->prefetch_bytes);
		printf(", %s of it to prefetch", tar);
	}
	if (l->bytes_moved != CK_REPORT_NONE && l->bytes_kept != CK_REPORT_NONE) {
		ck_output_size(blob, l->bytes_moved);
		ck_output_size(tar, l->bytes_kept);
		printf("; over the network %s, kept %s", blob, tar);
	}
	putchar('\n');
}

static void print_network(const struct ck_report_network *n)
{
	char a[CK_OUTPUT_SIZE], b[CK_OUTPUT_SIZE];

	ck_output_size(a, n->bytes_fetched);
	printf("  %-12s%s in %" PRIu64 " requests, %" PRIu64 " retries, %" PRIu64
	       " refetches, %" PRIu64 " failed",
	       "network", a, n->requests, n->retries, n->refetches, n->failed);
	if (n->round_trip_us != CK_REPORT_NONE)
		printf("; round trip %.1f ms", (double)n->round_trip_us / 1000);
	if (n->bytes_per_s != CK_REPORT_NONE) {
		ck_output_size(b, n->bytes_per_s);
		printf(", %s/s", b);
	}
	putchar('\n');
	ck_output_size(a, n->bytes_from_cache);
	ck_output_size(b, n->bytes_kept);
	printf("  %-12s%s read from it, %s kept\n", "cache", a, b);
	if (n->prefetch_total) {
		ck_output_size(a, n->prefetch_done);
		ck_output_size(b, n->prefetch_total);
		printf("  %-12s%s of %s\n", "prefetch", a, b);
	}
}

static void print_report(const struct ck_report *r)
{
	const struct ck_report_cache *c = &r->unit_cache;
	char when[WHEN], span[SPAN], a[CK_OUTPUT_SIZE], b[CK_OUTPUT_SIZE];

	print_name("view", r->view);
	when_text(when, r->mounted_at);
	span_text(span, r->uptime_s);
	printf("  %-12sprocess %" PRIu64 ", since %s (%s)\n", "daemon", r->pid, when, span);
	span_text(span, r->key_age_s);
	if (r->key_age_s == CK_REPORT_NONE)
		print_name("keys", "-");
	else
		printf("  %-12sobtained %s ago\n", "keys", span);
	ck_output_size(a, r->bytes_fetched);
	ck_output_size(b, r->bytes_served);
	printf("  %-12s%s from blobs\n", "fetched", a);
	printf("  %-12s%s in %" PRIu64 " reads, %" PRIu64 " failed\n", "served", b, r->reads,
	       r->reads_failed);
	if (r->has_network)
		print_network(&r->network);
	ck_output_size(a, c->bytes);
	ck_output_size(b, c->limit);
	printf("  %-12s%s of %s, %" PRIu64 " hits, %" PRIu64 " misses, %" PRIu64 " evictions\n",
	       "unit cache", a, b, c->hits, c->misses, c->evictions);
	if (r->verification_failures && r->verification_failures != CK_REPORT_NONE)
		printf("  %-12sbytes of blobs failed to verify %" PRIu64 " times\n", "damage",
		       r->verification_failures);
	if (r->last_error) {
		when_text(when, r->last_error_at == CK_REPORT_NONE ? 0 : r->last_error_at);
		printf("  %-12s%s: ", "last error", when);
		ck_output_name(r->last_error, strlen(r->last_error));
		putchar('\n');
	}
	printf("  %-12s%zu\n", "layers", r->n_layers);
	for (size_t i = 0; i < r->n_layers; i++)
		print_layer(i, &r->layers[i]);
}

static void print_status(const struct ck_status *s)
{
	ck_output_name(s->mount_point, strlen(s->mount_point));
	putchar('\n');
	print_name("image", s->image);
	printf("  %-12s%s%s\n", "mode", s->erofs ? "EROFS" : "FUSE",
	       s->writable ? ", writable" : "");
	if (s->state == CK_STATUS_SERVING)
		print_report(&s->report);
	else
		print_name("PROBLEM", s->problem.msg);
}

static json_t *status_json(const struct ck_status *s, struct ck_err *err)
{
	CK_JSON *j = json_object();
	int rc = 0;

	rc |= json_object_set_new(j, "mount_point", ck_json_text(s->mount_point));
	rc |= json_object_set_new(j, "image", ck_json_text(s->image));
	rc |= json_object_set_new(j, "mode", json_string(s->erofs ? "erofs" : "fuse"));
	rc |= json_object_set_new(j, "writable", json_boolean(s->writable));
	rc |= json_object_set_new(j, "user", json_integer(s->user));
	rc |= json_object_set_new(j, "state", json_string(state_names[s->state]));
	rc |= json_object_set_new(j, "problem",
				  s->problem.code ? ck_json_text(s->problem.msg) : json_null());
	if (rc == 0 && s->state == CK_STATUS_SERVING)
		rc = ck_report_json(j, &s->report, err);
	return rc == 0 ? ck_take(j) : NULL;
}

static int print_json(const struct ck_statuses *all, struct ck_err *err)
{
	CK_JSON *root = json_object();
	json_t *mounts = json_array();
	int rc = json_object_set_new(root, "mounts", mounts);

	for (size_t i = 0; rc == 0 && i < all->n; i++)
		rc = json_array_append_new(mounts, status_json(&all->v[i], err));
	if (rc < 0)
		return ck_nomem(err, "writing JSON");
	if (json_dumpf(root, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII) < 0)
		return ck_fail(err, -EIO, "cannot write standard output");
	putchar('\n');
	return 0;
}

static int run(const struct ck_options *o, struct ck_err *err)
{
	CK_AUTO(ck_statuses_free) struct ck_statuses all = { 0 };
	int rc = ck_statuses_get(&all, o->n_args ? o->args[0] : NULL, err);

	if (rc == 0 && o->json)
		rc = print_json(&all, err);
	for (size_t i = 0; rc == 0 && !o->json && i < all.n; i++)
		print_status(&all.v[i]);
	return rc < 0 ? rc : ck_output_flush(err);
}

const struct ck_command ck_cmd_status = {
	.name = "status",
	.synopsis = "[--json] [DIR]",
	.summary = "show what is mounted (at DIR), and how it fares; needs no key",
	.options = "j",
	.required = "",
	.min_args = 0,
	.max_args = 1,
	.run = run,
};
