#include "fs/registry/credhelper.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/cmdcall.h"
#include "base/file.h"
#include "base/json.h"

enum { HELPER_MS = 10000, ANSWER_MAX = 32 << 10, NAME_MAX_LEN = 100 };

int ck_creds_set(struct ck_secret *out, const char *s, size_t len, struct ck_err *err)
{
	ck_secret_free(out);
	int rc = ck_secret_new(out, len + 1, err);
	if (rc == 0)
		memcpy(out->data, s, len); /* zeroed when made */
	return rc;
}

/* What all helpers say where they have nothing: the library that they are made with says it. */
static bool says_none(const struct ck_buf *answer)
{
	return strstr(ck_buf_str(answer), "credentials not found in native keychain") != NULL;
}

static int take_answer(struct ck_creds *out, const struct ck_buf *answer, struct ck_err *err)
{
	CK_JSON *j = NULL;
	const char *user, *secret;
	int rc = ck_json_parse_secret(&j, answer->data, answer->len, "its answer", err);

	if (rc == 0)
		rc = ck_json_str(&user, j, "Username", true, err);
	if (rc == 0)
		rc = ck_json_str(&secret, j, "Secret", true, err);
	if (rc < 0)
		return rc;
	if (strcmp(user, "<token>") == 0)
		return ck_creds_set(&out->identity, secret, strlen(secret), err);
	rc = ck_creds_set(&out->user, user, strlen(user), err);
	return rc < 0 ? rc : ck_creds_set(&out->password, secret, strlen(secret), err);
}

int ck_credhelper_get(struct ck_creds *out, const char *name, const char *server,
		      uint64_t deadline_ms, const atomic_bool *cancel, struct ck_err *err)
{
	char program[sizeof "docker-credential-" + NAME_MAX_LEN];
	char get[] = "get", *argv[] = { program, get, NULL };
	CK_BUF answer = { .max = ANSWER_MAX };
	uint64_t end = ck_now_ms() + HELPER_MS;

	/* It comes from a file, and is no path. */
	for (const char *s = name; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr("-_.", *s))
			return ck_fail(err, -EBADMSG, "\"%.80s\" is no name of a helper", name);
	if (!*name || strlen(name) > NAME_MAX_LEN)
		return ck_fail(err, -EBADMSG, "\"%.80s\" is no name of a helper", name);
	snprintf(program, sizeof program, "docker-credential-%s", name);
	int rc = ck_cmdcall(argv, server, strlen(server), deadline_ms < end ? deadline_ms : end,
			    cancel, &answer, err);
	if (rc == -EIO && says_none(&answer))
		return ck_fail(err, -ENOENT, "%s has no credentials for %s", program, server);
	if (rc < 0) {
		ck_wrap(err, "credentials for %s", server);
		if (rc == -ENOMEM || rc == -ECANCELED)
			return rc;
		if (err)
			err->code = -EACCES;
		return -EACCES;
	}
	rc = take_answer(out, &answer, err);
	if (rc < 0)
		ck_wrap(err, "%s", program);
	return rc;
}
