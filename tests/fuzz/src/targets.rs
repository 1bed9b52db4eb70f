//! The parsers, each with inputs to begin with and words of its language.
//!
//! A target says in a few words what came out, so that inputs with a new outcome are kept and changed further.

use std::sync::LazyLock;

use bytes::BytesMut;
use coracle_agent::streams::spdy::{Codec, Frame};
use coracle_agent::streams::websocket::Form;
use coracle_api::cel::{Expression, Makes, Scope, Shape};
use coracle_api::custom::JsonPath;
use coracle_api::patch::{json, merge, strategic};
use coracle_api::quantity::Quantity;
use coracle_api::schema::{self, Type};
use coracle_api::selector::{FieldSelector, LabelSelector};
use coracle_api::{decode, proto};
use coracle_apiserver::authn::TokenKeys;
use coracle_apiserver::options::ListOptions;
use coracle_apiserver::query::Query;
use coracle_apiserver::request_info::RequestInfo;
use http::Method;
use serde_json::Value;
use tokio_util::codec::{Decoder as _, Encoder as _};

/// A parser.
pub(crate) struct Target {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it is given first.
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
    /// Words of its language.
    pub(crate) words: &'static [&'static str],
    /// Runs it, and tells what came out.
    pub(crate) run: fn(&[u8]) -> String,
}

/// All parsers.
pub(crate) const TARGETS: &[Target] = &[
    Target { name: "protobuf", seeds: protobuf_seeds, words: &["k8s\0"], run: protobuf },
    Target { name: "json", seeds: json_seeds, words: JSON_WORDS, run: json_body },
    Target { name: "yaml", seeds: yaml_seeds, words: YAML_WORDS, run: yaml_body },
    Target { name: "patch", seeds: patch_seeds, words: PATCH_WORDS, run: patch },
    Target { name: "selector", seeds: selector_seeds, words: SELECTOR_WORDS, run: selector },
    Target { name: "cel", seeds: cel_seeds, words: CEL_WORDS, run: cel },
    Target { name: "jwt", seeds: jwt_seeds, words: &["eyJ", "alg", "none"], run: jwt },
    Target { name: "request", seeds: request_seeds, words: REQUEST_WORDS, run: request },
    Target { name: "spdy", seeds: spdy_seeds, words: &[], run: spdy },
    Target { name: "channels", seeds: channel_seeds, words: &["0", "4", "=="], run: channels },
    Target {
        name: "quantity",
        seeds: quantity_seeds,
        words: &["Ki", "e", "m", "E+"],
        run: quantity,
    },
    Target {
        name: "jsonpath",
        seeds: jsonpath_seeds,
        words: &["[*]", "..", "@", "?("],
        run: jsonpath,
    },
];

const POD: &str = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","labels":{"a":"b"},"creationTimestamp":"2026-01-01T00:00:00Z"},"spec":{"containers":[{"name":"c","image":"i","ports":[{"containerPort":80}],"resources":{"limits":{"cpu":"1","memory":"1Gi"}}}],"terminationGracePeriodSeconds":30},"status":{"conditions":[{"type":"Ready","status":"True"}]}}"#;

static POD_VALUE: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(POD).unwrap_or_default());

fn pod() -> &'static Type {
    schema::lookup("", "v1", "Pod").unwrap_or_else(|| {
        // The table has it; the tests of the schema say so.
        schema::kinds().map(|(_, _, ty)| ty).next().unwrap_or_else(|| std::process::abort())
    })
}

/// What an error says, without the numbers and names in it.
fn outcome(error: &impl ToString) -> String {
    let text = error.to_string();
    let plain = text.chars().filter(|letter| !letter.is_ascii_digit()).take(40);
    plain.collect()
}

fn texts(list: &[&str]) -> Vec<Vec<u8>> {
    list.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn protobuf_seeds() -> Vec<Vec<u8>> {
    vec![proto::encode(&POD_VALUE, pod()), proto::encode_named(&POD_VALUE).unwrap_or_default()]
}

fn protobuf(input: &[u8]) -> String {
    let named = proto::type_meta(input).map(|(version, kind)| format!("{version}{kind}").len());
    match proto::decode(input, pod()) {
        Ok(value) => {
            let again = proto::decode(&proto::encode(&value, pod()), pod());
            assert!(again.is_ok(), "what was read cannot be written and read: {value}");
            format!("good {}", value.to_string().len().ilog2())
        }
        Err(error) => format!("{} {}", outcome(&error), named.is_ok()),
    }
}

const JSON_WORDS: &[&str] =
    &["null", "true", "1e999", "-0", "\\u0000", "\\ud800", "{\"a\":", "[[[[", "\"metadata\":"];

fn json_seeds() -> Vec<Vec<u8>> {
    texts(&[POD, "[]", r#"{"a":1,"a":2}"#])
}

fn json_body(input: &[u8]) -> String {
    match decode::decode(input, decode::MediaType::Json, pod(), decode::FieldValidation::Warn) {
        Ok(decoded) => format!("good {}", decoded.warnings.len()),
        Err(error) => outcome(&error),
    }
}

const YAML_WORDS: &[&str] =
    &["&a ", "*a", "<<: ", "---\n", "|-\n", "? ", "!!binary ", "- - -", "{a: [", "'", "\n  "];

fn yaml_seeds() -> Vec<Vec<u8>> {
    texts(&[
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\nspec:\n  containers:\n  - name: c\n    image: i\n",
        "a: &x [1, 2]\nb: *x\n",
        "{a: 'b', c: \"d\\n\"}",
    ])
}

fn yaml_body(input: &[u8]) -> String {
    match decode::decode(input, decode::MediaType::Yaml, pod(), decode::FieldValidation::Strict) {
        Ok(decoded) => format!("good {}", decoded.value.to_string().len().ilog2()),
        Err(error) => outcome(&error),
    }
}

const PATCH_WORDS: &[&str] = &[
    r#""op":"replace""#,
    r#""op":"move","from":"#,
    r#""$patch":"delete""#,
    r#""$retainKeys":["#,
    r#""$setElementOrder/containers":["#,
    r#""$deleteFromPrimitiveList/finalizers":["#,
    "/-",
    "~1",
    "/spec/containers/0",
];

fn patch_seeds() -> Vec<Vec<u8>> {
    texts(&[
        r#"[{"op":"add","path":"/metadata/labels/x","value":"y"},{"op":"test","path":"/kind","value":"Pod"},{"op":"copy","from":"/spec","path":"/x"}]"#,
        r#"{"metadata":{"labels":{"a":null}},"spec":{"containers":[{"name":"c","image":"j"},{"$patch":"delete","name":"d"}],"$setElementOrder/containers":[{"name":"c"}]}}"#,
    ])
}

fn patch(input: &[u8]) -> String {
    let Ok(patch) = serde_json::from_slice::<Value>(input) else { return "no JSON".to_owned() };
    let said = |made: Result<Value, coracle_api::status::Status>| match made {
        Ok(_) => "good".to_owned(),
        Err(error) => outcome(&error),
    };
    let ways = [
        said(json::apply(&POD_VALUE, &patch)),
        said(merge::apply(&POD_VALUE, &patch)),
        said(strategic::apply(&POD_VALUE, &patch, pod())),
    ];
    ways.join("; ")
}

const SELECTOR_WORDS: &[&str] =
    &[" in (", " notin (", ")", "!", "==", "!=", " gt ", ",", "metadata.name="];

fn selector_seeds() -> Vec<Vec<u8>> {
    texts(&[
        "a=b,c!=d,e in (f,g),h notin (i),!j,k",
        "metadata.name=a,spec.nodeName!=b",
        "x.io/y > 5",
    ])
}

fn selector(input: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(input) else { return "no text".to_owned() };
    let labels = match LabelSelector::parse(text) {
        Ok(selector) => format!("good {}", selector.requirements().len()),
        Err(error) => outcome(&error),
    };
    let fields = match FieldSelector::parse(text) {
        Ok(selector) => format!("good {}", selector.requirements().len()),
        Err(error) => outcome(&error),
    };
    format!("{labels}; {fields}")
}

const CEL_WORDS: &[&str] = &[
    ".all(x, ",
    ".map(x, ",
    ".exists(x, ",
    "has(",
    "self.",
    "? ",
    " : ",
    "matches('",
    "quantity('",
    "timestamp('",
    "duration('",
    "Object{",
    "[?0]",
    ".?a",
    "optional.of(",
    "-9223372036854775808",
    "sets.contains(",
    ".format([",
    "size(",
    "b'",
    "r'''",
    "u",
    "in",
    "cidr('",
    "ip('",
    "url('",
];

fn cel_seeds() -> Vec<Vec<u8>> {
    texts(&[
        "self.spec.containers.all(c, c.image.startsWith('i') && size(c.name) < 10)",
        "has(self.metadata.labels) ? self.metadata.labels['a'] == 'b' : false",
        "quantity('1Gi').isGreaterThan(quantity('500Mi')) || ip('::1').family() == 6",
        "[1, 2, 3].map(x, x * 2).sum() == 12 && '%d %s'.format([1, 'a']) != ''",
        "Object{spec: Object.spec{replicas: 3}}",
        "timestamp('2026-01-01T00:00:00Z') + duration('1h') > self.metadata.creationTimestamp",
    ])
}

fn cel(input: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(input) else { return "no text".to_owned() };
    let compiled = Expression::compile_making(text, &["self"], Makes::Mutations);
    let expression = match compiled {
        Ok(expression) => expression,
        Err(error) => return outcome(&error),
    };
    let mut scope = Scope::new();
    scope.bind("self", &POD_VALUE, Shape::Unknown);
    match expression.evaluate(&scope) {
        Ok(_) => "good".to_owned(),
        Err(error) => outcome(&error),
    }
}

static KEYS: LazyLock<Option<TokenKeys>> =
    LazyLock::new(|| TokenKeys::new(&[rcgen::KeyPair::generate().ok()?]).ok());

fn jwt_seeds() -> Vec<Vec<u8>> {
    texts(&[
        "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJhIiwic3ViIjoiYiIsImF1ZCI6WyJjIl0sImV4cCI6MX0.AAAA",
        "eyJhbGciOiJub25lIn0.e30.",
    ])
}

fn jwt(input: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(input) else { return "no text".to_owned() };
    let keys = KEYS.as_ref();
    assert!(keys.is_none_or(|keys| keys.verify(text, "a").is_none()), "a forged token is taken");
    "refused".to_owned()
}

const REQUEST_WORDS: &[&str] = &[
    "/api/v1/",
    "/apis/",
    "namespaces/",
    "watch=true",
    "labelSelector=",
    "%2F",
    "%",
    "limit=",
    "continue=",
    "resourceVersion=",
    "/proxy/",
    "/status",
    "timeoutSeconds=",
];

fn request_seeds() -> Vec<Vec<u8>> {
    texts(&[
        "/api/v1/namespaces/default/pods/a/log?follow=true&container=c",
        "/apis/apps/v1/deployments?labelSelector=a%3Db&limit=500&continue=abc",
        "/api/v1/watch/namespaces/x/services?resourceVersion=5&sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
    ])
}

fn request(input: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(input) else { return "no text".to_owned() };
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let query = Query::parse(query);
    let info = RequestInfo::parse(&Method::GET, path, &query);
    let options = match ListOptions::parse(&query, query.is_true("watch")) {
        Ok(_) => "good".to_owned(),
        Err(error) => outcome(&error),
    };
    format!("{} {} {options}", info.verb.as_str(), info.resource.is_some())
}

fn spdy_seeds() -> Vec<Vec<u8>> {
    let mut out = BytesMut::new();
    let mut codec = Codec::default();
    let headers = coracle_agent::streams::spdy::Headers(vec![
        ("streamtype".to_owned(), "stdin".to_owned()),
        ("port".to_owned(), "80".to_owned()),
    ]);
    for frame in [
        Frame::SynStream { stream: 1, headers, fin: false },
        Frame::Data { stream: 1, bytes: bytes::Bytes::from_static(b"hello"), fin: true },
        Frame::Ping { id: 1 },
        Frame::GoAway { last: 1 },
    ] {
        // What cannot be written is left out of the beginning.
        let _written = codec.encode(frame, &mut out);
    }
    vec![out.to_vec()]
}

fn spdy(input: &[u8]) -> String {
    let (mut codec, mut source) = (Codec::default(), BytesMut::from(input));
    let mut frames = 0;
    loop {
        match codec.decode(&mut source) {
            Ok(Some(_)) => frames += 1,
            Ok(None) => return format!("{frames} frames"),
            Err(error) => return format!("{frames} {}", outcome(&error)),
        }
    }
}

fn channel_seeds() -> Vec<Vec<u8>> {
    vec![b"\x00ls\n".to_vec(), b"\xff\x00".to_vec(), b"0bHMK".to_vec(), b"4".to_vec()]
}

fn channels(input: &[u8]) -> String {
    let read = [Form::Binary, Form::Base64].map(|form| {
        let (channel, bytes) = form.parse(bytes::Bytes::copy_from_slice(input))?;
        let again = form.parse(form.message(channel, &bytes).into_data());
        assert_eq!(again, Some((channel, bytes.clone())), "of {input:?}");
        Some((channel.min(11), bytes.len().min(4)))
    });
    format!("{read:?}")
}

fn quantity_seeds() -> Vec<Vec<u8>> {
    texts(&["1", "100m", "1.5Gi", "12e6", "-0.001k"])
}

fn quantity(input: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(input) else { return "no text".to_owned() };
    match text.parse::<Quantity>() {
        Ok(quantity) => {
            let written = quantity.to_string();
            let again = written.parse::<Quantity>().map(|again| again.to_string());
            assert_eq!(again.ok().as_deref(), Some(written.as_str()), "of {text:?}");
            "good".to_owned()
        }
        Err(error) => outcome(&error),
    }
}

fn jsonpath_seeds() -> Vec<Vec<u8>> {
    texts(&[
        ".spec.containers[0].image",
        ".metadata.labels['a']",
        "..name",
        ".spec.containers[*].name",
    ])
}

fn jsonpath(input: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(input) else { return "no text".to_owned() };
    match JsonPath::read(text) {
        Ok(path) => format!("good {}", path.find(&POD_VALUE).len().min(3)),
        Err(error) => outcome(&error),
    }
}
