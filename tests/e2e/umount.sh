#!/bin/bash
# umount.sh - unmounting waits for no network: whoever unmounts, and however, while reads of a registry
# that does not answer are under way, while their readers live and after they were killed; and while
# something is prefetched.
# What must not be waited for takes a minute, and what is waited for a third of that at most.
[ -n "${OWN_NS:-}" ] || OWN_NS=1 exec unshare --mount --propagation private bash "$0" "$@"
# shellcheck source=tests/e2e/lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"
# shellcheck source=tests/e2e/lib/registry.sh
. "$LIB/registry.sh"

others_go
MNT=$WORK/mnt
C=$WORK/cache
KEY=$WORK/key.pem
SOON=20 # seconds
mkdir "$MNT"
export CLOAKFS_CONFIG=$WORK/cloakfs.json
jq -n '{registry: {timeout_ms: 60000}, request_timeout_ms: 300000}' >"$CLOAKFS_CONFIG"

# ---- the image ----
mkdir -p "$WORK/0"
for i in $(seq 8); do head -c 1000000 /dev/urandom >"$WORK/0/$i"; done
openssl genrsa -out "$KEY" 2048 2>"$LOG"
openssl pkey -in "$KEY" -pubout -out "$WORK/pub.pem"
layout_new "$WORK/plain"
(cd "$WORK/0" && tar -cf "$WORK/0.tar" --format=posix -- *)
layout_add "$WORK/plain" "$WORK/0.tar" gzip
layout_finish "$WORK/plain"
"$CLOAKFS" encrypt --key "$WORK/pub.pem" "oci:$WORK/plain:latest" "oci:$WORK/sealed:latest" >"$LOG" 2>&1 ||
	bail "encrypting" "$(cat "$LOG")"
fr_start r --layout "i/sealed=$WORK/sealed"

# ---- helpers ----
up() { # [options]: with an empty cache
	rm -rf "$C"
	mount_image "docker://$(fr_at r)/i/sealed" "$MNT" --key "$KEY" --cache-dir "$C" --log "$WORK/told" "$@" ||
		bail "it mounts" "$(cat "$LOG")"
	DAEMON=$("$CLOAKFS" status --json "$MNT" | jq '.mounts[0].pid')
}
waits() { # RULE: somebody waits for what never comes
	[ "$(fr r hits "$1")" -gt 0 ]
}
gone() { # PID: a child of somebody else's may be dead for a while before that one knows
	! readlink "/proc/$1/exe" >/dev/null
}
all_gone() {
	local p
	for p in "$@"; do gone "$p" || return 1; done
}
soon() { # FROM TEXT: of date +%s
	local took=$(($(date +%s) - $1))
	[ $took -lt $SOON ] && pass "$2: soon" || fail "$2: soon" "took $took s"
}
unmounted() {
	! is_mounted "$MNT"
}
# Ways to unmount. They return when they do.
sigterm() {
	kill "$DAEMON"
}
cloakfs_umount() {
	"$CLOAKFS" umount "$@" "$MNT"
}
umount_8() {
	umount "$@" "$MNT"
}
ends() { # TEXT FROM [PID]...: the mount, its process and these are over
	local text=$1 from=$2
	shift 2
	wait_until 90 unmounted || fail "$text: nothing is mounted" "$(grep -F "$MNT" /proc/self/mounts)" "$(cat "$WORK/told")"
	wait_until 90 all_gone "$DAEMON" "$@" || fail "$text: nobody is left"
	soon "$from" "$text"
	fr r clear
}
takes_down() { # TEXT COMMAND...
	local text=$1
	shift
	"$@" >"$WORK/end.log" 2>&1 || fail "$text" "$(cat "$WORK/end.log")"
}
hang() { # N: so many readers, $READERS, one of whose requests at least is not answered
	local i rule
	rule=$(fr r fault stall=1000 path=/blobs/)
	READERS=
	for i in $(seq "$1"); do
		start "$WORK/reader.$i" cat "$MNT/$i"
		READERS="$READERS $!"
	done
	wait_until 20 waits "$rule" || fail "a read waits"
}
kill_readers() {
	local from
	from=$(date +%s)
	# shellcheck disable=SC2086
	kill $READERS
	# shellcheck disable=SC2086
	wait_until 90 all_gone $READERS || fail "$1: the readers are killed"
	soon "$from" "$1: the readers end"
}

# ---- readers ----
for mode in fuse erofs; do
	for over in "" " --writable tmpfs"; do
		name="$mode$over"
		# shellcheck disable=SC2086
		mounted() { up --prefetch none --mode $mode $over; }

		mounted
		hang 3
		from=$(date +%s)
		takes_down "$name: SIGTERM" sigterm
		# shellcheck disable=SC2086
		ends "$name: SIGTERM while readers wait" "$from" $READERS

		for how in sigterm cloakfs_umount "cloakfs_umount --lazy" umount_8 "umount_8 --lazy"; do
			mounted
			hang 3
			kill_readers "$name: $how"
			from=$(date +%s)
			# shellcheck disable=SC2086
			takes_down "$name: $how" $how
			ends "$name: $how after readers were killed" "$from"
		done

		# A mount that is still used, by those who have files open, goes when they go.
		for how in "cloakfs_umount --lazy" "umount_8 --lazy"; do
			mounted
			hang 3
			from=$(date +%s)
			# shellcheck disable=SC2086
			takes_down "$name: $how" $how
			soon "$from" "$name: $how while readers wait"
			from=$(date +%s)
			kill_readers "$name: $how before"
			ends "$name: $how before readers are killed" "$from"
		done
	done
done

# Until then they are served.
for how in "cloakfs_umount --lazy" "umount_8 --lazy"; do
	up --prefetch none --mode erofs --writable tmpfs
	hang 2
	# shellcheck disable=SC2086
	takes_down "$how" $how
	fr r set delay=3000 # longer than the kernel is given to let go of what nobody uses
	fr r clear
	# shellcheck disable=SC2086
	wait_until 60 all_gone $READERS || fail "$how: who has a file open reads on"
	fr r set delay=0
	same "$WORK/0/1" "$WORK/reader.1" "$how: who has a file open reads on"
	same "$WORK/0/2" "$WORK/reader.2" "$how: so do others"
	ends "$how: and it ends with them" "$(date +%s)"
done

# ---- prefetching ----
fr_mark r
up --prefetch none --mode fuse
opening=$(fr_count r ' /v2/[^ ]*/blobs/')
from=$(date +%s)
takes_down "at rest" cloakfs_umount
ends "at rest" "$from"
for how in sigterm cloakfs_umount umount_8; do
	fr r set rate=1000000
	up --prefetch all --mode fuse
	from=$(date +%s)
	takes_down "$how" $how
	ends "$how while prefetching" "$from"
	fr r set rate=0
	rule=$(fr r fault stall=1000 path=/blobs/ "skip=$opening")
	up --prefetch all --mode fuse
	wait_until 20 waits "$rule" || fail "$how: prefetching stalls"
	from=$(date +%s)
	takes_down "$how" $how
	ends "$how while prefetching waits" "$from"
done
finish
