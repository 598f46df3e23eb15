/* range - a run of bytes, or of whatever else is counted. */
#ifndef CK_RANGE_H
#define CK_RANGE_H

#include <stdint.h>

struct ck_range {
	uint64_t off, len;
};

#endif
