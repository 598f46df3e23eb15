# encrypt.sh - sealing an image against skopeo and zstd; how large it becomes.
# shellcheck shell=bash
the_layer

encrypt_gcm() {
	rm -rf "$WORK/sealed"
	"$CLOAKFS" encrypt --key "$WORK/rsa.pub" "oci:$WORK/plain:latest" "oci:$WORK/sealed:latest"
}
encrypt_keep() {
	rm -rf "$WORK/kept"
	"$CLOAKFS" encrypt --compress keep --key "$WORK/rsa.pub" "oci:$WORK/plain:latest" "oci:$WORK/kept:latest"
}
encrypt_ctr() {
	rm -rf "$WORK/ctr"
	"$CLOAKFS" encrypt --cipher ctr --key "$WORK/rsa.pub" "oci:$WORK/plain:latest" "oci:$WORK/ctr:latest"
}
# What the same takes with the tools there are: unpack, compress, let skopeo encrypt.
zstd_and_skopeo() {
	rm -rf "$WORK/z" "$WORK/zenc"
	gzip -dc "$WORK/layer.gz" | zstd -3 -T0 -qc >"$WORK/layer.zst" || return 1
	skopeo_copy --encryption-key "jwe:$WORK/rsa.pub" "oci:$WORK/plain:latest" "oci:$WORK/zenc:latest"
}
skopeo_encrypts() {
	rm -rf "$WORK/zenc"
	skopeo_copy --encryption-key "jwe:$WORK/rsa.pub" "oci:$WORK/plain:latest" "oci:$WORK/zenc:latest"
}
versus "Encrypting, recompressed to zstd" \
	"cloakfs encrypt (verify, recompress, index, seal)" encrypt_gcm \
	"gzip -dc | zstd -3 -T0, then skopeo copy --encryption-key" zstd_and_skopeo
awk -v n="$(stat -c %s "$WORK/layer.tar")" -v t="$(sort -n "$WORK/a" | sed -n "$(((ROUNDS + 1) / 2))p")" \
	'BEGIN { printf "  cloakfs encrypt: %.0f MB/s of tar\n", n / t / 1e6 }'
versus "Encrypting the bytes as they are, sealed" \
	"cloakfs encrypt --compress keep" encrypt_keep "skopeo copy --encryption-key" skopeo_encrypts
versus "Encrypting the bytes as they are, as skopeo does" \
	"cloakfs encrypt --cipher ctr" encrypt_ctr "skopeo copy --encryption-key" skopeo_encrypts

must encrypt_gcm
index=$("$CLOAKFS" encrypt --json --key "$WORK/rsa.pub" "oci:$WORK/plain:latest" "oci:$WORK/again:latest" | jq '.layers[0].index_length')
must "$CLOAKFS" index --key "$WORK/rsa.pem" "oci:$WORK/ctr:latest"
outside=$(find "$WORK/ctr/blobs" -newer "$WORK/again/index.json" -size +100k -printf '%s\n' | head -n 1)
rm -rf "$WORK/again"
echo
echo "Sizes"
awk -v gz="$(stat -c %s "$WORK/layer.gz")" -v s="$(stat -c %s "$(layout_blob "$WORK/sealed" 0)")" -v x="$index" \
	-v o="${outside:-0}" -v n="$N_ENTRIES" 'BEGIN {
	printf "  original gzip layer %.1f MiB, sealed %.1f MiB: %.3f of it\n", gz / 1048576, s / 1048576, s / gz
	printf "  index inside: %.2f MiB, %.1f bytes an entry, %.2f %% of the layer\n", x / 1048576, x / n, 100 * x / s
	printf "  index of the gzip layer, outside: %.2f MiB, %.1f bytes an entry, %.2f %% of the layer\n", o / 1048576, o / n, 100 * o / gz
}'
