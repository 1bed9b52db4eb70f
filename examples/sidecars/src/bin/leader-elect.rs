//! Elects one of many pods by a Lease, and tells the container beside it on `localhost:4040`:
//! `{"name": "web-x", "leader": true}`.

use std::cell::Cell;
use std::rc::Rc;

use coracle_sdk::kube::{Client, Error};
use coracle_sdk::lease::Lease;
use serde_json::json;
use sidecars::{local, variable};
use wstd::runtime::spawn;
use wstd::task::sleep;
use wstd::time::Duration;

#[wstd::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::in_cluster()?;
    let (name, pod) = (variable("LEASE_NAME", "leader"), variable("POD_NAME", ""));
    let seconds = variable("LEASE_SECONDS", "8").parse()?;
    let leads = Rc::new(Cell::new(false));
    let lease = Lease::new(&client, &name, &pod, seconds);
    spawn(elect(lease, Rc::clone(&leads))).detach();
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases/{name}", client.namespace());
    let answer = move |_request, mut answer: local::Answer| {
        let (client, path, leads) = (client.clone(), path.clone(), Rc::clone(&leads));
        async move {
            let lease = client.get(&path).await;
            let holder = lease.map(|lease| lease["spec"]["holderIdentity"].clone()).unwrap_or_default();
            // Whether this pod leads is known here, without asking: by its own clock.
            let said = json!({"name": holder, "leader": leads.get()});
            answer.whole(200, "application/json", &format!("{said}\n")).await
        }
    };
    local::serve(variable("LISTEN_PORT", "4040").parse()?, answer).await?;
    Ok(())
}

async fn elect(lease: Lease, leads: Rc<Cell<bool>>) {
    loop {
        let work = async {
            leads.set(true);
            println!("leads");
            std::future::pending::<()>().await;
        };
        let led: Result<Option<()>, Error> = lease.lead(work).await;
        leads.set(false);
        match led {
            Ok(_) => println!("leads no more"),
            Err(error) => println!("again after: {error}"),
        }
        sleep(Duration::from_secs(1)).await;
    }
}
