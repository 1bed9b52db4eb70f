//! Packet lines: four hexadecimal digits of length, then the line. `0000` ends a list.

use std::collections::BTreeMap;

/// What a client of this kind can do, as it tells the server.
const ABILITIES: &str = "shallow agent=coracle-git-remote";

/// Takes the next packet off `rest`: `Some(None)` is the end of a list, `None` the end of all.
fn next<'a>(rest: &mut &'a [u8]) -> Result<Option<Option<&'a [u8]>>, String> {
    if rest.is_empty() {
        return Ok(None);
    }
    let digits = rest.get(..4).and_then(|digits| std::str::from_utf8(digits).ok());
    let length = digits.and_then(|digits| usize::from_str_radix(digits, 16).ok());
    let length = length.ok_or("the answer is not git's: is this the address of a repository?")?;
    if length < 4 {
        *rest = &rest[4..];
        return Ok(Some(None));
    }
    let line = rest.get(4..length).ok_or("the answer ends within a line")?;
    *rest = &rest[length..];
    Ok(Some(Some(line)))
}

/// Reads the names and commits that a server advertises.
pub(crate) fn refs(answer: &[u8]) -> Result<BTreeMap<String, String>, String> {
    let (mut rest, mut refs) = (answer, BTreeMap::new());
    while let Some(packet) = next(&mut rest)? {
        let Some(line) = packet else { continue };
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end();
        if let Some(error) = line.strip_prefix("ERR ") {
            return Err(error.to_owned());
        }
        // What the server can do follows the first name, after a zero byte.
        let Some((id, name)) = line.split_once(' ').filter(|_| !line.starts_with('#')) else { continue };
        let name = name.split('\0').next().unwrap_or(name);
        // An empty repository advertises only what it can do.
        if id.len() == 40 && name != "capabilities^{}" {
            refs.insert(name.to_owned(), id.to_owned());
        }
    }
    Ok(refs)
}

/// Writes the request for one commit without its past.
pub(crate) fn want(commit: &str) -> Vec<u8> {
    let line = |text: String| format!("{:04x}{text}", text.len() + 4);
    let want = line(format!("want {commit} {ABILITIES}\n"));
    format!("{want}{}0000{}", line("deepen 1\n".to_owned()), line("done\n".to_owned())).into_bytes()
}

/// Gives the pack of an answer: what follows the lines before it.
pub(crate) fn pack(answer: &[u8]) -> Result<&[u8], String> {
    let mut rest = answer;
    while !rest.starts_with(b"PACK") {
        match next(&mut rest)? {
            Some(Some(line)) if line.starts_with(b"ERR ") => {
                return Err(String::from_utf8_lossy(&line[4..]).trim_end().to_owned());
            }
            Some(_) => {}
            None => return Err("the answer has no pack".to_owned()),
        }
    }
    Ok(rest)
}
