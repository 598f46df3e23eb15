/* azsim stop */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "tools/azsim/cmds.h"
#include "tools/azsim/dir.h"

enum { PATIENCE_MS = 15000 };

/* Asks who holds DIR to end, and waits until nobody does. */
static int stop(const char *dir, struct ck_err *err)
{
	pid_t pid, now;
	int rc = az_dir_holder(dir, &pid, err);

	if (rc < 0 || pid == 0)
		return rc;
	if (kill(pid, SIGTERM) < 0 && errno != ESRCH)
		return ck_fail(err, -errno, "cannot stop process %d: %s", (int)pid,
			       strerror(errno));
	uint64_t until = ck_now_ms() + PATIENCE_MS;
	do {
		usleep(10000);
		rc = az_dir_holder(dir, &now, err);
	} while (rc == 0 && now == pid && ck_now_ms() < until);
	if (rc == 0 && now == pid)
		return ck_fail(err, -ETIMEDOUT, "process %d does not end", (int)pid);
	return rc;
}

int az_cmd_stop(int argc, char **argv)
{
	static const struct option options[] = { { "state", required_argument, NULL, 1 }, { 0 } };
	const char *state = NULL;
	char dir[AZ_DIR_MAX + 1];
	struct ck_err err = { 0 };
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) == 1)
		state = optarg;
	if (c != -1 || !state || optind != argc)
		return az_usage("stop", "--state DIR is missing, or there is too much");
	if (az_dir_find(dir, state, &err) < 0 || stop(dir, &err) < 0)
		return az_failed("stop", &err);
	return 0;
}
