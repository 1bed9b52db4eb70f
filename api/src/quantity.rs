//! Resource quantities such as `500m`, `1.5Gi` or `1e3`: parse, compare, add, print.
//!
//! A quantity is a whole number of nano-units, exact within its range. It remembers in which
//! format it was written, because the canonical form keeps it.
//! *Source:* `k8s.io/apimachinery/pkg/api/resource.Quantity`.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::str::FromStr;

/// Nano-units in one unit; finer parts are rounded away from zero.
const NANOS_PER_UNIT: i128 = 1_000_000_000;

/// Largest magnitude in units of a quantity with a binary suffix: upstream caps those at 2^63-1.
const UNITS_MAX: i128 = i64::MAX as i128;

/// Most bytes a quantity may have; longer text is hostile.
const TEXT_BYTES_MAX: usize = 256;

const DECIMAL_SUFFIXES: [(&str, i32); 11] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
    ("K", i32::MIN),
];

const BINARY_SUFFIXES: [(&str, u32); 6] =
    [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

/// How a quantity was written, which its canonical form keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// `12e6`.
    DecimalExponent,
    /// `12Mi`.
    BinarySI,
    /// `12M` and plain numbers.
    #[default]
    DecimalSI,
}

/// An exact amount of a resource.
///
/// Equality and order look at the amount alone, not at the format.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// Why a text is no quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseQuantityError {
    /// The text has another shape than number and suffix.
    #[error(
        "quantities must match the regular expression \
         '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Format,
    /// The number itself cannot be read.
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    /// The suffix is none of the known ones.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

impl Quantity {
    /// Makes a quantity of whole units.
    pub fn from_units(units: i64, format: Format) -> Self {
        Quantity { nanos: i128::from(units) * NANOS_PER_UNIT, format }
    }

    /// Makes a quantity of thousandths, as CPU is counted.
    pub fn from_millis(millis: i64) -> Self {
        Quantity { nanos: i128::from(millis) * 1_000_000, format: Format::DecimalSI }
    }

    /// Gives the format in which the quantity is printed.
    pub fn format(self) -> Format {
        self.format
    }

    /// Gives whole units, rounded up (away from zero); the result is capped to `i64`.
    pub fn value(self) -> i64 {
        self.scaled_up(NANOS_PER_UNIT)
    }

    /// Gives thousandths of a unit, rounded up (away from zero); capped to `i64`.
    pub fn milli_value(self) -> i64 {
        self.scaled_up(1_000_000)
    }

    /// Tells whether the amount is nothing.
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Tells whether the amount is below nothing.
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    fn scaled_up(self, nanos_each: i128) -> i64 {
        let whole = self.nanos / nanos_each;
        let rest = self.nanos % nanos_each;
        let rounded = whole + rest.signum();
        i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Add for Quantity {
    type Output = Quantity;
    /// Adds amounts; a zero left side takes the right side's format.
    fn add(self, other: Quantity) -> Quantity {
        let format = if self.is_zero() { other.format } else { self.format };
        Quantity { nanos: self.nanos.saturating_add(other.nanos), format }
    }
}

impl Sub for Quantity {
    type Output = Quantity;
    fn sub(self, other: Quantity) -> Quantity {
        let format = if self.is_zero() { other.format } else { self.format };
        Quantity { nanos: self.nanos.saturating_sub(other.nanos), format }
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Quantity) {
        *self = *self + other;
    }
}

impl SubAssign for Quantity {
    fn sub_assign(&mut self, other: Quantity) {
        *self = *self - other;
    }
}

impl FromStr for Quantity {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = Parts::split(text)?;
        let scale = Scale::parse(parts.suffix)?;
        let (numerator, fraction_digits) = parts.digits()?;
        let (nanos, format) = match scale {
            Scale::Decimal(exponent, format) => {
                (scale_by_ten(numerator, exponent + 9 - fraction_digits), format)
            }
            Scale::Binary(shift) => {
                (scale_by_two(numerator, shift, fraction_digits), Format::BinarySI)
            }
        };
        let (nanos, format) = match format {
            Format::BinarySI if nanos < NANOS_PER_UNIT => (nanos, Format::DecimalSI),
            Format::BinarySI => (nanos.min(UNITS_MAX * NANOS_PER_UNIT), format),
            Format::DecimalExponent | Format::DecimalSI => (nanos, format),
        };
        Ok(Quantity { nanos: if parts.negative { -nanos } else { nanos }, format })
    }
}

struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

impl<'a> Parts<'a> {
    fn split(text: &'a str) -> Result<Self, ParseQuantityError> {
        if text.is_empty() || text.len() > TEXT_BYTES_MAX {
            return Err(ParseQuantityError::Format);
        }
        let negative = text.starts_with('-');
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let digits_end = unsigned.find(|c: char| !c.is_ascii_digit()).unwrap_or(unsigned.len());
        let (whole, rest) = unsigned.split_at(digits_end);
        let (fraction, suffix) = match rest.strip_prefix('.') {
            Some(rest) => {
                rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()))
            }
            None => ("", rest),
        };
        if whole.is_empty() && fraction.is_empty() || !is_suffix_shape(suffix) {
            return Err(ParseQuantityError::Format);
        }
        Ok(Parts { negative, whole, fraction, suffix })
    }

    /// Gives all digits as one number and how many of them stand after the point.
    ///
    /// Digits that cannot matter (beyond 10^30 of nano-units) saturate.
    fn digits(&self) -> Result<(i128, i32), ParseQuantityError> {
        let mut number: i128 = 0;
        for digit in self.whole.bytes() {
            number = push_digit(number, digit);
        }
        // Beyond 30 digits after the point nothing can be told apart at nano-units with the
        // largest suffix; a last 1 keeps the rounding up.
        let kept = &self.fraction[..self.fraction.len().min(30)];
        let dropped = self.fraction[kept.len()..].bytes().any(|digit| digit != b'0');
        let mut places = 0;
        for digit in kept.bytes() {
            if number > i128::MAX / 1_000 {
                break;
            }
            number = push_digit(number, digit);
            places += 1;
        }
        if dropped {
            number = number.saturating_add(1);
        }
        Ok((number, places))
    }
}

fn push_digit(number: i128, digit: u8) -> i128 {
    number.saturating_mul(10).saturating_add(i128::from(digit - b'0'))
}

fn is_suffix_shape(suffix: &str) -> bool {
    let letters = suffix.trim_start_matches(|c: char| "eEinumkKMGTP".contains(c));
    let digits = letters.strip_prefix(['-', '+']).unwrap_or(letters);
    digits.bytes().all(|byte| byte.is_ascii_digit())
}

enum Scale {
    Decimal(i32, Format),
    Binary(u32),
}

impl Scale {
    fn parse(suffix: &str) -> Result<Self, ParseQuantityError> {
        for (text, exponent) in DECIMAL_SUFFIXES {
            if suffix == text && exponent != i32::MIN {
                return Ok(Scale::Decimal(exponent, Format::DecimalSI));
            }
        }
        for (text, shift) in BINARY_SUFFIXES {
            if suffix == text {
                return Ok(Scale::Binary(shift));
            }
        }
        let exponent = suffix.strip_prefix(['e', 'E']).ok_or(ParseQuantityError::Suffix)?;
        let exponent: i32 = exponent.parse().map_err(|_| ParseQuantityError::Suffix)?;
        // Beyond this every digit is either gone or capped.
        Ok(Scale::Decimal(exponent.clamp(-600, 600), Format::DecimalExponent))
    }
}

/// Multiplies by a power of ten, rounding up and saturating.
fn scale_by_ten(number: i128, exponent: i32) -> i128 {
    if number == 0 {
        return 0;
    }
    let factor = 10_i128.checked_pow(exponent.unsigned_abs());
    if exponent >= 0 {
        factor.map_or(i128::MAX, |factor| number.saturating_mul(factor))
    } else {
        factor.map_or(1, |factor| divide_up(number, factor))
    }
}

/// Multiplies by `2^shift` units and divides by the decimal places, rounding up.
fn scale_by_two(number: i128, shift: u32, places: i32) -> i128 {
    let divisor = 10_i128.checked_pow(places.unsigned_abs()).unwrap_or(i128::MAX);
    let whole = (number / divisor).saturating_mul(1_i128 << shift).saturating_mul(NANOS_PER_UNIT);
    let rest = number % divisor;
    // (rest / divisor) * 2^shift * 10^9 without overflow: first by 2^shift, then by 10^9.
    let (mut part, mut divisor) = (rest, divisor);
    while part > i128::MAX >> (shift + 30) {
        part = divide_up(part, 10);
        divisor = (divisor / 10).max(1);
    }
    whole.saturating_add(divide_up(
        part.saturating_mul(1_i128 << shift).saturating_mul(NANOS_PER_UNIT),
        divisor,
    ))
}

fn divide_up(number: i128, divisor: i128) -> i128 {
    number / divisor + i128::from(number % divisor != 0)
}

impl fmt::Display for Quantity {
    /// Writes the canonical form: no fraction, the largest suffix that keeps it exact.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        match self.format {
            Format::BinarySI => self.write_binary(f),
            Format::DecimalSI | Format::DecimalExponent => self.write_decimal(f),
        }
    }
}

impl Quantity {
    fn write_decimal(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut mantissa, mut exponent) = (self.nanos, -9);
        while mantissa % 1000 == 0 && exponent < 18 {
            mantissa /= 1000;
            exponent += 3;
        }
        if self.format == Format::DecimalExponent {
            if exponent == 0 {
                return write!(f, "{mantissa}");
            }
            return write!(f, "{mantissa}e{exponent}");
        }
        let suffix = DECIMAL_SUFFIXES
            .iter()
            .find(|(_, power)| *power == exponent)
            .map_or("", |(suffix, _)| suffix);
        write!(f, "{mantissa}{suffix}")
    }

    fn write_binary(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos.abs() < 1024 * NANOS_PER_UNIT || self.nanos % NANOS_PER_UNIT != 0 {
            return Quantity { format: Format::DecimalSI, ..self }.write_decimal(f);
        }
        let mut mantissa = self.nanos / NANOS_PER_UNIT;
        let mut suffix = "";
        for (name, _) in BINARY_SUFFIXES {
            if mantissa % 1024 != 0 {
                break;
            }
            mantissa /= 1024;
            suffix = name;
        }
        write!(f, "{mantissa}{suffix}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(input: &str, canonical: &str) {
        let quantity: Quantity = input.parse().unwrap();
        assert_eq!(quantity.to_string(), canonical, "{input}");
        assert_eq!(canonical.parse::<Quantity>().unwrap(), quantity, "{input}");
    }

    #[test]
    fn canonical_forms() {
        for (input, canonical) in [
            ("0", "0"),
            ("0Mi", "0"),
            ("1", "1"),
            ("1000", "1k"),
            ("1024", "1024"),
            ("1024Ki", "1Mi"),
            ("1.5Gi", "1536Mi"),
            ("0.5", "500m"),
            ("100m", "100m"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("2500k", "2500k"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("12e6", "12e6"),
            ("100e-3", "100e-3"),
            ("1E", "1E"),
            ("1n", "1n"),
            ("0.0000000001", "1n"),
            ("0.5Ki", "512"),
            ("0.1Ki", "102400m"),
            ("100Ki", "100Ki"),
            ("1025Ki", "1025Ki"),
            ("-1Mi", "-1Mi"),
            ("+5", "5"),
            (".5", "500m"),
            ("5.", "5"),
            ("123456789123", "123456789123"),
            ("9223372036854775807", "9223372036854775807"),
            ("99999999999999999999", "99999999999999999999"),
            ("999Ei", "9223372036854775807"),
            ("1Ei", "1Ei"),
            ("1.25Ti", "1280Gi"),
        ] {
            check(input, canonical);
        }
    }

    #[test]
    fn refuses_what_upstream_refuses() {
        for input in
            ["", "a", "1x", "1.2.3", "1Kii", "1K", "1ki", "--1", "1 ", " 1", "1e", "1mi", ".", "+"]
        {
            assert!(input.parse::<Quantity>().is_err(), "{input:?}");
        }
        assert!("9".repeat(TEXT_BYTES_MAX + 1).parse::<Quantity>().is_err());
    }

    #[test]
    fn values_round_up() {
        let quantity = |text: &str| text.parse::<Quantity>().unwrap();
        assert_eq!(quantity("1500m").value(), 2);
        assert_eq!(quantity("1500m").milli_value(), 1500);
        assert_eq!(quantity("1u").milli_value(), 1);
        assert_eq!(quantity("1Gi").value(), 1 << 30);
        assert_eq!(quantity("-1500m").value(), -2);
        assert_eq!((quantity("500m") + quantity("500m")).to_string(), "1");
        assert_eq!((quantity("1Gi") - quantity("1Mi")).to_string(), "1023Mi");
        assert!(quantity("1Gi") > quantity("1G"));
    }

    proptest! {
        #[test]
        fn printing_and_parsing_agree(units in -1_000_000_000_i64..1_000_000_000, scale in 0..3) {
            let mut quantity = Quantity::from_units(units, Format::BinarySI);
            if scale == 1 { quantity = Quantity::from_millis(units); }
            if scale == 2 { quantity.format = Format::DecimalExponent; }
            let text = quantity.to_string();
            let parsed: Quantity = text.parse().unwrap();
            prop_assert_eq!(parsed, quantity);
            // A number without a suffix does not tell that it was a binary one.
            prop_assert_eq!(Quantity { format: quantity.format, ..parsed }.to_string(), text);
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "[0-9+.eEinumkKMGTP-]{0,40}") {
            if let Ok(quantity) = text.parse::<Quantity>() {
                let again: Quantity = quantity.to_string().parse().unwrap();
                prop_assert_eq!(again, quantity);
            }
        }
    }
}
