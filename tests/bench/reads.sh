# reads.sh - a sealed image mounted, beside other read-only and encrypted filesystems of the
# same tree: each row is measured cold, on a fresh mount, in turn.
# shellcheck shell=bash
READS=${READS:-/usr/include /usr/lib/gcc /usr/lib/python3 /usr/share/doc}
T=$WORK/reads
mkdir -p "$T/src" "$T/mnt" "$T/crypt" "$T/plain"
echo "making a tree of $READS and a large file ..."
# shellcheck disable=SC2086
tar -C / -cf - --format=posix $(printf '%s\n' $READS | sed 's|^/||') 2>"$LOG" | tar -C "$T/src" -xf -
find /usr/lib /usr/bin -type f -size +200k -print0 | sort -z | xargs -0 cat 2>"$LOG" | head -c 117000000 >"$T/src/large"
tar -C "$T/src" -cf "$T/layer.tar" --sort=name --format=posix .
layer_of "$T/image" "$T/layer.tar" gzip
gz=$(layout_blob "$T/image" 0)
echo "$(find "$T/src" -type f | wc -l) files, $(mib "$T/layer.tar") MiB of tar, $(mib "$gz") MiB of gzip"
must "$CLOAKFS" encrypt --key "$WORK/rsa.pub" "oci:$T/image:latest" "oci:$T/sealed:latest"
encrypt "$T/image" "$T/skopeo" --encryption-key "jwe:$WORK/rsa.pub"
cp -r "$T/skopeo" "$T/indexed"
must "$CLOAKFS" index --key "$WORK/rsa.pem" "oci:$T/indexed:latest"
must mksquashfs "$T/src" "$T/squash" -comp zstd -Xcompression-level 3 -b 131072 -noappend -quiet
must "$TRIXIE/bin/mkfs.erofs" -b4096 "$T/plain.erofs" "$T/src"
must truncate -s 1500M "$T/ext4"
must mkfs.ext4 -q -d "$T/src" "$T/ext4"
mkdir "$T/disk" "$T/upper" "$T/work"
must mount -o loop,ro "$T/ext4" "$T/disk"
echo secret >"$T/pass"
must gocryptfs -init -q -scryptn 10 -passfile "$T/pass" "$T/crypt"
must gocryptfs -q -passfile "$T/pass" "$T/crypt" "$T/plain"
cp -a "$T/src/." "$T/plain/"
fusermount3 -u "$T/plain"

up() { # WHAT: mounts it at $T/mnt
	case $1 in
	sealed) mount_image "oci:$T/sealed:latest" "$T/mnt" --mode fuse --key "$WORK/rsa.pem" --cache-dir none ;;
	erofs) mount_image "oci:$T/sealed:latest" "$T/mnt" --mode erofs --key "$WORK/rsa.pem" --cache-dir none ;;
	no-index) mount_image "oci:$T/skopeo:latest" "$T/mnt" --mode fuse --key "$WORK/rsa.pem" --cache-dir none ;;
	indexed) mount_image "oci:$T/indexed:latest" "$T/mnt" --mode fuse --key "$WORK/rsa.pem" --cache-dir none ;;
	squashfs) mount -t squashfs -o loop,ro "$T/squash" "$T/mnt" ;;
	plain-erofs) mount -t erofs -o loop,ro "$T/plain.erofs" "$T/mnt" ;;
	overlay-ext4) mount -t overlay -o "lowerdir=$T/disk,upperdir=$T/upper,workdir=$T/work" overlay "$T/mnt" ;;
	squashfuse_ll) squashfuse_ll "$T/squash" "$T/mnt" ;;
	archivemount) archivemount -o readonly "$T/layer.tar" "$T/mnt" ;;
	gocryptfs) gocryptfs -q -ro -passfile "$T/pass" "$T/crypt" "$T/mnt" ;;
	esac >"$LOG" 2>&1
}
down() {
	case $1 in
	sealed | erofs | no-index | indexed) "$CLOAKFS" umount "$T/mnt" ;;
	*) umount "$T/mnt" ;;
	esac
	wait_until 10 eval '! is_mounted "$T/mnt"'
}

# compare TITLE FIELD UNIT "PEER..." OPERATION...: FIELD of what readfs prints, for each peer.
compare() {
	local title=$1 field=$2 unit=$3 peers=$4 p i out
	shift 4
	for p in $peers; do : >"$T/$p.v"; : >"$T/$p.cpu"; done
	for i in $(seq "$ROUNDS"); do
		for p in $peers; do
			cold
			from=$(date +%s.%N)
			up "$p" || { echo "bench: cannot mount $p"; cat "$LOG"; exit 1; }
			out=$("$BUILD/bench/readfs" "$@") || exit 1
			to=$(date +%s.%N)
			case $field in
			mount_and_all) awk -v a="$from" -v b="$to" 'BEGIN { printf "%.3f\n", b - a }' ;;
			*) value "$field" "$out" ;;
			esac >>"$T/$p.v"
			case $p in
			sealed | erofs | no-index | indexed) cpu_of "$(mount_pid "$T/mnt")" >>"$T/$p.cpu" ;;
			esac
			down "$p"
		done
	done
	echo
	echo "$title"
	for p in $peers; do
		printf '  %-16s %s %s' "$p" "$(stats "$T/$p.v")" "$unit"
		[ ! -s "$T/$p.cpu" ] || printf '   daemon CPU %s s' "$(stats "$T/$p.cpu" | awk '{ print $1 }')"
		echo
	done
}

fs="sealed erofs squashfs plain-erofs overlay-ext4 squashfuse_ll gocryptfs"
# erofs is the sealed image, too, mounted with --mode erofs.
# archivemount reads its archive from the start for each file: not for all of them.
compare "find with attributes, cold" seconds s "$fs indexed archivemount" find "$T/mnt"
hot() { # FIELD UNIT TITLE
	compare "$3" "$1" "$2" "$fs" hot "$T/mnt" 300000
}
hot hot_find_s s "find with attributes, hot"
hot lstat_ns ns "lstat at random, hot"
compare "mount and read every file once" mount_and_all s "$fs indexed no-index" all "$T/mnt" 1
compare "mount and read every file once, four readers" mount_and_all s "$fs indexed" all "$T/mnt" 4
compare "the large file from start to end, cold" mb_per_s MB/s "$fs indexed archivemount" seq "$T/mnt/large"
compare "the large file again, warm" mb_per_s MB/s "$fs" warm "$T/mnt/large"
compare "4 KiB once in every MiB of the large file, cold (p50)" touch_p50_us us "$fs indexed" touch "$T/mnt/large"
compare "60,000 reads of 4 KiB at random in the large file" reads_per_s reads/s "$fs indexed" random "$T/mnt/large" 60000 1
compare "the same, four readers" reads_per_s reads/s "$fs" random "$T/mnt/large" 60000 4

# The ceilings: zstd itself on the same bytes, and FUSE itself from memory.
echo
echo "Ceilings for reading the large file"
zstd -q -3 -B1M "$T/src/large" -o "$T/large.zst" -f
: >"$WORK/a"
for i in $(seq "$ROUNDS"); do
	from=$(date +%s.%N); zstd -dqc "$T/large.zst" >/dev/null; to=$(date +%s.%N)
	awk -v a="$from" -v b="$to" 'BEGIN { printf "%.0f\n", 117 / (b - a) }' >>"$WORK/a"
done
printf '  %-40s %s MB/s\n' "zstd -dc, one core" "$(stats "$WORK/a")"
mkdir -p "$T/raw" && cp "$T/src/large" "$T/raw/large"
tar -C "$T/raw" -cf "$T/raw.tar" --format=posix large
layer_of "$T/rawimage" "$T/raw.tar" raw
must "$CLOAKFS" encrypt --compress keep --key "$WORK/rsa.pub" "oci:$T/rawimage:latest" "oci:$T/rawsealed:latest"
must "$CLOAKFS" index --key "$WORK/rsa.pem" "oci:$T/rawsealed:latest"
: >"$WORK/a"; : >"$WORK/b"
for i in $(seq "$ROUNDS"); do
	must "$BUILD/bench/memfs" "$T/src/large" "$T/mnt"
	value mb_per_s "$("$BUILD/bench/readfs" seq "$T/mnt/file")" >>"$WORK/b"
	umount "$T/mnt"
	must mount_image "oci:$T/rawsealed:latest" "$T/mnt" --mode fuse --key "$WORK/rsa.pem" --cache-dir none
	cat "$(layout_blob "$T/rawsealed" 0)" >/dev/null # the disk is not what is measured
	value mb_per_s "$("$BUILD/bench/readfs" seq "$T/mnt/large")" >>"$WORK/a"
	must "$CLOAKFS" umount "$T/mnt"
done
printf '  %-40s %s MB/s\n' "a FUSE file from memory" "$(stats "$WORK/b")" "sealed, uncompressed" "$(stats "$WORK/a")"

echo
echo "Memory (RSS of the daemon, MiB)"
daemon_of() { # PEER
	case $1 in
	sealed | erofs) mount_pid "$T/mnt" ;;
	*) pgrep -n -f -- "$1 .*$T/mnt\$" ;;
	esac
}
for p in sealed erofs squashfuse_ll gocryptfs; do
	up "$p" || { echo "bench: cannot mount $p"; cat "$LOG"; exit 1; }
	pid=$(daemon_of "$p")
	mounted=$(rss_of "$pid")
	"$BUILD/bench/readfs" find "$T/mnt" >"$LOG"
	walked=$(rss_of "$pid")
	"$BUILD/bench/readfs" all "$T/mnt" 4 >"$LOG"
	printf '  %-16s mounted %s, walked %s, every file read by four readers %s\n' "$p" "$mounted" "$walked" "$(rss_of "$pid")"
	down "$p"
done
echo "  (ours with the cache of units: a thirty-second part of memory, 64 to 256)"
umount "$T/disk"
rm -rf "$T"
