#!/usr/bin/env bash
# Unpacks Debian trixie's systemd with what it needs into a folder: the peer that the golden files are recorded from.
# Use: peer.sh FOLDER; then UPDATE_GOLDEN=1 FERRITE_PEER_ROOT=FOLDER cargo test -p ferrite-host. Needs apt and root.
set -euo pipefail
root=$(mkdir -p "$1" && cd "$1" && pwd)
apt=$root.apt
mkdir -p "$apt"/etc/apt/{apt.conf.d,preferences.d,sources.list.d} "$apt"/var/lib/apt/lists/partial \
    "$apt"/var/cache/apt/archives/partial "$apt"/var/lib/dpkg
: > "$apt"/var/lib/dpkg/status
mirror=$(apt-get indextargets --format '$(SITE)' | grep -m1 debian)
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" > "$apt"/etc/apt/sources.list
cat > "$apt"/apt.conf <<END
Dir "$apt";
Dir::State::status "$apt/var/lib/dpkg/status";
APT::Architecture "amd64";
APT::Install-Recommends "false";
END
export APT_CONFIG=$apt/apt.conf
apt-get update
apt-get install --yes --download-only systemd libkmod2 bash coreutils
for package in "$apt"/var/cache/apt/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar --extract --directory "$root" --keep-directory-symlink
done
