//! The door on a socket that the service manager has opened.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use penstock_tests::curl::Curl;
use penstock_tests::manager::start_on;
use penstock_tests::pair::Pair;

#[test]
fn while_the_door_is_restarted_clients_wait_at_its_socket() {
    let mut pair = Pair::start("");
    pair.door.terminate();
    assert!(pair.door.ended().success());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let config = pair.directory().join("door.toml");
    let arguments: [&Path; 2] = [Path::new("--config"), &config];
    let ask = || {
        Curl::new(format!("http://{address}/"))
            .token(Some(&pair.token))
            .method("PROPFIND")
            .header("Depth", "0")
            .start()
    };

    let early = ask();
    std::thread::sleep(Duration::from_millis(300));
    let mut first = start_on(&listener, "penstock-door", &arguments);
    let _ = early.wait().expect(207);

    let ready = first.line("penstock-door ready: ");
    assert!(ready.ends_with(&address.to_string()), "{ready}");
    first.terminate();
    assert!(first.ended().success());
    let between = ask();
    let mut second = start_on(&listener, "penstock-door", &arguments);
    let _ = between.wait().expect(207);
    second.terminate();
    assert!(second.ended().success());
}

#[test]
fn what_is_no_listening_socket_is_refused() {
    let mut pair = Pair::start("");
    pair.door.terminate();
    assert!(pair.door.ended().success());
    let config = pair.directory().join("door.toml");
    let mut command = std::process::Command::new("sh");
    let hand_over = "exec 3</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"";
    command.args(["-c", hand_over, "sh"]).arg(penstock_tests::binaries::binary("penstock-door"));
    command.arg("--config").arg(&config);

    let mut daemon = penstock_tests::daemon::Daemon::spawn("penstock-door", &mut command);

    assert!(!daemon.ended().success());
    let said = daemon.stderr();
    assert!(said.contains("socket activation: socket 0 of the service manager is no TCP listener"), "{said}");
}
