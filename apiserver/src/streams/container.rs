//! Which container of a pod is meant. Pure.

use std::fmt::Write as _;

use coracle_api::meta;
use coracle_api::status::Status;
use serde_json::Value;

/// Annotation that names the container that is taken when none is asked for.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// Gives the container that is meant.
///
/// # Errors
/// 400 when it does not exist, or when there are several and none is named.
pub(crate) fn container(pod: &Value, asked: Option<&str>) -> Result<String, Status> {
    let names = |list: &str| -> Vec<String> {
        let containers = pod["spec"][list].as_array().into_iter().flatten();
        containers.filter_map(|c| c["name"].as_str()).map(str::to_owned).collect()
    };
    let (main, init, ephemeral) =
        (names("containers"), names("initContainers"), names("ephemeralContainers"));
    let pod_name = meta::name(pod);
    if let Some(asked) = asked {
        let known = main.iter().chain(&init).chain(&ephemeral).any(|name| name == asked);
        let why =
            || Status::bad_request(format!("container {asked} is not valid for pod {pod_name}"));
        return known.then(|| asked.to_owned()).ok_or_else(why);
    }
    if let [only] = main.as_slice() {
        return Ok(only.clone());
    }
    if let Some(default) =
        meta::annotation(pod, DEFAULT_CONTAINER).filter(|name| main.iter().any(|m| m == name))
    {
        return Ok(default.to_owned());
    }
    let mut why = format!(
        "a container name must be specified for pod {pod_name}, choose one of: [{}]",
        main.join(" ")
    );
    if !init.is_empty() {
        let _infallible = write!(why, " or one of the init containers: [{}]", init.join(" "));
    }
    Err(Status::bad_request(why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn chooses_the_container() {
        let one = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}]}});
        assert_eq!(container(&one, None).unwrap(), "a");
        let error = container(&one, Some("x")).unwrap_err();
        assert_eq!(error.to_string(), "container x is not valid for pod p");
        let two = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}],
            "initContainers": [{"name": "i"}]}});
        assert_eq!(
            container(&two, None).unwrap_err().to_string(),
            "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]"
        );
        assert_eq!(container(&two, Some("i")).unwrap(), "i");
    }
}
