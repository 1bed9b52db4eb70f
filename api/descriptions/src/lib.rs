//! What Kubernetes says about its built-in types and fields, for OpenAPI and `kubectl explain`.
//!
//! The texts come out of the `k8s-openapi` crate when this one is built, and lie compressed in the
//! binary. Whoever needs them loads a [`Table`] and drops it afterwards. No rule is for here: what
//! types look like is known to `api/schema`.

use std::collections::HashMap;
use std::io::Read;

use flate2::read::ZlibDecoder;

/// Written by the build script.
static COMPRESSED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptions.zlib"));

/// Bytes that the text may have at most, several times what it has.
const TEXT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// All descriptions, uncompressed: about a megabyte while it lives.
#[derive(Debug)]
pub struct Table {
    text: String,
    /// Where the lines of a type begin and end.
    types: HashMap<String, (usize, usize)>,
}

impl Table {
    /// Uncompresses the descriptions; takes a few milliseconds.
    ///
    /// Should the embedded text be damaged, what can be read of it is used.
    pub fn load() -> Self {
        let mut bytes = Vec::new();
        let mut decoder = ZlibDecoder::new(COMPRESSED).take(TEXT_BYTES_MAX);
        // Nothing depends on descriptions, so a short read is not worth a failure.
        let _ = decoder.read_to_end(&mut bytes);
        let text = String::from_utf8(bytes).unwrap_or_default();
        let types = index(&text);
        Table { text, types }
    }

    /// Returns the description of a field, or with an empty field name that of the type.
    ///
    /// `ty` is the OpenAPI name (`io.k8s.api.core.v1.Pod`), `field` the JSON name.
    pub fn find(&self, ty: &str, field: &str) -> Option<String> {
        let (start, end) = self.types.get(ty)?;
        let mut lines = self.text.get(*start..*end)?.lines();
        let (_, own) = lines.next()?.split_once('\t')?;
        let found = if field.is_empty() {
            own
        } else {
            lines.find_map(|line| line.strip_prefix(field)?.strip_prefix('\t'))?
        };
        (!found.is_empty()).then(|| found.replace('\u{1}', "\n"))
    }

    /// Returns how many types have an entry.
    pub fn types(&self) -> usize {
        self.types.len()
    }
}

/// Loads the table and returns its look-up: type name and field name (empty for the type) to text.
pub fn describe() -> impl Fn(&str, &str) -> Option<String> + 'static {
    let table = Table::load();
    move |ty, field| table.find(ty, field)
}

/// Finds the lines that start a type: `=name<TAB>description`.
fn index(text: &str) -> HashMap<String, (usize, usize)> {
    let mut types = HashMap::new();
    let mut open: Option<(&str, usize)> = None;
    let mut position = 0;
    for line in text.split_inclusive('\n') {
        if let Some(name) = line.strip_prefix('=').and_then(|line| line.split('\t').next())
            && let Some((previous, start)) = open.replace((name, position))
        {
            types.insert(previous.to_owned(), (start, position));
        }
        position += line.len();
    }
    if let Some((name, start)) = open {
        types.insert(name.to_owned(), (start, position));
    }
    types
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn types_and_fields_are_described() {
        let table = Table::load();
        assert!(table.types() > 500, "{} types", table.types());
        let pod = "io.k8s.api.core.v1.Pod";
        assert!(table.find(pod, "").unwrap().starts_with("Pod is a collection of containers"));
        assert!(table.find(pod, "spec").unwrap().contains("desired behavior of the pod"));
        let spec = "io.k8s.api.core.v1.PodSpec";
        assert!(table.find(spec, "containers").unwrap().contains("List of containers"));
        let strategy = table.find("io.k8s.api.apps.v1.DeploymentStrategy", "type").unwrap();
        assert!(strategy.contains("RollingUpdate"), "{strategy}");
        assert!(
            table.find("io.k8s.apimachinery.pkg.api.resource.Quantity", "").unwrap().contains('\n')
        );
        assert_eq!(table.find(pod, "nothing"), None);
        assert_eq!(table.find("nothing", ""), None);
    }
}
