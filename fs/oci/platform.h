/*
 * platform - which machine an image is for, in Go's words: "linux/arm64/v8".
 * Source: OCI image spec, image-index.md "platform" and the variants table.
 */
#ifndef CK_PLATFORM_H
#define CK_PLATFORM_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

enum { CK_PLATFORM_STR = 64 };

struct ck_platform {
	char os[20], arch[20], variant[20]; /* "" where not said */
};

/* Of the machine we run on. */
void ck_platform_host(struct ck_platform *out);

/* "os/arch[/variant]". Errors: -EINVAL. */
CK_MUST_CHECK int ck_platform_parse(struct ck_platform *out, const char *text, struct ck_err *err);

/* The members os, architecture and variant of OBJ, which may lack any. Errors: -EBADMSG. */
CK_MUST_CHECK int ck_platform_read(struct ck_platform *out, const json_t *obj, struct ck_err *err);

void ck_platform_str(char out[CK_PLATFORM_STR], const struct ck_platform *p);

/*
 * How well what an image OFFERS suits what we WANT: -1 not at all, else the higher the
 * better. A machine of variant v7 runs v7, v6 and v5; no variant means arm64/v8,
 * arm/v7, amd64/v1.
 */
int ck_platform_rank(const struct ck_platform *want, const struct ck_platform *offers);

#endif
