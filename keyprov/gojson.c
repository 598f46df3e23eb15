#include "keyprov/gojson.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

int ck_gojson_get(json_t **out, const json_t *obj, const char *name, struct ck_err *err)
{
	const char *key;
	json_t *v;

	*out = NULL;
	if (!obj || json_is_null(obj))
		return 0;
	if (!json_is_object(obj))
		return ck_fail(err, -EBADMSG, "what should hold \"%s\" is not an object", name);
	bool found = false;
	json_object_foreach ((json_t *)(uintptr_t)obj, key, v) {
		if (strcasecmp(key, name) != 0)
			continue;
		if (found)
			return ck_fail(err, -EBADMSG, "\"%s\" stands twice in one object", name);
		found = true;
		*out = json_is_null(v) ? NULL : v;
	}
	return 0;
}

static int too_big(const char *name, size_t max, struct ck_err *err)
{
	return ck_fail(err, -EFBIG, "\"%s\" holds more than %zu bytes", name, max);
}

static int from_ints(struct ck_secret *out, const json_t *v, const char *name, size_t max,
		     struct ck_err *err)
{
	size_t n = json_array_size(v);

	if (n > max)
		return too_big(name, max, err);
	int rc = ck_secret_new(out, n, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n; i++) {
		const json_t *b = json_array_get(v, i);
		if (!json_is_integer(b) || json_integer_value(b) < 0 || json_integer_value(b) > 255)
			return ck_fail(err, -EBADMSG, "\"%s\" holds something that is not a byte",
				       name);
		out->data[i] = (uint8_t)json_integer_value(b);
	}
	return 0;
}

static int from_text(struct ck_secret *out, const char *s, size_t len, const char *name, size_t max,
		     struct ck_err *err)
{
	int rc;

	if (len && s[0] == '{') {
		if (len > max)
			return too_big(name, max, err);
		if ((rc = ck_secret_new(out, len, err)) == 0)
			memcpy(out->data, s, len);
		return rc;
	}
	if (len / 4 > max / 3 + 1)
		return too_big(name, max, err);
	if (ck_b64_decode_secret(out, CK_B64_STD, s, len, err) < 0)
		return ck_wrap(err, "\"%s\"", name);
	return out->len > max ? too_big(name, max, err) : 0;
}

int ck_gojson_bytes(struct ck_secret *out, const json_t *v, const char *name, size_t max,
		    struct ck_err *err)
{
	if (!v || json_is_null(v))
		return ck_secret_new(out, 0, err);
	if (json_is_array(v))
		return from_ints(out, v, name, max, err);
	if (json_is_string(v))
		return from_text(out, json_string_value(v), json_string_length(v), name, max, err);
	return ck_fail(err, -EBADMSG, "\"%s\" is neither base64 nor an array of bytes", name);
}

int ck_gojson_add_bytes(struct ck_buf *b, const void *p, size_t nbytes, struct ck_err *err)
{
	const uint8_t *in = p;
	int rc = ck_buf_adds(b, "[", err);

	for (size_t i = 0; rc == 0 && i < nbytes; i++)
		rc = ck_buf_addf(b, err, i ? ",%u" : "%u", (unsigned)in[i]);
	return rc < 0 ? rc : ck_buf_adds(b, "]", err);
}
