/*
 * layout - the files of an image on disk: an OCI image layout, or skopeo's "dir".
 * Source: OCI image spec v1.1, image-layout.md; containers-transports(5), "dir:".
 * Names of blobs are made from checked digests only, and the last part of a path is
 * never a symbolic link: a layout that others can write must not lead elsewhere.
 */
#ifndef CK_LAYOUT_H
#define CK_LAYOUT_H

#include "base/buf.h"
#include "base/reader.h"
#include "fs/oci/manifest.h"
#include "fs/oci/reference.h"

enum { CK_LAYOUT_MAX_DOC = 4 << 20 }; /* bytes of a JSON document */

struct ck_layout {
	enum ck_transport transport;
	int fd; /* of the directory; owned */
};

/* Opens DIR and checks the version that it says it has. *OUT is the caller's to close.
 * Errors: errnos, -ENOTSUP. */
CK_MUST_CHECK int ck_layout_open(struct ck_layout *out, enum ck_transport transport,
				 const char *dir, struct ck_err *err);
void ck_layout_close(struct ck_layout *l);

/* Checks the version that an open directory says it has. Errors: -ENOENT (it says none),
 * -ENOTSUP, -EBADMSG, errnos. */
CK_MUST_CHECK int ck_layout_version(const struct ck_layout *l, struct ck_err *err);

/* Appends the document that starts an image: index.json, or a dir's manifest.json. */
const char *ck_layout_root_name(const struct ck_layout *l);
CK_MUST_CHECK int ck_layout_root(const struct ck_layout *l, struct ck_buf *out, struct ck_err *err);

/* Appends the document D names to OUT, whose max becomes what that needs. Errors: errnos,
 * -EBADMSG (size or digest differ), -EFBIG. */
CK_MUST_CHECK int ck_layout_doc(const struct ck_layout *l, const struct ck_descriptor *d,
				struct ck_buf *out, struct ck_err *err);

/* The same for any blob of at most MAX bytes. */
CK_MUST_CHECK int ck_layout_whole(const struct ck_layout *l, const struct ck_descriptor *d,
				  size_t max, struct ck_buf *out, struct ck_err *err);

/* The blob DIGEST of SIZE bytes; its contents are not checked here. *OUT is the
 * caller's to close. Errors: errnos, -EBADMSG (size differs). */
CK_MUST_CHECK int ck_layout_blob(const struct ck_layout *l, const uint8_t digest[CK_SHA256_LEN],
				 uint64_t size, struct ck_reader **out, struct ck_err *err);

#endif
