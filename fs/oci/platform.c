#include "fs/oci/platform.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/json.h"

#define WORD_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

void ck_platform_host(struct ck_platform *out)
{
	static const struct {
		const char *machine;
		struct ck_platform platform;
	} known[] = {
		{ "x86_64", { "linux", "amd64", "" } },
		{ "aarch64", { "linux", "arm64", "v8" } },
		{ "armv7l", { "linux", "arm", "v7" } },
		{ "armv6l", { "linux", "arm", "v6" } },
		{ "i386", { "linux", "386", "" } },
		{ "i686", { "linux", "386", "" } },
		{ "loongarch64", { "linux", "loong64", "" } },
	};
	struct utsname u = { 0 };

	(void)uname(&u);
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		if (strcmp(u.machine, known[i].machine) == 0) {
			*out = known[i].platform;
			return;
		}
	}
	/* riscv64, ppc64le and s390x are called the same by both. */
	*out = (struct ck_platform){ .os = "linux" };
	snprintf(out->arch, sizeof out->arch, "%.19s", u.machine);
}

/* Copies S[0..LEN) when it can be a name. */
static bool word(char out[20], const char *s, size_t len)
{
	if (len >= 20 || strspn(s, WORD_CHARS) < len)
		return false;
	memcpy(out, s, len);
	out[len] = 0;
	return true;
}

int ck_platform_parse(struct ck_platform *out, const char *text, struct ck_err *err)
{
	struct ck_platform p = { 0 };
	const char *arch = strchr(text, '/');
	const char *variant = arch ? strchr(arch + 1, '/') : NULL;
	const char *end = text + strlen(text);
	const char *arch_end = variant ? variant : end;

	if (!arch || !word(p.os, text, (size_t)(arch - text)) ||
	    !word(p.arch, arch + 1, (size_t)(arch_end - arch - 1)) || !p.os[0] || !p.arch[0] ||
	    (variant && !word(p.variant, variant + 1, (size_t)(end - variant - 1))))
		return ck_fail(err, -EINVAL,
			       "platform \"%s\" is not OS/ARCHITECTURE[/VARIANT], as in "
			       "linux/amd64 or linux/arm64/v8",
			       text);
	*out = p;
	return 0;
}

int ck_platform_read(struct ck_platform *out, const json_t *obj, struct ck_err *err)
{
	struct ck_platform p = { 0 };
	const struct {
		const char *key;
		char *to;
	} members[] = { { "os", p.os }, { "architecture", p.arch }, { "variant", p.variant } };

	for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
		const char *s;
		int rc = ck_json_str(&s, obj, members[i].key, false, err);
		if (rc < 0)
			return rc;
		if (s && !word(members[i].to, s, strlen(s)))
			return ck_fail(err, -EBADMSG, "\"%s\" is \"%.40s\"", members[i].key, s);
	}
	*out = p;
	return 0;
}

void ck_platform_str(char out[CK_PLATFORM_STR], const struct ck_platform *p)
{
	if (!p->os[0] && !p->arch[0]) {
		out[0] = 0;
		return;
	}
	snprintf(out, CK_PLATFORM_STR, "%s/%s%s%s", p->os, p->arch, p->variant[0] ? "/" : "",
		 p->variant);
}

/* The N of variant "vN", also where none is written; 0 for anything else. */
static int generation(const struct ck_platform *p)
{
	const char *v = p->variant;

	if (!v[0]) {
		if (strcmp(p->arch, "arm64") == 0)
			return 8;
		if (strcmp(p->arch, "arm") == 0)
			return 7;
		return strcmp(p->arch, "amd64") == 0;
	}
	return v[0] == 'v' && v[1] >= '1' && v[1] <= '9' && !v[2] ? v[1] - '0' : 0;
}

int ck_platform_rank(const struct ck_platform *want, const struct ck_platform *offers)
{
	if (strcmp(want->os, offers->os) != 0 || strcmp(want->arch, offers->arch) != 0)
		return -1;
	int have = generation(want), needs = generation(offers);
	if (strcmp(want->variant, offers->variant) == 0 || (have && have == needs))
		return 10;
	return have && needs && needs < have ? needs : -1;
}
