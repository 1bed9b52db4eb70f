//! An expression as the interpreter can run it: structures become maps, `authorizer.requestResource` becomes a
//! variable.
//!
//! *Source:* Kubernetes documentation, "Mutating Admission Policy": `Object{…}` and `JSONPatch{…}`.

use kube_cel::cel::common::ast::{
    EntryExpr, Expr, IdedEntryExpr, IdedExpr, LiteralValue, MapEntryExpr, MapExpr, StructExpr,
    operators,
};

use super::authorizer::{AUTHORIZER, REQUEST_RESOURCE, REQUEST_RESOURCE_FIELD};
use super::escape::unescape;

/// Which structures an expression may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Makes {
    /// None: it tells or computes something.
    Nothing,
    /// Parts of objects (`Object`, `Object.spec`…) and of patches (`JSONPatch`).
    Mutations,
}

impl Makes {
    fn allows(self, name: &str) -> bool {
        let is_mutation = name == "Object" || name == "JSONPatch" || name.starts_with("Object.");
        self == Makes::Mutations && is_mutation
    }
}

/// Rewrites an expression in place.
///
/// # Errors
/// Names a structure that the expression may not make.
pub(super) fn rewrite(expression: &mut IdedExpr, makes: Makes) -> Result<(), String> {
    match &mut expression.expr {
        Expr::Unspecified => Err("an expression is missing".to_owned()),
        Expr::Ident(_) | Expr::Literal(_) => Ok(()),
        Expr::Call(call) => {
            // The interpreter fails at `a.?b` where there is no `b`, and not at `a[?'b']`.
            if call.func_name == operators::OPT_SELECT {
                operators::OPT_INDEX.clone_into(&mut call.func_name);
            }
            let target = call.target.iter_mut().map(AsMut::as_mut);
            each(target.chain(&mut call.args), makes)
        }
        Expr::List(list) => each(list.elements.iter_mut(), makes),
        Expr::Select(select) => {
            let is_authorizer =
                matches!(&select.operand.expr, Expr::Ident(name) if name == AUTHORIZER);
            if is_authorizer && select.field == REQUEST_RESOURCE_FIELD {
                expression.expr = Expr::Ident(REQUEST_RESOURCE.to_owned());
                return Ok(());
            }
            rewrite(&mut select.operand, makes)
        }
        Expr::Map(map) => entries(&mut map.entries, makes),
        Expr::Struct(structure) => {
            if !makes.allows(&structure.type_name) {
                let name = &structure.type_name;
                return Err(format!("undeclared reference to '{name}' (in container '')"));
            }
            let mut map = map_of(std::mem::take(structure));
            entries(&mut map.entries, makes)?;
            expression.expr = Expr::Map(map);
            Ok(())
        }
        Expr::Comprehension(loops) => {
            let parts = [
                &mut loops.iter_range,
                &mut loops.accu_init,
                &mut loops.loop_cond,
                &mut loops.loop_step,
                &mut loops.result,
            ];
            each(parts.into_iter(), makes)
        }
    }
}

fn each<'a>(parts: impl Iterator<Item = &'a mut IdedExpr>, makes: Makes) -> Result<(), String> {
    for part in parts {
        rewrite(part, makes)?;
    }
    Ok(())
}

fn entries(all: &mut [IdedEntryExpr], makes: Makes) -> Result<(), String> {
    for entry in all {
        match &mut entry.expr {
            EntryExpr::StructField(field) => rewrite(&mut field.value, makes)?,
            EntryExpr::MapEntry(entry) => {
                rewrite(&mut entry.key, makes)?;
                rewrite(&mut entry.value, makes)?;
            }
        }
    }
    Ok(())
}

/// The map with a structure's fields, under the names that they have in JSON.
fn map_of(structure: StructExpr) -> MapExpr {
    let entry = |entry: IdedEntryExpr| {
        let IdedEntryExpr { id, expr } = entry;
        let expr = match expr {
            EntryExpr::StructField(field) => {
                let name = LiteralValue::String(unescape(&field.field).as_str().into());
                let key = IdedExpr { id, expr: Expr::Literal(name) };
                EntryExpr::MapEntry(MapEntryExpr {
                    key,
                    value: field.value,
                    optional: field.optional,
                })
            }
            EntryExpr::MapEntry(entry) => EntryExpr::MapEntry(entry),
        };
        IdedEntryExpr { id, expr }
    };
    MapExpr { entries: structure.entries.into_iter().map(entry).collect() }
}
