#include "tar/sealed.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/text.h"
#include "tar/cipher/chunked.h"
#include "tar/index/check.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "indexes are used as they lie");
/* The layout of the file is that of these structs: version 2 begins where one changes. */
_Static_assert(sizeof(struct ck_entry) == 80 && sizeof(struct ck_extent) == 24 &&
		   sizeof(struct ck_xattr) == 16 && sizeof(struct ck_point) == 32 &&
		   sizeof(struct ck_unit_start) == 16,
	       "an element of the index changed its size");

static const char magic[8] = "CKINDEX";

enum section { ENTRIES, EXTENTS, XATTRS, HEAP, POINTS, UNITS, WINDOWS, TAGS, N_SECTIONS };

static const size_t element[N_SECTIONS] = {
	[ENTRIES] = sizeof(struct ck_entry),
	[EXTENTS] = sizeof(struct ck_extent),
	[XATTRS] = sizeof(struct ck_xattr),
	[HEAP] = 1,
	[POINTS] = sizeof(struct ck_point),
	[UNITS] = sizeof(struct ck_unit_start),
	[WINDOWS] = 1,
	[TAGS] = CK_TAG_LEN,
};

struct header {
	char magic[8];
	uint32_t version, compression;
	uint8_t digest[32], diff_id[32], hmac[32];
	uint64_t blob_len, tar_len;
	uint8_t tag_key[32];
	struct {
		uint64_t off, n; /* from the header's start; elements */
	} section[N_SECTIONS];
};

/* The context that binds an index to its blob. */
static void set_context(struct ck_chunked_context *c, char text[96], const uint8_t digest[32])
{
	size_t n = sizeof "cloakfs/index/v1"; /* with its NUL */

	memcpy(text, "cloakfs/index/v1", n);
	ck_digest_str(text + n, digest);
	*c = (struct ck_chunked_context){ text, n + CK_DIGEST_STR - 1 };
}

static int add_section(struct ck_buf *out, struct header *h, enum section s, const void *p,
		       size_t n, struct ck_err *err)
{
	static const uint8_t zeros[8];
	int rc = ck_buf_add(out, zeros, (8 - out->len % 8) % 8, err);

	h->section[s].off = out->len;
	h->section[s].n = n;
	return rc < 0 ? rc : ck_buf_add(out, p, n * element[s], err);
}

static int pack(struct ck_buf *out, const struct ck_pass_result *what,
		const struct ck_layer_spec *spec, struct ck_err *err)
{
	const struct ck_index *x = &what->index;
	const struct ck_units *u = &what->units;
	struct header h = { .version = 1,
			    .compression = u->compression,
			    .blob_len = what->tags.len,
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
		[WINDOWS] = { u->windows, u->windows_len },
		[TAGS] = { what->tags.tags, what->tags.n_tags },
	};
	memcpy(h.magic, magic, sizeof magic);
	memcpy(h.digest, spec->digest, 32);
	memcpy(h.diff_id, spec->diff_id, 32);
	memcpy(h.hmac, spec->key->hmac, 32);
	memcpy(h.tag_key, what->tags.key.data, 32);
	int rc = ck_buf_add(out, &h, sizeof h, err);
	for (int s = 0; rc == 0 && s < N_SECTIONS; s++)
		rc = add_section(out, &h, s, parts[s].p, parts[s].n, err);
	if (rc == 0)
		memcpy(out->data, &h, sizeof h);
	ck_wipe(&h, sizeof h);
	return rc;
}

int ck_sealed_write(struct ck_buf *out, const struct ck_pass_result *what,
		    const struct ck_layer_spec *spec, struct ck_err *err)
{
	CK_BUF plain = { .max = CK_SEALED_MAX };
	struct ck_chunked_context context;
	char text[96];
	int rc = pack(&plain, what, spec, err);

	if (rc < 0)
		return rc;
	set_context(&context, text, spec->digest);
	size_t n = (size_t)ck_chunked_sealed_len(plain.len);
	rc = ck_buf_reserve(out, n, err);
	if (rc == 0)
		rc = ck_chunked_seal_all(spec->key->symkey, &context, plain.data, plain.len,
					 out->data + out->len, err);
	if (rc == 0)
		out->len += n;
	return rc;
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

static int check_header(const struct header *h, const struct ck_layer_spec *spec, uint64_t blob_len,
			struct ck_err *err)
{
	if (memcmp(h->magic, magic, sizeof magic) != 0 || h->version != 1)
		return ck_fail(err, -EBADMSG, "not a layer index of version 1");
	if (memcmp(h->digest, spec->digest, 32) != 0 || h->blob_len != blob_len)
		return ck_fail(err, -EBADMSG, "the index is another blob's");
	if (memcmp(h->hmac, spec->key->hmac, 32) != 0)
		return ck_fail(err, -EBADMSG,
			       "HMAC check failed: the index is of another ciphertext than the "
			       "manifest says");
	if (memcmp(h->diff_id, spec->diff_id, 32) != 0)
		return ck_fail(err, -EBADMSG,
			       "diff_id check failed: the index is of another tar stream than the "
			       "image's config says");
	if (h->compression > CK_COMPRESSION_ZSTD || h->tar_len > INT64_MAX)
		return ck_fail(err, -EBADMSG, "the index is malformed");
	return 0;
}

/* Points R's tables into WHOLE. */
static int unpack(struct ck_pass_result *r, uint8_t *whole, size_t len,
		  const struct ck_layer_spec *spec, uint64_t blob_len, struct ck_err *err)
{
	struct header h;
	struct ck_index *x = &r->index;
	struct ck_units *u = &r->units;

	if (len < sizeof h)
		return ck_fail(err, -EBADMSG, "the index is shorter than its header");
	memcpy(&h, whole, sizeof h);
	ck_wipe(whole + offsetof(struct header, tag_key), sizeof h.tag_key);
	int rc = check_header(&h, spec, blob_len, err);
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
	};
	for (int s = 0; rc == 0 && s < N_SECTIONS; s++)
		rc = section(whole, len, &h, s, parts[s].p, parts[s].n, err);
	u->compression = h.compression;
	u->len = h.tar_len;
	u->in_len = r->tags.len = blob_len;
	if (rc == 0)
		rc = ck_secret_new(&r->tags.key, sizeof h.tag_key, err);
	if (rc == 0)
		memcpy(r->tags.key.data, h.tag_key, sizeof h.tag_key);
	ck_wipe(&h, sizeof h);
	return rc < 0 ? rc : ck_tags_ready(&r->tags, err);
}

static int check_all(const struct ck_pass_result *r, struct ck_err *err)
{
	uint64_t n_tags = r->tags.len / CK_TAG_CHUNK + (r->tags.len % CK_TAG_CHUNK != 0);

	if (r->tags.n_tags != n_tags)
		return ck_fail(err, -EBADMSG, "the index has the wrong number of chunk tags");
	int rc = ck_units_check(&r->units, err);
	return rc < 0 ? rc : ck_index_check(&r->index, r->units.len, err);
}

int ck_sealed_read(struct ck_pass_result *out, const struct ck_layer_spec *spec, uint64_t blob_len,
		   const void *p, size_t nbytes, struct ck_err *err)
{
	struct ck_pass_result r = { 0 };
	struct ck_chunked_context context;
	char text[96];
	uint64_t len;
	int rc = ck_chunked_plain_len(nbytes, &len, err);

	if (rc < 0)
		return rc;
	r.whole = malloc(len ? len : 1);
	if (!r.whole)
		return ck_nomem(err, "opening a layer's index");
	set_context(&context, text, spec->digest);
	rc = ck_chunked_unseal_all(spec->key->symkey, &context, p, nbytes, r.whole, err);
	if (rc == 0)
		rc = unpack(&r, r.whole, (size_t)len, spec, blob_len, err);
	if (rc == 0)
		rc = check_all(&r, err);
	if (rc < 0)
		ck_pass_result_free(&r);
	else
		*out = r;
	return rc;
}
