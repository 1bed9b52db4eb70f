//! `xargs`: runs a tool with what stdin lists.

use super::args::Args;
use super::system::run_tool;
use crate::proc::{Done, Proc};

/// Arguments of one run, when `-n` does not say.
const ARGUMENTS_MAX: usize = 1024;

pub(super) async fn xargs(p: &mut Proc) -> Done {
    // What follows the first operand is the tool's own.
    let given = &p.args[1..];
    let mut own = 0;
    while let Some(arg) = given.get(own).filter(|arg| arg.starts_with('-')) {
        let takes = matches!(arg.as_str(), "-n" | "-I" | "-d" | "-L" | "-P");
        own += 1 + usize::from(takes);
    }
    let own = own.min(given.len());
    let args = Args::read(&given[..own], "n:I:d:L:P:0rt", &[])?;
    let mut words = given[own..].to_vec();
    if words.is_empty() {
        words.push("echo".to_owned());
    }
    let text = String::from_utf8_lossy(&p.stdin.all().await?).into_owned();
    let items = items(&args, &text)?;
    let mut code = 0;
    if let Some(mark) = args.value('I') {
        for item in items {
            let line = words.iter().map(|word| word.replace(mark, &item)).collect();
            code = code.max(once(p, line).await?);
        }
        return Ok(code);
    }
    let most = args.number('n')?.or(args.number('L')?);
    let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(ARGUMENTS_MAX).max(1);
    if items.is_empty() && !args.has('r') {
        return once(p, words).await;
    }
    for some in items.chunks(most) {
        code = code.max(once(p, [&words[..], some].concat()).await?);
    }
    Ok(code)
}

async fn once(p: &Proc, words: Vec<String>) -> Done {
    let mut inner = p.clone();
    inner.args = words;
    inner.stdin = crate::io::Source::nothing();
    let code = run_tool(&mut inner).await?;
    // *Source:* POSIX, `xargs`: any failure of the tool is 123.
    Ok(if (1..=125).contains(&code) { 123 } else { code })
}

fn items(args: &Args, text: &str) -> Result<Vec<String>, String> {
    let whole = |separator: char| {
        let text = text.strip_suffix(separator).unwrap_or(text);
        let items: Vec<String> = text.split(separator).map(str::to_owned).collect();
        if text.is_empty() { Vec::new() } else { items }
    };
    if args.has('0') {
        return Ok(whole('\0'));
    }
    if let Some(separator) = args.value('d') {
        return Ok(whole(if separator == "\\n" {
            '\n'
        } else {
            separator.chars().next().unwrap_or(' ')
        }));
    }
    if args.has('I') {
        return Ok(text
            .lines()
            .map(|line| line.trim_start().to_owned())
            .filter(|l| !l.is_empty())
            .collect());
    }
    let mut items = Vec::new();
    let mut current: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => current.get_or_insert_default().push(c),
            ('\'' | '"', None) => {
                quote = Some(c);
                current.get_or_insert_default();
            }
            ('\\', None) => current.get_or_insert_default().extend(chars.next()),
            (c, None) if c.is_whitespace() => items.extend(current.take()),
            (c, None) => current.get_or_insert_default().push(c),
        }
    }
    items.extend(current);
    if quote.is_some() { Err("a quote is not closed".to_owned()) } else { Ok(items) }
}
