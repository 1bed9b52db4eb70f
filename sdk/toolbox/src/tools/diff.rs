//! `diff`: which lines two files have apart, in the unified form.
//!
//! *Source:* POSIX, `diff -u`; Myers, "An O(ND) Difference Algorithm and Its Variations", 1986.

use super::args::Args;
use crate::io::Source;
use crate::proc::{Done, Proc, reason};

/// Lines around a change that are shown, too.
const CONTEXT_LINES: usize = 3;

/// Most lines apart that are told one by one: the way that led to them is kept, which takes memory by the square. Files
/// that are further apart differ as a whole, from their first such line to the last.
const EDITS_MAX: usize = 1500;

/// Ends with trouble; 1 is a difference.
const CODE_TROUBLE: i32 = 2;

/// A line of both files, or of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edit {
    Keep,
    Remove,
    Add,
}

pub(super) async fn diff(p: &mut Proc) -> Done {
    let long = [("unified", 'U'), ("brief", 'q')];
    let args = Args::read(&p.args[1..], "uU:qs", &long)?;
    let around = args.number('U')?.and_then(|n| usize::try_from(n).ok()).unwrap_or(CONTEXT_LINES);
    let [old, new] = &args.rest[..] else {
        return Err("usage: diff [-q] [-U LINES] OLD NEW".into());
    };
    let mut texts = Vec::new();
    for name in [old, new] {
        match text(p, name).await {
            Ok(text) => texts.push(text),
            Err(error) => {
                p.complain(&format!("diff: {name}: {}", reason(&error))).await;
                return Ok(CODE_TROUBLE);
            }
        }
    }
    if texts[0] == texts[1] {
        if args.has('s') {
            p.print(&format!("Files {old} and {new} are identical\n")).await?;
        }
        return Ok(0);
    }
    if args.has('q') || texts.iter().any(|text| text.contains(&0)) {
        p.print(&format!("Files {old} and {new} differ\n")).await?;
        return Ok(1);
    }
    let lines = |text: &[u8]| {
        let text = String::from_utf8_lossy(text).into_owned();
        text.split_inclusive('\n').map(str::to_owned).collect::<Vec<_>>()
    };
    let (before, after) = (lines(&texts[0]), lines(&texts[1]));
    p.print(&format!("--- {old}\n+++ {new}\n{}", unified(&before, &after, around))).await?;
    Ok(1)
}

async fn text(p: &Proc, name: &str) -> std::io::Result<Vec<u8>> {
    if name == "-" {
        return p.stdin.all().await;
    }
    let path = p.path(name);
    match Source::device(&path) {
        Some(device) => device.all().await,
        None => std::fs::read(path),
    }
}

/// How the first lines become the second ones, from the beginning to the end of both.
fn edits(old: &[String], new: &[String]) -> Vec<Edit> {
    let both = old.iter().zip(new);
    let head = both.take_while(|(a, b)| a == b).count();
    let (a, b) = (&old[head..], &new[head..]);
    let tail = a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[..a.len() - tail], &b[..b.len() - tail]);
    let whole = || {
        let removed = std::iter::repeat_n(Edit::Remove, a.len());
        removed.chain(std::iter::repeat_n(Edit::Add, b.len())).collect()
    };
    let middle = shortest(a, b).unwrap_or_else(whole);
    let kept = |count| std::iter::repeat_n(Edit::Keep, count);
    kept(head).chain(middle).chain(kept(tail)).collect()
}

/// The fewest edits; `None` when they are more than [`EDITS_MAX`].
fn shortest(a: &[String], b: &[String]) -> Option<Vec<Edit>> {
    // For each number of edits, and each diagonal (lines taken from `a` less those from `b`, every other one from
    // `-edits` on), how many lines of `a` are behind.
    let mut rounds: Vec<Vec<usize>> = Vec::new();
    for edits in 0..=EDITS_MAX.min(a.len() + b.len()) {
        let mut round = Vec::with_capacity(edits + 1);
        for place in 0..=edits {
            let mut x = match rounds.last() {
                None => 0,
                Some(before) => step(before, place).0,
            };
            // The diagonal is `2 * place - edits`.
            let mut y = (x + edits).wrapping_sub(2 * place);
            while x < a.len() && y < b.len() && a[x] == b[y] {
                (x, y) = (x + 1, y + 1);
            }
            round.push(x);
            if x >= a.len() && y >= b.len() && x + edits - 2 * place == b.len() {
                rounds.push(round);
                return Some(way_back(&rounds, place));
            }
        }
        rounds.push(round);
    }
    None
}

/// How a round comes to one of its diagonals from the round before: the lines of `a` behind, and by which edit.
fn step(before: &[usize], place: usize) -> (usize, Edit) {
    let by_add = before.get(place);
    let by_remove = place.checked_sub(1).and_then(|from| before.get(from)).map(|x| x + 1);
    match (by_add, by_remove) {
        (Some(x), Some(further)) if *x >= further => (*x, Edit::Add),
        (Some(x), None) => (*x, Edit::Add),
        (_, Some(further)) => (further, Edit::Remove),
        (None, None) => (0, Edit::Add),
    }
}

fn way_back(rounds: &[Vec<usize>], mut place: usize) -> Vec<Edit> {
    let mut edits = Vec::new();
    for (number, round) in rounds.iter().enumerate().rev() {
        let x = round[place];
        let Some(before) = number.checked_sub(1).map(|before| &rounds[before]) else {
            edits.extend(std::iter::repeat_n(Edit::Keep, x));
            break;
        };
        let (start, edit) = step(before, place);
        edits.extend(std::iter::repeat_n(Edit::Keep, x - start));
        edits.push(edit);
        if edit == Edit::Remove {
            place -= 1;
        }
    }
    edits.reverse();
    edits
}

/// One stretch of changes with what is around it.
struct Hunk {
    old: (usize, usize),
    new: (usize, usize),
    text: String,
}

/// Writes all stretches.
fn unified(old: &[String], new: &[String], around: usize) -> String {
    let edits = edits(old, new);
    let is_near = |at: usize| {
        let near = at.saturating_sub(around)..edits.len().min(at + around + 1);
        edits[near].iter().any(|edit| *edit != Edit::Keep)
    };
    let (mut x, mut y, mut hunk, mut shown) = (0, 0, None::<Hunk>, String::new());
    for (at, edit) in edits.iter().enumerate() {
        if is_near(at) {
            let hunk = hunk.get_or_insert(Hunk { old: (x, 0), new: (y, 0), text: String::new() });
            let (sign, line) = match edit {
                Edit::Keep => (' ', &old[x]),
                Edit::Remove => ('-', &old[x]),
                Edit::Add => ('+', &new[y]),
            };
            hunk.old.1 += usize::from(*edit != Edit::Add);
            hunk.new.1 += usize::from(*edit != Edit::Remove);
            let end = if line.ends_with('\n') { "" } else { "\n\\ No newline at end of file\n" };
            hunk.text.push_str(&format!("{sign}{line}{end}"));
        } else if let Some(hunk) = hunk.take() {
            shown.push_str(&written(&hunk));
        }
        x += usize::from(*edit != Edit::Add);
        y += usize::from(*edit != Edit::Remove);
    }
    hunk.iter().for_each(|hunk| shown.push_str(&written(hunk)));
    shown
}

fn written(hunk: &Hunk) -> String {
    // Lines count from 1; a stretch without any is after the one that it names.
    let range = |(start, count): (usize, usize)| match count {
        0 => format!("{start},0"),
        1 => format!("{}", start + 1),
        _ => format!("{},{count}", start + 1),
    };
    format!("@@ -{} +{} @@\n{}", range(hunk.old), range(hunk.new), hunk.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.split_inclusive(' ').map(|word| format!("{}\n", word.trim_end())).collect()
    }

    /// Does what the edits say, and counts those that change something.
    fn applied(old: &[String], new: &[String]) -> (Vec<String>, usize) {
        let (mut x, mut y, mut made, mut changes) = (0, 0, Vec::new(), 0);
        for edit in edits(old, new) {
            match edit {
                Edit::Keep => made.push(old[x].clone()),
                Edit::Remove => {}
                Edit::Add => made.push(new[y].clone()),
            }
            changes += usize::from(edit != Edit::Keep);
            x += usize::from(edit != Edit::Add);
            y += usize::from(edit != Edit::Remove);
        }
        assert_eq!((x, y), (old.len(), new.len()));
        (made, changes)
    }

    #[test]
    fn edits_lead_from_one_to_the_other_and_are_few() {
        for (old, new, few) in [
            ("", "", 0),
            ("a b c", "a b c", 0),
            ("", "a b", 2),
            ("a b", "", 2),
            ("a b c a b b a", "c b a b a c", 5),
            ("a b c d e f g", "a x c d e g h", 4),
            ("x a x b x c x", "a b c", 4),
        ] {
            let (old, new) = (lines(old), lines(new));
            assert_eq!(applied(&old, &new), (new.clone(), few), "{old:?} {new:?}");
        }
    }

    #[test]
    fn files_too_far_apart_differ_as_a_whole() {
        let many = |word: &str| -> Vec<String> {
            (0..=EDITS_MAX / 2).map(|n| format!("{word}{n}\n")).collect()
        };
        let (mut old, mut new) = (many("a"), many("b"));
        old.insert(EDITS_MAX / 3, "same\n".into());
        new.insert(EDITS_MAX / 3, "same\n".into());
        assert_eq!(applied(&old, &new), (new.clone(), old.len() + new.len()));
    }

    #[test]
    fn stretches_have_their_places() {
        let (old, new) = (lines("1 2 3 4 5 6 7 8 9 10 11 12"), lines("1 2 4 5 6 7 8 9 10 11 x 12"));
        let wanted = "@@ -2,3 +2,2 @@\n 2\n-3\n 4\n@@ -11,2 +10,3 @@\n 11\n+x\n 12\n";
        assert_eq!(unified(&old, &new, 1), wanted);
        let wanted = "@@ -0,0 +1,2 @@\n+a\n+b\n\\ No newline at end of file\n";
        assert_eq!(unified(&[], &["a\n".into(), "b".into()], 3), wanted);
    }
}
