//! How long an expression could run: by how deep its loops are nested, and the largest thing that they could run over.

use kube_cel::cel::common::ast::{Expr, IdedExpr};
use serde_json::Value;

/// What is known of an expression before its variables are.
#[derive(Debug, Default)]
pub(super) struct Cost {
    /// Greatest number of loops inside each other.
    depth: u32,
    /// Variables that loops bind.
    bound: Vec<String>,
    /// Items of the largest list or map that it spells out.
    spelled: u64,
}

impl Cost {
    /// Looks through an expression.
    pub(super) fn of(expression: &IdedExpr) -> Cost {
        let mut cost = Cost::default();
        cost.depth = cost.visit(expression);
        cost
    }

    /// Names the variables that loops bind.
    pub(super) fn variables(&self) -> impl Iterator<Item = &str> {
        self.bound.iter().map(String::as_str)
    }

    /// Gives the most steps over variables whose largest part has `largest` items.
    pub(super) fn steps(&self, largest: u64) -> u64 {
        largest.max(self.spelled).saturating_pow(self.depth)
    }

    fn visit(&mut self, expression: &IdedExpr) -> u32 {
        match &expression.expr {
            Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => 0,
            Expr::Call(call) => {
                let target = call.target.iter().map(AsRef::as_ref);
                self.deepest(target.chain(&call.args))
            }
            Expr::List(list) => {
                self.spelled = self.spelled.max(list.elements.len() as u64);
                self.deepest(list.elements.iter())
            }
            Expr::Select(select) => self.visit(&select.operand),
            Expr::Map(map) => self.entries(&map.entries),
            Expr::Struct(structure) => self.entries(&structure.entries),
            Expr::Comprehension(loops) => {
                self.bound.push(loops.iter_var.clone());
                self.bound.extend(loops.iter_var2.clone());
                self.bound.push(loops.accu_var.clone());
                let inner = [&loops.loop_cond, &loops.loop_step];
                let inside = self.deepest(inner.into_iter()).saturating_add(1);
                let around = [&loops.iter_range, &loops.accu_init, &loops.result];
                inside.max(self.deepest(around.into_iter()))
            }
        }
    }

    fn deepest<'a>(&mut self, parts: impl Iterator<Item = &'a IdedExpr>) -> u32 {
        parts.map(|part| self.visit(part)).max().unwrap_or_default()
    }

    fn entries(&mut self, entries: &[kube_cel::cel::common::ast::IdedEntryExpr]) -> u32 {
        use kube_cel::cel::common::ast::EntryExpr;
        let mut deepest = 0;
        self.spelled = self.spelled.max(entries.len() as u64);
        for entry in entries {
            let found = match &entry.expr {
                EntryExpr::StructField(field) => self.visit(&field.value),
                EntryExpr::MapEntry(entry) => self.visit(&entry.key).max(self.visit(&entry.value)),
            };
            deepest = deepest.max(found);
        }
        deepest
    }
}

/// Gives the size of the largest list, map or text in a value, 1 at least.
pub(super) fn largest(value: &Value) -> u64 {
    let below = |values: &mut dyn Iterator<Item = &Value>| values.map(largest).max().unwrap_or(1);
    match value {
        Value::Array(items) => (items.len() as u64).max(below(&mut items.iter())),
        Value::Object(members) => (members.len() as u64).max(below(&mut members.values())),
        // Texts become lists by `split` and by regular expressions; few of their letters do.
        Value::String(text) => (text.len() as u64 / 64).max(1),
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
    }
}
