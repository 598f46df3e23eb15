/* shani - SHA-256's compression function by the CPU's SHA instructions, two states over the
 * same message; private to tar/cipher. */
#ifndef CK_SHANI_H
#define CK_SHANI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether this CPU has them. */
bool ck_shani_usable(void);

/* Takes N_BLOCKS of 64 bytes at P into both states (FIPS 180-4 section 6.2). */
void ck_shani_two(uint32_t a[8], uint32_t b[8], const uint8_t *p, size_t n_blocks);

#endif
