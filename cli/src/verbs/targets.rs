//! Which objects the words of a command line mean.

use anyhow::bail;

use super::kinds::{Kind, Kinds};
use super::query::Query;
use super::session::Session;
use crate::config::SelectFlags;

/// Objects of one kind: one by its name, or those that a selection takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Their kind.
    pub(crate) kind: Kind,
    /// The name, if one was given.
    pub(crate) name: Option<String>,
}

impl Target {
    /// Path of the object, or of the collection with its selection.
    pub(crate) fn path(&self, session: &Session, select: &SelectFlags) -> String {
        let namespace = (!select.all_namespaces).then_some(session.namespace.as_str());
        let base = self.kind.path(namespace);
        match &self.name {
            Some(name) => format!("{base}/{name}"),
            None => Query::of_selection(select).on(&base),
        }
    }
}

/// Reads `KIND`, `KIND,KIND`, `KIND NAME…` and `KIND/NAME…`.
pub(crate) fn read(kinds: &Kinds, words: &[String]) -> anyhow::Result<Vec<Target>> {
    let slashed = words.iter().filter(|word| word.contains('/')).count();
    if slashed == words.len() {
        return words.iter().map(|word| one(kinds, word)).collect();
    }
    if slashed > 0 {
        bail!("give either KIND NAME… or KIND/NAME…, not both");
    }
    let Some((first, names)) = words.split_first() else {
        bail!("say which kind, such as pods or deployments");
    };
    let mut found = Vec::new();
    for word in first.split(',') {
        let category = kinds.category(word);
        if category.is_empty() {
            found.push(kinds.find(word)?);
        } else {
            found.extend(category);
        }
    }
    let targets = |kind: &Kind| -> Vec<Target> {
        let of = |name| Target { kind: kind.clone(), name };
        if names.is_empty() {
            return vec![of(None)];
        }
        names.iter().map(|name| of(Some(name.clone()))).collect()
    };
    Ok(found.into_iter().flat_map(targets).collect())
}

/// The same, where each object has to be named.
pub(crate) fn read_named(kinds: &Kinds, words: &[String]) -> anyhow::Result<Vec<(Kind, String)>> {
    let named = |target: Target| match target.name {
        Some(name) => Ok((target.kind, name)),
        None => bail!("say which {}: KIND/NAME, or KIND NAME", target.kind.singular),
    };
    read(kinds, words)?.into_iter().map(named).collect()
}

fn one(kinds: &Kinds, word: &str) -> anyhow::Result<Target> {
    match word.split_once('/') {
        Some((kind, name)) if !name.is_empty() && !name.contains('/') => {
            Ok(Target { kind: kinds.find(kind)?.clone(), name: Some(name.to_owned()) })
        }
        Some(_) | None => bail!("'{word}' must be KIND/NAME"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::kinds::tests::kinds;

    fn check(words: &str, expected: &str) {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let shown = match read(&kinds(), &words) {
            Ok(targets) => {
                let shown = |t: &Target| match &t.name {
                    Some(name) => t.kind.shown(name),
                    None => t.kind.group_resource(),
                };
                targets.iter().map(shown).collect::<Vec<_>>().join(" ")
            }
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn words_mean_objects() {
        check("po", "pods");
        check("po,deploy", "pods deployments.apps");
        check("all", "pods deployments.apps");
        check("pod a b", "pod/a pod/b");
        check("po/a deploy/b", "pod/a deployment.apps/b");
        check("po/a b", "error: give either KIND NAME… or KIND/NAME…, not both");
        check("po/", "error: 'po/' must be KIND/NAME");
    }
}
