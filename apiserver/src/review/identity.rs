//! Who somebody is: `TokenReview` and `SelfSubjectReview`.

use coracle_api::status::Status;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::user_value;
use crate::authn::{ISSUER, UserInfo};
use crate::server::Core;

/// The status of a `SelfSubjectReview`.
pub(super) fn whoami(user: &UserInfo) -> Value {
    json!({"userInfo": user_value(user)})
}

impl Core {
    /// The status of a `TokenReview`.
    ///
    /// # Errors
    /// 400 when it holds no token.
    pub(super) async fn review_token(
        &self,
        review: &Value,
        now: Timestamp,
    ) -> Result<Value, Status> {
        let spec = &review["spec"];
        let token = spec["token"].as_str().filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| {
            Status::bad_request("token is required for TokenReview in authentication")
        })?;
        let asked = spec["audiences"].as_array().into_iter().flatten();
        let asked: Vec<String> =
            asked.filter_map(|text| text.as_str().map(str::to_owned)).collect();
        let audiences = if asked.is_empty() { vec![ISSUER.to_owned()] } else { asked };
        self.authenticator.prepare(token, now).await;
        Ok(match self.authenticator.token(token, &audiences, now) {
            Some((user, shared)) => {
                json!({"authenticated": true, "user": user_value(&user), "audiences": shared})
            }
            None => {
                json!({"user": {}, "error": "the token is not known, or is not valid any more"})
            }
        })
    }
}
