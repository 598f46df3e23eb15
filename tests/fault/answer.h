/*
 * answer - sends an answer, right or as the plan wants it.
 */
#ifndef FR_ANSWER_H
#define FR_ANSWER_H

#include "tests/fault/server.h"

struct fr_answer {
	int status;
	const char *type;      /* NULL: no body's */
	char headers[8192];    /* "Name: value\r\n", more of them */
	struct fr_bytes bytes; /* borrowed */
	bool ranges;	       /* may be answered in part */
	struct fr_bytes other; /* borrowed: what swap sends; len 0: none */
};

void fr_answer(struct fr_exchange *x, const struct fr_answer *a);

/* A short document; HEADERS may be NULL. */
void fr_answer_text(struct fr_exchange *x, int status, const char *type, const char *text,
		    const char *headers);
/* A registry's error document. */
void fr_answer_error(struct fr_exchange *x, int status, const char *code, const char *message);
/* Nothing at all. */
void fr_answer_none(struct fr_exchange *x, int status, const char *headers);

#endif
