//! What an expression gets wrong about the types of its variables, as far as that can be said before it runs.
//!
//! Of built-in kinds and users' kinds the fields are known; calls other than operators give anything. So nothing that is
//! right is called wrong, and not all that is wrong is found.
//! *Source:* the wording of the checker of `cel-go`.

use std::collections::HashMap;

use kube_cel::cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr, LiteralValue, operators,
};

use super::Expression;
use super::escape::unescape;
use crate::custom::Structural;
use crate::schema::{self, FieldType, Type};

/// What is known of a value.
#[derive(Debug, Clone, Copy)]
pub enum Known<'a> {
    /// Nothing.
    Dyn,
    /// A scalar, by its name in CEL: `bool`, `int`, `double`, `string`.
    Scalar(&'static str),
    /// An object of a built-in kind, or a part of one.
    Structure(&'static Type),
    /// A list or map of the built-in table.
    Field(&'static FieldType),
    /// An object of a user's kind, or a part of one.
    Schema(&'a Structural),
    /// An object of a user's kind as a whole: it has metadata, too.
    Whole(&'a Structural),
}

const BOOL: Known<'static> = Known::Scalar("bool");

impl<'a> Known<'a> {
    /// What is known of objects of a type.
    pub fn of_type(ty: &'static Type) -> Known<'static> {
        match ty.custom() {
            Some(version) => Known::Whole(&version.schema),
            None => Known::Structure(ty),
        }
    }

    fn of_field(ty: &'static FieldType) -> Known<'static> {
        match ty {
            FieldType::Ref(ty) => Known::Structure(ty),
            FieldType::List(_) | FieldType::Map(_) => Known::Field(ty),
            FieldType::String => Known::Scalar("string"),
            FieldType::Bool => BOOL,
            FieldType::Int32 | FieldType::Int64 => Known::Scalar("int"),
            FieldType::Double => Known::Scalar("double"),
            FieldType::Bytes
            | FieldType::Time
            | FieldType::MicroTime
            | FieldType::Duration
            | FieldType::Quantity
            | FieldType::IntOrString
            | FieldType::RawExtension
            | FieldType::FieldsV1
            | FieldType::Json
            | FieldType::SchemaOrBool(_)
            | FieldType::SchemaOrArray(_)
            | FieldType::SchemaOrStrings(_) => Known::Dyn,
        }
    }

    /// What is known of a place of a user's kind.
    pub fn of_schema(schema: &'a Structural) -> Known<'a> {
        if schema.int_or_string || schema.preserve {
            return Known::Dyn;
        }
        match schema.ty.as_ref() {
            "boolean" => BOOL,
            "integer" => Known::Scalar("int"),
            "number" => Known::Scalar("double"),
            // With a format it may be a time or bytes.
            "string" if schema.format().is_empty() => Known::Scalar("string"),
            "object" if schema.embedded => Known::Dyn,
            "object" | "array" => Known::Schema(schema),
            _ => Known::Dyn,
        }
    }

    /// A field; `None` for one that is not there.
    fn field(self, name: &str) -> Option<Known<'a>> {
        match self {
            Known::Dyn | Known::Scalar(_) => Some(Known::Dyn),
            Known::Structure(ty) => ty.field(name).map(|field| Known::of_field(&field.ty)),
            Known::Field(FieldType::Map(item)) => Some(Known::of_field(item)),
            Known::Field(_) => Some(Known::Dyn),
            Known::Whole(_) if name == "metadata" => {
                let meta = schema::lookup("", "v1", "ConfigMap").and_then(|ty| ty.field(name));
                Some(meta.map_or(Known::Dyn, |field| Known::of_field(&field.ty)))
            }
            Known::Whole(_) if name == "apiVersion" || name == "kind" => {
                Some(Known::Scalar("string"))
            }
            Known::Whole(schema) | Known::Schema(schema) => {
                let named = schema.member(name).map(Known::of_schema);
                let is_closed = !schema.properties.is_empty() && !schema.preserve;
                named.or_else(|| (!is_closed).then(|| self.item()))
            }
        }
    }

    /// An item of a list, or a value of a map.
    fn item(self) -> Known<'a> {
        match self {
            Known::Field(FieldType::List(item) | FieldType::Map(item)) => Known::of_field(item),
            Known::Schema(schema) => schema.items.as_deref().map_or(Known::Dyn, Known::of_schema),
            Known::Dyn
            | Known::Scalar(_)
            | Known::Structure(_)
            | Known::Field(_)
            | Known::Whole(_) => Known::Dyn,
        }
    }

    fn scalar(self) -> Option<&'static str> {
        match self {
            Known::Scalar(name) => Some(name),
            Known::Dyn
            | Known::Structure(_)
            | Known::Field(_)
            | Known::Schema(_)
            | Known::Whole(_) => None,
        }
    }
}

impl Expression {
    /// Says what the expression gets wrong about its variables, of which some are known; nothing is known of the others.
    pub fn mistakes(&self, variables: &[(&str, Known<'_>)]) -> Vec<String> {
        self.checked(variables).0
    }

    /// Says what [`Expression::mistakes`] says, and the scalar that the expression gives as far as that is known: `bool`,
    /// `int`, `double`, `string`.
    pub fn checked(&self, variables: &[(&str, Known<'_>)]) -> (Vec<String>, Option<&'static str>) {
        let names = variables.iter().map(|(name, known)| ((*name).to_owned(), *known)).collect();
        let mut checker = Checker { names, mistakes: Vec::new() };
        let gives = checker.visit(&self.program).scalar();
        (checker.mistakes, gives)
    }
}

struct Checker<'a> {
    names: HashMap<String, Known<'a>>,
    mistakes: Vec<String>,
}

impl<'a> Checker<'a> {
    fn visit(&mut self, expression: &IdedExpr) -> Known<'a> {
        match &expression.expr {
            Expr::Unspecified | Expr::Struct(_) => Known::Dyn,
            Expr::Ident(name) => self.names.get(name).copied().unwrap_or(Known::Dyn),
            Expr::Literal(literal) => of_literal(literal),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => {
                for item in &list.elements {
                    self.visit(item);
                }
                Known::Dyn
            }
            Expr::Map(map) => {
                map.entries.iter().for_each(|entry| self.entry(entry));
                Known::Dyn
            }
            Expr::Select(select) => {
                let operand = self.visit(&select.operand);
                let found = operand.field(&unescape(&select.field));
                if found.is_none() {
                    self.mistakes.push(format!("undefined field '{}'", select.field));
                }
                if select.test { BOOL } else { found.unwrap_or(Known::Dyn) }
            }
            Expr::Comprehension(loops) => self.comprehension(loops),
        }
    }

    fn entry(&mut self, entry: &IdedEntryExpr) {
        match &entry.expr {
            EntryExpr::StructField(field) => {
                self.visit(&field.value);
            }
            EntryExpr::MapEntry(entry) => {
                self.visit(&entry.key);
                self.visit(&entry.value);
            }
        }
    }

    fn comprehension(&mut self, loops: &ComprehensionExpr) -> Known<'a> {
        let range = self.visit(&loops.iter_range);
        self.visit(&loops.accu_init);
        // A loop over a map, or with two variables, binds keys.
        let is_list = match range {
            Known::Field(FieldType::List(_)) => true,
            Known::Schema(schema) => schema.ty.as_ref() == "array",
            Known::Field(_)
            | Known::Dyn
            | Known::Scalar(_)
            | Known::Structure(_)
            | Known::Whole(_) => false,
        };
        let item = if is_list && loops.iter_var2.is_none() { range.item() } else { Known::Dyn };
        let before = self.names.clone();
        self.names.insert(loops.iter_var.clone(), item);
        self.names.insert(loops.accu_var.clone(), Known::Dyn);
        if let Some(second) = &loops.iter_var2 {
            self.names.insert(second.clone(), Known::Dyn);
        }
        self.visit(&loops.loop_cond);
        self.visit(&loops.loop_step);
        self.visit(&loops.result);
        self.names = before;
        Known::Dyn
    }

    fn call(&mut self, call: &CallExpr) -> Known<'a> {
        if let Some(target) = &call.target {
            self.visit(target);
        }
        let arguments: Vec<Known<'a>> =
            call.args.iter().map(|argument| self.visit(argument)).collect();
        let name = call.func_name.as_str();
        match (name, arguments.as_slice()) {
            (operators::INDEX, [of, _]) => of.item(),
            ("size", _) => Known::Scalar("int"),
            ("string", [_]) => Known::Scalar("string"),
            (operators::LOGICAL_AND | operators::LOGICAL_OR, [left, right]) => {
                self.overload(name, *left, *right, |scalar| scalar == "bool");
                BOOL
            }
            (operators::EQUALS | operators::NOT_EQUALS, [left, right]) => {
                self.overload(name, *left, *right, |_| true);
                BOOL
            }
            (
                operators::LESS
                | operators::LESS_EQUALS
                | operators::GREATER
                | operators::GREATER_EQUALS,
                [left, right],
            ) => {
                self.overload(name, *left, *right, |_| true);
                BOOL
            }
            (operators::ADD, [left, right]) => {
                self.overload(name, *left, *right, |scalar| scalar != "bool")
            }
            (
                operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE | operators::MODULO,
                [left, right],
            ) => self.overload(name, *left, *right, |scalar| scalar == "int" || scalar == "double"),
            _ => Known::Dyn,
        }
    }

    /// Checks an operator on two values of the same scalar; gives that.
    fn overload(
        &mut self,
        name: &str,
        left: Known<'a>,
        right: Known<'a>,
        takes: impl Fn(&str) -> bool,
    ) -> Known<'a> {
        let (Some(one), Some(other)) = (left.scalar(), right.scalar()) else { return Known::Dyn };
        // Numbers compare with each other, whatever their types.
        let numbers = ["int", "double"].contains(&one) && ["int", "double"].contains(&other);
        let compares = name.contains(['<', '>']) && numbers;
        if (one != other && !compares) || !takes(one) {
            let words =
                format!("found no matching overload for '{name}' applied to '({one}, {other})'");
            self.mistakes.push(words);
            return Known::Dyn;
        }
        left
    }
}

fn of_literal(literal: &LiteralValue) -> Known<'static> {
    match literal {
        LiteralValue::Boolean(_) => BOOL,
        LiteralValue::Int(_) => Known::Scalar("int"),
        LiteralValue::Double(_) => Known::Scalar("double"),
        LiteralValue::String(_) => Known::Scalar("string"),
        LiteralValue::Bytes(_) | LiteralValue::Null | LiteralValue::UInt(_) => Known::Dyn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let expression = Expression::compile(text, &["object", "params"]).unwrap();
        let ty = schema::lookup("apps", "v1", "Deployment").unwrap();
        let found = expression.mistakes(&[("object", Known::of_type(ty))]);
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn mistakes_are_told_and_what_is_right_is_not() {
        check("object.spec.replicas > 1", &[]);
        check(
            "object.spec.replicas > '1'",
            &["found no matching overload for '_>_' applied to '(int, string)'"],
        );
        check(
            "'wants replicas > 1, got ' + object.spec.replicas",
            &["found no matching overload for '_+_' applied to '(string, int)'"],
        );
        check("object.spec.replica == 1", &["undefined field 'replica'"]);
        check("object.metadata.labels['a'] == 'b' && object.metadata.labels.a == 'b'", &[]);
        check("object.spec.template.spec.containers.all(c, c.image != '')", &[]);
        check(
            "object.spec.template.spec.containers.all(c, c.imag != '')",
            &["undefined field 'imag'"],
        );
        check("has(object.spec.nothing)", &["undefined field 'nothing'"]);
        check("params.anything > object.spec.replicas", &[]);
        check("object.spec.replicas > 1.5 && size(object.spec.selector.matchLabels) == 2", &[]);
        check("quantity('1').isGreaterThan(quantity('2')) || object.spec.paused", &[]);
        check(
            "object.spec.paused == 'yes'",
            &["found no matching overload for '_==_' applied to '(bool, string)'"],
        );
    }
}
