//! The index over the generated table: type names and kinds to types.
//!
//! Built once, at the first look-up, by one pass over the text for the lines that start a type; the
//! text itself is never copied.

use std::sync::{LazyLock, OnceLock};

use super::Type;

/// The table, made by `api/schema/generate` from Kubernetes 1.35.
static TEXT: &str = include_str!("../../schema/types.txt");

/// Versions and kinds that every group shares: `DeleteOptions`, `Status` and so on.
const META: &str = "meta.k8s.io/v1";

struct Table {
    /// Sorted by name.
    types: Vec<Type>,
    /// (`group/version`, kind, index into `types`), sorted.
    kinds: Vec<(&'static str, &'static str, usize)>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| read(TEXT));

/// Returns the type of a kind, for example of `("apps", "v1", "Deployment")`; the core group is `""`.
///
/// Kinds of `meta.k8s.io/v1` (`DeleteOptions`, `Status`, `Table`…) are found in every group.
pub fn lookup(group: &str, version: &str, kind: &str) -> Option<&'static Type> {
    let group_version =
        if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    find(&group_version, kind).or_else(|| find(META, kind))
}

/// Returns the type with this OpenAPI name.
pub fn named(name: &str) -> Option<&'static Type> {
    let types = &TABLE.types;
    let index = types.binary_search_by(|ty| ty.name.cmp(name)).ok()?;
    types.get(index)
}

/// Lists every kind of the table as (`apiVersion`, kind, type), sorted.
pub fn kinds() -> impl Iterator<Item = (&'static str, &'static str, &'static Type)> {
    let table = &*TABLE;
    table.kinds.iter().filter_map(|(group_version, kind, index)| {
        Some((*group_version, *kind, table.types.get(*index)?))
    })
}

fn find(group_version: &str, kind: &str) -> Option<&'static Type> {
    let table = &*TABLE;
    let place = table
        .kinds
        .binary_search_by(|(gv, name, _)| (*gv, *name).cmp(&(group_version, kind)))
        .ok()?;
    let (_, _, index) = table.kinds.get(place)?;
    table.types.get(*index)
}

/// Finds the lines that start a type: `=name<TAB>flags<TAB>group/version<SPACE>kind…`.
fn read(text: &'static str) -> Table {
    let mut types = Vec::new();
    let mut kinds = Vec::new();
    for block in text.split("\n=").skip(1) {
        let (head, lines) = block.split_once('\n').unwrap_or((block, ""));
        let mut columns = head.split('\t');
        let name = columns.next().unwrap_or_default();
        let atomic = columns.next().is_some_and(|flags| flags.contains('a'));
        for kind in columns {
            if let Some((group_version, kind)) = kind.split_once(' ') {
                kinds.push((group_version, kind, types.len()));
            }
        }
        types.push(Type { name, atomic, lines, fields: OnceLock::new(), custom: None });
    }
    kinds.sort_unstable();
    Table { types, kinds }
}

#[cfg(test)]
mod tests {
    use super::super::{FieldType, ListType, parse};
    use super::*;

    #[test]
    fn every_line_of_the_table_is_read() {
        let mut names = 0;
        for ty in &TABLE.types {
            let lines = ty.lines.lines().filter(|line| !line.is_empty()).count();
            assert_eq!(parse::fields(ty.lines).len(), lines, "{}", ty.name);
            assert!(ty.fields().is_sorted_by_key(|field| field.name), "{}", ty.name);
            names += 1;
        }
        assert!(names > 500, "only {names} types");
        assert!(TABLE.types.is_sorted_by_key(|ty| ty.name));
    }

    #[test]
    fn facts_of_well_known_fields() {
        let pod = lookup("", "v1", "Pod").unwrap();
        let FieldType::Ref(spec) = &pod.field("spec").unwrap().ty else {
            panic!("spec is a structure")
        };
        assert_eq!(spec.name, "io.k8s.api.core.v1.PodSpec");
        let containers = spec.field("containers").unwrap();
        assert!(containers.required && !containers.omitempty);
        assert_eq!(containers.list_type, Some(ListType::Map));
        assert_eq!(containers.map_keys, ["name"]);
        assert_eq!(containers.merge_key, Some("name"));
        assert!(containers.patch_strategy.merge);
        assert_eq!(containers.proto, Some(2));
        let volumes = spec.field("volumes").unwrap();
        assert!(volumes.patch_strategy.merge && volumes.patch_strategy.retain_keys);
        let ports = named("io.k8s.api.core.v1.ServiceSpec").unwrap().field("ports").unwrap();
        assert_eq!(ports.map_keys, ["port", "protocol"]);
        assert_eq!(ports.merge_key, Some("port"));
        let port = named("io.k8s.api.core.v1.ContainerPort").unwrap();
        assert_eq!(port.field("protocol").unwrap().default, Some("\"TCP\""));
        let replicas =
            named("io.k8s.api.apps.v1.DeploymentSpec").unwrap().field("replicas").unwrap();
        assert!(replicas.pointer && replicas.ty == FieldType::Int32);
    }

    #[test]
    fn inlined_structures_are_flattened() {
        let volume = named("io.k8s.api.core.v1.Volume").unwrap();
        assert!(volume.field("configMap").is_some() && volume.field("name").is_some());
        let probe = named("io.k8s.api.core.v1.Probe").unwrap();
        assert!(probe.field("httpGet").is_some() && probe.field("handler").is_none());
    }

    #[test]
    fn shared_kinds_are_found_in_every_group() {
        assert_eq!(
            lookup("apps", "v1", "DeleteOptions").map(|ty| ty.name),
            Some("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions")
        );
        assert!(lookup("apps", "v1", "Pod").is_none());
        assert!(lookup("apps", "v1", "Deployment").is_some());
    }
}
