/*
 * tarwrite - an item as a tar has it, in one of the forms that mean the same: ustar, with
 * GNU's long names and binary numbers or with pax records, as the item's `form` says.
 * Source: POSIX.1-2017 pax, "ustar Interchange Format" and "pax Extended Header"; GNU tar
 * manual, "Basic Tar Format" and "Storing Sparse Files" (PAX format, version 1.0).
 */
#ifndef TREEGEN_TARWRITE_H
#define TREEGEN_TARWRITE_H

#include <stdio.h>

#include "tests/e2e/lib/treegen/item.h"

/* Writes what is not dropped, and the two zero blocks. Failing to write ends the process. */
void tar_write(FILE *to, const struct layer *l);

/*
 * Whether GNU tar 1.34 reads it as others do: it loses its way where a pax record says the
 * size of a sparse file's data, or another one than the header, or where one with GNU's magic
 * has its map in pax form; it takes the data of each segment for padded to a block; and ACLs
 * that are written as attributes it leaves out.
 */
bool tar_gnu_reads(const struct item *it);

#endif
