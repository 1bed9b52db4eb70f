//! What calls cost, and how large what they give can be.
//!
//! Where the types of arguments leave open which of several functions is called, the dearest one counts.
//! *Source:* `functionCost` of `cel-go`'s checker, its `ext` libraries, and `EstimateCallCost` of `k8s.io/apiserver`.

use std::rc::Rc;

use kube_cel::cel::common::ast::{CallExpr, Expr, operators};

use super::size::{READING, Size, share};
use super::walk::{ITEMS, LIST, Part, Ty, VALUES, Walk, extended};

/// Share of a pattern's length that each letter costs. *Source:* `RegexStringLengthCostFactor` of `cel-go`.
const PATTERN: f64 = 0.25;
/// The same for the patterns behind named formats, which are not looked at. *Source:* `MaxNameFormatRegexSize`.
const FORMAT_PATTERN: f64 = 128.0 * PATTERN;
/// Most bytes of a format in a comparison. *Source:* `MaxFormatSize`.
const FORMAT_BYTES_MAX: u64 = 64;
/// Bytes of the two addresses that are compared. *Source:* IPv6.
const ADDRESSES_BYTES: u64 = 32;
/// An answer of the authorizer: two of them fit into an expression.
const AUTHORIZATION: u64 = 350_000;

/// Names in front of functions that belong to no value.
const SPACES: &[&str] = &[
    "base64",
    "cidr",
    "format",
    "ip",
    "jsonpatch",
    "lists",
    "math",
    "optional",
    "semver",
    "sets",
    "strings",
];

/// A call without its arguments: what it costs, and the size of what it gives.
type Cost = (u64, Option<Size>);

/// The arguments of a call.
struct Given<'p, 'a> {
    target: Option<&'p Part<'a>>,
    arguments: &'p [Part<'a>],
}

impl<'a> Given<'_, 'a> {
    fn size(&self, index: usize) -> Size {
        self.arguments.get(index).map_or(Size::ANY, Part::size_or_any)
    }

    fn ty(&self, index: usize) -> Ty<'a> {
        self.arguments.get(index).map_or(Ty::Dyn, |part| part.ty.clone())
    }

    fn target_size(&self) -> Size {
        self.target.map_or(Size::ANY, Part::size_or_any)
    }

    fn target_ty(&self) -> Ty<'a> {
        self.target.map_or(Ty::Dyn, |part| part.ty.clone())
    }

    fn costs(&self) -> u64 {
        self.arguments.iter().fold(0, |sum, part| sum.saturating_add(part.cost))
    }
}

impl<'a> Walk<'a> {
    pub(super) fn call(&mut self, call: &CallExpr) -> Part<'a> {
        let arguments: Vec<Part<'a>> = call.args.iter().map(|part| self.visit(part)).collect();
        let space = call.target.as_deref().and_then(|target| match &target.expr {
            Expr::Ident(name) if SPACES.contains(&name.as_str()) && !self.is_local(name) => {
                Some(name)
            }
            Expr::Unspecified
            | Expr::Call(_)
            | Expr::Comprehension(_)
            | Expr::Ident(_)
            | Expr::List(_)
            | Expr::Literal(_)
            | Expr::Map(_)
            | Expr::Select(_)
            | Expr::Struct(_) => None,
        });
        let name = match space {
            Some(space) => format!("{space}.{}", call.func_name),
            None => call.func_name.clone(),
        };
        let target = match (&call.target, space) {
            (Some(target), None) => Some(self.visit(target)),
            (_, Some(_)) | (None, None) => None,
        };
        let given = Given { target: target.as_ref(), arguments: &arguments };
        let mut part = self.function(&name, &given);
        part.cost = part.cost.saturating_add(target.as_ref().map_or(0, |target| target.cost));
        part
    }

    fn function(&self, name: &str, given: &Given<'_, 'a>) -> Part<'a> {
        match (name, given.arguments) {
            ("dyn", [argument]) => {
                let cost = argument.cost.saturating_add(1);
                let (size, entries) = (argument.size, argument.entries);
                Part { size, entries, ..Part::of(cost, Ty::Dyn) }
            }
            (operators::LOGICAL_AND | operators::LOGICAL_OR, [_, _]) => {
                Part::of(given.costs(), Ty::Scalar)
            }
            (operators::CONDITIONAL, [condition, yes, no]) => {
                let cost = condition.cost.saturating_add(yes.cost.max(no.cost));
                let ty = if yes.ty.is_dyn() { no.ty.clone() } else { yes.ty.clone() };
                let size = Some(yes.size_or_any().or(no.size_or_any()));
                let entries = yes.entries.zip(no.entries).map(|(yes, no)| yes.or(no));
                Part { size, entries, ..Part::of(cost, ty) }
            }
            (operators::INDEX, [container, _]) => self.index(container, given.costs()),
            (operators::ADD, [left, right]) => add(left, right),
            _ => {
                let (cost, size) = self.cost_of(name, given).unwrap_or((1, None));
                let part = Part::of(cost.saturating_add(given.costs()), type_of(name, given));
                Part { size: size.or(part.size), ..part }
            }
        }
    }

    fn index(&self, container: &Part<'a>, costs: u64) -> Part<'a> {
        let step = if matches!(container.ty, Ty::List(_)) { ITEMS } else { VALUES };
        let path = extended(&container.path, step);
        let ty = container.ty.item();
        let part = Part::of(costs.saturating_add(1), ty);
        let size = container.entries.map(|entries| entries.value());
        let size = size.or_else(|| self.bound(&path)).or(part.size);
        Part { path, size, ..part }
    }

    /// `None` for what costs 1.
    fn cost_of(&self, name: &str, given: &Given<'_, 'a>) -> Option<Cost> {
        self.of_operator(name, given)
            .or_else(|| self.of_list(name, given))
            .or_else(|| of_text(name, given))
            .or_else(|| of_library(name, given))
    }

    fn of_operator(&self, name: &str, given: &Given<'_, 'a>) -> Option<Cost> {
        let smallest = given.size(0).max.min(given.size(1).max);
        let compared = Some((share(smallest, READING), None));
        match name {
            operators::EQUALS | operators::NOT_EQUALS => {
                same_library(name, given).map(|cost| (cost, None)).or(compared)
            }
            operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS => match (given.ty(0), given.ty(1)) {
                (Ty::Text | Ty::Bytes, _) | (_, Ty::Text | Ty::Bytes) => compared,
                (Ty::Dyn, Ty::Dyn) => compared.map(|(cost, size)| (cost.max(1), size)),
                _ => None,
            },
            operators::IN => {
                let floor = u64::from(given.ty(1).is_dyn());
                let searched = matches!(given.ty(1), Ty::List(_) | Ty::Dyn);
                searched.then(|| (given.size(1).max.max(floor), None))
            }
            _ => None,
        }
    }

    /// The most letters of an item, by the schema.
    fn item_size(&self, list: &Part<'a>) -> Size {
        if list.path.is_empty() {
            return Size::ANY;
        }
        self.bound(&extended(&list.path, ITEMS)).unwrap_or(Size::ANY)
    }

    fn of_list(&self, name: &str, given: &Given<'_, 'a>) -> Option<Cost> {
        let made =
            |size: Size, each: f64| Some((size.cost(each).saturating_add(1 + LIST), Some(size)));
        let sets = |each: f64| {
            let pairs = given.size(0).times(given.size(1));
            Some((pairs.cost(each).saturating_add(1), None))
        };
        let number = |index: usize, otherwise: u64| {
            given.arguments.get(index).and_then(|part| part.number).unwrap_or(otherwise)
        };
        match name {
            "sets.contains" | "sets.intersects" => return sets(1.0),
            "sets.equivalent" => return sets(2.0),
            "lists.range" => return made(Size::exactly(number(0, u64::MAX)), 1.0),
            _ => {}
        }
        let target = given.target?;
        let size = target.size_or_any();
        match (name, &target.ty) {
            ("isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf", Ty::List(item)) => {
                let is_text = matches!(**item, Ty::Text | Ty::Bytes);
                let letters = if is_text { self.item_size(target).cost(READING) } else { 0 };
                Some((size.max.saturating_mul(letters.saturating_add(1)), None))
            }
            ("isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf", _) => {
                Some((size.cost(READING), None))
            }
            ("join", ty) => {
                let is_list = matches!(ty, Ty::List(_));
                let item = if is_list { self.item_size(target) } else { Size::exactly(0) };
                let letters = size.times(item);
                let gaps =
                    Size { min: size.min.saturating_sub(1), max: size.max.saturating_sub(1) };
                let between = given.arguments.first().map(|part| part.size_or_any().times(gaps));
                let all = between.map_or(letters, |between| letters.plus(between));
                Some((all.cost(READING), Some(all)))
            }
            ("slice", _) => {
                let count = number(1, size.max).wrapping_sub(number(0, 0));
                made(Size::exactly(count), 1.0)
            }
            ("reverse", _) => made(size, 1.0),
            ("flatten", _) => {
                let depth = if given.arguments.is_empty() { 1 } else { number(0, u64::MAX) };
                made(size, depth as f64)
            }
            ("distinct", _) => made(size.times(size), 2.0),
            ("sort", Ty::List(item)) if matches!(**item, Ty::Text | Ty::Bytes) => {
                made(size.times(size), 2.0 + READING)
            }
            ("sort", _) => made(size.times(size), 2.0),
            _ => None,
        }
    }
}

/// Texts and lists one after the other cost their letters; numbers nothing of note.
fn add<'a>(left: &Part<'a>, right: &Part<'a>) -> Part<'a> {
    let both = left.size_or_any().plus(right.size_or_any());
    let known = if left.ty.is_dyn() { &right.ty } else { &left.ty };
    let entries = left.entries.zip(right.entries).map(|(left, right)| left.or(right));
    let (cost, size, ty) = match known {
        Ty::Text | Ty::Bytes | Ty::Dyn => {
            let floor = u64::from(known.is_dyn());
            (both.cost(READING).max(floor), Some(both), known.clone())
        }
        Ty::List(_) => {
            // An empty list takes the type of what is put behind it.
            let ty = if known.item().is_dyn() { &right.ty } else { known };
            (1, Some(both), if ty.is_dyn() { known.clone() } else { ty.clone() })
        }
        Ty::Scalar | Ty::Map(_) | Ty::Object(_) | Ty::Optional(_) | Ty::Library(_) | Ty::Other => {
            (1, None, known.clone())
        }
    };
    let cost = cost.saturating_add(left.cost).saturating_add(right.cost);
    let part = Part::of(cost, ty);
    Part { size: size.or(part.size), entries, ..part }
}

/// What it costs to compare two values of one library; `None` for other values.
fn same_library(name: &str, given: &Given<'_, '_>) -> Option<u64> {
    let (Ty::Library(left), Ty::Library(right)) = (given.ty(0), given.ty(1)) else { return None };
    match left {
        _ if left != right || name != operators::EQUALS => None,
        "format" => Some(share(FORMAT_BYTES_MAX, READING)),
        "url" => Some(share(given.arguments.get(1)?.size.map_or(1, |size| size.max), READING)),
        _ => Some(1),
    }
}

/// Functions that read texts.
fn of_text(name: &str, given: &Given<'_, '_>) -> Option<Cost> {
    let target = given.target_size();
    let first = given.size(0);
    let one_more = |size: Size| size.plus(Size::exactly(1)).cost(READING);
    match (name, given.target.is_some()) {
        ("format", true) => Some((target.cost(READING), None)),
        ("startsWith" | "endsWith", true) => Some((first.cost(READING), None)),
        ("matches", true) => Some((one_more(target).saturating_mul(first.cost(PATTERN)), None)),
        ("find" | "findAll", true) => {
            let cost = one_more(target).saturating_mul(first.cost(PATTERN));
            Some((cost, Some(Size::up_to(target.max))))
        }
        ("contains", true) => {
            Some((target.cost(READING).saturating_mul(first.cost(READING)), None))
        }
        ("lowerAscii" | "upperAscii" | "substring" | "trim", true) => {
            Some((target.cost(READING), Some(target)))
        }
        ("replace", true) => {
            let size = replaced(target, first, given.size(1));
            Some((target.cost(2.0 * READING), Some(size)))
        }
        ("split", true) => {
            let parts = given.arguments.get(1).and_then(|part| part.number).unwrap_or(target.max);
            Some((target.cost(2.0 * READING), Some(Size::up_to(parts))))
        }
        ("jsonpatch.escapeKey", false) => Some((first.cost(READING), Some(first))),
        ("strings.quote", false) => {
            let size = Size { min: first.min, max: first.max.saturating_mul(2) };
            Some((first.cost(READING), Some(size.plus(Size::exactly(2)))))
        }
        ("bytes", false) if matches!(given.ty(0), Ty::Text | Ty::Dyn) => {
            let size = Size { min: first.min, max: first.max.saturating_mul(4) };
            Some((first.cost(READING), Some(size)))
        }
        ("string", false) if matches!(given.ty(0), Ty::Bytes | Ty::Dyn) => {
            let size = Size { min: first.min / 4, max: first.max };
            Some((first.cost(READING).max(1), Some(size)))
        }
        _ => None,
    }
}

/// The size of a text in which parts of the size `old` become such of the size `new`.
fn replaced(text: Size, old: Size, new: Size) -> Size {
    let rounds = |text: u64, old: u64| (text as f64 / old as f64).ceil() as u64;
    let (most, kept_max) = if old.min == 0 {
        (text.max.saturating_add(1), text.max)
    } else if new.max <= old.min {
        (0, text.max)
    } else {
        (rounds(text.max, old.min), 0)
    };
    let (least, kept_min) = if old.max == 0 {
        (text.min.saturating_add(1), text.min)
    } else if old.max <= new.min {
        (0, text.min)
    } else {
        (rounds(text.min, old.max), 0)
    };
    let parts = Size { min: least, max: most };
    parts.times(new).plus(Size { min: kept_min, max: kept_max })
}

/// Functions of Kubernetes' libraries.
fn of_library(name: &str, given: &Given<'_, '_>) -> Option<Cost> {
    let first = given.size(0);
    let compared = share(ADDRESSES_BYTES, READING);
    let is_text = matches!(given.ty(0), Ty::Text | Ty::Dyn);
    let read_first = if is_text { first.cost(READING) } else { 0 };
    let cost = match (name, given.target.is_some()) {
        ("check", true) => AUTHORIZATION,
        ("fieldSelector" | "labelSelector", true) => {
            let requirements = share(first.cost(0.5), (LIST + 40) as f64);
            LIST.saturating_add(first.cost(READING)).saturating_add(requirements)
        }
        ("url", false) => return Some((first.cost(READING), Some(first))),
        (
            "cidr" | "isIP" | "isCIDR" | "ip" | "quantity" | "isQuantity" | "semver" | "isSemver",
            false,
        ) => first.cost(READING),
        ("ip.isCanonical", false) => first.cost(2.0 * READING),
        ("containsIP", true) => compared.saturating_add(read_first),
        ("containsCIDR", true) => compared
            .saturating_add(share(ADDRESSES_BYTES / 2, READING) + 1)
            .saturating_add(read_first),
        ("validate", true) => share(first.cost(READING), FORMAT_PATTERN),
        _ => return None,
    };
    Some((cost, None))
}

/// The type of what a function gives.
fn type_of<'a>(name: &str, given: &Given<'_, 'a>) -> Ty<'a> {
    let texts = || Ty::List(Rc::new(Ty::Text));
    let optional = |ty: Ty<'a>| Ty::Optional(Rc::new(ty));
    match name {
        "string"
        | "lowerAscii"
        | "upperAscii"
        | "substring"
        | "trim"
        | "replace"
        | "join"
        | "find"
        | "format"
        | "charAt"
        | "strings.quote"
        | "jsonpatch.escapeKey"
        | "getScheme"
        | "getHost"
        | "getHostname"
        | "getPort"
        | "getEscapedPath" => Ty::Text,
        "bytes" => Ty::Bytes,
        "split" | "findAll" => texts(),
        "getQuery" => Ty::Map(Rc::new(texts())),
        "sum" | "max" | "min" if given.target.is_some() => given.target_ty().item(),
        "slice" | "reverse" | "distinct" | "sort" => given.target_ty(),
        "flatten" => given.target_ty().item(),
        "lists.range" => Ty::List(Rc::new(Ty::Scalar)),
        "type" => Ty::Other,
        "quantity" | "add" | "sub" => Ty::Library("quantity"),
        "ip" => Ty::Library("ip"),
        "cidr" | "masked" => Ty::Library("cidr"),
        "url" => Ty::Library("url"),
        "semver" => Ty::Library("semver"),
        "format.named" => optional(Ty::Library("format")),
        "validate" => optional(texts()),
        "optional.of" | "optional.ofNonZeroValue" => optional(given.ty(0)),
        "optional.none" => optional(Ty::Dyn),
        "or" => given.target_ty(),
        "orValue" | "value" => given.target_ty().inner(),
        operators::OPT_INDEX => optional(given.opened()),
        _ if name.starts_with("format.") => Ty::Library("format"),
        // All others give truth values and numbers.
        _ => Ty::Scalar,
    }
}

impl<'a> Given<'_, 'a> {
    /// What `a[?b]` looks into.
    fn opened(&self) -> Ty<'a> {
        let of = self.ty(0).inner();
        match self.arguments.get(1).and_then(|part| part.word.as_deref()) {
            Some(word) => of.member(word),
            None => of.item(),
        }
    }
}
