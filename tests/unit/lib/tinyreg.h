/*
 * tinyreg - a registry in the test's own process, small enough to be told exactly how to be
 * difficult (OCI distribution spec v1.1, "Push"). Repositories are one: blobs are there or not.
 * Its knobs are set before a client comes, or between its requests.
 * Anything that goes wrong here aborts.
 */
#ifndef CK_TEST_TINYREG_H
#define CK_TEST_TINYREG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/unit/lib/stubhttpd.h"

struct tinyreg; /* opaque */

/* What happens to the Nth request of a kind, from 0, and those after it while TIMES lasts. */
struct tinyreg_fault {
	unsigned nth, times; /* TIMES 0: nothing ever happens */
	size_t keep;	     /* of the body so many bytes are taken, then the connection is cut */
	const char *status;  /* or NULL; this is answered in the place of a cut, nothing taken */
	unsigned every;	     /* only each EVERYth of them; 0: all */
};

struct tinyreg_knobs {
	bool relative;	 /* Locations are without scheme and host */
	bool strict;	 /* an upload's Location is good until it changes ... */
	bool strict_get; /* ... also for asking how far it is, as Docker's is */
	bool forgetful;	 /* nobody may ask how far an upload is */
	bool quiet;	 /* PATCH is answered without Range, and without Location */
	bool one_patch;	 /* a second one is refused */
	bool no_patch;	 /* all are */
	bool mounts;	 /* of what is in BESIDE */
	bool referrers;	 /* there is a list of what refers to an image */
	bool liar;	 /* manifests have other digests than they have */
	const char *patch_range, *get_range; /* what it says in the place of the right Range */
	unsigned min_chunk, max_body;
	struct tinyreg_fault patch, put, put_manifest, get_manifest;
	/* Called before a manifest is put as REFERENCE, and after it was. */
	void (*on_manifest)(struct tinyreg *t, const char *reference, bool after);
	void *ctx;
};

struct tinyreg *tinyreg_open(void);
void tinyreg_close(struct tinyreg *t);

struct tinyreg_knobs *tinyreg_knobs(struct tinyreg *t);
const char *tinyreg_host(const struct tinyreg *t);

/* As in stubhttpd. */
unsigned tinyreg_count(struct tinyreg *t, const char *what);

/* Bytes of all PATCHes and PUTs of blobs that came, taken or not. */
uint64_t tinyreg_received(const struct tinyreg *t);
/* Uploads that are neither ended nor cancelled. */
unsigned tinyreg_n_open(const struct tinyreg *t);
/* "0-999 1000-1999": Content-Range of the PATCHes so far. */
const char *tinyreg_ranges(const struct tinyreg *t);

/* A blob or manifest, NULL: there is none; and puts one. NAME: "sha256:<hex>" or a tag. */
const void *tinyreg_get(const struct tinyreg *t, const char *name, size_t *nbytes);
void tinyreg_put(struct tinyreg *t, const char *name, const void *p, size_t nbytes);
/* In another repository, "beside". */
void tinyreg_put_beside(struct tinyreg *t, const char *name, const void *p, size_t nbytes);

#endif
