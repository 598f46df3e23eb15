#!/bin/bash
# Mounts begin and end cleanly: umount in every way, signals, a killed daemon, busy mount points.
# shellcheck source=tests/e2e/lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

MNT=$WORK/mnt
IMG=oci:$WORK/enc:latest

not_mounted() {
	! is_mounted "$1"
}
# gone TEXT: neither mount nor process is left, very soon.
gone() {
	if wait_until 5 not_mounted "$MNT" && wait_until 5 no_processes_here mount; then
		pass "$1"
	else
		fail "$1" "mounts: $(mounts_here)" "processes: $(processes_here mount)"
	fi
}
mounts() { # TEXT [options]
	local text=$1
	shift
	if mount_image "$IMG" "$MNT" "$@"; then
		is "hello" "$(cat "$MNT/file")" "$text"
	else
		bail "$text" "$(cat "$LOG")"
	fi
}

azure_start
layout_new "$WORK/enc"
printf 'file file data=hello\nfile other data=other\nend\n' | "$E2E/mktar" >"$WORK/layer.tar"
layout_add "$WORK/enc" "$WORK/layer.tar" gzip
layout_finish "$WORK/enc"
layout_encrypt_layer "$WORK/enc" 0
mkdir "$MNT"

mounts "it mounts, and can be read as soon as the command returns"
is 1 "$(processes_here mount | wc -l)" "one process serves it"
pid=$(processes_here mount)
is "$(ps -o pid= -p "$pid" | tr -d ' ')" "$(ps -o sid= -p "$pid" | tr -d ' ')" "it leads a session of its own"
is "/dev/null /dev/null /dev/null" "$(readlink "/proc/$pid/fd/0" "/proc/$pid/fd/1" "/proc/$pid/fd/2" | xargs)" "and holds no terminal"
is / "$(readlink "/proc/$pid/cwd")" "and no directory"
fails_with "mounted at $MNT" "a second mount at the same place is refused" "$CLOAKFS" mount "$IMG" "$MNT"
is hello "$(cat "$MNT/file")" "and does not harm the first"
fails_with "$WORK/nowhere.*No such" "a mount point that is not there" "$CLOAKFS" mount "$IMG" "$WORK/nowhere"
fails_with "Not a directory|not a directory" "a mount point that is a file" "$CLOAKFS" mount "$IMG" "$WORK/layer.tar"
is 1 "$(processes_here mount | wc -l)" "failed mounts leave no process"

# A mount in use is not torn away.
start "$WORK/user.log" sh -c "exec 3<'$MNT/file'; echo open; exec sleep 1000"
user=$!
wait_until 5 test -s "$WORK/user.log"
fails_with 'are open' "umount of a mount in use is refused" "$CLOAKFS" umount "$MNT"
is hello "$(cat "$MNT/file")" "and leaves it as it was"
matches 'umount --lazy' "$(cat "$LOG")" "and says what would do"
kill "$user"
wait "$user" 2>/dev/null
ok "cloakfs umount" "$CLOAKFS" umount "$MNT"
is "" "$(mounts_here | grep -F "$MNT"; processes_here mount)" "nothing is left when it returns"
fails_with 'nothing|not .*mounted|no .*mount' "umount where nothing is mounted" "$CLOAKFS" umount "$MNT"

mounts "mounts again at the same place"
ok "fusermount3 -u unmounts" fusermount3 -u "$MNT"
gone "and its process ends"

mounts "mounts once more"
ok "umount(8) unmounts" umount "$MNT"
gone "and its process ends"

# Lazily: gone for all but those who are in it, and they are served to the end.
mounts "mounts for a reader who stays"
exec 7<"$MNT/other"
ok "cloakfs umount --lazy" "$CLOAKFS" umount --lazy "$MNT"
is "" "$(mounts_here | grep -F "$MNT"; ls "$MNT")" "nobody finds it any more"
is other "$(cat <&7)" "who had a file open reads it"
ok "and the place can be used again at once" mount_image "$IMG" "$MNT"
is 2 "$(processes_here mount | wc -l)" "both are served"
exec 7<&-
one_process() { [ "$(processes_here mount | wc -l)" = 1 ]; }
ok "with the last file the first one's process ends" wait_until 5 one_process
ok "unmounts the second" "$CLOAKFS" umount "$MNT"

mounts "mounts for a hangup"
kill -HUP "$(processes_here mount)"
is other "$(cat "$MNT/other")" "SIGHUP to the daemon changes nothing"
is 1 "$(processes_here mount | wc -l)" "and it serves on"
ok "until it is unmounted" "$CLOAKFS" umount "$MNT"

mounts "mounts for a signal"
kill -TERM "$(processes_here mount)"
gone "SIGTERM to the daemon unmounts"

for i in 1 2; do
	mounts "mounts with a log of its own, $i" --log "$WORK/daemon.log"
	pid=$(processes_here mount)
	is "/dev/null /dev/null $WORK/daemon.log" "$(readlink "/proc/$pid/fd/0" "/proc/$pid/fd/1" "/proc/$pid/fd/2" | xargs)" "which is all that it holds open"
	kill -TERM "$pid"
	gone "and SIGTERM unmounts"
	matches "^20[0-9-]+T[0-9:]+Z cloakfs\\[$pid\\]: Terminated: unmounting $MNT\$" "$(tail -n 1 "$WORK/daemon.log")" "and is told there"
done
is 2 "$(wc -l <"$WORK/daemon.log")" "to the end of what is there"
fails_with "absent/log.*No such" "a log that cannot be" "$CLOAKFS" mount --log "$WORK/absent/log" "$IMG" "$MNT"

for sig in TERM INT HUP; do
	start "$WORK/foreground.log" env --default-signal=INT,HUP "$CLOAKFS" mount --foreground "$IMG" "$MNT"
	pid=$!
	wait_until 20 test -e "$MNT/file"
	is hello "$(cat "$MNT/file" 2>&1)" "a foreground mount serves"
	kill -$sig "$pid"
	wait "$pid"
	is 0 $? "SIG$sig ends it well"
	gone "SIG$sig unmounts it"
done

# A daemon that dies leaves a mount that is good for nothing.
for mode in fuse erofs; do
	mounts "mounts to be killed, $mode" --mode $mode
	exec 7<"$MNT/other"
	kill -9 "$(processes_here mount)"
	wait_until 5 no_processes_here mount
	matches 'not connected|Input/output' "$(cat "$MNT/other" 2>&1)" "a killed daemon leaves a stale mount"
	counters_reset
	fails_with 'is gone.*cloakfs umount' "mounting over it says what to do" "$CLOAKFS" mount "$IMG" "$MNT"
	is 0 "$(counter hsm_release)" "before a key is fetched"
	ok "cloakfs umount clears the stale mount, though a file is open" "$CLOAKFS" umount "$MNT"
	gone "nothing is left of it"
	exec 7<&-
	mounts "and the place can be used again"
	"$CLOAKFS" umount "$MNT"
done
mounts "mounts to be left alone"

# The daemon needs nobody any more once it serves.
azure_stop
is hello "$(cat "$MNT/file")" "it serves on without the cloud"
fails_with "$WORK" "umount of a mount of somebody else's kind is refused" "$CLOAKFS" umount "$WORK"
ok "unmounted at last" "$CLOAKFS" umount "$MNT"
gone "nothing is left"

# Killed while mounting: nothing stays behind.
"$AZSIM" start --state "$AZ" >/dev/null 2>&1 || bail "the local Azure starts again"
azure_set "fault.maa_attest=hang"
start "$WORK/starting.log" "$CLOAKFS" mount "$IMG" "$MNT"
pid=$!
wait_until 10 sh -c "[ \"\$($AZSIM counters --state '$AZ' | jq .maa_attest)\" != 0 ]"
kill -INT "$pid"
kill -TERM "$pid" 2>/dev/null
gone "a mount interrupted while it attests leaves nothing"

finish
