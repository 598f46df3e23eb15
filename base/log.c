#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

/* Set once by main before any thread starts. */
static const char *log_name = "cloakfs";
static enum ck_log_level log_max = CK_LOG_INFO;
/* A mount that goes into the background says so while its threads serve already. */
static atomic_bool log_syslog, log_stamped;

void ck_log_init(const char *name, enum ck_log_level level)
{
	log_name = name;
	log_max = level;
}

void ck_log_to_syslog(void)
{
	openlog(log_name, LOG_PID, LOG_DAEMON);
	atomic_store(&log_syslog, true);
}

void ck_log_stamp(void)
{
	atomic_store(&log_stamped, true);
}

/* "2026-11-26T14:52:00Z cloakfs[123]: ", in one write with what follows: others write there, too.
 */
static void write_stamped(const char *word, const char *line)
{
	char when[32] = "";
	time_t now = time(NULL);
	struct tm tm;

	if (gmtime_r(&now, &tm))
		(void)strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
	dprintf(STDERR_FILENO, "%s %s[%d]: %s%s\n", when, log_name, (int)getpid(), word, line);
}

void ck_log(enum ck_log_level level, const char *fmt, ...)
{
	static const int prio[] = { LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG };
	static const char *const word[] = { "error: ", "warning: ", "", "debug: " };

	if (level > log_max)
		return;
	char line[1024];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	ck_one_line(line);
	if (atomic_load(&log_syslog))
		syslog(prio[level], "%s%s", word[level], line);
	else if (atomic_load(&log_stamped))
		write_stamped(word[level], line);
	else
		fprintf(stderr, "%s: %s%s\n", log_name, word[level], line);
}
