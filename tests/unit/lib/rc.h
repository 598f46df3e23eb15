/* What keyprov's tests share: cmocka with its includes, and errors that show. */
#ifndef CK_TEST_RC_H
#define CK_TEST_RC_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"

/* RC is WANT, or the message says what happened instead. */
#define assert_rc(rc, want, err)                                                                   \
	do {                                                                                       \
		int rc_ = (rc);                                                                    \
		if (rc_ != (want))                                                                 \
			fail_msg("%s gave %d, not %d: %s", #rc, rc_, (want), (err)->msg);          \
	} while (0)

/* The message of ERR contains TEXT. */
#define assert_says(err, text)                                                                     \
	do {                                                                                       \
		if (!strstr((err)->msg, (text)))                                                   \
			fail_msg("\"%s\" does not say \"%s\"", (err)->msg, (text));                \
	} while (0)

#endif
