//! The order in which a body has the fields that are complained about.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Sorts complaints (`unknown field "a.b"`, `duplicate field "c"`) by where a body of JSON has what they complain
/// about: a field that is there twice at its second place. What the body does not have stays at the end.
///
/// *Source:* strict decoding upstream complains while it reads.
pub(crate) fn by_place(bytes: &[u8], found: &mut Vec<String>) {
    if found.len() < 2 {
        return;
    }
    let complaints = std::mem::take(found);
    let mut seen = vec![Vec::new(); complaints.len()];
    let wanted: Vec<(usize, &str)> =
        complaints.iter().enumerate().filter_map(|(at, text)| Some((at, path_of(text)?))).collect();
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let walk = Walk { wanted, clock: &mut 0, seen: &mut seen };
    // A body that cannot be read was refused before there were complaints.
    let _complaints_keep_their_order = walk.deserialize(&mut reader);
    let place = |at: usize, text: &str| {
        let nth = usize::from(text.starts_with("duplicate "));
        seen.get(at).and_then(|places| places.get(nth)).copied().unwrap_or(usize::MAX)
    };
    let mut sorted: Vec<(usize, String)> =
        complaints.into_iter().enumerate().map(|(at, text)| (place(at, &text), text)).collect();
    sorted.sort_by_key(|(place, _)| *place);
    found.extend(sorted.into_iter().map(|(_, text)| text));
}

fn path_of(complaint: &str) -> Option<&str> {
    complaint.split_once('"')?.1.strip_suffix('"')
}

/// Looks for paths below one value: the number of each, and what is left of it here.
struct Walk<'p, 's> {
    wanted: Vec<(usize, &'p str)>,
    clock: &'s mut usize,
    seen: &'s mut Vec<Vec<usize>>,
}

impl<'p> Walk<'p, '_> {
    /// Notes the paths that end at a member or item, and gives those that go on below it.
    fn step(&mut self, part: &str) -> Vec<(usize, &'p str)> {
        *self.clock += 1;
        let mut below = Vec::new();
        for (at, path) in &self.wanted {
            match path.strip_prefix(part) {
                Some("") => {
                    if let Some(places) = self.seen.get_mut(*at) {
                        places.push(*self.clock);
                    }
                }
                Some(rest) if rest.starts_with('[') => below.push((*at, rest)),
                Some(rest) => below.extend(rest.strip_prefix('.').map(|rest| (*at, rest))),
                None => {}
            }
        }
        below
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.wanted.is_empty() {
            return deserializer.deserialize_ignored_any(IgnoredAny).map(|_| ());
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _value: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _value: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _value: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _value: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _value: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        let mut index = 0;
        loop {
            let wanted = self.step(&format!("[{index}]"));
            let below = Walk { wanted, clock: &mut *self.clock, seen: &mut *self.seen };
            if items.next_element_seed(below)?.is_none() {
                return Ok(());
            }
            index += 1;
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        while let Some(key) = members.next_key::<String>()? {
            let wanted = self.step(&key);
            let below = Walk { wanted, clock: &mut *self.clock, seen: &mut *self.seen };
            members.next_value_seed(below)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_follow_the_body() {
        let mut found: Vec<String> = [
            "duplicate field \"spec.a\"",
            "unknown field \"spec.list[1].y\"",
            "unknown field \"spec.b\"",
            "unknown field \"elsewhere\"",
            "unknown field \"c\"",
        ]
        .map(str::to_owned)
        .to_vec();
        let body = br#"{"c": {}, "spec": {"b": 1, "a": 2, "list": [{"x": 1}, {"y": [null, 1.5]}], "a": true}}"#;
        by_place(body, &mut found);
        assert_eq!(
            found,
            [
                "unknown field \"c\"",
                "unknown field \"spec.b\"",
                "unknown field \"spec.list[1].y\"",
                "duplicate field \"spec.a\"",
                "unknown field \"elsewhere\"",
            ]
        );
    }
}
