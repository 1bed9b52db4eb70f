//! In which order the items of a merged list stand.
//!
//! Items that the patch names stand in the patch's order, the others in the order they had; the
//! two are woven together so that what stood in front stays in front where both are known.
//! *Source:* design proposal "preserve order in strategic merge patch".

use serde_json::Value;

/// How two items are told to be the same: by a field, or (empty) by their value.
pub(super) type MergeKey<'a> = &'a str;

/// Gives what identifies an item.
pub(super) fn identity<'v>(item: &'v Value, key: MergeKey<'_>) -> &'v Value {
    if key.is_empty() { item } else { &item[key] }
}

/// Finds an item of the same identity.
pub(super) fn position(list: &[Value], item: &Value, key: MergeKey<'_>) -> Option<usize> {
    let wanted = identity(item, key);
    list.iter().position(|candidate| identity(candidate, key) == wanted)
}

/// Orders the items of a merged list: `by_patch` is the order wanted for the items in it,
/// `by_server` the order in which the list stood before.
pub(super) fn arrange(
    merged: Vec<Value>,
    by_patch: &[Value],
    by_server: &[Value],
    key: MergeKey<'_>,
) -> Vec<Value> {
    let (mut named, mut others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| position(by_patch, item, key).is_some());
    named.sort_by_key(|item| position(by_patch, item, key));
    // Items without a place keep behind those with one.
    others.sort_by_key(|item| position(by_server, item, key).unwrap_or(usize::MAX));
    weave(others, named, by_server, key)
}

/// Weaves two ordered lists: an item of `others` goes first only when both items stood in the list
/// before, in that order.
fn weave(
    others: Vec<Value>,
    named: Vec<Value>,
    by_server: &[Value],
    key: MergeKey<'_>,
) -> Vec<Value> {
    let mut woven = Vec::with_capacity(others.len() + named.len());
    let mut others = others.into_iter().peekable();
    for item in named {
        let place = position(by_server, &item, key);
        while let Some(place) = place {
            let earlier = others.next_if(|other| {
                position(by_server, other, key).is_some_and(|theirs| theirs < place)
            });
            match earlier {
                Some(other) => woven.push(other),
                None => break,
            }
        }
        woven.push(item);
    }
    woven.extend(others);
    woven
}
