/*
 * paxhead - what libarchive 3.6 reads wrongly of an entry's own extended headers: times before
 * 1970 with a fraction, and the target of a link that only a record names.
 * Source: POSIX.1-2017, pax utility, "pax Extended Header" and "ustar Interchange Format".
 */
#ifndef CK_PAXHEAD_H
#define CK_PAXHEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ck_paxhead {
	const char *link; /* "linkpath": borrowed bytes, not terminated; NULL: no such record */
	size_t link_len;
	bool has_mtime;
	int64_t mtime_s; /* rounded down */
	uint32_t mtime_ns;
};

/* Reads the headers of one entry, HEAD[0..LEN): any extended ones, then its own. What is
 * malformed counts as absent: libarchive has refused it, or knows better. */
void ck_paxhead_read(struct ck_paxhead *out, const uint8_t *head, size_t len);

#endif
