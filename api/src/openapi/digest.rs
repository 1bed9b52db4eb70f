//! A short name for the content of a document, so that clients can tell an old one from a new one.
//!
//! It guards against nobody: a client only compares it.

/// *Source:* FNV-1a with 128 bits, draft-eastlake-fnv.
const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

/// Returns the digest itself.
pub(crate) fn bytes_of(bytes: &[u8]) -> [u8; 16] {
    number(bytes).to_be_bytes()
}

fn number(bytes: &[u8]) -> u128 {
    let mix = |hash: u128, byte: &u8| (hash ^ u128::from(*byte)).wrapping_mul(PRIME);
    bytes.iter().fold(OFFSET, mix)
}

/// Returns 32 upper-case hexadecimal digits.
pub(super) fn of(bytes: &[u8]) -> String {
    format!("{:032X}", number(bytes))
}

#[cfg(test)]
mod tests {
    #[test]
    fn known_value() {
        assert_eq!(super::of(b"a"), "D228CB696F1A8CAF78912B704E4A8964");
    }
}
