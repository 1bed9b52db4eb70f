//! From text to an expression that is safe to walk: parsed on a stack of its own, and not deep.
//!
//! The parser and everything after it recurse as deep as an expression is nested, and a chain such as `a.b.c` nests by
//! its links. So it is parsed where there is room for the longest text, and refused there when it is deeper than what
//! fits onto the stack of any thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{EntryExpr, Expr, IdedEntryExpr};
use kube_cel::cel::parser::Parser;

use super::CelError;
use super::rewrite::{Makes, rewrite};

/// Deepest nesting: far above what people write, which has ten or twenty levels.
pub const DEPTH_MAX: usize = 200;

/// Deepest nesting that is evaluated on the stack of whoever asks: a level takes up to 50 KiB in a debug build, and the
/// threads that serve requests have 2 MiB.
const DEPTH_ON_ANY_STACK: usize = 20;

/// Most signs that may nest or chain parts, quoted ones too: far above what people write, and a bound for the parser's
/// own recursion.
const SIGNS_MAX: usize = 2000;

/// A stack of its own, which has room for [`SIGNS_MAX`] levels many times. Only what is used of it takes memory.
const STACK_BYTES: usize = 256 << 20;

/// Parses an expression and makes it ready to run.
///
/// # Errors
/// [`CelError::Compile`].
pub(super) fn parse(text: &str, makes: Makes) -> Result<IdedExpr, CelError> {
    if signs(text) > SIGNS_MAX {
        let words = format!("must not have more than {SIGNS_MAX} operators and brackets");
        return Err(CelError::Compile(words));
    }
    let parsed = on_own_stack(|| parse_here(text, makes));
    parsed.unwrap_or_else(|why| Err(CelError::Compile(format!("the parser failed: {why}"))))
}

/// Works on a stack that is large enough for an expression of a depth; a panic is an error.
///
/// # Errors
/// When the work panicked, or no thread could be made.
pub(super) fn with_room<T: Send>(
    depth: usize,
    work: impl FnOnce() -> T + Send,
) -> Result<T, String> {
    if depth > DEPTH_ON_ANY_STACK {
        return on_own_stack(work);
    }
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| FAILED.to_owned())
}

/// What is said of a panic, whose own words are in the log.
const FAILED: &str = "an internal error";

fn on_own_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("cel".to_owned()).stack_size(STACK_BYTES);
        let started = builder.spawn_scoped(scope, work).map_err(|error| error.to_string())?;
        started.join().map_err(|_| FAILED.to_owned())
    })
}

/// Counts what may make an expression deeper.
fn signs(text: &str) -> usize {
    let signs = text.bytes().filter(|byte| b".[({+-*/%?!<>=&|".contains(byte)).count();
    signs + text.matches("in").count()
}

fn parse_here(text: &str, makes: Makes) -> Result<IdedExpr, CelError> {
    let parser = Parser::new().enable_optional_syntax(true);
    let mut program = parser.parse(text).map_err(|error| CelError::Compile(error.to_string()))?;
    if depth(&program) > DEPTH_MAX {
        let words = format!("must not be nested deeper than {DEPTH_MAX} levels");
        return Err(CelError::Compile(words));
    }
    rewrite(&mut program, makes).map_err(CelError::Compile)?;
    Ok(program)
}

/// How deep an expression is nested.
pub(super) fn depth(expression: &IdedExpr) -> usize {
    let below = match &expression.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => 0,
        Expr::Call(call) => {
            let target = call.target.iter().map(AsRef::as_ref);
            deepest(target.chain(&call.args))
        }
        Expr::List(list) => deepest(list.elements.iter()),
        Expr::Select(select) => depth(&select.operand),
        Expr::Map(map) => entries(&map.entries),
        Expr::Struct(structure) => entries(&structure.entries),
        Expr::Comprehension(loops) => deepest(
            [
                &loops.iter_range,
                &loops.accu_init,
                &loops.loop_cond,
                &loops.loop_step,
                &loops.result,
            ]
            .into_iter(),
        ),
    };
    below + 1
}

fn deepest<'a>(parts: impl Iterator<Item = &'a IdedExpr>) -> usize {
    parts.map(depth).max().unwrap_or(0)
}

fn entries(entries: &[IdedEntryExpr]) -> usize {
    let depths = entries.iter().map(|entry| match &entry.expr {
        EntryExpr::StructField(field) => depth(&field.value),
        EntryExpr::MapEntry(entry) => depth(&entry.key).max(depth(&entry.value)),
    });
    depths.max().unwrap_or(0)
}
