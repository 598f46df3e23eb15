#!/bin/bash
# Programs use the mount as they use a disk: readers of every kind, copies, git, fio, in both modes;
# stress-ng in an overlay over it.
# shellcheck source=tests/e2e/lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

MNT=$WORK/mnt
COPY=$WORK/copy # what GNU tar makes of it: an ordinary disk
mkdir "$MNT" "$COPY"
openssl genrsa -out "$WORK/key.pem" 2048 2>/dev/null
openssl pkey -in "$WORK/key.pem" -pubout -out "$WORK/pub.pem"

tree=$WORK/tree
torture_tree "$tree"
cp -a /bin/ls "$tree/caps" && setcap cap_net_raw,cap_setuid+ep "$tree/caps"
setfacl -m u:1234:r,g:99:rw "$tree/text" && setfacl -d -m u:7:rwx "$tree/dir"
truncate -s 200M "$tree/sparse" && for i in 0 1 4; do seq 2000 | dd of="$tree/sparse" bs=1M seek=$((i * 40)) conv=notrunc status=none; done
git init -q "$tree/repo"
(cd "$tree/repo" && for i in $(seq 300); do mkdir -p d$((i % 7)) && seq "$i" $((i * 7)) >d$((i % 7))/f$i; done &&
	ln -s d1 link && git add . && git -c user.name=n -c user.email=e commit -qm one && git gc -q)
fio --name=written --directory="$tree" --filename=fio --rw=write --bs=64k --size=24m --verify=crc32c --do_verify=0 --verify_state_save=0 \
	--output="$WORK/fio.log" || bail "fio writes" "$(cat "$WORK/fio.log")"
layout_new "$WORK/image"
tar -C "$tree" -cSf "$WORK/tree.tar" --format=posix --xattrs --xattrs-include='*' --acls --numeric-owner --sort=name .
layout_add "$WORK/image" "$WORK/tree.tar" zstd
layout_finish "$WORK/image" latest
tar -C "$COPY" -xpf "$WORK/tree.tar" --warning=no-timestamp --xattrs --xattrs-include='*' --acls --numeric-owner
"$CLOAKFS" encrypt --key "$WORK/pub.pem" "oci:$WORK/image:latest" "oci:$WORK/sealed:latest" >"$LOG" 2>&1 ||
	bail "sealing" "$(cat "$LOG")"
rm -rf "$tree" "$WORK/tree.tar"

# same_output TEXT COMMAND...: prints the same in the mount as in the copy.
same_output() {
	local text=$1
	shift
	(cd "$COPY" && "$@" >"$WORK/want" 2>&1)
	(cd "$MNT" && "$@" >"$WORK/got" 2>&1)
	[ -s "$WORK/want" ] || bail "$text" "the copy gives nothing"
	same "$WORK/want" "$WORK/got" "$text"
}
# same_dump DIR TEXT: DIR holds what the copy does, but for the times of directories.
same_dump() {
	treedump -d "$1" >"$WORK/got" 2>&1
	same "$WORK/copy.dump" "$WORK/got" "$2 ($(wc -l <"$WORK/got") files)"
}
treedump -d "$COPY" >"$WORK/copy.dump"
[ "$(wc -l <"$WORK/copy.dump")" -gt 800 ] || bail "the copy is nearly empty"
listing() { find . -printf '%p %y %m %U:%G %l\n' | sort; }
find_attributes() { find . ! -type d -printf '%p %s %T@ %n\n' | sort; }
data_maps() { # where holes are, to programs that ask
	(cd "$MNT" && cp --sparse=always sparse "$WORK/cp" && cmp sparse "$WORK/cp" && [ "$(du -k "$WORK/cp" | cut -f1)" -lt 1000 ])
}
fio_reads() { # ENGINE
	(cd "$MNT" && fio --readonly --name=read --filename=fio --rw="$2" --bs=64k --size=24m --verify=crc32c --verify_fatal=1 --ioengine="$1" --output="$WORK/fio.log") ||
		cat "$WORK/fio.log"
}

for mode in erofs fuse; do
	mount_image "oci:$WORK/sealed:latest" "$MNT" --mode $mode --key "$WORK/key.pem" --cache-dir none || bail "$mode mounts" "$(cat "$LOG")"
	ok "$mode: reads of every kind, at random, by four" "$E2E/readmix" -n 4000 "$COPY" "$MNT"
	echo 1 >/proc/sys/vm/drop_caches
	ok "$mode: and cold" "$E2E/readmix" -n 2000 -s 2 "$COPY" "$MNT"

	(cd "$COPY" && listing >"$WORK/want")
	pids=
	for i in 1 2 3 4; do (cd "$MNT" && listing >"$WORK/find.$i") & pids="$pids $!"; done
	# shellcheck disable=SC2086
	wait $pids
	is 4 "$(for i in 1 2 3 4; do cmp "$WORK/want" "$WORK/find.$i" && echo same; done | grep -c same)" "$mode: four finds at once see the same"
	same_output "$mode: find -printf" find_attributes
	same_output "$mode: ls -lZ" sh -c "ls -lZ --time-style=full-iso many modes/0* modes/2* links/* names/* | grep -av -e ^total -e ^d | sed 's/  */ /g'"
	same_output "$mode: getcap -r" getcap -r .
	same_output "$mode: getfacl -R" sh -c "getfacl -n text dir dir/* many/*"
	same_output "$mode: getfattr -R" sh -c "getfattr -hd -m - xattr/* text"
	same_output "$mode: du --apparent-size" sh -c 'du --apparent-size -b text many/* repo/d1/*'
	is "$(stat -f -c %T "$MNT") $MNT" "$(df --output=fstype,target "$MNT" | tail -n 1 | sed 's/fuse.cloakfs/fuseblk/; s/  */ /g')" "$mode: df"
	is 0 "$(df --output=avail "$MNT" | tail -n 1 | tr -d ' ')" "$mode: of which nothing is free"

	cp -a "$MNT" "$WORK/cp-a" && same_dump "$WORK/cp-a" "$mode: cp -a"
	rsync -aHAX --numeric-ids "$MNT/" "$WORK/rsync" && same_dump "$WORK/rsync" "$mode: rsync -aHAX"
	mkdir "$WORK/untar" && tar -C "$MNT" -cSf - --format=posix --xattrs --xattrs-include='*' --acls --numeric-owner . |
		tar -C "$WORK/untar" -xpf - --warning=no-timestamp --xattrs --xattrs-include='*' --acls --numeric-owner && same_dump "$WORK/untar" "$mode: tar c"
	rm -rf "$WORK/cp-a" "$WORK/rsync" "$WORK/untar"
	ok "$mode: rsync finds no file that differs" test -z "$(rsync -aHAXnc --itemize-changes "$COPY/" "$MNT" 2>&1 | grep -v '^\.d\.\.t')"

	git() { command git -c safe.directory="$MNT/repo" -C "$MNT/repo" "$@"; }
	is "" "$(git status --porcelain 2>&1)" "$mode: git status"
	ok "$mode: git fsck" git fsck --strict --no-progress
	is "$(cd "$COPY/repo" && command git -c safe.directory='*' log --stat | sha256sum)" "$(git log --stat | sha256sum)" "$mode: git log --stat"
	for engine in psync mmap libaio io_uring; do
		is "" "$(fio_reads $engine randread)" "$mode: fio verifies, $engine"
	done
	is "" "$(fio_reads psync read)" "$mode: fio verifies, from start to end"
	ok "$mode: a copy of a sparse file is one" data_maps
	"$CLOAKFS" umount "$MNT" >"$LOG" 2>&1 || bail "unmounting" "$(cat "$LOG")"

	mount_image "oci:$WORK/sealed:latest" "$MNT" --mode $mode --writable tmpfs --key "$WORK/key.pem" --cache-dir none || bail "$mode mounts" "$(cat "$LOG")"
	mkdir "$MNT/stress"
	ok "$mode: stress-ng in an overlay" stress-ng --temp-path "$MNT/stress" --timeout 4 --quiet --verify \
		--hdd 1 --hdd-bytes 16m --dentry 1 --dir 1 --getdent 1 --rename 1 --link 1 --symlink 1 --xattr 1 --seek 1 --readahead 1 --fstat 1
	rm -r "$MNT/stress"
	git status --porcelain >"$WORK/got" 2>&1
	echo changed >>"$MNT/repo/d1/f1"
	is " M d1/f1" "$(git status --porcelain 2>&1)" "$mode: git sees what is changed there"
	ok "$mode: below it all is as it was" "$E2E/readmix" -n 1000 "$COPY/many" "$MNT/many"
	"$CLOAKFS" umount "$MNT" >"$LOG" 2>&1 || bail "unmounting" "$(cat "$LOG")"
done

finish
