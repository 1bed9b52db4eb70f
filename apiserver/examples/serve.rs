//! Serves the API alone, on an in-memory store: no controllers, no scheduler, no host.
//!
//! `cargo run -p coracle-apiserver --example serve -- FOLDER ADDRESS` writes `FOLDER/kubeconfig` and serves until it is
//! killed. For trying clients against the API server by itself.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;

use coracle_apiserver::pki::{Kubeconfig, Pki, kubeconfig};
use coracle_apiserver::{ApiServer, Config};
use coracle_store::Store;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let folder = PathBuf::from(args.next().ok_or("give a folder")?);
    let address: SocketAddr = args.next().ok_or("give an address")?.parse()?;
    let pki = Pki::open(&folder.join("pki"), now())?;
    let identity = pki.issue_client("admin", Some("system:masters"))?;
    let server = format!("https://{address}");
    let config = Kubeconfig {
        server: &server,
        ca_certificate: pki.ca_certificate(),
        cluster: "coracle",
        user: "admin",
        identity: &identity,
    };
    std::fs::write(folder.join("kubeconfig"), kubeconfig(&config))?;
    let api =
        ApiServer::new(Config::new(address, folder.join("registry")), Store::memory()).await?;
    let tls = pki.server_config(&pki.issue_serving(&[])?)?;
    api.serve(TcpListener::bind(address).await?, tls).await;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "an example is its own edge")]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
