#include "tests/unit/lib/localazure.h"

#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/secret.h"
#include "tests/unit/lib/unit.h"

enum { ADDRESSES = 8 };

static char azsim[4096], dir[] = "/tmp/ck-azsim-XXXXXX";
static json_t *config;

void localazure(struct ck_buf *out, const char *command, const char *args)
{
	CK_BUF line = { 0 };
	CK_BUF said = { 0 };
	struct ck_err err = { 0 };

	/* azsim forbids itself to be traced, which the leak checker would need. */
	assert_works(ck_buf_addf(&line, &err,
				 "ASAN_OPTIONS=detect_leaks=0 %s %s --state %s/s %s 2>%s/err",
				 azsim, command, dir, args, dir),
		     &err);
	FILE *f = popen(ck_buf_str(&line), "r");
	assert_non_null(f);
	assert_works(ck_fd_read(out ? out : &said, fileno(f), "azsim", &err), &err);
	if (pclose(f) != 0) {
		CK_BUF why = { 0 };
		CK_BUF path = { 0 };
		assert_works(ck_buf_addf(&path, &err, "%s/err", dir), &err);
		assert_works(ck_file_read(&why, ck_buf_str(&path), &err), &err);
		fail_msg("azsim %s %s: %s", command, args, ck_buf_str(&why));
	}
}

void localazure_set(const char *changes)
{
	localazure(NULL, "set", changes);
}

json_int_t localazure_count(const char *endpoint)
{
	CK_BUF text = { 0 };
	CK_JSON *j = NULL;
	struct ck_err err = { 0 };

	localazure(&text, "counters", "");
	assert_works(ck_json_parse(&j, text.data, text.len, "counters", &err), &err);
	return json_integer_value(json_object_get(j, endpoint));
}

const char *localazure_path(const char *name)
{
	static char path[256];

	assert_true(snprintf(path, sizeof path, "%s/s/%s", dir, name) < (int)sizeof path);
	return path;
}

static const char *text_of(const json_t *obj, const char *key)
{
	return json_string_value(json_object_get(obj, key));
}

const char *localazure_tsm_dir(void)
{
	return text_of(json_object_get(config, "evidence"), "tsm_dir");
}

struct ck_attest *localazure_client(const char *evidence, const char *sev_guest,
				    const char *client_id)
{
	static const char *const hsms[] = { AZ_HSM, NULL };
	static const char *const maas[] = { ".attest.azure.net", NULL };
	struct ck_http_address map[ADDRESSES];
	struct ck_attest_opts o = {
		.hsm_hosts = hsms,
		.maa_hosts = maas,
		.tsm_dir = evidence ? evidence : localazure_tsm_dir(),
		.sev_guest = sev_guest,
		.imds_url = text_of(config, "imds_url"),
		.hsm_resource = text_of(config, "hsm_resource"),
		.client_id = client_id,
		.http = { .ca_file = text_of(config, "ca_file"), .addresses = map },
	};
	struct ck_attest *a = NULL;
	struct ck_err err = { 0 };
	const char *host;
	json_t *to;

	json_object_foreach (json_object_get(config, "addresses"), host, to)
		if (o.http.n_addresses < ADDRESSES)
			map[o.http.n_addresses++] =
			    (struct ck_http_address){ host, json_string_value(to) };
	assert_works(ck_attest_open(&a, &o, &err), &err);
	return a;
}

void localazure_start(void)
{
	struct ck_err err = { 0 };
	CK_BUF text = { 0 };

	assert_works(ck_secret_init(&err), &err);
	ssize_t n = readlink("/proc/self/exe", azsim, sizeof azsim - 16);
	assert_true(n > 0);
	azsim[n] = 0;
	*strrchr(azsim, '/') = 0; /* BUILD/unit */
	strcpy(strrchr(azsim, '/'), "/azsim");
	if (access(azsim, X_OK) < 0)
		fail_msg("%s is not there: make it first", azsim);
	assert_non_null(mkdtemp(dir));
	localazure(&text, "start", "");
	assert_works(ck_json_parse(&config, text.data, text.len, "azsim's configuration", &err),
		     &err);
	localazure(NULL, "key-create", "--name imagekey000");
	localazure(NULL, "key-create", "--name secondkey --size 2048");
	localazure(NULL, "key-create", "--name notexportable --not-exportable");
}

void localazure_stop(void)
{
	char cmd[96];

	localazure(NULL, "stop", "");
	json_decref(config);
	config = NULL;
	snprintf(cmd, sizeof cmd, "rm -rf --one-file-system %s", dir);
	assert_int_equal(system(cmd), 0);
}

typedef int (*get_fn)(struct ck_attest *a, const struct ck_attest_key_id *id, EVP_PKEY **out,
		      struct ck_err *err);

static void meet(const struct localazure_fault *f, const char *evidence, get_fn get, bool again)
{
	static const struct ck_attest_key_id id = { AZ_HSM, AZ_MAA, "imagekey000" };
	struct ck_attest *a = localazure_client(evidence, localazure_path("sev-guest"), NULL);
	struct ck_err err = { 0 };
	EVP_PKEY *key = NULL;
	char change[64];

	snprintf(change, sizeof change, "'fault.%s'", f->set);
	localazure_set(change);
	uint64_t start = ck_now_ms();
	int rc = get(a, &id, &key, &err);
	uint64_t took = ck_now_ms() - start;
	snprintf(change, sizeof change, "fault.%.*s=off", (int)strcspn(f->set, "="), f->set);
	localazure_set(change);
	if (rc != f->rc || (rc < 0 && !strstr(err.msg, f->says)) || (rc == 0) != (key != NULL))
		fail_msg("%s: %d \"%s\", not %d \"%s\"", f->set, rc, err.msg, f->rc, f->says);
	if (took > 3 * f->within_ms)
		fail_msg("%s: took %llu ms", f->set, (unsigned long long)took);
	EVP_PKEY_free(ck_take(key));
	if (again && get(a, &id, &key, &err) < 0)
		fail_msg("after %s: %s", f->set, err.msg);
	EVP_PKEY_free(key);
	ck_attest_close(a);
}

void localazure_meet(const struct localazure_fault *faults, size_t n_faults, const char *evidence,
		     get_fn get)
{
	for (size_t i = 0; i < n_faults; i++)
		meet(&faults[i], evidence, get, i == n_faults - 1);
}
