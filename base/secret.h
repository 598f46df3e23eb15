/*
 * secret - memory for keys: one arena (OpenSSL's secure heap), mlocked, with
 * guard pages, excluded from core dumps, wiped on free.
 * Threads: any, after ck_secret_init.
 */
#ifndef CK_SECRET_H
#define CK_SECRET_H

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

/*
 * Makes the arena, forbids core dumps and ptrace by others, and has OpenSSL wipe
 * whatever it frees: it passes DER through ordinary memory on the way. TLS sessions are not
 * written to $SSLKEYLOGFILE. Call once, before any thread starts. Where the memory cannot be locked
 * (RLIMIT_MEMLOCK) it warns: the arena still works and is still excluded from dumps. Errors:
 * -ENOMEM.
 */
CK_MUST_CHECK int ck_secret_init(struct ck_err *err);

/* A buffer in the arena. Zeroed when made, wiped when freed. */
struct ck_secret {
	uint8_t *data;
	size_t len; /* bytes */
};

/* Errors: -ENOMEM when the arena is full. *OUT is the caller's to free. */
CK_MUST_CHECK int ck_secret_new(struct ck_secret *out, size_t len, struct ck_err *err);
void ck_secret_free(struct ck_secret *s); /* {NULL, 0} is allowed; leaves that */

/* The same for a NUL-terminated string or struct. NULL on exhaustion. */
void *ck_secret_alloc(size_t nbytes);
void ck_secret_dealloc(void *p, size_t nbytes); /* NULL is allowed */

/* Overwrites ordinary memory that held a secret, in a way no compiler removes. */
void ck_wipe(void *p, size_t nbytes);

/*
 * Ordinary memory that is wiped before it is given back, for the libraries that
 * take an allocator and would otherwise leave keys in freed memory. From malloc,
 * so free(3) of such memory is allowed too (and does not wipe).
 */
void ck_wipe_free(void *p); /* NULL is allowed */
void *ck_wipe_realloc(void *p, size_t nbytes);

#define CK_SECRET __attribute__((cleanup(ck_secret_free))) struct ck_secret

#endif
