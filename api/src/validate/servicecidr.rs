//! Rules for ServiceCIDRs: one or two ranges, one of a family, that stay what they are.
//!
//! *Source:* `ValidateServiceCIDR` in `pkg/apis/networking/validation`; KEP-1880.

use std::net::IpAddr;

use serde_json::Value;

use super::{Errors, IMMUTABLE, items, metadata};
use crate::field_error::{FieldError, Path};
use crate::names;
use crate::text::go_quote;

const SPEC: Path<'static> = Path::root("spec");

/// Checks a new ServiceCIDR.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, false, names::dns1123_subdomain);
    check(&mut errors, &object["spec"]);
    errors
}

/// Checks a changed ServiceCIDR: a range of the other family may be added, once.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    let path = SPEC.child("cidrs");
    let (now, before) = (items(&new["spec"], "cidrs"), items(&old["spec"], "cidrs"));
    let is_added = (before.len(), now.len()) == (1, 2);
    if before.len() != now.len() && !is_added {
        errors.push(FieldError::invalid(path, now, IMMUTABLE));
        return errors;
    }
    for (index, (now, before)) in now.iter().zip(before).enumerate() {
        if now != before {
            errors.push(FieldError::invalid(path.index(index), now, IMMUTABLE));
        }
    }
    if is_added {
        check(&mut errors, &new["spec"]);
    }
    errors
}

fn check(errors: &mut Errors, spec: &Value) {
    let path = SPEC.child("cidrs");
    let ranges = items(spec, "cidrs");
    if ranges.is_empty() {
        return errors.push(FieldError::required(path, "at least one CIDR required"));
    }
    if ranges.len() > 2 {
        return errors.push(FieldError::invalid(path, spec, "may only hold up to 2 values"));
    }
    let mut families = Vec::new();
    for (index, range) in ranges.iter().enumerate() {
        let range = range.as_str().unwrap_or_default();
        match canonical(range) {
            Ok(address) => families.push(address.is_ipv4()),
            Err(words) => errors.push(FieldError::invalid(path.index(index), range, words)),
        }
    }
    if families.len() == 2 && families.first() == families.last() {
        let words = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        errors.push(FieldError::invalid(path, ranges, words));
    }
}

/// Gives the first address of a range in its one form, or says what is wrong with it.
fn canonical(range: &str) -> Result<IpAddr, String> {
    let malformed = || "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".to_owned();
    let (address, length) = range.split_once('/').ok_or_else(malformed)?;
    let digits = length.bytes().all(|byte| byte.is_ascii_digit());
    let bits: u32 = length.parse().ok().filter(|_| digits).ok_or_else(malformed)?;
    let parsed: Result<IpAddr, _> = address.parse();
    let zeros = |part: &str| part.len() > 1 && part.starts_with('0');
    let Ok(parsed) = parsed else {
        let plain: Vec<&str> =
            address.split('.').map(|part| part.trim_start_matches('0')).collect();
        let plain: Vec<&str> =
            plain.into_iter().map(|p| if p.is_empty() { "0" } else { p }).collect();
        let is_other = plain.join(".").parse::<std::net::Ipv4Addr>().is_ok();
        let words = "must not have leading 0s in IP or prefix length";
        return Err(if is_other { words.to_owned() } else { malformed() });
    };
    let width = if parsed.is_ipv4() { 32 } else { 128 };
    if bits > width {
        return Err(malformed());
    }
    if zeros(length) {
        return Err("must not have leading 0s in IP or prefix length".to_owned());
    }
    if matches!(parsed, IpAddr::V6(address) if address.to_ipv4_mapped().is_some()) {
        return Err("must not have an IPv4-mapped IPv6 address".to_owned());
    }
    let below = match parsed {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    };
    let host_bits = width - bits;
    let beyond = if host_bits == 128 { below } else { below & ((1 << host_bits) - 1) };
    if beyond != 0 {
        return Err("must not have bits set beyond the prefix length".to_owned());
    }
    let form = format!("{parsed}/{bits}");
    if form != range {
        return Err(format!("must be in canonical form ({})", go_quote(&form)));
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use serde_json::json;

    fn of(ranges: &[&str]) -> Value {
        json!({"metadata": {"name": "a"}, "spec": {"cidrs": ranges}})
    }

    fn check(ranges: &[&str], expected: &[&str]) {
        testing::check(validate(&of(ranges)), expected);
    }

    #[test]
    fn ranges() {
        check(&["10.1.0.0/16"], &[]);
        check(&["10.1.0.0/16", "fd00:1::/112"], &[]);
        check(&["0.0.0.0/0", "::/0"], &[]);
        check(&[], &["spec.cidrs: Required value: at least one CIDR required"]);
        let same = "spec.cidrs: Invalid value: [\"10.1.0.0/16\",\"10.2.0.0/16\"]: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        check(&["10.1.0.0/16", "10.2.0.0/16"], &[same]);
        let malformed = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
        let zeros = "must not have leading 0s in IP or prefix length";
        for (range, words) in [
            ("10.1.0.0", malformed),
            ("10.1.0.0/33", malformed),
            ("10.1.0.0/+8", malformed),
            ("web/8", malformed),
            ("010.1.0.0/16", zeros),
            ("10.1.0.0/016", zeros),
            ("10.1.0.1/16", "must not have bits set beyond the prefix length"),
            ("::ffff:10.1.0.0/112", "must not have an IPv4-mapped IPv6 address"),
            ("FD00::/64", "must be in canonical form (\"fd00::/64\")"),
        ] {
            check(&[range], &[&format!("spec.cidrs[0]: Invalid value: {range:?}: {words}")]);
        }
    }

    #[test]
    fn a_range_stays_and_one_of_the_other_family_may_come() {
        let old = of(&["10.1.0.0/16"]);
        testing::check(validate_update(&of(&["10.1.0.0/16", "fd00::/64"]), &old), &[]);
        let line = "spec.cidrs[0]: Invalid value: \"10.2.0.0/16\": field is immutable";
        testing::check(validate_update(&of(&["10.2.0.0/16"]), &old), &[line]);
        let line = "spec.cidrs: Invalid value: []: field is immutable";
        testing::check(validate_update(&of(&[]), &old), &[line]);
    }
}
