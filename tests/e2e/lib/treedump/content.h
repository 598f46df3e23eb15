/* content - the hash of what a file holds, for treedump. */
#ifndef TREEDUMP_CONTENT_H
#define TREEDUMP_CONTENT_H

#include <openssl/evp.h>
#include <stdbool.h>
#include <sys/types.h>

enum { CONTENT_LARGE = 64 << 20 };

/* Adds all bytes of FD to MD. False, and a line on stderr that names REL, when it failed. */
bool hash_all(EVP_MD_CTX *md, const char *rel, int fd, off_t size);

/*
 * Adds each 4 KiB block (the last one as long as it is) that is not all zeros, its offset
 * before it (64 bits, little-endian). Only what SEEK_DATA says to be data is read, and both
 * ends of each hole, which must be zeros.
 */
bool hash_large(EVP_MD_CTX *md, const char *rel, int fd, off_t size);

#endif
