//! From the leaves of an expression to its cost: with each part goes its type, its size, and the path from a variable to
//! it, by which the schema's bound is found.

use std::collections::HashMap;
use std::rc::Rc;

use kube_cel::cel::common::ast::{
    ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr, LiteralValue, SelectExpr,
};

use super::size::Size;
use super::{Form, FormKind, OldSelf};

/// The step of a path to a list's items.
pub(super) const ITEMS: &str = "@items";
/// The step of a path to a map's values.
pub(super) const VALUES: &str = "@values";
/// The step of a path to a map's keys.
pub(super) const KEYS: &str = "@keys";

/// What making a list costs. *Source:* `common/cost.go` of `cel-go`, as the two after it.
pub(super) const LIST: u64 = 10;
const MAP: u64 = 30;
const STRUCTURE: u64 = 40;

/// A type, as far as costs tell types apart.
#[derive(Debug, Clone)]
pub(super) enum Ty<'a> {
    /// Anything.
    Dyn,
    /// A truth value, number, time or duration.
    Scalar,
    /// A text.
    Text,
    /// Bytes.
    Bytes,
    /// A list.
    List(Rc<Ty<'a>>),
    /// A map of texts.
    Map(Rc<Ty<'a>>),
    /// An object with known fields.
    Object(&'a Form),
    /// One that may be missing.
    Optional(Rc<Ty<'a>>),
    /// A value of a library, by its name.
    Library(&'static str),
    /// `null`, and types.
    Other,
}

impl<'a> Ty<'a> {
    fn of(form: &'a Form) -> Ty<'a> {
        match &form.kind {
            FormKind::Dyn => Ty::Dyn,
            FormKind::Scalar => Ty::Scalar,
            FormKind::Text => Ty::Text,
            FormKind::Bytes => Ty::Bytes,
            FormKind::List(item) => Ty::List(Rc::new(Ty::of(item))),
            FormKind::Map(value) => Ty::Map(Rc::new(Ty::of(value))),
            FormKind::Object(_) => Ty::Object(form),
        }
    }

    /// A field or member by its name.
    pub(super) fn member(&self, name: &str) -> Ty<'a> {
        match self {
            Ty::Object(form) => form.step(name).map_or(Ty::Dyn, Ty::of),
            Ty::Map(value) => Ty::clone(value),
            Ty::Optional(inner) => Ty::Optional(Rc::new(inner.member(name))),
            Ty::Dyn
            | Ty::Scalar
            | Ty::Text
            | Ty::Bytes
            | Ty::List(_)
            | Ty::Library(_)
            | Ty::Other => Ty::Dyn,
        }
    }

    /// An item of a list, or a value of a map.
    pub(super) fn item(&self) -> Ty<'a> {
        match self {
            Ty::List(item) | Ty::Map(item) => Ty::clone(item),
            Ty::Optional(inner) => Ty::Optional(Rc::new(inner.item())),
            Ty::Dyn
            | Ty::Scalar
            | Ty::Text
            | Ty::Bytes
            | Ty::Object(_)
            | Ty::Library(_)
            | Ty::Other => Ty::Dyn,
        }
    }

    /// What is in it when it is there.
    pub(super) fn inner(&self) -> Ty<'a> {
        match self {
            Ty::Optional(inner) => Ty::clone(inner),
            Ty::Dyn
            | Ty::Scalar
            | Ty::Text
            | Ty::Bytes
            | Ty::List(_)
            | Ty::Map(_)
            | Ty::Object(_)
            | Ty::Library(_)
            | Ty::Other => self.clone(),
        }
    }

    pub(super) fn is_dyn(&self) -> bool {
        matches!(self, Ty::Dyn)
    }

    fn size(&self) -> Option<Size> {
        match self {
            Ty::Scalar => Some(Size::exactly(1)),
            Ty::Optional(inner) => inner.size(),
            Ty::Dyn
            | Ty::Text
            | Ty::Bytes
            | Ty::List(_)
            | Ty::Map(_)
            | Ty::Object(_)
            | Ty::Library(_)
            | Ty::Other => None,
        }
    }
}

/// Sizes of a container's entries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entries {
    is_list: bool,
    key: Size,
    value: Size,
}

impl Entries {
    pub(super) fn or(self, other: Entries) -> Entries {
        let (key, value) = (self.key.or(other.key), self.value.or(other.value));
        Entries { is_list: self.is_list, key, value }
    }

    pub(super) fn value(self) -> Size {
        self.value
    }
}

/// A part of an expression, and what is known of its value.
#[derive(Debug, Clone)]
pub(super) struct Part<'a> {
    /// What it and all in it cost.
    pub(super) cost: u64,
    pub(super) ty: Ty<'a>,
    /// From a variable to it; empty when it is no part of one.
    pub(super) path: Vec<String>,
    pub(super) size: Option<Size>,
    pub(super) entries: Option<Entries>,
    /// A whole number that is written out.
    pub(super) number: Option<u64>,
    /// A text that is written out.
    pub(super) word: Option<String>,
}

impl<'a> Part<'a> {
    /// A value of a type, of which no more is known.
    pub(super) fn of(cost: u64, ty: Ty<'a>) -> Part<'a> {
        let size = ty.size();
        Part { cost, ty, path: Vec::new(), size, entries: None, number: None, word: None }
    }

    pub(super) fn size_or_any(&self) -> Size {
        self.size.unwrap_or(Size::ANY)
    }
}

/// A variable that a loop binds.
struct Local<'a> {
    path: Vec<String>,
    size: Option<Size>,
    entries: Option<Entries>,
    ty: Ty<'a>,
}

/// Walks through an expression.
pub(super) struct Walk<'a> {
    root: &'a Form,
    old: OldSelf,
    locals: HashMap<String, Vec<Local<'a>>>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(root: &'a Form, old: OldSelf) -> Walk<'a> {
        Walk { root, old, locals: HashMap::new() }
    }

    /// The bound of a path. Its first step is a variable and always the value itself: so says upstream, also of loops over
    /// what is no part of a variable.
    pub(super) fn bound(&self, path: &[String]) -> Option<Size> {
        let (_, steps) = path.split_first()?;
        let found = steps.iter().try_fold(self.root, |form, step| form.step(step))?;
        Some(Size::up_to(found.elements_max))
    }

    /// Whether a name is bound by a loop.
    pub(super) fn is_local(&self, name: &str) -> bool {
        self.locals.get(name).is_some_and(|stack| !stack.is_empty())
    }

    pub(super) fn visit(&mut self, expression: &IdedExpr) -> Part<'a> {
        match &expression.expr {
            Expr::Unspecified => Part::of(0, Ty::Dyn),
            Expr::Ident(name) => self.ident(name),
            Expr::Literal(literal) => of_literal(literal),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => self.list(&list.elements),
            Expr::Select(select) => self.select(select),
            Expr::Map(map) => self.map(&map.entries),
            Expr::Struct(structure) => {
                let cost = self.map(&structure.entries).cost;
                Part::of(cost.saturating_sub(MAP).saturating_add(STRUCTURE), Ty::Dyn)
            }
            Expr::Comprehension(loops) => self.comprehension(loops),
        }
    }

    fn ident(&mut self, name: &str) -> Part<'a> {
        if let Some(local) = self.locals.get(name).and_then(|stack| stack.last()) {
            let (path, ty) = (local.path.clone(), local.ty.clone());
            let size = self.bound(&path).or(ty.size()).or(local.size);
            return Part { path, size, entries: local.entries, ..Part::of(1, ty) };
        }
        let ty = match (name, self.old) {
            ("oldSelf", OldSelf::Optional) => Ty::Optional(Rc::new(Ty::of(self.root))),
            ("self" | "oldSelf", OldSelf::Value | OldSelf::Optional) => Ty::of(self.root),
            (_, OldSelf::Value | OldSelf::Optional) => Ty::Other,
        };
        let path = vec![name.to_owned()];
        let size = self.bound(&path);
        Part { path, size, ..Part::of(1, ty) }
    }

    fn select(&mut self, select: &SelectExpr) -> Part<'a> {
        let operand = self.visit(&select.operand);
        if select.test {
            return Part::of(operand.cost, Ty::Scalar);
        }
        let costs = matches!(operand.ty, Ty::Map(_) | Ty::Object(_));
        let ty = operand.ty.member(&select.field);
        let path = extended(&operand.path, &select.field);
        let size = self.bound(&path).or(ty.size());
        Part { path, size, ..Part::of(operand.cost.saturating_add(u64::from(costs)), ty) }
    }

    fn list(&mut self, elements: &[IdedExpr]) -> Part<'a> {
        let mut cost = LIST;
        let mut item = Ty::Dyn;
        let mut value: Option<Size> = None;
        for element in elements {
            let part = self.visit(element);
            cost = cost.saturating_add(part.cost);
            value = Some(value.map_or(part.size_or_any(), |size| size.or(part.size_or_any())));
            item = part.ty;
        }
        let value = value.unwrap_or(Size::exactly(0));
        let entries = Entries { is_list: true, key: Size::exactly(1), value };
        let size = Some(Size::exactly(elements.len() as u64));
        Part { size, entries: Some(entries), ..Part::of(cost, Ty::List(Rc::new(item))) }
    }

    fn map(&mut self, entries: &[IdedEntryExpr]) -> Part<'a> {
        let mut cost = MAP;
        let mut item = Ty::Dyn;
        let mut sizes: Option<(Size, Size)> = None;
        for entry in entries {
            let (key, value) = match &entry.expr {
                EntryExpr::StructField(field) => (Part::of(0, Ty::Text), self.visit(&field.value)),
                EntryExpr::MapEntry(entry) => (self.visit(&entry.key), self.visit(&entry.value)),
            };
            cost = cost.saturating_add(key.cost).saturating_add(value.cost);
            let (key, found) = (key.size_or_any(), value.size_or_any());
            sizes = Some(sizes.map_or((key, found), |(k, v)| (k.or(key), v.or(found))));
            item = value.ty;
        }
        let (key, value) = sizes.unwrap_or((Size::exactly(0), Size::exactly(0)));
        let found = Entries { is_list: false, key, value };
        let size = Some(Size::exactly(entries.len() as u64));
        Part { size, entries: Some(found), ..Part::of(cost, Ty::Map(Rc::new(item))) }
    }

    fn comprehension(&mut self, loops: &ComprehensionExpr) -> Part<'a> {
        let range = self.visit(&loops.iter_range);
        let init = self.visit(&loops.accu_init);
        let cost = range.cost.saturating_add(init.cost);
        self.bind(&loops.accu_var, of_part(&init));
        self.bind_items(loops, &range);
        let condition = self.visit(&loops.loop_cond);
        let step = self.visit(&loops.loop_step);
        self.unbind(&loops.iter_var);
        if let Some(second) = &loops.iter_var2 {
            self.unbind(second);
        }
        if let Some(accu) = self.locals.get_mut(&loops.accu_var).and_then(|stack| stack.last_mut())
        {
            accu.ty = step.ty.clone();
        }
        let result = self.visit(&loops.result);
        self.unbind(&loops.accu_var);
        let each = condition.cost.saturating_add(step.cost);
        let rounds = range.size_or_any();
        let cost = cost.saturating_add(result.cost);
        let cost = cost.saturating_add(rounds.max.saturating_mul(each));
        let (size, entries) = match &loops.accu_init.expr {
            Expr::Literal(_) => (init.size, None),
            Expr::List(_) | Expr::Map(_) => (Some(rounds), step.entries),
            Expr::Unspecified
            | Expr::Call(_)
            | Expr::Comprehension(_)
            | Expr::Ident(_)
            | Expr::Select(_)
            | Expr::Struct(_) => (None, None),
        };
        let whole = Part::of(cost, result.ty);
        Part { size: size.or(whole.size), entries, ..whole }
    }

    /// Binds what a loop runs over: a list's items or a map's keys, and both with two variables.
    fn bind_items(&mut self, loops: &ComprehensionExpr, range: &Part<'a>) {
        let is_list = match range.entries {
            Some(entries) => entries.is_list,
            None => matches!(range.ty, Ty::List(_)),
        };
        let (keys, values) = if is_list { ("@indices", ITEMS) } else { (KEYS, VALUES) };
        let key_ty = match (&range.ty, is_list) {
            (_, true) => Ty::Scalar,
            (Ty::Map(_), false) => Ty::Text,
            (_, false) => Ty::Dyn,
        };
        let local = |step: &str, size, ty| Local {
            path: extended(&range.path, step),
            size,
            entries: None,
            ty,
        };
        let key = local(keys, range.entries.map(|entries| entries.key), key_ty);
        let value = local(values, range.entries.map(|entries| entries.value), range.ty.item());
        match &loops.iter_var2 {
            Some(second) => {
                self.bind(&loops.iter_var, key);
                self.bind(second, value);
            }
            None => self.bind(&loops.iter_var, if is_list { value } else { key }),
        }
    }

    fn bind(&mut self, name: &str, local: Local<'a>) {
        self.locals.entry(name.to_owned()).or_default().push(local);
    }

    fn unbind(&mut self, name: &str) {
        if let Some(stack) = self.locals.get_mut(name) {
            stack.pop();
        }
    }
}

fn of_part<'a>(part: &Part<'a>) -> Local<'a> {
    let (path, ty) = (part.path.clone(), part.ty.clone());
    Local { path, size: part.size, entries: part.entries, ty }
}

/// A path with one more step.
pub(super) fn extended(path: &[String], step: &str) -> Vec<String> {
    path.iter().cloned().chain([step.to_owned()]).collect()
}

fn of_literal(literal: &LiteralValue) -> Part<'static> {
    let sized = |ty, size: usize| {
        let size = Some(Size::exactly(size as u64));
        Part { size, ..Part::of(0, ty) }
    };
    match literal {
        LiteralValue::Boolean(_) | LiteralValue::Double(_) | LiteralValue::UInt(_) => {
            sized(Ty::Scalar, 1)
        }
        LiteralValue::Int(number) => {
            // What is below nothing counts as nothing.
            let number = u64::try_from(*number.inner()).unwrap_or(0);
            Part { number: Some(number), ..sized(Ty::Scalar, 1) }
        }
        LiteralValue::Null => sized(Ty::Other, 1),
        LiteralValue::String(text) => {
            let text = text.inner();
            let word = Some(text.to_owned());
            Part { word, ..sized(Ty::Text, text.chars().count()) }
        }
        LiteralValue::Bytes(bytes) => sized(Ty::Bytes, bytes.inner().len()),
    }
}
