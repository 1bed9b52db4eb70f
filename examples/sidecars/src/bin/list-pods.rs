//! Prints the pods of its namespace, or why it may not: a program that speaks to the API itself.

use coracle_sdk::kube::{Client, Error};
use wstd::task::sleep;
use wstd::time::Duration;

#[wstd::main]
async fn main() -> Result<(), Error> {
    let client = Client::in_cluster()?;
    let path = format!("/api/v1/namespaces/{}/pods", client.namespace());
    loop {
        match client.get(&path).await {
            Ok(list) => {
                let pods = list["items"].as_array().into_iter().flatten();
                let names: Vec<&str> = pods.filter_map(|pod| pod["metadata"]["name"].as_str()).collect();
                println!("pods: {}", names.join(" "));
            }
            Err(error) => println!("{error}"),
        }
        sleep(Duration::from_secs(2)).await;
    }
}
