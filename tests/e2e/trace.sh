#!/bin/bash
# trace.sh - what a mount is asked for, recorded; and put into indexes as what to fetch first.
# shellcheck source=tests/e2e/lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

MNT=$WORK/mnt
TRACE=$WORK/trace
KEY=$WORK/key.pem
ODD=$'d/a name\t\n\\' # all that is escaped
openssl genrsa -out "$KEY" 2048 2>/dev/null
openssl pkey -in "$KEY" -pubout -out "$WORK/pub.pem"

# ---- an image whose files' sizes are known ----
mkdir -p "$WORK/0/d" "$WORK/1/d"
for f in first second unread upper; do head -c 300001 /dev/urandom >"$WORK/0/d/$f"; done
head -c 5000000 /dev/urandom >"$WORK/0/d/large"
head -c 777 /dev/urandom >"$WORK/0/$ODD"
head -c 100 /dev/urandom >"$WORK/0/small"
ln "$WORK/0/d/first" "$WORK/0/d/link"
echo new >"$WORK/1/d/upper"
head -c 200000 /dev/urandom >"$WORK/1/d/third"
tar -C "$WORK/0" -cf "$WORK/0.tar" --format=posix d/unread d/first d/link d/large d/upper d/second small "$ODD"
tar -C "$WORK/1" -cf "$WORK/1.tar" --format=posix d/upper d/third
layout_new "$WORK/img"
layout_add "$WORK/img" "$WORK/0.tar" gzip
layout_add "$WORK/img" "$WORK/1.tar" zstd
layout_finish "$WORK/img" latest
IMAGE=oci:$WORK/img:latest

# Reads some files in an order that is not the tar's, one of them only in parts; $1 and $2 are the
# directories of the layers' files.
use() {
	cat "$2/d/third" "$1/d/second" "$1/$ODD" "$1/d/first" >/dev/null
	cat "$1/d/second" "$1/d/link" >/dev/null
	cat "$2/d/upper" "$1/small" >/dev/null
}
WANT='1 0 200000 d/third
0 0 300001 d/second
0 0 777 d/a\040name\011\012\134
0 0 300001 d/first
1 0 4 d/upper
0 0 100 small'

up() { # [options]
	mount_image "$IMAGE" "$MNT" --cache-dir none --record "$TRACE" "$@" || bail "mounting" "$(cat "$LOG")"
}
down() {
	"$CLOAKFS" umount "$MNT" >"$LOG" 2>&1 || bail "unmounting" "$(cat "$LOG")"
}
recorded() {
	tail -n +2 "$TRACE"
}

for mode in fuse erofs; do
	up --mode $mode
	is "cloakfs-trace 1" "$(cat "$TRACE")" "$mode: the trace begins with nothing"
	find "$MNT" -ls >/dev/null
	use "$MNT" "$MNT"
	down
	is "cloakfs-trace 1" "$(head -n 1 "$TRACE")" "$mode: the trace says what it is"
	is "$WANT" "$(recorded)" "$mode: the files that were read, all of them, in order"
	is 600 "$(stat -c %a "$TRACE")" "$mode: it is its owner's"
	cp "$TRACE" "$WORK/$mode.trace"
done

# ---- the layers view, where each layer has a tree of its own ----
up --view layers
use "$MNT/0" "$MNT/1"
is "600 600" "$(stat -c %a "$MNT/0.tar" "$TRACE" | sed 's/^4/6/' | xargs)" "layers: the tar streams are there"
down
is "$WANT" "$(recorded)" "layers: the same"

# ---- parts of a file, and what the trace has while the mount lives ----
part() { # MODE OFFSET: the lines of the large file when a page at OFFSET was read
	up --mode "$1"
	dd if="$MNT/d/large" of=/dev/null bs=4096 count=1 skip="$2" iflag=skip_bytes status=none
	wait_until 10 grep -q large "$TRACE" || bail "$1: a living mount writes its trace"
	pass "$1: a living mount writes its trace"
	cp "$TRACE" "$WORK/living"
	down
	same "$WORK/living" "$TRACE" "$1: nothing more came in the end"
}
for mode in fuse erofs; do
	part $mode 2097152
	is 1 "$(recorded | wc -l)" "$mode: one line for one read"
	# shellcheck disable=SC2016
	ok "$mode: it holds what was read, and little more" awk 'NR == 2 { exit !($2 <= 2097152 && $2 >= 2097152 - 1048576 &&
		$2 + $3 >= 2101248 && $2 + $3 <= 2101248 + 2097152 && $4 == "d/large") }' "$TRACE"
done

# Foreground, and a relative name: the daemon leaves the directory, the file stays where it was.
cd "$WORK" || exit
up --mode fuse --record relative
cd / || exit
cat "$MNT/small" >/dev/null
down
is "0 0 100 small" "$(tail -n +2 "$WORK/relative")" "a relative name is that of where mount was called"
mkdir -p "$MNT"
start "$WORK/fg" "$CLOAKFS" mount --foreground --cache-dir none --mode fuse --record "$TRACE" "$IMAGE" "$MNT"
pid=$!
wait_until 20 is_mounted "$MNT"
cat "$MNT/small" >/dev/null
kill "$pid"
ends_within 20 "$pid" "SIGTERM ends a mount that records"
is "0 0 100 small" "$(recorded)" "and its trace is written"

# ---- what cannot be written to is said before anything is mounted ----
fails_with '/nonexistent/trace' "no such directory" "$CLOAKFS" mount --record /nonexistent/trace "$IMAGE" "$MNT"
fails_with 'irectory' "a directory" "$CLOAKFS" mount --record "$WORK" "$IMAGE" "$MNT"
ok "nothing is mounted then" test -z "$(mounts_here)"

# ---- into the index of sealed layers ----
status_of() { # JQ
	"$CLOAKFS" status --json "$MNT" | jq -c "$1"
}
list_of() { # IMAGE: ranges and bytes of each layer's list, as a mount tells
	mount_image "$1" "$MNT" --cache-dir none --key "$KEY" || bail "$1 mounts" "$(cat "$LOG")"
	status_of '.mounts[0].layers | map([.prefetch_ranges, .prefetch_bytes])'
	down
}
cp "$WORK/fuse.trace" "$WORK/use.trace"
printf '0 0 10 d/gone\n0 400000 1 d/first\n7 0 1 d/first\n' >>"$WORK/use.trace"
ok "encrypt --prefetch" "$CLOAKFS" encrypt --prefetch "$WORK/use.trace" --key "$WORK/pub.pem" "$IMAGE" "oci:$WORK/sealed:latest"
matches '3 of 9 entries of .*use.trace are not in the image' "$(cat "$LOG")" "what is not there is counted"
# Layer 0: from second to the odd name (300,032 and 1,024 bytes of blocks, with small's 512 and two
# files' headers of 1,536 between them), and first; layer 1: both files, with a header.
is '[[2,604672],[1,202240]]' "$(list_of "oci:$WORK/sealed:latest")" "the lists are in the index"
is "$(jq -c .rootfs.diff_ids "$WORK/img/blobs/sha256/$(jq -r '.config.digest[7:]' "$(layout_manifest "$WORK/img")")")" \
	"$(jq -c .rootfs.diff_ids "$WORK/sealed/blobs/sha256/$(jq -r '.config.digest[7:]' "$(layout_manifest "$WORK/sealed")")")" "diff_ids stay"
ok "and verify finds it whole" "$CLOAKFS" verify --key "$KEY" "oci:$WORK/sealed:latest"
matches 'to prefetch' "$(mount_image "oci:$WORK/sealed:latest" "$MNT" --cache-dir none --key "$KEY" && "$CLOAKFS" status "$MNT"; "$CLOAKFS" umount "$MNT")" \
	"status tells people"
ok "without" "$CLOAKFS" encrypt --key "$WORK/pub.pem" "$IMAGE" "oci:$WORK/unlisted:latest"
is '[[0,0],[0,0]]' "$(list_of "oci:$WORK/unlisted:latest")" "there is none"
ok "some of the layers" "$CLOAKFS" encrypt --layers 1 --prefetch "$WORK/fuse.trace" --key "$WORK/pub.pem" "$IMAGE" "oci:$WORK/some:latest"
matches '4 of 6 entries of .* are of layers whose index is not made here' "$(cat "$LOG")" "those of others are counted"
is '[[0,0],[1,202240]]' "$(list_of "oci:$WORK/some:latest")" "and have no list"

# ---- into indexes outside ----
"$CLOAKFS" encrypt --cipher ctr --key "$WORK/pub.pem" "$IMAGE" "oci:$WORK/ctr:latest" >"$LOG" 2>&1 || bail "encrypting" "$(cat "$LOG")"
ok "index --prefetch" "$CLOAKFS" index --key "$KEY" --prefetch "$WORK/use.trace" "oci:$WORK/ctr:latest"
matches '3 of 9 entries of .*use.trace are not in the image' "$(cat "$LOG")" "what is not there is counted"
is '[[2,604672],[1,202240]]' "$(list_of "oci:$WORK/ctr:latest")" "the lists come with the artifact"
is '"kept"' "$(mount_image "oci:$WORK/ctr:latest" "$MNT" --cache-dir none --key "$KEY" && status_of '.mounts[0].layers[0].index'; "$CLOAKFS" umount "$MNT")" \
	"by which it mounts"

# ---- traces that are none ----
bad() { # LINE-NUMBER-AND-WHY TEXT
	printf '%b' "$2" >"$WORK/bad"
	fails_with "$WORK/bad line $1" "encrypt refuses: line $1" "$CLOAKFS" encrypt --prefetch "$WORK/bad" --key "$WORK/pub.pem" "$IMAGE" "oci:$WORK/none:latest"
}
bad '1: not a trace' ''
bad '1: not a trace' 'some text\n'
bad '3: no path' 'cloakfs-trace 1\n0 0 1 a\n0 0 1 \n'
bad '2: it is cut short' 'cloakfs-trace 1\n0 0 1 a'
ok "nothing is written then" test ! -e "$WORK/none"
printf 'no trace\n' >"$WORK/bad"
fails_with "$WORK/bad line 1" "so does index" "$CLOAKFS" index --key "$KEY" --prefetch "$WORK/bad" "oci:$WORK/ctr:latest"
fails_with "/nonexistent" "a file that is not there" "$CLOAKFS" index --key "$KEY" --prefetch /nonexistent "oci:$WORK/ctr:latest"
for args in "--cipher ctr" "--compress keep"; do
	# shellcheck disable=SC2086
	"$CLOAKFS" encrypt $args --prefetch "$WORK/use.trace" --key "$WORK/pub.pem" "$IMAGE" "oci:$WORK/none:latest" >"$LOG" 2>&1
	is 2 $? "$args --prefetch is a wrong usage"
	matches 'index --prefetch' "$(cat "$LOG")" "which is told what to do"
done

finish
