//! New inputs from known ones.

use rand::Rng;
use rand::rngs::StdRng;

/// Longest input: long enough for every limit but that of whole bodies, short enough for many runs.
const INPUT_BYTES_MAX: usize = 8 * 1024;
/// Changes of one input.
const CHANGES_MAX: usize = 6;
/// Bytes that parsers give a meaning.
const SPECIAL: &[u8] = b"{}[]()<>\"'\\/:,.;=!~%&|+-*?#@ \n\t\0\x01\x7f\x80\xff0019azAZ";

/// Changes an input here and there; `other` lends parts of itself.
pub(crate) fn mutate(input: &[u8], other: &[u8], words: &[&str], random: &mut StdRng) -> Vec<u8> {
    let mut out = input.to_vec();
    for _ in 0..random.random_range(1..=CHANGES_MAX) {
        change(&mut out, other, words, random);
    }
    out.truncate(INPUT_BYTES_MAX);
    out
}

fn change(out: &mut Vec<u8>, other: &[u8], words: &[&str], random: &mut StdRng) {
    let place = random.random_range(0..=out.len());
    let end = place + random.random_range(0..=(out.len() - place).min(32));
    match random.random_range(0..9) {
        0 => {
            if let Some(byte) = out.get_mut(place) {
                *byte ^= 1 << random.random_range(0..8);
            }
        }
        1 => {
            let special = SPECIAL.get(random.random_range(0..SPECIAL.len())).copied();
            out.insert(place, special.unwrap_or(0));
        }
        2 => drop(out.drain(place..end)),
        3 => {
            let part: Vec<u8> = out.get(place..end).unwrap_or_default().to_vec();
            let times = random.random_range(1..40);
            splice(out, place, &part.repeat(times));
        }
        4 => {
            let start = random.random_range(0..=other.len());
            let stop = start + random.random_range(0..=(other.len() - start).min(64));
            splice(out, place, other.get(start..stop).unwrap_or_default());
        }
        5 | 6 if !words.is_empty() => {
            let word = words.get(random.random_range(0..words.len())).copied();
            splice(out, place, word.unwrap_or_default().as_bytes());
        }
        7 => {
            let number: u64 = match random.random_range(0..4) {
                0 => u64::MAX,
                1 => i64::MAX as u64 + random.random_range(0..2),
                2 => 1 << random.random_range(0..63),
                _ => random.random(),
            };
            splice(out, place, number.to_string().as_bytes());
        }
        _ => {
            if let Some(byte) = out.get_mut(place) {
                *byte = random.random();
            }
        }
    }
}

fn splice(out: &mut Vec<u8>, place: usize, part: &[u8]) {
    out.splice(place..place, part.iter().copied());
}
