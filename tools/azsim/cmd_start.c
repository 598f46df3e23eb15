/* azsim start, azsim run */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "tools/azsim/cmds.h"
#include "tools/azsim/sim.h"

enum { OPT_STATE = 1, OPT_HSM, OPT_MAA, OPT_SETTING, OPT_DEBUG };

static const struct option options[] = {
	{ "state", required_argument, NULL, OPT_STATE },
	{ "hsm", required_argument, NULL, OPT_HSM },
	{ "maa", required_argument, NULL, OPT_MAA },
	{ "measurement", required_argument, NULL, OPT_SETTING },
	{ "host-data", required_argument, NULL, OPT_SETTING },
	{ "vmpl", required_argument, NULL, OPT_SETTING },
	{ "debug", no_argument, NULL, OPT_DEBUG },
	{ 0 },
};

/* Lower-case letters, digits, '.' and '-': hosts name files too. */
static bool host_ok(const char *h)
{
	return strspn(h, "abcdefghijklmnopqrstuvwxyz0123456789.-") == strlen(h) && strlen(h) > 0 &&
	       strlen(h) < 250 && h[0] != '.' && !strstr(h, "..");
}

static const char *add_host(const char **list, size_t *n, const char *host)
{
	if (!host_ok(host))
		return "a host is not a lower-case DNS name";
	if (*n == AZ_MAX_HOSTS)
		return "too many hosts";
	list[(*n)++] = host;
	return NULL;
}

/* What is wrong with the command line; NULL when nothing is. */
static const char *parse(struct az_sim_opts *o, int argc, char **argv)
{
	const char *wrong = NULL;
	int c, which;

	while (!wrong && (c = getopt_long(argc, argv, "", options, &which)) != -1) {
		switch (c) {
		case OPT_STATE:
			o->dir = optarg;
			break;
		case OPT_HSM:
			wrong = add_host(o->hsm, &o->n_hsm, optarg);
			break;
		case OPT_MAA:
			wrong = add_host(o->maa, &o->n_maa, optarg);
			break;
		case OPT_SETTING:
			json_object_set_new(o->changes, options[which].name, json_string(optarg));
			break;
		case OPT_DEBUG:
			json_object_set_new(o->changes, "debug", json_string("true"));
			break;
		default:
			wrong = "unknown option";
		}
	}
	if (!wrong && (!o->dir || optind != argc))
		wrong = "--state DIR is missing, or there is too much";
	if (!o->n_hsm)
		o->hsm[o->n_hsm++] = "hsm1.managedhsm.azure.net";
	if (!o->n_maa)
		o->maa[o->n_maa++] = "sharedeus.eus.attest.azure.net";
	return wrong;
}

static int print_config(const char *config, void *arg, struct ck_err *err)
{
	(void)arg;
	if (fputs(config, stdout) < 0 || fflush(stdout) != 0)
		return ck_fail(err, -EIO, "cannot write to stdout");
	return 0;
}

int az_cmd_run(int argc, char **argv)
{
	CK_JSON *changes = json_object();
	struct az_sim_opts o = { .changes = changes };
	struct ck_err err = { 0 };
	const char *wrong = parse(&o, argc, argv);

	if (wrong)
		return az_usage("run", wrong);
	return az_sim_run(&o, print_config, NULL, &err) < 0 ? az_failed("run", &err) : 0;
}

/* The background process says how its start went: '+' and the configuration, or '-' and
 * the error. */
static int tell(int fd, char sign, const char *text)
{
	struct ck_err err;
	int rc = ck_fd_write(fd, &sign, 1, "the starter", &err);

	return rc < 0 ? rc : ck_fd_write(fd, text, strlen(text), "the starter", &err);
}

static int tell_ready(const char *config, void *arg, struct ck_err *err)
{
	int *fd = arg;

	if (tell(*fd, '+', config) < 0)
		return ck_fail(err, -EPIPE, "the starter is gone");
	close(*fd);
	*fd = -1;
	return 0;
}

/* Leaves everything of the caller's behind but FD, which becomes 3: its working directory,
 * its terminal, and whatever it had open and waits to see closed. */
static int detach(char full[AZ_DIR_MAX + 1], const char *dir, int fd, struct ck_err *err)
{
	int rc = az_dir_make(full, dir, err);

	if (rc < 0)
		return rc;
	struct az_path p = az_path(full, "azsim.log");
	int log = open(p.s, O_WRONLY | O_CREAT | O_APPEND, 0600);
	int null = open("/dev/null", O_RDWR);
	if (log < 0 || null < 0 || dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
		return ck_fail(err, -errno, "cannot open %s: %s", p.s, strerror(errno));
	if (chdir("/") < 0 || (fd != 3 && dup2(fd, 3) < 0) || close_range(4, ~0U, 0) < 0 ||
	    fcntl(3, F_SETFD, FD_CLOEXEC) < 0)
		return ck_fail(err, -errno, "cannot leave the terminal: %s", strerror(errno));
	return 0;
}

static int background(struct az_sim_opts *o, int fd)
{
	char full[AZ_DIR_MAX + 1];
	struct ck_err err = { 0 };

	setsid();
	if (detach(full, o->dir, fd, &err) < 0)
		return tell(fd, '-', err.msg);
	o->dir = full;
	fd = 3;
	if (az_sim_run(o, tell_ready, &fd, &err) == 0)
		return 0;
	ck_log(CK_LOG_ERROR, "%s", err.msg);
	return fd < 0 ? 1 : tell(fd, '-', err.msg);
}

int az_cmd_start(int argc, char **argv)
{
	CK_JSON *changes = json_object();
	struct az_sim_opts o = { .changes = changes };
	struct ck_err err = { 0 };
	CK_BUF said = { 0 };
	int pipe_fd[2];
	const char *wrong = parse(&o, argc, argv);

	if (wrong)
		return az_usage("start", wrong);
	if (pipe2(pipe_fd, O_CLOEXEC) < 0)
		return az_usage("start", "there is no pipe to be had");
	pid_t pid = fork();
	if (pid == 0) {
		close(pipe_fd[0]);
		_exit(background(&o, pipe_fd[1]));
	}
	close(pipe_fd[1]);
	int rc = ck_fd_read(&said, pipe_fd[0], "the background process", &err);
	close(pipe_fd[0]);
	if (rc == 0 && said.len && said.data[0] == '+')
		return print_config(ck_buf_str(&said) + 1, NULL, &err) < 0
			   ? az_failed("start", &err)
			   : 0;
	if (pid > 0)
		(void)waitpid(pid, NULL, 0);
	if (rc == 0)
		(void)ck_fail(&err, -EIO, "%s",
			      said.len > 1 ? ck_buf_str(&said) + 1
					   : "the background process ended without a word");
	return az_failed("start", &err);
}
