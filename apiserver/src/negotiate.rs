//! Content negotiation: which encoding and which form of an object a client asks for, and what it sent.
//!
//! JSON, YAML and protobuf both ways; objects may be asked for as `Table`, `PartialObjectMetadata` or
//! `PartialObjectMetadataList`, tables not in protobuf, which has no form for them.
//! *Source:* Kubernetes API concepts, "Alternate representations of resources".

use coracle_api::status::Status;
use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_ENCODING, USER_AGENT};

use crate::query::Query;

/// How a response body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// `application/json`, on one line.
    Json,
    /// `application/json`, indented for people.
    PrettyJson,
    /// `application/yaml`.
    Yaml,
    /// `application/vnd.kubernetes.protobuf`; what has no such form is written as JSON.
    Protobuf,
}

impl Encoding {
    /// The `Content-Type` of a body in this encoding.
    pub fn content_type(self) -> &'static str {
        match self {
            Encoding::Json | Encoding::PrettyJson => "application/json",
            Encoding::Yaml => "application/yaml",
            Encoding::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }
}

/// In which form an object or list is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// As it is stored.
    Object,
    /// `meta.k8s.io/v1 Table`, or `v1beta1` when only that was asked for.
    Table(MetaVersion),
    /// `meta.k8s.io PartialObjectMetadata`: only type and metadata.
    PartialMetadata(MetaVersion),
    /// `meta.k8s.io PartialObjectMetadataList`: the same for lists.
    PartialMetadataList(MetaVersion),
}

/// The version of the `meta.k8s.io` group in which a form was asked for; both have the same fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetaVersion {
    /// `meta.k8s.io/v1`
    V1,
    /// `meta.k8s.io/v1beta1`
    V1Beta1,
}

impl MetaVersion {
    /// The `apiVersion` string.
    pub fn api_version(self) -> &'static str {
        match self {
            MetaVersion::V1 => "meta.k8s.io/v1",
            MetaVersion::V1Beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

/// The outcome of reading `Accept`, `pretty` and `Accept-Encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// How the body is written.
    pub encoding: Encoding,
    /// In which form objects are returned.
    pub form: Form,
    /// Whether the client takes gzip.
    pub gzip: bool,
}

/// One media range of an `Accept` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaRange<'a> {
    /// `application/json`, in lower case as clients send it.
    pub media_type: &'a str,
    /// Parameters besides `q`, in order.
    pub params: Vec<(&'a str, &'a str)>,
    /// Quality in thousandths, 0 to 1000.
    quality: u16,
}

impl MediaRange<'_> {
    /// The value of a parameter, `""` when it is missing.
    pub fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(n, _)| *n == name).map_or("", |(_, value)| value)
    }
}

/// Splits an `Accept` header into ranges, best first; equal qualities keep their order.
pub fn media_ranges(accept: &str) -> Vec<MediaRange<'_>> {
    let mut ranges: Vec<MediaRange<'_>> = accept.split(',').filter_map(media_range).collect();
    ranges.sort_by_key(|range| std::cmp::Reverse(range.quality));
    ranges
}

fn media_range(text: &str) -> Option<MediaRange<'_>> {
    let mut parts = text.split(';').map(str::trim);
    let media_type = parts.next().filter(|t| !t.is_empty())?;
    let mut range = MediaRange { media_type, params: Vec::new(), quality: 1000 };
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        let (name, value) = (name.trim(), value.trim().trim_matches('"'));
        if name == "q" {
            range.quality = thousandths(value);
        } else {
            range.params.push((name, value));
        }
    }
    (range.quality > 0).then_some(range)
}

fn thousandths(text: &str) -> u16 {
    let value = text.parse::<f32>().unwrap_or(1.0).clamp(0.0, 1.0) * 1000.0;
    // Clamped to 0..=1000 the line above, so the cast keeps the value.
    value as u16
}

/// Media types that a 406 answer lists as possible.
const SUPPORTED: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
/// The same for what has no protobuf form.
const SUPPORTED_CUSTOM: &str = "application/json, application/yaml";

impl Negotiated {
    /// Chooses encoding and form for a resource request.
    ///
    /// # Errors
    /// 406 when nothing that the client accepts can be made, 400 for an unknown `includeObject` of a table.
    pub fn for_objects(headers: &HeaderMap, query: &Query) -> Result<Negotiated, Status> {
        let all =
            |encoding, form| !matches!((encoding, form), (Encoding::Protobuf, Form::Table(_)));
        let chosen = Self::choose(headers, query, all).ok_or_else(|| not_acceptable(SUPPORTED))?;
        chosen.check_include_object(query)
    }

    /// The same for what is answered and never kept, such as reviews: it has no other form than its own.
    ///
    /// # Errors
    /// 406 when the client accepts only other forms.
    pub fn for_answers(headers: &HeaderMap, query: &Query) -> Result<Negotiated, Status> {
        let whole = |_, form| form == Form::Object;
        Self::choose(headers, query, whole).ok_or_else(|| not_acceptable(SUPPORTED))
    }

    /// The same for custom resources, of which only metadata has a protobuf form.
    ///
    /// # Errors
    /// 406 when nothing that the client accepts can be made.
    pub fn for_custom_objects(headers: &HeaderMap, query: &Query) -> Result<Negotiated, Status> {
        let possible = |encoding, form| {
            !matches!((encoding, form), (Encoding::Protobuf, Form::Table(_) | Form::Object))
        };
        let chosen = Self::choose(headers, query, possible);
        chosen.ok_or_else(|| not_acceptable(SUPPORTED_CUSTOM))?.check_include_object(query)
    }

    /// Checks `?includeObject=`, which only tables heed.
    fn check_include_object(self, query: &Query) -> Result<Negotiated, Status> {
        match (self.form, query.get("includeObject")) {
            (Form::Table(_), Some(other)) if !["Metadata", "None", "Object"].contains(&other) => {
                Err(Status::bad_request(format!(
                    "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be 'Metadata', 'Object', 'None', or empty"
                )))
            }
            _ => Ok(self),
        }
    }

    fn choose(
        headers: &HeaderMap,
        query: &Query,
        possible: impl Fn(Encoding, Form) -> bool,
    ) -> Option<Negotiated> {
        let accept = header(headers, ACCEPT);
        let chosen = if accept.is_empty() {
            Some((Encoding::Json, Form::Object))
        } else {
            media_ranges(accept)
                .iter()
                .filter_map(|range| Some((encoding_of(range)?, form_of(range)?)))
                .find(|(encoding, form)| possible(*encoding, *form))
        };
        let (encoding, form) = chosen?;
        Some(Negotiated {
            encoding: prettify(encoding, headers, query),
            form,
            gzip: takes_gzip(headers),
        })
    }

    /// Chooses the encoding of an answer that has one form only, such as discovery or a `Status`.
    ///
    /// Never fails: a `Status` must reach the client in some encoding.
    pub fn for_plain(headers: &HeaderMap, query: &Query) -> Negotiated {
        let encoding = media_ranges(header(headers, ACCEPT))
            .iter()
            .find_map(encoding_of)
            .unwrap_or(Encoding::Json);
        Negotiated {
            encoding: prettify(encoding, headers, query),
            form: Form::Object,
            gzip: takes_gzip(headers),
        }
    }
}

fn not_acceptable(supported: &str) -> Status {
    Status::not_acceptable(format!("only the following media types are accepted: {supported}"))
}

fn encoding_of(range: &MediaRange<'_>) -> Option<Encoding> {
    match range.media_type {
        "application/json" | "application/*" | "*/*" => Some(Encoding::Json),
        "application/yaml" => Some(Encoding::Yaml),
        "application/vnd.kubernetes.protobuf" => Some(Encoding::Protobuf),
        // Text for a browser or `curl -H 'Accept: text/html'` would be a 406 upstream as well.
        _ => None,
    }
}

fn form_of(range: &MediaRange<'_>) -> Option<Form> {
    let version = match (range.param("g"), range.param("v")) {
        ("", "") => MetaVersion::V1,
        ("meta.k8s.io", "v1") => MetaVersion::V1,
        ("meta.k8s.io", "v1beta1") => MetaVersion::V1Beta1,
        _ => return None,
    };
    match range.param("as") {
        "" => Some(Form::Object),
        "Table" => Some(Form::Table(version)),
        "PartialObjectMetadata" => Some(Form::PartialMetadata(version)),
        "PartialObjectMetadataList" => Some(Form::PartialMetadataList(version)),
        _ => None,
    }
}

/// `?pretty` decides; without it, clients that people type into (curl, wget, browsers) get indented JSON.
fn prettify(encoding: Encoding, headers: &HeaderMap, query: &Query) -> Encoding {
    let agent = header(headers, USER_AGENT);
    let by_agent = ["curl", "Wget", "Mozilla/5.0"].iter().any(|prefix| agent.starts_with(prefix));
    match encoding {
        Encoding::Json if query.flag("pretty").unwrap_or(by_agent) => Encoding::PrettyJson,
        Encoding::Json | Encoding::PrettyJson | Encoding::Yaml | Encoding::Protobuf => encoding,
    }
}

/// Whether `Accept-Encoding` names gzip.
pub fn takes_gzip(headers: &HeaderMap) -> bool {
    header(headers, ACCEPT_ENCODING).split(',').any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        name.trim() == "gzip" && weight.trim() != "q=0"
    })
}

/// A header's value as text, `""` when it is missing or not ASCII.
pub fn header(headers: &HeaderMap, name: http::HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(accept: &str, expected: Expect) {
        let mut headers = HeaderMap::new();
        if !accept.is_empty() {
            headers.insert(ACCEPT, accept.parse().unwrap());
        }
        let text = match Negotiated::for_objects(&headers, &Query::default()) {
            Ok(negotiated) => format!("{:?} {:?}", negotiated.encoding, negotiated.form),
            Err(status) => format!("{} {status}", status.code()),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn accept_headers_of_known_clients() {
        check("", expect!["Json Object"]);
        check("*/*", expect!["Json Object"]);
        check("application/json, */*", expect!["Json Object"]);
        check("application/vnd.kubernetes.protobuf,application/json", expect!["Protobuf Object"]);
        check("application/vnd.kubernetes.protobuf", expect!["Protobuf Object"]);
        check(
            "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,application/json",
            expect!["Json Object"],
        );
        check(
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
            expect!["Json Table(V1)"],
        );
        check(
            "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
            expect!["Protobuf PartialMetadataList(V1)"],
        );
        check("application/json;q=0.5,application/yaml", expect!["Yaml Object"]);
    }

    #[test]
    fn tables_carry_what_there_is() {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, "application/json;as=Table;v=v1;g=meta.k8s.io".parse().unwrap());
        for (value, fits) in [("", true), ("None", true), ("Object", true), ("Everything", false)] {
            let query = Query::parse(&format!("includeObject={value}"));
            assert_eq!(Negotiated::for_objects(&headers, &query).is_ok(), fits, "{value}");
            assert!(Negotiated::for_objects(&HeaderMap::new(), &query).is_ok());
        }
    }

    #[test]
    fn nothing_acceptable() {
        check(
            "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io",
            expect![[
                "406 only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf"
            ]],
        );
        check(
            "text/html",
            expect![[
                "406 only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf"
            ]],
        );
        check(
            "application/json;as=Chart;g=meta.k8s.io;v=v1",
            expect![[
                "406 only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf"
            ]],
        );
    }
}
