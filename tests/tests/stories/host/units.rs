//! The units, as systemd's own tools see them.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use penstock_tests::binaries::binary;
use penstock_tests::files::{self, MIB};
use penstock_tests::room::Room;
use penstock_tests::site::Plan;
use rustix::process::Signal;

/// What `systemd-analyze security` may give at most.
const EXPOSURE_MAX: f64 = 1.5;
const SERVICES: [&str; 4] =
    ["penstock-pool.service", "penstock-pool@.service", "penstock-door.service", "penstock.service"];

fn systemd() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd")
}

fn unit(name: &str) -> String {
    std::fs::read_to_string(systemd().join(name)).unwrap()
}

/// The lines that mean something.
fn settings(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect()
}

fn has_systemd_analyze() -> bool {
    let there = Command::new("systemd-analyze").arg("--version").output().is_ok();
    if !there {
        println!("skipped: systemd-analyze (Debian package systemd) is not here");
    }
    there
}

#[test]
fn systemd_finds_nothing_to_complain_of() {
    if !has_systemd_analyze() {
        return;
    }
    // It looks whether the programs are there: let them be those of this build.
    let room = Room::new();
    let mut files = Vec::new();
    for name in SERVICES.iter().copied().chain(["penstock-door.socket", "penstock-door-https.socket"]) {
        let mut text = unit(name);
        for program in ["penstock-pool", "penstock-door", "penstock"] {
            let installed = format!("=/usr/bin/{program} ");
            text = text.replace(&installed, &format!("={} ", binary(program).display()));
        }
        assert!(!text.contains("/usr/bin/penstock"), "{name}");
        let path = room.join(name);
        // The template is looked at as an instance of itself.
        std::fs::write(&path, text).unwrap();
        files.push(path);
    }

    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&files).output().unwrap();

    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // What it says of units that this machine has is not about ours.
    let ours: Vec<_> = said.lines().filter(|line| line.contains("penstock")).collect();
    assert!(ours.is_empty() && output.status.success(), "{said}");
}

#[test]
fn each_unit_is_closed_as_far_as_it_can_be() {
    if !has_systemd_analyze() {
        return;
    }
    for name in SERVICES {
        let output = Command::new("systemd-analyze")
            .args(["security", "--offline=yes", "--no-pager", "--threshold=15"])
            .arg(systemd().join(name))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let exposure = said
            .lines()
            .find_map(|line| line.split_once("Overall exposure level for ")?.1.split_whitespace().nth(1))
            .and_then(|number| number.parse::<f64>().ok());
        let exposure = exposure.unwrap_or_else(|| panic!("{name}: no exposure in {said}"));
        assert!(exposure <= EXPOSURE_MAX, "{name}: {exposure}\n{said}");
        assert!(output.status.success(), "{name}: beyond the threshold\n{said}");
    }
}

/// The system calls of one of systemd's sets, and of the sets in it.
fn system_calls(set: &str) -> BTreeSet<String> {
    let output =
        Command::new("systemd-analyze").args(["syscall-filter", "--no-pager", set]).output().unwrap();
    let mut calls = BTreeSet::new();
    for line in String::from_utf8_lossy(&output.stdout).lines().skip(1).map(str::trim) {
        if line.starts_with('@') {
            calls.extend(system_calls(line));
        } else if !line.is_empty() && !line.starts_with('#') {
            calls.insert(line.to_owned());
        }
    }
    calls
}

/// What a unit lets through: its lines in their order (systemd.exec(5), SystemCallFilter).
fn let_through(unit: &str) -> BTreeSet<String> {
    let mut calls = system_calls("@default");
    for line in settings(unit).into_iter().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let (forbids, names) = line.strip_prefix('~').map_or((false, line), |names| (true, names));
        for name in names.split(' ') {
            let named = if name.starts_with('@') { system_calls(name) } else { [name.to_owned()].into() };
            if forbids {
                calls.retain(|call| !named.contains(call));
            } else {
                calls.extend(named);
            }
        }
    }
    calls
}

#[test]
fn every_system_call_that_a_site_makes_is_let_through_by_its_unit() {
    if !has_systemd_analyze() {
        return;
    }
    let room = Room::for_everyone();
    let program = room.join("penstock");
    std::fs::copy(binary("penstock"), &program).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let counts = room.join("counts");
    let mut wrapper = Vec::new();
    if rustix::process::geteuid().is_root() {
        // Some libraries do more for root.
        wrapper.extend(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"].map(str::to_owned));
    }
    wrapper.extend(["strace", "-f", "-c", "-o"].map(str::to_owned));
    wrapper.push(counts.display().to_string());
    let mut site = Plan::new().through(wrapper).program(program).room(room).start();
    for size in [100, 3 * MIB + 1] {
        let file = files::file(site.room(), "in", size, size);
        let path = format!("/file{size}");
        let _ = site.put(&path, &file).expect(201);
        assert!(site.get(&path).expect(200).body == std::fs::read(&file).unwrap());
        let _ = site.curl(&path).method("DELETE").run().expect(204);
    }
    let _ = site.metrics();
    // strace hands the signals on, and writes its table when the daemon has ended.
    let children = format!("/proc/{0}/task/{0}/children", site.daemon.id());
    let daemon = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
    let daemon = rustix::process::Pid::from_raw(daemon).unwrap();
    for signal in [Signal::HUP, Signal::TERM] {
        rustix::process::kill_process(daemon, signal).unwrap();
    }
    let _ = site.daemon.ended();

    let counts = std::fs::read_to_string(&counts).unwrap();
    let rows = counts.lines().filter(|line| line.trim_start().starts_with(|c: char| c.is_ascii_digit()));
    let made: BTreeSet<_> =
        rows.filter_map(|row| row.split_whitespace().last()).filter(|name| *name != "total").collect();
    assert!(made.contains("io_uring_enter") && made.len() > 30, "{counts}");
    let allowed = let_through(&unit("penstock.service"));
    let forbidden: Vec<_> = made.iter().filter(|call| !allowed.contains(**call)).collect();
    assert!(forbidden.is_empty(), "{forbidden:?}");
    let pool = let_through(&unit("penstock-pool.service"));
    assert_eq!(pool, allowed, "a pool alone may do the same");
}

#[test]
fn one_of_several_pools_runs_as_the_only_one_does() {
    let only = unit("penstock-pool.service").replace("/etc/penstock/pool.toml", "/etc/penstock/pool-%i.toml");
    let only = only.replace("Description=Penstock pool", "Description=Penstock pool %i");
    assert_eq!(settings(&unit("penstock-pool@.service")), settings(&only));
}

#[test]
fn every_unit_tells_its_state_reloads_drains_and_is_watched() {
    for name in SERVICES {
        let text = unit(name);
        let settings: BTreeMap<_, _> =
            settings(&text).into_iter().filter_map(|line| line.split_once('=')).collect();
        let expected = [
            ("Type", "notify"),
            ("NotifyAccess", "main"),
            ("WatchdogSec", "60"),
            ("ExecReload", "/bin/kill -HUP $MAINPID"),
            ("KillSignal", "SIGTERM"),
            ("Restart", "on-failure"),
            ("User", "penstock"),
        ];
        for (key, value) in expected {
            assert_eq!(settings.get(key), Some(&value), "{name}: {key}");
        }
        let rings = name != "penstock-door.service";
        assert_eq!(settings.get("LimitMEMLOCK").copied(), rings.then_some("infinity"), "{name}");
        assert!(settings.contains_key("LimitNOFILE"), "{name}");
    }
}

#[test]
fn every_kernel_setting_exists_and_has_a_reason() {
    let text = unit("sysctl.d/90-penstock.conf");
    let mut reason = false;
    let mut count = 0;
    for line in text.lines() {
        if line.starts_with('#') {
            reason = true;
        } else if line.is_empty() {
            reason = false;
        } else {
            let (name, value) = line.split_once(" = ").unwrap_or_else(|| panic!("{line}"));
            assert!(reason, "{line} has no reason before it");
            let path = format!("/proc/sys/{}", name.trim_start_matches('-').replace('.', "/"));
            // net.core is of the machine, not of the namespace that a container may be.
            assert!(
                Path::new(&path).exists() || name.starts_with('-') || name.starts_with("net."),
                "{name}: this kernel has no such setting"
            );
            assert!(value.split(' ').all(|number| number.parse::<u64>().is_ok()), "{line}");
            count += 1;
        }
    }
    assert!(count >= 6, "{count}");
}
