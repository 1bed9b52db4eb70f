//! The responses that the host gives in a guest's place.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

use super::admit::Refused;
use super::body::GuestBody;

/// Seconds after which a client that was sent away may come again.
const RETRY_AFTER_SECONDS: u64 = 1;

/// 503: there is no place for the request now.
pub(super) fn busy(why: Refused) -> Response<GuestBody> {
    let text = match why {
        Refused::QueueFull => "too many requests are waiting for this container\n",
        Refused::Waited => "this container had no place for the request in time\n",
    };
    retry_later(text)
}

/// 503: this machine has no slot for one more instance.
pub(super) fn no_slot() -> Response<GuestBody> {
    retry_later("no free instance on this host\n")
}

/// 503: the container is stopping.
pub(super) fn stopping() -> Response<GuestBody> {
    retry_later("this container is stopping\n")
}

/// 502: the guest failed on this request.
pub(super) fn failed(text: &str) -> Response<GuestBody> {
    plain(StatusCode::BAD_GATEWAY, Bytes::from(format!("{text}\n")))
}

/// 400: the request is not one that a guest can be given.
pub(super) fn bad_request(text: &str) -> Response<GuestBody> {
    plain(StatusCode::BAD_REQUEST, Bytes::from(format!("{text}\n")))
}

fn retry_later(text: &'static str) -> Response<GuestBody> {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, Bytes::from_static(text.as_bytes()));
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
    response
}

fn plain(status: StatusCode, text: Bytes) -> Response<GuestBody> {
    let mut response = Response::new(GuestBody::whole(text));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
