#!/bin/bash
# EROFS mode: the kernel shows the tree that other programs unpack, and FUSE mode shows.
# shellcheck source=tests/e2e/lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

MNT=$WORK/mnt
openssl genrsa -out "$WORK/key.pem" 2048 2>/dev/null
openssl pkey -in "$WORK/key.pem" -pubout -out "$WORK/pub.pem"

up() { # LAYOUT [options]
	local layout=$1
	shift
	mount_image "oci:$layout:latest" "$MNT" --key "$WORK/key.pem" --cache-dir none "$@" ||
		bail "$(basename "$layout") mounts" "$(cat "$LOG")"
}
down() {
	"$CLOAKFS" umount "$MNT" >"$LOG" 2>&1 || bail "unmounting" "$(cat "$LOG")"
}
types() { # of what is mounted at MNT, from below
	awk -v m="$MNT" '$2 == m { printf "%s ", $3 }' /proc/self/mounts
}
sealed() { # LAYOUT
	"$CLOAKFS" encrypt --key "$WORK/pub.pem" "oci:$1:latest" "oci:$1.sealed:latest" >"$LOG" 2>&1 ||
		bail "sealing $1" "$(cat "$LOG")"
}
# same_as_tree DIR TEXT: but for the mtimes of directories, which unpackers set differently.
same_as_tree() {
	treedump -d "$1" >"$WORK/want.dump" 2>&1
	treedump -dc "$MNT" >"$WORK/got.dump" 2>&1
	[ "$(wc -l <"$WORK/want.dump")" -ge 20 ] || bail "$2" "the reference is nearly empty"
	same "$WORK/want.dump" "$WORK/got.dump" "$2 ($(wc -l <"$WORK/got.dump") files)"
}

# ---- whatever tar allows -----------------------------------------------------------------------
torture_tree "$WORK/tree"
cp /usr/bin/id "$WORK/tree/modes/suid-id"
chmod 4755 "$WORK/tree/modes/suid-id"
image_torture "$WORK/torture" "$WORK/tree"
unpack_with tar "$WORK/torture" "$WORK/gnu" || bail "GNU tar unpacks"
sealed "$WORK/torture"
up "$WORK/torture.sealed" --mode erofs
is "fuse.cloakfs erofs " "$(types)" "EROFS lies over FUSE"
kill -STOP "$(processes_here mount)" # nobody has looked at anything yet
find "$WORK/gnu" -printf '%P %M %U %G %l\n' | sort >"$WORK/want.names"
timeout -s KILL 20 find "$MNT" -printf '%P %M %U %G %l\n' 2>&1 | sort >"$WORK/got.names"
same "$WORK/want.names" "$WORK/got.names" "names and attributes need no daemon"
kill -CONT "$(processes_here mount)"
same_as_tree "$WORK/gnu" "the torture image as GNU tar unpacks it"
echo 3 >/proc/sys/vm/drop_caches
same_as_tree "$WORK/gnu" "the same after the kernel dropped its caches"
treedump -c "$MNT" >"$WORK/erofs.dump" 2>&1
is 0 "$(setpriv --reuid=65534 --regid=65534 --clear-groups "$MNT/modes/suid-id" -u 2>&1)" "a setuid program of the image is one"
matches 'Read-only' "$(touch "$MNT/new" 2>&1)" "nothing can be made in it"
down
is "" "$(types)" "one command unmounts both"
ok "and its process is gone" no_processes_here mount
up "$WORK/torture.sealed" --mode fuse
treedump -c "$MNT" >"$WORK/fuse.dump" 2>&1
same "$WORK/fuse.dump" "$WORK/erofs.dump" "FUSE mode shows the same, mtimes of directories too"
down

# ---- what chunks can say, and what not ------------------------------------------------------------
layout_new "$WORK/odd"
{
	for i in $(seq 300); do printf 'file many/%0200d data=%d\n' $i $i; done
	printf 'file big zeros=5000000\n'
	printf 'file pax-1.0 data=3\\x0a0\\x0a5\\x0a700\\x0a6\\x0a999994\\x0a6\\x0a'
	printf '\\x00%.0s' $(seq $((512 - 21)))
	printf 'firstmiddlelaster x.GNU.sparse.major=1 x.GNU.sparse.minor=0 x.GNU.sparse.name=sparse x.GNU.sparse.realsize=1000000\n'
	printf 'symlink long link=%0600d\nfile empty\nend\n' 7
} | "$E2E/mktar" >"$WORK/odd.tar"
layout_add "$WORK/odd" "$WORK/odd.tar" gzip
printf 'file big data=small\\x20now\nfile many/.wh.%0200d\nhardlink other link=empty\nend\n' 5 | "$E2E/mktar" >"$WORK/odd2.tar"
layout_add "$WORK/odd" "$WORK/odd2.tar" raw
layout_finish "$WORK/odd" latest
sealed "$WORK/odd"
up "$WORK/odd.sealed" --mode fuse
treedump -c "$MNT" >"$WORK/fuse.dump" 2>&1
sparse=$(sha256sum <"$MNT/sparse")
down
up "$WORK/odd.sealed" --mode erofs
treedump -c "$MNT" >"$WORK/erofs.dump" 2>&1
same "$WORK/fuse.dump" "$WORK/erofs.dump" "odd files are the same in both modes ($(wc -l <"$WORK/fuse.dump") files)"
is "$sparse" "$(sha256sum <"$MNT/sparse")" "a sparse file whose data begin in mid-block"
is "first 1000000" "$(head -c 5 "$MNT/sparse") $(stat -c %s "$MNT/sparse")" "has its bytes and its length"
is "middle" "$(tail -c +701 "$MNT/sparse" | head -c 6)" "in the middle, too"
is "laster" "$(tail -c 6 "$MNT/sparse")" "and at its end"

# ---- ends ---------------------------------------------------------------------------------------
exec 7<"$MNT/big"
fails_with 'umount --lazy' "umount of a mount in use is refused" "$CLOAKFS" umount "$MNT"
is "fuse.cloakfs erofs " "$(types)" "and leaves both as they were"
ok "umount --lazy takes both" "$CLOAKFS" umount --lazy "$MNT"
is "" "$(types)" "and nobody finds them any more"
is "small now" "$(cat <&7)" "who had a file open reads it"
exec 7<&-
ok "with the last file the process ends" wait_until 10 no_processes_here mount
up "$WORK/odd.sealed" --mode erofs
kill -TERM "$(processes_here mount)"
ok "SIGTERM ends the process" wait_until 10 no_processes_here mount
is "" "$(types)" "and unmounts both"

up "$WORK/odd.sealed" --mode erofs
ok "umount(8) takes EROFS away" umount "$MNT"
ok "and the mount below goes after it" wait_until 5 eval '[ -z "$(types)" ]'
ok "and the process" wait_until 5 no_processes_here mount
up "$WORK/odd.sealed" --mode erofs
exec 7<"$MNT/big"
ok "so it does when umount(8) is lazy" umount -l "$MNT"
ok "both are gone" wait_until 5 eval '[ -z "$(types)" ]'
is "small now" "$(cat <&7)" "and who had a file open reads it"
exec 7<&-
ok "until it is closed" wait_until 10 no_processes_here mount

# What lay at the place before stays there, whoever is first with the mount below.
mount -t tmpfs below "$MNT"
gone=0
for i in $(seq 25); do
	up "$WORK/odd.sealed" --mode erofs
	"$CLOAKFS" umount "$MNT" >"$LOG" 2>&1 && [ "$(types)" = "tmpfs " ] && gone=$((gone + 1))
done
is 25 "$gone" "cloakfs umount takes its own two mounts, 25 times"
umount "$MNT"

up "$WORK/odd.sealed" --mode erofs
kill -9 "$(processes_here mount)"
wait_until 5 no_processes_here mount
ok "cloakfs umount clears what a killed daemon leaves" "$CLOAKFS" umount "$MNT"
is "" "$(types)" "nothing is left of both"

# As a container has it that was started meanwhile.
up "$WORK/odd.sealed" --mode erofs
start "$WORK/namespace.log" unshare -m sh -c 'echo there; exec sleep 1000'
copy=$!
wait_until 10 test -s "$WORK/namespace.log"
kill -9 "$(processes_here mount)"
wait_until 5 no_processes_here mount
ok "so it does where another mount namespace has a copy" "$CLOAKFS" umount "$MNT"
is "" "$(types)" "and nothing is left here"
kill "$copy"
wait "$copy" 2>/dev/null

chmod 644 "$WORK/key.pem"

# ---- deep, and damaged ----------------------------------------------------------------------------
# A layer whose only file is deeper than any path may be long.
half=$(printf '%0200d/' $(seq 12))
layout_new "$WORK/deep"
printf 'symlink link link=%s\nfile %sfile data=half\nend\n' "$half" "$half" | "$E2E/mktar" >"$WORK/deep.tar"
layout_add "$WORK/deep" "$WORK/deep.tar" gzip
printf 'file link/%sbottom data=deep\nend\n' "$half" | "$E2E/mktar" >"$WORK/deep2.tar"
layout_add "$WORK/deep" "$WORK/deep2.tar" raw
layout_finish "$WORK/deep" latest
sealed "$WORK/deep"
up "$WORK/deep.sealed" --mode erofs
is deep "$(cd "$MNT/link" && cd "$half" && cat bottom)" "a file deeper than any path is read"
down
# Damaged where the first file begins.
layout_new "$WORK/bad"
head -c 3000000 /dev/urandom >"$WORK/noise"
printf 'file noise from=%s\nfile other data=other\nend\n' "$WORK/noise" | "$E2E/mktar" >"$WORK/bad.tar"
layout_add "$WORK/bad" "$WORK/bad.tar" gzip
layout_finish "$WORK/bad" latest
sealed "$WORK/bad"
printf '\377\377\377' | dd of="$(layout_blob "$WORK/bad.sealed" 0)" bs=1 seek=60000 conv=notrunc status=none
up "$WORK/bad.sealed" --mode erofs
is "fuse.cloakfs erofs " "$(types)" "a damaged layer mounts"
is other "$(cat "$MNT/other")" "what is whole is read"
matches 'Input/output error' "$(head -c 4096 "$MNT/noise" 2>&1 >/dev/null)" "what is damaged is an error"
is 0 "$(head -c 4096 "$MNT/noise" 2>/dev/null | wc -c)" "and gives not a byte"
is "$(tail -c 1000000 "$WORK/noise" | sha256sum)" "$(tail -c 1000000 "$MNT/noise" | sha256sum)" "the rest of the same file is read"
down

# ---- who can, and who cannot --------------------------------------------------------------------
up "$WORK/odd.sealed" --mode auto
is "fuse.cloakfs erofs " "$(types)" "auto takes EROFS where it can"
matches 'note: EROFS mode' "$(cat "$LOG")" "and says so"
down
# An attribute that EROFS has no form for.
layout_new "$WORK/strange"
printf 'file a data=hello x.SCHILY.xattr.btrfs.compression=zstd\nend\n' | "$E2E/mktar" >"$WORK/strange.tar"
layout_add "$WORK/strange" "$WORK/strange.tar" gzip
layout_finish "$WORK/strange" latest
sealed "$WORK/strange"
fails_with '/a .*EROFS.*btrfs.compression' "--mode erofs says what it cannot show" \
	"$CLOAKFS" mount --mode erofs --key "$WORK/key.pem" --cache-dir none "oci:$WORK/strange.sealed:latest" "$MNT"
is "" "$(types)" "and leaves nothing mounted"
up "$WORK/strange.sealed" --mode auto
is "fuse.cloakfs " "$(types)" "auto takes FUSE then"
is hello "$(cat "$MNT/a")" "and shows it"
matches 'note: FUSE mode.*btrfs' "$(cat "$LOG")" "and says why"
down
# Where no file may become as large as the names of the tree.
(
	ulimit -f 8
	mount_image "oci:$WORK/odd.sealed:latest" "$MNT" --key "$WORK/key.pem" --cache-dir none --mode auto
) || bail "a limit to files: it mounts" "$(cat "$LOG")"
is "fuse.cloakfs " "$(types)" "auto takes FUSE where the names find no room"
matches 'note: FUSE mode.*a file in ramfs: File too large' "$(cat "$LOG")" "and says why"
down
cp "$CLOAKFS" "$WORK/cloakfs" # where we are built, nobody may not be able to look
fails_with 'needs root' "who is not root hears so at once" setpriv --reuid=65534 --regid=65534 --clear-groups \
	"$WORK/cloakfs" mount --mode erofs "oci:$WORK/odd.sealed:latest" "$MNT"
setpriv --reuid=65534 --regid=65534 --clear-groups "$WORK/cloakfs" mount --mode auto --cache-dir none \
	--key "$WORK/key.pem" "oci:$WORK/odd.sealed:latest" "$MNT" >"$LOG" 2>&1 # it may not mount at all
matches 'FUSE mode, for EROFS mode needs root' "$(cat "$LOG")" "and with auto, why it is FUSE"
usage() {
	"$@" >"$WORK/out" 2>"$LOG"
	echo $?
}
is 2 "$(usage "$CLOAKFS" mount --mode kernel "oci:$WORK/odd.sealed:latest" "$MNT")" "another mode is a usage error"
is 2 "$(usage "$CLOAKFS" mount --mode erofs --view layers "oci:$WORK/odd.sealed:latest" "$MNT")" "so is EROFS for a view of layers"

finish
