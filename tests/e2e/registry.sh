#!/bin/bash
# registry.sh - images in registries: every command over docker://, and who may pull them how.
[ -n "${OWN_NS:-}" ] || OWN_NS=1 exec unshare --mount --propagation private bash "$0" "$@"
# shellcheck source=tests/e2e/lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"
# shellcheck source=tests/e2e/lib/registry.sh
. "$LIB/registry.sh"

own_etc registry.test mirror.test blobs.test
pki_make registry.test mirror.test blobs.test far.test
export HOME=$WORK/home XDG_RUNTIME_DIR=$WORK/run
mkdir "$HOME" "$XDG_RUNTIME_DIR" "$WORK/bin" "$WORK/mnt"
export PATH=$WORK/bin:$PATH
unset REGISTRY_AUTH_FILE DOCKER_CONFIG XDG_CONFIG_HOME
export CLOAKFS_CONFIG=$WORK/cloakfs.json
config() { # JQ-FILTER: of the configuration
	jq -n "{cache_dir: \"none\"} | $1" >"$CLOAKFS_CONFIG"
}
config .

image_small "$WORK/plain" gzip zstd gzip
openssl genrsa -out "$WORK/key.pem" 2048 2>"$LOG"
openssl pkey -in "$WORK/key.pem" -pubout -out "$WORK/pub.pem"
"$CLOAKFS" encrypt --key "$WORK/pub.pem" "oci:$WORK/plain:latest" "oci:$WORK/sealed:latest" >"$LOG" 2>&1 ||
	bail "encrypting" "$(cat "$LOG")"
encrypt "$WORK/plain" "$WORK/ctr" --encryption-key "jwe:$WORK/pub.pem"
cp -r "$WORK/ctr" "$WORK/indexed"
"$CLOAKFS" index --key "$WORK/key.pem" "oci:$WORK/indexed:latest" >"$LOG" 2>&1 || bail "indexing" "$(cat "$LOG")"
SEALED=sha256:$(basename "$(layout_manifest "$WORK/sealed")")
KEY="--key $WORK/key.pem"

trusts() { # HOST:PORT: the tests' CA
	mkdir -p "/etc/containers/certs.d/$1"
	cp "$PKI/ca.pem" "/etc/containers/certs.d/$1/ca.crt"
}
# login FILE HOST[/REPO] USER:PASSWORD: as podman login writes it
login() {
	mkdir -p "$(dirname "$1")"
	jq -n --arg h "$2" --arg a "$(printf '%s' "$3" | base64 -w0)" '{auths: {($h): {auth: $a}}}' >"$1"
}
logout() {
	rm -rf "$HOME"/.[a-z]* "${XDG_RUNTIME_DIR:?}"/*
}
opens() { # TEXT IMAGE: a file in it is right
	local text=$1
	shift
	# shellcheck disable=SC2086
	timeout 60 "$CLOAKFS" cat $KEY "$@" /app/config >"$WORK/out" 2>"$LOG" </dev/null
	if printf 'greeting=good day\nmode=real\n' | cmp -s - "$WORK/out"; then
		pass "$text"
	else
		fail "$text" "$(cat "$LOG")"
		return 1
	fi
}
refused() { # TEXT REGEX IMAGE
	# shellcheck disable=SC2086
	fails_with "$2" "$1" "$CLOAKFS" cat $KEY "$3" /app/config
}

# ---- Debian's registry, over TLS, with tokens: every command ----
fr_start tokens --tls-cert "$PKI/server.pem" --tls-key "$PKI/server.key" --bearer --user me:secret \
	--service test --issuer tests --token-key "$PKI/token.key" --token-cert "$PKI/token.pem"
docker_registry debian "$(dr_tls)" "$(dr_token "https://registry.test:${FR_PORT[tokens]}/token")"
R=registry.test:${FR_PORT[debian]}
trusts "$R"
trusts "registry.test:${FR_PORT[tokens]}"
for i in plain sealed ctr; do
	skopeo_copy --preserve-digests --dest-tls-verify=false --dest-creds me:secret "oci:$WORK/$i:latest" \
		"docker://$R/test/$i:latest" || bail "skopeo pushes" "$(cat "$WORK/skopeo.log")"
done
login "$HOME/.docker/config.json" "$R" me:secret
IMAGE=docker://$R/test/sealed

# as_layout TEXT COMMAND [ARGS]: the same on stdout as for the layout; @ is the image. The image's
# own name, where it is shown, is all that may differ.
as_layout() {
	local text=$1 image
	shift
	for image in "$IMAGE:latest" "oci:$WORK/sealed:latest"; do
		timeout 60 "$CLOAKFS" "${@/#@/$image}" 2>"$LOG" </dev/null |
			sed "s|$image|IMAGE|" >"$WORK/out.${image%%:*}"
		[ "${PIPESTATUS[0]}" = 0 ] || { fail "$text" "$image: $(cat "$LOG")"; return 1; }
	done
	[ -s "$WORK/out.oci" ] || { fail "$text" "nothing"; return 1; }
	same "$WORK/out.oci" "$WORK/out.docker" "$text"
}
as_layout "inspect" inspect @
as_layout "inspect --json" inspect --json @
# shellcheck disable=SC2086
{
	as_layout "ls" ls -l $KEY @ /app
	as_layout "cat" cat $KEY @ /app/weights.bin
	as_layout "export" export $KEY @ --layer 2
	as_layout "verify" verify $KEY @
}
ok "mount" mount_image "$IMAGE" "$WORK/mnt" --key "$WORK/key.pem"
matches "$SEALED" "$(cat "$LOG")" "a tag is resolved, and the digest told"
is 1 "$(grep -c "$SEALED" "$LOG")" "once"
treedump "$WORK/mnt" >"$WORK/remote.tree"
ok "umount" "$CLOAKFS" umount "$WORK/mnt"
mount_image "oci:$WORK/sealed:latest" "$WORK/mnt" --key "$WORK/key.pem" && treedump "$WORK/mnt" >"$WORK/local.tree"
"$CLOAKFS" umount "$WORK/mnt"
same "$WORK/local.tree" "$WORK/remote.tree" "the mount shows what the layout has"
# shellcheck disable=SC2086
for i in "verify $KEY" "export $KEY --layer 1"; do
	"$CLOAKFS" $i "$IMAGE" >"$WORK/out" 2>"$LOG"
	is "cloakfs: note: $IMAGE:latest is $SEALED" "$(cat "$LOG")" "${i%% *} tells it, too"
done
"$CLOAKFS" inspect "$IMAGE" >"$WORK/out" 2>"$LOG"
is "" "$(cat "$LOG")" "inspect, which shows it, does not"
opens "skopeo's image, not indexed: a pass over it" "docker://$R/test/ctr"
# shellcheck disable=SC2086
ok "its index into a directory" "$CLOAKFS" index $KEY --out "$WORK/out.index" "docker://$R/test/ctr"
ok "with which it mounts" mount_image "docker://$R/test/ctr" "$WORK/mnt" --key "$WORK/key.pem" --index "$WORK/out.index"
"$CLOAKFS" umount "$WORK/mnt"
# shellcheck disable=SC2086
ok "decrypt from it" "$CLOAKFS" decrypt $KEY "$IMAGE" "oci:$WORK/decrypted:latest"
same "$(layout_config "$WORK/plain")" "$(layout_config "$WORK/decrypted")" "is the plain image"
ok "encrypt from it" "$CLOAKFS" encrypt --key "$WORK/pub.pem" "docker://$R/test/plain" "oci:$WORK/encrypted:latest"
opens "opens" "oci:$WORK/encrypted:latest"
opens "by digest" "$IMAGE@$SEALED"
opens "by tag and digest" "$IMAGE:latest@$SEALED"
refused "another image than the digest says" '404 .*MANIFEST_UNKNOWN' "$IMAGE@sha256:$(printf '0%.0s' {1..64})"
refused "no such tag" "test/sealed:none: .*404 .not found.: MANIFEST_UNKNOWN" "$IMAGE:none"
refused "no such repository" "test/nothing:latest: .*404 .not found." "docker://$R/test/nothing"
config '.require_digest = true'
refused "require_digest: no tags" "digest" "$IMAGE:latest"
opens "require_digest: digests" "$IMAGE@$SEALED"
# Which opens no layer, and is where the digest is found that the refusal asks for.
is "$SEALED" "$("$CLOAKFS" inspect --json "$IMAGE:latest" 2>"$LOG" | jq -r .manifest.digest)" "require_digest: inspect says it of a tag"
for c in "ls" "cat" "export --layer 0" "verify" "mount" "index --push" "decrypt" "encrypt --key $WORK/pub.pem"; do
	case $c in
	mount) args=("$IMAGE:latest" "$WORK/mnt") ;;
	cat) args=("$IMAGE:latest" /x) ;;
	decrypt | encrypt*) args=("$IMAGE:latest" "oci:$WORK/undone:latest") ;;
	*) args=("$IMAGE:latest") ;;
	esac
	# shellcheck disable=SC2086
	fails_with 'require_digest' "require_digest: ${c%% *} of a tag" "$CLOAKFS" $c "${args[@]}"
done
config .

fr tokens fault door=token times=2 status=503
opens "a token service that falters is asked again" "$IMAGE:latest"
fr tokens clear

# ---- credentials ----
refused_without() { # TEXT
	refused "$1" '401|403|credentials|authenticat|denied' "$IMAGE"
}
logout
refused_without "without credentials"
matches "$R" "$(cat "$LOG")" "the message names the registry"
matches 'podman login' "$(cat "$LOG")" "and what to do"
login "$XDG_RUNTIME_DIR/containers/auth.json" "$R" me:wrong
refused_without "with wrong ones"
matches "$XDG_RUNTIME_DIR/containers/auth.json" "$(cat "$LOG")" "the message says where they are from"
! grep -q wrong "$LOG" && pass "and not what they are" || fail "and not what they are" "$(cat "$LOG")"
login "$XDG_RUNTIME_DIR/containers/auth.json" "$R" me:secret
opens "containers/auth.json" "$IMAGE"
login "$XDG_RUNTIME_DIR/containers/auth.json" "$R/test" me:secret
opens "for a part of the registry" "$IMAGE"
login "$XDG_RUNTIME_DIR/containers/auth.json" "$R/other" me:secret
refused_without "for another part"
logout
login "$WORK/my-auth.json" "$R" me:secret
REGISTRY_AUTH_FILE=$WORK/my-auth.json opens "REGISTRY_AUTH_FILE" "$IMAGE"
login "$WORK/docker/config.json" "$R" me:secret
DOCKER_CONFIG=$WORK/docker opens "DOCKER_CONFIG" "$IMAGE"
cat >"$WORK/bin/docker-credential-mine" <<HELPER
#!/bin/sh
[ "\$1" = get ] && [ "\$(cat)" = "$R" ] && echo '{"ServerURL": "$R", "Username": "me", "Secret": "secret"}'
HELPER
chmod +x "$WORK/bin/docker-credential-mine"
mkdir -p "$HOME/.docker"
jq -n --arg r "$R" '{credHelpers: {($r): "mine"}}' >"$HOME/.docker/config.json"
opens "a credential helper" "$IMAGE"
jq -n '{credsStore: "mine"}' >"$HOME/.docker/config.json"
opens "for all registries" "$IMAGE"
jq -n --arg r "$R" '{credHelpers: {($r): "none"}}' >"$HOME/.docker/config.json"
refused "a helper that there is not" "docker-credential-none" "$IMAGE"
logout
htpasswd -Bbn me secret >"$WORK/htpasswd" 2>"$LOG"
docker_registry basic "$(dr_tls)" "$(dr_basic "$WORK/htpasswd")"
B=registry.test:${FR_PORT[basic]}
trusts "$B"
skopeo_copy --preserve-digests --dest-tls-verify=false --dest-creds me:secret "oci:$WORK/sealed:latest" \
	"docker://$B/test/sealed:latest" || bail "skopeo pushes" "$(cat "$WORK/skopeo.log")"
login "$HOME/.docker/config.json" "$B" me:secret
opens "basic authentication" "docker://$B/test/sealed"
login "$HOME/.docker/config.json" "$B" me:wrong
refused "wrong credentials" 'config.json' "docker://$B/test/sealed"
logout
fr_start identity --bearer --refresh again --layout "test/sealed=$WORK/sealed"
mkdir -p "$HOME/.docker"
jq -n --arg r "$(fr_at identity)" '{auths: {($r): {identitytoken: "again"}}}' >"$HOME/.docker/config.json"
opens "an identity token" "docker://$(fr_at identity)/test/sealed"
logout

# ---- certificates ----
rm -rf "/etc/containers/certs.d/$B"
login "$HOME/.docker/config.json" "$B" me:secret
refused "a CA that nobody knows" 'certificate' "docker://$B/test/sealed"
mkdir -p "/etc/docker/certs.d/$B"
cp "$PKI/ca.pem" "/etc/docker/certs.d/$B/ca.crt"
opens "docker's certs.d" "docker://$B/test/sealed"
logout
fr_start certs --layout "test/sealed=$WORK/sealed" --tls-cert "$PKI/server.pem" --tls-key "$PKI/server.key" --client-ca "$PKI/ca.pem"
C=registry.test:${FR_PORT[certs]}
trusts "$C"
refused "it wants a client's certificate" "$C" "docker://$C/test/sealed"
cp "$PKI/client.pem" "/etc/containers/certs.d/$C/client.cert"
cp "$PKI/client.key" "/etc/containers/certs.d/$C/client.key"
opens "a client's certificate" "docker://$C/test/sealed"

# ---- plain HTTP ----
fr_start plain --layout "test/sealed=$WORK/sealed" --layout "test/indexed=$WORK/indexed"
P=${FR_PORT[plain]}
opens "loopback by address may be plain HTTP" "docker://127.0.0.1:$P/test/sealed"
opens "and by name" "docker://localhost:$P/test/sealed"
refused "any other host may not" "registry.test:$P" "docker://registry.test:$P/test/sealed"
is 0 "$(fr_count plain 'registry.test')" "and is not asked in clear"
config ".registry.plain_http = [\"registry.test:$P\"]"
opens "unless the configuration says so" "docker://registry.test:$P/test/sealed"
config .
fr_mark plain
opens "skopeo's image with an index beside it" "docker://127.0.0.1:$P/test/indexed"
is 1 "$(fr_count plain "/referrers/")" "which the referrers API names, asked once"
fr_start old --layout "test/indexed=$WORK/indexed" --no-referrers
opens "or the fallback tag" "docker://$(fr_at old)/test/indexed"
matches " GET /v2/test/indexed/manifests/sha256-[0-9a-f]{64} - 200 " "$(fr_log old)" "where there is no such API"
fr_mark plain
fr_mark old
ok "a mount of it" mount_image "docker://127.0.0.1:$P/test/indexed" "$WORK/mnt" --key "$WORK/key.pem"
cat "$WORK/mnt/app/config" >"$LOG"
"$CLOAKFS" umount "$WORK/mnt"
BLOBS=$(cat "$WORK/indexed/blobs/sha256/"* | wc -c)
[ "$(fr_bytes plain)" -lt $((BLOBS / 2)) ] && pass "moves what is read alone" ||
	fail "moves what is read alone" "$(fr_bytes plain) of $BLOBS bytes"

# ---- many readers at once ----
image_system "$WORK/system" bash
"$CLOAKFS" encrypt --key "$WORK/pub.pem" "oci:$WORK/system:latest" "oci:$WORK/sealed-system:latest" >"$LOG" 2>&1 ||
	bail "encrypting" "$(cat "$LOG")"
fr_start many --layout "test/system=$WORK/sealed-system"
# A network that takes time: whatever is asked for twice is asked for while it is on its way.
fr many set delay=5 rate=40000000
ok "16 readers: a mount" mount_image "docker://$(fr_at many)/test/system" "$WORK/mnt" --key "$WORK/key.pem"
fr_mark many
(cd "$WORK/mnt" && find . -type f | sort) >"$WORK/files"
for i in $(seq 16); do # each all of them, from another one on
	(cd "$WORK/mnt" && { tail -n "+$((i * 7))" "$WORK/files" && head -n $((i * 7 - 1)) "$WORK/files"; } |
		xargs -d '\n' sha256sum | sort -k 2 >"$WORK/sums.$i") &
	PIDS="$PIDS $!"
	readers="${readers:-} $!"
done
# shellcheck disable=SC2086
wait $readers
(mkdir "$WORK/unpacked" && unpack_with tar "$WORK/system" "$WORK/unpacked" && cd "$WORK/unpacked" &&
	xargs -d '\n' sha256sum <"$WORK/files" | sort -k 2) >"$WORK/sums"
for i in $(seq 16); do
	cmp -s "$WORK/sums" "$WORK/sums.$i" || echo "reader $i"
done >"$WORK/differ"
is "" "$(cat "$WORK/differ")" "16 readers: each reads right bytes"
is "" "$(fr_log many | sed -n 's|.* bytes=\([0-9]*\)-\([0-9]*\) 206 .*|\1 \2|p' | sort -n |
	awk 'NR > 1 && $1 <= last { print "again: " $0 } { last = $2 }')" "16 readers: each range is fetched once"
RSS=$(awk '/^VmHWM/ { print $2 }' "/proc/$(processes_here mount | head -n 1)/status")
[ "$RSS" -lt 600000 ] && pass "16 readers: in bounded memory" || fail "16 readers: in bounded memory" "$RSS kB"
"$CLOAKFS" umount "$WORK/mnt"

# ---- what a mount tries EROFS with: data at the start of each layer, of all of them at once ----
layout_new "$WORK/wide-plain"
for i in 1 2 3 4; do
	for f in a b c; do
		head -c 120000 /dev/urandom >"$WORK/noise"
		echo "file z$((9 - i))$f from=$WORK/noise"
	done >"$WORK/spec"
	# Whose names come first in the tree comes last in its layer.
	echo "file a$i from=$WORK/noise" >>"$WORK/spec"
	echo end >>"$WORK/spec"
	"$E2E/mktar" <"$WORK/spec" >"$WORK/noise.tar"
	layout_add "$WORK/wide-plain" "$WORK/noise.tar" gzip
done
layout_finish "$WORK/wide-plain"
"$CLOAKFS" encrypt --key "$WORK/pub.pem" "oci:$WORK/wide-plain:latest" "oci:$WORK/wide:latest" >"$LOG" 2>&1 || bail "encrypting" "$(cat "$LOG")"
fr_start wide --layout "test/wide=$WORK/wide"
fr wide set delay=1000
fr_mark wide
ok "far away, 4 layers: a mount" mount_image "docker://$(fr_at wide)/test/wide" "$WORK/mnt" --key "$WORK/key.pem" --mode erofs
fr_log wide | sed -nE 's#^([0-9.]+) .*/blobs/sha256:([0-9a-f]+) bytes=([0-9]+)-([0-9]+) 206 .* ([0-9]+)$#\2 \3 \4 \1 \5#p' >"$WORK/asked"
fr wide set delay=0
"$CLOAKFS" umount "$WORK/mnt"
# together: of each layer one, and while the first was not yet answered, all were asked for
together() {
	awk '{ begun = $4 - $5 / 1000; if (begun > last) last = begun; if (!first || $4 < first) first = $4; layers[$1] }
		END { n = 0; for (l in layers) n++; print n " of " NR ", " (last < first ? "together" : "in turn") }'
}
is "4 of 4, together" "$(awk '$2 > 0 && $2 < 131072' "$WORK/asked" | together)" "asks for data of each at its start, of all at once"

# ---- a blob store elsewhere ----
fr_start store --layout "test/sealed=$WORK/sealed" --tls-cert "$PKI/server.pem" --tls-key "$PKI/server.key" \
	--bearer --user me:secret --blobs-host blobs.test
S=registry.test:${FR_PORT[store]}
trusts "$S"
trusts "blobs.test:${FR_BLOBS[store]}"
login "$HOME/.docker/config.json" "$S" me:secret
fr store set redirect=1 url-ttl=60000
opens "blobs that are elsewhere" "docker://$S/test/sealed"
is 0 "$(fr_log store | awk '$2 == "blobs" && $8 != "-"' | wc -l)" "are asked for without credentials"
matches ' blobs GET /store/' "$(fr_log store)" "there"

# ---- mirrors ----
fr_start origin --layout "test/sealed=$WORK/sealed" --layout "test/indexed=$WORK/indexed" \
	--tls-cert "$PKI/server.pem" --tls-key "$PKI/server.key" --basic --user me:secret
fr_start mirror --layout "test/sealed=$WORK/sealed" --layout "test/indexed=$WORK/indexed"
O=registry.test:${FR_PORT[origin]}
trusts "$O"
logout
login "$HOME/.docker/config.json" "$O" me:secret
mkdir -p "/etc/containerd/certs.d/$O"
cat >"/etc/containerd/certs.d/$O/hosts.toml" <<TOML
server = "https://$O"

[host."http://$(fr_at mirror)"]
  capabilities = ["pull", "resolve"]
TOML
opens "a mirror" "docker://$O/test/sealed"
is 0 "$(wc -l <"$WORK/origin.requests")" "serves in place of the registry"
matches "[?&]ns=registry.test(:|%3A)${FR_PORT[origin]}" "$(fr_log mirror)" "and is told whose it is"
is 0 "$(fr_log mirror | awk '$8 != "-"' | wc -l)" "but gets none of its credentials"
fr origin listen off
opens "a mirror: with the registry itself down" "docker://$O/test/sealed"
opens "a mirror: and indexes" "docker://$O/test/indexed"
ok "a mirror: a mount" mount_image "docker://$O/test/sealed" "$WORK/mnt" --key "$WORK/key.pem"
treedump "$WORK/mnt" >"$WORK/mirror.tree"
"$CLOAKFS" umount "$WORK/mnt"
same "$WORK/local.tree" "$WORK/mirror.tree" "a mirror: all of it"
fr origin listen on
for lie in "flip=b:0 path=/blobs/" "flip=b:5 path=/manifests/" "garbage path=/blobs/" "swap path=/blobs/" "range=shift" \
	page "page path=/blobs/" status=500 status=404 "status=403 path=/blobs/" close=h:0; do
	fr_mark origin
	# shellcheck disable=SC2086
	rule=$(fr mirror fault $lie)
	opens "a mirror that does $lie: the registry is asked" "docker://$O/test/sealed"
	[ "$(fr mirror hits "$rule")" -gt 0 ] && [ "$(fr_count origin .)" -gt 0 ] && pass "a mirror that does $lie: both were" ||
		fail "a mirror that does $lie: both were" "$(fr mirror hits "$rule") times, $(fr_log origin)"
	fr mirror clear
done
fr mirror listen off
opens "a mirror that is not there" "docker://$O/test/sealed"
fr mirror listen on
cat >"/etc/containerd/certs.d/$O/hosts.toml" <<TOML
[host."http://$(fr_at mirror)"]
  capabilities = ["pull"]
TOML
fr_mark mirror
fr_mark origin
opens "a mirror for pulling alone" "docker://$O/test/sealed"
is 0 "$(fr_count mirror '/manifests/latest')" "is asked for no tag"
matches ' GET /v2/test/sealed/blobs/.* 206 ' "$(fr_log mirror)" "but for blobs"
printf 'server = what' >"/etc/containerd/certs.d/$O/hosts.toml"
refused "a hosts.toml that is none" "hosts.toml.*line 1" "docker://$O/test/sealed"
rm -r "/etc/containerd/certs.d/$O"

# ---- proxies ----
# far.test is known to the proxy alone.
fr_start far --layout "test/sealed=$WORK/sealed" --tls-cert "$PKI/server.pem" --tls-key "$PKI/server.key"
F=far.test:${FR_PORT[far]}
trusts "$F"
refused "a host that has no name here" "far.test" "docker://$F/test/sealed"
printf '127.0.0.1 localhost far.test\n' >"$WORK/hosts.proxy"
PROXY=$(free_port)
cat >"$WORK/tinyproxy.conf" <<CONF
Port $PROXY
Listen 127.0.0.1
Timeout 60
LogFile "$WORK/tinyproxy.log"
LogLevel Connect
CONF
start "$WORK/tinyproxy.err" unshare --mount --propagation private sh -c \
	"mount --bind '$WORK/hosts.proxy' /etc/hosts && exec tinyproxy -d -c '$WORK/tinyproxy.conf'"
wait_until 10 listens_tcp "127.0.0.1:$PROXY" || bail "tinyproxy starts" "$(cat "$WORK/tinyproxy.err")"
https_proxy=http://127.0.0.1:$PROXY opens "through a proxy of the environment" "docker://$F/test/sealed"
matches "far.test:${FR_PORT[far]}" "$(cat "$WORK/tinyproxy.log")" "which has seen it"
https_proxy=http://me:pass4word@127.0.0.1:none refused "a proxy that makes no sense" "https://far.test.*proxy .*not understood" \
	"docker://$F/test/sealed"
! grep -q pass4word "$LOG" && pass "its password is not told" || fail "its password is not told" "$(cat "$LOG")"
https_proxy=http://127.0.0.1:1 no_proxy=registry.test opens "or past it" "docker://$C/test/sealed"

finish
