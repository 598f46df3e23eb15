#!/bin/bash
# A container runs on it: --writable in its forms, and the programs that start containers.
# shellcheck source=tests/e2e/lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

MNT=$WORK/mnt
UP=$WORK/up
mkdir "$UP" "$WORK/second"
openssl genrsa -out "$WORK/key.pem" 2048 2>/dev/null
openssl pkey -in "$WORK/key.pem" -pubout -out "$WORK/pub.pem"

sealed() { # LAYOUT
	"$CLOAKFS" encrypt --key "$WORK/pub.pem" "oci:$1:latest" "oci:$1.sealed:latest" >"$LOG" 2>&1 ||
		bail "sealing $1" "$(cat "$LOG")"
}
IMG=oci:$WORK/small.sealed:latest
up() { # [options]: mounts IMG
	mount_image "$IMG" "$MNT" --key "$WORK/key.pem" --cache-dir none "$@" || bail "mounting $*" "$(cat "$LOG")"
}
down() {
	"$CLOAKFS" umount "$MNT" >"$LOG" 2>&1 || bail "unmounting" "$(cat "$LOG")"
}
types() { # of what is mounted at MNT, from below
	awk -v m="$MNT" '$2 == m { printf "%s ", $3 }' /proc/self/mounts
}
gone() { # TEXT: neither mounts nor process are left, soon
	ok "$1" wait_until 10 eval '[ -z "$(types)" ] && no_processes_here mount'
}

layout_new "$WORK/small"
printf 'dir . mode=1771 uid=5 gid=6 mtime=1000000007 x.SCHILY.xattr.user.root=yes\nfile keep data=keep\nfile old data=old mode=600 uid=7 mtime=1000000009\nfile dir/a data=a\nfile dir/b data=b\nfile gone data=x\nend\n' |
	"$E2E/mktar" >"$WORK/small.tar"
layout_add "$WORK/small" "$WORK/small.tar" gzip
layout_finish "$WORK/small" latest
sealed "$WORK/small"

# ---- what is written ------------------------------------------------------------------------------
change() {
	echo more >>"$MNT/old" && echo new >"$MNT/new" && rm "$MNT/gone" && rm -r "$MNT/dir" && mkdir "$MNT/dir" &&
		echo c >"$MNT/dir/c" && mv "$MNT/keep" "$MNT/kept" && setfattr -n user.a -v b "$MNT/new"
}
changed() {
	(cd "$MNT" && ls -A . dir | xargs && cat old new kept dir/c && stat -c '%a %u %s' old && getfattr --only-values -n user.a new)
}
want=$(printf '%s\n' ".: dir kept new old dir: c" oldmore new keepc "600 7 8" b)
for mode in erofs fuse; do
	below="fuse.cloakfs $([ $mode = fuse ] || echo 'erofs ')"
	up --mode $mode --writable tmpfs
	is "${below}overlay " "$(types | sed 's/  */ /g')" "$mode: an overlay lies over it"
	is "1771 5:6 1000000007 yes" "$(stat -c '%a %u:%g %Y' "$MNT") $(getfattr --only-values -n user.root "$MNT" 2>/dev/null)" \
		"$mode: the root is the image's"
	is "$mode true" "$("$CLOAKFS" status --json "$MNT" | jq -r '.mounts[0] | "\(.mode) \(.writable)"')" "$mode: cloakfs status says so"
	matches 'mode +[A-Z]+, writable' "$("$CLOAKFS" status "$MNT")" "$mode: in words, too"
	ok "$mode: it is changed in memory" change
	is "$want" "$(changed)" "$mode: and shows that"
	is "" "$(awk -v w="$MNT" '$3 == "tmpfs" && index($2, w) == 1' /proc/self/mounts)" "$mode: the memory is seen nowhere else"
	down
	is "" "$(types)" "$mode: one command unmounts all"
	up --mode $mode --writable tmpfs
	is "old x" "$(cat "$MNT/old" "$MNT/gone" | paste -sd ' ' | sed 's/oldx/old x/')" "$mode: nothing of it is left"
	down

	rm -rf "$UP" && mkdir "$UP"
	up --mode $mode --writable "$UP"
	is "1771 5:6 1000000007 yes" "$(stat -c '%a %u:%g %Y' "$MNT") $(getfattr --only-values -n user.root "$MNT" 2>/dev/null)" \
		"$mode: with a directory, the root is the image's"
	ok "$mode: it is changed in a directory" change
	fails_with "$UP.*another mount" "$mode: which no other mount can have meanwhile" \
		"$CLOAKFS" mount --key "$WORK/key.pem" --cache-dir none --mode $mode --writable "$UP" "$IMG" "$WORK/second"
	is "" "$(grep -F "$WORK/second" /proc/self/mounts)" "$mode: and nothing of that one stays"
	down
	up --mode $mode --writable "$UP"
	is "$want" "$(changed)" "$mode: the next mount has the changes"
	down
	up --mode $mode
	is old "$(cat "$MNT/old")" "$mode: one without the directory has not"
	is false "$("$CLOAKFS" status --json "$MNT" | jq -r '.mounts[0].writable')" "$mode: and status says that it is read-only"
	matches 'Read-only' "$(touch "$MNT/new" 2>&1)" "$mode: and is read-only"
	down
done

# ---- ends ---------------------------------------------------------------------------------------
for mode in erofs fuse; do
	up --mode $mode --writable tmpfs
	exec 7>"$MNT/open"
	fails_with 'umount --lazy' "$mode: umount of a mount in use is refused" "$CLOAKFS" umount "$MNT"
	matches 'overlay' "$(types)" "$mode: and leaves all as they were"
	ok "$mode: umount --lazy takes all" "$CLOAKFS" umount --lazy "$MNT"
	is "" "$(types)" "$mode: and nobody finds them any more"
	ok "$mode: who had a file open writes to it" sh -c 'echo on >&7'
	exec 7>&-
	gone "$mode: when it is closed, the process ends"
	for i in $(seq 20); do
		up --mode $mode --writable tmpfs
		umount "$MNT" || bail "$mode: umount(8) takes the overlay away" "the $i. time: $(types)"
		wait_until 10 eval '[ -z "$(types)" ]'
	done
	gone "$mode: umount(8) takes the overlay away, and the rest goes after it, 20 times"
	up --mode $mode --writable tmpfs
	exec 7>"$MNT/open"
	ok "$mode: umount -l, too" umount -l "$MNT"
	ok "$mode: with a file open" wait_until 10 eval '[ -z "$(types)" ]'
	exec 7>&-
	gone "$mode: until it is closed"
	up --mode $mode --writable tmpfs
	kill -TERM "$(processes_here mount)"
	gone "$mode: SIGTERM takes all"
	up --mode $mode --writable tmpfs
	exec 7<"$MNT/old"
	kill -9 "$(processes_here mount)"
	wait_until 5 no_processes_here mount
	ok "$mode: cloakfs umount clears what a killed daemon leaves" "$CLOAKFS" umount "$MNT"
	gone "$mode: all of it"
	exec 7<&-
done

# ---- who cannot -----------------------------------------------------------------------------------
usage() {
	"$@" >"$WORK/out" 2>"$LOG"
	echo $?
}
is 2 "$(usage "$CLOAKFS" mount --view layers --writable tmpfs "$IMG" "$MNT")" "--view layers is not written to"
fails_with "$WORK/absent.*No such" "a directory that is not there" "$CLOAKFS" mount --key "$WORK/key.pem" --writable "$WORK/absent" "$IMG" "$MNT"
fails_with "key.pem.*Not a directory" "a file" "$CLOAKFS" mount --key "$WORK/key.pem" --writable "$WORK/key.pem" "$IMG" "$MNT"
fails_with "proc" "a filesystem that takes no overlay" "$CLOAKFS" mount --key "$WORK/key.pem" --writable /proc/self "$IMG" "$MNT"
is "" "$(types)" "nothing of them stays mounted"
cp "$CLOAKFS" "$WORK/cloakfs"
fails_with 'needs root' "who is not root" setpriv --reuid=65534 --regid=65534 --clear-groups \
	"$WORK/cloakfs" mount --writable tmpfs "$IMG" "$MNT"

# In a user namespace: FUSE mode, and attributes that need no privilege.
mkdir "$WORK/userns"
layout_new "$WORK/ours"
printf 'file old data=old\nfile dir/a data=a\nfile gone data=x\nend\n' | "$E2E/mktar" >"$WORK/ours.tar"
layout_add "$WORK/ours" "$WORK/ours.tar" gzip
layout_finish "$WORK/ours" latest
sealed "$WORK/ours"
# shellcheck disable=SC2016
unshare -Urm --map-root-user bash -c '
	exec 2>&1
	"$1" mount --key "$2/key.pem" --cache-dir none --writable tmpfs "$3" "$2/userns" || exit
	cd "$2/userns" && rm -r dir && mkdir dir && echo n >dir/n && rm gone && xargs <<<"$(ls -A . dir)" && cat old dir/n &&
		grep -o "$2/userns overlay.*userxattr" /proc/self/mounts | wc -l
	cd / && "$1" umount "$2/userns" && echo unmounted
' - "$CLOAKFS" "$WORK" "oci:$WORK/ours.sealed:latest" >"$WORK/out"
matches 'FUSE mode' "$(cat "$WORK/out")" "root of a user namespace gets FUSE mode"
is ".: dir old dir: n
oldn
1
unmounted" "$(grep -v '^cloakfs: note' "$WORK/out")" "and an overlay by user attributes"

# ---- other users ----------------------------------------------------------------------------------
layout_new "$WORK/users"
printf '%s\n' 'dir . mode=755' 'file root data=root mode=600' 'file user data=user uid=7 gid=8' 'file far data=far uid=5000 gid=5000' \
	'file cap data=cap mode=755 x.SCHILY.xattr.security.capability=\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00' end |
	"$E2E/mktar" >"$WORK/users.tar"
layout_add "$WORK/users" "$WORK/users.tar" gzip
layout_finish "$WORK/users" latest
sealed "$WORK/users"
IMG=oci:$WORK/users.sealed:latest
owners() { (cd "$MNT" && stat -c '%n %u:%g' root user far | xargs); }
as_user() { setpriv --reuid=100000 --regid=100000 --clear-groups "$@"; }
up --uidmap 0:100000:1000
is "root 100000:100000 user 100007:100008 far 65534:65534" "$(owners)" "--uidmap shows other owners, and nobody for those it does not name"
is root "$(as_user cat "$MNT/root")" "who can read what is theirs"
matches 'rootid=100000' "$(getcap -n "$MNT/cap")" "capabilities are theirs, too"
down
up --uidmap 0:100000:10 --uidmap 5000:0:1 --gidmap 0:200000:5001
is "root 100000:200000 user 100007:200008 far 0:205000" "$(owners)" "ranges, and groups of their own"
down
up --uidmap 0:100000:1000 --writable tmpfs
is "user 100007:100008" "$(chmod 640 "$MNT/user" && (cd "$MNT" && stat -c '%n %u:%g' user))" "what is changed in an overlay keeps such owners"
is mine "$(as_user sh -c 'echo mine >>"$1" && tail -c 5 "$1"' - "$MNT/root")" "and is theirs to change"
down
is 2 "$(usage "$CLOAKFS" mount --uidmap 0:100000 "$IMG" "$MNT")" "what is no range"
is 2 "$(usage "$CLOAKFS" mount --gidmap 0:100000:0 "$IMG" "$MNT")" "an empty range"
is 2 "$(usage "$CLOAKFS" mount --gidmap 0:4294967296:1 "$IMG" "$MNT")" "a number too large"
matches 'no range of ids IMAGE-ID:' "$(cat "$LOG")" "and is told what one is"
fails_with 'takes no such ranges' "ranges that overlap" "$CLOAKFS" mount --uidmap 0:1:10 --uidmap 5:100:10 "$IMG" "$MNT"
is 2 "$(usage "$CLOAKFS" mount --mode fuse --uidmap 0:1:1 "$IMG" "$MNT")" "FUSE mode maps none"
matches 'inside the user namespace' "$(cat "$LOG")" "and says what does"

# ---- containers ---------------------------------------------------------------------------------
image_system "$WORK/system" bash coreutils findutils sed grep tar
sealed "$WORK/system"
IMG=oci:$WORK/system.sealed:latest
# This machine may have no cgroups of the newer kind where programs look for them. What others have
# mounted meanwhile must not live on in a namespace of ours.
contained() {
	# shellcheck disable=SC2016
	unshare -m sh -c '
		keep=$1; shift
		awk -v keep="$keep" "\$5 != keep && (/ fuse/ || / erofs / || / overlay /) { print \$5 }" /proc/self/mountinfo |
			sort -r | while read -r m; do [ "$m" = / ] || umount -l "$m" 2>/dev/null; done
		umount -R /sys/fs/cgroup 2>/dev/null
		mount -t cgroup2 none /sys/fs/cgroup && exec "$@"' - "$MNT" "$@"
}
up --writable tmpfs
is "0
hello" "$(chroot "$MNT" /bin/bash -c 'id -u; echo hello >/root/f; cat /root/f')" "chroot"
# shellcheck disable=SC2046
verify() { dpkg "$@" -V $(cat "$WORK/system.packages") 2>&1 | grep -v '^dpkg: warning'; }
is "$(verify)" "$(verify --root="$MNT")" "dpkg -V finds every file of every package as it is outside"
mkdir "$WORK/bundle"
(cd "$WORK/bundle" && crun spec && jq --arg root "$MNT" \
	'.root = {path: $root, readonly: false} | .process.terminal = false | .process.args = ["/bin/bash", "-c", "id -u; echo hello >/new; cat /new"]
	| del(.linux.resources)' config.json >new && mv new config.json)
is "0
hello" "$(cd "$WORK/bundle" && contained crun --root "$WORK/crun" --cgroup-manager=disabled run "ck-$$" 2>&1)" "crun runs a container on it"
is hello "$(cat "$MNT/new")" "which writes there"
matches '^0' "$(contained timeout 100 systemd-nspawn --register=no --keep-unit -q -D "$MNT" /usr/bin/id -u 2>&1)" "systemd-nspawn, too"
down
up --uidmap 0:100000:65536 --writable tmpfs
(cd "$WORK/bundle" && jq '.linux.namespaces += [{type: "user"}] | .linux.uidMappings = [{containerID: 0, hostID: 100000, size: 65536}]
	| .linux.gidMappings = .linux.uidMappings' config.json >new && mv new config.json)
is "0
hello" "$(cd "$WORK/bundle" && contained crun --root "$WORK/crun" --cgroup-manager=disabled run "ck-u$$" 2>&1)" "crun runs a container of another user's on it"
is 100000 "$(stat -c %u "$MNT/new")" "which writes as that one"
down
up
is "0
hello" "$(contained timeout 100 podman --root "$WORK/podman" --runroot "$WORK/podman-run" --cgroup-manager=cgroupfs --events-backend=none \
	run --rm --network=none --cgroups=disabled --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 \
	--rootfs "$MNT:O" /bin/bash -c 'id -u; echo hello >/new; cat /new' 2>&1)" "podman run --rootfs DIR:O, with its own overlay"
ok "of which nothing stays" test ! -e "$MNT/new"
down

finish
