//! Where a request comes from: the addresses of its client, and of the proxies that it came through. Pure.

use std::net::IpAddr;

use http::HeaderMap;

/// The address at the other end of the connection that a request came by; requests of this process have none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Addresses that are told of one request, the last ones: nobody has a longer way here, but anybody can write a header.
const ADDRESSES_MAX: usize = 16;

/// Gives the addresses in the order of the way: what `X-Forwarded-For` names, then `X-Real-Ip`, then the connection's
/// own. Words that are no addresses are left out. Whoever sends the headers may say what they like; only the last
/// address is known.
///
/// *Source:* `SourceIPs` of `k8s.io/apimachinery/pkg/util/net` in behaviour.
pub(crate) fn addresses(headers: &HeaderMap, peer: Option<Peer>) -> Vec<IpAddr> {
    let texts =
        |name: &str| headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    let forwarded = texts("x-forwarded-for").flat_map(|text| text.split(','));
    let mut way: Vec<IpAddr> = forwarded.filter_map(address).collect();
    let real = texts("x-real-ip").next().and_then(address);
    way.extend(real.filter(|real| !way.contains(real)));
    let own = peer.map(|Peer(address)| address.to_canonical());
    way.extend(own.filter(|own| way.last() != Some(own)));
    way.split_off(way.len().saturating_sub(ADDRESSES_MAX))
}

fn address(text: &str) -> Option<IpAddr> {
    text.trim().parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn check(forwarded: &[&str], real: &str, peer: Option<&str>, expected: &[&str]) {
        let mut headers = HeaderMap::new();
        for text in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_str(text).unwrap());
        }
        if !real.is_empty() {
            headers.insert("x-real-ip", HeaderValue::from_str(real).unwrap());
        }
        let peer = peer.map(|text| Peer(text.parse().unwrap()));
        let found: Vec<String> = addresses(&headers, peer).iter().map(IpAddr::to_string).collect();
        assert_eq!(found, expected, "{forwarded:?} {real} {peer:?}");
    }

    #[test]
    fn the_way_ends_with_what_is_known() {
        check(&[], "", None, &[]);
        check(&[], "", Some("10.0.0.1"), &["10.0.0.1"]);
        check(&[], "", Some("::ffff:10.0.0.1"), &["10.0.0.1"]);
        check(
            &["1.1.1.1, 2.2.2.2", "fd00::1"],
            "",
            Some("10.0.0.1"),
            &["1.1.1.1", "2.2.2.2", "fd00::1", "10.0.0.1"],
        );
        check(&["1.1.1.1"], "2.2.2.2", Some("10.0.0.1"), &["1.1.1.1", "2.2.2.2", "10.0.0.1"]);
        check(&["1.1.1.1"], "1.1.1.1", Some("1.1.1.1"), &["1.1.1.1"]);
        check(&["nobody, 1.1.1.1:80, \"x\""], "y", Some("10.0.0.1"), &["10.0.0.1"]);
    }

    #[test]
    fn a_long_way_is_told_by_its_end() {
        let all: Vec<String> = (0..=ADDRESSES_MAX).map(|each| format!("10.0.1.{each}")).collect();
        let mut expected: Vec<&str> = all.iter().skip(2).map(String::as_str).collect();
        expected.push("10.0.0.1");
        check(&[&all.join(",")], "", Some("10.0.0.1"), &expected);
    }
}
