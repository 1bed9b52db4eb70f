//! What a proxy request names, and where that is. Pure.

use coracle_api::status::Status;
use serde_json::Value;

/// `[SCHEME:]NAME[:PORT]`.
///
/// *Source:* `SplitSchemeNamePort` of `k8s.io/apimachinery`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// `http`, `https` or empty.
    pub(super) scheme: &'a str,
    /// The object's name.
    pub(super) name: &'a str,
    /// A number, a name or empty.
    pub(super) port: &'a str,
}

impl<'a> Target<'a> {
    /// Reads a name with what is around it; `what` is the kind for the error.
    ///
    /// # Errors
    /// 400 for another form.
    pub(super) fn parse(what: &str, text: &'a str) -> Result<Self, Status> {
        let parts: Vec<&str> = text.split(':').collect();
        let target = match parts.as_slice() {
            [name] => Target { scheme: "", name, port: "" },
            [name, port] => Target { scheme: "", name, port },
            [scheme, name, port] if matches!(*scheme, "" | "http" | "https") => {
                Target { scheme, name, port }
            }
            _ => Target { scheme: "", name: "", port: "" },
        };
        if target.name.is_empty() {
            return Err(Status::bad_request(format!("invalid {what} request \"{text}\"")));
        }
        Ok(target)
    }

    /// The port of a pod that is meant: the named number, else the first that the pod declares, else
    /// the scheme's.
    ///
    /// # Errors
    /// 400 for a port that is no number.
    pub(super) fn pod_port(&self, pod: &Value) -> Result<u16, Status> {
        if !self.port.is_empty() {
            let port = self.port.parse::<u16>().ok().filter(|port| *port > 0);
            return port.ok_or_else(|| {
                Status::bad_request(format!("`port` must be a number: \"{}\"", self.port))
            });
        }
        let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
        let mut ports = containers.filter_map(|c| c["ports"].as_array()).flatten();
        let declared = ports.find_map(|port| u16::try_from(port["containerPort"].as_u64()?).ok());
        Ok(declared.unwrap_or(if self.scheme == "https" { 443 } else { 80 }))
    }

    /// The name of the Service's port that is meant.
    ///
    /// # Errors
    /// 503 for a number that the Service does not have.
    pub(super) fn service_port<'b>(&'b self, service: &'b Value) -> Result<&'b str, Status> {
        let Ok(number) = self.port.parse::<u64>() else { return Ok(self.port) };
        let mut ports = service["spec"]["ports"].as_array().into_iter().flatten();
        let found = ports.find(|port| port["port"].as_u64() == Some(number));
        let missing = || {
            Status::service_unavailable(format!(
                "no service port {number} found for service \"{}\"",
                self.name
            ))
        };
        Ok(found.ok_or_else(missing)?["name"].as_str().unwrap_or(""))
    }
}

/// A pod's port behind a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Backend {
    /// The pod's name.
    pub(super) pod: String,
    /// Its port.
    pub(super) port: u16,
}

/// The pods behind a Service's port that take connections, from its EndpointSlices, in their order.
///
/// Endpoints that are no pods are left out, so that nobody reaches other addresses through here.
pub(super) fn backends(slices: &[Value], port_name: &str) -> Vec<Backend> {
    let mut found = Vec::new();
    for slice in slices {
        let mut ports = slice["ports"].as_array().into_iter().flatten();
        let named = ports.find(|port| port["name"].as_str().unwrap_or("") == port_name);
        let number = named.and_then(|port| u16::try_from(port["port"].as_u64()?).ok());
        let Some(number) = number else { continue };
        let endpoints = slice["endpoints"].as_array().into_iter().flatten();
        let ready = endpoints.filter(|e| e["conditions"]["ready"].as_bool().unwrap_or(true));
        let pods = ready.filter(|e| e["targetRef"]["kind"] == "Pod");
        found.extend(pods.filter_map(|endpoint| {
            let pod = endpoint["targetRef"]["name"].as_str()?.to_owned();
            Some(Backend { pod, port: number })
        }));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_with_scheme_and_port() {
        let check = |text: &str, expected: Result<(&str, &str, &str), &str>| {
            let parsed = Target::parse("pod", text);
            let parts = parsed.as_ref().map(|t| (t.scheme, t.name, t.port));
            assert_eq!(parts.map_err(ToString::to_string), expected.map_err(str::to_owned));
        };
        check("web", Ok(("", "web", "")));
        check("web:80", Ok(("", "web", "80")));
        check("https:web:", Ok(("https", "web", "")));
        check("http:web:admin", Ok(("http", "web", "admin")));
        check("ftp:web:21", Err("invalid pod request \"ftp:web:21\""));
        check(":80", Err("invalid pod request \":80\""));
        check("a:b:c:d", Err("invalid pod request \"a:b:c:d\""));
    }

    #[test]
    fn the_pods_port() {
        let pod = json!({"spec": {"containers": [{"name": "a"},
            {"name": "b", "ports": [{"containerPort": 8080}, {"containerPort": 9090}]}]}});
        let check = |text: &str, pod: &Value| Target::parse("pod", text).unwrap().pod_port(pod);
        assert_eq!(check("web", &pod).unwrap(), 8080);
        assert_eq!(check("web:81", &pod).unwrap(), 81);
        assert_eq!(check("web", &json!({})).unwrap(), 80);
        assert_eq!(check("https:web:", &json!({})).unwrap(), 443);
        assert_eq!(check("web:http", &pod).unwrap_err().code(), 400);
    }

    #[test]
    fn the_services_port_and_its_pods() {
        let service = json!({"spec": {"ports": [{"name": "http", "port": 80}, {"port": 81}]}});
        let name = |text: &str| {
            let target = Target::parse("service", text).unwrap();
            target.service_port(&service).map(str::to_owned).map_err(|e| e.to_string())
        };
        assert_eq!(name("web:80").unwrap(), "http");
        assert_eq!(name("web:http").unwrap(), "http");
        assert_eq!(name("web:81").unwrap(), "");
        assert_eq!(name("web").unwrap(), "");
        assert_eq!(name("web:82").unwrap_err(), "no service port 82 found for service \"web\"");
        let slices = [json!({"ports": [{"name": "http", "port": 8080}], "endpoints": [
            {"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "name": "a"}},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": false},
             "targetRef": {"kind": "Pod", "name": "b"}},
            {"addresses": ["169.254.169.254"]},
        ]})];
        let only = Backend { pod: "a".into(), port: 8080 };
        assert_eq!(backends(&slices, "http"), [only]);
        assert_eq!(backends(&slices, ""), []);
    }
}
