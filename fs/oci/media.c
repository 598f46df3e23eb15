#include "fs/oci/media.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define OCI_LAYER    "application/vnd.oci.image.layer.v1.tar"
#define OCI_FOREIGN  "application/vnd.oci.image.layer.nondistributable.v1.tar"
#define DOCKER_LAYER "application/vnd.docker.image.rootfs."

bool ck_media_is_index(const char *media_type)
{
	return strcmp(media_type, CK_MEDIA_INDEX) == 0 ||
	       strcmp(media_type, CK_MEDIA_DOCKER_LIST) == 0;
}

bool ck_media_is_manifest(const char *media_type)
{
	return strcmp(media_type, CK_MEDIA_MANIFEST) == 0 ||
	       strcmp(media_type, CK_MEDIA_DOCKER_MANIFEST) == 0;
}

/* What a layer's type starts with, what then stands before the compression, and OCI's word. */
static const struct {
	const char *start;
	char before;
	const char *oci;
} kinds[] = {
	{ OCI_LAYER, '+', OCI_LAYER },
	{ OCI_FOREIGN, '+', OCI_FOREIGN },
	{ DOCKER_LAYER "diff.tar", '.', OCI_LAYER },
	{ DOCKER_LAYER "foreign.diff.tar", '.', OCI_FOREIGN },
};

/* S[0..LEN) as a suffix of OCI's, NULL when it names no compression that is known. */
static const char *suffix_of(const char *s, size_t len)
{
	static const char *const known[] = { "+gzip", "+zstd" };

	for (size_t i = 0; i < 2; i++)
		if (strlen(known[i] + 1) == len && memcmp(known[i] + 1, s, len) == 0)
			return known[i];
	return NULL;
}

int ck_media_layer(char *out, size_t cap, const char *media_type, const char *compression,
		   struct ck_err *err)
{
	size_t len = strlen(media_type), enc = sizeof CK_MEDIA_ENCRYPTED - 1;
	const char *wanted = "", *base = NULL, *own = NULL;

	if (compression && strcmp(compression, "none") != 0)
		wanted = suffix_of(compression, strlen(compression));
	if (!wanted)
		return ck_fail(err, -EINVAL, "compression \"%.40s\" is not one of a layer's",
			       compression);
	if (len >= enc && strcmp(media_type + len - enc, CK_MEDIA_ENCRYPTED) == 0)
		len -= enc;
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0] && !own; i++) {
		size_t n = strlen(kinds[i].start);
		if (len < n || memcmp(media_type, kinds[i].start, n) != 0)
			continue;
		base = kinds[i].oci;
		if (len == n)
			own = "";
		else if (media_type[n] == kinds[i].before)
			own = suffix_of(media_type + n + 1, len - n - 1);
	}
	if (!own)
		return ck_fail(err, -ENOTSUP, "media type %.255s is not a layer's that is known",
			       media_type);
	int n = snprintf(out, cap, "%s%s", base, compression ? wanted : own);
	return n >= 0 && (size_t)n < cap ? 0 : ck_fail(err, -EMSGSIZE, "no room for a media type");
}
