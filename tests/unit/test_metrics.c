/* Metrics: every line of the text as Prometheus's format has it, and what the lines say. */
#include <ctype.h>
#include <errno.h>

#include "fs/fuse/metrics.h"
#include "tests/unit/lib/unit.h"

enum { MAX_SAMPLES = 256, MAX_LABELS = 8 };

struct label {
	char name[32], value[512]; /* unescaped */
};

struct sample {
	char name[80], type[16];
	struct label labels[MAX_LABELS];
	size_t n_labels;
	char value[32];
};

/* A text as it was read. */
struct parsed {
	struct sample v[MAX_SAMPLES];
	size_t n;
};

static bool starts_name(char c)
{
	return isalpha((unsigned char)c) || c == '_';
}

/* Reads a metric's or label's name off *P. */
static void read_name(char *out, size_t cap, const char **p)
{
	size_t n = 0;

	assert_true(starts_name(**p));
	while (starts_name(**p) || isdigit((unsigned char)**p)) {
		assert_true(n + 1 < cap);
		out[n++] = *(*p)++;
	}
	out[n] = 0;
}

static void read_text(const char **p, const char *text)
{
	if (strncmp(*p, text, strlen(text)) != 0)
		fail_msg("want \"%s\" at \"%.80s\"", text, *p);
	*p += strlen(text);
}

static void read_label(struct label *l, const char **p)
{
	size_t n = 0;

	read_name(l->name, sizeof l->name, p);
	read_text(p, "=\"");
	while (**p != '"') {
		assert_true(**p && **p != '\n' && n + 1 < sizeof l->value);
		if (**p == '\\') {
			++*p;
			assert_true(**p == '\\' || **p == '"' || **p == 'n');
			l->value[n++] = **p == 'n' ? '\n' : **p;
		} else {
			l->value[n++] = **p;
		}
		++*p;
	}
	++*p;
	l->value[n] = 0;
}

static void read_labels(struct sample *s, const char **p)
{
	if (**p != '{')
		return;
	do {
		++*p;
		assert_true(s->n_labels < MAX_LABELS);
		read_label(&s->labels[s->n_labels++], p);
	} while (**p == ',');
	read_text(p, "}");
}

/* "12" or "0.5": the numbers that we write. */
static void read_number(char *out, size_t cap, const char **p)
{
	size_t n = strspn(*p, "0123456789");

	assert_true(n > 0 && (n == 1 || **p != '0'));
	if ((*p)[n] == '.') {
		size_t more = strspn(*p + n + 1, "0123456789");
		assert_true(more > 0);
		n += 1 + more;
	}
	assert_true(n < cap);
	snprintf(out, cap, "%.*s", (int)n, *p);
	*p += n;
}

/* "# HELP name words", "# TYPE name type", and the samples of that name, one or more. */
static void read_family(struct parsed *out, const char **p)
{
	char name[80], again[80], type[16];
	size_t n_before = out->n;

	read_text(p, "# HELP ");
	read_name(name, sizeof name, p);
	read_text(p, " ");
	size_t len = strcspn(*p, "\n");
	assert_true(len > 10 && (*p)[len - 1] == '.' && !memchr(*p, '\\', len));
	*p += len + 1;
	read_text(p, "# TYPE ");
	read_name(again, sizeof again, p);
	assert_string_equal(again, name);
	read_text(p, " ");
	read_name(type, sizeof type, p);
	read_text(p, "\n");
	for (size_t i = 0; i < n_before; i++)
		assert_string_not_equal(out->v[i].name, name); /* a family stands together */
	bool counts = strlen(name) > 6 && strcmp(name + strlen(name) - 6, "_total") == 0;
	assert_string_equal(type, counts ? "counter" : "gauge");
	assert_memory_equal(name, "cloakfs_", 8);
	while (**p && **p != '#') {
		assert_true(out->n < MAX_SAMPLES);
		struct sample *s = &out->v[out->n++];
		*s = (struct sample){ .n_labels = 0 };
		read_name(s->name, sizeof s->name, p);
		assert_string_equal(s->name, name);
		snprintf(s->type, sizeof s->type, "%s", type);
		read_labels(s, p);
		read_text(p, " ");
		read_number(s->value, sizeof s->value, p);
		read_text(p, "\n");
	}
	assert_true(out->n > n_before);
}

static struct ck_report_layer layers[2];
static struct ck_report report;
static struct ck_metrics_mount mount_info;

static int begin(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_OF(layers); i++)
		layers[i] = (struct ck_report_layer){ .digest = i ? "sha256:bb" : "sha256:aa",
						      .blob_size = 1000 + i,
						      .bytes_fetched = 200 + i,
						      .bytes_moved = CK_REPORT_NONE,
						      .bytes_kept = CK_REPORT_NONE };
	report = (struct ck_report){
		.view = "rootfs",
		.pid = 1,
		.mounted_at = 1700000000,
		.key_age_s = CK_REPORT_NONE,
		.bytes_fetched = 401,
		.bytes_served = 4106,
		.reads = 2,
		.reads_failed = 3,
		.verification_failures = 4,
		.key_releases = 5,
		.unit_cache = { 6, 7, 8, 9, 10 },
		.layers = layers,
		.n_layers = N_OF(layers),
	};
	mount_info = (struct ck_metrics_mount){ "oci:a:b", "/mnt", "fuse", "sha256:cc", false };
	return 0;
}

static void parse(struct parsed *out)
{
	CK_BUF text = { 0 };
	struct ck_err err = { 0 };

	assert_works(ck_metrics_write(&text, &report, &mount_info, &err), &err);
	const char *p = ck_buf_str(&text);
	out->n = 0;
	while (*p)
		read_family(out, &p);
	assert_int_equal(strlen(ck_buf_str(&text)), text.len);
}

/* The sample NAME that has the label LAYER (NULL: none such). */
static const struct sample *find(const struct parsed *all, const char *name, const char *layer)
{
	const struct sample *found = NULL;

	for (size_t i = 0; i < all->n; i++) {
		const struct sample *s = &all->v[i];
		if (strcmp(s->name, name) != 0 ||
		    (layer && (s->n_labels != 2 || strcmp(s->labels[0].name, "layer") != 0 ||
			       strcmp(s->labels[0].value, layer) != 0)))
			continue;
		assert_null(found);
		found = s;
	}
	return found;
}

static void assert_value(const struct parsed *all, const char *name, const char *layer,
			 const char *want)
{
	const struct sample *s = find(all, name, layer);

	if (!s || strcmp(s->value, want) != 0)
		fail_msg("%s of layer %s is %s, not %s", name, layer ? layer : "-",
			 s ? s->value : "missing", want);
}

static const char *label_of(const struct sample *s, const char *name)
{
	for (size_t i = 0; i < s->n_labels; i++)
		if (strcmp(s->labels[i].name, name) == 0)
			return s->labels[i].value;
	return "none";
}

static void test_local(void **state)
{
	static struct parsed all;

	(void)state;
	parse(&all);
	assert_int_equal(all.n, 1 + 12 + 2 * 2);
	assert_value(&all, "cloakfs_mount_info", NULL, "1");
	assert_value(&all, "cloakfs_start_time_seconds", NULL, "1700000000");
	assert_value(&all, "cloakfs_blob_read_bytes_total", NULL, "401");
	assert_value(&all, "cloakfs_served_bytes_total", NULL, "4106");
	assert_value(&all, "cloakfs_reads_total", NULL, "2");
	assert_value(&all, "cloakfs_reads_failed_total", NULL, "3");
	assert_value(&all, "cloakfs_verification_failures_total", NULL, "4");
	assert_value(&all, "cloakfs_key_releases_total", NULL, "5");
	assert_value(&all, "cloakfs_unit_cache_bytes", NULL, "6");
	assert_value(&all, "cloakfs_unit_cache_limit_bytes", NULL, "7");
	assert_value(&all, "cloakfs_unit_cache_hits_total", NULL, "8");
	assert_value(&all, "cloakfs_unit_cache_misses_total", NULL, "9");
	assert_value(&all, "cloakfs_unit_cache_evictions_total", NULL, "10");
	assert_value(&all, "cloakfs_layer_blob_size_bytes", "0", "1000");
	assert_value(&all, "cloakfs_layer_blob_size_bytes", "1", "1001");
	assert_value(&all, "cloakfs_layer_blob_read_bytes_total", "1", "201");
	const struct sample *s = find(&all, "cloakfs_layer_blob_size_bytes", "1");
	assert_string_equal(label_of(s, "digest"), "sha256:bb");
}

static void test_network(void **state)
{
	static struct parsed all;

	(void)state;
	report.has_network = true;
	report.network = (struct ck_report_network){
		.requests = 11,
		.retries = 12,
		.bytes_fetched = 13,
		.bytes_from_cache = 14,
		.bytes_kept = 15,
		.refetches = 16,
		.failed = 17,
		.round_trip_us = CK_REPORT_NONE,
		.bytes_per_s = CK_REPORT_NONE,
		.prefetch_done = 18,
		.prefetch_total = UINT64_MAX - 1,
	};
	layers[1].bytes_moved = 600;
	layers[1].bytes_kept = 250;
	layers[1].blob_size = 1000;
	parse(&all);
	assert_int_equal(all.n, 1 + 12 + 9 + 2 * 2 + 3);
	assert_value(&all, "cloakfs_requests_total", NULL, "11");
	assert_value(&all, "cloakfs_retries_total", NULL, "12");
	assert_value(&all, "cloakfs_fetched_bytes_total", NULL, "13");
	assert_value(&all, "cloakfs_cache_read_bytes_total", NULL, "14");
	assert_value(&all, "cloakfs_cache_kept_bytes", NULL, "15");
	assert_value(&all, "cloakfs_refetches_total", NULL, "16");
	assert_value(&all, "cloakfs_fetches_failed_total", NULL, "17");
	assert_value(&all, "cloakfs_prefetch_done_bytes", NULL, "18");
	assert_value(&all, "cloakfs_prefetch_bytes", NULL, "18446744073709551614");
	assert_value(&all, "cloakfs_layer_fetched_bytes_total", "1", "600");
	assert_value(&all, "cloakfs_layer_cache_kept_bytes", "1", "250");
	assert_value(&all, "cloakfs_layer_cache_kept_ratio", "1", "0.250000");
	assert_null(find(&all, "cloakfs_layer_fetched_bytes_total", "0")); /* it is local */
	assert_null(find(&all, "cloakfs_round_trip_seconds", NULL));
	report.network.round_trip_us = 1020003;
	report.network.bytes_per_s = 12500000;
	parse(&all);
	assert_value(&all, "cloakfs_round_trip_seconds", NULL, "1.020003");
	assert_value(&all, "cloakfs_bandwidth_bytes_per_second", NULL, "12500000");
}

static void test_shares(void **state)
{
	static const struct {
		uint64_t kept, size;
		const char *want;
	} rows[] = {
		{ 0, 1000, "0.000000" },
		{ 1, 1000000, "0.000001" },
		{ 1, 3, "0.333333" },
		{ 999, 1000, "0.999000" },
		{ 1000, 1000, "1.000000" },
		{ 1001, 1000, "1.000000" }, /* whole blocks may be counted */
		{ 0, 0, "1.000000" },
		{ (uint64_t)1 << 62, (uint64_t)1 << 63, "0.500000" },
	};
	static struct parsed all;

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		layers[0].bytes_kept = rows[i].kept;
		layers[0].blob_size = rows[i].size;
		parse(&all);
		assert_value(&all, "cloakfs_layer_cache_kept_ratio", "0", rows[i].want);
	}
}

/* Who mounts chooses the names, and a layout may lie anywhere. */
static void test_labels(void **state)
{
	static struct parsed all;

	(void)state;
	mount_info.image = "oci:/a\\b\"c\nd},{ \xc3\xa4=#\t:x";
	mount_info.mount_point = "/mnt/\xff\"";
	mount_info.mode = "erofs";
	mount_info.writable = true;
	report.view = "layers";
	parse(&all);
	const struct sample *s = find(&all, "cloakfs_mount_info", NULL);
	assert_non_null(s);
	assert_int_equal(s->n_labels, 7);
	assert_string_equal(label_of(s, "image"), mount_info.image);
	assert_string_equal(label_of(s, "mount_point"), "/mnt/?\"");
	assert_string_equal(label_of(s, "manifest"), "sha256:cc");
	assert_string_equal(label_of(s, "mode"), "erofs");
	assert_string_equal(label_of(s, "view"), "layers");
	assert_string_equal(label_of(s, "version"), CK_VERSION);
	assert_string_equal(label_of(s, "writable"), "true");
	mount_info.image = "";
	parse(&all);
	assert_string_equal(label_of(find(&all, "cloakfs_mount_info", NULL), "image"), "");
}

/* No layers, and no room. */
static void test_edges(void **state)
{
	static struct parsed all;
	CK_BUF whole = { 0 };
	struct ck_err err = { 0 };

	(void)state;
	report.has_network = true;
	assert_works(ck_metrics_write(&whole, &report, &mount_info, &err), &err);
	for (size_t max = 1; max < whole.len; max++) {
		CK_BUF text = { .max = max };
		assert_fails(ck_metrics_write(&text, &report, &mount_info, &err), -EFBIG, &err,
			     "bytes");
		assert_true(text.len <= max &&
			    memcmp(text.data ? text.data : whole.data, whole.data, text.len) == 0);
	}
	report.has_network = false;
	report.n_layers = 0;
	parse(&all);
	assert_int_equal(all.n, 1 + 12);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_local, begin),
		cmocka_unit_test_setup(test_network, begin),
		cmocka_unit_test_setup(test_shares, begin),
		cmocka_unit_test_setup(test_labels, begin),
		cmocka_unit_test_setup(test_edges, begin),
	};

	return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
