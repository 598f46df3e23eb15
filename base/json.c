#include "base/json.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>

#include "base/file.h"

enum {
	ARENA_TEXT_MAX = 16 << 10,
	/* What one document may take of the arena, which all threads share. */
	ARENA_ROOM = 64 << 10,
};

/* What the document that this thread parses may still allocate. A short text of nothing but
 * "{}," would otherwise take eighty times its length. */
static _Thread_local struct {
	bool active, arena;
	size_t left;
	bool spent, exhausted; /* why an allocation failed: past LEFT, or no memory */
} room;

static void *json_alloc(size_t nbytes)
{
	if (!room.active)
		return malloc(nbytes);
	if (nbytes > room.left) {
		room.spent = true;
		return NULL;
	}
	room.left -= nbytes;
	void *p = room.arena ? ck_secret_alloc(nbytes) : malloc(nbytes);
	room.exhausted |= !p;
	return p;
}

static void json_release(void *p)
{
	if (CRYPTO_secure_allocated(p))
		OPENSSL_secure_free(p); /* wipes all of it */
	else
		ck_wipe_free(p);
}

/* Before main, as jansson asks: no value may be older than its allocator. */
__attribute__((constructor)) static void set_allocator(void)
{
	json_set_alloc_funcs(json_alloc, json_release);
}

static json_t *parse(const void *p, size_t nbytes, bool arena, json_error_t *je)
{
	/* Dense documents that are meant take a dozen times their length (bytes as an array
	 * of integers), but then they are short. */
	size_t left = arena ? ARENA_ROOM : 8 * nbytes + ((size_t)4 << 20);

	room = (__typeof__(room)){ .active = true, .arena = arena, .left = left };
	json_t *j = json_loadb(p ? p : "", nbytes, JSON_REJECT_DUPLICATES, je);
	room.active = false;
	return j;
}

/* Why parse failed, QUOTE being text of jansson's or "". */
static int unparsed(const char *name, const json_error_t *je, const char *quote, struct ck_err *err)
{
	if (room.exhausted)
		return ck_nomem(err, room.arena ? "in the arena for keys" : "reading JSON");
	if (room.spent)
		return ck_fail(err, -EFBIG, "%s has too many parts for its length", name);
	return ck_fail(err, -EBADMSG, "%s is not valid JSON%s%s (line %d, column %d)", name,
		       *quote ? ": " : "", quote, je->line, je->column);
}

int ck_json_parse(json_t **out, const void *p, size_t nbytes, const char *name, struct ck_err *err)
{
	json_error_t je;
	json_t *j = parse(p, nbytes, false, &je);
	if (!j)
		return unparsed(name, &je, je.text, err);
	*out = j;
	return 0;
}

int ck_json_parse_secret(json_t **out, const void *p, size_t nbytes, const char *name,
			 struct ck_err *err)
{
	json_error_t je;
	bool arena = nbytes <= ARENA_TEXT_MAX;
	json_t *j = parse(p, nbytes, arena, &je);
	if (!j && arena && room.spent)
		j = parse(p, nbytes, false, &je);
	if (!j)
		return unparsed(name, &je, "", err);
	*out = j;
	return 0;
}

int ck_json_file(json_t **out, const char *path, size_t max, struct ck_err *err)
{
	CK_BUF b = { .max = max };
	int rc = ck_file_read(&b, path, err);
	return rc < 0 ? rc : ck_json_parse(out, b.data, b.len, path, err);
}

static int add_chunk(const char *p, size_t nbytes, void *b)
{
	return ck_buf_add(b, p, nbytes, NULL);
}

int ck_json_dump(struct ck_buf *b, const json_t *j, struct ck_err *err)
{
	if (json_dump_callback(j, add_chunk, b, JSON_COMPACT | JSON_ENCODE_ANY) < 0)
		return ck_nomem(err, "writing JSON");
	return 0;
}

json_t *ck_json_text(const char *s)
{
	json_t *j = json_string(s);
	CK_AUTO(ck_freep) char *ascii = j ? NULL : strdup(s);

	if (!ascii)
		return j;
	for (char *c = ascii; *c; c++)
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	return json_string(ascii);
}

/* The value at KEY, or NULL when absent, null, or OBJ is no object. */
static const json_t *value(const json_t *obj, const char *key)
{
	const json_t *v = json_object_get(obj, key);
	return json_is_null(v) ? NULL : v;
}

static int missing(bool required, const char *key, struct ck_err *err)
{
	return required ? ck_fail(err, -EBADMSG, "\"%s\" is missing", key) : 0;
}

int ck_json_str(const char **out, const json_t *obj, const char *key, bool required,
		struct ck_err *err)
{
	const json_t *v = value(obj, key);

	*out = NULL;
	if (!v)
		return missing(required, key, err);
	if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v))
		return ck_fail(err, -EBADMSG, "\"%s\" is not a string", key);
	*out = json_string_value(v);
	return 0;
}

int ck_json_obj(json_t **out, const json_t *obj, const char *key, bool required, struct ck_err *err)
{
	const json_t *v = value(obj, key);

	*out = NULL;
	if (!v)
		return missing(required, key, err);
	if (!json_is_object(v))
		return ck_fail(err, -EBADMSG, "\"%s\" is not an object", key);
	*out = json_object_get(obj, key);
	return 0;
}

int ck_json_arr(json_t **out, const json_t *obj, const char *key, bool required, struct ck_err *err)
{
	const json_t *v = value(obj, key);

	*out = NULL;
	if (!v)
		return missing(required, key, err);
	if (!json_is_array(v))
		return ck_fail(err, -EBADMSG, "\"%s\" is not an array", key);
	*out = json_object_get(obj, key);
	return 0;
}

int ck_json_u64(uint64_t *out, const json_t *obj, const char *key, bool required,
		struct ck_err *err)
{
	const json_t *v = value(obj, key);

	if (!v)
		return missing(required, key, err);
	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return ck_fail(err, -EBADMSG, "\"%s\" is not a whole number >= 0", key);
	*out = (uint64_t)json_integer_value(v);
	return 0;
}

int ck_json_bool(bool *out, const json_t *obj, const char *key, bool required, struct ck_err *err)
{
	const json_t *v = value(obj, key);

	if (!v)
		return missing(required, key, err);
	if (!json_is_boolean(v))
		return ck_fail(err, -EBADMSG, "\"%s\" is neither true nor false", key);
	*out = json_is_true(v);
	return 0;
}

int ck_json_b64(struct ck_buf *out, const json_t *obj, const char *key, enum ck_b64 form,
		bool required, struct ck_err *err)
{
	const char *s;
	int rc = ck_json_str(&s, obj, key, required, err);
	if (rc < 0 || !s)
		return rc;
	rc = ck_b64_decode(out, form, s, strlen(s), err);
	return rc < 0 ? ck_wrap(err, "\"%s\"", key) : 0;
}

int ck_json_only(const json_t *obj, const char *const *allowed, const char *name,
		 struct ck_err *err)
{
	const char *key;
	json_t *v;

	json_object_foreach ((json_t *)(uintptr_t)obj, key, v) {
		const char *const *a = allowed;
		while (*a && strcmp(*a, key) != 0)
			a++;
		if (!*a)
			return ck_fail(err, -EINVAL, "%s: unknown key \"%s\"", name, key);
	}
	return 0;
}
