/*
 * policy - release policies: their grammar and whether a token meets one.
 * Source: Microsoft's "secure key release policy grammar".
 *   policy    = {"version": "1.0.0" | "0.2", "anyOf": [authority, ...]}
 *   authority = {"authority": "https://...", "allOf" | "anyOf": [condition, ...]}
 *   condition = {"claim": "dotted.path", OP: value} | {"allOf" | "anyOf": [condition, ...]}
 *   OP        = equals notEquals less lessOrEquals greater greaterOrEquals exists
 * Values are compared as the service does: true is "true", 0 is "0".
 */
#ifndef AZ_POLICY_H
#define AZ_POLICY_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

/* Errors: -EINVAL naming what is not of the grammar. */
CK_MUST_CHECK int az_policy_check(const json_t *policy, struct ck_err *err);

/* The policy (checked) trusts tokens of ISSUER. Errors: -EACCES naming whom it trusts. */
CK_MUST_CHECK int az_policy_trusts(const json_t *policy, const char *issuer, struct ck_err *err);

/*
 * A token of ISSUER with CLAIMS meets POLICY (checked).
 * Errors: -EACCES "policy wants x-ms-sevsnpvm-vmpl = 0, token has 2".
 */
CK_MUST_CHECK int az_policy_evaluate(const json_t *policy, const char *issuer, const json_t *claims,
				     struct ck_err *err);

#endif
