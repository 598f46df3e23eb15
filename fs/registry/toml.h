/*
 * toml - the part of TOML that containerd's hosts.toml is written in, as JSON.
 * Source: TOML v1.0.0: comments, bare and quoted keys, [tables] with dotted names, basic and
 * literal strings on one line, booleans, integers, arrays. What else there is (dates, floats,
 * dotted keys, inline tables, [[arrays of tables]], strings over several lines) is refused, not
 * guessed at. All bytes may be hostile.
 */
#ifndef CK_TOML_H
#define CK_TOML_H

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"

/*
 * Parses TEXT[0..LEN); tables and keys stay in their order. NAME says in errors what was parsed.
 * *OUT is the caller's reference. Errors: -EBADMSG ("NAME line N: ..."), -ENOMEM.
 */
CK_MUST_CHECK int ck_toml_parse(json_t **out, const char *text, size_t len, const char *name,
				struct ck_err *err);

#endif
