#!/bin/sh
# Installs loopback-agent on this machine and joins it to the coordinator that served this script.
#
# It puts one binary, one configuration file and two systemd units in place. It never replaces an identity the machine already has, never edits a configuration that
# is there, and runs nothing unless all of it arrived: everything is in functions, and the last line calls them.
#
# LOOPBACK_TOKEN   the agent token, from `loopback token create`; needed unless the machine has joined before
# LOOPBACK_PREFIX  where to install instead of /; for trying out and for images
set -eu

# The coordinator replaces these when it serves the script: HOST:PORT, the base64 of its public key's SHA-256 (what curl pins), and the binaries' SHA-256 in hexadecimal.
ADDRESS='@ADDRESS@'
PIN='@PIN@'
SHA256_X86_64='@SHA256_X86_64@'
SHA256_AARCH64='@SHA256_AARCH64@'

say() {
    printf 'loopback: %s\n' "$1"
}

fail() {
    printf 'loopback: %s\n' "$1" >&2
    exit 1
}

main() {
    PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
    umask 022
    prefix=${LOOPBACK_PREFIX:-}
    prefix=${prefix%/}
    binary="$prefix/usr/local/bin/loopback-agent"
    config="$prefix/etc/loopback/agent.toml"
    state="$prefix/var/lib/loopback-agent"
    units="$prefix/etc/systemd/system"

    check_caller
    choose_binary
    check_nft
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' HUP INT TERM
    download
    install_binary
    install_config
    join
    install_units
    start
}

check_caller() {
    [ "$(id -u)" -eq 0 ] || fail 'this needs root: run the line again with sudo'
    [ "$(uname -s)" = Linux ] || fail "the agent runs on Linux, and this is $(uname -s)"
    command -v sha256sum >/dev/null || fail 'sha256sum is missing: install coreutils and run the line again'
    [ -e "$state/identity.json" ] && return
    [ -n "${LOOPBACK_TOKEN:-}" ] || fail 'LOOPBACK_TOKEN is not set: copy the whole line that `loopback token create` printed'
}

choose_binary() {
    machine=$(uname -m)
    case $machine in
        x86_64 | amd64) architecture=x86_64 sum=$SHA256_X86_64 ;;
        aarch64 | arm64) architecture=aarch64 sum=$SHA256_AARCH64 ;;
        *) fail "there is no agent for $machine, only for x86_64 and aarch64" ;;
    esac
    [ "${#sum}" -eq 64 ] || fail "this coordinator serves no agent for $architecture: put one beside it (agent_binary in its configuration) and restart it"
}

check_nft() {
    command -v nft >/dev/null && return
    say 'nft is missing; installing the package nftables'
    if command -v apt-get >/dev/null; then
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nftables
    elif command -v dnf >/dev/null; then
        dnf install -y -q nftables
    elif command -v zypper >/dev/null; then
        zypper --non-interactive --quiet install nftables
    elif command -v apk >/dev/null; then
        apk add --quiet nftables
    else
        fail 'nft is missing, and neither apt-get, dnf, zypper nor apk is here to install it: install nftables and run the line again'
    fi
    command -v nft >/dev/null || fail 'nftables was installed, and nft is still missing: look at the messages above'
}

download() {
    # The pin authenticates the coordinator, whose certificate no public authority signs; the checksum, which came over the same pin, the binary.
    curl -fsSk --pinnedpubkey "sha256//$PIN" --retry 2 -o "$work/loopback-agent" "https://$ADDRESS/agent/$architecture/loopback-agent" ||
        fail "cannot download the agent from https://$ADDRESS: is the coordinator reachable, and has its certificate authority not been replaced since the line was printed?"
    printf '%s  %s\n' "$sum" "$work/loopback-agent" | sha256sum -c - >/dev/null 2>&1 ||
        fail 'the agent that arrived is not the one that was announced (SHA-256 differs): nothing was installed'
}

install_binary() {
    mkdir -p "$prefix/usr/local/bin"
    # Beside its place and renamed: a running agent keeps the old file, and nobody ever sees half of the new one.
    cp "$work/loopback-agent" "$binary.new"
    chmod 0755 "$binary.new"
    mv -f "$binary.new" "$binary"
    say "installed $binary"
}

install_config() {
    mkdir -p "$prefix/etc/loopback"
    [ -e "$config" ] || "$binary" config default >"$work/agent.toml"
    [ -e "$config" ] || cp "$work/agent.toml" "$config"
}

join() {
    if [ -e "$state/identity.json" ]; then
        say 'this machine has joined before and keeps its identity; to join elsewhere, run `loopback-agent leave --yes` first'
        return
    fi
    # The token stays in the environment: arguments are visible to every user of the machine.
    export LOOPBACK_TOKEN
    "$binary" --config "$config" --state-dir "$state" join --coordinator "$ADDRESS" || fail 'the machine did not join: see the message above'
}

install_units() {
    mkdir -p "$units"
    "$binary" config unit agent >"$work/loopback-agent.service"
    "$binary" config unit firewall >"$work/loopback-firewall.service"
    cp "$work/loopback-agent.service" "$work/loopback-firewall.service" "$units/"
}

start() {
    if [ -z "$prefix" ] && [ -d /run/systemd/system ]; then
        systemctl daemon-reload
        systemctl --quiet enable loopback-firewall.service loopback-agent.service
        systemctl restart loopback-agent.service
        say 'the agent runs; `systemctl status loopback-agent` shows how it is'
    else
        say "systemd was not asked to start the agent; start it with: $binary --config $config --state-dir $state run"
    fi
}

main "$@"
