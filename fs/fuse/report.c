#include "fs/fuse/report.h"

#include <errno.h>
#include <stddef.h>

#include "base/json.h"

/* A field of a structure, of one of the kinds below. */
struct field {
	const char *name;
	size_t at;
	enum { NUMBER, NUMBER_OR_NULL, STRING, STRING_OR_NULL, BOOLEAN } kind;
};

#define FIELD(type, name, kind)                                                                    \
	{                                                                                          \
#name, offsetof(struct type, name), kind                                           \
	}

static const struct field report_fields[] = {
	FIELD(ck_report, view, STRING),
	FIELD(ck_report, pid, NUMBER),
	FIELD(ck_report, mounted_at, NUMBER),
	FIELD(ck_report, uptime_s, NUMBER),
	FIELD(ck_report, key_age_s, NUMBER_OR_NULL),
	FIELD(ck_report, bytes_fetched, NUMBER),
	FIELD(ck_report, bytes_served, NUMBER),
	FIELD(ck_report, reads, NUMBER),
	FIELD(ck_report, reads_failed, NUMBER),
	FIELD(ck_report, last_error, STRING_OR_NULL),
	FIELD(ck_report, last_error_at, NUMBER_OR_NULL),
	FIELD(ck_report, verification_failures, NUMBER_OR_NULL),
	FIELD(ck_report, key_releases, NUMBER_OR_NULL),
};

static const struct field cache_fields[] = {
	FIELD(ck_report_cache, bytes, NUMBER),	   FIELD(ck_report_cache, limit, NUMBER),
	FIELD(ck_report_cache, hits, NUMBER),	   FIELD(ck_report_cache, misses, NUMBER),
	FIELD(ck_report_cache, evictions, NUMBER),
};

static const struct field layer_fields[] = {
	FIELD(ck_report_layer, digest, STRING),
	FIELD(ck_report_layer, media_type, STRING),
	FIELD(ck_report_layer, compression, STRING),
	FIELD(ck_report_layer, encrypted, BOOLEAN),
	FIELD(ck_report_layer, sealed, BOOLEAN),
	FIELD(ck_report_layer, blob_size, NUMBER),
	FIELD(ck_report_layer, tar_size, NUMBER),
	FIELD(ck_report_layer, verified, STRING),
	FIELD(ck_report_layer, index, STRING_OR_NULL),
	FIELD(ck_report_layer, bytes_fetched, NUMBER),
	FIELD(ck_report_layer, prefetch_ranges, NUMBER_OR_NULL),
	FIELD(ck_report_layer, prefetch_bytes, NUMBER_OR_NULL),
	FIELD(ck_report_layer, bytes_moved, NUMBER_OR_NULL),
	FIELD(ck_report_layer, bytes_kept, NUMBER_OR_NULL),
};

static const struct field network_fields[] = {
	FIELD(ck_report_network, requests, NUMBER),
	FIELD(ck_report_network, retries, NUMBER),
	FIELD(ck_report_network, bytes_fetched, NUMBER),
	FIELD(ck_report_network, bytes_from_cache, NUMBER),
	FIELD(ck_report_network, bytes_kept, NUMBER),
	FIELD(ck_report_network, refetches, NUMBER),
	FIELD(ck_report_network, failed, NUMBER),
	FIELD(ck_report_network, round_trip_us, NUMBER_OR_NULL),
	FIELD(ck_report_network, bytes_per_s, NUMBER_OR_NULL),
	FIELD(ck_report_network, prefetch_done, NUMBER),
	FIELD(ck_report_network, prefetch_total, NUMBER),
};

#define N_OF(a) (sizeof(a) / sizeof(a)[0])

static json_t *field_json(const struct field *f, const void *p)
{
	const char *const *s = p;
	const uint64_t *n = p;

	switch (f->kind) {
	case NUMBER:
	case NUMBER_OR_NULL:
		if (f->kind == NUMBER_OR_NULL && *n == CK_REPORT_NONE)
			return json_null();
		return json_integer(*n < INT64_MAX ? (json_int_t)*n : INT64_MAX);
	case STRING:
	case STRING_OR_NULL:
		return *s ? ck_json_text(*s) : json_null();
	case BOOLEAN:
		break;
	}
	return json_boolean(*(const bool *)p);
}

static int put(json_t *obj, const void *from, const struct field *f, size_t n)
{
	int rc = 0;

	for (size_t i = 0; i < n; i++)
		rc |= json_object_set_new(obj, f[i].name,
					  field_json(&f[i], (const char *)from + f[i].at));
	return rc;
}

static int get_field(void *to, const json_t *obj, const struct field *f, struct ck_err *err)
{
	uint64_t *n = to;

	switch (f->kind) {
	case NUMBER:
		return ck_json_u64(n, obj, f->name, true, err);
	case NUMBER_OR_NULL:
		*n = CK_REPORT_NONE;
		return ck_json_u64(n, obj, f->name, false, err);
	case STRING:
	case STRING_OR_NULL:
		return ck_json_str(to, obj, f->name, f->kind == STRING, err);
	case BOOLEAN:
		break;
	}
	return ck_json_bool(to, obj, f->name, true, err);
}

static int get(void *to, const json_t *obj, const struct field *f, size_t n, struct ck_err *err)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = get_field((char *)to + f[i].at, obj, &f[i], err);
	return rc;
}

static json_t *layers_json(const struct ck_report *r)
{
	CK_JSON *array = json_array();

	for (size_t i = 0; i < r->n_layers; i++) {
		json_t *l = json_object();
		if (put(l, &r->layers[i], layer_fields, N_OF(layer_fields)) < 0 ||
		    json_array_append(array, l) < 0) {
			json_decref(l);
			return NULL;
		}
		json_decref(l);
	}
	return ck_take(array);
}

int ck_report_json(json_t *obj, const struct ck_report *r, struct ck_err *err)
{
	json_t *cache = json_object(), *network = r->has_network ? json_object() : json_null();
	int rc = put(obj, r, report_fields, N_OF(report_fields));

	rc |= put(cache, &r->unit_cache, cache_fields, N_OF(cache_fields));
	rc |= json_object_set_new(obj, "unit_cache", cache);
	if (r->has_network)
		rc |= put(network, &r->network, network_fields, N_OF(network_fields));
	rc |= json_object_set_new(obj, "network", network);
	rc |= json_object_set_new(obj, "layers", layers_json(r));
	return rc < 0 ? ck_nomem(err, "writing a report") : 0;
}

static int read_layers(struct ck_report *r, const json_t *array, struct ck_err *err)
{
	size_t n = json_array_size(array);
	int rc = 0;

	r->layers = calloc(n ? n : 1, sizeof *r->layers);
	if (!r->layers)
		return ck_nomem(err, "reading a report");
	r->n_layers = n;
	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = get(&r->layers[i], json_array_get(array, i), layer_fields, N_OF(layer_fields),
			 err);
		if (rc < 0)
			ck_wrap(err, "layer %zu", i);
	}
	return rc;
}

int ck_report_read(struct ck_report *out, const json_t *doc, struct ck_err *err)
{
	struct ck_report r = { 0 };
	json_t *cache, *network, *layers;
	int rc = get(&r, doc, report_fields, N_OF(report_fields), err);

	if (rc == 0)
		rc = ck_json_obj(&cache, doc, "unit_cache", true, err);
	if (rc == 0)
		rc = get(&r.unit_cache, cache, cache_fields, N_OF(cache_fields), err);
	if (rc == 0)
		rc = ck_json_obj(&network, doc, "network", false, err);
	if (rc == 0 && network) {
		r.has_network = true;
		rc = get(&r.network, network, network_fields, N_OF(network_fields), err);
	}
	if (rc == 0)
		rc = ck_json_arr(&layers, doc, "layers", true, err);
	if (rc == 0)
		rc = read_layers(&r, layers, err);
	if (rc < 0)
		ck_report_free(&r);
	else
		*out = r;
	return rc;
}

void ck_report_free(struct ck_report *r)
{
	free(r->layers);
	r->layers = NULL;
	r->n_layers = 0;
}

int ck_report_write(struct ck_buf *out, const struct ck_report_source *source, struct ck_err *err)
{
	CK_AUTO(ck_report_free) struct ck_report r = { 0 };
	CK_JSON *doc = json_object();
	char last_error[CK_LAST_ERROR];
	int rc = ck_report_gather(&r, source, last_error, err);

	if (rc == 0)
		rc = ck_report_json(doc, &r, err);
	return rc < 0 ? rc : ck_json_dump(out, doc, err);
}
