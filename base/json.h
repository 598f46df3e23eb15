/*
 * json - jansson (RFC 8259) with our limits and our errors.
 *
 * Documents come from images, registries and services: duplicate keys are
 * errors (two readers must not see two meanings), depth is jansson's 2048, the
 * size is the caller's buffer, and what is made of it is at most 8 times that size and
 * 4 MiB. Objects are counted references: ck_json_freep.
 */
#ifndef CK_JSON_H
#define CK_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/text.h"

static inline void ck_json_freep(json_t **j)
{
	json_decref(*j);
}

#define CK_JSON CK_AUTO(ck_json_freep) json_t

/* NAME says in errors what was parsed. *OUT is the caller's reference.
 * Errors: -EBADMSG, -EFBIG (more parts than any real document of its size has), -ENOMEM. */
CK_MUST_CHECK int ck_json_parse(json_t **out, const void *p, size_t nbytes, const char *name,
				struct ck_err *err);

/*
 * The same for a document with keys in it: the error says where but quotes
 * nothing, and the values live in secret memory when text and values are small, up to
 * 16 and 64 KiB (past that in ordinary memory: no key's document is that large). All JSON
 * is wiped when freed.
 * Errors: as ck_json_parse; -ENOMEM also when the arena is full.
 */
CK_MUST_CHECK int ck_json_parse_secret(json_t **out, const void *p, size_t nbytes, const char *name,
				       struct ck_err *err);

/* Parses the file PATH of at most MAX bytes. */
CK_MUST_CHECK int ck_json_file(json_t **out, const char *path, size_t max, struct ck_err *err);

/* Appends the compact text of J to B, keys in insertion order. */
CK_MUST_CHECK int ck_json_dump(struct ck_buf *b, const json_t *j, struct ck_err *err);

/* S as a value; bytes of it that are not ASCII become '?' where S is not UTF-8. NULL: no memory. */
json_t *ck_json_text(const char *s);

/*
 * The string at KEY of OBJ, borrowed from OBJ. NULL in *OUT when absent (or null)
 * and not REQUIRED. Errors: -EBADMSG when missing and required, when not a string,
 * when it holds a NUL.
 */
CK_MUST_CHECK int ck_json_str(const char **out, const json_t *obj, const char *key, bool required,
			      struct ck_err *err);

/* The object / array at KEY, borrowed; NULL when absent or null and not REQUIRED. */
CK_MUST_CHECK int ck_json_obj(json_t **out, const json_t *obj, const char *key, bool required,
			      struct ck_err *err);
CK_MUST_CHECK int ck_json_arr(json_t **out, const json_t *obj, const char *key, bool required,
			      struct ck_err *err);

/* The integer >= 0 at KEY; *OUT untouched when absent and not REQUIRED. */
CK_MUST_CHECK int ck_json_u64(uint64_t *out, const json_t *obj, const char *key, bool required,
			      struct ck_err *err);
CK_MUST_CHECK int ck_json_bool(bool *out, const json_t *obj, const char *key, bool required,
			       struct ck_err *err);

/* Appends the decoded base64 string at KEY to OUT; as ck_json_str for absence. */
CK_MUST_CHECK int ck_json_b64(struct ck_buf *out, const json_t *obj, const char *key,
			      enum ck_b64 form, bool required, struct ck_err *err);

/* Errors: -EINVAL naming the first key of OBJ that is not in ALLOWED (NULL-ended). */
CK_MUST_CHECK int ck_json_only(const json_t *obj, const char *const *allowed, const char *name,
			       struct ck_err *err);

#endif
