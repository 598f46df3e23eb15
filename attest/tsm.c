/*
 * tsm - evidence from configfs-tsm (Linux 6.7 and later).
 * Source: Documentation/ABI/testing/configfs-tsm of the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "attest/evidence.h"
#include "base/file.h"

enum { TRIES = 5 };

/* An entry of our own in the report directory; removed with the scope. */
struct entry {
	char path[PATH_MAX];
};

static void entry_remove(struct entry *e)
{
	if (e->path[0])
		(void)rmdir(e->path);
}

static int entry_make(struct entry *e, const char *dir, struct ck_err *err)
{
	struct stat st;
	char path[sizeof e->path];
	int n = snprintf(path, sizeof path, "%s/cloakfs-XXXXXX", dir);

	if (n < 0 || (size_t)n >= sizeof path)
		return ck_fail(err, -ENAMETOOLONG, "path %s is too long", dir);
	if (stat(dir, &st) < 0 || !S_ISDIR(st.st_mode))
		return ck_fail(err, -ENODEV, "%s is not there", dir);
	if (!mkdtemp(path)) {
		/* configfs says ENXIO while no driver has registered. */
		int code = errno == ENXIO || errno == EPERM ? -ENODEV : -errno;
		return ck_fail(err, code, "cannot make an entry in %s: %s", dir, strerror(errno));
	}
	memcpy(e->path, path, sizeof path);
	return 0;
}

static int attr_path(char *out, size_t cap, const struct entry *e, const char *name,
		     struct ck_err *err)
{
	int n = snprintf(out, cap, "%s/%s", e->path, name);

	return n < 0 || (size_t)n >= cap
		   ? ck_fail(err, -ENAMETOOLONG, "path %s is too long", e->path)
		   : 0;
}

static int attr_read(struct ck_buf *out, const struct entry *e, const char *name, size_t max,
		     struct ck_err *err)
{
	char path[PATH_MAX];
	int rc = attr_path(path, sizeof path, e, name, err);

	out->max = max;
	return rc < 0 ? rc : ck_file_read(out, path, err);
}

/* One write, then close: configfs takes a binary attribute when it is closed. */
static int attr_write(const struct entry *e, const char *name, const void *p, size_t nbytes,
		      struct ck_err *err)
{
	char path[PATH_MAX];
	int rc = attr_path(path, sizeof path, e, name, err);

	if (rc < 0)
		return rc;
	CK_AUTO(ck_closep) int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return ck_fail(err, -errno, "cannot open %s: %s", path, strerror(errno));
	rc = ck_fd_write(fd, p, nbytes, path, err);
	if (rc == 0 && close(ck_take_fd(&fd)) < 0)
		rc = ck_fail(err, -errno, "cannot write %s: %s", path, strerror(errno));
	return rc;
}

static int attr_u64(uint64_t *out, const struct entry *e, const char *name, struct ck_err *err)
{
	CK_BUF text = { 0 };
	char *end;
	int rc = attr_read(&text, e, name, 64, err);

	if (rc < 0)
		return rc;
	errno = 0;
	*out = strtoull(ck_buf_str(&text), &end, 10);
	if (end == ck_buf_str(&text) || (*end && *end != '\n') || errno)
		return ck_fail(err, -EBADMSG, "%s/%s is not a number", e->path, name);
	return 0;
}

static int check_provider(const struct entry *e, struct ck_evidence *out, struct ck_err *err)
{
	CK_BUF name = { 0 };
	int rc = attr_read(&name, e, "provider", 64, err);

	if (rc == -ENOENT) /* a plain directory: configfs is not mounted there */
		return ck_fail(err, -ENODEV, "%s is not of configfs-tsm", e->path);
	if (rc < 0)
		return rc;
	if (strcmp(ck_buf_str(&name), "sev_guest\n") != 0)
		return ck_fail(err, -ENODEV, "configfs-tsm's provider \"%s\" is not sev_guest",
			       ck_buf_str(&name));
	out->tee = &ck_tee_snp;
	return 0;
}

/* A guest below an SVSM may only ask for its own level or a lesser one; unasked, the
 * kernel asks for level 0. Adds to *N_WRITES what was written. */
static int set_privlevel(const struct entry *e, uint64_t *n_writes, struct ck_err *err)
{
	uint64_t floor = 0;
	char text[24];
	int rc = attr_u64(&floor, e, "privlevel_floor", err);

	if (rc == -ENOENT)
		return 0;
	if (rc < 0 || floor == 0)
		return rc;
	int n = snprintf(text, sizeof text, "%llu", (unsigned long long)floor);
	++*n_writes;
	return attr_write(e, "privlevel", text, (size_t)n, err);
}

static int collect_once(const char *dir, const uint8_t *report_data, struct ck_evidence *out,
			struct ck_err *err)
{
	CK_AUTO(entry_remove) struct entry e = { "" };
	uint64_t n_writes = 1, generation = 0;

	int rc = entry_make(&e, dir, err);
	if (rc == 0)
		rc = check_provider(&e, out, err);
	if (rc == 0)
		rc = set_privlevel(&e, &n_writes, err);
	if (rc == 0)
		rc = attr_write(&e, "inblob", report_data, CK_REPORT_DATA_LEN, err);
	if (rc == 0)
		rc = attr_read(&out->report, &e, "outblob", CK_EVIDENCE_MAX, err);
	if (rc == 0)
		rc = attr_read(&out->aux, &e, "auxblob", CK_AUX_MAX, err);
	if (rc == -ENOENT || rc == -ENXIO)
		rc = out->report.len ? 0 : rc; /* auxblob is optional */
	if (rc == 0)
		rc = attr_u64(&generation, &e, "generation", err);
	/* More writes than ours: somebody else used our entry, so is the report ours? */
	if (rc == 0 && generation != n_writes)
		return ck_fail(err, -EAGAIN, "%s was written by somebody else meanwhile", e.path);
	return rc;
}

int ck_tsm_collect(const struct ck_evidence_paths *p, const uint8_t *report_data,
		   struct ck_evidence *out, struct ck_err *err)
{
	for (int n = 1;; n++) {
		int rc = collect_once(p->tsm_dir, report_data, out, err);
		if (rc == 0 || rc == -ENODEV)
			return rc;
		ck_evidence_free(out);
		if ((rc != -EAGAIN && rc != -EBUSY && rc != -EINTR) || n == TRIES)
			return ck_wrap(err, "attestation report from configfs-tsm");
		/* The host throttles reports: 0.1, 0.2, 0.4, 0.8 s. */
		struct timespec t = { 0, (50000000L << n) };
		nanosleep(&t, NULL);
	}
}
