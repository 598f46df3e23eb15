# open.sh - how long until the first file of an image can be read.
# shellcheck shell=bash
the_layer
[ -e "$WORK/sealed" ] ||
	must "$CLOAKFS" encrypt --key "$WORK/rsa.pub" "oci:$WORK/plain:latest" "oci:$WORK/sealed:latest"
encrypt "$WORK/plain" "$WORK/enc" --encryption-key "jwe:$WORK/rsa.pub"
cp -r "$WORK/enc" "$WORK/indexed"
must "$CLOAKFS" index --key "$WORK/rsa.pem" "oci:$WORK/indexed:latest"
some_file=$(tar -tf "$WORK/layer.tar" | grep -m 1 'stdio.h$')

mount_and_read() {
	mount_image "$1" "$WORK/mnt" --key "$WORK/rsa.pem" --cache-dir "$2" && cat "$WORK/mnt/$some_file" &&
		"$CLOAKFS" umount "$WORK/mnt"
}
open_plainly() { mount_and_read "oci:$WORK/enc:latest" none; }
open_cached() { mount_and_read "oci:$WORK/enc:latest" "$WORK/cache"; }
open_indexed() { mount_and_read "oci:$WORK/indexed:latest" none; }
open_sealed() { mount_and_read "oci:$WORK/sealed:latest" none; }
skopeo_and_tar() {
	rm -rf "$WORK/dec" "$WORK/tree"
	mkdir "$WORK/tree"
	skopeo_copy --decryption-key "$WORK/rsa.pem" "oci:$WORK/enc:latest" "oci:$WORK/dec:latest" &&
		tar -C "$WORK/tree" -xf "$(layout_blob "$WORK/dec" 0)"
}
verify_hsm() { "$CLOAKFS" verify --key "$WORK/rsa.pem" "oci:$WORK/enc:latest"; }

versus "An image of skopeo's, no index: mount, read one file, umount" \
	"cloakfs mount" open_plainly "skopeo copy --decryption-key, then tar -x" skopeo_and_tar
versus "The whole layer checked" \
	"cloakfs verify" verify_hsm "skopeo copy --decryption-key, then tar -x" skopeo_and_tar
rm -rf "$WORK/dec" "$WORK/tree"
must open_cached # makes the index
versus "The same image, its index kept by an earlier mount" \
	"cloakfs mount, second time" open_cached "cloakfs mount, first time" open_plainly
versus "The same image, its index travelling with it" \
	"cloakfs mount after cloakfs index" open_indexed "cloakfs mount, first time" open_plainly
versus "The image sealed" "cloakfs mount, sealed" open_sealed "cloakfs mount of skopeo's, first time" open_plainly

# Until the mount is ready, and what it reads for that.
echo
echo "Sealed, until the mount is ready"
: >"$WORK/a"
for i in $(seq "$ROUNDS"); do
	seconds mount_image "oci:$WORK/sealed:latest" "$WORK/mnt" --key "$WORK/rsa.pem" --cache-dir none >>"$WORK/a"
	must "$CLOAKFS" umount "$WORK/mnt"
done
printf '  %-58s %s s\n' "cloakfs mount returns" "$(stats "$WORK/a")"
strace -f -y -e trace=pread64 -e signal=none -o "$WORK/trace" "$CLOAKFS" ls --key "$WORK/rsa.pem" --cache-dir none \
	"oci:$WORK/sealed:latest" / >"$LOG" 2>&1
awk -v size="$(stat -c %s "$(layout_blob "$WORK/sealed" 0)")" '/pread64\(.*blobs\/sha256\// && / = [0-9]+$/ { n += $NF }
	END { printf "  bytes read of the blob: %.2f MiB, %.2f %% of it\n", n / 1048576, 100 * n / size }' "$WORK/trace"
"$BUILD/bench/index" "$WORK/layer.tar" "$ROUNDS" | sed 's/^/  /'
