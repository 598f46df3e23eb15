#!/bin/bash
# demo.sh - the main job on real input: an image that real skopeo encrypted is mounted with a key
# that the (local) HSM released. Needs root; cleans up after itself however it ends.
set -u
cd "$(dirname "$0")/.." || exit 1
export LC_ALL=C

src=$PWD
dir=$(mktemp -d "${TMPDIR:-/tmp}/cloakfs-demo.XXXXXX")
log=$dir/log
provider_pid=
registry_pid=
n_step=0
from=$(date +%s)
key=imagekey000
export PATH="$src/build:$src/build/trixie/bin:$PATH"

# shellcheck disable=SC2317
cleanup() {
	local status=$?
	trap - EXIT INT TERM HUP
	cd /
	if mountpoint -q "$dir/mnt"; then
		cloakfs umount "$dir/mnt" 2>/dev/null || umount -l "$dir/mnt"
	fi
	if [ -n "$provider_pid" ]; then
		kill "$provider_pid" 2>/dev/null
		wait "$provider_pid" 2>/dev/null
	fi
	if [ -n "$registry_pid" ]; then
		kill "$registry_pid" 2>/dev/null
		wait "$registry_pid" 2>/dev/null
	fi
	[ ! -d "$dir/azure" ] || azsim stop --state "$dir/azure" >/dev/null 2>&1
	rm -rf --one-file-system "$dir"
	exit "$status"
}
trap cleanup EXIT
trap 'echo; exit 130' INT
trap 'exit 143' TERM HUP

if [ -t 1 ]; then
	bold=$(printf '\033[1m') plain=$(printf '\033[0m')
else
	bold='' plain=''
fi

step() {
	n_step=$((n_step + 1))
	printf '\n%s%d. %s%s\n' "$bold" "$n_step" "$1" "$plain"
}

# print FILE [LINES]: what a command wrote, trimmed.
print() {
	head -n "${2:-12}" "$1" | fold -s -w 140 | sed 's/^/     /'
	[ "$(wc -l <"$1")" -le "${2:-12}" ] || echo "     ... ($(wc -l <"$1") lines)"
}

fail() {
	echo
	echo "demo: $*" >&2
	exit 1
}

# run [-n LINES] COMMAND: shows a shell command and what it writes; the demo ends if it fails.
run() {
	local lines=12
	if [ "$1" = -n ]; then
		lines=$2
		shift 2
	fi
	echo "   \$ $1"
	if ! eval "$1" >"$log" 2>&1 </dev/null; then
		print "$log" 40
		fail "that command failed, and should not have"
	fi
	print "$log" "$lines"
}

# refuse COMMAND: the same for a command that must fail.
refuse() {
	echo "   \$ $1"
	if eval "$1" >"$log" 2>&1 </dev/null; then
		print "$log"
		fail "that command succeeded, and should not have"
	fi
	print "$log" 4
	echo "     [it failed, as it should]"
}

[ "$(id -u)" = 0 ] || fail "mounting and the simulated evidence device need root"
[ -c /dev/fuse ] || fail "/dev/fuse is missing: load the fuse kernel module"

step "Debian 13's skopeo beside this system (Debian 12's knows no key providers)"
tests/e2e/lib/trixie.sh build/trixie || fail "skopeo could not be set up"
cd "$dir" || exit 1
run 'skopeo --version'

step "The local Azure: attestation, managed identity, a Managed HSM, an SNP evidence device"
run -n 0 'azsim start --state azure > azure.json'
jq --arg d "$dir" '. + {key_info_dir: ($d + "/keys"), cache_dir: ($d + "/cache")}' azure.json >cloakfs.json
export CLOAKFS_CONFIG=$dir/cloakfs.json
mkdir keys
run 'jq -c "{hsm_hosts, maa_hosts, evidence}" azure.json'
run "azsim key-create --state azure --name $key --info-dir keys"
run -n 30 "jq . keys/$key-info.json"
echo "     its release policy: $(find keys -name '*release-policy.json' -printf '%f')"

step "Our key provider, where ocicrypt tools look for one"
run 'echo "{\"key-providers\":{\"attestation-agent\":{\"grpc\":\"unix://$PWD/provider.sock\"}}}" > ocicrypt.json'
export OCICRYPT_KEYPROVIDER_CONFIG=$dir/ocicrypt.json
echo "   \$ export OCICRYPT_KEYPROVIDER_CONFIG=\$PWD/ocicrypt.json"
echo "   \$ cloakfs keyprovider --listen unix:\$PWD/provider.sock &"
cloakfs keyprovider --listen "unix:$dir/provider.sock" >provider.log 2>&1 &
provider_pid=$!
for _ in $(seq 200); do
	[ ! -S provider.sock ] || break
	kill -0 "$provider_pid" 2>/dev/null || break
	sleep 0.05
done
[ -S provider.sock ] || { print provider.log; fail "the key provider did not start"; }

step "A small real image of three layers, made by umoci from files of this system"
mkdir -p files/base/bin files/base/etc files/model/model files/app/app
cp /bin/cat /bin/ls files/base/bin/
cp /etc/os-release files/base/etc/
seq 1 400000 | awk '{ printf "%.9f\n", sin($1) }' >files/model/model/weights.txt
echo 'The secret of the house is 42.' >files/app/app/secret.txt
printf '#!/bin/cat\nhello from inside\n' >files/app/app/run
chmod 4755 files/app/app/run
ln -s secret.txt files/app/app/link
run 'umoci init --layout image && umoci new --image image:demo && umoci unpack --image image:demo bundle'
for layer in base model app; do
	run "cp -a files/$layer/. bundle/rootfs/ && umoci repack --refresh-bundle --image image:demo bundle"
done
run 'skopeo inspect oci:image:demo | jq -c ".LayersData[] | {MIMEType, Size}"'

step "skopeo encrypts it: each layer's key is wrapped by our provider with the HSM's public key"
run "skopeo copy --quiet --encryption-key provider:attestation-agent:aasp:$key oci:image:demo oci:encrypted:demo"
run -n 13 'cloakfs inspect oci:encrypted:demo'

step "Without the key it is noise"
blob=encrypted/blobs/sha256/$(jq -r '.manifests[0].digest[7:]' encrypted/index.json |
	xargs -I{} jq -r '.layers[-1].digest[7:]' encrypted/blobs/sha256/{})
ln "$blob" layer2
echo "   (layer2 is ${blob:0:45}...)"
run "head -c 48 layer2 | xxd"
refuse "tar -tzf layer2"
refuse 'umoci unpack --image encrypted:demo useless'
run "openssl genrsa -out stranger.pem 3072"
refuse 'cloakfs ls --key stranger.pem oci:encrypted:demo'

step "cloakfs mounts it: attest, have the HSM release the key, verify every layer, show the tree"
mkdir mnt
run 'azsim counters --state azure --reset > /dev/null'
at=$(date +%s%N)
run 'cloakfs mount oci:encrypted:demo mnt'
echo "     [ready after $((($(date +%s%N) - at) / 1000000)) ms]"
run 'findmnt -n -o FSTYPE,OPTIONS mnt'
run 'ls -l mnt mnt/app'
run 'cat mnt/app/secret.txt'
run 'diff -r bundle/rootfs mnt && echo no difference'
refuse 'touch mnt/app/new'

step "How many times did the HSM have to release the key for those three layers?"
run -n 20 'azsim counters --state azure'
releases=$(azsim counters --state azure | jq .hsm_release)

run 'cloakfs umount mnt && ls -A mnt'

step "The same image sealed: readable piece by piece, so that a mount reads the index and no more"
unset OCICRYPT_KEYPROVIDER_CONFIG # from here on cloakfs wraps keys itself
run "cloakfs encrypt --key provider:attestation-agent:aasp:$key oci:image:demo oci:sealed:demo"
at=$(date +%s%N)
run 'cloakfs mount oci:sealed:demo mnt'
echo "     [ready after $((($(date +%s%N) - at) / 1000000)) ms, attestation and release included]"
run 'diff -r bundle/rootfs mnt && echo no difference'
run 'cloakfs umount mnt'
run 'cloakfs decrypt oci:sealed:demo oci:plain:demo'
run 'skopeo inspect oci:plain:demo | jq -c ".LayersData[] | {MIMEType, Size}"'

step "The same by way of a registry: Debian's docker-registry, on loopback"
cat >registry.yml <<YML
version: 0.1
storage: {filesystem: {rootdirectory: $dir/registry}}
http: {addr: 127.0.0.1:0}
log: {accesslog: {disabled: true}}
YML
OTEL_TRACES_EXPORTER=none docker-registry serve registry.yml >registry.log 2>&1 &
registry_pid=$!
for _ in $(seq 200); do
	at=$(sed -n 's/.*msg="listening on \([^ ",]*\).*/\1/p' registry.log | head -n 1)
	[ -z "$at" ] || break
	kill -0 "$registry_pid" 2>/dev/null || break
	sleep 0.05
done
[ -n "$at" ] || { print registry.log; fail "the registry did not start"; }
export REGISTRY=$at
echo "   \$ export REGISTRY=$at"
run "cloakfs encrypt --key provider:attestation-agent:aasp:$key oci:image:demo docker://\$REGISTRY/demo"
run 'cloakfs mount docker://$REGISTRY/demo mnt'
run 'cat mnt/app/secret.txt'
run 'cloakfs status mnt | grep -E "network|over the network"'
run 'diff -r bundle/rootfs mnt && echo no difference'
run 'cloakfs umount mnt'
run 'cloakfs cache ls'

step "Away with it"
run 'azsim stop --state azure'

echo
echo "${bold}The HSM served $releases release$([ "$releases" = 1 ] || echo s) for a mount of 3 layers.${plain}  (all of this took $(($(date +%s) - from)) s)"
[ "$releases" = 1 ] || fail "one release was expected"
