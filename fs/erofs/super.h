/* super - an EROFS superblock and the table of devices behind it. */
#ifndef CK_EROFS_SUPER_H
#define CK_EROFS_SUPER_H

#include <stdint.h>

#include "fs/erofs/plan.h"

/*
 * Writes both to BYTES, the image of P, whose other parts are there. The UUID is a digest of
 * these: file systems on top (overlayfs) tell images apart by it.
 * There is no checksum: fsck.erofs 1.8 runs past its buffer over one of a block of 512 bytes,
 * and these bytes never leave memory.
 */
void ck_erofs_super_put(uint8_t *bytes, const struct ck_plan *p);

#endif
