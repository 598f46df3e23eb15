#include "tools/azsim/policy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"

enum { MAX_DEPTH = 16 };

/* A scalar as text, borrowed from J or written to SCRATCH; NULL for null, array, object. */
static const char *scalar(const json_t *j, char scratch[32])
{
	switch (json_typeof(j)) {
	case JSON_STRING:
		return json_string_value(j);
	case JSON_TRUE:
		return "true";
	case JSON_FALSE:
		return "false";
	case JSON_INTEGER:
		snprintf(scratch, 32, "%" JSON_INTEGER_FORMAT, json_integer_value(j));
		return scratch;
	case JSON_REAL:
		snprintf(scratch, 32, "%.17g", json_real_value(j));
		return scratch;
	default:
		return NULL;
	}
}

/* A claim or value as a number: exact when it is whole. */
struct number {
	bool whole;
	long long i; /* when whole */
	double d;
};

static bool number(const json_t *j, struct number *out)
{
	char scratch[32], *end;
	const char *s = scalar(j, scratch);

	if (!s || json_is_boolean(j) || !*s || strchr(" \t\n", *s))
		return false;
	errno = 0;
	out->i = strtoll(s, &end, 10);
	out->whole = *end == 0 && errno == 0;
	out->d = strtod(s, &end);
	return *end == 0;
}

/* Below, at or above zero as X is below, at or above Y. */
static int order(const struct number *x, const struct number *y)
{
	if (x->whole && y->whole)
		return (x->i > y->i) - (x->i < y->i);
	return (x->d > y->d) - (x->d < y->d);
}

static bool same(const json_t *have, const json_t *want)
{
	char a[32], b[32];
	const char *h = scalar(have, a), *w = scalar(want, b);
	struct number x, y;

	if (!h || !w)
		return false;
	if (json_is_boolean(have) || json_is_boolean(want))
		return strcasecmp(h, w) == 0;
	if ((json_is_number(have) || json_is_number(want)) && number(have, &x) && number(want, &y))
		return order(&x, &y) == 0;
	return strcmp(h, w) == 0;
}

static bool op_equals(const json_t *have, const json_t *want)
{
	return have && same(have, want);
}

static bool op_not_equals(const json_t *have, const json_t *want)
{
	return have && !same(have, want);
}

#define ORDER(name, op)                                                                            \
	static bool name(const json_t *have, const json_t *want)                                   \
	{                                                                                          \
		struct number x, y;                                                                \
		return have && number(have, &x) && number(want, &y) && order(&x, &y) op 0;         \
	}
ORDER(op_less, <)
ORDER(op_less_or_equals, <=)
ORDER(op_greater, >)
ORDER(op_greater_or_equals, >=)
#undef ORDER

static bool op_exists(const json_t *have, const json_t *want)
{
	char scratch[32];

	return (have != NULL) == (strcasecmp(scalar(want, scratch), "true") == 0);
}

static bool is_scalar(const json_t *j)
{
	char scratch[32];

	return scalar(j, scratch) != NULL;
}

static bool is_number(const json_t *j)
{
	struct number x;

	return number(j, &x);
}

static bool is_truth(const json_t *j)
{
	char scratch[32];
	const char *s = scalar(j, scratch);

	return s && !json_is_number(j) && (!strcasecmp(s, "true") || !strcasecmp(s, "false"));
}

struct op {
	const char *name, *sign;
	bool (*holds)(const json_t *have, const json_t *want); /* HAVE: NULL when absent */
	bool (*value_ok)(const json_t *want);
	const char *value_is;
};

static const struct op ops[] = {
	{ "equals", "=", op_equals, is_scalar, "a string, number or truth value" },
	{ "notEquals", "!=", op_not_equals, is_scalar, "a string, number or truth value" },
	{ "less", "<", op_less, is_number, "a number" },
	{ "lessOrEquals", "<=", op_less_or_equals, is_number, "a number" },
	{ "greater", ">", op_greater, is_number, "a number" },
	{ "greaterOrEquals", ">=", op_greater_or_equals, is_number, "a number" },
	{ "exists", "exists =", op_exists, is_truth, "true or false" },
};

static const struct op *find_op(const char *name)
{
	for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
		if (strcmp(ops[i].name, name) == 0)
			return &ops[i];
	return NULL;
}

/* The operator of a claim condition and its value. */
static const struct op *condition_op(const json_t *cond, const json_t **want)
{
	const char *key;
	json_t *v;

	json_object_foreach ((json_t *)(uintptr_t)cond, key, v) {
		const struct op *op = find_op(key);
		if (op) {
			*want = v;
			return op;
		}
	}
	return NULL;
}

static int check_list(const json_t *list, int depth, struct ck_err *err);

static int check_condition(const json_t *cond, int depth, struct ck_err *err)
{
	const json_t *want;

	if (!json_is_object(cond))
		return ck_fail(err, -EINVAL, "a condition is not an object");
	const json_t *claim = json_object_get(cond, "claim");
	if (!claim) {
		const json_t *any = json_object_get(cond, "anyOf");
		const json_t *all = json_object_get(cond, "allOf");
		if (json_object_size(cond) != 1 || (!any && !all))
			return ck_fail(err, -EINVAL,
				       "a condition is neither a claim, anyOf nor allOf");
		return check_list(any ? any : all, depth + 1, err);
	}
	const char *name = json_string_value(claim);
	if (!name || !*name)
		return ck_fail(err, -EINVAL, "a claim's name is not a string");
	const struct op *op = condition_op(cond, &want);
	if (json_object_size(cond) != 2 || !op)
		return ck_fail(err, -EINVAL, "the condition on claim %s has no single operator",
			       name);
	if (!op->value_ok(want))
		return ck_fail(err, -EINVAL, "%s of claim %s is not %s", op->name, name,
			       op->value_is);
	return 0;
}

static int check_list(const json_t *list, int depth, struct ck_err *err)
{
	size_t i;
	json_t *c;

	if (depth > MAX_DEPTH)
		return ck_fail(err, -EINVAL, "conditions are nested deeper than %d", MAX_DEPTH);
	if (!json_is_array(list) || json_array_size(list) == 0)
		return ck_fail(err, -EINVAL, "anyOf or allOf is not a list of conditions");
	json_array_foreach (list, i, c) {
		int rc = check_condition(c, depth, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int check_authority(const json_t *a, struct ck_err *err)
{
	const char *url = json_string_value(json_object_get(a, "authority"));
	const json_t *all = json_object_get(a, "allOf"), *any = json_object_get(a, "anyOf");

	if (!url || strncmp(url, "https://", 8) != 0)
		return ck_fail(err, -EINVAL, "an authority is not an https URL");
	if (json_object_size(a) != 2 || (!all && !any))
		return ck_fail(err, -EINVAL, "authority %s has not exactly one of allOf and anyOf",
			       url);
	return check_list(all ? all : any, 1, err);
}

int az_policy_check(const json_t *policy, struct ck_err *err)
{
	const char *version = json_string_value(json_object_get(policy, "version"));
	const json_t *list = json_object_get(policy, "anyOf");
	size_t i;
	json_t *a;

	if (!version || (strcmp(version, "1.0.0") != 0 && strcmp(version, "0.2") != 0))
		return ck_fail(err, -EINVAL, "the version is neither 1.0.0 nor 0.2");
	if (json_object_size(policy) != 2 || !json_is_array(list) || json_array_size(list) == 0)
		return ck_fail(err, -EINVAL, "there is no anyOf with authorities");
	json_array_foreach (list, i, a) {
		int rc = check_authority(a, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* The claim at PATH: a member of just that name, else one level down per dot. NULL: absent. */
static const json_t *find_claim(const json_t *claims, const char *path)
{
	const json_t *v = json_object_get(claims, path);

	for (const char *dot = strchr(path, '.'); !v && dot; dot = strchr(dot + 1, '.')) {
		char *head = strndup(path, (size_t)(dot - path));
		const json_t *inner = head ? json_object_get(claims, head) : NULL;
		free(head);
		if (json_is_object(inner))
			v = find_claim(inner, dot + 1);
	}
	return json_is_null(v) ? NULL : v;
}

static int evaluate_list(const json_t *list, bool any, const json_t *claims, struct ck_err *why);

/* 0, or -EACCES with "CLAIM SIGN WANTED, token has ACTUAL" in *WHY. */
static int evaluate(const json_t *cond, const json_t *claims, struct ck_err *why)
{
	const char *claim = json_string_value(json_object_get(cond, "claim"));
	const json_t *any = json_object_get(cond, "anyOf"), *want;

	if (!claim)
		return evaluate_list(any ? any : json_object_get(cond, "allOf"), any != NULL,
				     claims, why);
	const json_t *have = find_claim(claims, claim);
	const struct op *op = condition_op(cond, &want);
	if (op->holds(have, want))
		return 0;
	CK_BUF text = { 0 };
	char a[32], b[32];
	const char *h = have ? scalar(have, a) : "no such claim";
	if (!h && ck_json_dump(&text, have, NULL) == 0)
		h = ck_buf_str(&text);
	return ck_fail(why, -EACCES, "%s %s %s, token has %s", claim, op->sign, scalar(want, b), h);
}

static int evaluate_list(const json_t *list, bool any, const json_t *claims, struct ck_err *why)
{
	struct ck_err each = { 0 };
	CK_BUF all = { 0 };
	size_t i;
	json_t *c;

	json_array_foreach (list, i, c) {
		int rc = evaluate(c, claims, any ? &each : why);
		if (any && rc == 0)
			return 0;
		if (!any && rc < 0)
			return rc;
		if (any && ck_buf_addf(&all, why, "%s%s", i ? ", or " : "", each.msg) < 0)
			return -ENOMEM;
	}
	return any ? ck_fail(why, -EACCES, "%s", ck_buf_str(&all)) : 0;
}

/* A trailing slash makes no other authority. */
static bool same_authority(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);

	n -= n && a[n - 1] == '/';
	m -= m && b[m - 1] == '/';
	return n == m && strncmp(a, b, n) == 0;
}

int az_policy_trusts(const json_t *policy, const char *issuer, struct ck_err *err)
{
	CK_BUF known = { 0 };
	size_t i;
	json_t *a;

	json_array_foreach (json_object_get(policy, "anyOf"), i, a) {
		const char *url = json_string_value(json_object_get(a, "authority"));
		if (same_authority(url, issuer))
			return 0;
		int rc = ck_buf_addf(&known, err, "%s%s", i ? " or " : "", url);
		if (rc < 0)
			return rc;
	}
	return ck_fail(err, -EACCES, "policy wants a token of %s, token is of %s",
		       ck_buf_str(&known), issuer);
}

int az_policy_evaluate(const json_t *policy, const char *issuer, const json_t *claims,
		       struct ck_err *err)
{
	struct ck_err why = { 0 };
	size_t i;
	json_t *a;
	int rc = az_policy_trusts(policy, issuer, err);

	if (rc < 0)
		return rc;
	json_array_foreach (json_object_get(policy, "anyOf"), i, a) {
		if (!same_authority(json_string_value(json_object_get(a, "authority")), issuer))
			continue;
		const json_t *any = json_object_get(a, "anyOf");
		rc = evaluate_list(any ? any : json_object_get(a, "allOf"), any != NULL, claims,
				   &why);
		if (rc == 0)
			return 0;
	}
	return ck_fail(err, rc, "policy wants %s", why.msg);
}
