#!/bin/bash
# bench.sh - measures cloakfs beside named yardsticks, in turn in one run; called by `make bench`.
#
#   ROUNDS=5  pairs measured    TREE="/usr/include /usr/share/doc ..."  what the layer is made of
# Prints medians, the spread, and the ratio pair by pair. Needs a machine at rest.
set -u
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=tests/e2e/lib/tap.sh
. tests/e2e/lib/tap.sh
# shellcheck source=tests/e2e/lib/layout.sh
. tests/e2e/lib/layout.sh
# shellcheck source=tests/e2e/lib/azure.sh
. tests/e2e/lib/azure.sh

ROUNDS=${ROUNDS:-5}
TREE=${TREE:-/usr/include /usr/share /usr/bin}

# A plain file, not $(...): a command that fails must end the run.
must() {
	"$@" >"$LOG" 2>&1 </dev/null || { echo "bench: failed: $*"; cat "$LOG"; exit 1; }
}

# seconds COMMAND...: how long it took.
seconds() {
	local from to
	from=$(date +%s.%N)
	must "$@"
	to=$(date +%s.%N)
	awk -v a="$from" -v b="$to" 'BEGIN { printf "%.3f\n", b - a }'
}

# stats FILE: "median (min .. max)".
stats() {
	sort -n "$1" | awk '{ v[NR] = $1 } END { printf "%8.3f  (%.3f .. %.3f)", v[int((NR + 1) / 2)], v[1], v[NR] }'
}

# versus TITLE A-TEXT A-FUNCTION B-TEXT B-FUNCTION: in turn, A B A B.
versus() {
	local i a b
	: >"$WORK/a"; : >"$WORK/b"; : >"$WORK/r"
	for i in $(seq "$ROUNDS"); do
		a=$(seconds "$3") || exit 1
		b=$(seconds "$5") || exit 1
		echo "$a" >>"$WORK/a"
		echo "$b" >>"$WORK/b"
		awk -v a="$a" -v b="$b" 'BEGIN { printf "%.3f\n", a / b }' >>"$WORK/r"
	done
	echo
	echo "$1"
	printf '  %-58s %s s\n' "$2" "$(stats "$WORK/a")" "$4" "$(stats "$WORK/b")"
	printf '  %-58s %s\n' "ratio, pair by pair" "$(stats "$WORK/r")"
}

tests/e2e/lib/trixie.sh build/trixie || exit 1
azure_start
ocicrypt_cmd "$CLOAKFS" keyprovider --exec
echo "making a layer of $TREE ..."
layout_new "$WORK/plain"
# shellcheck disable=SC2086
tar -C / -cf "$WORK/layer.tar" --sort=name --format=posix $(printf '%s\n' $TREE | sed 's|^/||') 2>"$LOG"
layout_add "$WORK/plain" "$WORK/layer.tar" gzip
layout_finish "$WORK/plain" latest
gzip -nc "$WORK/layer.tar" >"$WORK/layer.gz"
encrypt "$WORK/plain" "$WORK/enc" --encryption-key "provider:attestation-agent:aasp:$KID"
echo "$(tar -tf "$WORK/layer.tar" | wc -l) entries, $(nproc) CPUs:$(sed -n 's/^model name.*://p' /proc/cpuinfo | head -n 1)"
some_file=$(tar -tf "$WORK/layer.tar" | grep -m 1 'stdio.h$')

echo
echo "The verifying pass over the encrypted layer, in memory"
"$BUILD/bench/pass" "$WORK/layer.gz" "$ROUNDS" | sed 's/^/  /'

cloakfs_verify() {
	"$CLOAKFS" verify "oci:$WORK/enc:latest"
}

skopeo_and_tar() {
	rm -rf "$WORK/dec" "$WORK/tree"
	mkdir "$WORK/tree"
	skopeo_copy --decryption-key provider:attestation-agent:aasp "oci:$WORK/enc:latest" "oci:$WORK/dec:latest" &&
		tar -C "$WORK/tree" -xf "$(layout_blob "$WORK/dec" 0)"
}

mount_and_read() {
	mount_image "oci:$WORK/enc:latest" "$WORK/mnt" "$@" && cat "$WORK/mnt/$some_file" && "$CLOAKFS" umount "$WORK/mnt"
}

with_index() {
	mount_and_read --cache-dir "$WORK/cache"
}

versus "The whole layer, keys by attestation and release each time" \
	"cloakfs verify (every byte checked)" cloakfs_verify \
	"skopeo copy --decryption-key, then tar -x" skopeo_and_tar
versus "To the first file of the image, keys likewise" \
	"cloakfs mount, cat one file, umount" mount_and_read \
	"skopeo copy --decryption-key, then tar -x" skopeo_and_tar
must with_index # makes the index
versus "The same with the index that an earlier mount kept" \
	"cloakfs mount --cache-dir, cat one file, umount" with_index \
	"cloakfs mount, cat one file, umount" mount_and_read
