/*
 * server - the two listeners: which service a request is for, its body, its fault,
 * its answer. One thread a connection: a handler may block (the HSM asks the
 * attestation service through this same server).
 */
#ifndef AZ_SERVER_H
#define AZ_SERVER_H

#include <jansson.h>
#include <microhttpd.h>

#include "tools/azsim/sim.h"

enum az_site { AZ_SITE_METADATA, AZ_SITE_LOGIN, AZ_SITE_MAA, AZ_SITE_HSM };

enum { AZ_MAX_BODY = 1 << 20, AZ_PATH_ARGS = 2, AZ_ARG_MAX = 128 };

struct az_req {
	struct MHD_Connection *conn;
	const char *method, *path;
	enum az_site site;
	char host[256];			    /* lower case, without a port */
	char arg[AZ_PATH_ARGS][AZ_ARG_MAX]; /* what the pattern's stars stand for */
	struct ck_buf body;
	const struct az_fault_mode *mode; /* NULL: none */
	enum az_fault fault;		  /* mode's, for what handlers consult */
};

struct az_res {
	unsigned status; /* 0 until answered */
	struct ck_buf body;
	const char *content_type; /* static; NULL: JSON */
	const char *inner_code;	  /* of an error; static or NULL */
};

/* A handler fills RES, also to refuse; a negative return is the simulator's own
 * failure (500). */
typedef int az_handler(struct az_sim *s, const struct az_req *req, struct az_res *res,
		       struct ck_err *err);

/* The first query parameter / header of that name; NULL when absent. */
const char *az_req_query(const struct az_req *req, const char *name);
const char *az_req_header(const struct az_req *req, const char *name);

/* The body as a JSON object, a new reference. Errors: -EINVAL. */
CK_MUST_CHECK int az_req_json(json_t **out, const struct az_req *req, struct ck_err *err);

/* 0 when the query names one of ALLOWED (NULL-ended). Errors: -EINVAL. */
CK_MUST_CHECK int az_req_api_version(const struct az_req *req, const char *const *allowed,
				     struct ck_err *err);

/* Answers with J (its reference is taken). Errors: -ENOMEM. */
CK_MUST_CHECK int az_answer(struct az_res *res, unsigned status, json_t *j, struct ck_err *err);

/* Answers with an error in the form of the request's service. Errors: -ENOMEM. */
CK_MUST_CHECK int az_refuse(const struct az_req *req, struct az_res *res, unsigned status,
			    const char *code, const char *message, struct ck_err *err);

struct az_server; /* opaque */

/* Listens on both ports of S (0 or taken: any free one; S says which). *OUT is the
 * caller's to stop; S must outlive it. */
CK_MUST_CHECK int az_server_start(struct az_server **out, struct az_sim *s, struct ck_err *err);
void az_server_stop(struct az_server *srv); /* NULL is allowed; drops what still hangs */

#endif
