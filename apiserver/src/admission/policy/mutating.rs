//! `MutatingAdmissionPolicy`: expressions that change what is written.
//!
//! *Source:* KEP-3962.

use super::reinvoke::Rounds;
use super::{
    Around, Cached, Common, Compiled, NoParams, VARIABLES, bindings_of, both, evaluate, fails,
    params, scope,
};
use crate::admission::Request;
use crate::admission::matching::Written;
use coracle_api::apply::{self, Builtin};
use coracle_api::cel::{Expression, Makes};
use coracle_api::decode::{self, FieldValidation};
use coracle_api::meta;
use coracle_api::patch::json;
use coracle_api::status::{Reason, Status};
use serde_json::Value;

/// Mutating policies that were compiled.
#[derive(Default)]
pub(crate) struct Mutations(Cached<Policy>);

struct Policy {
    value: Value,
    common: Common,
    mutations: Vec<Mutation>,
}

/// One change.
enum Mutation {
    /// The expression gives a part of an object, which is merged in as by server-side apply.
    Apply(Compiled),
    /// The expression gives a list of operations.
    Patch(Compiled),
}

impl Mutations {
    /// Lets every policy that is about a write change its object.
    ///
    /// # Errors
    /// The first failure that counts.
    pub(crate) fn run(
        &self,
        request: &Request<'_>,
        object: &mut Value,
        old: Option<&Value>,
        around: &Around<'_>,
        rounds: &mut Rounds,
    ) -> Result<(), Status> {
        let written = Written::new(request, object, old);
        let resources = ["mutatingadmissionpolicies", "mutatingadmissionpolicybindings"];
        let Some((policies, bindings)) = both(&written, around.caches, resources) else {
            return Ok(());
        };
        for stored in policies {
            let policy = self.0.get(&stored, Policy::compile);
            let written = Written::new(request, object, old);
            for binding in bindings_of(&policy.value, &bindings, &written, around.caches) {
                let (name, by) = (meta::name(&policy.value), meta::name(binding));
                let key = format!("policy/{name}/{by}");
                let reinvokes = policy.value["spec"]["reinvocationPolicy"] == "IfNeeded";
                if !rounds.wants(&key, reinvokes) {
                    continue;
                }
                let before = object.clone();
                if let Err(why) = policy.change(binding, request, object, old, around) {
                    *object = before;
                    if fails(&policy.value) {
                        return Err(refused(request, name, by, &why));
                    }
                    tracing::warn!(policy = name, binding = by, why, "a mutation is left out");
                    continue;
                }
                rounds.asked(&key, before != *object);
            }
        }
        Ok(())
    }
}

fn refused(request: &Request<'_>, policy: &str, binding: &str, why: &str) -> Status {
    let words = format!(
        "MutatingAdmissionPolicy '{policy}' with binding '{binding}' denied request: {why}"
    );
    let mut status = request.forbidden(&words).with_cause("", &words, "");
    status.reason = Reason::Invalid;
    status
}

impl Policy {
    fn compile(value: Value) -> Policy {
        let spec = &value["spec"];
        let making = |text: &Value| {
            let text = text.as_str().unwrap_or_default();
            Expression::compile_making(text, &VARIABLES, Makes::Mutations)
                .map_err(|error| format!("expression '{text}' resulted in error: {error}"))
        };
        let mutation = |item: &Value| match item["patchType"].as_str() {
            Some("JSONPatch") => Mutation::Patch(making(&item["jsonPatch"]["expression"])),
            Some(_) | None => Mutation::Apply(making(&item["applyConfiguration"]["expression"])),
        };
        let mutations = spec["mutations"].as_array().into_iter().flatten().map(mutation).collect();
        Policy { common: Common::compile(spec), mutations, value }
    }

    fn change(
        &self,
        binding: &Value,
        request: &Request<'_>,
        object: &mut Value,
        old: Option<&Value>,
        around: &Around<'_>,
    ) -> Result<(), String> {
        let written = Written::new(request, object, old);
        let all = match params(&self.value, binding, &written, around.caches) {
            Ok(all) => all,
            Err(NoParams::Skip) => return Ok(()),
            Err(NoParams::Failed(why)) => return Err(why),
        };
        for params in all {
            let written = Written::new(request, object, old);
            if !self.common.applies(&scope(&written, around, &params))? {
                continue;
            }
            for mutation in &self.mutations {
                self.mutate(mutation, request, object, old, around, &params)?;
            }
        }
        Ok(())
    }

    fn mutate(
        &self,
        mutation: &Mutation,
        request: &Request<'_>,
        object: &mut Value,
        old: Option<&Value>,
        around: &Around<'_>,
        params: &Value,
    ) -> Result<(), String> {
        let mut scope = scope(&Written::new(request, object, old), around, params);
        let broken = self.common.bind_variables(&mut scope);
        let (Mutation::Apply(expression) | Mutation::Patch(expression)) = mutation;
        let uses = expression.as_ref().is_ok_and(|expression| expression.uses("variables"));
        if let Some(why) = broken.filter(|_| uses) {
            return Err(why);
        }
        let wanted = evaluate(expression, &scope)?;
        let mut new = object.clone();
        match mutation {
            Mutation::Apply(_) => merge(request, &mut new, &wanted)?,
            Mutation::Patch(_) => {
                new = json::apply(&new, &wanted).map_err(|error| error.to_string())?;
            }
        }
        check_identity(&new, object)?;
        let decoded = decode::conform(new, request.kind.ty(), FieldValidation::Strict);
        *object = decoded.map_err(|error| error.to_string())?.value;
        Ok(())
    }
}

fn merge(request: &Request<'_>, object: &mut Value, wanted: &Value) -> Result<(), String> {
    if !wanted.is_object() {
        return Err("the expression must evaluate to Object".to_owned());
    }
    apply::overlay(Builtin::Object(request.kind.ty()), object, wanted).map_err(|path| {
        format!("invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {path}")
    })
}

/// A policy changes an object, it does not make it another one.
fn check_identity(new: &Value, old: &Value) -> Result<(), String> {
    let fields = ["/apiVersion", "/kind", "/metadata/name", "/metadata/namespace", "/metadata/uid"];
    let changed = fields.into_iter().find(|path| new.pointer(path) != old.pointer(path));
    changed.map_or(Ok(()), |path| {
        Err(format!("must not change {}", path.trim_start_matches('/').replace('/', ".")))
    })
}
