#!/usr/bin/env bash
# Installs the .deb on a machine that systemd runs, and uses its units as an admin does: start, reload, kill, hang, stop.
#
#   packaging/test-systemd.sh PACKAGE.deb
#
# As root, with systemd-nspawn (Debian: systemd-container). The machine is a container on a copy of this machine's files (an
# overlay that goes away with the test), with its own systemd as its first process and no network but its own loopback.
set -euo pipefail

fail() {
    echo "packaging/test-systemd.sh: $*" >&2
    exit 1
}

step() {
    printf -- '--- %s\n' "$*"
}

# Outside: the container, which switches itself off when its one service has ended, well or not.
boot() {
    ((EUID == 0)) || fail "needs root, for a container"
    command -v systemd-nspawn >/dev/null || fail "there is no systemd-nspawn (Debian: systemd-container)"
    [[ -f $1 ]] || fail "there is no package $1"
    local room root
    room=$(mktemp -d /var/tmp/penstock-systemd-test.XXXXXX)
    root=$room/root
    # shellcheck disable=SC2064
    trap "umount '$root' 2>/dev/null; rm -rf '$room'" EXIT
    mkdir -p "$room/upper" "$room/work" "$root" "$room/data"
    mount -t overlay overlay -o "lowerdir=/,upperdir=$room/upper,workdir=$room/work" "$root"
    mkdir -p "$root/opt/test"
    cp "$1" "$root/opt/test/penstock.deb"
    cp "${BASH_SOURCE[0]}" "$root/opt/test/test.sh"
    cat >"$root/etc/systemd/system/penstock-test.service" <<-'END'
		[Unit]
		Requires=basic.target
		After=basic.target
		SuccessAction=poweroff-force
		FailureAction=poweroff-force
		[Service]
		Type=oneshot
		StandardOutput=file:/opt/test/out
		StandardError=file:/opt/test/out
		TimeoutStartSec=180
		ExecStart=/bin/bash -c 'source /opt/test/test.sh; on_the_machine && echo well >/opt/test/ended'
	END
    # A real file system for what is stored: overlays have no direct writes.
    timeout 240 systemd-nspawn --quiet --register=no --keep-unit --private-network --directory "$root" \
        --bind "$room/data:/var/lib/penstock" --boot systemd.unit=penstock-test.service >"$room/console" 2>&1 </dev/null ||
        true
    if [[ ! -f $root/opt/test/out ]]; then
        # Before anything of ours was tried: within another container, or without control groups.
        echo "skipped: systemd-nspawn starts no machine here: $(tail -1 "$room/console")"
        return
    fi
    cat "$root/opt/test/out"
    [[ -f $root/opt/test/ended ]] || fail "it did not end well"
}

eventually() {
    local what=$1
    shift
    for _ in $(seq 200); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.1
    done
    systemctl status --no-pager 'penstock*' || true
    fail "$what"
}

# How a unit is: `is_ UNIT PROPERTY PATTERN`.
is_() {
    # shellcheck disable=SC2053
    [[ $(systemctl show --value --property "$2" "$1") == $3 ]]
}

# Runs under another number than before, and says that it is ready.
runs_anew() {
    is_ "$1" ActiveState active && ! is_ "$1" MainPID "$2"
}

on_the_machine() {
    export DEBIAN_FRONTEND=noninteractive
    local door=http://127.0.0.1:2880 pid
    step "install: nothing is started"
    dpkg --install /opt/test/penstock.deb
    [[ -z $(systemctl list-units --no-legend --state=active 'penstock-pool*' 'penstock-door*' penstock.service) ]] ||
        fail "something was started by installing it"

    step "a pool: systemctl enable --now"
    install -o root -g penstock -m 640 /usr/share/doc/penstock/examples/{pool,door}.toml /etc/penstock/
    sed -i 's/^advertise = .*/advertise = "127.0.0.1:2881"/' /etc/penstock/pool.toml
    systemctl enable --now penstock-pool.service
    is_ penstock-pool.service ActiveState active || fail "the pool is not active when systemctl start returns"
    eventually "the pool has no status line" is_ penstock-pool.service StatusText "?*"
    systemctl show --property StatusText penstock-pool.service

    step "a door behind its socket: the first connection starts it"
    # What the door trusts clients by needs a token first.
    runuser -u penstock -- penstock-door --config /etc/penstock/door.toml --init-token /var/lib/penstock/token
    systemctl enable --now penstock-door.socket
    is_ penstock-door.service ActiveState inactive || fail "the door runs before anybody has asked"
    local auth
    auth="Authorization: Bearer $(cat /var/lib/penstock/token)"
    head -c 3000001 /dev/urandom >/opt/test/file
    stored() { curl -fsSL -H "$auth" -H 'Expect: 100-continue' -T /opt/test/file "$door/$1"; }
    fetched() { curl -fsSL -H "$auth" "$door/$1" | cmp - /opt/test/file; }
    eventually "an upload does not go through" stored one
    is_ penstock-door.service ActiveState active || fail "nobody has started the door"
    fetched one || fail "what came back is not what was stored"

    step "reload"
    systemctl reload penstock-pool.service penstock-door.service
    pid=$(systemctl show --value --property MainPID penstock-pool.service)
    fetched one || fail "after a reload nothing is served"

    step "a broken configuration: the old one stays"
    cp /etc/penstock/pool.toml /opt/test/pool.toml
    echo 'colour = "blue"' >>/etc/penstock/pool.toml
    systemctl reload penstock-pool.service
    eventually "no line says that the configuration is broken" \
        bash -c 'journalctl --unit penstock-pool.service --no-pager | grep -q colour'
    is_ penstock-pool.service MainPID "$pid" || fail "a broken configuration has ended the pool"
    cp /opt/test/pool.toml /etc/penstock/pool.toml

    step "a door that is restarted keeps who comes meanwhile"
    (fetched one) &
    systemctl restart penstock-door.service
    wait $! || fail "a download failed while the door was restarted"

    step "killed: it comes back"
    kill -KILL "$pid"
    eventually "the pool does not come back after a kill" runs_anew penstock-pool.service "$pid"
    eventually "after a kill nothing is served" fetched one

    step "hung: the watchdog ends it, and it comes back"
    mkdir -p /run/systemd/system/penstock-pool.service.d
    printf '[Service]\nWatchdogSec=3\n' >/run/systemd/system/penstock-pool.service.d/test.conf
    systemctl daemon-reload
    systemctl restart penstock-pool.service
    sleep 5
    is_ penstock-pool.service NRestarts 0 || fail "a pool that is well was ended by the watchdog"
    pid=$(systemctl show --value --property MainPID penstock-pool.service)
    kill -STOP "$pid"
    eventually "a pool that hangs is left alone" runs_anew penstock-pool.service "$pid"
    journalctl --unit penstock-pool.service --no-pager | grep -i watchdog | tail -1
    eventually "after that nothing is served" fetched one

    step "a second pool on the machine"
    sed 's/pool01/second/; s/2881/2891/' /etc/penstock/pool.toml >/etc/penstock/pool-second.toml
    sed -i 's/^root = .*/root = "\/var\/lib\/penstock\/second"/' /etc/penstock/pool-second.toml
    printf '[admin]\nlisten = "127.0.0.1:2892"\n' >>/etc/penstock/pool-second.toml
    systemctl enable --now penstock-pool@second.service ||
        fail "the second pool does not start: $(journalctl --unit penstock-pool@second.service --no-pager --lines 5)"
    is_ penstock-pool@second.service ActiveState active || fail "the second pool does not run"

    step "stop: all end by themselves"
    systemctl stop penstock-door.socket penstock-door.service penstock-pool@second.service penstock-pool.service
    for unit in penstock-door penstock-pool@second penstock-pool; do
        is_ "$unit.service" Result success || fail "$unit did not end well"
    done

    step "a configuration that cannot be is not started, and the journal says why"
    echo 'colour = "blue"' >>/etc/penstock/pool.toml
    systemctl start penstock-pool.service 2>/dev/null && fail "it was started"
    journalctl --unit penstock-pool.service --no-pager --lines 20 | grep -m 1 colour || fail "nobody says why"
    step "all good"
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
    boot "${1:?a package}"
fi
