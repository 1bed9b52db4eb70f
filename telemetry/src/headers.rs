//! Trace context in the heads of requests: pure.
//!
//! *Source:* W3C Trace Context, `traceparent` and `tracestate`.

use http::HeaderMap;
use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::propagation::TraceContextPropagator;

/// Reads who asks; a context without a span when nobody says, or not in a way that can be trusted.
pub(crate) fn read(headers: &HeaderMap) -> Context {
    TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers))
}

/// Writes who asks, in place of what was there.
pub(crate) fn write(context: &SpanContext, headers: &mut HeaderMap) {
    if !context.is_valid() {
        return;
    }
    let _absent = headers.remove("tracestate");
    let context = Context::new().with_remote_span_context(context.clone());
    TraceContextPropagator::new().inject_context(&context, &mut HeaderInjector(headers));
    if headers.get("tracestate").is_some_and(http::HeaderValue::is_empty) {
        headers.remove("tracestate");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_context_is_handed_on_as_it_came() {
        let check = |parent: &str, state: Option<&str>, valid: bool| {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", parent.parse().unwrap());
            state.map(|state| headers.insert("tracestate", state.parse().unwrap()));
            let context = read(&headers).span().span_context().clone();
            assert_eq!(context.is_valid(), valid, "{parent}");
            let mut next = HeaderMap::new();
            next.insert("tracestate", "stale=1".parse().unwrap());
            write(&context, &mut next);
            if valid {
                assert_eq!(next["traceparent"], parent);
                assert_eq!(next.get("tracestate").map(|v| v.to_str().unwrap()), state);
            } else {
                assert_eq!(next["tracestate"], "stale=1");
            }
        };
        check(PARENT, None, true);
        check(PARENT, Some("vendor=opaque"), true);
        check("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", None, true);
        check("00-00000000000000000000000000000000-b7ad6b7169203331-01", None, false);
        check("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", None, false);
        check("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None, false);
        check("hello", None, false);
    }
}
