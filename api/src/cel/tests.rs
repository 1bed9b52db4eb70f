//! Expressions against values: outcomes and the words of failures.

use serde_json::{Value, json};

use super::*;

fn evaluate(text: &str, value: Value, shape: Shape<'_>) -> Result<Value, CelError> {
    let expression = Expression::compile(text, &["self", "oldSelf"])?;
    let mut scope = Scope::new();
    scope.bind("self", &value, shape);
    expression.evaluate(&scope).map(|value| to_json(&value).unwrap())
}

fn check(text: &str, value: Value, expected: Value) {
    assert_eq!(evaluate(text, value, Shape::Unknown), Ok(expected), "{text}");
}

#[test]
fn plain_values() {
    check(
        "self.replicas >= 1 && self.name.startsWith('a')",
        json!({"replicas": 2, "name": "ab"}),
        json!(true),
    );
    check("self.all(x, x < 3)", json!([1, 2]), json!(true));
    check("self.exists_one(x, x == 'b')", json!(["a", "b"]), json!(true));
    check("self.map(x, x * 2)", json!([1, 2]), json!([2, 4]));
    check("has(self.a) ? self.a : 'none'", json!({}), json!("none"));
    check("self['app.kubernetes.io/name']", json!({"app.kubernetes.io/name": "web"}), json!("web"));
    check("size(self) == 2", json!({"a": 1, "b": 2}), json!(true));
    check("'a' in self", json!(["a"]), json!(true));
}

#[test]
fn libraries_of_kubernetes() {
    check("quantity(self).isGreaterThan(quantity('500Mi'))", json!("1Gi"), json!(true));
    check("isURL(self) && url(self).getHost() == 'a.b'", json!("https://a.b/c"), json!(true));
    check("self.find('[0-9]+')", json!("abc 123"), json!("123"));
    check("ip(self).family()", json!("::1"), json!(6));
    check("self.isSorted() && self.sum() == 6", json!([1, 2, 3]), json!(true));
    check("self.split(',').size()", json!("a,b"), json!(2));
    check("!format.dns1123Label().validate(self).hasValue()", json!("good"), json!(true));
    check("sets.contains(self, ['a'])", json!(["a", "b"]), json!(true));
}

#[test]
fn schemas_shape_values() {
    let schema = json!({"type": "object", "properties": {
        "foo-bar": {"type": "integer"},
        "namespace": {"type": "string"},
        "ratio": {"type": "number"},
        "until": {"type": "string", "format": "date-time"},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
    }});
    let value = json!({"foo-bar": 1, "namespace": "n", "ratio": 2, "until": "2026-01-01T00:00:00Z",
        "labels": {"a-b": "c"}});
    let check = |text: &str| {
        assert_eq!(
            evaluate(text, value.clone(), Shape::Schema(&schema)),
            Ok(json!(true)),
            "{text}"
        );
    };
    check("self.foo__dash__bar == 1");
    check("self.__namespace__ == 'n'");
    check("self.ratio > 1.5");
    check("self.until > timestamp('2025-01-01T00:00:00Z')");
    check("self.labels['a-b'] == 'c'");
}

#[test]
fn failures_have_words() {
    let fail =
        |text: &str| evaluate(text, json!({"a": 1}), Shape::Unknown).unwrap_err().to_string();
    assert_eq!(
        fail("other.a == 1"),
        "compilation failed: undeclared reference to 'other' (in container '')"
    );
    assert_eq!(fail("self.b == 1"), "No such key: b");
    assert!(fail("self.a ==").starts_with("compilation failed: "));
    let long = "1".repeat(EXPRESSION_BYTES_MAX + 1);
    assert!(fail(&long).contains("must not be longer"));
    let text = Expression::compile("self.a", &["self"]).unwrap();
    let mut scope = Scope::new();
    scope.bind("self", &json!({"a": 1}), Shape::Unknown);
    assert_eq!(text.is_true(&scope), Err(CelError::Type { wanted: "bool" }));
}

#[test]
fn loops_inside_loops_are_limited() {
    let text = "self.all(x, self.all(y, x + y > 0))";
    assert_eq!(evaluate(text, json!([1, 2]), Shape::Unknown), Ok(json!(true)));
    let many: Vec<u64> = (0..1001).collect();
    assert_eq!(evaluate(text, json!(many), Shape::Unknown), Err(CelError::Cost));
    assert_eq!(evaluate("self.all(x, x >= 0)", json!(many), Shape::Unknown), Ok(json!(true)));
    let list = format!("[{}]", vec!["1"; 1001].join(", "));
    let text = format!("{list}.all(x, {list}.all(y, x == y))");
    assert_eq!(evaluate(&text, json!(1), Shape::Unknown), Err(CelError::Cost));
}

#[test]
fn all_expressions_of_a_scope_are_limited_together() {
    let some: Vec<u64> = (0..10).collect();
    let mut scope = Scope::new();
    scope.bind("self", &json!(some), Shape::Unknown);
    let expression = Expression::compile("self.all(x, x >= 0)", &["self"]).unwrap();
    scope.spent.store(SCOPE_STEPS_MAX - 10, Ordering::Relaxed);
    assert_eq!(expression.is_true(&scope), Ok(true));
    assert_eq!(expression.is_true(&scope), Err(CelError::Budget));
}

#[test]
fn what_is_used_is_known() {
    let rule = Expression::compile("self == oldSelf", &["self", "oldSelf"]).unwrap();
    assert!(rule.uses("oldSelf") && !rule.uses("other"));
    assert_eq!(rule.text(), "self == oldSelf");
}

fn mutation(text: &str) -> Result<Value, CelError> {
    let expression = Expression::compile_making(text, &["object"], Makes::Mutations)?;
    let mut scope = Scope::new();
    scope.bind("object", &json!({"n": 1}), Shape::Unknown);
    expression.evaluate(&scope).map(|value| to_json(&value).unwrap())
}

#[test]
fn structures_are_maps() {
    assert_eq!(
        mutation(
            "Object{spec: Object.spec{a__dash__b: object.n + 1, list: [Object.spec.list{x: 'y'}]}}"
        ),
        Ok(json!({"spec": {"a-b": 2, "list": [{"x": "y"}]}}))
    );
    assert_eq!(
        mutation("[JSONPatch{op: 'add', path: '/m/' + jsonpatch.escapeKey('a/b'), value: true}]"),
        Ok(json!([{"op": "add", "path": "/m/a~1b", "value": true}]))
    );
    assert_eq!(
        mutation("Other{}").unwrap_err().to_string(),
        "compilation failed: undeclared reference to 'Other' (in container '')"
    );
    assert!(Expression::compile("Object{}", &[]).is_err());
}

#[test]
fn what_may_be_missing() {
    check("self.?a.orValue(3)", json!({}), json!(3));
    check("self.?a.orValue(3)", json!({"a": 1}), json!(1));
}

#[derive(Debug)]
struct Reader;

impl Authorize for Reader {
    fn answer(&self, query: &Query) -> Answer {
        Answer { allowed: query.verb == "get", reason: format!("{query:?}") }
    }
}

#[test]
fn the_authorizer_is_asked() {
    let ask = |text: &str| {
        let expression = Expression::compile(text, &["authorizer"])?;
        let mut scope = Scope::new();
        let own = Query { resource: "pods".to_owned(), ..Query::default() };
        scope.bind_authorizer(Arc::new(Reader), own);
        expression.evaluate(&scope).map(|value| to_json(&value).unwrap())
    };
    let allowed = "authorizer.group('apps').resource('deployments').namespace('a').name('b').check('get').allowed()";
    assert_eq!(ask(allowed), Ok(json!(true)));
    assert_eq!(ask("authorizer.requestResource.check('create').allowed()"), Ok(json!(false)));
    assert_eq!(ask("authorizer.path('/healthz').check('get').allowed()"), Ok(json!(true)));
    let reason =
        ask("authorizer.serviceAccount('n', 'a').group('').resource('pods').check('x').reason()");
    let reason = reason.unwrap().to_string();
    assert!(reason.contains("Some((\\\"n\\\", \\\"a\\\"))"), "{reason}");
    assert!(ask("authorizer.check('get').allowed()").is_err());
}

/// Chains and nests that are as long as a text may be, and those that are as deep as they may be: on the small stack of
/// a worker.
#[test]
fn nothing_is_too_deep_for_a_stack() {
    let work = || {
        let longest =
            |part: &str| format!("self{}", part.repeat((EXPRESSION_BYTES_MAX - 4) / part.len()));
        for text in [longest(".a"), longest("[0]"), longest("+1"), longest(".a()"), longest("?1:2")]
        {
            assert!(Expression::compile(&text, &["self"]).is_err());
        }
        for (open, close) in
            [("(", ")"), ("[", "]"), ("{1:", "}"), ("!", ""), ("-", ""), ("f(", ")")]
        {
            let count = EXPRESSION_BYTES_MAX / 2 / open.len();
            let text = format!("{}1{}", open.repeat(count), close.repeat(count));
            // An even number of signs is none.
            let compiled = Expression::compile(&text, &[]);
            assert!(compiled.is_err() || close.is_empty(), "{open}");
        }
        let deep = format!("1{}", "+1".repeat(DEPTH_MAX - 1));
        let expression = Expression::compile(&deep, &[]).unwrap();
        assert_eq!(to_json(&expression.evaluate(&Scope::new()).unwrap()), Some(json!(DEPTH_MAX)));
        assert!(Expression::compile(&format!("{deep}+1"), &[]).is_err());
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(work).unwrap().join().unwrap();
}
