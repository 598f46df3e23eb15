/*
 * sevguest - evidence from /dev/sev-guest (Linux 5.19 and later), with the host's
 * certificates where it gives them.
 * Source: Documentation/virt/coco/sev-guest.rst; GHCB specification, section 4.1.8;
 * SEV-SNP ABI, MSG_REPORT_RSP.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sev-guest.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "attest/evidence.h"
#include "base/cursor.h"

enum {
	TRIES = 5,
	CERTS_MAX = 16384, /* the driver's limit; it wants whole pages */
	REPORT_AT = 32,	   /* in the response: status, size, 24 reserved bytes */
};

struct asked {
	int fd;
	const char *path;
	struct snp_ext_report_req req;
	struct snp_report_resp resp;
	uint8_t certs[CERTS_MAX];
};

/* Asks once; a busy host is asked again, nothing else: early drivers give up the
 * guest's key for good when a failed request is repeated. */
static int ask(struct asked *a, unsigned long what, struct ck_err *err)
{
	for (int n = 1;; n++) {
		struct snp_guest_request_ioctl io = { .msg_version = 1 };
		io.req_data = (uintptr_t)&a->req; /* begins with the plain request */
		io.resp_data = (uintptr_t)&a->resp;
		if (ioctl(a->fd, what, &io) == 0)
			return 0;
		int e = errno;
		if ((e != EAGAIN && e != EINTR) || n == TRIES)
			return ck_fail(
			    err, -e, "%s refused a report: %s (firmware error %#x, VMM error %#x)",
			    a->path, strerror(e), io.fw_error, io.vmm_error);
		struct timespec t = { 0, (50000000L << n) };
		nanosleep(&t, NULL);
	}
}

static int read_response(const struct asked *a, struct ck_evidence *out, struct ck_err *err)
{
	struct ck_cursor c = ck_cursor(a->resp.data, sizeof a->resp.data);
	uint32_t status = 0, size = 0;
	const uint8_t *skipped, *report;

	if (!ck_cursor_le32(&c, &status) || !ck_cursor_le32(&c, &size) ||
	    !ck_cursor_take(&c, REPORT_AT - 8, &skipped))
		return ck_fail(err, -EBADMSG, "%s: response too short", a->path);
	if (status != 0)
		return ck_fail(err, -EIO, "%s: the firmware refused a report (status %#x)", a->path,
			       status);
	if (!ck_cursor_take(&c, size, &report))
		return ck_fail(err, -EBADMSG, "%s: a report of %u bytes cannot be", a->path, size);
	return ck_buf_add(&out->report, report, size, err);
}

int ck_sevguest_collect(const struct ck_evidence_paths *p, const uint8_t *report_data,
			struct ck_evidence *out, struct ck_err *err)
{
	CK_AUTO(ck_closep) int fd = open(p->sev_guest, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		bool absent = errno == ENOENT || errno == ENXIO || errno == ENODEV;
		return ck_fail(err, absent ? -ENODEV : -errno, "cannot open %s: %s", p->sev_guest,
			       strerror(errno));
	}
	CK_AUTO(ck_freep) struct asked *a = calloc(1, sizeof *a);
	if (!a)
		return ck_nomem(err, "asking for a report");
	a->fd = fd;
	a->path = p->sev_guest;
	memcpy(a->req.data.user_data, report_data, sizeof a->req.data.user_data);
	a->req.certs_address = (uintptr_t)a->certs;
	a->req.certs_len = sizeof a->certs;
	int rc = ask(a, SNP_GET_EXT_REPORT, err);
	bool with_certs = rc == 0;
	if (rc == -ENOSPC) /* the host's certificates do not fit: go without them */
		rc = ask(a, SNP_GET_REPORT, err);
	if (rc == 0)
		rc = read_response(a, out, err);
	if (rc == 0 && with_certs)
		rc = ck_buf_add(&out->aux, a->certs, sizeof a->certs, err);
	if (rc < 0)
		return rc == -ENODEV ? ck_fail(err, -EIO, "%s: no such device any more", a->path)
				     : rc;
	out->tee = &ck_tee_snp;
	return 0;
}
