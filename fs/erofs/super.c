#include "fs/erofs/super.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "fs/erofs/format.h"

enum { UUID_OFF = 48, UUID_LEN = 16 };

/* A kernel that is given no files takes the names in here instead. */
static void put_device(uint8_t *p, const struct ck_plan *plan, uint32_t idx)
{
	bool patch = idx == plan->n_layers;
	uint64_t len = patch ? plan->patch.len : plan->tar_len[idx];
	char tag[EROFS_DEVICE_TAG] = "patch";

	if (!patch)
		snprintf(tag, sizeof tag, "%u.tar", idx);
	memcpy(p, tag, strlen(tag));
	ck_put_le32(p + EROFS_DEVICE_TAG, (uint32_t)(len / EROFS_BLOCK));
}

static void put_uuid(uint8_t *super, const uint8_t *bytes, uint64_t len)
{
	uint8_t digest[CK_SHA256_LEN];

	ck_sha256(digest, bytes, len);
	/* RFC 9562: version 8, the maker's own, and the usual variant. */
	digest[6] = (digest[6] & 0x0f) | 0x80;
	digest[8] = (digest[8] & 0x3f) | 0x80;
	memcpy(super + UUID_OFF, digest, UUID_LEN);
}

void ck_erofs_super_put(uint8_t *bytes, const struct ck_plan *p)
{
	uint8_t *super = bytes + EROFS_SUPER_OFF, *to = super, *devices = super + EROFS_SUPER_LEN;
	uint32_t features = EROFS_INCOMPAT_CHUNKS | (p->n_devices ? EROFS_INCOMPAT_DEVICES : 0);

	for (uint32_t i = 0; i < p->n_devices; i++)
		put_device(devices + (size_t)i * EROFS_DEVICE_LEN, p, i);
	to = ck_put_le32(to, EROFS_MAGIC);
	to = ck_put_le32(to, 0); /* no checksum: see ck_erofs_super_put */
	to = ck_put_le32(to, EROFS_COMPAT_MTIME);
	*to++ = EROFS_BLOCK_BITS;
	*to++ = 0; /* no longer a superblock */
	to = ck_put_le16(to, (uint16_t)p->nid[1]);
	to = ck_put_le64(to, p->tree->n_nodes);
	to = ck_put_le64(to, 0); /* when it was built: for shorter inodes */
	to = ck_put_le32(to, 0);
	to = ck_put_le32(to, (uint32_t)(p->len / EROFS_BLOCK));
	to = ck_put_le32(to, (uint32_t)(p->meta_off / EROFS_BLOCK));
	to = ck_put_le32(to, 0);	    /* shared attributes: none */
	to = ck_put_le64(to + UUID_LEN, 0); /* the UUID, below; the name of the volume */
	to = ck_put_le64(to, 0);
	to = ck_put_le32(to, features);
	to = ck_put_le16(to, 0); /* compression: none */
	to = ck_put_le16(to, (uint16_t)p->n_devices);
	ck_put_le16(to, p->n_devices ? (EROFS_SUPER_OFF + EROFS_SUPER_LEN) / EROFS_DEVICE_LEN : 0);
	put_uuid(super, bytes, p->len);
}
