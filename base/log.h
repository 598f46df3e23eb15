/*
 * log - what the operator should know, one line each; never secrets, never
 * the inputs of the key provider.
 * A program logs to stderr until it detaches; afterwards to syslog (journald), or to a file.
 * Threads: any. Control characters are replaced as in ck_fail.
 */
#ifndef CK_LOG_H
#define CK_LOG_H

#include <stdbool.h>

#include "base/err.h"

enum ck_log_level { CK_LOG_ERROR, CK_LOG_WARNING, CK_LOG_INFO, CK_LOG_DEBUG };

/* NAME (static storage) starts every line; messages above LEVEL are dropped. */
void ck_log_init(const char *name, enum ck_log_level level);

/* From here on to syslog, facility daemon. */
void ck_log_to_syslog(void);

/* From here on stderr is a file: the time (UTC) and the process stand before each line. */
void ck_log_stamp(void);

void ck_log(enum ck_log_level level, const char *fmt, ...) CK_PRINTF(2, 3);

#endif
