//! A web shop whose tenants upload plugins: `saas-plugins TENANTS.json [ADDRESS]`.
//!
//! A plugin changes the bill of its own tenant's customers, within what `TENANTS.json` grants: memory,
//! a share of a core, microseconds of CPU a day, and the WIT packages that it may import. Whatever a plugin
//! does, its customer gets a bill.

mod bill;
mod http;
mod tenant;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use coracle_runtime::{Engine, EngineConfig, compile};
use tenant::{Grants, Tenant};
use tokio::net::TcpListener;

/// Where the shop listens unless told.
const ADDRESS: &str = "127.0.0.1:8090";

/// All that requests share.
struct Shop {
    engine: Engine,
    tenants: BTreeMap<String, Tenant>,
}

fn main() -> anyhow::Result<ExitCode> {
    // Uploads are compiled by this very program, in a process of its own with limits.
    if let Some(code) = compile::child_if_asked(std::env::args_os()) {
        return Ok(code);
    }
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().context("usage: saas-plugins TENANTS.json [ADDRESS]")?;
    let address = arguments.next().unwrap_or_else(|| ADDRESS.to_owned());
    let text = std::fs::read(&file).with_context(|| format!("read {file}"))?;
    let grants: BTreeMap<String, Grants> =
        serde_json::from_slice(&text).with_context(|| format!("read {file}"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(grants, &address))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(grants: BTreeMap<String, Grants>, address: &str) -> anyhow::Result<()> {
    let cache = std::env::temp_dir().join("saas-plugins");
    let engine = Engine::new(EngineConfig::new(cache, std::env::current_exe()?))?;
    let tenants =
        grants.into_iter().map(|(name, grants)| (name.clone(), Tenant::new(name, grants)));
    let shop = Arc::new(Shop { engine, tenants: tenants.collect() });
    let listener = TcpListener::bind(address).await.with_context(|| format!("bind {address}"))?;
    println!("the shop is open at http://{}/", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(http::serve(Arc::clone(&shop), stream));
    }
}
