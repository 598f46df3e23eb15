/*
 * beacon - by which others see that the daemon of a mount is alive.
 *
 * An abstract socket "cloakfs/MAJOR:MINOR/PID" on which nobody ever answers: the kernel
 * takes connections in its name and hangs up when the daemon is gone, however it went,
 * and nothing is left on a disk. Only seen within one network namespace.
 */
#ifndef CK_BEACON_H
#define CK_BEACON_H

#include <sys/types.h>

/* Lights the beacon of the mount on device MAJOR:MINOR. Returns a descriptor to close,
 * or -errno. Call in the process that serves: its pid is told. */
int ck_beacon_light(unsigned dev_major, unsigned dev_minor);

/* The beacon of the device, if root or this user lit it: a descriptor to close, and the
 * daemon's PID; -ENOENT when there is none. */
int ck_beacon_find(unsigned dev_major, unsigned dev_minor, pid_t *pid);

/* Waits until the daemon has let go of the mount, and then for its end, at most
 * TIMEOUT_MS; a daemon that goes on with other work is not waited for long.
 * Errors: -ETIMEDOUT. */
int ck_beacon_await_end(int fd, pid_t pid, unsigned timeout_ms);

#endif
