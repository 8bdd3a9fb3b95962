//! The pool over TCP with mutual TLS, and the standard services beside the contract's.

use std::net::SocketAddr;

use penstock_door_proto::v1;
use penstock_door_proto::v1::pool_client::PoolClient;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::pool::{self, Stage};
use crate::config::{Config, GrpcEndpoint, TlsFiles};
use crate::control::daemon::RunningPool;
use crate::control::grpc::listen::GrpcAddress;

/// A certificate authority.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Certificate and key of somebody, in PEM.
    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

async fn secured_pool(authority: &Authority) -> (RunningPool, SocketAddr, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = authority.sign("pool1.example.org");
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let files = TlsFiles {
        cert: write("cert.pem", &cert),
        key: write("key.pem", &key),
        client_ca: write("ca.pem", &authority.pem),
    };
    let mut config = Config::new("pool1", dir.path().join("root"));
    config.admin_listen = "127.0.0.1:0".parse().unwrap();
    config.grpc = GrpcEndpoint::Tls { listen: "127.0.0.1:0".parse().unwrap(), files };
    let (pool, _, _) = pool::start(config).await.unwrap();
    let GrpcAddress::Tcp(address) = *pool.grpc_addr() else { panic!("not TCP") };
    (pool, address, dir)
}

async fn call(address: SocketAddr, tls: ClientTlsConfig) -> Result<v1::DrainResponse, String> {
    let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap();
    let channel = endpoint.tls_config(tls).unwrap().connect().await.map_err(|error| format!("{error:?}"))?;
    let answer = PoolClient::new(channel).drain(v1::DrainRequest::default()).await;
    answer.map(tonic::Response::into_inner).map_err(|status| status.to_string())
}

fn trusting(authority: &Authority) -> ClientTlsConfig {
    ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&authority.pem))
        .domain_name("pool1.example.org")
}

#[tokio::test]
async fn only_doors_with_a_certificate_of_the_right_authority_are_let_in() {
    let authority = Authority::new();
    let (_pool, address, _dir) = secured_pool(&authority).await;

    let (cert, key) = authority.sign("door1.example.org");
    let door = trusting(&authority).identity(Identity::from_pem(cert, key));
    assert_eq!(call(address, door).await, Ok(v1::DrainResponse { remaining: 0 }));

    assert!(call(address, trusting(&authority)).await.is_err(), "without a certificate");

    let (cert, key) = Authority::new().sign("door1.example.org");
    let stranger = trusting(&authority).identity(Identity::from_pem(cert, key));
    assert!(call(address, stranger).await.is_err(), "with a certificate of somebody else");
}

#[tokio::test]
async fn a_new_certificate_and_a_new_authority_count_after_a_reload_and_broken_ones_never() {
    let old = Authority::new();
    let (pool, address, dir) = secured_pool(&old).await;
    let door_of = |authority: &Authority| {
        let (cert, key) = authority.sign("door1.example.org");
        trusting(authority).identity(Identity::from_pem(cert, key))
    };
    let new = Authority::new();
    assert!(call(address, door_of(&new)).await.is_err());

    std::fs::write(dir.path().join("cert.pem"), "nonsense").unwrap();
    pool.reload().await;
    assert!(call(address, door_of(&old)).await.is_ok(), "the old one stays");

    let (cert, key) = new.sign("pool1.example.org");
    for (name, text) in [("cert.pem", &cert), ("key.pem", &key), ("ca.pem", &new.pem)] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    pool.reload().await;
    assert!(call(address, door_of(&new)).await.is_ok());
    assert!(call(address, door_of(&old)).await.is_err(), "the old authority lets nobody in any more");
}

#[tokio::test]
async fn the_standard_health_service_follows_the_pools_draining() {
    let stage = Stage::new().await;
    let mut health = HealthClient::new(stage.channel.clone());
    let request = tonic_health::pb::HealthCheckRequest { service: "penstock.pool.v1.Pool".into() };
    let mut watch = health.watch(request).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    stage.client.clone().drain(v1::DrainRequest::default()).await.unwrap();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
}

#[tokio::test]
async fn the_contract_can_be_read_from_the_pool_itself() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let stage = Stage::new().await;
    let request = tonic_reflection::pb::v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = ServerReflectionClient::new(stage.channel.clone())
        .server_reflection_info(tokio_stream::iter([request]))
        .await
        .unwrap()
        .into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) =
        answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("no list of services");
    };
    let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    assert!(names.contains(&"penstock.pool.v1.Pool".to_owned()), "{names:?}");
    assert!(names.contains(&"grpc.health.v1.Health".to_owned()), "{names:?}");
}

#[tokio::test]
async fn a_second_daemon_on_the_same_directory_is_refused() {
    let stage = Stage::new().await;
    let mut config = Config::new("pool1", &stage.pool.config().root);
    config.admin_listen = "127.0.0.1:0".parse().unwrap();
    config.data_listen = "127.0.0.1:0".parse().unwrap();
    let error = crate::control::daemon::Pool::start(config).await.unwrap_err().to_string();
    assert!(error.contains("lock") || error.contains("use"), "{error}");
}
