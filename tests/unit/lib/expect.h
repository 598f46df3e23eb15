/* expect - what every unit test of this room includes: cmocka and its needs, and the
 * two assertions that we make most. */
#ifndef CK_TEST_EXPECT_H
#define CK_TEST_EXPECT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"

/* RC must be 0; else shows the error. */
#define assert_ok(rc, err)                                                                         \
	do {                                                                                       \
		int rc_ = (rc);                                                                    \
		if (rc_ != 0)                                                                      \
			fail_msg("%s: %d: %s", #rc, rc_, (err).msg);                               \
	} while (0)

/* RC must be CODE, with TEXT in the message. */
#define assert_fails(rc, code_, err, text)                                                         \
	do {                                                                                       \
		int rc_ = (rc);                                                                    \
		if (rc_ != (code_) || !strstr((err).msg, (text)))                                  \
			fail_msg("%s: %d (%s), not %d (%s)", #rc, rc_, (err).msg, (int)(code_),    \
				 (text));                                                          \
	} while (0)

#define N_OF(a) (sizeof(a) / sizeof(a)[0])

#endif
