/*
 * report - what a mount's daemon tells about itself, as a structure and as JSON.
 *
 * A daemon answers with it (answerer.h), `cloakfs status` reads it; metrics are made of it, too
 * (metrics.h). The names in the JSON are those of the fields, and stay; cloakfs(8) lists them. What
 * came after the first version may be missing, where the daemon is older than who asks.
 */
#ifndef CK_REPORT_H
#define CK_REPORT_H

#include <jansson.h>

#include "base/buf.h"
#include "fs/fuse/counters.h"
#include "fs/registry/progress.h"
#include "fs/registry/remote.h"
#include "fs/stack.h"

struct ck_report_layer {
	const char *digest, *media_type;
	const char *compression; /* "gzip", "zstd" or "none", as found in the bytes */
	const char *verified;	 /* "full": all of it at mount; "chunks": each when it is read */
	const char *index;	 /* that the latter takes: "kept" or "embedded"; else NULL */
	bool encrypted, sealed;	 /* sealed layers are encrypted, too */
	uint64_t blob_size;	 /* bytes */
	uint64_t tar_size;	 /* bytes, decompressed */
	uint64_t bytes_fetched;	 /* of the blob, opening included, wherever it is */
	uint64_t bytes_moved;	 /* over the network; CK_REPORT_NONE where the blob is local */
	uint64_t bytes_kept;	 /* in the cache of blobs, now; likewise */
	/* What its index says to fetch first, of the tar stream; CK_REPORT_NONE: not told. */
	uint64_t prefetch_ranges, prefetch_bytes;
};

/* Of an image in a registry. */
struct ck_report_network {
	uint64_t requests, retries;		/* the latter are not among the former */
	uint64_t bytes_fetched;			/* of answers' bodies */
	uint64_t bytes_from_cache;		/* read from there instead */
	uint64_t bytes_kept;			/* in the cache now, of all layers */
	uint64_t refetches;			/* of what was found to be wrong */
	uint64_t failed;			/* fetches that were given up */
	uint64_t round_trip_us;			/* measured; CK_REPORT_NONE: not yet */
	uint64_t bytes_per_s;			/* likewise */
	uint64_t prefetch_done, prefetch_total; /* bytes; total 0: nothing is fetched so */
};

struct ck_report {
	const char *view; /* "rootfs" or "layers" */
	uint64_t pid;
	uint64_t mounted_at, uptime_s;	/* Unix time; seconds */
	uint64_t key_age_s;		/* CK_REPORT_NONE where keys are local or there are none */
	uint64_t bytes_fetched;		/* of all blobs */
	uint64_t bytes_served;		/* to the kernel */
	uint64_t reads, reads_failed;	/* of the kernel's */
	const char *last_error;		/* NULL: none */
	uint64_t last_error_at;		/* Unix time; CK_REPORT_NONE */
	uint64_t verification_failures; /* each try counts; CK_REPORT_NONE: not told */
	uint64_t key_releases;		/* by an HSM, to this process; likewise */
	struct ck_report_cache {
		uint64_t bytes, limit, hits, misses, evictions;
	} unit_cache;
	bool has_network; /* else the image is local */
	struct ck_report_network network;
	struct ck_report_layer *layers; /* owned */
	size_t n_layers;
};

#define CK_REPORT_NONE UINT64_MAX

/* Where a daemon's report comes from. All borrowed. */
struct ck_report_source {
	const struct ck_stack *stack;
	struct ck_counters *counters;
	const char *view;
	uint64_t mounted_at, mounted_ms;	     /* Unix time; by ck_now_ms */
	const struct ck_prefetch_progress *prefetch; /* NULL: there is none */
	struct ck_net *net;			     /* NULL: the image is local */
	struct ck_remote *const *remotes; /* of layers; NULL, any or all: they are local */
};

/* What SOURCE has now, its strings borrowed, the last error's from LAST_ERROR. *OUT is the
 * caller's to ck_report_free on success only. Errors: -ENOMEM. Threads: any. */
CK_MUST_CHECK int ck_report_gather(struct ck_report *out, const struct ck_report_source *source,
				   char last_error[CK_LAST_ERROR], struct ck_err *err);

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
