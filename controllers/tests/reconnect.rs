//! A client by kubeconfig over TLS: a cache goes on when the server has been away.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use coracle_apiserver::pki::{Kubeconfig, Pki, kubeconfig};
use coracle_apiserver::{ApiServer, Config};
use coracle_client::{Cache, Caches, Client, Failure as _};
use coracle_store::Store;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, PostParams};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

async fn serve(
    data: &Path,
    store: &Store,
    pki: &Pki,
    listener: TcpListener,
) -> (ApiServer, JoinHandle<()>) {
    let address = listener.local_addr().unwrap();
    let images = data.join("images");
    let server = ApiServer::new(Config::new(address, images), store.clone()).await.unwrap();
    let identity = pki.issue_serving(&["127.0.0.1".to_owned()]).unwrap();
    let tls = pki.server_config(&identity).unwrap();
    let serving = server.clone();
    let task = tokio::spawn(async move { serving.serve(listener, tls).await });
    (server, task)
}

/// Long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A socket at an address that is kept for whoever asks for the same: nobody else gets it while no server is there.
fn at(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

async fn create(client: &Client, name: &str) {
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    let map = ConfigMap { metadata, ..ConfigMap::default() };
    let api = client.namespaced("default");
    let made = async {
        loop {
            match api.create(&PostParams::default(), &map).await {
                Ok(_) => break,
                Err(error) if error.is_already_exists() => break,
                // Over a connection that ended with the server that was there before.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, made).await.unwrap();
}

async fn until_known(maps: &Cache<ConfigMap>, name: &str) {
    let mut changes = maps.subscribe();
    let known = async {
        while maps.get(Some("default"), name).is_none() {
            changes.next().await;
        }
    };
    tokio::time::timeout(PATIENCE, known).await.unwrap();
}

#[tokio::test]
async fn a_cache_goes_on_when_the_server_is_back() {
    let data = tempfile::tempdir().unwrap();
    let pki = Pki::open(data.path(), "2026-01-01T00:00:00Z".parse().unwrap()).unwrap();
    let store = Store::memory();
    let place = at("127.0.0.1:0".parse().unwrap());
    let address = place.local_addr().unwrap();
    let listener = at(address).listen(64).unwrap();
    let (first, serving) = serve(data.path(), &store, &pki, listener).await;

    let identity = pki.issue_client("admin", Some("system:masters")).unwrap();
    let path = data.path().join("kubeconfig");
    let text = kubeconfig(&Kubeconfig {
        server: &format!("https://{address}"),
        ca_certificate: pki.ca_certificate(),
        cluster: "test",
        user: "admin",
        identity: &identity,
    });
    std::fs::write(&path, text).unwrap();
    let client = Client::from_kubeconfig(&path).await.unwrap();
    let maps: Cache<ConfigMap> = Caches::new(client.clone()).get();
    maps.wait_synced().await;
    create(&client, "before").await;
    until_known(&maps, "before").await;

    first.shut_down();
    serving.await.unwrap();
    let listener = at(address).listen(64).unwrap();
    let (second, serving) = serve(data.path(), &store, &pki, listener).await;
    create(&client, "after").await;
    until_known(&maps, "after").await;
    assert!(maps.get(Some("default"), "before").is_some());
    second.shut_down();
    serving.await.unwrap();
}
