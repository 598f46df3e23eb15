/*
 * hosts - where else a registry's images are to be had: a hosts.toml file.
 * Source: containerd, docs/hosts.md: DIR/HOST[:PORT]/hosts.toml, else DIR/HOST_PORT_/hosts.toml,
 * else DIR/_default/hosts.toml. Keys that containerd has and we do not need are passed over.
 */
#ifndef CK_HOSTS_H
#define CK_HOSTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

enum ck_hosts_can { CK_CAN_PULL = 1, CK_CAN_RESOLVE = 2, CK_CAN_PUSH = 4, CK_CAN_ALL = 7 };

struct ck_hosts_entry {
	char *url;	  /* "https://HOST[:PORT]/v2", or what override_path makes of it */
	unsigned can;	  /* of enum ck_hosts_can */
	struct ck_buf ca; /* PEM text; empty: none */
	char *cert_file, *key_file; /* NULL: none */
	bool skip_verify;	    /* of its own host, not of those that it sends us to */
	char **headers;		    /* "Name: value", n_headers of them */
	size_t n_headers;
};

struct ck_hosts {
	bool found;			/* there is a file */
	struct ck_hosts_entry *mirrors; /* in the order of the file; n_mirrors of them */
	size_t n_mirrors;
	struct ck_hosts_entry server; /* the host itself; its url is NULL where the file does
					 not say, then only its other members count */
};

/* Reads the file for HOST, if there is one, else *OUT is empty. *OUT is the caller's to free.
 * Errors: -EBADMSG (the message names file and line, or table and key), errnos, -ENOMEM. */
CK_MUST_CHECK int ck_hosts_read(struct ck_hosts *out, const char *dir, const char *host,
				struct ck_err *err);

/* The same from TEXT[0..LEN), whose relative paths are of DIR; NAME is for messages. */
CK_MUST_CHECK int ck_hosts_parse(struct ck_hosts *out, const char *text, size_t len,
				 const char *dir, const char *name, struct ck_err *err);
void ck_hosts_free(struct ck_hosts *h); /* {0} is allowed */

#endif
