#!/bin/bash
# trixie.sh - sets up Debian 13's skopeo and erofs-utils beside a Debian 12 system.
#
#   tests/e2e/lib/trixie.sh DIR      makes DIR/bin/{skopeo,{fsck,dump,mkfs}.erofs};
#                                    nothing is installed system-wide
#
# Debian 12's own skopeo (1.9) knows no key providers, 1.18 does; its erofs-utils (1.5) know
# no blocks of 512 bytes, 1.8 do. apt resolves and fetches them with their libraries, libc
# included, from the mirror this system already uses, through a configuration and state of
# its own; dpkg -x unpacks them; a wrapper starts each with its own loader. Finished set-ups
# are reused, half-done ones are made again.
set -eu

dir=${1:?usage: trixie.sh DIR}
packages="skopeo erofs-utils"
stamp="trixie 2 $packages"

if [ "$(cat "$dir/done" 2>/dev/null)" = "$stamp" ]; then
	exit 0
fi

mkdir -p "$(dirname "$dir")"
exec 9>"$dir.lock" # one set-up at a time; a second caller finds the first one's work
flock 9
if [ "$(cat "$dir/done" 2>/dev/null)" = "$stamp" ]; then
	exit 0
fi

dir=$(realpath -m "$dir")
tmp=$dir.new
rm -rf "$tmp" "$dir"
mkdir -p "$tmp/root" "$tmp/bin" "$tmp/apt/lists/partial" "$tmp/apt/cache/archives/partial"
: >"$tmp/apt/status"
trap 'rm -rf "$tmp"' EXIT

fail() {
	echo "trixie.sh: $*" >&2
	[ ! -s "$tmp/log" ] || tail -n 20 "$tmp/log" >&2
	exit 1
}

# The mirror(s) the system takes its own release from. With --print-uris apt reads its
# sources and fetches nothing, so apt-get update need not have run.
# shellcheck disable=SC1091
codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}")
mirrors=$(apt-get update --print-uris |
	sed -n "s|^'\(.*\)/dists/$codename/main/binary-.*|\1|p" | sort -u)
[ -n "$mirrors" ] || fail "apt's sources name no mirror with $codename main"

# An empty status file makes apt resolve the whole closure, as if nothing were installed.
cat >"$tmp/apt/apt.conf" <<CONF
Dir::Etc::SourceList "$tmp/apt/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::State::Lists "$tmp/apt/lists";
Dir::State::status "$tmp/apt/status";
Dir::Cache "$tmp/apt/cache";
APT::Install-Recommends "0";
APT::Install-Suggests "0";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
CONF

found=
for mirror in $mirrors; do
	echo "deb $mirror trixie main" >"$tmp/apt/sources.list"
	# shellcheck disable=SC2086
	if {
		APT_CONFIG=$tmp/apt/apt.conf apt-get -q -o APT::Update::Error-Mode=any update &&
			APT_CONFIG=$tmp/apt/apt.conf apt-get -q -y --download-only install $packages
	} >"$tmp/log" 2>&1; then
		found=$mirror
		break
	fi
done
[ -n "$found" ] || fail "cannot fetch $packages of trixie from" $mirrors
for deb in "$tmp"/apt/cache/archives/*.deb; do
	dpkg -x "$deb" "$tmp/root" || fail "cannot unpack $deb"
done
rm -rf "$tmp/apt"

# wrapper PROGRAM FIRST-ARGS: starts it with its own loader and libraries.
wrapper() {
	cat >"$tmp/bin/$1" <<WRAP
#!/bin/sh
# Debian 13's $1 with its own loader and libraries.
root=\$(dirname "\$(dirname "\$(readlink -f "\$0")")")/root
for lib in "\$root"/usr/lib/*-linux-gnu; do :; done
for loader in "\$lib"/ld-linux*.so.*; do :; done
exec "\$loader" --library-path "\$lib" "\$root/usr/bin/$1" $2 "\$@"
WRAP
	chmod +x "$tmp/bin/$1"
	"$tmp/bin/$1" --version >"$tmp/log" 2>&1 || fail "the $1 set up does not start"
}
wrapper skopeo --insecure-policy
wrapper fsck.erofs ""
wrapper dump.erofs ""
wrapper mkfs.erofs ""
rm -f "$tmp/log"
echo "$stamp" >"$tmp/done"
mv "$tmp" "$dir"
trap - EXIT
