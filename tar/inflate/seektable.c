#include "tar/inflate/seektable.h"

#include <errno.h>
#include <stdbool.h>

enum { FRAMES_MAX = 1 << 27, ENTRY = 8, ENTRY_SUMMED = 12, NIBBLE = 0x0e };
#define SKIPPABLE_MAGIC 0x184D2A50u
#define SEEKABLE_MAGIC	0x8F92EAB1u

static void put32(uint8_t *out, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		out[i] = (uint8_t)(v >> (8 * i));
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

void ck_skippable_header(uint8_t out[CK_SKIPPABLE_HEADER], unsigned nibble, uint32_t nbytes)
{
	put32(out, SKIPPABLE_MAGIC + nibble);
	put32(out + 4, nbytes);
}

int64_t ck_skippable_len(const uint8_t in[CK_SKIPPABLE_HEADER], unsigned nibble)
{
	return get32(in) == SKIPPABLE_MAGIC + nibble ? (int64_t)get32(in + 4) : -1;
}

int ck_seektable_write(struct ck_buf *out, const struct ck_seek_frame *frames, size_t n,
		       struct ck_err *err)
{
	uint8_t part[CK_SEEKTABLE_FOOTER];

	if (n >= FRAMES_MAX)
		return ck_fail(err, -EFBIG, "%zu frames are too many for a seek table", n);
	ck_skippable_header(part, NIBBLE, (uint32_t)(n * ENTRY + CK_SEEKTABLE_FOOTER));
	int rc = ck_buf_add(out, part, CK_SKIPPABLE_HEADER, err);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		put32(part, frames[i].in_len);
		put32(part + 4, frames[i].out_len);
		rc = ck_buf_add(out, part, ENTRY, err);
	}
	put32(part, (uint32_t)n);
	part[4] = 0; /* no checksums: the chunks around it are authenticated */
	put32(part + 5, SEEKABLE_MAGIC);
	return rc < 0 ? rc : ck_buf_add(out, part, CK_SEEKTABLE_FOOTER, err);
}

/* Bytes of an entry, 0 where reserved bits are set. */
static size_t entry_len(uint8_t descriptor)
{
	if (descriptor & 0x7c)
		return 0;
	return descriptor & 0x80 ? ENTRY_SUMMED : ENTRY;
}

uint64_t ck_seektable_len(const uint8_t footer[CK_SEEKTABLE_FOOTER])
{
	size_t entry = entry_len(footer[4]);
	uint32_t n = get32(footer);

	if (get32(footer + 5) != SEEKABLE_MAGIC || !entry || n >= FRAMES_MAX)
		return 0;
	return CK_SKIPPABLE_HEADER + (uint64_t)n * entry + CK_SEEKTABLE_FOOTER;
}

int ck_seektable_last(struct ck_seek_frame *out, const uint8_t *p, size_t nbytes, uint64_t in_len,
		      struct ck_err *err)
{
	size_t least = CK_SKIPPABLE_HEADER + CK_SEEKTABLE_FOOTER;
	const uint8_t *footer = nbytes < least ? NULL : p + nbytes - CK_SEEKTABLE_FOOTER;
	uint64_t sum = 0;

	if (!footer || ck_seektable_len(footer) != nbytes ||
	    ck_skippable_len(p, NIBBLE) != (int64_t)(nbytes - CK_SKIPPABLE_HEADER))
		return ck_fail(err, -EBADMSG, "not a zstd seek table");
	size_t entry = entry_len(footer[4]), n = get32(footer);
	for (size_t i = 0; i < n; i++) {
		const uint8_t *at = p + CK_SKIPPABLE_HEADER + i * entry;
		*out = (struct ck_seek_frame){ get32(at), get32(at + 4) };
		sum += out->in_len;
	}
	if (n == 0 || sum != in_len)
		return ck_fail(err, -EBADMSG, "the seek table is not this stream's");
	return 0;
}
