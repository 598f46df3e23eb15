/*
 * beacon - by which others see that the daemon of a mount is alive.
 *
 * An abstract socket "cloakfs/MAJOR:MINOR/PID/NS", NS being when it was lit (CLOCK_MONOTONIC):
 * connections end when the daemon is gone, however it went, and nothing is left on a disk. The
 * number of a device may be another mount's before its daemon is gone: the last one lit counts. Who
 * asks on one is answered (answerer.h). Only seen within one network namespace.
 */
#ifndef CK_BEACON_H
#define CK_BEACON_H

#include <sys/types.h>

/* Lights the beacon of the mount on device MAJOR:MINOR. Returns a descriptor to close,
 * or -errno. Call in the process that serves: its pid is told. */
int ck_beacon_light(unsigned dev_major, unsigned dev_minor);

/* A connection to the beacon of the device, if root or OWNER lit it: a descriptor to close, which
 * does not block, and the daemon's PID. -ENOENT when there is none, -EAGAIN when its queue is
 * full. */
int ck_beacon_find(unsigned dev_major, unsigned dev_minor, uid_t owner, pid_t *pid);

/* Waits until the daemon has let go of the mount, and then for its end, at most
 * TIMEOUT_MS; a daemon that goes on with other work is not waited for long.
 * Errors: -ETIMEDOUT. */
int ck_beacon_await_end(int fd, pid_t pid, unsigned timeout_ms);

#endif
