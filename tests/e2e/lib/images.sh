# images.sh - the images that the tests use, and other programs' idea of what is in them.
# Sourced after layout.sh. Needs GNU tar, bsdtar, setfattr, setcap and $E2E (mktar).
# shellcheck shell=bash

# files_of PACKAGE...: what they installed here, by names that no symlink is part of.
files_of() {
	local f
	dpkg -L "$@" | while read -r f; do
		f=$(readlink -f "$(dirname "$f")")/$(basename "$f")
		[ ! -e "$f" ] && [ ! -L "$f" ] || printf '%s\n' "$f"
	done | sed 's|^/*||' | grep . | sort -u
}

# with_dependencies PACKAGE...: and what they need, as far as it is installed.
with_dependencies() {
	local all=$* more
	while :; do
		# shellcheck disable=SC2086
		more=$(dpkg-query -W -f '${Package}, ${Pre-Depends}, ${Depends}\n' $all 2>/dev/null |
			tr ',|' '\n\n' | sed 's/(.*//; s/:any//; s/ //g' | sort -u |
			xargs dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' 2>/dev/null |
			sed -n 's/^ii *//p' | sort -u | xargs)
		[ "$more" != "$all" ] || break
		all=$more
	done
	echo "$all"
}

# image_system LAYOUT PACKAGE...: a system that runs, of packages that are installed here; LAYOUT.packages
# names them all.
image_system() {
	local dir=$1 p packages
	shift
	packages=$(with_dependencies base-files dpkg "$@")
	echo "$packages" >"$dir.packages"
	layout_new "$dir"
	# shellcheck disable=SC2086
	{
		files_of $packages
		for p in $packages; do ls "/var/lib/dpkg/info/$p."* "/var/lib/dpkg/info/$p:"* 2>/dev/null; done
		ls -d /bin /lib /lib64 /sbin /etc/passwd /etc/group /var/lib/dpkg/status
	} | sed 's|^/*||' | sort -u |
		tar -C / -cf "$dir.tar" --format=posix --xattrs --xattrs-include='*' --acls --no-recursion -T -
	layout_add "$dir" "$dir.tar" zstd
	layout_finish "$dir" latest
	rm -f "$dir.tar"
}

# image_small LAYOUT [FORM1 FORM2 FORM3]: three layers of this system's own files, the upper ones
# with whiteouts, an opaque directory and replaced files.
image_small() {
	local dir=$1 w
	w=$(mktemp -d "$dir.XXXXXX")
	layout_new "$dir"

	files_of coreutils base-files | while read -r f; do
		[ ! -f "/$f" ] && [ ! -L "/$f" ] || printf '%s\n' "$f"
	done | tar -C / -cf "$w/1.tar" --format=posix --no-recursion -T -
	layout_add "$dir" "$w/1.tar" "${2:-gzip}"

	mkdir -p "$w/2/etc" "$w/2/usr/share/doc" "$w/2/app"
	echo "cloakfs test image" >"$w/2/etc/issue"
	: >"$w/2/etc/.wh.debian_version"
	: >"$w/2/usr/share/doc/.wh.coreutils"
	seq 200000 >"$w/2/app/numbers"
	for i in 1 2 3; do echo "old $i" >"$w/2/app/old$i"; done
	printf 'greeting=hello\nmode=test\n' >"$w/2/app/config"
	tar -C "$w/2" -cf "$w/2.tar" --format=posix .
	layout_add "$dir" "$w/2.tar" "${3:-gzip}"

	mkdir -p "$w/3/app" "$w/3/run"
	: >"$w/3/app/.wh..wh..opq"
	head -c 3000000 /dev/urandom >"$w/3/app/weights.bin"
	printf 'greeting=good day\nmode=real\n' >"$w/3/app/config"
	ln -s config "$w/3/app/current"
	tar -C "$w/3" -cf "$w/3.tar" --format=gnu .
	layout_add "$dir" "$w/3.tar" "${4:-gzip}"

	layout_finish "$dir" latest
	rm -rf "$w"
}

# image_many LAYOUT N: N small layers, one file each.
image_many() {
	local dir=$1 i
	layout_new "$dir"
	for i in $(seq "$2"); do
		printf 'file layer%s data=this\\x20is\\x20layer\\x20%s\\x0a\nend\n' "$i" "$i" | "$E2E/mktar" >"$dir.tar"
		layout_add "$dir" "$dir.tar" "$([ $((i % 2)) = 0 ] && echo zstd || echo gzip)"
	done
	rm -f "$dir.tar"
	layout_finish "$dir" latest
}

# The ordinary metadata, as GNU tar finds it on a real filesystem.
torture_tree() {
	local t=$1 i
	mkdir -p "$t/dir/sub" "$t/modes" "$t/links" "$t/dev" "$t/names" "$t/many" "$t/xattr" "$t/swap/dir"
	head -c 1500000 /dev/urandom >"$t/random"
	seq 100000 >"$t/text"
	: >"$t/empty"
	for i in $(seq 500); do echo "$i" >"$t/many/$i"; done
	for i in 0000 0111 0400 0644 1755 2755 4755 6711; do echo "$i" >"$t/modes/$i"; chmod "$i" "$t/modes/$i"; done
	mkdir -m 1777 "$t/modes/sticky"
	mkdir -m 2770 "$t/modes/setgid"
	chown 12:34 "$t/modes/0644"
	chown 65534:65534 "$t/modes/setgid"
	echo linked >"$t/links/a"
	ln "$t/links/a" "$t/links/b"
	ln "$t/links/a" "$t/dir/sub/c"
	ln -s a "$t/links/relative"
	ln -s /etc/passwd "$t/links/absolute"
	ln -s nowhere "$t/links/dangling"
	ln -s "$(printf 't%.0s' {1..300})" "$t/links/long"
	chown -h 5:6 "$t/links/dangling"
	mknod "$t/dev/null" c 1 3
	mknod "$t/dev/loop" b 7 300
	mkfifo -m 0622 "$t/dev/fifo"
	echo n >"$t/names/with space"
	echo n >"$t/names/$(printf 'new\nline')"
	echo n >"$t/names/$(printf 'latin1-\xe9\xff')"
	echo n >"$t/names/$(printf 'utf8-\xc3\xa9')"
	echo n >"$t/names/-dash"
	echo n >"$t/names/$(printf 'q\"\\\x27*?[')"
	echo n >"$t/names/$(printf 'l%.0s' {1..250})"
	mkdir -p "$t/names/$(printf 'd%.0s' {1..120})/$(printf 'e%.0s' {1..120})"
	echo deep >"$t/names/$(printf 'd%.0s' {1..120})/$(printf 'e%.0s' {1..120})/$(printf 'f%.0s' {1..120})"
	echo x >"$t/xattr/user"
	setfattr -n user.plain -v value "$t/xattr/user"
	setfattr -n user.binary -v 0x00ff0a3d22 "$t/xattr/user"
	setfattr -n user.empty "$t/xattr/user"
	setfattr -n trusted.t -v secret "$t/xattr/user"
	setfattr -n user.dir -v d "$t/xattr"
	setfattr -n user.long -v "$(printf 'v%.0s' {1..2000})" "$t/xattr/user"
	cp /bin/true "$t/xattr/capable"
	setcap cap_net_raw,cap_net_bind_service+ep "$t/xattr/capable"
	echo gone >"$t/gone"
	mkdir "$t/gonedir"
	echo gone >"$t/gonedir/file"
	echo hidden >"$t/dir/hidden"
	echo kept >"$t/dir/kept"
	echo f >"$t/swap/file-to-dir"
	echo f >"$t/swap/file-to-link"
	mkdir "$t/swap/dir-to-file" "$t/swap/dir-to-link"
	echo f >"$t/swap/dir-to-file/inside"
	ln -s dir "$t/swap/link-to-dir"
	ln -s text "$t/swap/link-to-file"
	touch -d '2001-02-03 04:05:06.123456789 UTC' "$t/text"
	touch -d '1969-12-31 23:59:58 UTC' "$t/empty"
	touch -h -d '2010-01-01 00:00:00.5 UTC' "$t/links/dangling"
	touch -d '2038-01-19 03:14:09 UTC' "$t/many"
}

# A file of holes and data; $2 makes the data differ.
sparse_file() {
	truncate -s 3M "$1"
	printf 'start %s' "$2" | dd of="$1" conv=notrunc status=none
	printf 'middle %s' "$2" | dd of="$1" bs=1 seek=1048581 conv=notrunc status=none
	seq 3000 | dd of="$1" bs=4096 seek=500 conv=notrunc status=none
	if [ "$2" != hole-at-end ]; then
		printf 'end' | dd of="$1" bs=1 seek=3145725 conv=notrunc status=none
	fi
	touch -d @1200000000 "$1"
}

# image_torture LAYOUT [TREE] [tame]: whatever tar and the image spec allow, in layers of every
# compression. TREE is a torture_tree to take instead of a new one; "tame" leaves out what
# umoci 0.4 cannot read: GNU's old sparse files, the global pax header, a contiguous file.
image_torture() {
	local dir=$1 w v
	w=$(mktemp -d "$dir.XXXXXX")
	layout_new "$dir"

	local tree=${2:-$w/tree}
	[ -d "$tree" ] || torture_tree "$tree"
	tar -C "$tree" -cf "$w/pax.tar" --format=posix --xattrs --xattrs-include='*' --numeric-owner .
	layout_add "$dir" "$w/pax.tar" gzip

	# GNU's own format: long names, long link targets, its first sparse form.
	mkdir -p "$w/gnu/gnu/$(printf 'g%.0s' {1..130})" "$w/gnu/sparse"
	echo long >"$w/gnu/gnu/$(printf 'g%.0s' {1..130})/$(printf 'h%.0s' {1..130})"
	ln -s "$(printf 'u%.0s' {1..200})" "$w/gnu/gnu/longlink"
	touch -h -d @1200000000 "$w/gnu/gnu/longlink" "$w"/gnu/gnu/g*/h*
	[ "${3:-}" = tame ] || sparse_file "$w/gnu/sparse/old-gnu" old
	tar -C "$w/gnu" -cSf "$w/gnu.tar" --format=gnu --numeric-owner .
	layout_add "$dir" "$w/gnu.tar" gzip-multi

	for v in 0.0 0.1 1.0; do
		rm -rf "$w/sparse"
		mkdir -p "$w/sparse/sparse"
		sparse_file "$w/sparse/sparse/pax-$v" "$v"
		sparse_file "$w/sparse/sparse/tail-$v" hole-at-end
		truncate -s 70000 "$w/sparse/sparse/hole-$v"
		touch -d @1200000000 "$w/sparse/sparse/hole-$v"
		tar -C "$w/sparse" -cSf "$w/sparse.tar" --format=posix --sparse-version="$v" .
		case $v in
		0.0) layout_add "$dir" "$w/sparse.tar" zstd-multi ;;
		0.1) layout_add "$dir" "$w/sparse.tar" zstd-skip ;;
		1.0) layout_add "$dir" "$w/sparse.tar" pigz ;;
		esac
	done

	# By hand: what no tar of this system would write in one archive.
	if [ "${3:-}" = tame ]; then grep -v -e ^global -e type=7; else cat; fi <<'TAR' | "$E2E/mktar" >"$w/hand.tar"
global g x.comment=0123456789abcdef0123456789abcdef01234567
dir ./ mode=0711 mtime=1000000000
file .wh.gone
file .wh.gonedir
dir dir mtime=1000000001
file dir/.wh..wh..opq
file dir/new data=new\x0a mtime=1000000002.25
hardlink links-up link=links/a mode=0644
dir swap mtime=1000000003
dir swap/file-to-dir mode=0750
file swap/file-to-dir/inside data=inside
symlink swap/file-to-link link=../text
file swap/dir-to-file data=now\x20a\x20file
symlink swap/dir-to-link link=../dir
dir swap/link-to-dir
file swap/link-to-dir/own data=own
file swap/link-to-file data=plain
file implied/parents/here/file data=no\x20directory\x20entries mtime=1000000004
file big-ids uid=3000000000 gid=2147483650 base256=1 mtime=1000000005 data=b
file pax-ids x.uid=3000000001 x.gid=4000000001 mtime=1000000006 data=p
file neg-mtime x.mtime=-7 data=n
file twice data=first
file twice data=second mode=0600
file v7 magic=v7 data=v7 mtime=1000000007
file contiguous type=7 data=c mtime=1000000008
file ./dot/./slashes//here data=s
char dev/zero major=1 minor=5 mode=0666
fifo dev/pipe mode=0600
end
TAR
	layout_add "$dir" "$w/hand.tar" raw

	printf 'end\n' | "$E2E/mktar" >"$w/empty.tar"
	layout_add "$dir" "$w/empty.tar" gzip

	# What the layer below took away comes back changed.
	"$E2E/mktar" >"$w/again.tar" <<'TAR'
file gone data=back\x0a mtime=1100000000
dir gonedir mtime=1100000001 mode=0700
file many/.wh.250
file many/251 data=replaced mtime=1100000002
hardlink many/also-251 link=many/251
hardlink text2 link=text
end
TAR
	layout_add "$dir" "$w/again.tar" zstd

	layout_finish "$dir" latest
	rm -rf "$w"
}

# whiteouts_apply SCRATCH ROOT: removes from ROOT what the layer unpacked in SCRATCH takes away
# (image spec, "Whiteouts") or replaces by another type.
whiteouts_apply() {
	local at name
	(cd "$1" && find . -name '.wh..wh..opq' -print0) | while read -r -d '' at; do
		[ ! -d "$2/${at%/*}" ] || find "$2/${at%/*}" -mindepth 1 -delete
	done
	(cd "$1" && find . -name '.wh.*' ! -name '.wh..wh.*' -print0) | while read -r -d '' at; do
		name=${at##*/.wh.}
		rm -rf "${2:?}/${at%/*}/$name"
	done
	(cd "$1" && find . ! -type d -print0) | while read -r -d '' at; do
		[ -L "$2/$at" ] || [ ! -d "$2/$at" ] || rm -rf "${2:?}/$at"
	done
}

# unpack_with TOOL LAYOUT ROOT: applies every (decrypted) layer of LAYOUT to ROOT with "tar" or
# "bsdtar".
unpack_with() {
	local tool=$1 dir=$2 root=$3 i t w
	mkdir -p "$root"
	w=$(mktemp -d "$dir.XXXXXX")
	t=$w/layer.tar
	for i in $(seq 0 $(($(layout_n_layers "$dir") - 1))); do
		blob_decompress "$(layout_blob "$dir" "$i")" >"$t"
		mkdir "$w/scratch"
		tar -C "$w/scratch" -xf "$t" 2>/dev/null # links to lower layers cannot be made
		whiteouts_apply "$w/scratch" "$root"
		rm -rf "$w/scratch"
		if [ "$tool" = tar ]; then
			tar -C "$root" -xpf "$t" --xattrs --xattrs-include='*' --numeric-owner --same-owner \
				--warning=no-timestamp --warning=no-contiguous-cast --exclude='.wh.*' || return 1
		else
			# It complains of names that are not UTF-8 but unpacks them.
			LC_ALL=C.UTF-8 bsdtar -C "$root" -xpf "$t" --numeric-owner --exclude '.wh.*' 2>"$w/log" ||
				! grep -v -e "can't be converted" -e 'delayed from previous' "$w/log" >&2 || return 1
		fi
	done
	rm -rf "$w"
}
