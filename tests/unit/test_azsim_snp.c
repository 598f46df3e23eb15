#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/json.h"
#include "tools/azsim/amd.h"
#include "tools/azsim/cert.h"
#include "tools/azsim/tsmentry.h"

/* Two chips of two makers; only the first is the one under test. */
static struct {
	char dir[2][64];
	struct az_amd amd, other;
	struct az_settings settings;
} g;

static int setup(void **state)
{
	struct ck_err err = { 0 };
	struct az_amd *amd[] = { &g.amd, &g.other };

	(void)state;
	az_settings_init(&g.settings);
	for (int i = 0; i < 2; i++) {
		char sub[80];
		strcpy(g.dir[i], "/tmp/azsim-test-XXXXXX");
		if (!mkdtemp(g.dir[i]))
			return -1;
		snprintf(sub, sizeof sub, "%s/amd", g.dir[i]);
		if (mkdir(sub, 0700) < 0 || az_amd_open(amd[i], g.dir[i], &err) < 0)
			return -1;
	}
	return 0;
}

static int teardown(void **state)
{
	static const char *const files[] = { "ark-key.pem",  "ask-key.pem",
					     "vcek-key.pem", "ark.pem",
					     "ask.pem",	     "vcek.pem",
					     "chip-id",	     "" };

	(void)state;
	az_amd_close(&g.amd);
	az_amd_close(&g.other);
	for (int i = 0; i < 2; i++) {
		char path[128];
		for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
			snprintf(path, sizeof path, "%s/amd/%s", g.dir[i], files[f]);
			remove(path);
		}
		remove(g.dir[i]);
	}
	return 0;
}

static void add_chain(struct ck_buf *out, X509 *vcek, X509 *ask, X509 *ark)
{
	struct ck_err err = { 0 };

	assert_int_equal(az_cert_pem(out, vcek, &err), 0);
	assert_int_equal(az_cert_pem(out, ask, &err), 0);
	assert_int_equal(az_cert_pem(out, ark, &err), 0);
}

static struct az_snp_report report(const struct az_snp_firmware *fw)
{
	static const uint8_t data[AZ_SNP_DATA_LEN] = "what the guest says";
	struct az_launch l = az_settings_launch(&g.settings);
	struct az_snp_report r;
	struct ck_err err = { 0 };

	assert_int_equal(az_snp_make(&r, fw, &l, 1, data, &err), 0);
	return r;
}

static void good(void **state)
{
	struct az_snp_report r = report(&g.amd.fw);
	struct ck_err err = { 0 };
	CK_BUF chain = { 0 };

	(void)state;
	add_chain(&chain, g.amd.vcek, g.amd.ask, g.amd.ark);
	assert_int_equal(az_snp_check(&r, chain.data, chain.len, g.amd.ark, &err), 0);
	assert_int_equal(az_snp_u32(&r, AZ_SNP_VMPL), 1);
	assert_int_equal(az_snp_u64(&r, AZ_SNP_POLICY), 0x3001f);
}

/* Not one bit of the report can change unseen. */
static void every_byte(void **state)
{
	struct az_snp_report r = report(&g.amd.fw);
	CK_BUF chain = { 0 };

	(void)state;
	add_chain(&chain, g.amd.vcek, g.amd.ask, g.amd.ark);
	for (size_t i = 0; i < AZ_SNP_REPORT_LEN; i += i < 0x2a0 ? 7 : 1) {
		r.b[i] ^= 0x10;
		if (az_snp_check(&r, chain.data, chain.len, g.amd.ark, NULL) != -EACCES)
			fail_msg("byte %zu may change", i);
		r.b[i] ^= 0x10;
	}
}

static void refuses(const char *words, const struct az_snp_report *r, X509 *vcek, X509 *ask,
		    X509 *ark)
{
	struct ck_err err = { 0 };
	CK_BUF chain = { 0 };

	add_chain(&chain, vcek, ask, ark);
	assert_int_equal(az_snp_check(r, chain.data, chain.len, g.amd.ark, &err), -EACCES);
	if (!strstr(err.msg, words))
		fail_msg("wanted \"%s\", got \"%s\"", words, err.msg);
}

static void chains(void **state)
{
	struct az_snp_report r = report(&g.amd.fw), foreign = report(&g.other.fw);
	struct az_snp_firmware fw = g.amd.fw;

	(void)state;
	refuses("not this simulator's", &foreign, g.other.vcek, g.other.ask, g.other.ark);
	/* The names are all the same: only the signatures tell the two makers apart. */
	refuses("signature of the VCEK certificate", &foreign, g.other.vcek, g.amd.ask, g.amd.ark);
	refuses("signature of the ASK certificate", &foreign, g.other.vcek, g.other.ask, g.amd.ark);
	refuses("names another issuer", &r, g.amd.ask, g.amd.vcek, g.amd.ark);
	refuses("of another chip", &foreign, g.amd.vcek, g.amd.ask, g.amd.ark);
	fw.tcb++;
	struct az_snp_report newer = report(&fw);
	refuses("extension 1.3.6.1.4.1.3704.1.3.1 is 3, the report says 4", &newer, g.amd.vcek,
		g.amd.ask, g.amd.ark);
}

static void chain_text(void **state)
{
	struct az_snp_report r = report(&g.amd.fw);
	CK_BUF chain = { 0 };
	struct ck_err err = { 0 };

	(void)state;
	assert_int_equal(az_snp_check(&r, "", 0, g.amd.ark, &err), -EACCES);
	add_chain(&chain, g.amd.vcek, g.amd.ask, g.amd.ark);
	assert_int_equal(ck_buf_adds(&chain, " \n", &err), 0);
	assert_int_equal(az_snp_check(&r, chain.data, chain.len, g.amd.ark, &err), 0);
	assert_int_equal(ck_buf_adds(&chain, "x", &err), 0);
	assert_int_equal(az_snp_check(&r, chain.data, chain.len, g.amd.ark, &err), -EACCES);
	assert_non_null(strstr(err.msg, "trailing"));
}

static void thim(void **state)
{
	CK_JSON *j = NULL;
	CK_JSON *stale = NULL;
	struct ck_err err = { 0 };

	(void)state;
	assert_int_equal(az_amd_thim(&j, &g.amd, AZ_NO_FAULT, &err), 0);
	assert_string_equal(json_string_value(json_object_get(j, "tcbm")), "d308000000000003");
	assert_int_equal(az_amd_thim(&stale, &g.amd, AZ_TCBMISMATCH, &err), 0);
	assert_string_equal(json_string_value(json_object_get(stale, "tcbm")), "d208000000000003");
}

/* The kernel's attribute of that name. */
static const struct az_tsm_attr *attr(const char *name)
{
	const struct az_tsm_attr *a = az_tsm_attrs;

	while (strcmp(a->name, name) != 0)
		a++;
	return a;
}

static const struct az_tsm_source *source(void)
{
	static struct az_tsm_source src = { &g.amd, &g.settings };

	return &src;
}

static int show(struct az_tsm_entry *e, const char *name, struct ck_buf *out)
{
	ck_buf_free(out);
	return attr(name)->show(source(), e, out);
}

static int store(struct az_tsm_entry *e, const char *name, const void *p, size_t nbytes)
{
	return attr(name)->store(source(), e, p, nbytes);
}

static void entry_rules(void **state)
{
	struct az_tsm_entry *e = calloc(1, sizeof *e);
	uint8_t data[64] = { 1, 2, 3 };
	CK_BUF out = { 0 };
	CK_BUF first = { 0 };

	(void)state;
	e->refs = 1;
	assert_int_equal(show(e, "outblob", &out), -EINVAL); /* nothing asked yet */
	assert_int_equal(store(e, "inblob", data, 63), 0);   /* taken, as the kernel does */
	assert_int_equal(show(e, "outblob", &out), -EINVAL); /* and found wanting here */
	assert_int_equal(store(e, "inblob", data, 64), 0);
	assert_int_equal(show(e, "outblob", &first), 0);
	assert_int_equal(first.len, AZ_SNP_REPORT_LEN);
	assert_memory_equal(first.data + AZ_SNP_REPORT_DATA, data, 64);
	assert_int_equal(show(e, "outblob", &out), 0); /* the same report, not a new one */
	assert_memory_equal(out.data, first.data, first.len);
	assert_int_equal(show(e, "generation", &out), 0);
	assert_string_equal(ck_buf_str(&out), "2\n");
	/* Another writer: the next report is of its data, and the generation shows it. */
	data[0] = 9;
	assert_int_equal(store(e, "inblob", data, 64), 0);
	assert_int_equal(show(e, "outblob", &out), 0);
	assert_memory_equal(out.data + AZ_SNP_REPORT_DATA, data, 64);
	assert_int_equal(show(e, "generation", &out), 0);
	assert_string_equal(ck_buf_str(&out), "3\n");
	az_tsm_entry_unref(e);
}

static void privlevel(void **state)
{
	static const struct {
		const char *text;
		int rc;
	} rows[] = { { "0\n", 0 },
		     { "3", 0 },
		     { "0x2\n", 0 },
		     { "4", -EINVAL },
		     { "-1", -EINVAL },
		     { " 1", -EINVAL },
		     { "1 ", -EINVAL },
		     { "\n", -EINVAL },
		     { "", -EINVAL },
		     { "1\n\n", -EINVAL },
		     { "99999999999999999999", -EINVAL } };
	struct az_tsm_entry *e = calloc(1, sizeof *e);
	uint8_t data[64] = { 0 };
	CK_BUF out = { 0 };

	(void)state;
	e->refs = 1;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_int_equal(store(e, "privlevel", rows[i].text, strlen(rows[i].text)),
				 rows[i].rc);
	assert_int_equal(store(e, "inblob", data, 64), 0);
	assert_int_equal(show(e, "outblob", &out), 0);
	assert_int_equal(out.data[AZ_SNP_VMPL], 2); /* the last level that was taken */
	/* A guest at level 2 cannot ask for a lower number. */
	assert_int_equal(az_knobs_set(&g.settings.knobs, "vmpl", "2", NULL), 0);
	assert_int_equal(show(e, "privlevel_floor", &out), 0);
	assert_string_equal(ck_buf_str(&out), "2\n");
	assert_int_equal(store(e, "privlevel", "1", 1), -EINVAL);
	/* A report that the host asked for says so, whatever level was written. */
	assert_int_equal(az_knobs_set(&g.settings.knobs, "vmpl", "4294967295", NULL), 0);
	assert_int_equal(store(e, "privlevel", "0", 1), 0);
	assert_int_equal(show(e, "outblob", &out), 0);
	assert_int_equal(out.data[AZ_SNP_VMPL + 3], 0xff);
	assert_int_equal(az_knobs_set(&g.settings.knobs, "vmpl", "0", NULL), 0);
	az_tsm_entry_unref(e);
}

static void cert_table(void **state)
{
	static const uint8_t vcek_guid[] = { 0x63, 0xda, 0x75, 0x8d, 0xe6, 0x64, 0x45, 0x64,
					     0xad, 0xc5, 0xf4, 0xb9, 0x3b, 0xe8, 0xac, 0xcd };
	static const uint8_t end[24];
	struct ck_err err = { 0 };
	CK_BUF t = { 0 };
	X509 *want[] = { g.amd.vcek, g.amd.ask, g.amd.ark };

	(void)state;
	assert_int_equal(az_amd_table(&t, &g.amd, &err), 0);
	assert_memory_equal(t.data, vcek_guid, sizeof vcek_guid);
	for (size_t i = 0; i < 3; i++) {
		const uint8_t *e = t.data + 24 * i;
		size_t off = (size_t)(e[16] | e[17] << 8), len = (size_t)(e[20] | e[21] << 8);
		const uint8_t *p = t.data + off;
		assert_true(off + len <= t.len);
		AZ_X509 *x = d2i_X509(NULL, &p, (long)len);
		assert_ptr_equal(p, t.data + off + len);
		assert_int_equal(X509_cmp(x, want[i]), 0);
	}
	assert_memory_equal(t.data + 72, end, sizeof end);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good),	     cmocka_unit_test(every_byte),
		cmocka_unit_test(chains),    cmocka_unit_test(chain_text),
		cmocka_unit_test(thim),	     cmocka_unit_test(entry_rules),
		cmocka_unit_test(privlevel), cmocka_unit_test(cert_table),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
