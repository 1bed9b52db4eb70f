//! Gateways and routes as listeners of the way in. Pure.
//!
//! What a route asks for and we do not have is never left out in silence: such a rule answers 500,
//! and the route's status says why ([`super::status`]).

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::attach::{attach, is_parent};
use super::objects::{
    BackendRef, FilterSpec, Gateway, HeaderSpec, ListenerSpec, MatchSpec, MethodSpec, NamedValue,
    PathSpec, RedirectSpec, RuleSpec,
};
use super::world::{Route, RouteKind, World};
use crate::front::annotations::Asked;
use crate::front::backend::{NoBackend, PortRef, resolve};
use crate::front::filter::{Filter, HeaderEdit, Mirror, PathEdit, Redirect, Rewrite};
use crate::front::hostname::{HostPattern, Star};
use crate::front::matching::{Match, PathMatch, ValueMatch};
use crate::front::routes::{
    Backend, Entry, Listener, Origin, Protocol, Rule, SecretKey, Target, Timeouts,
};
use crate::table::ServiceKey;

/// Why a backend reference leads to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unresolved {
    /// It is to a kind that takes no requests.
    #[error("backend '{0}' is of a kind that hosts cannot send requests to: it must be a Service")]
    InvalidKind(String),
    /// It leads to another namespace, which has not granted it.
    #[error("no ReferenceGrant in namespace '{0}' allows this reference to Service '{1}'")]
    RefNotPermitted(String, String),
    /// There is nothing there.
    #[error(transparent)]
    BackendNotFound(NoBackend),
}

impl Unresolved {
    /// The reason of the condition `ResolvedRefs`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InvalidKind(_) => "InvalidKind",
            Self::RefNotPermitted(..) => "RefNotPermitted",
            Self::BackendNotFound(_) => "BackendNotFound",
        }
    }
}

/// What a rule asks for that we do not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unsupported(pub String);

/// The listeners of all Gateways that hosts serve.
#[must_use]
pub fn listeners(world: &World<'_>) -> Vec<Listener> {
    let mut gateways: Vec<&Gateway> = world.gateways().collect();
    gateways
        .sort_by_cached_key(|gateway| (created(&gateway.metadata), gateway.metadata.name.clone()));
    let mut all = Vec::new();
    for gateway in gateways {
        let mut own: Vec<Option<Listener>> =
            gateway.spec.listeners.iter().map(|spec| listener(world, gateway, spec)).collect();
        for route in world.routes() {
            let parents = route.spec.parent_refs.iter();
            let parents: Vec<_> = parents.filter(|one| is_parent(&route, one, gateway)).collect();
            if parents.is_empty() {
                continue;
            }
            let rules = rules(world, &route);
            let attached =
                parents.iter().filter_map(|one| attach(world, &route, one, gateway).ok());
            for attachment in attached.flatten() {
                let Some(Some(listener)) = own.get_mut(attachment.listener) else { continue };
                for host in &attachment.hosts {
                    add_entries(listener, host, &rules, &created(route.metadata));
                }
            }
        }
        all.extend(own.into_iter().flatten());
    }
    all
}

fn add_entries(
    listener: &mut Listener,
    host: &HostPattern,
    rules: &[(Vec<Match>, Arc<Rule>)],
    created: &str,
) {
    for (matches, rule) in rules {
        let entry = |matching: &Match| Entry {
            host: host.clone(),
            matching: matching.clone(),
            created: created.to_owned(),
            rule: Arc::clone(rule),
        };
        listener.entries.extend(matches.iter().map(entry));
    }
}

fn created(metadata: &ObjectMeta) -> String {
    metadata.creation_timestamp.as_ref().map(|time| time.0.to_string()).unwrap_or_default()
}

/// A listener without routes; `None` for one that hosts cannot have.
fn listener(world: &World<'_>, gateway: &Gateway, spec: &ListenerSpec) -> Option<Listener> {
    let passes = spec.tls.as_ref().and_then(|tls| tls.mode.as_deref()) == Some("Passthrough");
    let protocol = match spec.protocol.as_str() {
        "HTTP" => Protocol::Http,
        "HTTPS" if !passes => Protocol::Https,
        "TLS" if passes => Protocol::Passthrough,
        _ => return None,
    };
    Some(Listener {
        port: u16::try_from(spec.port).ok()?,
        protocol,
        host: HostPattern::parse(spec.hostname.as_deref(), Star::Labels),
        ends: true,
        certificates: certificates(world, gateway, spec),
        entries: Vec::new(),
    })
}

/// The Secrets of a listener that it may refer to.
#[must_use]
pub fn certificates(world: &World<'_>, gateway: &Gateway, spec: &ListenerSpec) -> Vec<SecretKey> {
    let own = gateway.metadata.namespace.as_deref().unwrap_or_default();
    let all = spec.tls.iter().flat_map(|tls| &tls.certificate_refs);
    all.filter_map(|one| {
        let namespace = one.namespace.as_deref().unwrap_or(own);
        let secret = one.group.as_deref().is_none_or(str::is_empty)
            && one.kind.as_deref().is_none_or(|kind| kind == "Secret");
        let granted = || world.may_refer(("Gateway", own), ("Secret", namespace, &one.name));
        (secret && granted()).then(|| (namespace.to_owned(), one.name.clone()))
    })
    .collect()
}

/// The rules of a route, each with its matches.
fn rules(world: &World<'_>, route: &Route<'_>) -> Vec<(Vec<Match>, Arc<Rule>)> {
    let origin = Origin {
        kind: route.kind.name(),
        namespace: route.namespace().to_owned(),
        name: route.metadata.name.clone().unwrap_or_default(),
    };
    let asked = Asked::of(route.metadata);
    let compiled = route.spec.rules.iter().filter_map(|spec| {
        let matches = matches(spec).ok()?;
        let mut rule = rule(world, route, spec).unwrap_or_else(|_| {
            let broken = Target::Nothing(StatusCode::INTERNAL_SERVER_ERROR);
            Rule::to(origin.clone(), vec![(1, broken)])
        });
        rule.origin = origin.clone();
        asked.apply(&mut rule);
        Some((matches, Arc::new(rule)))
    });
    compiled.collect()
}

/// Compiles a rule.
///
/// # Errors
/// What it asks for that we do not have.
pub fn rule(world: &World<'_>, route: &Route<'_>, spec: &RuleSpec) -> Result<Rule, Unsupported> {
    let targets = spec.backend_refs.iter().map(|one| -> Result<(u32, Target), Unsupported> {
        let weight = one.weight.unwrap_or(1);
        let target = match backend(world, route, one) {
            Ok(mut backend) => {
                backend.filters = filters(world, route, &one.filters)?;
                Target::Service(backend)
            }
            Err(_) => Target::Nothing(StatusCode::INTERNAL_SERVER_ERROR),
        };
        Ok((weight, target))
    });
    let origin = Origin { kind: "", namespace: String::new(), name: String::new() };
    let mut rule = Rule::to(origin, targets.collect::<Result<_, Unsupported>>()?);
    rule.filters = filters(world, route, &spec.filters)?;
    if let Some(timeouts) = &spec.timeouts {
        let read = |text: &Option<String>| text.as_deref().map(duration).transpose();
        rule.timeouts = Timeouts {
            request: read(&timeouts.request)?.filter(|time| !time.is_zero()),
            backend_request: read(&timeouts.backend_request)?.filter(|time| !time.is_zero()),
        };
    }
    Ok(rule)
}

/// Finds the backend of a reference.
///
/// # Errors
/// Why it leads to nothing.
pub fn backend(
    world: &World<'_>,
    route: &Route<'_>,
    one: &BackendRef,
) -> Result<Backend, Unresolved> {
    let service = one.group.as_deref().is_none_or(str::is_empty)
        && one.kind.as_deref().is_none_or(|kind| kind == "Service");
    if !service {
        return Err(Unresolved::InvalidKind(one.name.clone()));
    }
    let namespace = one.namespace.as_deref().unwrap_or(route.namespace());
    let from = (route.kind.name(), route.namespace());
    if !world.may_refer(from, ("Service", namespace, &one.name)) {
        return Err(Unresolved::RefNotPermitted(namespace.to_owned(), one.name.clone()));
    }
    let key = ServiceKey { namespace: namespace.to_owned(), name: one.name.clone() };
    let port = PortRef::Number(one.port.unwrap_or_default());
    let http2 = route.kind == RouteKind::Grpc;
    resolve(world.services, key, port, http2).map_err(Unresolved::BackendNotFound)
}

/// The matches of a rule: one of everything if it has none.
///
/// # Errors
/// An expression that cannot be read, or another kind of match.
pub fn matches(spec: &RuleSpec) -> Result<Vec<Match>, Unsupported> {
    if spec.matches.is_empty() {
        return Ok(vec![Match::path(PathMatch::prefix("/"))]);
    }
    spec.matches.iter().map(matching).collect()
}

fn matching(spec: &MatchSpec) -> Result<Match, Unsupported> {
    let mut found = Match::path(path(spec)?);
    if let Some(MethodSpec::Http(method)) = &spec.method {
        let method = Method::from_bytes(method.as_bytes());
        found.method = Some(method.map_err(|_| Unsupported("no such method".to_owned()))?);
    }
    for header in &spec.headers {
        let name = HeaderName::try_from(header.name.as_str());
        let name =
            name.map_err(|_| Unsupported(format!("no header can be called '{}'", header.name)))?;
        // Of several matches of one name the first counts, as the API says.
        if found.headers.iter().all(|(other, _)| *other != name) {
            found.headers.push((name, value(header)?));
        }
    }
    for parameter in &spec.query_params {
        if found.query.iter().all(|(other, _)| *other != parameter.name) {
            found.query.push((parameter.name.clone(), value(parameter)?));
        }
    }
    Ok(found)
}

fn path(spec: &MatchSpec) -> Result<PathMatch, Unsupported> {
    let expression = |text: &str| {
        let error = || Unsupported(format!("'{text}' is no regular expression of bearable size"));
        PathMatch::regex(text).ok_or_else(error)
    };
    if let Some(MethodSpec::Grpc(grpc)) = &spec.method {
        let is_regex = grpc.kind.as_deref() == Some("RegularExpression");
        return match (grpc.service.as_deref(), grpc.method.as_deref()) {
            (service, method) if is_regex => {
                let (service, method) = (service.unwrap_or("[^/]+"), method.unwrap_or("[^/]+"));
                expression(&format!("/(?:{service})/(?:{method})"))
            }
            (Some(service), Some(method)) => Ok(PathMatch::Exact(format!("/{service}/{method}"))),
            (Some(service), None) => Ok(PathMatch::prefix(&format!("/{service}"))),
            (None, Some(method)) => expression(&format!("/[^/]+/{}", regex::escape(method))),
            (None, None) => Ok(PathMatch::prefix("/")),
        };
    }
    let Some(path) = &spec.path else { return Ok(PathMatch::prefix("/")) };
    let text = path.value.as_deref().unwrap_or("/");
    match path.kind.as_deref() {
        None | Some("PathPrefix") => Ok(PathMatch::prefix(text)),
        Some("Exact") => Ok(PathMatch::Exact(text.to_owned())),
        Some("RegularExpression") => expression(text),
        Some(other) => Err(Unsupported(format!("paths cannot be matched by '{other}'"))),
    }
}

fn value(spec: &NamedValue) -> Result<ValueMatch, Unsupported> {
    match spec.kind.as_deref() {
        None | Some("Exact") => Ok(ValueMatch::Exact(spec.value.clone())),
        Some("RegularExpression") => ValueMatch::regex(&spec.value).ok_or_else(|| {
            Unsupported(format!("'{}' is no regular expression of bearable size", spec.value))
        }),
        Some(other) => Err(Unsupported(format!("values cannot be matched by '{other}'"))),
    }
}

fn filters(
    world: &World<'_>,
    route: &Route<'_>,
    specs: &[FilterSpec],
) -> Result<Vec<Filter>, Unsupported> {
    specs.iter().map(|spec| filter(world, route, spec)).collect()
}

fn filter(world: &World<'_>, route: &Route<'_>, spec: &FilterSpec) -> Result<Filter, Unsupported> {
    if let (Some(edit), "RequestHeaderModifier") =
        (&spec.request_header_modifier, spec.kind.as_str())
    {
        return Ok(Filter::RequestHeaders(headers(edit)?));
    }
    if let (Some(edit), "ResponseHeaderModifier") =
        (&spec.response_header_modifier, spec.kind.as_str())
    {
        return Ok(Filter::ResponseHeaders(headers(edit)?));
    }
    if let (Some(redirect), "RequestRedirect") = (&spec.request_redirect, spec.kind.as_str()) {
        return self::redirect(redirect);
    }
    if let (Some(rewrite), "URLRewrite") = (&spec.url_rewrite, spec.kind.as_str()) {
        let hostname = rewrite.hostname.as_deref().map(header_value).transpose()?;
        return Ok(Filter::Rewrite(Rewrite { hostname, path: path_edit(rewrite.path.as_ref()) }));
    }
    if let (Some(mirror), "RequestMirror") = (&spec.request_mirror, spec.kind.as_str()) {
        let (numerator, denominator) = match (&mirror.fraction, mirror.percent) {
            (Some(share), _) => (share.numerator, share.denominator.unwrap_or(100)),
            (None, Some(percent)) => (percent, 100),
            (None, None) => (1, 1),
        };
        // Copies for a backend that is not there are dropped; the status says so.
        return Ok(match backend(world, route, &mirror.backend_ref) {
            Ok(backend) => Filter::Mirror(Mirror { backend, numerator, denominator }),
            Err(_) => Filter::RequestHeaders(HeaderEdit::default()),
        });
    }
    Err(Unsupported(format!("hosts have no filter of type '{}'", spec.kind)))
}

fn redirect(spec: &RedirectSpec) -> Result<Filter, Unsupported> {
    let status = StatusCode::from_u16(spec.status_code.unwrap_or(302));
    Ok(Filter::Redirect(Redirect {
        scheme: spec.scheme.as_ref().map(|scheme| scheme.to_ascii_lowercase()),
        hostname: spec.hostname.clone(),
        path: path_edit(spec.path.as_ref()),
        port: spec.port,
        status: status.map_err(|_| Unsupported("no such status of a redirect".to_owned()))?,
    }))
}

fn path_edit(spec: Option<&PathSpec>) -> Option<PathEdit> {
    let spec = spec?;
    let full = spec.replace_full_path.clone().map(PathEdit::Full);
    full.or_else(|| spec.replace_prefix_match.clone().map(PathEdit::Prefix))
}

fn headers(spec: &HeaderSpec) -> Result<HeaderEdit, Unsupported> {
    let pairs = |list: &[NamedValue]| -> Result<Vec<_>, Unsupported> {
        list.iter().map(|one| Ok((header_name(&one.name)?, header_value(&one.value)?))).collect()
    };
    let remove: Result<_, _> = spec.remove.iter().map(|name| header_name(name)).collect();
    Ok(HeaderEdit { set: pairs(&spec.set)?, add: pairs(&spec.add)?, remove: remove? })
}

fn header_name(text: &str) -> Result<HeaderName, Unsupported> {
    HeaderName::try_from(text).map_err(|_| Unsupported(format!("no header can be called '{text}'")))
}

fn header_value(text: &str) -> Result<HeaderValue, Unsupported> {
    HeaderValue::try_from(text).map_err(|_| Unsupported(format!("no header can be '{text}'")))
}

/// Reads a duration such as `1h30m`, `10s` or `500ms`.
///
/// *Source:* GEP-2257.
fn duration(text: &str) -> Result<Duration, Unsupported> {
    let wrong = || Unsupported(format!("'{text}' is no duration such as 10s or 500ms"));
    let (mut rest, mut total) = (text, Duration::ZERO);
    if text.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, after) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(letters);
        total += match unit {
            "h" => Duration::from_secs(number.saturating_mul(3_600)),
            "m" => Duration::from_secs(number.saturating_mul(60)),
            "s" => Duration::from_secs(number),
            "ms" => Duration::from_millis(number),
            _ => return Err(wrong()),
        };
        rest = next;
    }
    Ok(total)
}
