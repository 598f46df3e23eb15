# treeseed.sh - one random stack of layers, shown by cloakfs in every way and compared with the
# model's tree. Sourced after tap.sh. Needs $E2E (treegen, treedump), openssl, GNU tar.
# shellcheck shell=bash

TREE_WITHIN=60 # seconds, for anything that cloakfs does: what hangs is told, too

# tree_prepare: what all seeds share.
tree_prepare() {
	openssl genrsa -out "$WORK/key.pem" 2048 2>/dev/null
	openssl pkey -in "$WORK/key.pem" -pubout -out "$WORK/pub.pem"
	mkdir -p "$WORK/seed" "$WORK/gnu" "$WORK/mnt"
	# It takes every attribute, time and length that Linux knows.
	mount -t tmpfs -o mode=755 gnu "$WORK/gnu" || bail "a tmpfs"
}

# tree_differ WANT GOT TEXT: 1, and the difference, when two files are not the same.
tree_differ() {
	cmp -s "$1" "$2" && return 1
	echo "$3 (- expected, + got):"
	diff -aU0 "$1" "$2" | tail -n +3 | cut -c1-300 | head -n 8 | tr -d '\0'
}

# tree_layout SEED: the layers of $WORK/seed become the layout $WORK/image, compressed in turn in
# every way; every fourth image sealed.
tree_layout() {
	local tar forms=(raw gzip zstd raw gzip-multi) i=$1
	layout_new "$WORK/image"
	for tar in "$WORK"/seed/[0-4].tar; do
		layout_add "$WORK/image" "$tar" "${forms[i++ % 5]}"
	done
	layout_finish "$WORK/image"
	[ $(($1 % 4)) = 0 ] || return 0
	rm -rf "$WORK/sealed"
	"$CLOAKFS" encrypt --key "$WORK/pub.pem" "oci:$WORK/image:latest" "oci:$WORK/sealed:latest" >"$LOG" 2>&1 &&
		rm -rf "$WORK/image" && mv "$WORK/sealed" "$WORK/image"
}

# tree_mounted MODE: mounts the image, and compares it with $WORK/seed/want.dump.
tree_mounted() {
	local bad=0
	if ! mount_image "oci:$WORK/image:latest" "$WORK/mnt" --key "$WORK/key.pem" --cache-dir none --mode "$1"; then
		echo "$1 mode: it does not mount: $(cat "$LOG")"
		return 1
	fi
	timeout "$TREE_WITHIN" "$E2E/treedump" -cl "$WORK/mnt" >"$WORK/seed/$1.dump" 2>"$WORK/seed/$1.err" || {
		bad=1
		echo "$1 mode: reading the tree: exit status $?: $(head -n 5 "$WORK/seed/$1.err")"
	}
	tree_differ "$WORK/seed/want.dump" "$WORK/seed/$1.dump" "$1 mode" && bad=1
	timeout "$TREE_WITHIN" "$CLOAKFS" umount "$WORK/mnt" >"$LOG" 2>&1 || {
		bad=1
		echo "$1 mode: unmounting: $(cat "$LOG")"
	}
	return $bad
}

# tree_gnu: the model itself, against GNU tar.
tree_gnu() {
	find "$WORK/gnu" -mindepth 1 -delete
	(umask 022 && tar -C "$WORK/gnu" --warning=no-timestamp --numeric-owner --xattrs --xattrs-include='*' --acls \
		-xpf "$WORK/seed/gnu.tar") >"$LOG" 2>&1 </dev/null || {
		echo "GNU tar: $(head -n 5 "$LOG")"
		return 1
	}
	treedump -dl "$WORK/gnu" >"$WORK/seed/tar.dump" 2>&1
	# The unpacked root is no entry of the tar.
	tail -n +2 "$WORK/seed/tar.dump" >"$WORK/seed/tar.names"
	tail -n +2 "$WORK/seed/gnu.dump" >"$WORK/seed/gnu.names"
	! tree_differ "$WORK/seed/gnu.names" "$WORK/seed/tar.names" "the model against GNU tar"
}

# tree_listed: `cloakfs ls` and `cloakfs cat`, of the root and of its first file.
tree_listed() {
	local path bad=0
	timeout "$TREE_WITHIN" "$CLOAKFS" ls -l --key "$WORK/key.pem" --cache-dir none "oci:$WORK/image:latest" 2>"$LOG" |
		sed -E 's/ +/ /g; s/^ //' >"$WORK/seed/got.ls"
	sed -E 's/ +/ /g; s/^ //' "$WORK/seed/want.ls" >"$WORK/seed/squeezed.ls"
	if [ -s "$LOG" ]; then
		echo "cloakfs ls -l: $(cat "$LOG")"
		return 1
	fi
	tree_differ "$WORK/seed/squeezed.ls" "$WORK/seed/got.ls" "cloakfs ls -l" && bad=1
	path=$(awk '$2 == "f" && $5 > 0 && $NF !~ /^blocks:/ && $1 !~ /^-/ { print $1; exit }' "$WORK/seed/want.dump")
	[ -n "$path" ] || return $bad
	timeout "$TREE_WITHIN" "$CLOAKFS" cat --key "$WORK/key.pem" --cache-dir none "oci:$WORK/image:latest" "/$(printf '%b.' "$path" | head -c -1)" \
		>"$WORK/seed/cat" 2>"$LOG"
	[ "$(awk -v p="${path//\\/\\\\}" '$1 == p { print $NF }' "$WORK/seed/want.dump")" = "$(sha256_of "$WORK/seed/cat")" ] && return $bad
	echo "cloakfs cat /$path: $(head -n 3 "$LOG")"
	return 1
}

# tree_seed SEED: all of it; prints what differs, and how to see it again.
tree_seed() {
	local bad=0
	rm -f "$WORK"/seed/*
	"$E2E/treegen" "$1" "$WORK/seed" || return 1
	tree_gnu || bad=1
	tree_layout "$1" || {
		echo "no layout: $(cat "$LOG")"
		return 1
	}
	tree_mounted fuse || bad=1
	tree_mounted erofs || bad=1
	tree_listed || bad=1
	[ $bad = 0 ] || echo "to repeat: SEEDS=$1 KEEP=1 tests/e2e/tree.sh"
	return $bad
}
