/*
 * util - small things that the parts of the test registry share.
 * It ends where there is no memory: a server for tests may.
 */
#ifndef FR_UTIL_H
#define FR_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FR_PRINTF(f, a) __attribute__((format(printf, f, a)))

uint64_t fr_now_us(void);	     /* monotonic */
void fr_sleep_until(uint64_t at_us); /* of fr_now_us's clock */
void *fr_alloc(size_t nbytes);	     /* zeroed */
void *fr_grow(void *p, size_t nbytes);
char *fr_copy(const char *s); /* NULL stays NULL */

/* Writes the end of the program to stderr. */
_Noreturn void fr_die(const char *fmt, ...) FR_PRINTF(1, 2);

/* Appends to the string in AT[0..CAP), cut where it does not fit. */
void fr_append(char *at, size_t cap, const char *fmt, ...) FR_PRINTF(3, 4);

/* Reads a whole decimal number; false: S is none. */
bool fr_number(const char *s, uint64_t *out);

/* "sha256:" and 64 hex digits, NUL-terminated, in OUT. */
enum { FR_DIGEST = 72 };
void fr_digest(const void *p, size_t nbytes, char out[FR_DIGEST]);

/* Decodes base64 or base64url, padded or not, into OUT, NUL-terminated; -1: it is none, or does
 * not fit. Encode: URL's alphabet without padding, or the usual one with it. The caller frees. */
long fr_base64_decode(const char *s, char *out, size_t cap);
char *fr_base64_encode(const void *p, size_t nbytes, bool url);

#endif
