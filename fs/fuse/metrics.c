#include "fs/fuse/metrics.h"

#include <inttypes.h>
#include <string.h>

#include "base/json.h"

/* How a number is written; all are whole ones inside. SHARE: as a part of the layer's blob. */
enum unit { ONE, MICROSECONDS, SHARE };

/* A metric of the mount, or of each layer: a member of the structure. */
struct metric {
	const char *name, *type, *help;
	size_t at;
	enum unit unit;
};

#define COUNTER(of, member, name, help)                                                            \
	{                                                                                          \
		"cloakfs_" name "_total", "counter", help, offsetof(struct of, member), ONE        \
	}
#define GAUGE(of, member, name, help)                                                              \
	{                                                                                          \
		"cloakfs_" name, "gauge", help, offsetof(struct of, member), ONE                   \
	}
#define SECONDS(of, member, name, help)                                                            \
	{                                                                                          \
		"cloakfs_" name "_seconds", "gauge", help, offsetof(struct of, member),            \
		    MICROSECONDS                                                                   \
	}

static const struct metric of_mount[] = {
	GAUGE(ck_report, mounted_at, "start_time_seconds", "When it was mounted, Unix time."),
	COUNTER(ck_report, bytes_fetched, "blob_read_bytes",
		"Bytes read from blobs, opening included, wherever they are."),
	COUNTER(ck_report, bytes_served, "served_bytes", "Bytes that reads were answered with."),
	COUNTER(ck_report, reads, "reads", "Reads that were answered."),
	COUNTER(ck_report, reads_failed, "reads_failed", "Reads that failed."),
	COUNTER(ck_report, verification_failures, "verification_failures",
		"How often bytes of blobs failed to verify; each try counts."),
	COUNTER(ck_report, key_releases, "key_releases",
		"Keys that an HSM released to this process."),
	COUNTER(ck_report, unit_cache.hits, "unit_cache_hits",
		"Decompressed units found in memory."),
	COUNTER(ck_report, unit_cache.misses, "unit_cache_misses",
		"Decompressed units not found in memory."),
	COUNTER(ck_report, unit_cache.evictions, "unit_cache_evictions",
		"Decompressed units that had to make room."),
	GAUGE(ck_report, unit_cache.bytes, "unit_cache_bytes",
	      "Bytes of decompressed units in memory."),
	GAUGE(ck_report, unit_cache.limit, "unit_cache_limit_bytes", "How many there may be."),
};

static const struct metric of_network[] = {
	COUNTER(ck_report_network, bytes_fetched, "fetched_bytes",
		"Bytes of layers fetched from registries."),
	COUNTER(ck_report_network, bytes_from_cache, "cache_read_bytes",
		"Bytes read from the cache of blobs, not fetched."),
	GAUGE(ck_report_network, bytes_kept, "cache_kept_bytes",
	      "Bytes of the image that are in the cache of blobs."),
	COUNTER(ck_report_network, requests, "requests", "Ranges asked of registries."),
	COUNTER(ck_report_network, retries, "retries", "Requests that were made again."),
	COUNTER(ck_report_network, refetches, "refetches",
		"Ranges fetched again, for what came or was kept failed to verify."),
	COUNTER(ck_report_network, failed, "fetches_failed", "Fetches that were given up."),
	SECONDS(ck_report_network, round_trip_us, "round_trip",
		"From a request to the first byte of its answer, as measured lately."),
	GAUGE(ck_report_network, bytes_per_s, "bandwidth_bytes_per_second",
	      "How fast answers come, as measured lately."),
	GAUGE(ck_report_network, prefetch_total, "prefetch_bytes",
	      "Bytes of blobs to be fetched in the background; 0: none."),
	GAUGE(ck_report_network, prefetch_done, "prefetch_done_bytes",
	      "How many of them are there."),
};

static const struct metric of_layer[] = {
	GAUGE(ck_report_layer, blob_size, "layer_blob_size_bytes", "Length of the layer's blob."),
	COUNTER(ck_report_layer, bytes_fetched, "layer_blob_read_bytes",
		"Bytes read from the layer's blob, opening included, wherever it is."),
	COUNTER(ck_report_layer, bytes_moved, "layer_fetched_bytes",
		"Bytes of the layer's blob fetched from registries."),
	GAUGE(ck_report_layer, bytes_kept, "layer_cache_kept_bytes",
	      "Bytes of the layer's blob that are in the cache of blobs."),
	{ "cloakfs_layer_cache_kept_ratio", "gauge",
	  "The part of the layer's blob that is in the cache of blobs, 0 to 1.",
	  offsetof(struct ck_report_layer, bytes_kept), SHARE },
};

#define N_OF(a) (sizeof(a) / sizeof(a)[0])

static int put_head(struct ck_buf *out, const char *name, const char *type, const char *help,
		    struct ck_err *err)
{
	return ck_buf_addf(out, err, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static uint64_t value_of(const struct metric *m, const void *of)
{
	const uint64_t *v = (const void *)((const char *)of + m->at);

	return *v;
}

static uint64_t millionths(uint64_t part, uint64_t whole)
{
	return part >= whole ? 1000000 : (uint64_t)((double)part / (double)whole * 1e6);
}

/* " 12\n", or " 0.012345\n". */
static int put_value(struct ck_buf *out, uint64_t v, enum unit unit, struct ck_err *err)
{
	if (unit != ONE)
		return ck_buf_addf(out, err, " %" PRIu64 ".%06" PRIu64 "\n", v / 1000000,
				   v % 1000000);
	return ck_buf_addf(out, err, " %" PRIu64 "\n", v);
}

/* What was not measured is left out. */
static int put_all(struct ck_buf *out, const void *of, const struct metric *m, size_t n,
		   struct ck_err *err)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n; i++) {
		uint64_t v = value_of(&m[i], of);
		if (v == CK_REPORT_NONE)
			continue;
		rc = put_head(out, m[i].name, m[i].type, m[i].help, err);
		if (rc == 0)
			rc = ck_buf_adds(out, m[i].name, err);
		if (rc == 0)
			rc = put_value(out, v, m[i].unit, err);
	}
	return rc;
}

/* NAME="VALUE", with what the format wants escaped; other bytes than UTF-8 become '?'. */
static int put_label(struct ck_buf *out, const char *name, const char *value, struct ck_err *err)
{
	CK_JSON *text = ck_json_text(value);
	const char *s = json_string_value(text);
	int rc = s ? ck_buf_addf(out, err, "%s=\"", name) : ck_nomem(err, "writing metrics");

	for (; rc == 0 && *s; s++) {
		if (*s == '\n')
			rc = ck_buf_adds(out, "\\n", err);
		else if (*s == '\\' || *s == '"')
			rc = ck_buf_addf(out, err, "\\%c", *s);
		else
			rc = ck_buf_add(out, s, 1, err);
	}
	return rc == 0 ? ck_buf_adds(out, "\"", err) : rc;
}

static int put_info(struct ck_buf *out, const struct ck_report *r, const struct ck_metrics_mount *m,
		    struct ck_err *err)
{
	static const char name[] = "cloakfs_mount_info";
	const struct {
		const char *name, *value;
	} labels[] = {
		{ "image", m->image },
		{ "manifest", m->manifest },
		{ "mode", m->mode },
		{ "mount_point", m->mount_point },
		{ "version", CK_VERSION },
		{ "view", r->view },
		{ "writable", m->writable ? "true" : "false" },
	};
	int rc = put_head(out, name, "gauge", "What is mounted; always 1.", err);

	if (rc == 0)
		rc = ck_buf_adds(out, name, err);
	for (size_t i = 0; rc == 0 && i < N_OF(labels); i++) {
		rc = ck_buf_adds(out, i ? "," : "{", err);
		if (rc == 0)
			rc = put_label(out, labels[i].name, labels[i].value, err);
	}
	return rc == 0 ? ck_buf_adds(out, "} 1\n", err) : rc;
}

/* NAME{layer="0",digest="sha256:..."} */
static int put_layer_name(struct ck_buf *out, const char *name, const struct ck_report *r,
			  size_t idx, struct ck_err *err)
{
	int rc = ck_buf_addf(out, err, "%s{layer=\"%zu\",", name, idx);

	if (rc == 0)
		rc = put_label(out, "digest", r->layers[idx].digest, err);
	return rc == 0 ? ck_buf_adds(out, "}", err) : rc;
}

/* All samples of a metric stand together. */
static int put_layers(struct ck_buf *out, const struct ck_report *r, const struct metric *m,
		      struct ck_err *err)
{
	bool begun = false;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < r->n_layers; i++) {
		uint64_t v = value_of(m, &r->layers[i]);
		if (v == CK_REPORT_NONE)
			continue;
		if (!begun)
			rc = put_head(out, m->name, m->type, m->help, err);
		begun = true;
		if (m->unit == SHARE)
			v = millionths(v, r->layers[i].blob_size);
		if (rc == 0)
			rc = put_layer_name(out, m->name, r, i, err);
		if (rc == 0)
			rc = put_value(out, v, m->unit, err);
	}
	return rc;
}

int ck_metrics_write(struct ck_buf *out, const struct ck_report *r,
		     const struct ck_metrics_mount *m, struct ck_err *err)
{
	int rc = put_info(out, r, m, err);

	if (rc == 0)
		rc = put_all(out, r, of_mount, N_OF(of_mount), err);
	if (rc == 0 && r->has_network)
		rc = put_all(out, &r->network, of_network, N_OF(of_network), err);
	for (size_t i = 0; rc == 0 && i < N_OF(of_layer); i++)
		rc = put_layers(out, r, &of_layer[i], err);
	return rc;
}
