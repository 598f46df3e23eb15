/*
 * report - what a mount's daemon tells about itself, as a structure and as JSON.
 *
 * A daemon answers with it (answerer.h), `cloakfs status` reads it. The names in the JSON are
 * those of the fields, and stay; cloakfs(8) lists them.
 */
#ifndef CK_REPORT_H
#define CK_REPORT_H

#include <jansson.h>

#include "base/buf.h"
#include "fs/fuse/counters.h"
#include "fs/stack.h"

struct ck_report_layer {
	const char *digest, *media_type;
	const char *compression; /* "gzip", "zstd" or "none", as found in the bytes */
	const char *verified;	 /* "full": all of it at mount; "chunks": each when it is read */
	const char *index;	 /* that the latter takes: "kept" or "embedded"; else NULL */
	bool encrypted, sealed;	 /* sealed layers are encrypted, too */
	uint64_t blob_size;	 /* bytes */
	uint64_t tar_size;	 /* bytes, decompressed */
	uint64_t bytes_fetched;	 /* of the blob, opening included */
	/* What its index says to fetch first, of the tar stream; CK_REPORT_NONE: not told. */
	uint64_t prefetch_ranges, prefetch_bytes;
};

struct ck_report {
	const char *view; /* "rootfs" or "layers" */
	uint64_t pid;
	uint64_t mounted_at, uptime_s; /* Unix time; seconds */
	uint64_t key_age_s;	       /* CK_REPORT_NONE where keys are local or there are none */
	uint64_t bytes_fetched;	       /* of all blobs */
	uint64_t bytes_served;	       /* to the kernel */
	uint64_t reads, reads_failed;  /* of the kernel's */
	const char *last_error;	       /* NULL: none */
	uint64_t last_error_at;	       /* Unix time; CK_REPORT_NONE */
	struct ck_report_cache {
		uint64_t bytes, limit, hits, misses, evictions;
	} unit_cache;
	struct ck_report_layer *layers; /* owned */
	size_t n_layers;
};

#define CK_REPORT_NONE UINT64_MAX

/* Where a daemon's report comes from. STACK and COUNTERS are borrowed. */
struct ck_report_source {
	const struct ck_stack *stack;
	struct ck_counters *counters;
	const char *view;
	uint64_t mounted_at, mounted_ms; /* Unix time; by ck_now_ms */
};

/* Appends the JSON of what SOURCE has now to OUT. Errors: -ENOMEM, -EFBIG. Threads: any. */
CK_MUST_CHECK int ck_report_write(struct ck_buf *out, const struct ck_report_source *source,
				  struct ck_err *err);

/* A report as it came, strings borrowed from DOC; what is unknown in it is passed over. *OUT is
 * the caller's to ck_report_free on success only. Errors: -EBADMSG, -ENOMEM. */
CK_MUST_CHECK int ck_report_read(struct ck_report *out, const json_t *doc, struct ck_err *err);

/* Adds R's fields to OBJ. Errors: -ENOMEM. */
CK_MUST_CHECK int ck_report_json(json_t *obj, const struct ck_report *r, struct ck_err *err);

void ck_report_free(struct ck_report *r); /* {0} is allowed */

#endif
