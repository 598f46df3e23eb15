#!/bin/bash
# soak.sh - a daemon under ThreadSanitizer, and four readers for a long time, in each mode: nothing
# they read may differ, the sanitizer may say nothing, and memory may not grow. `make soak`.
#
# SOAK_SECONDS: for each mode (600).
# shellcheck source=tests/e2e/lib/tap.sh
. "$(dirname "$0")/e2e/lib/tap.sh"

TIME=${SOAK_SECONDS:-600}
MNT=$WORK/mnt
mkdir "$MNT" "$WORK/copy"
export TSAN_OPTIONS=log_path=$WORK/tsan
openssl genrsa -out "$WORK/key.pem" 2048 2>/dev/null
openssl pkey -in "$WORK/key.pem" -pubout -out "$WORK/pub.pem"

# More than the cache of units holds, in files of every size.
torture_tree "$WORK/copy"
for i in 1 2 3 4; do
	head -c 40000000 /dev/urandom >"$WORK/copy/noise$i"
	seq $((i * 1000000)) $((i * 5000000)) >"$WORK/copy/numbers$i"
done
layout_new "$WORK/image"
tar -C "$WORK/copy" -cSf "$WORK/1.tar" --format=posix --xattrs --xattrs-include='*' --numeric-owner .
layout_add "$WORK/image" "$WORK/1.tar" zstd
layout_finish "$WORK/image" latest
rm "$WORK/1.tar"
"$SRC/build/cloakfs" encrypt --key "$WORK/pub.pem" "oci:$WORK/image:latest" "oci:$WORK/sealed:latest" >"$LOG" 2>&1 ||
	bail "sealing" "$(cat "$LOG")"

rss_mib() { awk '/^VmRSS/ { print int($2 / 1024) }' "/proc/$1/status"; }
for mode in erofs fuse; do
	mount_image "oci:$WORK/sealed:latest" "$MNT" --mode $mode --key "$WORK/key.pem" --cache-dir none || bail "$mode mounts" "$(cat "$LOG")"
	pid=$(processes_here mount)
	end=$((SECONDS + TIME)) round=0 first=0
	while [ $SECONDS -lt $end ]; do
		round=$((round + 1))
		echo 1 >/proc/sys/vm/drop_caches # else the daemon is not asked any more
		"$E2E/readmix" -j 4 -t 20 -s $round "$WORK/copy" "$MNT" || { fail "$mode: what is read" "in round $round"; break; }
		now=$(rss_mib "$pid")
		[ $round != 3 ] || first=$now
		note "$mode: round $round, RSS $now MiB"
	done
	ok "$mode: $round rounds of four readers, $TIME s" test $SECONDS -ge $end
	ok "$mode: memory does not grow (MiB: $first, then $now)" test $round -lt 4 -o "$now" -le $((first * 5 / 4))
	ok "$mode: unmounts" "$CLOAKFS" umount "$MNT"
	is "" "$(cat "$WORK"/tsan* 2>/dev/null | head -n 40)" "$mode: the sanitizer says nothing"
done
finish
