//! Metrics as Prometheus' own tools see them, and what the dashboard and the alerts make of them.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use penstock_tests::binaries::binary;
use penstock_tests::certificates::Authority;
use penstock_tests::cluster::make_keys;
use penstock_tests::curl::Curl;
use penstock_tests::daemon::Daemon;
use penstock_tests::files;
use penstock_tests::lone_pool::LonePool;
use penstock_tests::ports;
use penstock_tests::room::Room;
use penstock_tests::site::Site;

fn monitoring() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/monitoring")
}

/// Names of metrics in a text, as they stand there.
fn names(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !is_part(c)).filter(|word| word.starts_with("penstock_")).map(str::to_owned).collect()
}

/// Names of samples in what an admin port says.
fn samples(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
}

/// Runs promtool with this on its standard input.
fn promtool(arguments: &[&str], input: &str) {
    let mut child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed (Debian: apt-get install prometheus)");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "promtool {arguments:?}:\n{said}");
}

#[test]
fn promtool_finds_nothing_to_complain_of_in_door_and_pool() {
    let site = Site::start();
    let file = files::file(site.room(), "in", 1000, 1);
    let _ = site.put("/file", &file).expect(201);
    let _ = site.get("/file").expect(200);
    let text = Curl::new(format!("{}/metrics", site.admin)).run().expect(200).text();
    assert!(text.contains("penstock_door_copies_total"), "the site's one port tells of both");
    promtool(&["check", "metrics"], &text);
}

#[test]
fn promtool_finds_nothing_to_complain_of_in_a_door_alone() {
    let room = Room::new();
    let pool = LonePool::start("");
    let [listen, admin] = ports::free();
    let config = room.join("door.toml");
    let text = format!(
        "listen = \"{listen}\"\nadmin_listen = \"{admin}\"\nnamespace = \"{0}/names\"\nmacaroon_keys = \"{0}/keys\"\n\
         [[pools]]\nname = \"pool01\"\nsocket = \"{1}\"\n",
        room.path().display(),
        pool.socket().display()
    );
    std::fs::write(&config, text).unwrap();
    make_keys(&config, &room.join("token"));
    let mut command = Command::new(binary("penstock-door"));
    let mut door = Daemon::spawn("penstock-door", command.arg("--config").arg(&config));
    let _ = door.line("penstock-door ready: ");
    let text = Curl::new(format!("http://{admin}/metrics")).run().expect(200).text();
    assert!(samples(&text).contains("penstock_door_broken_files"), "{text}");
    promtool(&["check", "metrics"], &text);
}

#[test]
fn prometheus_gets_openmetrics_when_it_asks_for_it() {
    let pool = LonePool::start("");
    let url = format!("http://{}/metrics", pool.admin);
    let asked =
        Curl::new(&url).header("Accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
    let answer = asked.run().expect(200);
    assert!(answer.header("Content-Type").unwrap().starts_with("application/openmetrics-text"));
    assert!(answer.text().ends_with("# EOF\n"));
    let plain = Curl::new(&url).run().expect(200);
    assert!(plain.header("Content-Type").unwrap().starts_with("text/plain; version=0.0.4"));
    assert_eq!(samples(&plain.text()), samples(&answer.text()), "the same numbers in both");
}

/// Every name of a sample that a site and a pool with TLS tell of, once something was moved that has a SciTag.
fn told_by_a_running_site() -> BTreeSet<String> {
    let room = Room::new();
    let identity = Authority::new(room.path(), "ca").issue("localhost");
    let (pool, _) = LonePool::start_secured(&identity, "");
    let site = Site::start();
    let file = files::file(site.room(), "in", 1000, 1);
    let _ = site.curl("/tagged").follow().header("SciTag", "144").upload(&file).run().expect(201);
    let mut known = samples(&Curl::new(format!("http://{}/metrics", pool.admin)).run().expect(200).text());
    known.extend(samples(&Curl::new(format!("{}/metrics", site.admin)).run().expect(200).text()));
    known
}

#[test]
fn the_page_names_only_what_a_running_site_tells_and_marking_is_on_all_three() {
    let known = told_by_a_running_site();
    let page = std::fs::read_to_string(monitoring().join("README.md")).unwrap();
    let table = page.split("## What there is").nth(1).unwrap();
    let cells = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    let mut named = 0;
    for name in cells.flat_map(|cell| cell.split('`')).map(|name| name.split('{').next().unwrap()) {
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        // "scrub_…" stands for all that begin so.
        if let Some(prefix) = name.strip_suffix('…') {
            assert!(known.iter().any(|known| known.starts_with(&format!("penstock_{prefix}"))), "{name}");
        } else if is_name {
            let (whole, histogram) = (format!("penstock_{name}"), format!("penstock_{name}_bucket"));
            assert!(known.contains(&whole) || known.contains(&histogram), "{name} is not among {known:?}");
            named += 1;
        }
    }
    assert!(named > 40, "only {named} names were found");
    for file in ["README.md", "dashboard.json", "alerts.yml"] {
        let text = std::fs::read_to_string(monitoring().join(file)).unwrap();
        assert!(text.contains("marked_flows_total") && text.contains("fireflies_total"), "{file}");
    }
}

#[test]
fn the_dashboard_and_the_alerts_name_only_what_a_running_site_tells() {
    let known = told_by_a_running_site();
    for file in ["dashboard.json", "alerts.yml"] {
        let text = std::fs::read_to_string(monitoring().join(file)).unwrap();
        let named = names(&text);
        assert!(named.len() > 10, "{file}: {named:?}");
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(unknown.is_empty(), "{file} names what there is not: {unknown:?}\nthere is {known:?}");
    }
}

#[test]
fn the_alert_rules_are_rules() {
    let rules = monitoring().join("alerts.yml");
    promtool(&["check", "rules", rules.to_str().unwrap()], "");
}

#[test]
fn the_dashboard_is_json_whose_panels_do_not_overlap() {
    let text = std::fs::read_to_string(monitoring().join("dashboard.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let place = |panel: &serde_json::Value, name: &str| panel["gridPos"][name].as_u64().unwrap();
    for (index, a) in panels.iter().enumerate() {
        for b in &panels[..index] {
            let apart = place(a, "x") + place(a, "w") <= place(b, "x")
                || place(b, "x") + place(b, "w") <= place(a, "x")
                || place(a, "y") + place(a, "h") <= place(b, "y")
                || place(b, "y") + place(b, "h") <= place(a, "y");
            assert!(apart, "{} and {}", a["title"], b["title"]);
        }
    }
}
