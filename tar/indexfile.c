#include "tar/indexfile.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <zstd.h>

#include "base/secret.h"
#include "tar/cipher/gcmkey.h"
#include "tar/index/check.h"
#include "tar/windowblob.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "indexes are used as they lie");
/* The layout of the file is that of these structs: another version begins where one changes, or
 * what the scan makes of a tar. 2: times before 1970, modes beside access control lists. 3: the
 * same with one more section; without anything in it, version 2 is written, which older readers
 * know. 4: its windows are elsewhere. */
enum { VERSION = 2, VERSION_PREFETCH = 3, VERSION_APART = 4 };
_Static_assert(sizeof(struct ck_entry) == 80 && sizeof(struct ck_extent) == 24 &&
		   sizeof(struct ck_xattr) == 16 && sizeof(struct ck_point) == 32 &&
		   sizeof(struct ck_unit_start) == 16 && sizeof(struct ck_range) == 16,
	       "an element of the index changed its size");

static const char magic[8] = "CKINDEX";

enum section { ENTRIES, EXTENTS, XATTRS, HEAP, POINTS, UNITS, WINDOWS, TAGS, PREFETCH, N_SECTIONS };

static const size_t element[N_SECTIONS] = {
	[ENTRIES] = sizeof(struct ck_entry),
	[EXTENTS] = sizeof(struct ck_extent),
	[XATTRS] = sizeof(struct ck_xattr),
	[HEAP] = 1,
	[POINTS] = sizeof(struct ck_point),
	[UNITS] = sizeof(struct ck_unit_start),
	[WINDOWS] = 1,
	[TAGS] = CK_TAG_LEN,
	[PREFETCH] = sizeof(struct ck_range),
};

struct header {
	char magic[8];
	uint32_t version, compression;
	struct ck_indexfile_about about;
	uint64_t tar_len;
	uint8_t tag_key[32]; /* of the chunk tags; zeros where there are none */
	struct {
		uint64_t off, n; /* from the header's start; elements */
	} section[N_SECTIONS];
	struct {
		uint8_t digest[32];
		uint64_t len;
		uint8_t key[CK_GCM_KEY];
	} apart; /* the blob of windows */
};

_Static_assert(sizeof(struct header) ==
		   16 + sizeof(struct ck_indexfile_about) + 40 + 16 * N_SECTIONS + 72,
	       "the header of an index has no gaps");

/* Sections of a file of that version, and the bytes of its header. */
static int n_sections(uint32_t version)
{
	return version < VERSION_PREFETCH ? PREFETCH : N_SECTIONS;
}

static size_t header_len(uint32_t version)
{
	if (version >= VERSION_APART)
		return sizeof(struct header);
	return offsetof(struct header, section) +
	       (size_t)n_sections(version) * sizeof((struct header *)NULL)->section[0];
}

/* zstd's fastest that still halves names and numbers well; an index is read far more often
 * than it is made. */
enum { LEVEL = 3 };

static int add_section(struct ck_buf *out, struct header *h, enum section s, const void *p,
		       size_t n, struct ck_err *err)
{
	static const uint8_t zeros[8];
	int rc = ck_buf_add(out, zeros, (8 - out->len % 8) % 8, err);

	h->section[s].off = out->len;
	h->section[s].n = n;
	return rc < 0 ? rc : ck_buf_add(out, p, n * element[s], err);
}

static int lay_out(struct ck_buf *out, const struct ck_pass_result *what,
		   const struct ck_indexfile_about *about, struct ck_err *err)
{
	const struct ck_index *x = &what->index;
	const struct ck_units *u = &what->units;
	bool apart = what->apart.len > 0;
	struct header h = { .version = apart	       ? VERSION_APART
				       : x->n_prefetch ? VERSION_PREFETCH
						       : VERSION,
			    .compression = u->compression,
			    .tar_len = u->len };
	const struct {
		const void *p;
		size_t n;
	} parts[N_SECTIONS] = {
		[ENTRIES] = { x->entries, x->n_entries },
		[EXTENTS] = { x->extents, x->n_extents },
		[XATTRS] = { x->xattrs, x->n_xattrs },
		[HEAP] = { x->heap, x->heap_len },
		[POINTS] = { u->points, u->n_points },
		[UNITS] = { u->units, u->n_units },
		[WINDOWS] = { u->windows, apart ? 0 : u->windows_len },
		[TAGS] = { what->tags.tags, what->tags.n_tags },
		[PREFETCH] = { x->prefetch, x->n_prefetch },
	};
	size_t head = header_len(h.version), total = head;
	int n = n_sections(h.version);

	for (int s = 0; s < n; s++)
		total += 8 + parts[s].n * element[s]; /* a few arrays of 1 GiB at most */
	memcpy(h.magic, magic, sizeof magic);
	h.about = *about;
	if (what->tags.n_tags)
		memcpy(h.tag_key, what->tags.key.data, sizeof h.tag_key);
	if (apart) {
		memcpy(h.apart.digest, what->apart.digest, sizeof h.apart.digest);
		h.apart.len = what->apart.len;
		memcpy(h.apart.key, what->apart.key.data, sizeof h.apart.key);
	}
	int rc = ck_buf_reserve(out, total, err);
	if (rc == 0)
		rc = ck_buf_add(out, &h, head, err);
	for (int s = 0; rc == 0 && s < n; s++)
		rc = add_section(out, &h, s, parts[s].p, parts[s].n, err);
	if (rc == 0)
		memcpy(out->data, &h, head);
	ck_wipe(&h, sizeof h);
	return rc;
}

int ck_indexfile_pack(struct ck_buf *out, const struct ck_pass_result *what,
		      const struct ck_indexfile_about *about, struct ck_err *err)
{
	CK_BUF plain = { .max = CK_INDEXFILE_MAX };
	int rc = lay_out(&plain, what, about, err);

	if (rc == 0)
		rc = ck_buf_reserve(out, ZSTD_compressBound(plain.len), err);
	if (rc < 0)
		return rc;
	size_t n =
	    ZSTD_compress(out->data + out->len, out->cap - out->len, plain.data, plain.len, LEVEL);
	if (ZSTD_isError(n))
		return ck_nomem(err, "compressing a layer's index");
	out->len += n;
	return 0;
}

/* The section's elements, once they lie inside the index. */
static int section(const uint8_t *whole, size_t len, const struct header *h, enum section s,
		   void *out, size_t *n, struct ck_err *err)
{
	uint64_t off = h->section[s].off, count = h->section[s].n;

	if (off % 8 || off > len || count > UINT32_MAX || count > (len - off) / element[s])
		return ck_fail(err, -EBADMSG, "index section %d lies outside the index", (int)s);
	*(const void **)out = count ? whole + off : NULL;
	*n = (size_t)count;
	return 0;
}

static int check_header(const struct header *h, struct ck_err *err)
{
	if (memcmp(h->magic, magic, sizeof magic) != 0 || h->version < VERSION ||
	    h->version > VERSION_APART)
		return ck_fail(err, -EBADMSG, "not a layer index of version %d to %d", VERSION,
			       VERSION_APART);
	if (h->compression > CK_COMPRESSION_ZSTD || h->tar_len > INT64_MAX)
		return ck_fail(err, -EBADMSG, "the index is malformed");
	return 0;
}

static int take_tag_key(struct ck_pass_result *r, const struct header *h, struct ck_err *err)
{
	int rc = ck_secret_new(&r->tags.key, sizeof h->tag_key, err);

	if (rc == 0)
		memcpy(r->tags.key.data, h->tag_key, sizeof h->tag_key);
	return rc < 0 ? rc : ck_tags_ready(&r->tags, err);
}

/* The blob that holds the windows, as HEADER has it. A window takes its tag along: so many bytes
 * less can be windows. */
static int take_apart(struct ck_pass_result *r, const struct header *h, struct ck_err *err)
{
	struct ck_windows_apart *a = &r->apart;

	if (r->units.windows_len || h->apart.len <= CK_GCM_TAG || h->apart.len > CK_INDEXFILE_MAX)
		return ck_fail(err, -EBADMSG, "the index's windows are malformed");
	int rc = ck_secret_new(&a->key, sizeof h->apart.key, err);
	if (rc < 0)
		return rc;
	memcpy(a->key.data, h->apart.key, sizeof h->apart.key);
	memcpy(a->digest, h->apart.digest, sizeof a->digest);
	a->len = h->apart.len;
	r->units.windows_len = (size_t)h->apart.len - CK_GCM_TAG;
	return 0;
}

/* The header of the index P[0..LEN), whose own copies of keys are wiped. What its version does not
 * have is empty. */
static int take_header(struct header *h, uint8_t *p, size_t len, struct ck_err *err)
{
	*h = (struct header){ 0 };
	if (len >= header_len(VERSION)) {
		memcpy(h, p, header_len(VERSION));
		ck_wipe(p + offsetof(struct header, tag_key), sizeof h->tag_key);
	}
	if (len < header_len(h->version))
		return ck_fail(err, -EBADMSG, "the index is shorter than its header");
	int rc = check_header(h, err);
	if (rc < 0)
		return rc;
	memcpy(h->section, p + offsetof(struct header, section),
	       (size_t)n_sections(h->version) * sizeof h->section[0]);
	if (h->version >= VERSION_APART) {
		memcpy(&h->apart, p + offsetof(struct header, apart), sizeof h->apart);
		ck_wipe(p + offsetof(struct header, apart.key), sizeof h->apart.key);
	}
	return 0;
}

/* Points R's tables into R->whole, LEN bytes. */
static int point_into(struct ck_pass_result *r, struct ck_indexfile_about *about, size_t len,
		      uint64_t in_len, struct ck_err *err)
{
	struct header h;
	struct ck_index *x = &r->index;
	struct ck_units *u = &r->units;
	uint8_t *whole = r->whole;
	int rc = take_header(&h, whole, len, err);
	const struct {
		void *p;
		size_t *n;
	} parts[N_SECTIONS] = {
		[ENTRIES] = { &x->entries, &x->n_entries },
		[EXTENTS] = { &x->extents, &x->n_extents },
		[XATTRS] = { &x->xattrs, &x->n_xattrs },
		[HEAP] = { &x->heap, &x->heap_len },
		[POINTS] = { &u->points, &u->n_points },
		[UNITS] = { &u->units, &u->n_units },
		[WINDOWS] = { &u->windows, &u->windows_len },
		[TAGS] = { &r->tags.tags, &r->tags.n_tags },
		[PREFETCH] = { &x->prefetch, &x->n_prefetch },
	};
	for (int s = 0; rc == 0 && s < N_SECTIONS; s++)
		rc = section(whole, len, &h, s, parts[s].p, parts[s].n, err);
	u->compression = h.compression;
	u->len = h.tar_len;
	u->in_len = in_len;
	r->tags.len = h.about.blob_len;
	*about = h.about;
	if (rc == 0 && r->tags.n_tags)
		rc = take_tag_key(r, &h, err);
	if (rc == 0 && h.version >= VERSION_APART)
		rc = take_apart(r, &h, err);
	ck_wipe(&h, sizeof h);
	return rc;
}

/* The one zstd frame that P is, into memory of its own. */
static int decompress(void **out, size_t *len, const void *p, size_t nbytes, struct ck_err *err)
{
	unsigned long long n = ZSTD_getFrameContentSize(p, nbytes);

	if (n == ZSTD_CONTENTSIZE_ERROR || n == ZSTD_CONTENTSIZE_UNKNOWN || n > CK_INDEXFILE_MAX)
		return ck_fail(err, -EBADMSG, "not a layer index: no zstd frame of a known size");
	void *whole = malloc(n ? (size_t)n : 1);
	if (!whole)
		return ck_nomem(err, "opening a layer's index");
	size_t got = ZSTD_decompress(whole, (size_t)n, p, nbytes);
	if (ZSTD_isError(got) || got != n) {
		ck_wipe(whole, (size_t)n); /* it may hold the key of the chunk tags */
		free(whole);
		return ck_fail(err, -EBADMSG, "the index does not decompress");
	}
	*out = whole;
	*len = got;
	return 0;
}

int ck_indexfile_unpack(struct ck_pass_result *out, struct ck_indexfile_about *about,
			uint64_t in_len, const void *p, size_t nbytes, struct ck_err *err)
{
	struct ck_pass_result r = { 0 };
	size_t len = 0;
	int rc = decompress(&r.whole, &len, p, nbytes, err);

	if (rc < 0)
		return rc;
	rc = point_into(&r, about, len, in_len, err);
	if (rc == 0)
		rc = ck_units_check(&r.units, err);
	if (rc == 0)
		rc = ck_index_check(&r.index, r.units.len, err);
	if (rc < 0)
		ck_pass_result_free(&r);
	else
		*out = r;
	return rc;
}
