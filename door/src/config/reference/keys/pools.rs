//! The pools that the door gives work to.

use penstock_service::reference::Default::{Otherwise, Required};
use penstock_service::reference::Form::{Authority, Path, Text};
use penstock_service::reference::Key;

/// In the order in which a reader wants to know of them.
pub const KEYS: &[Key] = &[
    Key::new(
        "pools.name",
        Text,
        Required,
        "\"pool01\"",
        "The pool's name, as its own configuration has it.",
        "It is kept with each file that is put there.",
    ),
    Key::new(
        "pools.socket",
        Path,
        Otherwise("address is given"),
        "\"/var/lib/penstock/pool01/grpc.sock\"",
        "Its Unix socket, on this machine.",
        "Who may open it is the pool's peer: no certificates are needed.",
    ),
    Key::new(
        "pools.address",
        Authority,
        Otherwise("socket is given"),
        "\"pool02.example.org:2883\"",
        "Where its gRPC port is, on another machine.",
        "Needs pools.tls.",
    ),
    Key::new(
        "pools.tls.ca",
        Path,
        Required,
        "\"/etc/penstock/ca.pem\"",
        "PEM file of the authority that signed the pool's certificate.",
        "Required with pools.address: who commands a pool must know whom it talks to.",
    ),
    Key::new(
        "pools.tls.cert",
        Path,
        Required,
        "\"/etc/penstock/door.pem\"",
        "PEM file of the certificate chain that the door shows.",
        "The pool believes its grpc.client_ca.",
    ),
    Key::new(
        "pools.tls.key",
        Path,
        Required,
        "\"/etc/penstock/door.key\"",
        "PEM file of its private key.",
        "Without a passphrase, readable for the daemon only.",
    ),
    Key::new(
        "pools.tls.domain",
        Text,
        Otherwise("the host of address"),
        "\"pool02.example.org\"",
        "The name in the pool's certificate, where it differs from the host in address.",
        "For addresses without a name.",
    ),
];
