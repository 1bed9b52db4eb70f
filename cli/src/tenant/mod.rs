//! `coracle tenant`: the manifest that makes a tenant. Pure: flags go in, YAML comes out.

use anyhow::ensure;
use serde_json::Value;

use crate::config::{TenantCommand, TenantFlags};
use crate::out;

/// Everything that a tenant is made of, with places for its name and sizes.
const TEMPLATE: &str = include_str!("tenant.yaml");

/// The WIT packages that its components may import unless others are given; a core module imports the last one.
const IMPORTS: [&str; 13] = [
    "wasi:blobstore",
    "wasi:cli",
    "wasi:clocks",
    "wasi:config",
    "wasi:filesystem",
    "wasi:http",
    "wasi:io",
    "wasi:keyvalue",
    "wasi:logging",
    "wasi:random",
    "wasi:sockets",
    "coracle:lifecycle",
    "wasi_snapshot_preview1",
];

/// Thousandths of a CPU that a container may use which says nothing: more than it needs between two rests, and no host
/// is taken up by one.
const CPU_EACH_MILLIS: u64 = 500;

/// The admission policies' names begin with this, so the tenant's own may be that much shorter.
const NAME_BYTES_MAX: usize = 63;

/// Runs one of the commands.
///
/// # Errors
/// A name or value that would not make a valid manifest, with what it must be.
pub(crate) fn run(command: &TenantCommand) -> anyhow::Result<()> {
    match command {
        TenantCommand::Create(flags) => out::text(&manifest(flags)?),
    }
    Ok(())
}

fn manifest(flags: &TenantFlags) -> anyhow::Result<String> {
    let name = &flags.name;
    ensure!(
        is_label(name),
        "tenant name '{name}' must be a namespace's: at most {NAME_BYTES_MAX} lower-case letters, digits and '-', not first or last"
    );
    let registries = match flags.registries.as_slice() {
        [] => vec![format!("registry.coracle.internal/{name}/")],
        given => given.to_vec(),
    };
    for registry in &registries {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/:".contains(&byte);
        ensure!(
            registry.contains('/') && registry.bytes().all(plain),
            "--registry '{registry}' must be the beginning of image names with its '/', as registry.example/team/"
        );
    }
    let imports = match flags.imports.as_slice() {
        [] => IMPORTS.map(str::to_owned).to_vec(),
        given => given.to_vec(),
    };
    for import in &imports {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_:".contains(&byte);
        ensure!(
            !import.is_empty() && import.bytes().all(plain),
            "--import '{import}' must be a WIT package without interface and version, as wasi:http"
        );
    }
    let imports: Vec<String> = imports.iter().map(|import| format!("\"{import}\"")).collect();
    let places = [
        ("{{name}}", name.clone()),
        ("{{cpu}}", flags.cpu.clone()),
        ("{{cpu_limit}}", cpu_limit(flags)),
        ("{{cpu_each}}", CPU_EACH_MILLIS.to_string()),
        ("{{memory}}", flags.memory.clone()),
        ("{{storage}}", flags.storage.clone()),
        ("{{pods}}", flags.pods.to_string()),
        ("{{egress}}", egress(flags.egress.as_deref())),
        ("{{admins}}", admins(flags)),
        ("{{registries}}", Value::from(registries).to_string()),
        ("{{imports}}", format!("[{}]", imports.join(", "))),
    ];
    let text =
        places.iter().fold(TEMPLATE.to_owned(), |text, (place, value)| text.replace(place, value));
    Ok(text)
}

/// What its pods may use together while the host has it to spare: as given, else what they get that say nothing.
fn cpu_limit(flags: &TenantFlags) -> String {
    let silent = || format!("{}m", u64::from(flags.pods) * CPU_EACH_MILLIS);
    flags.cpu_limit.clone().unwrap_or_else(silent)
}

/// The annotation of the Namespace.
fn egress(granted: Option<&str>) -> String {
    granted.map_or_else(String::new, |granted| {
        format!("  annotations: {{coracle.dev/egress: {}}}\n", Value::from(granted))
    })
}

/// The binding of the tenant's people to the role `admin`; nothing without people.
fn admins(flags: &TenantFlags) -> String {
    let subject = |kind: &str, name: &String| {
        let name = Value::from(name.as_str());
        format!("  - {{apiGroup: rbac.authorization.k8s.io, kind: {kind}, name: {name}}}\n")
    };
    let users = flags.admins.iter().map(|name| subject("User", name));
    let groups = flags.admin_groups.iter().map(|name| subject("Group", name));
    let subjects: String = users.chain(groups).collect();
    if subjects.is_empty() {
        return String::new();
    }
    format!(
        "---\n# Its people may do here what the role admin may.\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n\
         metadata: {{name: tenant, namespace: {}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}}\n\
         subjects:\n{subjects}",
        flags.name,
    )
}

/// Whether a text is a DNS label. *Source:* RFC 1123 as Kubernetes reads it.
fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty()
        && text.len() <= NAME_BYTES_MAX
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(name: &str) -> TenantFlags {
        TenantFlags {
            name: name.to_owned(),
            admins: vec!["maria".to_owned()],
            admin_groups: Vec::new(),
            cpu: "2".to_owned(),
            cpu_limit: None,
            memory: "4Gi".to_owned(),
            storage: "10Gi".to_owned(),
            pods: 50,
            registries: Vec::new(),
            imports: Vec::new(),
            egress: Some("example.org:443".to_owned()),
        }
    }

    #[test]
    fn every_place_is_filled_and_every_document_is_an_object() {
        let text = manifest(&flags("acme")).unwrap();
        assert!(!text.contains("{{name}}") && !text.contains("{{egress}}"), "{text}");
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let kinds: Vec<&str> = documents.iter().filter_map(|d| d["kind"].as_str()).collect();
        assert_eq!(
            kinds,
            [
                "Namespace",
                "ResourceQuota",
                "LimitRange",
                "NetworkPolicy",
                "RoleBinding",
                "MutatingAdmissionPolicy",
                "MutatingAdmissionPolicyBinding",
                "ValidatingAdmissionPolicy",
                "ValidatingAdmissionPolicyBinding",
                "CapabilityPolicy",
            ]
        );
        assert_eq!(
            documents[0]["metadata"]["annotations"]["coracle.dev/egress"],
            "example.org:443"
        );
        assert_eq!(documents[1]["spec"]["hard"]["pods"], "50");
        assert_eq!(documents[1]["spec"]["hard"]["limits.cpu"], "25000m", "what 50 silent pods get");
        assert_eq!(documents[2]["spec"]["limits"][0]["default"]["cpu"], "500m");
        assert_eq!(documents[4]["subjects"][0]["name"], "maria");
        assert_eq!(
            documents[7]["spec"]["variables"][0]["expression"],
            "[\"registry.coracle.internal/acme/\"]"
        );
        assert_eq!(coracle_api::capability::mistakes(&documents[9]), []);
    }

    #[test]
    fn what_its_pods_use_together_has_a_limit_of_its_own() {
        let flags = TenantFlags { cpu_limit: Some("8".to_owned()), ..flags("acme") };
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(&manifest(&flags).unwrap()).unwrap();
        let hard = &documents[1]["spec"]["hard"];
        assert_eq!([&hard["requests.cpu"], &hard["limits.cpu"]], ["2", "8"]);
    }

    #[test]
    fn the_policy_allows_what_is_given_alone() {
        let flags = TenantFlags { imports: vec!["wasi:io".to_owned()], ..flags("acme") };
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(&manifest(&flags).unwrap()).unwrap();
        let expression = &documents[9]["spec"]["rules"][0]["expression"];
        assert_eq!(expression, "capability.packageName in [\"wasi:io\"]");
    }

    #[test]
    fn names_and_registries_that_break_out_of_the_manifest_are_refused() {
        for bad in ["", "Acme", "a b", "-a", "a-", "a\nb", &"a".repeat(64)] {
            assert!(manifest(&flags(bad)).is_err(), "{bad}");
        }
        for bad in ["registry.example", "a/'b", "a/\n", "a/ b"] {
            let flags = TenantFlags { registries: vec![bad.to_owned()], ..flags("acme") };
            assert!(manifest(&flags).is_err(), "{bad}");
        }
        for bad in ["", "wasi:http/types", "a'", "a\nb", "a b"] {
            let flags = TenantFlags { imports: vec![bad.to_owned()], ..flags("acme") };
            assert!(manifest(&flags).is_err(), "{bad}");
        }
    }
}
