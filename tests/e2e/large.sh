#!/bin/bash
# A directory of a million entries, in both modes.
# shellcheck source=tests/e2e/lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

MNT=$WORK/mnt
N=1000000
mkdir "$MNT"
layout_new "$WORK/many"
{ seq -f 'file d/entry%07.0f' $N && echo end; } | "$E2E/mktar" >"$WORK/many.tar"
layout_add "$WORK/many" "$WORK/many.tar" zstd
printf 'file d/entry0500000 data=replaced\nfile d/.wh.entry0000001\nfile d/more data=more\nend\n' | "$E2E/mktar" >"$WORK/many.tar"
layout_add "$WORK/many" "$WORK/many.tar" raw
layout_finish "$WORK/many" latest
rm "$WORK/many.tar"

for mode in erofs fuse; do
	ok "$mode: mounts" mount_image "oci:$WORK/many:latest" "$MNT" --mode $mode --cache-dir "$WORK/cache"
	is $N "$(find "$MNT/d" -maxdepth 1 -type f | wc -l)" "$mode: all are listed"
	is $N "$(find "$MNT/d" -maxdepth 1 -type f | sort -u | wc -l)" "$mode: and each once"
	is "replaced more" "$(cat "$MNT/d/entry0500000") $(cat "$MNT/d/more")" "$mode: what another layer put there is found"
	for i in 0000002 0000003 0123456 0499999 0500001 0999999 1000000; do
		[ -f "$MNT/d/entry$i" ] || fail "$mode: $i is found"
	done
	matches 'No such file' "$(cat "$MNT/d/entry0000001" 2>&1)" "$mode: what it hides is not"
	matches 'No such file' "$(cat "$MNT/d/entry1000001" 2>&1)" "$mode: nor what never was"
	ok "$mode: unmounts" "$CLOAKFS" umount "$MNT"
done
finish
