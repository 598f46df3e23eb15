/*
 * mutate - random but repeatable changes to fuzz inputs.
 */
#ifndef FUZZ_MUTATE_H
#define FUZZ_MUTATE_H

#include <stddef.h>
#include <stdint.h>

struct fuzz_input {
	uint8_t *data; /* owned; at least 1 byte is allocated */
	size_t len;
};

/* The next number of the sequence that *STATE (not 0) stands in: xorshift64*. */
uint64_t fuzz_random(uint64_t *state);

/*
 * Makes a new input of 0..CAP bytes in OUT[0..CAP): one of the N CORPUS inputs (may be
 * none) after a few changes, or random bytes. Returns its length. The same *STATE and
 * corpus give the same input.
 */
size_t fuzz_mutate(uint64_t *state, const struct fuzz_input *corpus, size_t n, uint8_t *out,
		   size_t cap);

#endif
