/*
 * dockername - "HOST[:PORT]/NAME[:TAG]", as people shorten it.
 * Source: distribution/reference (reference.go, normalize.go), which containers/image uses for
 * docker://: a first part that could be no host belongs to docker.io, there a name of one part
 * is in "library/", and the tag is "latest" where nobody says. Unlike there a host alone
 * ("r.example:5000") is refused, not taken for an image of docker.io.
 */
#ifndef CK_DOCKERNAME_H
#define CK_DOCKERNAME_H

#include <stdbool.h>

#include "base/err.h"

enum { CK_TAG_MAX = 128, CK_REPO_MAX = 255 };

/* Splits TEXT. *HOST (with its port), *REPO and *TAG (NULL: none there) are the caller's to free.
 * Errors: -EINVAL (the message says what is wrong with which part), -ENOMEM. */
CK_MUST_CHECK int ck_dockername_split(const char *text, char **host, char **repo, char **tag,
				      struct ck_err *err);

/* The parts by themselves. */
bool ck_dockername_is_host(const char *s); /* with or without a port */
bool ck_dockername_is_repo(const char *s);
bool ck_dockername_is_tag(const char *s);

#endif
