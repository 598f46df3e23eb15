#include "fs/oci/reference.h"

#include <errno.h>
#include <string.h>

#include "fs/oci/dockername.h"

#define HOW                                                                                        \
	"write docker://HOST/NAME[:TAG], oci:DIR[:REF] or dir:DIR, with @sha256:... behind it to " \
	"pin a digest"

static int bad_pin(const char *text, struct ck_err *err)
{
	return ck_fail(err, -EINVAL, "image \"%s\": what follows @ is not sha256:<64 hex>", text);
}

/* Takes a trailing "@sha256:<hex>" off TEXT. */
static int take_pin(char *text, char pin[CK_DIGEST_STR], struct ck_err *err)
{
	char *at = strrchr(text, '@');
	uint8_t raw[CK_SHA256_LEN];

	if (!at || strncmp(at, "@sha256:", 8) != 0)
		return 0;
	if (ck_digest_parse(raw, at + 1, NULL) < 0)
		return bad_pin(text, err);
	memcpy(pin, at + 1, CK_DIGEST_STR);
	*at = 0;
	return 0;
}

static int parse_docker(struct ck_reference *r, const char *whole, struct ck_err *err)
{
	const char *text = whole + 7, *at = strrchr(text, '@');

	r->transport = CK_TRANSPORT_DOCKER;
	if (strncmp(text, "//", 2) != 0 || !text[2])
		return ck_fail(err, -EINVAL, "image \"docker:%s\" names nothing: " HOW, text);
	/* Of another algorithm, such as sha512; directories may have an @ in their names. */
	if (at && !strchr(at, '/'))
		return bad_pin(whole, err);
	int rc = ck_dockername_split(text + 2, &r->host, &r->repo, &r->name, err);
	if (rc < 0)
		return ck_wrap(err, "image docker:%s", text);
	if (!r->name && !r->pin[0] && !(r->name = strdup("latest")))
		return ck_nomem(err, "naming an image");
	return 0;
}

static int parse(struct ck_reference *r, char *text, struct ck_err *err)
{
	int rc = take_pin(text, r->pin, err);
	char *dir = text + 4, *name = NULL;

	if (rc < 0)
		return rc;
	if (strncmp(text, "oci:", 4) == 0) {
		r->transport = CK_TRANSPORT_OCI;
		name = strchr(dir, ':');
		if (name)
			*name++ = 0;
	} else if (strncmp(text, "dir:", 4) == 0) {
		r->transport = CK_TRANSPORT_DIR;
	} else if (strncmp(text, "docker:", 7) == 0) {
		return parse_docker(r, text, err);
	} else {
		return ck_fail(err, -ENOTSUP, "image \"%s\" is of no kind that is known: " HOW,
			       text);
	}
	/* An empty REF is most often an unset variable, and would pick any image. */
	if (!*dir || (name && !*name))
		return ck_fail(err, -EINVAL, "image \"%s\" has an empty %s: " HOW, text,
			       *dir ? "REF" : "DIR");
	r->dir = strdup(dir);
	r->name = name ? strdup(name) : NULL;
	return !r->dir || (name && !r->name) ? ck_nomem(err, "naming an image") : 0;
}

int ck_reference_parse(struct ck_reference *out, const char *text, struct ck_err *err)
{
	struct ck_reference r = { 0 };
	CK_AUTO(ck_freep) char *copy = strdup(text);

	if (!copy)
		return ck_nomem(err, "naming an image");
	int rc = parse(&r, copy, err);
	if (rc < 0)
		ck_reference_free(&r);
	else
		*out = r;
	return rc;
}

bool ck_reference_remote(const char *text)
{
	return strncmp(text, "docker:", 7) == 0;
}

void ck_reference_free(struct ck_reference *r)
{
	free(r->dir);
	free(r->host);
	free(r->repo);
	free(r->name);
	*r = (struct ck_reference){ 0 };
}
