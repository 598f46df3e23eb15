#!/bin/bash
# Every read is answered within a deadline, whatever hangs below: in both modes, and mounts end.
# shellcheck source=tests/e2e/lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

MNT=$WORK/mnt
DISK=$WORK/disk       # what hangs
CONTROL=$WORK/control # and when
CACHE=$WORK/cache
SHORT=1000            # deadlines in ms: one that is awaited,
LONG=240000           # one that is not
BOUND=20              # seconds: much more than the one, much less than the other

# A layer of what cannot be compressed, and a small one that never hangs.
mkdir "$WORK/noise" "$WORK/image" "$DISK" "$MNT"
for i in $(seq 60 -1 1); do # what EROFS is tried with, the first by name, is the last in the tar
	head -c 2000000 /dev/urandom >"$WORK/noise/$i"
	echo "file noise/$i from=$WORK/noise/$i"
done >"$WORK/spec"
echo end >>"$WORK/spec"
"$E2E/mktar" <"$WORK/spec" >"$WORK/noise.tar"
printf 'file good data=good\nfile better data=better\nend\n' | "$E2E/mktar" >"$WORK/good.tar"
layout_new "$WORK/plain"
layout_add "$WORK/plain" "$WORK/noise.tar" zstd
layout_add "$WORK/plain" "$WORK/good.tar" gzip
layout_finish "$WORK/plain"
openssl genrsa -out "$WORK/key.pem" 2048 2>/dev/null
openssl pkey -in "$WORK/key.pem" -pubout -out "$WORK/pub.pem"
"$CLOAKFS" encrypt --key "$WORK/pub.pem" "oci:$WORK/plain:latest" "oci:$WORK/image:latest" >"$LOG" 2>&1 ||
	bail "encrypting" "$(cat "$LOG")"
noise=$(basename "$(layout_blob "$WORK/image" 0)")
start "$WORK/hangfs.log" "$E2E/hangfs" "$WORK/image" "$CONTROL" "$DISK"
wait_until 10 test -e "$DISK/index.json" || bail "a filesystem that can hang" "$(cat "$WORK/hangfs.log")"

export CLOAKFS_CONFIG=$WORK/cloakfs.json

# up MODE DEADLINE-MS: in the foreground, where one reads what it says.
up() {
	mode=$1
	echo "{\"request_timeout_ms\": $2, \"unit_cache_mib\": 8, \"metrics\": \"unix:m.sock\"}" >"$CLOAKFS_CONFIG"
	start "$WORK/daemon.log" "$CLOAKFS" mount --foreground --mode "$mode" --key "$WORK/key.pem" \
		--cache-dir "$CACHE" "oci:$DISK:latest" "$MNT"
	daemon=$!
	wait_until $BOUND test -e "$MNT/good" || bail "$mode: it mounts" "$(cat "$WORK/daemon.log")"
}
types() {
	awk -v m="$MNT" '$2 == m { printf "%s ", $3 }' /proc/self/mounts
}
# hang [FROM [TO [deaf]]]: the blob; the kernel caches nothing of it.
hang() {
	echo 3 >/proc/sys/vm/drop_caches
	echo "$noise ${1:-0} ${2:-1000000000} ${3:-}" >"$CONTROL.new"
	mv "$CONTROL.new" "$CONTROL"
}
heal() {
	rm -f "$CONTROL"
}
# within TEXT COMMAND...: it ends in time, well or not; what it wrote is in $LOG.
within() {
	local text=$1
	shift
	timeout -s KILL $BOUND "$@" >"$LOG" 2>&1 </dev/null
	if [ $? != 137 ]; then
		pass "$text"
	else
		fail "$text" "not done after $BOUND s: $*"
	fi
}
# eio TEXT COMMAND...: it ends in time, and says so.
eio() {
	within "$@" && matches 'Input/output error' "$(cat "$LOG")" "with an input/output error"
}
# readers FIRST LAST: one for each of these files.
readers() {
	local i
	READERS=
	for i in $(seq "$1" "$2"); do
		start "$WORK/reader.$i" cat "$MNT/noise/$i"
		READERS="$READERS $!"
	done
}
# begun PID: it has a file open, or had.
begun() {
	ended "$1" || readlink "/proc/$1/fd/"* 2>/dev/null | grep -q "^$MNT/noise/"
}
# waiting PID: for a page.
waiting() {
	begun "$1" && [ "$(awk '/^State/ { print $2 }' "/proc/$1/status" 2>/dev/null)" = D ]
}
all() { # WHAT: of the readers
	local p
	for p in $READERS; do
		"$1" "$p" || return 1
	done
}
right() { # N TEXT
	is "$(sha256sum <"$WORK/noise/$1")" "$(timeout $BOUND cat "$MNT/noise/$1" | sha256sum)" "$2"
}
answers() { # TEXT: everything but the layer that hangs
	within "$mode: $1: directories are listed" ls -l "$MNT/noise"
	is 61 "$(wc -l <"$LOG")" "$mode: $1: and whole"
	within "$mode: $1: another layer is read" cat "$MNT/good"
	is good "$(cat "$LOG")" "$mode: $1: and right"
	within "$mode: $1: metrics are told" curl -sS --unix-socket "$WORK/m.sock" http://localhost/metrics
	matches '^cloakfs_reads_total [0-9]+$' "$(cat "$LOG")" "$mode: $1: in full"
}
daemon_ends() { # TEXT
	ends_within $BOUND "$daemon" "$1"
	ended "$daemon" || bail "$1: nothing can follow"
	wait "$daemon"
	is 0 $? "$1: with success"
	is "" "$(types)" "$1: and nothing stays mounted"
	is gone "$([ -e "$WORK/m.sock" ] || echo gone)" "$1: nor any socket"
	is "$2" "$(grep -c 'given up' "$WORK/daemon.log")" "$1: and says what it gave up"
}

one_reader() {
	up "$1" $SHORT
	right 60 "$mode: a file of the layer"
	hang
	eio "$mode: a read of what hangs ends" cat "$MNT/noise/10"
	is 0 "$(cat "$MNT/noise/10" 2>/dev/null | wc -c)" "$mode: and gives not a byte"
	matches 'layer 0: read of .* not answered within 1.0 s' "$(cat "$WORK/daemon.log")" "$mode: the daemon says what hangs"
	answers "meanwhile"
	heal
	ok "$mode: when it hangs no more, the file is read" wait_until $BOUND cmp "$WORK/noise/10" "$MNT/noise/10"
	right 11 "$mode: and the next"
	# One after the other: no more than a few may take a thread each, for a deadline.
	hang
	for i in $(seq 20 49); do
		timeout -s KILL $BOUND cat "$MNT/noise/$i" 2>&1 >/dev/null
	done >"$LOG"
	is 30 "$(grep -c 'Input/output error' "$LOG")" "$mode: 30 reads, one after the other, are errors"
	most=$(sed -n 's/.*(\([0-9]*\) hang.*/\1/p' "$WORK/daemon.log" | sort -n | tail -n 1)
	matches '^([2-9]|1[0-6])$' "$most" "$mode: few of which took a thread"
	answers "then"
	heal
	ok "$mode: all of them come back" wait_until $BOUND cmp "$WORK/noise/49" "$MNT/noise/49"
	within "$mode: umount ends" "$CLOAKFS" umount "$MNT"
	daemon_ends "$mode: the daemon ends" 0
}

# Nobody's deadline comes here. A reader of EROFS has many reads under way; what 30 of them have
# can be more than there are threads for.
patience() {
	up "$1" $LONG
	hang
	readers 10 "$2"
	ok "$mode: readers wait" wait_until $BOUND all waiting
	answers "while they wait"
	some=$READERS
	readers $(($2 + 1)) 39
	READERS="$some $READERS"
	ok "$mode: 30 readers wait" wait_until $BOUND all waiting
	echo 3 >/proc/sys/vm/drop_caches # so that nothing is answered from what was kept by chance
	within "$mode: while they wait, and nothing is cached, all is listed" ls -lR "$MNT"
	is 68 "$(wc -l <"$LOG")" "$mode: and whole"
	echo 3 >/proc/sys/vm/drop_caches
	within "$mode: and attributes told" stat "$MNT/noise/60" "$MNT/better"
	is 2 "$(grep -c 'regular file' "$LOG")" "$mode: of all that was asked for"
	ok "$mode: they wait on" all waiting
	heal
	ok "$mode: in the end all are answered" wait_until $BOUND all ended
	is "$(cd "$WORK/noise" && cat {10..39} | sha256sum)" "$(cd "$WORK" && cat reader.{10..39} | sha256sum)" "$mode: with the right bytes"
	within "$mode: umount ends" "$CLOAKFS" umount "$MNT"
	daemon_ends "$mode: the patient daemon ends" 0
}

many_readers() {
	up "$1" $SHORT
	rm -f "$WORK"/reader.*
	hang
	readers 10 39
	ok "$mode: 30 readers hear of it" wait_until $BOUND all ended
	is 30 "$(grep -l 'Input/output error' "$WORK"/reader.* | wc -l)" "$mode: as an input/output error"
	answers "after 30 errors"
	heal
	ok "$mode: all can be read afterwards" wait_until $BOUND cmp "$WORK/noise/39" "$MNT/noise/39"
	right 25 "$mode: with the right bytes"
	# A reader that is killed.
	hang
	readers 50 50
	wait_until $BOUND all begun
	kill -9 $READERS 2>/dev/null
	ok "$mode: killed, it ends" wait_until $BOUND all ended
	within "$mode: umount ends though the read hangs" "$CLOAKFS" umount "$MNT"
	daemon_ends "$mode: so does the daemon" 1
	heal
}

signalled() {
	up "$1" $SHORT
	hang
	readers 10 14
	wait_until $BOUND all begun
	kill -TERM "$daemon"
	daemon_ends "$mode: SIGTERM while it hangs ends the daemon" 1
	ok "$mode: and the readers" wait_until $BOUND all ended
	heal
}

# Not even a kill ends the daemon: but it lets go of the mount.
deaf() {
	up "$1" $SHORT
	exec 7<"$MNT/good" 8<"$MNT/noise/30"
	hang 0 1000000000 deaf
	readers 10 14
	wait_until $BOUND all begun
	kill -TERM "$daemon"
	ok "$mode: SIGTERM unmounts though nothing ends the threads" wait_until $BOUND eval '[ -z "$(types)" ]'
	ok "$mode: readers end" wait_until $BOUND all ended
	within "$mode: and who has a file open" cat <&8
	exec 7<&- 8<&-
	heal
	daemon_ends "$mode: with what hung ends the daemon" 1
	up "$1" $SHORT
	hang 0 1000000000 deaf
	readers 10 10
	wait_until $BOUND all begun
	kill -9 $READERS 2>/dev/null
	ok "$mode: umount does not wait for such threads" timeout $BOUND "$CLOAKFS" umount "$MNT"
	is "" "$(types)" "$mode: nor does the mount stay"
	heal
	daemon_ends "$mode: afterwards the daemon ends" 1
}

# The layer hangs, but for its index, before it is mounted.
mounted_late() {
	hang 1000000 119000000
	up "$1" $SHORT
	is "$2" "$(types)" "$mode: what hangs can be mounted"
	eio "$mode: reads of it are errors" cat "$MNT/noise/10"
	heal
	ok "$mode: and right afterwards" wait_until $BOUND cmp "$WORK/noise/10" "$MNT/noise/10"
	within "$mode: umount ends" "$CLOAKFS" umount "$MNT"
	daemon_ends "$mode: and the daemon" 0
}

# What is read ahead hangs, and no reader does.
ahead() {
	up fuse $SHORT
	hang 10250000
	for i in 60 59 58 57 56; do
		timeout -s KILL $BOUND dd if="$MNT/noise/$i" of=/dev/null bs=128k iflag=direct 2>&1
	done >"$LOG"
	is 5 "$(grep -c copied "$LOG")" "what does not hang is read"
	within "umount ends though a read ahead hangs" "$CLOAKFS" umount "$MNT"
	daemon_ends "so does the daemon" "$1"
	heal
}

for m in fuse erofs; do
	one_reader $m
	patience $m "$([ $m = fuse ] && echo 25 || echo 12)"
	many_readers $m
	signalled $m
	deaf $m
done
mounted_late fuse "fuse.cloakfs "
mounted_late auto "fuse.cloakfs erofs "
ahead "$([ "$(nproc)" = 1 ] && echo 0 || echo 1)" # with one CPU nothing is read ahead

finish
