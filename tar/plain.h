/*
 * plain - a verified blob as a reader of its decrypted (still compressed) bytes.
 *
 * Every read fetches whole chunks of ciphertext and checks their tags before
 * anything is decrypted. A chunk that differs is fetched afresh once: a cache or a
 * connection may have failed where the origin has not.
 */
#ifndef CK_PLAIN_H
#define CK_PLAIN_H

#include "base/reader.h"
#include "tar/cipher/tags.h"
#include "tar/layer.h"

/*
 * Opens the view of BLOB; all arguments are borrowed and must outlive it. KEY may be
 * NULL (a plain layer). NAME says in the log which layer; in errors the caller does.
 * Reads give -EIO when a chunk's tag differs twice. Errors here: -ENOMEM.
 */
CK_MUST_CHECK int ck_plain_open(struct ck_reader **out, struct ck_reader *blob,
				const struct ck_blob_key *key, const struct ck_tags *tags,
				const char *name, struct ck_err *err);

#endif
