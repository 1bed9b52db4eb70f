//! What goes to the collector, and how much of it: pure.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::Uri;

/// What tracing needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The collector.
    pub endpoint: Endpoint,
    /// How many traces that begin here are sent.
    pub sampling: Sampling,
    /// What is sent.
    pub signals: Vec<Signal>,
    /// How often what is measured is sent.
    pub metrics_interval: Duration,
}

impl Config {
    /// How often measurements are sent unless told otherwise.
    ///
    /// *Source:* the default of `OTEL_METRIC_EXPORT_INTERVAL`.
    pub const METRICS_INTERVAL: Duration = Duration::from_secs(60);

    /// Sends all that there is.
    #[must_use]
    pub fn new(endpoint: Endpoint, sampling: Sampling) -> Self {
        let signals = Signal::ALL.to_vec();
        Self { endpoint, sampling, signals, metrics_interval: Self::METRICS_INTERVAL }
    }
}

/// A kind of things that a collector takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Spans of requests.
    Traces,
    /// What is measured.
    Metrics,
    /// Lines of containers' logs.
    Logs,
}

/// A kind that there is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' must be one of traces, metrics and logs")]
pub struct SignalError(String);

impl Signal {
    /// All of them.
    pub const ALL: [Signal; 3] = [Signal::Traces, Signal::Metrics, Signal::Logs];

    /// Its word in settings and in the collector's path.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }
}

impl FromStr for Signal {
    type Err = SignalError;

    fn from_str(text: &str) -> Result<Self, SignalError> {
        let known = Self::ALL.into_iter().find(|signal| signal.as_str() == text);
        known.ok_or_else(|| SignalError(text.to_owned()))
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The address of a collector, complete with the path for traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Uri);

/// Path for traces below a collector's address.
///
/// *Source:* OTLP/HTTP, "OTLP/HTTP Request".
const TRACES_PATH: &str = "/v1/traces";

/// An address that no span can be sent to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the collector's address '{0}' must be a URL such as http://localhost:4318")]
pub struct EndpointError(String);

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// Reads an address; `/v1/traces` is added unless it is there.
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let wrong = || EndpointError(text.to_owned());
        let base = text.trim_end_matches('/');
        let whole = if base.ends_with(TRACES_PATH) {
            base.to_owned()
        } else {
            format!("{base}{TRACES_PATH}")
        };
        let uri: Uri = whole.parse().map_err(|_| wrong())?;
        let known = matches!(uri.scheme_str(), Some("http" | "https"));
        if known && uri.host().is_some() && uri.query().is_none() {
            Ok(Self(uri))
        } else {
            Err(wrong())
        }
    }
}

impl Endpoint {
    /// The address for things of a kind.
    pub(crate) fn of(&self, signal: Signal) -> Endpoint {
        let whole = self.0.to_string();
        let base = whole.strip_suffix(TRACES_PATH).unwrap_or(&whole);
        let address = format!("{base}/v1/{signal}").parse();
        // What it is made of was an address before.
        Self(address.unwrap_or_else(|_| self.0.clone()))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The share of the traces that begin here and are sent, from 0 to 1. A request that comes with a
/// decision keeps it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling(f64);

/// A share that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the share of traces '{0}' must be a number from 0 to 1")]
pub struct SamplingError(String);

impl Sampling {
    /// Every trace.
    pub const ALL: Sampling = Sampling(1.0);

    /// The share, from 0 to 1.
    #[must_use]
    pub const fn ratio(self) -> f64 {
        self.0
    }
}

impl FromStr for Sampling {
    type Err = SamplingError;

    fn from_str(text: &str) -> Result<Self, SamplingError> {
        let ratio = text.parse::<f64>().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
        ratio.map(Self).ok_or_else(|| SamplingError(text.to_owned()))
    }
}

impl fmt::Display for Sampling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_for_traces_is_added() {
        let rows = [
            ("http://localhost:4318", Some("http://localhost:4318/v1/traces")),
            ("http://localhost:4318/", Some("http://localhost:4318/v1/traces")),
            ("https://otel.example/in", Some("https://otel.example/in/v1/traces")),
            ("http://otel.example/v1/traces", Some("http://otel.example/v1/traces")),
            ("localhost:4318", None),
            ("grpc://localhost:4317", None),
            ("http://otel.example/?key=1", None),
            ("", None),
        ];
        for (text, expected) in rows {
            let read = text.parse::<Endpoint>().ok().map(|endpoint| endpoint.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
        let endpoint: Endpoint = "https://otel.example/in".parse().unwrap();
        for signal in Signal::ALL {
            let path = format!("https://otel.example/in/v1/{signal}");
            assert_eq!(endpoint.of(signal).to_string(), path);
            assert_eq!(signal.as_str().parse(), Ok(signal));
        }
        assert!("profiles".parse::<Signal>().is_err());
    }

    #[test]
    fn a_share_is_between_none_and_all() {
        for (text, expected) in [
            ("0", Some(0.0)),
            ("0.25", Some(0.25)),
            ("1", Some(1.0)),
            ("1.1", None),
            ("-1", None),
            ("NaN", None),
        ] {
            assert_eq!(text.parse::<Sampling>().ok().map(Sampling::ratio), expected, "{text}");
        }
    }
}
