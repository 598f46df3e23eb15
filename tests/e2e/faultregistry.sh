#!/bin/bash
# faultregistry.sh - the test registry is one (curl and skopeo say so), and each of its faults is
# what it says.
[ -n "${OWN_NS:-}" ] || OWN_NS=1 exec unshare --mount --propagation private bash "$0" "$@"
# shellcheck source=tests/e2e/lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"
# shellcheck source=tests/e2e/lib/registry.sh
. "$LIB/registry.sh"

own_etc registry.test blobs.test
pki_make registry.test blobs.test
image_small "$WORK/image" gzip zstd raw
BLOB=$(layout_blob "$WORK/image" 2)
D=sha256:$(basename "$BLOB")
SIZE=$(stat -c %s "$BLOB")
M=sha256:$(basename "$(layout_manifest "$WORK/image")")

# get [curl options] URL: the body in $WORK/body, the head in $WORK/head, curl's status returned.
get() {
	rm -f "$WORK/body" "$WORK/head"
	curl -sS -m 20 --cacert "$PKI/ca.pem" -o "$WORK/body" -D "$WORK/head" "$@" 2>"$LOG"
}
status() {
	awk '/^HTTP/ { s = $2 } END { print s }' "$WORK/head"
}
header() { # NAME: of the last answer
	tr -d '\r' <"$WORK/head" | awk -v n="$1" 'BEGIN { IGNORECASE = 1 } /^HTTP/ { v = "" }
		tolower($0) ~ "^" tolower(n) ":" { sub(/^[^:]*: */, ""); v = $0 } END { print v }'
}
body_size() {
	stat -c %s "$WORK/body" 2>/dev/null || echo 0
}
# part OFF LEN: of the blob.
part() {
	tail -c "+$(($1 + 1))" "$BLOB" | head -c "$2"
}

# ---- an honest registry ----
fr_start r --layout "test/image=$WORK/image"
U=http://$(fr_at r)/v2/test/image
is 0 "$(get "http://$(fr_at r)/v2/"; echo $?)" "it says that it is a registry"
get "$U/manifests/latest"
is "$M application/vnd.oci.image.manifest.v1+json" "$(header docker-content-digest) $(header content-type)" "a tag"
same "$(layout_manifest "$WORK/image")" "$WORK/body" "and the manifest behind it"
get "$U/manifests/$M" && same "$(layout_manifest "$WORK/image")" "$WORK/body" "by digest, too"
get "$U/blobs/$D" && same "$BLOB" "$WORK/body" "a blob"
get -r 100000-299999 "$U/blobs/$D"
is "206 bytes 100000-299999/$SIZE" "$(status) $(header content-range)" "a range of it"
same <(part 100000 200000) "$WORK/body" "is that range"
get -r "$((SIZE - 10))-$((SIZE + 10))" "$U/blobs/$D"
is "206 10" "$(status) $(body_size)" "a range beyond the end is shortened"
get -r -7 "$U/blobs/$D"
same <(tail -c 7 "$BLOB") "$WORK/body" "the last bytes"
get -r "$SIZE-" "$U/blobs/$D"
is "416 bytes */$SIZE" "$(status) $(header content-range)" "none there"
get -r 0-1,5-6 "$U/blobs/$D"
is "200 $SIZE" "$(status) $(body_size)" "of several ranges it knows nothing"
get -I "$U/blobs/$D"
is "200 $SIZE" "$(status) $(header content-length)" "HEAD"
get "$U/blobs/sha256:$(printf '0%.0s' {1..64})"
is "404 BLOB_UNKNOWN" "$(status) $(jq -r '.errors[0].code' "$WORK/body")" "a blob that is not there"
get "$U/manifests/none"
is "404 MANIFEST_UNKNOWN" "$(status) $(jq -r '.errors[0].code' "$WORK/body")" "a tag that is not there"
get "$U/tags/list" && is '["latest"]' "$(jq -c .tags "$WORK/body")" "the tags"
ok "skopeo copies from it" "$SKOPEO" copy --preserve-digests --src-tls-verify=false "docker://$(fr_at r)/test/image" "oci:$WORK/got:latest"
same "$(layout_manifest "$WORK/image")" "$(layout_manifest "$WORK/got")" "all of it"
ok "and to it" "$SKOPEO" copy --preserve-digests --dest-tls-verify=false "oci:$WORK/image:latest" "docker://$(fr_at r)/new/place:v1"
get "http://$(fr_at r)/v2/new/place/manifests/v1" && same "$(layout_manifest "$WORK/image")" "$WORK/body" "the very manifest"
get "http://$(fr_at r)/v2/new/place/blobs/$D" && same "$BLOB" "$WORK/body" "and blobs"
matches ' PATCH /v2/new/place/blobs/uploads/[0-9a-f]*\?state=0 - 202 ' "$(cat "$WORK/r.requests")" "the log has every request"
fr_mark r
get -r 5-14 "$U/blobs/$D"
get -I "$U/blobs/$D"
is "2 10" "$(fr_count r "/blobs/$D") $(fr_bytes r)" "requests and bytes can be counted from it"
is 2 "$(curl -sS -o "$WORK/1" -o "$WORK/2" -w '%{num_connects}\n' "$U/manifests/latest" "$U/tags/list" |
	awk 'NR == 1 { first = $1 } NR == 2 && $1 == 0 { print first + 1 }')" "connections are kept"

# ---- what is cut or slow ----
# broken TEXT CURL-STATUS BYTES RULE...: a GET of the blob fails so after that many bytes.
broken() {
	local text=$1 want=$2 rule
	rule=$(fr r fault "${@:4}")
	get "$U/blobs/$D"
	is "$want $3 1" "$? $(body_size) $(fr r hits "$rule")" "$text"
	fr r clear
}
broken "reset at a byte of the body" 56 1000 reset=1000 path="$D"
broken "reset before its first byte" 56 0 reset=0 path="$D"
broken "reset in the head" 56 0 reset=h:20
broken "closed at a byte, whatever Content-Length says" 18 12345 close=12345
broken "closed without an answer" 52 0 close=h:0
broken "redirected to nowhere" 0 0 redirect=http://127.0.0.1:1/
rule=$(fr r fault stall=70000)
start "$WORK/stalled" curl -sS -m 30 -o "$WORK/slow" "$U/blobs/$D"
curl=$!
all_but_the_rest() { # curl writes what it has when its buffer is full
	[ "$(fr r hits "$rule")" = 1 ] && [ "$(stat -c %s "$WORK/slow")" -gt 50000 ]
}
wait_until 10 all_but_the_rest
! ended $curl && pass "a stall holds on" || fail "a stall holds on"
fr r clear
wait $curl
is 0 $? "until it is cleared"
same "$BLOB" "$WORK/slow" "and the rest comes"
fr r fault drip=1000 >/dev/null
get -m 2 "$U/blobs/$D"
is 28 $? "drip: not done in two seconds"
[ "$(body_size)" -ge 1000 ] && [ "$(body_size)" -le 2500 ] && pass "with as many bytes a second" ||
	fail "with as many bytes a second" "$(body_size)"
fr r clear

# ---- what is refused ----
fr r fault status=429 retry-after=3 times=1 >/dev/null
get "$U/blobs/$D"
is "429 3" "$(status) $(header retry-after)" "429 with Retry-After"
get "$U/blobs/$D"
is 200 "$(status)" "times=1: once"
fr r fault status=503 path=/blobs/ skip=1 every=2 >/dev/null
is "200 200 503 200 503" "$(for i in 1 2 3 4 5; do get "$U/blobs/$D"; status; done | xargs)" "skip=1 every=2"
get "$U/manifests/latest"
is 200 "$(status)" "path=/blobs/: no other"
fr r clear
fr r fault status=500 ranged method=GET >/dev/null
get "$U/blobs/$D" && is 200 "$(status)" "ranged: not for the whole"
get -r 0-9 "$U/blobs/$D" && is 500 "$(status)" "ranged: but for a range"
get -I -r 0-9 "$U/blobs/$D" && is 206 "$(status)" "method=GET: not for HEAD"
fr r clear

# ---- what lies ----
# answers TEXT RULE STATUS CONTENT-RANGE LENGTH BYTES-OF: to bytes 1000-1999.
answers() {
	# shellcheck disable=SC2086
	fr r fault $2 path="/blobs/" >/dev/null
	get -r 1000-1999 "$U/blobs/$D"
	is "0 $3 $4 $5" "$? $(status) $(header content-range) $(header content-length)" "$1"
	same "$6" "$WORK/body" "$1: bytes"
	fr r clear
}
part 1000 1000 >"$WORK/right"
part 1000 500 >"$WORK/half"
part 1512 1000 >"$WORK/shifted"
part 1000 900 >"$WORK/less"
part 1000 1010 >"$WORK/more"
cp "$WORK/right" "$WORK/flipped"
printf '%b' "\\x$(printf %02x $((0x$(part 1500 1 | xxd -p) ^ 1)))" | dd of="$WORK/flipped" bs=1 seek=500 conv=notrunc status=none
answers "another start" range=start 206 "bytes 1001-1999/$SIZE" 1000 "$WORK/right"
answers "another total" range=total 206 "bytes 1000-1999/$((SIZE + 1))" 1000 "$WORK/right"
answers "another length" range=length 206 "bytes 1000-2006/$SIZE" 1000 "$WORK/right"
answers "no Content-Range" range=none 206 "" 1000 "$WORK/right"
answers "a senseless one" range=junk 206 "bytes none of your business" 1000 "$WORK/right"
answers "bytes from elsewhere" range=shift 206 "bytes 1000-1999/$SIZE" 1000 "$WORK/shifted"
answers "half of it" range=fewer 206 "bytes 1000-1499/$SIZE" 500 "$WORK/half"
answers "200 and all" whole 200 "" "$SIZE" "$BLOB"
answers "200 and only the range" bare 200 "" 1000 "$WORK/right"
answers "a short body" less=100 206 "bytes 1000-1999/$SIZE" 900 "$WORK/less"
answers "a long body" more=10 206 "bytes 1000-1999/$SIZE" 1010 "$WORK/more"
answers "a bit" flip=1500 206 "bytes 1000-1999/$SIZE" 1000 "$WORK/flipped"
answers "a bit of the body" flip=b:500 206 "bytes 1000-1999/$SIZE" 1000 "$WORK/flipped"
answers "a bit elsewhere" flip=2000 206 "bytes 1000-1999/$SIZE" 1000 "$WORK/right"
answers "chunked" chunked 206 "bytes 1000-1999/$SIZE" "" "$WORK/right"
answers "interim answers and odd headers" interim 206 "bytes 1000-1999/$SIZE" 1000 "$WORK/right"
answers "HTTP/1.0" http10 206 "bytes 1000-1999/$SIZE" "" "$WORK/right"
for kind in garbage swap; do
	fr r fault $kind >/dev/null
	get -r 1000-1999 "$U/blobs/$D"
	is "206 1000" "$(status) $(body_size)" "$kind: as much as asked for"
	cmp -s "$WORK/right" "$WORK/body" && fail "$kind: other bytes" || pass "$kind: other bytes"
	fr r clear
done
fr r fault swap >/dev/null
get "$U/blobs/$D"
head -c 1000 "$WORK/body" >"$WORK/head-of-body"
found=no
for b in "$WORK/image/blobs/sha256/"*; do
	[ "$b" = "$BLOB" ] || ! cmp -s <(head -c 1000 "$b") "$WORK/head-of-body" || found=yes
done
is yes $found "swap: those of another blob"
fr r clear
fr r fault page >/dev/null
get "$U/blobs/$D"
is "200 text/html; charset=utf-8" "$(status) $(header content-type)" "an error page with status 200"
fr r clear
fr r fault gzip >/dev/null
get -r 1000-1999 "$U/blobs/$D"
is "206 gzip" "$(status) $(header content-encoding)" "gzip that nobody asked for"
same "$WORK/right" <(gzip -dc "$WORK/body") "gzip: of the right bytes"
fr r clear
fr r fault multipart >/dev/null
get -r 1000-1999 "$U/blobs/$D"
is "206 multipart/byteranges; boundary=THIS_STRING_SEPARATES " \
	"$(status) $(header content-type) $(header content-range)" "a range in parts"
matches "^Content-Range: bytes 1000-1999/$SIZE" "$(tr -d '\0\r' <"$WORK/body" | head -n 4)" "which say where they are"
fr r clear

# ---- who is not there ----
fr r listen off
get "$U/tags/list"
is 7 $? "connections are refused"
fr r listen deaf
get -m 1 "$U/tags/list"
is 28 $? "or made, and not served"
fr r listen on
get "$U/tags/list"
is 0 $? "until they are again"
rule=$(fr r fault stall=h:0)
start "$WORK/dropped" curl -sS -m 20 "$U/tags/list"
curl=$!
wait_until 10 eval '[ "$(fr r hits "$rule")" = 1 ]'
fr r drop
wait $curl
is 56 $? "open connections are reset"
fr r clear

# ---- a network that there is not ----
took_one() { # RANGE
	curl -sS -m 20 -o /dev/null -w '%{time_total}' -r "$1" "$U/blobs/$D"
}
at_least() { # TEXT SECONDS GOT
	awk -v t="$3" -v l="$2" 'BEGIN { exit !(t >= l && t < l + 2) }' && pass "$1" || fail "$1" "took $3 s instead of $2"
}
fr r set delay=100
curl -sS -m 20 -w '%{time_total}\n' -o /dev/null "$U/tags/list" -o /dev/null "$U/tags/list" >"$WORK/times"
at_least "a delay of 100 ms: 200 for the first request" 0.2 "$(sed -n 1p "$WORK/times")"
at_least "and 100 for the second on its connection" 0.1 "$(sed -n 2p "$WORK/times")"
fr r set delay=0 rate=1000000
at_least "a megabyte at a megabyte a second" 0.98 "$(took_one 0-999999)"
seq 4 | xargs -P 4 -I{} curl -sS -o /dev/null -w '%{time_total}\n' -r 0-249999 "$U/blobs/$D" | sort -n >"$WORK/times"
at_least "of all connections together" 0.9 "$(tail -n 1 "$WORK/times")"
fr r set rate=0 delay=50 slow-start=1
at_least "with a slow start 200 kB take three round trips more than the first two" 0.25 "$(took_one 0-199999)"
at_least "and 14 kB none" 0.1 "$(took_one 0-13999)"
fr r set delay=0 slow-start=0
fr_start tls --tls-cert "$PKI/server.pem" --tls-key "$PKI/server.key"
fr tls set delay=100
curl -sS -m 20 -w '%{time_appconnect} %{time_total}\n' -o /dev/null --cacert "$PKI/ca.pem" \
	"https://registry.test:${FR_PORT[tls]}/v2/" >"$WORK/times"
at_least "TLS: 200 for the handshake of 1.3" 0.2 "$(cut -d' ' -f1 "$WORK/times")"
at_least "TLS: 100 more for the answer" 0.3 "$(cut -d' ' -f2 "$WORK/times")"
curl -sS -m 20 -w '%{time_total}\n' -o /dev/null --cacert "$PKI/ca.pem" --tls-max 1.2 \
	"https://registry.test:${FR_PORT[tls]}/v2/" >"$WORK/times"
at_least "TLS: and a round trip more for 1.2" 0.4 "$(cat "$WORK/times")"

# ---- uploads ----
P=http://$(fr_at r)/v2/push/here/blobs/uploads/
begin_upload() {
	get -X POST "$P"
	AT=http://$(fr_at r)$(header location)
}
head -c 100000 "$BLOB" >"$WORK/blob"
B=sha256:$(sha256_of "$WORK/blob")
begin_upload
is "202 0-0" "$(status) $(header range)" "an upload begins"
head -c 40000 "$WORK/blob" >"$WORK/first"
tail -c +40001 "$WORK/blob" >"$WORK/second"
get -X PATCH -H 'Content-Range: 0-39999' --data-binary @"$WORK/first" "$AT"
is "202 0-39999" "$(status) $(header range)" "a piece"
get -X PATCH -H 'Content-Range: 0-39999' --data-binary @"$WORK/first" "$AT"
is 416 "$(status)" "the same piece again is refused"
AT=http://$(fr_at r)$(header location)
fr r fault eat=10000 method=PATCH >/dev/null
get -X PATCH -H 'Content-Range: 40000-99999' --data-binary @"$WORK/second" "$AT"
is 1 "$(($? != 0))" "a piece is cut"
fr r clear
get "$AT"
is "204 0-49999" "$(status) $(header range)" "and some of it was taken"
AT=http://$(fr_at r)$(header location)
tail -c +50001 "$WORK/blob" >"$WORK/rest"
get -X PATCH -H "Transfer-Encoding: chunked" -H 'Content-Range: 50000-99999' --data-binary @"$WORK/rest" "$AT"
AT=http://$(fr_at r)$(header location)
get -X PUT "$AT&digest=sha256:$(printf '1%.0s' {1..64})"
is "400 DIGEST_INVALID" "$(status) $(jq -r '.errors[0].code' "$WORK/body")" "a blob that is not what it should be"
get "$AT"
AT=http://$(fr_at r)$(header location)
get -X PUT "$AT&digest=$B"
is "201 $B" "$(status) $(header docker-content-digest)" "the whole"
get "http://$(fr_at r)/v2/push/here/blobs/$B" && same "$WORK/blob" "$WORK/body" "is there"
get -X POST --data-binary @"$WORK/first" "$P?digest=sha256:$(sha256_of "$WORK/first")"
is 201 "$(status)" "in one request"
get -X POST "$P?mount=$D&from=test/image"
is 201 "$(status)" "a blob of another repository"
get -X POST "$P?mount=$D&from=no/where"
is 202 "$(status)" "or of none: an upload"
get -X PUT -H "Content-Type: $IMG_TYPE.manifest.v1+json" --data-binary @"$(layout_manifest "$WORK/image")" \
	"http://$(fr_at r)/v2/push/here/manifests/v1"
is "400 MANIFEST_BLOB_UNKNOWN" "$(status) $(jq -r '.errors[0].code' "$WORK/body")" "a manifest comes after its blobs"

# ---- referrers ----
jq -nc --arg m "$M" --argjson s "$(stat -c %s "$(layout_manifest "$WORK/image")")" --arg d "$D" --argjson n "$SIZE" \
	--arg t "$IMG_TYPE" '{schemaVersion: 2, mediaType: ($t + ".manifest.v1+json"), artifactType: "x/y",
	config: {mediaType: "application/vnd.oci.empty.v1+json", digest: $d, size: $n}, layers: [],
	subject: {mediaType: ($t + ".manifest.v1+json"), digest: $m, size: $s}}' >"$WORK/artifact"
A=sha256:$(sha256_of "$WORK/artifact")
get -X PUT -H "Content-Type: $IMG_TYPE.manifest.v1+json" --data-binary @"$WORK/artifact" "$U/manifests/$A"
is "201 $M" "$(status) $(header oci-subject)" "an artifact that refers to the image"
get "$U/referrers/$M?artifactType=x/y"
is "$A x/y" "$(jq -r '.manifests[] | .digest + " " + .artifactType' "$WORK/body")" "the referrers API knows it"
get "$U/referrers/$M?artifactType=x/z"
is 0 "$(jq '.manifests | length' "$WORK/body")" "and what it is"
cp -r "$WORK/image" "$WORK/with"
cp "$WORK/artifact" "$WORK/with/blobs/sha256/${A#sha256:}"
jq -c --arg a "$A" --argjson s "$(stat -c %s "$WORK/artifact")" --arg t "$IMG_TYPE" \
	'.manifests += [{mediaType: ($t + ".manifest.v1+json"), digest: $a, size: $s}]' \
	"$WORK/with/index.json" >"$WORK/with/new" && mv "$WORK/with/new" "$WORK/with/index.json"
fr_start old --layout "test/image=$WORK/with" --no-referrers
get "http://$(fr_at old)/v2/test/image/referrers/$M"
is 404 "$(status)" "or there is no such API"
get "http://$(fr_at old)/v2/test/image/manifests/sha256-${M#sha256:}"
is "$A" "$(jq -r '.manifests[].digest' "$WORK/body")" "but the fallback tag"

# ---- credentials ----
fr_start basic --layout "test/image=$WORK/image" --basic --user me:secret --tls-cert "$PKI/server.pem" --tls-key "$PKI/server.key"
U=https://registry.test:${FR_PORT[basic]}/v2/test/image
get "$U/manifests/latest"
matches '^401 Basic realm=' "$(status) $(header www-authenticate)" "basic: without credentials"
get -u me:wrong "$U/manifests/latest" && is 401 "$(status)" "basic: with wrong ones"
get -u me:secret "$U/manifests/latest" && is 200 "$(status)" "basic: with the right ones"
mkdir "$WORK/certs"
cp "$PKI/ca.pem" "$WORK/certs/ca.crt"
ok "basic: skopeo, over TLS" "$SKOPEO" copy --src-creds me:secret --src-cert-dir "$WORK/certs" \
	"docker://registry.test:${FR_PORT[basic]}/test/image" "oci:$WORK/got2:latest"

fr_start bearer --layout "test/image=$WORK/image" --bearer --anonymous --user me:secret --refresh again \
	--blobs-host blobs.test
U=http://$(fr_at bearer)/v2/test/image
get "$U/manifests/latest"
is "401 Bearer realm=\"http://$(fr_at bearer)/token\",service=\"fault\",scope=\"repository:test/image:pull\"" \
	"$(status) $(header www-authenticate)" "bearer: without a token"
token() { # CURL-OPTIONS: from the token server
	get "$@" && jq -r '.token // .access_token' "$WORK/body"
}
T="http://$(fr_at bearer)/token?service=fault&scope=repository:test/image:pull,push"
t=$(token "$T")
get -H "Authorization: Bearer $t" "$U/manifests/latest" && is 200 "$(status)" "bearer: anyone's token pulls"
get -X POST -H "Authorization: Bearer $t" "$U/blobs/uploads/" && is 401 "$(status)" "bearer: but does not push"
t=$(token -u me:secret "$T")
get -X POST -H "Authorization: Bearer $t" "$U/blobs/uploads/" && is 202 "$(status)" "bearer: one's own does"
get -X POST -H "Authorization: Bearer $t" "http://$(fr_at bearer)/v2/test/other/blobs/uploads/" &&
	is 401 "$(status)" "bearer: where it is for"
get -u me:wrong "$T" && is 401 "$(status)" "bearer: wrong credentials get none"
t=$(token -d "grant_type=refresh_token&service=fault&scope=repository:test/image:pull&refresh_token=again" \
	"http://$(fr_at bearer)/token")
get -H "Authorization: Bearer $t" "$U/manifests/latest" && is 200 "$(status)" "bearer: for an identity token"
fr bearer expire tokens
get -H "Authorization: Bearer $t" "$U/manifests/latest"
matches '^401 .*error="invalid_token"' "$(status) $(header www-authenticate)" "bearer: tokens expire"
fr bearer set token-ttl=300
t=$(token "$T")
wait_until 5 eval 'get -H "Authorization: Bearer $t" "$U/manifests/latest"; [ "$(status)" = 401 ]' &&
	pass "bearer: by themselves, too" || fail "bearer: by themselves, too"
fr bearer set token-ttl=60000
ok "bearer: skopeo pushes" "$SKOPEO" copy --dest-tls-verify=false --dest-creds me:secret \
	"oci:$WORK/image:latest" "docker://$(fr_at bearer)/test/pushed:v1"

fr_start certs --layout "test/image=$WORK/image" --tls-cert "$PKI/server.pem" --tls-key "$PKI/server.key" --client-ca "$PKI/ca.pem"
get "https://registry.test:${FR_PORT[certs]}/v2/"
is 1 "$(($? != 0))" "client certificates: not without one"
get --cert "$PKI/client.pem" --key "$PKI/client.key" "https://registry.test:${FR_PORT[certs]}/v2/"
is 200 "$(status)" "client certificates: with one"

# ---- a blob store elsewhere ----
fr bearer set redirect=1 url-ttl=60000
t=$(token "$T")
get -L -H "Authorization: Bearer $t" "$U/blobs/$D"
same "$BLOB" "$WORK/body" "redirects: the blob comes from the store"
matches ' blobs GET /store/test/image/sha256:.* 200 [0-9]* - ' "$(tail -n 1 "$WORK/bearer.requests")" "redirects: without the token"
url() {
	get -H "Authorization: Bearer $t" "$U/blobs/$D" && header location
}
there=$(url)
get -H "Authorization: Bearer $t" "$there"
is 400 "$(status)" "redirects: which it does not want"
get "${there%?}"
is 403 "$(status)" "redirects: signatures must be right"
get "$there"
is 200 "$(status)" "redirects: a URL serves more than once"
fr bearer expire urls
get "$there"
is 403 "$(status)" "redirects: until it expires"
fr bearer set url-uses=1
there=$(url)
is "200 403" "$(for i in 1 2; do get "$there"; status; done | xargs)" "redirects: or is used up"
fr bearer set url-uses=0 url-ttl=100
there=$(url)
wait_until 5 eval 'get "$there"; [ "$(status)" = 403 ]' && pass "redirects: or is too old" || fail "redirects: or is too old"
fr bearer set url-ttl=60000
ok "redirects: skopeo follows" "$SKOPEO" copy --src-tls-verify=false "docker://$(fr_at bearer)/test/image" "oci:$WORK/got3:latest"

# ---- Debian's registry, with our token server ----
fr_start tokens --tls-cert "$PKI/server.pem" --tls-key "$PKI/server.key" --bearer --anonymous --user me:secret \
	--service test --issuer tests --token-key "$PKI/token.key" --token-cert "$PKI/token.pem"
docker_registry debian "$(dr_tls)" "$(dr_token "https://registry.test:${FR_PORT[tokens]}/token")"
R=registry.test:${FR_PORT[debian]}
ok "docker-registry: skopeo pushes with a token of ours" "$SKOPEO" copy --preserve-digests --dest-tls-verify=false --dest-creds me:secret \
	"oci:$WORK/image:latest" "docker://$R/test/image:v1"
ok "docker-registry: and pulls" "$SKOPEO" copy --preserve-digests --src-tls-verify=false "docker://$R/test/image:v1" "oci:$WORK/got4:latest"
same "$(layout_manifest "$WORK/image")" "$(layout_manifest "$WORK/got4")" "docker-registry: the same"
get "https://$R/v2/test/image/manifests/v1"
is 401 "$(status)" "docker-registry: it wants tokens"
htpasswd -Bbn me secret >"$WORK/htpasswd" 2>"$LOG"
docker_registry plain "$(dr_plain)" "$(dr_basic "$WORK/htpasswd")"
ok "docker-registry: basic authentication over plain HTTP" "$SKOPEO" copy --dest-tls-verify=false --dest-creds me:secret \
	"oci:$WORK/image:latest" "docker://$(fr_at plain)/test/image:v1"
registry_stop plain
get "http://$(fr_at plain)/v2/"
is 7 $? "docker-registry: it stops"

# ---- names ----
get "https://registry.test:${FR_PORT[certs]}/"
names_are localhost
get "https://registry.test:${FR_PORT[certs]}/"
is 6 $? "names go away when the test says so"
finish
