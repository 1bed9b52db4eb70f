//! Serves the kinds of Coracle's own that are defined as custom resources, from the first start on.

use std::time::Duration;

use coracle_client::{Caches, Client, Failure as _};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::PostParams;
use tokio::task::JoinHandle;

/// The kinds.
const DEFINITIONS: &str = include_str!("definitions.yaml");

/// Time between two tries.
const RETRY: Duration = Duration::from_millis(500);

/// Makes the definitions, until it is dropped.
#[derive(Debug)]
pub(crate) struct Defining(JoinHandle<()>);

impl Drop for Defining {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts: makes the definitions that are missing. What is there stays as it is: somebody may have put a newer version
/// there.
pub(crate) fn start(caches: &Caches) -> Defining {
    let client = caches.client().clone();
    Defining(tokio::spawn(async move {
        match definitions() {
            Ok(definitions) => {
                for definition in definitions {
                    create(&client, &definition).await;
                }
            }
            Err(error) => tracing::error!(%error, "the built-in definitions cannot be read"),
        }
    }))
}

fn definitions() -> Result<Vec<CustomResourceDefinition>, serde_saphyr::Error> {
    serde_saphyr::from_multiple(DEFINITIONS)
}

async fn create(client: &Client, definition: &CustomResourceDefinition) {
    loop {
        match client.cluster().create(&PostParams::default(), definition).await {
            Ok(_) => return,
            Err(error) if error.is_already_exists() => return,
            Err(kube::Error::Api(status)) if status.code == 422 => {
                tracing::error!(message = status.message, "a built-in definition is not valid");
                return;
            }
            Err(error) => tracing::debug!(error = error.message(), "not made yet"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_api::capability;

    #[test]
    fn the_definitions_name_the_kinds_that_are_read() {
        let definitions = definitions().unwrap();
        let names: Vec<&str> =
            definitions.iter().filter_map(|one| one.metadata.name.as_deref()).collect();
        assert_eq!(names, [format!("{}.{}", capability::PLURAL, capability::GROUP)]);
        assert_eq!(definitions[0].spec.names.kind, capability::KIND);
    }
}
