//! Host names of listeners and routes, and which of several is the closest to a request's. Pure.

use std::cmp::Ordering;

/// What requests' host names are compared with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// Every name.
    Any,
    /// Names below a domain, `*.example.com`.
    Below {
        /// The domain with its leading dot, `.example.com`, in lower case.
        suffix: String,
        /// How much the star stands for.
        star: Star,
    },
    /// One name, in lower case.
    Exact(String),
}

/// How much a star at the beginning of a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Star {
    /// One label. *Source:* networking.k8s.io/v1 `IngressRule.host`.
    OneLabel,
    /// One label or more. *Source:* Gateway API `Listener.hostname`.
    Labels,
}

impl HostPattern {
    /// Reads a host name as it stands in an object; none, an empty one and `*` are every name.
    #[must_use]
    pub fn parse(text: Option<&str>, star: Star) -> Self {
        match text.map(str::to_ascii_lowercase) {
            None => Self::Any,
            Some(text) if text.is_empty() || text == "*" => Self::Any,
            Some(text) => match text.strip_prefix('*') {
                Some(suffix) => Self::Below { suffix: suffix.to_owned(), star },
                None => Self::Exact(text),
            },
        }
    }

    /// Whether a request's host name, as [`host_of`] gives it, is meant.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(name) => name == host,
            Self::Below { suffix, star } => {
                host.strip_suffix(suffix.as_str()).is_some_and(|rest| {
                    !rest.is_empty() && (*star == Star::Labels || !rest.contains('.'))
                })
            }
        }
    }

    /// The names that both mean; `None` if there are none.
    ///
    /// *Source:* Gateway API `HTTPRouteSpec.hostnames`.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Any, one) | (one, Self::Any) => Some(one.clone()),
            (Self::Exact(name), pattern) | (pattern, Self::Exact(name)) => {
                pattern.matches(name).then(|| Self::Exact(name.clone()))
            }
            (Self::Below { suffix: a, .. }, Self::Below { suffix: b, .. }) => {
                let (longer, shorter) = if a.len() >= b.len() { (self, b) } else { (other, a) };
                let Self::Below { suffix, .. } = longer else { return None };
                suffix.ends_with(shorter.as_str()).then(|| longer.clone())
            }
        }
    }

    /// Orders the closest first: a name before a star, a longer one before a shorter, every name last.
    #[must_use]
    pub fn closest_first(&self, other: &Self) -> Ordering {
        other.closeness().cmp(&self.closeness())
    }

    fn closeness(&self) -> (u8, usize) {
        match self {
            Self::Any => (0, 0),
            Self::Below { suffix, .. } => (1, suffix.len()),
            Self::Exact(name) => (2, name.len()),
        }
    }
}

/// The host name of a `Host` header or `:authority`: without port and final dot, in lower case.
#[must_use]
pub fn host_of(authority: &str) -> String {
    let host = if authority.starts_with('[') {
        authority.split_inclusive(']').next().unwrap_or(authority)
    } else {
        authority.split(':').next().unwrap_or(authority)
    };
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> HostPattern {
        HostPattern::parse(Some(text), Star::Labels)
    }

    #[test]
    fn a_star_is_one_label_for_ingress_and_any_number_for_gateways() {
        let check = |pattern: &str, star, host: &str, wanted| {
            let pattern = HostPattern::parse(Some(pattern), star);
            assert_eq!(pattern.matches(&host_of(host)), wanted, "{pattern:?} {host}");
        };
        check("*.foo.com", Star::OneLabel, "bar.foo.com", true);
        check("*.foo.com", Star::OneLabel, "baz.bar.foo.com", false);
        check("*.foo.com", Star::OneLabel, "foo.com", false);
        check("*.foo.com", Star::Labels, "baz.bar.foo.com", true);
        check("*.foo.com", Star::Labels, "foo.com", false);
        check("Foo.com", Star::Labels, "foo.COM.:8080", true);
        check("foo.com", Star::Labels, "a.foo.com", false);
        check("", Star::Labels, "[::1]:80", true);
    }

    #[test]
    fn names_meet_where_both_mean_them() {
        let check = |a: &str, b: &str, wanted: Option<&str>| {
            let wanted = wanted.map(labels);
            assert_eq!(labels(a).intersection(&labels(b)), wanted, "{a} {b}");
            assert_eq!(labels(b).intersection(&labels(a)), wanted, "{b} {a}");
        };
        check("", "a.b", Some("a.b"));
        check("a.b", "a.b", Some("a.b"));
        check("a.b", "c.b", None);
        check("*.b", "a.b", Some("a.b"));
        check("*.b", "*.a.b", Some("*.a.b"));
        check("*.b", "*.c", None);
        check("*.ab", "*.b", None);
        check("*.b", "b", None);
    }

    #[test]
    fn the_closest_name_comes_first() {
        let mut all = ["", "*.b", "a.b", "*.a.b", "longer.a.b"].map(labels);
        all.sort_by(HostPattern::closest_first);
        assert_eq!(all, ["longer.a.b", "a.b", "*.a.b", "*.b", ""].map(labels));
    }
}
