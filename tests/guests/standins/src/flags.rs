//! Flags as the original takes them: `--name=value`, `--name value`, with one dash or two.

use std::collections::BTreeMap;

/// The flags of a subcommand; those that take no value are `true`.
#[derive(Debug, Default)]
pub struct Flags(BTreeMap<String, String>);

impl Flags {
    /// Reads arguments; `switches` take no value of their own.
    pub fn read(args: &[String], switches: &[&str]) -> Self {
        let mut flags = BTreeMap::new();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let Some(name) = arg.strip_prefix('-') else { continue };
            let name = name.strip_prefix('-').unwrap_or(name);
            let (name, value) = match name.split_once('=') {
                Some((name, value)) => (name, value.to_owned()),
                None if switches.contains(&name) => (name, "true".to_owned()),
                None => (name, args.next().cloned().unwrap_or_default()),
            };
            flags.insert(name.to_owned(), value);
        }
        Self(flags)
    }

    /// The value of a flag; `None` when it is absent or empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The value of a flag as a number, else `default`.
    pub fn number(&self, name: &str, default: i64) -> i64 {
        self.text(name).and_then(|value| value.parse().ok()).unwrap_or(default)
    }

    /// Whether a switch is on, `default` when it is absent.
    pub fn on(&self, name: &str, default: bool) -> bool {
        self.text(name).map_or(default, |value| value == "true")
    }
}
