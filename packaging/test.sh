#!/usr/bin/env bash
# Installs the .deb, runs it as its unit would, stores and fetches a file, removes and purges it. Then installs, upgrades
# and removes the .rpm, where one is given.
#
#   packaging/test.sh PACKAGE.deb [PACKAGE.rpm]
#
# As root. Everything happens on a copy of this machine's files (an overlay that goes away with the test), in a mount and
# network namespace of its own: nothing is left behind, and nothing of this machine is touched.
set -euo pipefail

fail() {
    echo "packaging/test.sh: $*" >&2
    exit 1
}

step() {
    printf -- '--- %s\n' "$*"
}

# The outer half: the copy. $1, $2: the packages.
prepare() {
    ((EUID == 0)) || fail "needs root, for mounts and for the unit's user"
    [[ -f $1 ]] || fail "there is no package $1"
    [[ -z ${2-} || -f $2 ]] || fail "there is no package $2"
    local package rpm room
    package=$(realpath "$1")
    rpm=${2:+$(realpath "$2")}
    room=$(mktemp -d /var/tmp/penstock-package-test.XXXXXX)
    # shellcheck disable=SC2064
    trap "rm -rf '$room'" EXIT
    mkdir -p "$room/upper" "$room/work" "$room/root"
    unshare --mount --net --pid --fork --kill-child --propagation private \
        bash -c 'source "$1"; mount_copy "$2"; copy_of "$2" "$3" "$4"' bash "$(realpath "${BASH_SOURCE[0]}")" "$room" "$package" "$rpm"
}

# In the namespaces: the copy's file systems.
mount_copy() {
    local room=$1 root=$1/root
    mount -t overlay overlay -o "lowerdir=/,upperdir=$room/upper,workdir=$room/work" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/run"
    # A real file system for what is stored: overlays have no direct writes.
    mkdir -p "$room/data" "$root/var/lib/penstock"
    mount --bind "$room/data" "$root/var/lib/penstock"
    ip link set lo up
}

copy_of() {
    local room=$1
    cp "$2" "$room/root/run/penstock.deb"
    [[ -z $3 ]] || cp "$3" "$room/root/run/penstock.rpm"
    cp "${BASH_SOURCE[0]}" "$room/root/run/test.sh"
    chroot "$room/root" /bin/bash -c 'source /run/test.sh; on_the_copy /run/penstock.deb
        [[ ! -f /run/penstock.rpm ]] || rpm_on_the_copy /run/penstock.rpm
        step "all good"'
}

# What the unit says.
setting() {
    sed -n "s/^$2=//p" "/usr/lib/systemd/system/$1"
}

# Runs a unit's ExecStart as its user, with its limits and umask, in the background.
start_unit() {
    local unit=$1 user command
    user=$(setting "$unit" User)
    command=$(setting "$unit" ExecStart)
    # shellcheck disable=SC2086
    (
        umask "$(setting "$unit" UMask)"
        cd "$(setting "$unit" WorkingDirectory || true)" 2>/dev/null || cd /
        # Containers may not raise limits; the pool works with less, and says so.
        ulimit -l unlimited 2>/dev/null || true
        ulimit -n "$(setting "$unit" LimitNOFILE)" 2>/dev/null || true
        exec setpriv --reuid="$user" --regid="$(setting "$unit" Group)" --clear-groups --no-new-privs \
            --bounding-set=-all $command
    ) >"/run/$unit.out" 2>"/run/$unit.log" &
    daemon=$!
}

wait_for() {
    local what=$1 unit=$2
    for _ in $(seq 200); do
        grep -q "$what" "/run/$unit.out" && return
        kill -0 "$daemon" 2>/dev/null || fail "$unit has ended: $(cat "/run/$unit.log")"
        sleep 0.1
    done
    fail "$unit never said \"$what\": $(cat "/run/$unit.log")"
}

stop() {
    kill -TERM "$1"
    wait "$1" || fail "a daemon did not end well: $(tail -3 /run/*.log)"
}

store_and_fetch() {
    local door=$1 token=$2 name=$3
    head -c 5000001 /dev/urandom >/run/file
    curl -fsSL -H "Authorization: Bearer $(cat "$token")" -H 'Expect: 100-continue' -T /run/file "$door/$name"
    curl -fsSL -H "Authorization: Bearer $(cat "$token")" -o /run/back "$door/$name"
    cmp /run/file /run/back || fail "what came back is not what was stored"
}

on_the_copy() {
    step "install"
    export DEBIAN_FRONTEND=noninteractive
    dpkg --install "$1"
    id penstock >/dev/null || fail "there is no user penstock"
    [[ $(stat -c '%U:%G %a' /etc/penstock) == "root:penstock 750" ]] || fail "/etc/penstock: $(stat -c '%U:%G %a' /etc/penstock)"
    [[ $(stat -c '%U:%G %a' /var/lib/penstock) == "penstock:penstock 750" ]] || fail "/var/lib/penstock"
    for program in penstock penstock-pool penstock-door penstock-bench; do
        "$program" --version
        [[ -f /usr/share/bash-completion/completions/$program && -f /usr/share/zsh/vendor-completions/_$program ]] ||
            fail "shells know nothing of $program"
        # dpkg may be told to leave man pages out, as in containers; what is there must be one.
        [[ ! -f /usr/share/man/man1/$program.1.gz ]] || zcat "/usr/share/man/man1/$program.1.gz" | grep -q '^\.TH ' ||
            fail "$program.1.gz is no man page"
    done
    step "the units as installed"
    systemd-analyze verify --man=no /usr/lib/systemd/system/penstock{,-pool,-door}.service \
        /usr/lib/systemd/system/penstock-pool@i.service /usr/lib/systemd/system/penstock-door{,-https}.socket 2>&1 |
        { ! grep penstock; } || fail "systemd-analyze verify complains"

    step "penstock.service, by its user"
    # Before the first start, with nothing there yet but the directory.
    runuser -u penstock -- penstock check --data /var/lib/penstock || fail "penstock check"
    [[ -z $(ls -A /var/lib/penstock) ]] || fail "penstock check has left something behind"
    start_unit penstock.service
    wait_for "penstock ready: " penstock.service
    store_and_fetch http://127.0.0.1:2880 /var/lib/penstock/token one
    [[ $(stat -c '%U %a' /var/lib/penstock/token) == "penstock 600" ]] || fail "the token can be read by others"
    stop "$daemon"

    step "pool and door apart, with the example configurations"
    install -o root -g penstock -m 640 /usr/share/doc/penstock/examples/{pool,door}.toml /etc/penstock/
    rm -rf /var/lib/penstock/*
    runuser -u penstock -- penstock-door --config /etc/penstock/door.toml --init-token /var/lib/penstock/token
    # Names of the example are nobody's; all else must be well, or become so with the pool.
    runuser -u penstock -- penstock-door check --json | grep '"failed"' | grep -v 'door.example.org' && fail "penstock-door check"
    # The example's name for clients is nobody's here.
    sed -i 's/^advertise = .*/advertise = "127.0.0.1:2881"/' /etc/penstock/pool.toml
    local pool door
    start_unit penstock-pool.service
    pool=$daemon
    wait_for "penstock-pool ready: " penstock-pool.service
    start_unit penstock-door.service
    door=$daemon
    wait_for "penstock-door ready: " penstock-door.service
    # The door finds the pool by itself, soon.
    for _ in $(seq 100); do
        curl -fsL -H "Authorization: Bearer $(cat /var/lib/penstock/token)" -T /etc/hostname \
            http://127.0.0.1:2880/two >/dev/null && break
        sleep 0.1
    done
    store_and_fetch http://127.0.0.1:2880 /var/lib/penstock/token three
    runuser -u penstock -- penstock-pool status
    stop "$door"
    stop "$pool"

    step "install again: an upgrade"
    dpkg --install "$1"

    step "remove"
    dpkg --remove penstock
    [[ ! -e /usr/bin/penstock-pool ]] || fail "penstock-pool is still there"
    [[ -n $(find /var/lib/penstock/pool01/data -type f) ]] || fail "what was stored has gone"
    [[ -f /etc/logrotate.d/penstock && -f /etc/penstock/pool.toml ]] || fail "configuration has gone before the purge"

    step "purge"
    dpkg --purge penstock
    [[ ! -e /etc/logrotate.d/penstock ]] || fail "the package's configuration is still there"
    [[ -f /etc/penstock/pool.toml ]] || fail "the admin's configuration has gone"
    [[ -n $(find /var/lib/penstock/pool01/data -type f) ]] || fail "what was stored has gone with the purge"
    dpkg --listfiles penstock 2>/dev/null && fail "dpkg still knows of it"
    return 0
}

# As a system that knows nothing of the .deb. What it depends on is Debian's here, which rpm does not know.
rpm_on_the_copy() {
    step "install the .rpm"
    userdel penstock
    rm -rf /etc/penstock /var/lib/penstock/*
    rpm --install --nodeps "$1"
    id penstock >/dev/null || fail "there is no user penstock"
    # Says nothing when every file is there with its bytes, mode and owner.
    rpm --verify --nodeps penstock || fail "rpm --verify finds what is not as in the package"
    [[ $(stat -c '%U:%G %a' /etc/penstock) == "root:penstock 750" ]] || fail "/etc/penstock: $(stat -c '%U:%G %a' /etc/penstock)"
    for program in penstock penstock-pool penstock-door penstock-bench; do
        "$program" --version
        [[ -f /usr/share/zsh/site-functions/_$program ]] || fail "zsh knows nothing of $program"
    done
    step "penstock.service of the .rpm, by its user"
    start_unit penstock.service
    wait_for "penstock ready: " penstock.service
    store_and_fetch http://127.0.0.1:2880 /var/lib/penstock/token one
    stop "$daemon"
    touch /etc/penstock/pool.toml
    step "upgrade and remove the .rpm"
    rpm --upgrade --nodeps --replacepkgs "$1"
    rpm --verify --nodeps penstock || fail "after an upgrade rpm --verify finds what is not as in the package"
    rpm --erase penstock
    [[ ! -e /usr/bin/penstock-pool ]] || fail "penstock-pool is still there"
    [[ -f /etc/penstock/pool.toml ]] || fail "the admin's configuration has gone"
    [[ -f /var/lib/penstock/token ]] || fail "what was stored has gone"
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
    prepare "${1:?a package}" "${2-}"
fi
