//! What `coracle test` asks of an application, and what it expects: a file in TOML.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail};
use k8s_openapi::api::core::v1::ServicePort;
use serde::Deserialize;

/// All cases of a file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cases {
    /// HTTP requests, one after the other.
    #[serde(default)]
    pub(crate) request: Vec<RequestCase>,
    /// Pods and Jobs that have to end.
    #[serde(default)]
    pub(crate) command: Vec<CommandCase>,
}

/// One HTTP request.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RequestCase {
    /// What it is called in the report [default: method and path].
    pub(crate) name: Option<String>,
    /// The Service that is asked.
    pub(crate) service: String,
    /// Namespace of the Service.
    #[serde(default = "default_namespace")]
    pub(crate) namespace: String,
    /// Port of the Service, by number or name [default: its only one].
    pub(crate) port: Option<String>,
    /// HTTP method.
    #[serde(default = "default_method")]
    pub(crate) method: String,
    /// Path and query.
    #[serde(default = "default_path")]
    pub(crate) path: String,
    /// Headers of the request.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// Body of the request.
    #[serde(default)]
    pub(crate) body: String,
    /// The status that is expected.
    #[serde(default = "default_status")]
    pub(crate) status: u16,
    /// What the answer is expected to be.
    pub(crate) equals: Option<String>,
    /// What the answer is expected to hold.
    pub(crate) contains: Option<String>,
}

/// A pod or Job that runs to its end.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommandCase {
    /// What it is called in the report [default: the pods' label].
    pub(crate) name: Option<String>,
    /// Label selector of its pods, such as job-name=report.
    pub(crate) pods: String,
    /// Namespace of the pods.
    #[serde(default = "default_namespace")]
    pub(crate) namespace: String,
    /// Exit code that is expected of its first container.
    #[serde(default)]
    pub(crate) exit: i32,
    /// What its log is expected to hold.
    pub(crate) contains: Option<String>,
}

fn default_namespace() -> String {
    "default".to_owned()
}

fn default_method() -> String {
    "GET".to_owned()
}

fn default_path() -> String {
    "/".to_owned()
}

fn default_status() -> u16 {
    200
}

impl Cases {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| {
            format!("read {}: write what to ask and what to expect into it", path.display())
        })?;
        let cases: Self = toml::from_str(&text).with_context(|| path.display().to_string())?;
        if cases.request.is_empty() && cases.command.is_empty() {
            bail!("{} has neither a [[request]] nor a [[command]]", path.display());
        }
        Ok(cases)
    }
}

impl RequestCase {
    /// Name in the report.
    pub(crate) fn title(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("{} {}", self.method, self.path))
    }

    /// The port to ask of the Service's `ports`; `None` for one without a name.
    ///
    /// # Errors
    /// The Service has several and the case does not say which, or none.
    pub(crate) fn port(&self, ports: &[ServicePort]) -> anyhow::Result<Option<String>> {
        match (&self.port, ports) {
            (Some(port), _) => Ok(Some(port.clone())),
            (None, [only]) => Ok(only.name.clone()),
            (None, []) => bail!("the Service {} has no port", self.service),
            (None, several) => {
                let said =
                    |port: &ServicePort| port.name.clone().unwrap_or_else(|| port.port.to_string());
                let said: Vec<String> = several.iter().map(said).collect();
                let (service, said) = (&self.service, said.join(", "));
                bail!("the Service {service} has the ports {said}: say which with 'port = …'")
            }
        }
    }

    /// Path of the proxy at the API server for a port of the Service.
    pub(crate) fn proxied(&self, port: Option<&str>) -> String {
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let slash = if self.path.starts_with('/') { "" } else { "/" };
        format!(
            "/api/v1/namespaces/{}/services/{}{port}/proxy{slash}{}",
            self.namespace, self.service, self.path
        )
    }

    /// What is wrong with an answer; `None` if nothing.
    pub(crate) fn judge(&self, status: u16, body: &str) -> Option<String> {
        if status != self.status {
            return Some(format!(
                "status {status}, expected {}; it said: {}",
                self.status,
                body.trim()
            ));
        }
        judge_text(self.equals.as_deref(), self.contains.as_deref(), body)
    }
}

impl CommandCase {
    /// Name in the report.
    pub(crate) fn title(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.pods.clone())
    }

    /// What is wrong with an end; `None` if nothing.
    pub(crate) fn judge(&self, exit: i32, log: &str) -> Option<String> {
        if exit != self.exit {
            return Some(format!(
                "exit code {exit}, expected {}; it said: {}",
                self.exit,
                log.trim()
            ));
        }
        judge_text(None, self.contains.as_deref(), log)
    }
}

fn judge_text(equals: Option<&str>, contains: Option<&str>, text: &str) -> Option<String> {
    if let Some(wanted) = equals.filter(|wanted| *wanted != text) {
        return Some(format!("it said {text:?}, expected {wanted:?}"));
    }
    let wanted = contains.filter(|wanted| !text.contains(wanted))?;
    Some(format!("it said {text:?}, expected {wanted:?} in it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> RequestCase {
        let cases: Cases =
            toml::from_str(&format!("[[request]]\nservice = 'web'\n{text}")).unwrap();
        cases.request.into_iter().next().unwrap()
    }

    #[test]
    fn a_request_goes_to_the_proxy_of_its_service() {
        let case = request("");
        assert_eq!(case.title(), "GET /");
        assert_eq!(case.proxied(None), "/api/v1/namespaces/default/services/web/proxy/");
        let case = request("namespace = 'n'\npath = 'a?b=c'");
        assert_eq!(
            case.proxied(Some("http")),
            "/api/v1/namespaces/n/services/web:http/proxy/a?b=c"
        );
    }

    #[test]
    fn the_port_is_the_one_that_is_said_or_the_only_one() {
        let named = |name: &str| ServicePort {
            name: Some(name.to_owned()),
            port: 80,
            ..ServicePort::default()
        };
        let unnamed = ServicePort { port: 80, ..ServicePort::default() };
        let both = [named("http"), named("admin")];
        let check = |case: &str, ports: &[ServicePort], expected: Result<Option<&str>, &str>| {
            let found = request(case).port(ports).map_err(|error| error.to_string());
            let expected = expected.map(|port| port.map(str::to_owned)).map_err(str::to_owned);
            assert_eq!(found, expected);
        };
        check("port = '81'", &both, Ok(Some("81")));
        check("", &both[..1], Ok(Some("http")));
        check("", &[unnamed], Ok(None));
        check("", &[], Err("the Service web has no port"));
        check(
            "",
            &both,
            Err("the Service web has the ports http, admin: say which with 'port = …'"),
        );
    }

    #[test]
    fn answers_are_judged() {
        assert_eq!(request("").judge(200, "anything"), None);
        assert_eq!(request("status = 404").judge(404, ""), None);
        assert_eq!(request("equals = 'a'\ncontains = 'a'").judge(200, "a"), None);
        for (text, words) in [
            ("status = 201", "status 200, expected 201"),
            ("equals = 'b'", "it said \"a\", expected \"b\""),
            ("contains = 'c'", "expected \"c\" in it"),
        ] {
            let wrong = request(text).judge(200, "a").unwrap();
            assert!(wrong.contains(words), "{wrong}");
        }
    }

    #[test]
    fn a_wrong_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("requests.toml");
        for (text, words) in [("[[request]]\nservise = 'x'\n", "servise"), ("", "neither a")] {
            std::fs::write(&file, text).unwrap();
            let error = format!("{:#}", Cases::read(&file).unwrap_err());
            assert!(error.contains(words), "{error}");
        }
    }
}
