/* unit - what every cmocka test includes, in the order cmocka wants it. */
#ifndef CK_TEST_UNIT_H
#define CK_TEST_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"

/* CODE and a message that contains TEXT, or the test says what came instead. */
#define assert_fails(rc, code, err, text)                                                          \
	do {                                                                                       \
		int rc_ = (rc);                                                                    \
		if (rc_ != (code) || !strstr((err)->msg, (text)))                                  \
			fail_msg("got %d \"%s\", want %d \"%s\"", rc_, (err)->msg, (code),         \
				 (text));                                                          \
	} while (0)

#define assert_works(rc, err)                                                                      \
	do {                                                                                       \
		int rc_ = (rc);                                                                    \
		if (rc_ < 0)                                                                       \
			fail_msg("failed with %d: %s", rc_, (err)->msg);                           \
	} while (0)

#define N_OF(a) (sizeof(a) / sizeof(a)[0])

#endif
