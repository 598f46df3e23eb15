#!/bin/bash
# trace.sh - what a mount is asked for, recorded; and put into indexes as what to fetch first.
# shellcheck source=tests/e2e/lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

MNT=$WORK/mnt
TRACE=$WORK/trace
KEY=$WORK/key.pem
openssl genrsa -out "$KEY" 2048 2>/dev/null
openssl pkey -in "$KEY" -pubout -out "$WORK/pub.pem"

# ---- an image whose files' sizes are known ----
mkdir -p "$WORK/0/d" "$WORK/1/d"
for f in first second unread upper; do head -c 300001 /dev/urandom >"$WORK/0/d/$f"; done
head -c 5000000 /dev/urandom >"$WORK/0/d/large"
head -c 777 /dev/urandom >"$WORK/0/d/a name"$'\t\n''\' # and what stands for a space, all in one
head -c 100 /dev/urandom >"$WORK/0/small"
ln "$WORK/0/d/first" "$WORK/0/d/link"
echo new >"$WORK/1/d/upper"
head -c 200000 /dev/urandom >"$WORK/1/d/third"
tar -C "$WORK/0" -cf "$WORK/0.tar" --format=posix d/unread d/first d/link d/large d/upper d/second small "d/a name"$'\t\n''\'
tar -C "$WORK/1" -cf "$WORK/1.tar" --format=posix d/upper d/third
layout_new "$WORK/img"
layout_add "$WORK/img" "$WORK/0.tar" gzip
layout_add "$WORK/img" "$WORK/1.tar" zstd
layout_finish "$WORK/img" latest
IMAGE=oci:$WORK/img:latest

# Reads some files in an order that is not the tar's, one of them only in parts; $1 and $2 are the
# directories of the layers' files.
use() {
	cat "$2/d/third" "$1/d/second" "$1/d/a name"$'\t\n''\' "$1/d/first" >/dev/null
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
cat "$WORK"/*.trace
finish
