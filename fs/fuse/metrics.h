/*
 * metrics - a mount's report as Prometheus has it.
 * Source: Prometheus documentation, "Exposition formats", text format 0.0.4; "Metric and label
 * naming". Counters start with the mount. Names and labels stay; cloakfs(8) lists them.
 */
#ifndef CK_METRICS_H
#define CK_METRICS_H

#include "base/buf.h"
#include "fs/fuse/report.h"

#define CK_METRICS_PATH "/metrics"
#define CK_METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* What a report does not say: labels of cloakfs_mount_info. */
struct ck_metrics_mount {
	const char *image, *mount_point;
	const char *mode;     /* "fuse" or "erofs" */
	const char *manifest; /* its digest */
	bool writable;
};

/* Appends the text to OUT. Errors: -EFBIG, -ENOMEM. */
CK_MUST_CHECK int ck_metrics_write(struct ck_buf *out, const struct ck_report *r,
				   const struct ck_metrics_mount *m, struct ck_err *err);

#endif
