#!/bin/sh
# Installs the Debian packages that building and testing need; does nothing when
# all are there.
set -eu
packages="gcc make pkg-config libc6-dev binutils fuse3 libfuse3-dev libisal-dev libipsec-mb-dev libzstd-dev zstd
zlib1g-dev libarchive-dev libarchive-tools libjansson-dev libssl-dev openssl
libcurl4-openssl-dev curl libnghttp2-dev libprotobuf-c-dev protobuf-c-compiler
libmicrohttpd-dev libcmocka-dev umoci jq attr libcap2-bin pigz valgrind strace git
ca-certificates xxd procps crun podman systemd-container acl fio rsync stress-ng docker-registry apache2-utils tinyproxy-bin"

# The benchmarks' peers.
[ "${1:-}" != bench ] || packages="$packages gocryptfs squashfuse squashfs-tools archivemount time libsqlite3-dev
golang-go golang-github-containerd-stargz-snapshotter-dev"

missing=
for p in $packages; do
	dpkg-query -W -f '${db:Status-Abbrev}' "$p" 2>/dev/null | grep -q '^ii' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
[ "$(id -u)" = 0 ] || { echo "these packages are missing, and only root can install them:$missing" >&2; exit 1; }
echo "installing:$missing"
log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get update && apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
	cat "$log" >&2
	exit 1
fi
rm -f "$log"
# The tests start one of their own; nobody asked for one at port 5000.
case $missing in
*docker-registry*) [ ! -d /run/systemd/system ] || systemctl disable --now docker-registry ;;
esac
