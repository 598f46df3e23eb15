/* tmplayout - image layouts in a throw-away directory, well-formed or not. */
#ifndef TMPLAYOUT_H
#define TMPLAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

#define TMP_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define TMP_INDEX    "application/vnd.oci.image.index.v1+json"
#define TMP_CONFIG   "application/vnd.oci.image.config.v1+json"
#define TMP_TAR	     "application/vnd.oci.image.layer.v1.tar"

struct tmplayout {
	char dir[64];
};

struct tmpblob {
	char digest[CK_DIGEST_STR];
	size_t size;
};

/* Every function fails the test when the disk does. */
void tmplayout_make(struct tmplayout *t);
void tmplayout_remove(struct tmplayout *t);

/* Writes DIR/NAME; NAME may hold directories, which are made. */
void tmplayout_file(const struct tmplayout *t, const char *name, const void *p, size_t nbytes);

/* Writes P as a blob of an OCI layout. */
struct tmpblob tmplayout_blob(const struct tmplayout *t, const void *p, size_t nbytes);
struct tmpblob tmplayout_text(const struct tmplayout *t, const char *text);

/* "<dir>/blobs/sha256/<hex>" into OUT. */
void tmplayout_path(char out[256], const struct tmplayout *t, const struct tmpblob *b);

/* A descriptor's members, without braces, as a string that lives until the next few
 * calls. */
const char *tmplayout_descriptor(const char *media_type, const struct tmpblob *b);

/* TEMPLATE with every "$X" replaced by VALUES[i] where NAMES[i] is X; the same life. */
const char *tmplayout_fill(const char *template, const char *names, const char *const *values);

/* printf, the same life. */
const char *tmplayout_fmt(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
