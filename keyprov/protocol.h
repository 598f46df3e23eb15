/*
 * protocol - one request of ocicrypt's key-provider protocol, and its answer.
 *
 * Source: ocicrypt keywrap/keyprovider; names match as in Go, without regard to case:
 *   {"op":"keywrap","keywrapparams":{"ec":{"Parameters":{NAME:[VALUE..]}},"optsdata":B}}
 *   {"op":"keyunwrap","keyunwrapparams":{"dc":..,"annotation":B}}
 * B and VALUE are byte fields (gojson.h). The first VALUE of a NAME is "aasp:<key id>" or
 * "skr:<key id>"; which NAME is ours the client's configuration decides: the usual
 * "attestation-agent", else the only one with such a value. "dc" is not looked at: it
 * carries whatever the user passed for others, private keys too.
 */
#ifndef CK_PROTOCOL_H
#define CK_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"
#include "keyprov/server.h"

enum ck_op { CK_OP_WRAP, CK_OP_UNWRAP };

enum { CK_KID_MAX = 256 };

struct ck_request {
	enum ck_op op;
	char kid[CK_KID_MAX];  /* wrap: a checked key id */
	struct ck_secret data; /* wrap: what to wrap; unwrap: the packet */
};

/* Whether VALUE is "aasp[:<key id>]" or "skr[:<key id>]", a parameter that is for us. KID
 * gets the key id, not checked yet, "" when it names none or no possible one; further parts after
 * another
 * ':' mean nothing, as in AASP. */
bool ck_agent_parse(char kid[CK_KID_MAX], const char *value);

/*
 * Parses IN[0..NBYTES). OP is what the RPC method says; NULL: the document's "op" decides.
 * *OUT is the caller's to ck_request_free, on failure too. No message quotes the input.
 * Errors: -EBADMSG, -EINVAL (op, agent, key id), -EFBIG, -ENOMEM.
 */
CK_MUST_CHECK int ck_request_parse(struct ck_request *out, const enum ck_op *op, const void *in,
				   size_t nbytes, struct ck_err *err);
void ck_request_free(struct ck_request *r);

#define CK_REQUEST CK_AUTO(ck_request_free) struct ck_request

/*
 * Does it, and appends the JSON answer to OUT: result bytes as an array of integers, the
 * one form that every client reads, and only the result asked for, since Rust clients
 * refuse a null in the other. Errors: those of ck_kek_wrap and ck_kek_unwrap.
 */
CK_MUST_CHECK int ck_request_perform(const struct ck_provider *p, const struct ck_request *r,
				     struct ck_buf *out, struct ck_err *err);

#endif
