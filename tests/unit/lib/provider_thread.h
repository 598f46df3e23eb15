/* A key-provider server on a thread of the test, with the HSM of fake_attest.h. */
#ifndef CK_PROVIDER_THREAD_H
#define CK_PROVIDER_THREAD_H

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "keyprov/server.h"
#include "tests/unit/lib/fake_attest.h"

struct provider_thread {
	struct ck_provider provider;
	const char *listen;
	int stop_fd, ready_fd;
	char address[128], target[160]; /* as bound; as a client's configuration has it */
	struct ck_err err;
	int rc;
	pthread_t thread;
};

static void provider_ready(void *ctx, const char *address)
{
	struct provider_thread *t = ctx;

	snprintf(t->address, sizeof t->address, "%s", address);
	if (strncmp(address, "unix:", 5) == 0)
		snprintf(t->target, sizeof t->target, "unix://%s", address + 5);
	else
		snprintf(t->target, sizeof t->target, "%s", address);
	(void)eventfd_write(t->ready_fd, 1);
}

static void *provider_main(void *arg)
{
	struct provider_thread *t = arg;

	t->rc = ck_provider_serve(&t->provider, t->listen, t->stop_fd, provider_ready, t, &t->err);
	(void)eventfd_write(t->ready_fd, 1);
	return NULL;
}

/* Starts it; returns once it accepts or has failed. */
static void provider_start(struct provider_thread *t, struct fake_attest *fake, const char *listen)
{
	eventfd_t n;

	*t = (struct provider_thread){ .listen = listen, .rc = 1 };
	t->provider =
	    (struct ck_provider){ fake_as_attest(fake), NULL, "hsm.example", "maa.example" };
	t->stop_fd = eventfd(0, EFD_CLOEXEC);
	t->ready_fd = eventfd(0, EFD_CLOEXEC);
	if (pthread_create(&t->thread, NULL, provider_main, t))
		abort();
	(void)eventfd_read(t->ready_fd, &n);
}

/* Stops it and returns what ck_provider_serve returned. */
static int provider_stop(struct provider_thread *t)
{
	(void)eventfd_write(t->stop_fd, 1);
	pthread_join(t->thread, NULL);
	ck_closep(&t->stop_fd);
	ck_closep(&t->ready_fd);
	return t->rc;
}

#endif
