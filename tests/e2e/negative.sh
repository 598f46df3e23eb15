#!/bin/bash
# Encrypted layers that were tampered with, or whose key is not to be had: an error that names the
# layer and the check, nothing mounted, no process left, not one byte served.
# shellcheck source=tests/e2e/lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

MNT=$WORK/mnt
GOOD=$WORK/good
BAD=$WORK/bad
mkdir "$MNT"

# changed: $BAD becomes a copy of the good image, to be changed.
changed() {
	rm -rf "$BAD"
	cp -a "$GOOD" "$BAD"
}

# nothing_left TEXT
nothing_left() {
	if is_mounted "$MNT"; then
		fail "$1: nothing mounted" "still mounted: $MNT"
		umount -l "$MNT"
	elif ! wait_until 5 no_processes_here mount; then
		fail "$1: no process left" "$(ps -o pid,args -p "$(processes_here mount | xargs | tr ' ' ,)")"
	else
		pass "$1: nothing left mounted or running"
	fi
}

# refused N REGEX TEXT [options]: layer N of $BAD is refused, by mount and by export.
KEY=()
refused() {
	local n=$1 want="layer $1.*($2)" text=$3
	shift 3
	[ $# -gt 0 ] || set -- "${KEY[@]}"
	fails_with "$want" "$text: mount" "$CLOAKFS" mount "$@" "oci:$BAD:latest" "$MNT"
	nothing_left "$text"
	fails_with "$want" "$text: export" "$CLOAKFS" export "$@" "oci:$BAD:latest" --layer "$n"
}

# change_blob N COMMAND...: layer N's blob through a filter; digest and size are put right, as
# somebody who can write to the registry would.
change_blob() {
	local n=$1
	shift
	"$@" <"$(layout_blob "$BAD" "$n")" >"$WORK/blob"
	layout_set_blob "$BAD" "$n" "$WORK/blob"
}

# flip_byte OFFSET: stdin to stdout, the top bit of one byte changed.
flip_byte() {
	cat >"$WORK/flip"
	head -c "$1" "$WORK/flip"
	tail -c "+$(($1 + 1))" "$WORK/flip" | head -c 1 | tr '\000-\377' '\200-\377\000-\177'
	tail -c "+$(($1 + 2))" "$WORK/flip"
}

pubopts() { # N JQ: changes the public options of layer N
	local opts
	opts=$(jq -r --argjson n "$1" '.layers[$n].annotations["org.opencontainers.image.enc.pubopts"]' \
		"$(layout_manifest "$BAD")" | base64 -d | jq -c "$2" | base64 -w0)
	layout_edit "$BAD" --argjson n "$1" --arg o "$opts" \
		'.layers[$n].annotations["org.opencontainers.image.enc.pubopts"] = $o'
}

MEASUREMENT=$(printf '5%.0s' {1..96})
azure_start --measurement "$MEASUREMENT"
layout_new "$GOOD"
for i in 0 1 2; do
	{
		printf 'file file%s data=this\\x20is\\x20file\\x20%s\n' $i $i
		printf 'file big%s zeros=300000\nend\n' $i
	} | "$E2E/mktar" >"$WORK/$i.tar"
	layout_add "$GOOD" "$WORK/$i.tar" "$([ $i = 1 ] && echo zstd || echo gzip)"
done
layout_finish "$GOOD"
cp -a "$GOOD" "$WORK/plain"
for i in 0 1 2; do layout_encrypt_layer "$GOOD" $i; done
mount_image "oci:$GOOD:latest" "$MNT" || bail "the good image mounts" "$(cat "$LOG")"
is "this is file 1" "$(cat "$MNT/file1")" "the good image mounts"
"$CLOAKFS" umount "$MNT"

# Where the key is not what is at stake, a key provider that remembers it saves the time of a
# release for every check.
provider_start "unix:$WORK/provider.sock"
ocicrypt_grpc "$PROVIDER"
KEY=(--key provider:attestation-agent)

# ---- the ciphertext ----
for i in 0 1 2; do
	changed
	change_blob $i flip_byte 100
	refused $i 'HMAC' "a flipped byte in layer $i"
done
changed
size=$(stat -c %s "$(layout_blob "$BAD" 2)")
change_blob 2 flip_byte $((size - 1))
refused 2 'HMAC' "a flipped last byte"
changed
change_blob 1 head -c -1
refused 1 'HMAC' "a layer cut by one byte"
changed
change_blob 1 head -c 0
refused 1 'HMAC' "an empty blob"
changed
change_blob 1 sh -c 'cat; echo more'
refused 1 'HMAC' "an extended layer"
changed
cp "$(layout_blob "$BAD" 1)" "$WORK/one"
cp "$(layout_blob "$BAD" 2)" "$WORK/two"
layout_set_blob "$BAD" 1 "$WORK/two"
layout_set_blob "$BAD" 2 "$WORK/one"
refused 1 'HMAC' "swapped ciphertexts"
changed
layout_edit "$BAD" '.layers |= [.[0], .[2], .[1]]'
refused 1 'diff_id' "swapped layers"
changed
printf 'x' | dd of="$(layout_blob "$BAD" 1)" bs=1 seek=50 conv=notrunc status=none
refused 1 'digest|HMAC' "a blob that is not what its name says"
changed
truncate -s -10 "$(layout_blob "$BAD" 1)"
refused 1 'size|bytes|length' "a blob shorter than the manifest says"
changed
rm "$(layout_blob "$BAD" 1)"
refused 1 'No such file' "a blob that is not there"

changed
change_blob 1 flip_byte 60
fails_with 'layer 1.*HMAC' "nor is a file of another layer written while one is bad" "$CLOAKFS" cat "oci:$BAD:latest" /file0
"$CLOAKFS" verify "oci:$BAD:latest" >"$WORK/out" 2>"$LOG"
is "1 2 1" "$? $(grep -c '^ok *layer' "$WORK/out") $(grep -c '^failed.*layer 1.*HMAC' "$WORK/out")" \
	"verify says which layers are well and which is not"

# ---- the public options ----
changed
pubopts 0 '.hmac = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="'
refused 0 'HMAC' "a wrong HMAC"
changed
pubopts 0 '.hmac = "AAAA"'
refused 0 'HMAC|hmac' "a short HMAC"
changed
pubopts 0 'del(.hmac)'
refused 0 'HMAC|hmac' "no HMAC"
changed
pubopts 0 '.cipheroptions.nonce = "AAAAAAAAAAAAAAAAAAAAAA=="'
refused 0 'nonce' "a public nonce"
changed
pubopts 2 '.cipher = "AES_128_ECB"'
refused 2 'AES_128_ECB' "an unknown cipher"
changed
pubopts 2 '.cipher = ""'
refused 2 'cipher' "no cipher"
changed
layout_edit "$BAD" 'del(.layers[1].annotations["org.opencontainers.image.enc.pubopts"])'
refused 1 'pubopts' "missing pubopts"
for junk in 'bm90IGpzb24=' '!!!!' '' 'e30='; do
	changed
	layout_edit "$BAD" --arg j "$junk" '.layers[1].annotations["org.opencontainers.image.enc.pubopts"] = $j'
	refused 1 'pubopts|cipher|HMAC|hmac' "pubopts that are \"$junk\""
done

# ---- the wrapped key ----
provider_stop
KEY=()
provider=org.opencontainers.image.enc.keys.provider.attestation-agent
changed
layout_edit "$BAD" --arg p $provider 'del(.layers[1].annotations[$p])'
refused 1 'key|recipient' "nobody to unwrap the key"
changed
layout_edit "$BAD" --arg p $provider '.layers[1].annotations[$p] = "bm8ganNvbg=="'
refused 1 'packet|key|recipient' "a packet that is no JSON"
changed
layout_edit "$BAD" --arg p $provider '.layers[1].annotations[$p] |= (@base64d | fromjson |
	.wrapped_data |= (.[4:] + "AAAA") | tojson | @base64)'
refused 1 'unwrap|wrapped' "a packet whose data were changed"
for field in kid kms_endpoint attester_endpoint; do
	changed
	layout_edit "$BAD" --arg p $provider --arg f $field '.layers[1].annotations[$p] |= (@base64d | fromjson |
		.[$f] = "../evil?x#@y" | tojson | @base64)'
	refused 1 "$field|key id|host|evil" "a packet with a hostile $field"
	changed
	layout_edit "$BAD" --arg p $provider --arg f $field '.layers[1].annotations[$p] |= (@base64d | fromjson |
		.[$f] = "other.example.org" | tojson | @base64)'
	refused 1 'other\.example\.org' "a packet with an unknown $field"
done

# crafted TEXT REGEX: layer 1 encrypted anew with the variables now set.
crafted() {
	rm -rf "$BAD"
	cp -a "$WORK/plain" "$BAD"
	layout_encrypt_layer "$BAD" 1
	refused 1 "$2" "$1"
}
key=$(printf '%064d' 7)
sum=$(printf '%064d' 0)
E_OPTS=$(optsdata "${key}00" "$(printf '%032d' 1)" "$sum") E_SYMKEY=$key crafted "a key of 33 bytes" 'symkey|key'
E_OPTS=$(optsdata "$key" "$(printf '%030d' 1)" "$sum") E_SYMKEY=$key crafted "a nonce of 15 bytes" 'nonce'
E_OPTS="{\"symkey\":\"$(b64_of_hex "$key")\",\"digest\":\"sha256:$sum\",\"cipheroptions\":{}}" E_SYMKEY=$key \
	crafted "no nonce at all" 'nonce'
E_OPTS="not json" E_SYMKEY=$key crafted "private options that are no JSON" 'options|JSON'
E_OPTS=$(optsdata "$(printf '%064d' 8)" "$(printf '%032d' 1)" "$sum") E_SYMKEY=$key crafted "another layer's key" 'HMAC'
E_OPTS=$(optsdata "$key" "$(printf '%032d' 2)" "$sum") E_SYMKEY=$key E_NONCE=$(printf '%032d' 1) \
	crafted "another nonce than it was encrypted with" 'diff_id|compress|gzip|zstd|tar'

# ---- keys that are not to be had ----
changed
openssl genrsa -out "$WORK/stranger.pem" 2048 2>/dev/null
refused 0 'stranger|recipient|no key' "a private key that no recipient fits" --key "$WORK/stranger.pem"
fails_with 'nothere' "a key file that is not there" "$CLOAKFS" ls --key "$WORK/nothere.pem" "oci:$BAD:latest"
echo "no key" >"$WORK/junk.pem"
fails_with 'junk' "a key file that holds none" "$CLOAKFS" ls --key "$WORK/junk.pem" "oci:$BAD:latest"
openssl genrsa -aes128 -passout pass:secret -out "$WORK/locked.pem" 2048 2>/dev/null
fails_with 'locked' "a key file under a password" "$CLOAKFS" ls --key "$WORK/locked.pem" "oci:$BAD:latest"

azure_set vmpl=2
refused 0 'x-ms-sevsnpvm-vmpl' "policy wants another VMPL"
azure_set vmpl=0 "measurement=$(printf '%096d' 3)"
refused 0 'launchmeasurement' "policy wants another measurement"
azure_set "measurement=$MEASUREMENT"
azure_set debug=true
refused 0 'debug' "a guest that can be debugged"
azure_set debug=false
changed
mount_image "oci:$BAD:latest" "$MNT" || fail "the release is granted again" "$(cat "$LOG")"
is "this is file 2" "$(cat "$MNT/file2" 2>&1)" "with claims as the policy wants them, it mounts"
"$CLOAKFS" umount "$MNT"
config_edit '.hsm_hosts = ["other.managedhsm.azure.net"]'
refused 0 'hsm1.managedhsm.azure.net' "an HSM that the configuration does not allow"
config_edit '.hsm_hosts = ["hsm1.managedhsm.azure.net"] | .maa_hosts = []'
refused 0 'sharedeus.eus.attest.azure.net' "an attestation service that the configuration does not allow"
config_edit '.maa_hosts = ["sharedeus.eus.attest.azure.net"]'
cp "$CLOAKFS_CONFIG" "$WORK/config.good"
config_edit --arg d "$WORK/none" '.evidence.tsm_dir = $d | .evidence.sev_guest = ($d + "/sev-guest")'
refused 0 'device|configfs|evidence' "no evidence device"
cp "$WORK/config.good" "$CLOAKFS_CONFIG"
config_edit '.addresses |= map_values("127.0.0.1:1")'
refused 0 '127.0.0.1:1|connect' "no cloud"

finish
