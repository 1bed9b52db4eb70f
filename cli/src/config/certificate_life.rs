//! How long certificates are valid, as flags say it.

use std::time::Duration;

use jiff::SignedDuration;

/// The longest: a hundred years, which is longer than anybody keeps a key. A certificate names no date after the year 9999.
const CERTIFICATE_LIFE_HOURS_MAX: i64 = 876_000;

/// Reads a duration.
///
/// # Errors
/// Says what it must be like.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let longest = SignedDuration::from_hours(CERTIFICATE_LIFE_HOURS_MAX);
    let duration = text.parse::<SignedDuration>().ok();
    let duration = duration.filter(|duration| duration.is_positive() && *duration <= longest);
    duration.and_then(|duration| Duration::try_from(duration).ok()).ok_or_else(|| {
        format!(
            "must be a duration such as 8760h or 30m, and at most {CERTIFICATE_LIFE_HOURS_MAX}h (100 years)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_valid_for_a_while_and_not_for_ever() {
        assert_eq!(parse("30m"), Ok(Duration::from_secs(1_800)));
        assert_eq!(parse("876000h"), Ok(Duration::from_secs(876_000 * 3_600)));
        for text in ["876000h1s", "80000000h", "99999999999999999999h", "0s", "-1h", "8760", "ever"]
        {
            let error = parse(text).unwrap_err();
            assert!(error.contains("at most 876000h (100 years)"), "{text}: {error}");
        }
    }
}
