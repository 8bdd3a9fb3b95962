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
    cat >"$root/etc/systemd/system/test-of-penstock.service" <<-'END'
		[Unit]
		Requires=basic.target
		After=basic.target
		SuccessAction=poweroff-force
		FailureAction=poweroff-force
		[Service]
		Type=oneshot
		StandardOutput=file:/opt/test/out
		StandardError=file:/opt/test/out
		TimeoutStartSec=300
		ExecStart=/bin/bash -c 'source /opt/test/test.sh; on_the_machine && echo well >/opt/test/ended'
	END
    # A real file system for what is stored: overlays have no direct writes.
    timeout 360 systemd-nspawn --quiet --register=no --keep-unit --private-network --directory "$root" \
        --bind "$room/data:/var/lib/penstock" --boot systemd.unit=test-of-penstock.service >"$room/console" 2>&1 </dev/null ||
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

    pages_for_a_pool_that_runs

    step "stop: all end by themselves"
    systemctl stop penstock-door.socket penstock-door.service penstock-pool@second.service penstock-pool.service
    for unit in penstock-door penstock-pool@second penstock-pool; do
        is_ "$unit.service" Result success || fail "$unit did not end well"
    done

    step "a configuration that cannot be is not started, and the journal says why"
    echo 'colour = "blue"' >>/etc/penstock/pool.toml
    systemctl start penstock-pool.service 2>/dev/null && fail "it was started"
    journalctl --unit penstock-pool.service --no-pager --lines 20 | grep -m 1 colour || fail "nobody says why"

    pages_for_a_machine_of_its_own
    step "all good"
}

# What an admin types into the editor of `systemctl edit UNIT`.
edit() {
    cat >/opt/test/typed
    # Only on a terminal.
    script --quiet --return --command "SYSTEMD_EDITOR='cp /opt/test/typed' systemctl edit $1" /dev/null </dev/null ||
        fail "systemctl edit $1"
}

# The commands that the pages in docs/ name, as they stand there. The pool runs, and has moved files.
pages_for_a_pool_that_runs() {
    local id
    export SYSTEMD_PAGER=
    step "docs/records.md: records in the journal"
    sed -i '1i records = "journal"' /etc/penstock/pool.toml
    systemctl restart penstock-pool.service
    eventually "after a restart nothing is served" fetched one
    record() { journalctl -t penstock-pool PENSTOCK_RECORD=1 -o cat | grep '"state":"done"'; }
    eventually "the journal has no record" record
    id=$(journalctl -t penstock-pool PENSTOCK_RECORD=1 -o json --lines 1 |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["PENSTOCK_TRANSFER"])')
    [[ -n $(journalctl "PENSTOCK_TRANSFER=$id" -o cat) ]] || fail "the journal does not find a transfer by its id"

    step "docs/troubleshooting.md: where to look"
    systemctl status penstock-pool.service | grep 'Status: "' || fail "no words of its own in the status"
    journalctl -u penstock-pool.service -p warning -n 50
    journalctl -p warning -n 1
    curl -fsS http://127.0.0.1:2882/healthz >/dev/null || fail "it is not well"
    curl -s -o /dev/null -X POST -d x "$door/one"
    journalctl -u penstock-door.service --since -1h | grep -m 1 ' status=' || fail "no line for a request"
    journalctl -u 'penstock-pool*' --since -1h | grep -m 1 "$id" || fail "the log does not name the transfer $id"
    [[ $(systemctl show -p MainPID penstock-pool.service) == MainPID=[1-9]* ]] || fail "no process is told"
    runuser -u penstock -- penstock-pool --config /etc/penstock/pool.toml --check >/dev/null || fail "--check"
    runuser -u penstock -- penstock-pool status
    # Of all that it looks at, only the example's name is known to no DNS here.
    { runuser -u penstock -- penstock-door check || true; } | tee /dev/stderr | grep -q '^ok  *pool  *pool01: well' ||
        fail "check does not find the pool"

    step "docs/upgrade.md: drain, look, restart"
    runuser -u penstock -- penstock-pool drain
    draining() { systemctl status penstock-pool.service | grep draining; }
    eventually "the status does not say that the pool drains" draining
    systemctl restart penstock-pool.service
    eventually "after a restart the pool drains still" runuser -u penstock -- penstock-pool status
    curl -fsS --retry 30 --retry-delay 1 --retry-all-errors http://127.0.0.1:2882/healthz >/dev/null
    eventually "after a drain and a restart nothing is served" fetched one

    step "logrotate: reload of whatever runs"
    if command -v logrotate >/dev/null; then
        logrotate --force /etc/logrotate.d/penstock || fail "logrotate"
    fi
    systemctl reload 'penstock*.service' || fail "some unit does not reload"

    step "docs/install.md, docs/tuning.md: drop-ins"
    edit penstock-pool@second.service <<<$'[Service]\nCPUAffinity=0\nNUMAPolicy=bind\nNUMAMask=0'
    systemctl restart penstock-pool@second.service || fail "a pool with processors of its own does not start"
    install -d -o penstock -g penstock -m 750 /srv/pool01
    edit penstock-pool.service <<<$'[Unit]\nRequiresMountsFor=/srv/pool01\n[Service]\nReadWritePaths=/srv/pool01'
    systemctl restart penstock-pool.service || fail "a pool with a drop-in for its disk does not start"
    systemctl cat penstock-pool.service | grep -q '^ReadWritePaths=/srv/pool01$' || fail "the drop-in is not there"
    edit penstock-pool.service <<<$'[Service]\nSystemCallFilter=\nSystemCallFilter=~@clock @cpu-emulation @debug @keyring @module @mount @obsolete @privileged @raw-io @reboot @swap'
    systemctl restart penstock-pool.service || fail "a pool with the other list of system calls does not start"
    eventually "with the other list of system calls nothing is served" fetched one
    edit penstock-door.socket <<<$'[Socket]\nListenStream=\nListenStream=127.0.0.1:80'
    systemctl stop penstock-door.service
    systemctl restart penstock-door.socket || fail "a port below 1024"
    eventually "nobody answers at port 80" curl -fsSL -H "$auth" -o /dev/null http://127.0.0.1/one
}

# A site in one process, as docs/install.md has it.
pages_for_a_machine_of_its_own() {
    step "docs/troubleshooting.md: after five failures, reset-failed"
    for _ in 1 2 3 4 5 6; do systemctl start penstock-pool.service 2>/dev/null || true; done
    systemctl reset-failed penstock-pool.service

    step "docs/install.md: one machine"
    rm -rf /var/lib/penstock/*
    systemctl enable --now penstock.service || fail "the site in one process does not start"
    systemctl status penstock.service | grep 'Status: "' || fail "no words of its own in the status"
    [[ -s /var/lib/penstock/token ]] || fail "there is no first token"
    install -m 640 -g penstock /usr/share/doc/penstock/examples/penstock.toml /etc/penstock/penstock.toml
    edit penstock.service <<'TYPED'
[Service]
ExecStart=
ExecStart=/usr/bin/penstock serve --config /etc/penstock/penstock.toml
Environment=PENSTOCK_SITE_POOL_ADVERTISE=127.0.0.1:2881
TYPED
    penstock config --config /etc/penstock/penstock.toml | grep '^listen .*/etc/penstock/penstock.toml' ||
        fail "the configuration is not told"
    systemctl restart penstock.service || fail "the site does not start with its file"
    auth="Authorization: Bearer $(cat /var/lib/penstock/token)"
    eventually "an upload does not go through" stored two
    fetched two || fail "what came back is not what was stored"
    systemctl reload penstock.service || fail "the site does not reload"
    systemctl stop penstock.service
    is_ penstock.service Result success || fail "the site did not end well"
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
    boot "${1:?a package}"
fi
