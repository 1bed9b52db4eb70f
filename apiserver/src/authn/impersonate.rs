//! Acting as somebody else: what the `Impersonate-*` headers ask for, and the rights that this takes.
//!
//! Pure. *Source:* Kubernetes, "User impersonation".

use super::service_account::groups_of;
use super::{AUTHENTICATED, UserInfo};
use crate::authz::Attributes;
use crate::authz::rbac::SERVICE_ACCOUNT_PREFIX;
use crate::query::percent_decode;
use coracle_api::status::Status;
use http::HeaderMap;
use std::collections::BTreeMap;

/// What the names of the headers for extra facts begin with.
const EXTRA: &str = "impersonate-extra-";

/// Whom a request wants to act as.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    name: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

impl Wanted {
    /// Reads the headers; `None` when nobody is to be impersonated.
    ///
    /// # Errors
    /// 400 when groups, uid or extra facts are given without a user.
    pub fn read(headers: &HeaderMap) -> Result<Option<Wanted>, Status> {
        let all = |name: &str| -> Vec<String> {
            let values = headers.get_all(name).iter();
            values.filter_map(|value| value.to_str().ok().map(str::to_owned)).collect()
        };
        let one = |name: &str| all(name).into_iter().next().unwrap_or_default();
        let mut wanted = Wanted {
            name: one("impersonate-user"),
            uid: one("impersonate-uid"),
            groups: all("impersonate-group"),
            extra: BTreeMap::new(),
        };
        for name in headers.keys() {
            if let Some(key) = name.as_str().strip_prefix(EXTRA) {
                wanted.extra.insert(percent_decode(key), all(name.as_str()));
            }
        }
        if wanted == Wanted::default() {
            return Ok(None);
        }
        if wanted.name.is_empty() {
            let why =
                "requested impersonation of groups, uid or extra without impersonating a user";
            return Err(Status::bad_request(why));
        }
        Ok(Some(wanted))
    }

    /// What the real user must be allowed, each with the verb `impersonate`.
    pub fn rights(&self) -> Vec<Attributes<'_>> {
        let right = |group, resource, name| Attributes {
            verb: "impersonate",
            group,
            resource,
            name,
            ..Attributes::default()
        };
        let mut out = Vec::new();
        match self.service_account() {
            Some((namespace, name)) => {
                out.push(Attributes { namespace, ..right("", "serviceaccounts", name) });
            }
            None => out.push(right("", "users", &self.name)),
        }
        out.extend(self.groups.iter().map(|group| right("", "groups", group)));
        let own_group = "authentication.k8s.io";
        if !self.uid.is_empty() {
            out.push(right(own_group, "uids", &self.uid));
        }
        for (key, values) in &self.extra {
            let extra =
                |value| Attributes { subresource: key, ..right(own_group, "userextras", value) };
            out.extend(values.iter().map(|value| extra(value)));
        }
        out
    }

    fn service_account(&self) -> Option<(&str, &str)> {
        self.name.strip_prefix(SERVICE_ACCOUNT_PREFIX)?.split_once(':')
    }

    /// The user to go on as.
    pub fn into_user(self) -> UserInfo {
        let mut groups = self.groups.clone();
        if let Some((namespace, _)) = self.service_account().filter(|_| groups.is_empty()) {
            groups.extend(groups_of(namespace));
        }
        let known = |group: &String| group == AUTHENTICATED || group == super::UNAUTHENTICATED;
        if self.name != super::ANONYMOUS && !groups.iter().any(known) {
            groups.push(AUTHENTICATED.to_owned());
        }
        UserInfo { name: self.name, uid: self.uid, groups, extra: self.extra }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(headers: &[(&'static str, &str)], expected: Expect) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let text = match Wanted::read(&map) {
            Err(status) => status.to_string(),
            Ok(None) => "nobody".to_owned(),
            Ok(Some(wanted)) => {
                let right = |a: &Attributes<'_>| {
                    format!(
                        "{}/{}/{} {}/{}",
                        a.group, a.resource, a.subresource, a.namespace, a.name
                    )
                };
                let rights: Vec<String> = wanted.rights().iter().map(right).collect();
                let user = wanted.into_user();
                format!(
                    "{}\n{} {} {:?} {:?}",
                    rights.join("\n"),
                    user.name,
                    user.uid,
                    user.groups,
                    user.extra
                )
            }
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn headers_name_a_user_and_what_it_takes() {
        check(&[], expect!["nobody"]);
        check(
            &[("impersonate-user", "ann")],
            expect![[r#"
            /users/ /ann
            ann  ["system:authenticated"] {}"#]],
        );
        check(
            &[
                ("impersonate-user", "ann"),
                ("impersonate-group", "a"),
                ("impersonate-group", "b"),
                ("impersonate-uid", "7"),
                ("impersonate-extra-acme.com%2fscope", "view"),
            ],
            expect![[r#"
                /users/ /ann
                /groups/ /a
                /groups/ /b
                authentication.k8s.io/uids/ /7
                authentication.k8s.io/userextras/acme.com/scope /view
                ann 7 ["a", "b", "system:authenticated"] {"acme.com/scope": ["view"]}"#]],
        );
        check(
            &[("impersonate-user", "system:serviceaccount:qa:robot")],
            expect![[r#"
            /serviceaccounts/ qa/robot
            system:serviceaccount:qa:robot  ["system:serviceaccounts", "system:serviceaccounts:qa", "system:authenticated"] {}"#]],
        );
        check(
            &[("impersonate-group", "a")],
            expect!["requested impersonation of groups, uid or extra without impersonating a user"],
        );
    }
}
