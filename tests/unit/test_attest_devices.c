/*
 * tsm and sevguest: the kernel's interfaces played here. mkdtemp, rmdir and ioctl below
 * take the place of libc's, so that the code under test needs no seam.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sev-guest.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attest/evidence.h"

#include "base/file.h"
#include "tests/unit/lib/unit.h"

/* How the entry that mkdtemp makes behaves. */
static struct {
	const char *provider, *generation, *privlevel_floor;
	size_t report_len, aux_len;
	int mkdir_errno;
	unsigned n_entries;   /* made so far */
	unsigned n_conflicts; /* the first so many have generation 7 */
	char last[PATH_MAX], inblob[64], privlevel[8];
} tsm;

static void put(const char *dir, const char *name, const void *p, size_t nbytes)
{
	char path[PATH_MAX + 32];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(p, 1, nbytes, f), nbytes);
	assert_int_equal(fclose(f), 0);
}

static void get_and_remove(const char *dir, const char *name, char *out, size_t cap)
{
	char path[PATH_MAX + 32];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	int fd = open(path, O_RDONLY);
	if (fd >= 0 && out) {
		memset(out, 0, cap);
		assert_true(read(fd, out, cap) >= 0);
	}
	if (fd >= 0)
		close(fd);
	unlink(path);
}

char *mkdtemp(char *path)
{
	static const char bytes[32768];
	size_t n = strlen(path);

	if (tsm.mkdir_errno) {
		errno = tsm.mkdir_errno;
		return NULL;
	}
	snprintf(path + n - 6, 7, "%06u", tsm.n_entries++);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(tsm.last, sizeof tsm.last, "%s", path);
	if (tsm.provider)
		put(path, "provider", tsm.provider, strlen(tsm.provider));
	if (tsm.privlevel_floor) {
		put(path, "privlevel_floor", tsm.privlevel_floor, strlen(tsm.privlevel_floor));
		put(path, "privlevel", "", 0);
	}
	put(path, "inblob", "", 0);
	put(path, "outblob", bytes, tsm.report_len);
	if (tsm.aux_len)
		put(path, "auxblob", bytes, tsm.aux_len);
	const char *g = tsm.n_entries <= tsm.n_conflicts ? "7\n" : tsm.generation;
	put(path, "generation", g, strlen(g));
	return path;
}

int rmdir(const char *path)
{
	get_and_remove(path, "inblob", tsm.inblob, sizeof tsm.inblob);
	get_and_remove(path, "privlevel", tsm.privlevel, sizeof tsm.privlevel - 1);
	get_and_remove(path, "provider", NULL, 0);
	get_and_remove(path, "privlevel_floor", NULL, 0);
	get_and_remove(path, "outblob", NULL, 0);
	get_and_remove(path, "auxblob", NULL, 0);
	get_and_remove(path, "generation", NULL, 0);
	return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

/* How the device answers. */
static struct {
	int fail_with[8]; /* errno of call N; 0: success */
	unsigned n_calls;
	unsigned long last;
	uint32_t status, size;
	uint8_t asked[64];
	uint32_t certs_len;
} dev;

int ioctl(int fd, unsigned long what, ...)
{
	va_list ap;

	va_start(ap, what);
	struct snp_guest_request_ioctl *io = va_arg(ap, struct snp_guest_request_ioctl *);
	va_end(ap);
	(void)fd;
	int e = dev.fail_with[dev.n_calls++];
	dev.last = what;
	assert_int_equal(io->msg_version, 1);
	if (e) {
		io->exitinfo2 = 0x0000000100000016;
		errno = e;
		return -1;
	}
	const struct snp_ext_report_req *req = (const void *)(uintptr_t)io->req_data;
	uint8_t *resp = (uint8_t *)(uintptr_t)io->resp_data;
	memcpy(dev.asked, req->data.user_data, 64);
	memcpy(resp, &dev.status, 4);
	memcpy(resp + 4, &dev.size, 4);
	memset(resp + 32, 0xab, 1184);
	if (what == SNP_GET_EXT_REPORT) {
		dev.certs_len = req->certs_len;
		memset((void *)(uintptr_t)req->certs_address, 0xcd, req->certs_len);
	}
	return 0;
}

static char base[] = "/tmp/ck-devices-XXXXXX";
static char absent[64], device[64];
static uint8_t data[64];

static void reset(void)
{
	memset(&tsm, 0, sizeof tsm);
	memset(&dev, 0, sizeof dev);
	tsm.provider = "sev_guest\n";
	tsm.generation = "1\n";
	tsm.report_len = 1184;
	dev.size = 1184;
}

static int ask_tsm(const char *dir, struct ck_evidence *e, struct ck_err *err)
{
	const struct ck_evidence_paths p = { .tsm_dir = dir, .sev_guest = device };

	return ck_tsm_collect(&p, data, e, err);
}

/* No entry may be left behind, whatever happened. */
static void nothing_left(void)
{
	assert_int_equal(access(tsm.last, F_OK), -1);
}

static void tsm_reports(void **state)
{
	struct ck_err err = { 0 };

	(void)state;
	reset();
	CK_EVIDENCE plain = { 0 };
	assert_works(ask_tsm(base, &plain, &err), &err);
	assert_ptr_equal(plain.tee, &ck_tee_snp);
	assert_int_equal(plain.report.len, 1184);
	assert_int_equal(plain.aux.len, 0);
	assert_memory_equal(tsm.inblob, data, 64);
	nothing_left();
	reset();
	tsm.aux_len = 4096;
	CK_EVIDENCE with = { 0 };
	assert_works(ask_tsm(base, &with, &err), &err);
	assert_int_equal(with.aux.len, 4096);
	/* Below an SVSM the level has to be asked for: one write more. */
	reset();
	tsm.privlevel_floor = "2\n";
	tsm.generation = "2\n";
	CK_EVIDENCE low = { 0 };
	assert_works(ask_tsm(base, &low, &err), &err);
	assert_string_equal(tsm.privlevel, "2");
	reset();
	tsm.privlevel_floor = "0\n";
	CK_EVIDENCE zero = { 0 };
	assert_works(ask_tsm(base, &zero, &err), &err);
	assert_string_equal(tsm.privlevel, "");
	nothing_left();
}

static void tsm_conflicts(void **state)
{
	struct ck_err err = { 0 };
	CK_EVIDENCE e = { 0 };

	(void)state;
	reset();
	tsm.n_conflicts = 2; /* somebody wrote to our entry twice: a new entry each time */
	assert_works(ask_tsm(base, &e, &err), &err);
	assert_int_equal(tsm.n_entries, 3);
	assert_int_equal(e.report.len, 1184);
	reset();
	tsm.generation = "2\n";
	CK_EVIDENCE never = { 0 };
	assert_fails(ask_tsm(base, &never, &err), -EAGAIN, &err, "written by somebody else");
	assert_int_equal(tsm.n_entries, 5);
	nothing_left();
}

static void tsm_absent_or_broken(void **state)
{
	struct ck_err err = { 0 };
	CK_EVIDENCE e = { 0 };

	(void)state;
	reset();
	assert_fails(ask_tsm(absent, &e, &err), -ENODEV, &err, absent);
	tsm.mkdir_errno = ENXIO; /* configfs without a driver */
	assert_fails(ask_tsm(base, &e, &err), -ENODEV, &err, "No such device or address");
	tsm.mkdir_errno = EACCES;
	assert_fails(ask_tsm(base, &e, &err), -EACCES, &err, "Permission denied");
	reset();
	tsm.provider = "tdx_guest\n";
	assert_fails(ask_tsm(base, &e, &err), -ENODEV, &err, "tdx_guest");
	nothing_left();
	reset();
	tsm.generation = "x\n";
	assert_fails(ask_tsm(base, &e, &err), -EBADMSG, &err, "not a number");
	reset();
	tsm.report_len = CK_EVIDENCE_MAX + 1;
	assert_fails(ask_tsm(base, &e, &err), -EFBIG, &err, "holds more than 16384 bytes");
	nothing_left();
	reset();
	tsm.provider = NULL;
	assert_fails(ask_tsm(base, &e, &err), -ENODEV, &err, "is not of configfs-tsm");
	nothing_left();
}

static int ask_dev(const char *path, struct ck_evidence *e, struct ck_err *err)
{
	const struct ck_evidence_paths p = { .tsm_dir = absent, .sev_guest = path };

	return ck_sevguest_collect(&p, data, e, err);
}

static void sevguest_reports(void **state)
{
	struct ck_err err = { 0 };

	(void)state;
	reset();
	CK_EVIDENCE e = { 0 };
	assert_works(ask_dev(device, &e, &err), &err);
	assert_int_equal(dev.n_calls, 1);
	assert_true(dev.last == SNP_GET_EXT_REPORT);
	assert_memory_equal(dev.asked, data, 64);
	assert_int_equal(dev.certs_len, 16384);
	assert_int_equal(e.aux.len, 16384);
	assert_int_equal(e.report.len, 1184);
	assert_int_equal(e.report.data[1183], 0xab);
	/* Certificates that do not fit: a report without them. */
	reset();
	dev.fail_with[0] = ENOSPC;
	CK_EVIDENCE bare = { 0 };
	assert_works(ask_dev(device, &bare, &err), &err);
	assert_true(dev.last == SNP_GET_REPORT);
	assert_int_equal(bare.report.len, 1184);
	assert_int_equal(bare.aux.len, 0);
	/* A busy host is asked again. */
	reset();
	dev.fail_with[0] = EAGAIN;
	dev.fail_with[1] = EINTR;
	CK_EVIDENCE busy = { 0 };
	assert_works(ask_dev(device, &busy, &err), &err);
	assert_int_equal(dev.n_calls, 3);
}

static void sevguest_failures(void **state)
{
	struct ck_err err = { 0 };
	CK_EVIDENCE e = { 0 };

	(void)state;
	reset();
	assert_fails(ask_dev(absent, &e, &err), -ENODEV, &err, absent);
	dev.fail_with[0] = EIO; /* never repeated: it could cost the guest its key */
	assert_fails(ask_dev(device, &e, &err), -EIO, &err, "firmware error 0x16, VMM error 0x1");
	assert_int_equal(dev.n_calls, 1);
	reset();
	for (int i = 0; i < 8; i++)
		dev.fail_with[i] = EAGAIN;
	assert_fails(ask_dev(device, &e, &err), -EAGAIN, &err, "refused a report");
	assert_int_equal(dev.n_calls, 5);
	reset();
	dev.status = 0x16;
	assert_fails(ask_dev(device, &e, &err), -EIO, &err, "status 0x16");
	reset();
	dev.size = 4000 - 32 + 1;
	assert_fails(ask_dev(device, &e, &err), -EBADMSG, &err, "3969 bytes cannot be");
	dev.size = UINT32_MAX;
	assert_fails(ask_dev(device, &e, &err), -EBADMSG, &err, "cannot be");
	assert_int_equal(e.report.len, 0);
}

static void which_is_asked(void **state)
{
	struct ck_evidence_paths p = { .tsm_dir = absent, .sev_guest = absent };
	const struct ck_call call = { NULL, ck_now_ms() + 1000 };
	struct ck_certsource *certs = NULL;
	const struct ck_tee *tee = NULL;
	struct ck_err err = { 0 };
	CK_BUF out = { 0 };

	(void)state;
	reset();
	assert_works(ck_certsource_open(&certs, NULL, "http://127.0.0.1:1", &err), &err);
	/* Neither: both are named. */
	assert_fails(ck_evidence_endorsed(&p, data, certs, &call, &tee, &out, &err), -ENODEV, &err,
		     "only to a confidential VM");
	assert_non_null(strstr(err.msg, "absent is not there; cannot open"));
	/* configfs-tsm is there: the device is not touched, even when that fails later
	 * (a report of zeros has no version). */
	p.tsm_dir = base;
	p.sev_guest = device;
	assert_fails(ck_evidence_endorsed(&p, data, certs, &call, &tee, &out, &err), -EBADMSG, &err,
		     "version 0");
	assert_int_equal(dev.n_calls, 0);
	/* It is there but broken: no quiet change to the other. */
	tsm.mkdir_errno = EACCES;
	assert_fails(ck_evidence_endorsed(&p, data, certs, &call, &tee, &out, &err), -EACCES, &err,
		     "configfs-tsm");
	assert_int_equal(dev.n_calls, 0);
	/* It is not there: the device. */
	p.tsm_dir = absent;
	assert_fails(ck_evidence_endorsed(&p, data, certs, &call, &tee, &out, &err), -EBADMSG, &err,
		     "not about our report data");
	assert_int_equal(dev.n_calls, 1);
	assert_int_equal(out.len, 0);
	ck_certsource_close(certs);
}

static int setup(void **state)
{
	(void)state;
	for (int i = 0; i < 64; i++)
		data[i] = (uint8_t)(i + 1);
	snprintf(base + sizeof base - 7, 7, "%06u", (unsigned)getpid() % 1000000U);
	if (mkdir(base, 0700) < 0)
		return -1;
	snprintf(absent, sizeof absent, "%s/absent", base);
	snprintf(device, sizeof device, "%s/sev-guest", base);
	put(base, "sev-guest", "", 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(device);
	return unlinkat(AT_FDCWD, base, AT_REMOVEDIR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tsm_reports),		cmocka_unit_test(tsm_conflicts),
		cmocka_unit_test(tsm_absent_or_broken), cmocka_unit_test(sevguest_reports),
		cmocka_unit_test(sevguest_failures),	cmocka_unit_test(which_is_asked),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
