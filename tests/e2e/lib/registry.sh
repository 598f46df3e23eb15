# registry.sh - registries on loopback: the one that goes wrong (tests/fault), and Debian's.
# Sourced after tap.sh. Names, addresses and resolver are the test's own (its mount namespace).
# shellcheck shell=bash

FAULT=${FAULT:-$SRC/build/fault/registry}
PKI=$WORK/pki
declare -A FR_PORT FR_BLOBS FR_PID FR_MARK

# ---- names ----

# own_etc NAME...: /etc of this test alone, for names, certificates, mirrors; these names are this
# machine's, and no name server is asked. The script must run in a mount namespace of its own:
#   [ -n "${OWN_NS:-}" ] || OWN_NS=1 exec unshare --mount --propagation private bash "$0" "$@"
own_etc() {
	local top=$WORK/etc
	[ -n "${OWN_NS:-}" ] || bail "a mount namespace of its own"
	others_go
	mkdir "$top"
	mount -t tmpfs tmpfs "$top" && mkdir "$top/upper" "$top/work" &&
		mount -t overlay -o "lowerdir=/etc,upperdir=$top/upper,workdir=$top/work" overlay /etc ||
		bail "an /etc of its own"
	printf 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n' >"$WORK/resolv.conf"
	# A container's are mounts, which stay what they are below the overlay.
	rm -f /etc/resolv.conf /etc/hosts
	cp "$WORK/resolv.conf" /etc/resolv.conf
	names_are localhost "$@"
}

# Other tests' mounts have copies here, which would keep them alive when they are unmounted there.
others_go() {
	local m
	awk -v w="$WORK/" '$2 ~ "^/tmp/cloakfs-" && index($2, w) != 1 { print $2 }' /proc/self/mounts | tac |
		while read -r m; do umount -l "$m" 2>/dev/null; done
}

# names_are NAME...: they are this machine's, and there are no others.
names_are() {
	printf '127.0.0.1 %s\n' "$@" >/etc/hosts.new
	mv /etc/hosts.new /etc/hosts
}

# ---- certificates ----

# pki_make NAME...: a CA ($PKI/ca.pem), a server certificate for these names and 127.0.0.1
# ($PKI/server.{pem,key}), a client's ($PKI/client.{pem,key}), and a key for tokens ($PKI/token.*).
pki_make() {
	local n names=IP:127.0.0.1
	mkdir -p "$PKI"
	for n in "$@"; do names=$names,DNS:$n; done
	{
		openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=A CA for tests" \
			-keyout "$PKI/ca.key" -out "$PKI/ca.pem" &&
			pki_sign server "/CN=$1" "subjectAltName=$names" &&
			pki_sign client "/CN=client" "extendedKeyUsage=clientAuth" &&
			openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=tokens" \
				-keyout "$PKI/token.key" -out "$PKI/token.pem"
	} >"$LOG" 2>&1 || bail "certificates for the test" "$(cat "$LOG")"
}

pki_sign() { # FILE SUBJECT EXTENSION
	openssl req -newkey rsa:2048 -nodes -subj "$2" -keyout "$PKI/$1.key" -out "$PKI/$1.csr" &&
		openssl x509 -req -in "$PKI/$1.csr" -CA "$PKI/ca.pem" -CAkey "$PKI/ca.key" -CAcreateserial \
			-days 2 -extfile <(echo "$3") -out "$PKI/$1.pem"
}

# ---- the registry that goes wrong ----

# fr_start NAME [registry serve options]: $(fr_at NAME) is its address.
fr_start() {
	local name=$1
	shift
	rm -f "$WORK/$name.ready"
	start "$WORK/$name.err" "$FAULT" serve --control "$WORK/$name.sock" --ready "$WORK/$name.ready" \
		--log "$WORK/$name.requests" "$@"
	FR_PID[$name]=$!
	: >>"$WORK/$name.requests"
	FR_MARK[$name]=0
	wait_until 20 ready_or_ended "$name"
	[ -e "$WORK/$name.ready" ] || bail "registry $name starts" "$(cat "$WORK/$name.err")"
	FR_PORT[$name]=$(sed -n 's/^registry //p' "$WORK/$name.ready")
	FR_BLOBS[$name]=$(sed -n 's/^blobs //p' "$WORK/$name.ready")
}

ready_or_ended() {
	[ -e "$WORK/$1.ready" ] || ended "${FR_PID[$1]}"
}

fr_at() {
	echo "127.0.0.1:${FR_PORT[$1]}"
}

# fr NAME COMMAND...: tells it something (tests/fault/control.c).
fr() {
	local name=$1
	shift
	"$FAULT" ctl "$WORK/$name.sock" "$@" || bail "registry $name is told: $*"
}

fr_stop() {
	fr "$1" quit
	wait "${FR_PID[$1]}" 2>/dev/null
}

# fr_mark NAME: what is asked from now on counts. fr_log NAME: that, once all of it is answered.
fr_mark() {
	fr "$1" quiet
	FR_MARK[$1]=$(wc -l <"$WORK/$1.requests")
}
fr_log() {
	fr "$1" quiet
	tail -n "+$((${FR_MARK[$1]} + 1))" "$WORK/$1.requests"
}
# fr_count NAME REGEX: requests since then whose line in the log matches.
fr_count() {
	fr_log "$1" | grep -cE -- "$2"
}
# fr_bytes NAME: bytes of blobs since then.
fr_bytes() {
	fr_log "$1" | awk '$4 ~ /\/blobs\/sha256:|^\/store\// { sum += $7 } END { print sum + 0 }'
}

# ---- Debian's ----

# docker_registry NAME [LINE]...: a configuration with these lines in it; $(fr_at NAME) is its
# address. It keeps its blobs in $WORK/NAME.store.
docker_registry() {
	local name=$1
	shift
	{
		printf '%s\n' 'version: 0.1' 'log: {level: info, formatter: text, accesslog: {disabled: false}}' \
			"storage: {filesystem: {rootdirectory: $WORK/$name.store}, delete: {enabled: true}}" \
			"$@"
	} >"$WORK/$name.yml"
	start "$WORK/$name.err" env OTEL_TRACES_EXPORTER=none docker-registry serve "$WORK/$name.yml"
	FR_PID[$name]=$!
	wait_until 20 grep -q 'msg="listening on' "$WORK/$name.err" ||
		bail "docker-registry starts" "$(tail -n 5 "$WORK/$name.err")"
	FR_PORT[$name]=$(sed -n 's/.*msg="listening on [^ ",]*:\([0-9]*\).*/\1/p' "$WORK/$name.err" | head -n 1)
}

# Lines for it: plain HTTP; TLS; basic authentication by a file of htpasswd; tokens of the token
# server at URL, whose certificate is $PKI/token.pem.
dr_plain() {
	echo 'http: {addr: "127.0.0.1:0"}'
}
dr_tls() { # [CLIENT-CA]
	echo "http: {addr: \"127.0.0.1:0\", tls: {certificate: $PKI/server.pem, key: $PKI/server.key${1:+, clientcas: [$1]}}}"
}
dr_basic() {
	echo "auth: {htpasswd: {realm: test, path: $1}}"
}
dr_token() {
	echo "auth: {token: {realm: \"$1\", service: test, issuer: tests, rootcertbundle: $PKI/token.pem}}"
}

# docker_registry_stop NAME
registry_stop() {
	kill "${FR_PID[$1]}"
	wait "${FR_PID[$1]}" 2>/dev/null
}
