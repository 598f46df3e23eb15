# treecases.sh - small cases of how layers merge, with what must come of them written by hand.
# Sourced by tree.sh. Each lies in a directory of its own, all in one image of four layers.
# shellcheck shell=bash

CASES=()
: >"$WORK/cases.3" # an empty layer

# about NAME: begins a case.
about() {
	CASE=$1
	CASES+=("$1")
}

# layer N: mktar's lines on stdin go to that layer; N counts from 0.
layer() {
	cat >>"$WORK/cases.$1"
}

# tree: what treedump must print of the case, on stdin; "@TEXT" is the sha256 of TEXT.
tree() {
	local line sum
	while IFS= read -r line; do
		case $line in
		*' @'*)
			sum=$(printf '%b' "${line##* @}" | sha256sum)
			line="${line% @*} ${sum%% *}"
			;;
		esac
		printf '%s\n' "$line"
	done >"$WORK/want.$CASE"
}

about whiteout
layer 0 <<-'EOF'
	file whiteout/gone data=1
	file whiteout/kept data=2
	file whiteout/dir/below data=3
EOF
layer 1 <<-'EOF'
	file whiteout/.wh.gone
	file whiteout/.wh.absent
	file whiteout/.wh.dir
	file absent/.wh.absent
EOF
tree <<-'EOF'
	whiteout d 0755 0:0 - 0.000000000 2 - []
	whiteout/kept f 0644 0:0 1 0.000000000 - - [] @2
EOF

about opaque
layer 0 <<-'EOF'
	dir opaque mode=0700 uid=5 mtime=77
	file opaque/lower data=1
	file opaque/sub/lower data=1
EOF
layer 1 <<-'EOF'
	file opaque/before data=2
	file opaque/.wh..wh..opq
	file opaque/later data=3
	file opaque/sub/new data=4
EOF
tree <<-'EOF'
	opaque d 0700 5:0 - 77.000000000 3 - []
	opaque/before f 0644 0:0 1 0.000000000 - - [] @2
	opaque/later f 0644 0:0 1 0.000000000 - - [] @3
	opaque/sub d 0755 0:0 - 0.000000000 2 - []
	opaque/sub/new f 0644 0:0 1 0.000000000 - - [] @4
EOF

about both # a whiteout and content of one name in one layer, in either order
layer 0 <<-'EOF'
	file both/a/old data=1
	file both/b/old data=1
EOF
layer 1 <<-'EOF'
	file both/.wh.a
	file both/a/new data=2
	file both/b/new data=2
	file both/.wh.b
EOF
tree <<-'EOF'
	both d 0755 0:0 - 0.000000000 4 - []
	both/a d 0755 0:0 - 0.000000000 2 - []
	both/a/new f 0644 0:0 1 0.000000000 - - [] @2
	both/b d 0755 0:0 - 0.000000000 2 - []
	both/b/new f 0644 0:0 1 0.000000000 - - [] @2
EOF

about types # a file becomes a directory and back: nothing shines through
layer 0 <<-'EOF'
	file types/f data=1
	file types/d/old data=1
	file types/parent data=1
EOF
layer 1 <<-'EOF'
	dir types/f mode=0700
	file types/f/in data=2
	file types/d data=2
	file types/parent/below data=2
EOF
layer 2 <<-'EOF'
	symlink types/f link=d
	dir types/d mtime=3
EOF
tree <<-'EOF'
	types d 0755 0:0 - 0.000000000 4 - []
	types/d d 0755 0:0 - 3.000000000 2 - []
	types/f l 0777 0:0 1 0.000000000 - - [] ->d
	types/parent d 0755 0:0 - 0.000000000 2 - []
	types/parent/below f 0644 0:0 1 0.000000000 - - [] @2
EOF

about duplicate # the last entry wins; a link to the first keeps what that was
layer 0 <<-'EOF'
	file duplicate/a data=first uid=1
	hardlink duplicate/link link=duplicate/a
	file duplicate/a data=second
	dir duplicate/d mode=0700 x.SCHILY.xattr.user.x=1
	file duplicate/d/f data=1
	dir duplicate/d mode=0711
EOF
tree <<-'EOF'
	duplicate d 0755 0:0 - 0.000000000 3 - []
	duplicate/a f 0644 0:0 6 0.000000000 - - [] @second
	duplicate/d d 0711 0:0 - 0.000000000 2 - []
	duplicate/d/f f 0644 0:0 1 0.000000000 - - [] @1
	duplicate/link f 0644 1:0 5 0.000000000 - - [] @first
EOF

about hardlinks # to a lower layer's file, to a symlink, to what comes later
layer 0 <<-'EOF'
	file hardlinks/f data=x mode=0600 mtime=9
	symlink hardlinks/s link=f
	file hardlinks/g data=y
	hardlink hardlinks/g2 link=hardlinks/g
EOF
layer 1 <<-'EOF'
	hardlink hardlinks/f2 link=hardlinks/f mode=0777 mtime=1000
	hardlink hardlinks/s2 link=./hardlinks/s
	hardlink hardlinks/early link=hardlinks/late
	file hardlinks/late data=late
	hardlink hardlinks/by-link link=hardlinks/link
	file hardlinks/last data=last
	hardlink hardlinks/link link=hardlinks/last
	file hardlinks/.wh.g
EOF
tree <<-'EOF'
	hardlinks d 0755 0:0 - 0.000000000 2 - []
	hardlinks/by-link f 0644 0:0 4 0.000000000 3=hardlinks/by-link - [] @last
	hardlinks/early f 0644 0:0 4 0.000000000 2=hardlinks/early - [] @late
	hardlinks/f f 0600 0:0 1 9.000000000 2=hardlinks/f - [] @x
	hardlinks/f2 f 0600 0:0 1 9.000000000 2=hardlinks/f - [] @x
	hardlinks/g2 f 0644 0:0 1 0.000000000 - - [] @y
	hardlinks/last f 0644 0:0 4 0.000000000 3=hardlinks/by-link - [] @last
	hardlinks/late f 0644 0:0 4 0.000000000 2=hardlinks/early - [] @late
	hardlinks/link f 0644 0:0 4 0.000000000 3=hardlinks/by-link - [] @last
	hardlinks/s l 0777 0:0 1 0.000000000 2=hardlinks/s - [] ->f
	hardlinks/s2 l 0777 0:0 1 0.000000000 2=hardlinks/s - [] ->f
EOF

about through # parents that are symlinks: where they lead, and never out
layer 0 <<-'EOF'
	dir through/real mode=0700
	symlink through/rel link=real
	symlink through/abs link=/through/real
	symlink through/out link=../../../../through/real
	symlink through/nowhere link=made/here
EOF
layer 1 <<-'EOF'
	file through/rel/a data=1
	file through/abs/b data=2
	file through/out/c data=3
	file through/nowhere/d data=4
EOF
tree <<-'EOF'
	through d 0755 0:0 - 0.000000000 4 - []
	through/abs l 0777 0:0 13 0.000000000 - - [] ->/through/real
	through/made d 0755 0:0 - 0.000000000 3 - []
	through/made/here d 0755 0:0 - 0.000000000 2 - []
	through/made/here/d f 0644 0:0 1 0.000000000 - - [] @4
	through/nowhere l 0777 0:0 9 0.000000000 - - [] ->made/here
	through/out l 0777 0:0 24 0.000000000 - - [] ->../../../../through/real
	through/real d 0700 0:0 - 0.000000000 2 - []
	through/real/a f 0644 0:0 1 0.000000000 - - [] @1
	through/real/b f 0644 0:0 1 0.000000000 - - [] @2
	through/real/c f 0644 0:0 1 0.000000000 - - [] @3
	through/rel l 0777 0:0 4 0.000000000 - - [] ->real
EOF

about instead # a directory in a symlink's place, and whiteouts through one
layer 0 <<-'EOF'
	file instead/real/a data=1
	file instead/real/b data=2
	symlink instead/link link=real
	symlink instead/way link=real
EOF
layer 1 <<-'EOF'
	dir instead/link
	file instead/link/.wh.a
	file instead/link/new data=3
	file instead/way/.wh.b
EOF
tree <<-'EOF'
	instead d 0755 0:0 - 0.000000000 4 - []
	instead/link d 0755 0:0 - 0.000000000 2 - []
	instead/link/new f 0644 0:0 1 0.000000000 - - [] @3
	instead/real d 0755 0:0 - 0.000000000 2 - []
	instead/real/a f 0644 0:0 1 0.000000000 - - [] @1
	instead/way l 0777 0:0 4 0.000000000 - - [] ->real
EOF

about itself # a way that an entry changes by which it is found
layer 0 <<-'EOF'
	symlink itself/s link=.
	file itself/s/a data=1
	dir itself/s/s mode=0700
	file itself/s/b data=2
EOF
tree <<-'EOF'
	itself d 0755 0:0 - 0.000000000 3 - []
	itself/a f 0644 0:0 1 0.000000000 - - [] @1
	itself/s d 0700 0:0 - 0.000000000 2 - []
	itself/s/b f 0644 0:0 1 0.000000000 - - [] @2
EOF

about confined # names that would lead out, and spellings of the same
layer 0 <<-'EOF'
	file ../../confined/a data=1
	file /confined/b data=2
	file confined/x/../c data=3
	file .//confined/./d data=4
	hardlink /confined/e link=../confined/a
EOF
tree <<-'EOF'
	confined d 0755 0:0 - 0.000000000 2 - []
	confined/a f 0644 0:0 1 0.000000000 2=confined/a - [] @1
	confined/b f 0644 0:0 1 0.000000000 - - [] @2
	confined/c f 0644 0:0 1 0.000000000 - - [] @3
	confined/d f 0644 0:0 1 0.000000000 - - [] @4
	confined/e f 0644 0:0 1 0.000000000 2=confined/a - [] @1
EOF

about parents # that come later, or never
layer 0 <<-'EOF'
	file parents/later/f data=1
	dir parents/later mode=0500 uid=7 mtime=5
	file parents/never/f data=2
EOF
tree <<-'EOF'
	parents d 0755 0:0 - 0.000000000 4 - []
	parents/later d 0500 7:0 - 5.000000000 2 - []
	parents/later/f f 0644 0:0 1 0.000000000 - - [] @1
	parents/never d 0755 0:0 - 0.000000000 2 - []
	parents/never/f f 0644 0:0 1 0.000000000 - - [] @2
EOF

about directories # the uppermost entry's attributes, all layers' names
layer 0 <<-'EOF'
	dir directories mode=0700 uid=1 mtime=1 x.SCHILY.xattr.user.lower=1
	file directories/a data=1
EOF
layer 1 <<-'EOF'
	file directories/b data=2
EOF
layer 2 <<-'EOF'
	dir directories mode=2775 gid=2 mtime=3 x.SCHILY.xattr.user.upper=1
EOF
tree <<-'EOF'
	directories d 2775 0:2 - 3.000000000 2 - [user.upper=1]
	directories/a f 0644 0:0 1 0.000000000 - - [] @1
	directories/b f 0644 0:0 1 0.000000000 - - [] @2
EOF

about times # treedump prints seconds rounded down, and nanoseconds: -1.5 is half a second before 1970
layer 0 <<-'EOF'
	file times/a x.mtime=-0.5
	file times/b x.mtime=-1.5
	file times/c x.mtime=-1
	file times/d mtime=1.999999999
	file times/e mtime=8589934592 base256=1
	file times/f x.mtime=-0.000000001
EOF
tree <<-'EOF'
	times d 0755 0:0 - 0.000000000 2 - []
	times/a f 0644 0:0 0 -1.500000000 - - [] @
	times/b f 0644 0:0 0 -2.500000000 - - [] @
	times/c f 0644 0:0 0 -1.000000000 - - [] @
	times/d f 0644 0:0 0 1.999999999 - - [] @
	times/e f 0644 0:0 0 8589934592.000000000 - - [] @
	times/f f 0644 0:0 0 -1.999999999 - - [] @
EOF

about acls # the mode's group bits are the mask; a list that says what the mode says is none
layer 0 <<-'EOF'
	file acls/f mode=0640 x.SCHILY.acl.access=user::rw-,user:1000:rwx,group::rwx,mask::r--,other::---
	file acls/g mode=0640 x.SCHILY.acl.access=user::rw-,group::r--,other::---
	dir acls/d x.SCHILY.acl.default=user::rwx,group::r-x,other::---
	file acls/raw mode=0777 x.SCHILY.xattr.system.posix_acl_access=\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x04\x00\x04\x00\xff\xff\xff\xff\x20\x00\x00\x00\xff\xff\xff\xff
EOF
tree <<-'EOF'
	acls d 0755 0:0 - 0.000000000 3 - []
	acls/d d 0755 0:0 - 0.000000000 2 - [system.posix_acl_default=\x02\x00\x00\x00\x01\x00\x07\x00\xff\xff\xff\xff\x04\x00\x05\x00\xff\xff\xff\xff\x20\x00\x00\x00\xff\xff\xff\xff]
	acls/f f 0640 0:0 0 0.000000000 - - [system.posix_acl_access=\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x02\x00\x07\x00\xe8\x03\x00\x00\x04\x00\x07\x00\xff\xff\xff\xff\x10\x00\x04\x00\xff\xff\xff\xff\x20\x00\x00\x00\xff\xff\xff\xff] @
	acls/g f 0640 0:0 0 0.000000000 - - [] @
	acls/raw f 0640 0:0 0 0.000000000 - - [] @
EOF

about xattrs
layer 0 <<-'EOF'
	file xattrs/f x.SCHILY.xattr.user.z=\x00\x0a\x3d\xff x.SCHILY.xattr.user.a= x.SCHILY.xattr.trusted.t=T
	symlink xattrs/s link=f x.SCHILY.xattr.trusted.s=S
	file xattrs/cap mode=0755 x.SCHILY.xattr.security.capability=\x01\x00\x00\x02\x00\x24\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00
EOF
tree <<-'EOF'
	xattrs d 0755 0:0 - 0.000000000 2 - []
	xattrs/cap f 0755 0:0 0 0.000000000 - - [security.capability=\x01\x00\x00\x02\x00$\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00] @
	xattrs/f f 0644 0:0 0 0.000000000 - - [trusted.t=T,user.a=,user.z=\x00\x0a=\xff] @
	xattrs/s l 0777 0:0 1 0.000000000 - - [trusted.s=S] ->f
EOF

about nodes
layer 0 <<-'EOF'
	char nodes/c major=1 minor=3 mode=0666 uid=4294967294 base256=1
	block nodes/b major=4095 minor=1048575
	fifo nodes/p mode=1622 x.gid=3000000000
	file nodes/suid mode=6755
EOF
tree <<-'EOF'
	nodes d 0755 0:0 - 0.000000000 2 - []
	nodes/b b 0644 0:0 - 0.000000000 - 4095,1048575 []
	nodes/c c 0666 4294967294:0 - 0.000000000 - 1,3 []
	nodes/p p 1622 0:3000000000 0 0.000000000 - - []
	nodes/suid f 6755 0:0 0 0.000000000 - - [] @
EOF

about names # of any bytes; and links whose target only a record has
layer 0 <<-'EOF'
	file names/new\x0aline
	file names/back\x5cslash
	file names/\xff\xfe
	file names/x x.path=names/e\xcc\x81
	file names/x x.path=names/\xc3\xa9
	file names/.wh
	symlink names/s x.linkpath=\xe9
	symlink names/t link=wrong x.linkpath=right
	hardlink names/z x.linkpath=names/.wh
EOF
tree <<-'EOF'
	names d 0755 0:0 - 0.000000000 2 - []
	names/.wh f 0644 0:0 0 0.000000000 2=names/.wh - [] @
	names/back\x5cslash f 0644 0:0 0 0.000000000 - - [] @
	names/e\xcc\x81 f 0644 0:0 0 0.000000000 - - [] @
	names/new\x0aline f 0644 0:0 0 0.000000000 - - [] @
	names/s l 0777 0:0 1 0.000000000 - - [] ->\xe9
	names/t l 0777 0:0 5 0.000000000 - - [] ->right
	names/z f 0644 0:0 0 0.000000000 2=names/.wh - [] @
	names/\xc3\xa9 f 0644 0:0 0 0.000000000 - - [] @
	names/\xff\xfe f 0644 0:0 0 0.000000000 - - [] @
EOF

about sparse # 5 TB with two bytes at 1 TiB; of large files treedump hashes blocks, each after its offset
layer 0 <<-EOF
	file x data=2\\x0a1099511627776\\x0a2\\x0a5000000000000\\x0a0\\x0a$(printf '\\x00%.0s' {1..478})hi x.GNU.sparse.major=1 x.GNU.sparse.minor=0 x.GNU.sparse.name=sparse/f x.GNU.sparse.realsize=5000000000000
EOF
sum=$({ printf '\0\0\0\0\0\1\0\0hi' && head -c 4094 /dev/zero; } | sha256sum)
cat >"$WORK/want.sparse" <<-EOF
	sparse d 0755 0:0 - 0.000000000 2 - []
	sparse/f f 0644 0:0 5000000000000 0.000000000 - - [] blocks:${sum%% *}
EOF

about reserved # below a name that is kept for whiteouts nothing is shown
layer 1 <<-'EOF'
	file reserved/a data=1
	dir reserved/.wh..wh.plnk
	file reserved/.wh..wh.plnk/1.2 data=2
EOF
tree <<-'EOF'
	reserved d 0755 0:0 - 0.000000000 2 - []
	reserved/a f 0644 0:0 1 0.000000000 - - [] @1
EOF

about . # the root's own attributes; its subdirectories are the cases
layer 1 <<-'EOF'
	dir ./ mode=0711 uid=3 mtime=4
EOF
printf '. d 0711 3:0 - 4.000000000 %d - []\n' $((${#CASES[@]} + 1)) >"$WORK/want.."

# cases_compare MODE: the image is mounted at $WORK/mnt.
cases_compare() {
	local c
	timeout 60 "$E2E/treedump" -cl "$WORK/mnt" >"$WORK/cases.dump" 2>"$LOG" || fail "$1: the cases are read" "$(cat "$LOG")"
	for c in "${CASES[@]}"; do
		awk -v c="$c" '$1 == c || (c != "." && index($1, c "/") == 1)' "$WORK/cases.dump" >"$WORK/got.$c"
		same "$WORK/want.$c" "$WORK/got.$c" "$1: $c"
	done
	is "${#CASES[@]}" "$(sed 's|[/ ].*||' "$WORK/cases.dump" | sort -u | wc -l)" "$1: nothing beside the cases"
}

cases_run() {
	local i
	layout_new "$WORK/cases"
	for i in 0 1 2 3; do
		{ cat "$WORK/cases.$i" && echo end; } | "$E2E/mktar" >"$WORK/cases.tar" || bail "layer $i of the cases"
		layout_add "$WORK/cases" "$WORK/cases.tar" raw
	done
	layout_finish "$WORK/cases"
	for i in fuse erofs; do
		mount_image "oci:$WORK/cases:latest" "$WORK/mnt" --cache-dir none --mode $i || bail "$i: the cases mount" "$(cat "$LOG")"
		cases_compare $i
		"$CLOAKFS" umount "$WORK/mnt" >"$LOG" 2>&1 || bail "$i: unmounting" "$(cat "$LOG")"
	done
}

# refused REGEX TEXT: a lower and an upper layer, mktar's lines with a line "--" between.
refused() {
	local want=$1 text=$2 n
	cat >"$WORK/bad"
	layout_new "$WORK/refused"
	for n in 1 2; do
		awk -v n=$n '/^--$/ { at++; next } at == n - 1 { print } END { print "end" }' "$WORK/bad" |
			"$E2E/mktar" >"$WORK/bad.tar"
		layout_add "$WORK/refused" "$WORK/bad.tar" raw
	done
	layout_finish "$WORK/refused"
	fails_with "$want" "$text" "$CLOAKFS" ls --cache-dir none "oci:$WORK/refused:latest"
}

cases_refused() {
	refused 'symlinks' "a parent in a loop is refused" <<-'EOF'
		symlink a link=b
		symlink b link=a
		--
		file a/f
	EOF
	refused 'parent.*not a directory' "so is one that is a file of the same layer" <<-'EOF'
		--
		file a data=1
		file a/f data=2
	EOF
	refused 'hard link.*neither' "a hard link to nothing" <<-'EOF'
		--
		hardlink a link=b
	EOF
	refused 'hard link.*neither' "one to what its layer takes away" <<-'EOF'
		file b data=1
		--
		hardlink a link=b
		file .wh.b
	EOF
	refused 'hard link.*directory' "and one to a directory" <<-'EOF'
		dir d
		--
		hardlink a link=d
	EOF
}
