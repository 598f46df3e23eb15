# growth.sh - how time and memory grow: a million small files, and one file of 8 GB.
#   FILES="10000 100000 1000000"   GB="1 8"
# shellcheck shell=bash
G=$WORK/growth
mkdir -p "$G/mnt"

# watched COMMAND...: seconds and peak MiB of it.
watched() {
	/usr/bin/time -f '%e s, %M KiB at most' -o "$G/time" "$@" >"$LOG" 2>&1 || { cat "$LOG"; exit 1; }
	awk '{ printf "%s s, %.0f MiB at most\n", $1, $3 / 1024 }' "$G/time"
}
sealed_of() { # LAYOUT
	echo "  encrypt: $(watched "$CLOAKFS" encrypt --key "$WORK/rsa.pub" "oci:$1:latest" "oci:$1.sealed:latest")"
	echo "  $(mib "$(layout_blob "$1.sealed" 0)") MiB sealed, of $(mib "$(layout_blob "$1" 0)") MiB"
	echo "  ls of its root: $(watched "$CLOAKFS" ls --key "$WORK/rsa.pem" --cache-dir none "oci:$1.sealed:latest" /)"
	echo "  decrypt: $(watched "$CLOAKFS" decrypt --key "$WORK/rsa.pem" "oci:$1.sealed:latest" "oci:$1.back:latest")"
	rm -rf "$1.back"
	echo "  mount: $(seconds mount_image "oci:$1.sealed:latest" "$G/mnt" --key "$WORK/rsa.pem" --cache-dir none) s," \
		"then $(rss_of "$(mount_pid "$G/mnt")") MiB"
}
finish_mount() {
	echo "  RSS after that: $(rss_of "$(mount_pid "$G/mnt")") MiB"
	must "$CLOAKFS" umount "$G/mnt"
}

for n in ${FILES-10000 100000 1000000}; do
	echo "$n files of 100 bytes"
	awk -v n=$n 'BEGIN { for (i = 0; i < n; i++) {
		if (i % 1000 == 0) printf "dir d%d\n", i / 1000
		printf "file d%d/f%d data=%0100d\n", i / 1000, i, i
	} print "end" }' | "$E2E/mktar" >"$G/tar"
	layer_of "$G/many" "$G/tar" zstd
	rm "$G/tar"
	sealed_of "$G/many"
	echo "  find with attributes: $(value seconds "$("$BUILD/bench/readfs" find "$G/mnt")") s"
	[ $n = 1000000 ] || echo "  every file read: $(value seconds "$("$BUILD/bench/readfs" all "$G/mnt" 2)") s"
	finish_mount
	rm -rf "$G/many" "$G/many.sealed"
done

for gb in ${GB-1 8}; do
	echo "one file of $gb GB"
	find /usr/lib /usr/bin -type f -size +200k -print0 | sort -z | xargs -0 cat 2>/dev/null | head -c 1000000000 >"$G/part"
	for i in $(seq $gb); do cat "$G/part"; done >"$G/file"
	rm "$G/part"
	tar -C "$G" -cf "$G/tar" --format=posix file
	rm "$G/file"
	layer_of "$G/one" "$G/tar" zstd
	rm "$G/tar"
	sealed_of "$G/one"
	cold
	echo "  1 GB of it read: $(value mb_per_s "$("$BUILD/bench/readfs" seq "$G/mnt/file" 954)") MB/s"
	echo "  4 KiB reads at random: $("$BUILD/bench/readfs" random "$G/mnt/file" 2000 1)"
	finish_mount
	rm -rf "$G/one" "$G/one.sealed"
done
rm -rf "$G"
