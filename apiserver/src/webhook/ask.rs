//! How the server asks webhooks: those that change one after another, those that only look all at once.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coracle_api::patch::json;
use coracle_api::status::Status;
use serde_json::Value;
use std::time::Duration;

use super::answer::{self, Verdict};
use super::{Hook, hooks, review, url_of};
use crate::admission::Request;
use crate::admission::matching::Written;
use crate::admission::policy::{self, Around, Rounds};
use crate::clock;
use crate::server::Core;

impl Core {
    /// Lets mutating policies, then mutating webhooks change a new object, and those that want it once more after a
    /// later change; whether one did.
    ///
    /// # Errors
    /// The first refusal or failure.
    pub(crate) async fn mutate(
        &self,
        request: &Request<'_>,
        object: &mut Value,
        old: Option<&Value>,
        dry_run: bool,
        warnings: &mut Vec<String>,
    ) -> Result<bool, Status> {
        let mut rounds = Rounds::default();
        self.mutate_once(request, object, old, dry_run, (&mut rounds, warnings)).await?;
        if rounds.again() {
            self.mutate_once(request, object, old, dry_run, (&mut rounds, warnings)).await?;
        }
        Ok(rounds.changed())
    }

    async fn mutate_once(
        &self,
        request: &Request<'_>,
        object: &mut Value,
        old: Option<&Value>,
        dry_run: bool,
        (rounds, warnings): (&mut Rounds, &mut Vec<String>),
    ) -> Result<(), Status> {
        self.mutations.run(request, object, old, &self.around(dry_run), rounds)?;
        let found = hooks(
            "mutatingwebhookconfigurations",
            &Written::new(request, object, old),
            &self.caches,
        );
        for hook in &found {
            if !rounds.wants(&hook.key, hook.reinvokes) {
                continue;
            }
            let written = Written::new(request, object, old);
            let verdict = self.ask(hook, &written, dry_run, true).await?;
            warnings.extend(verdict.warnings);
            let mut changed = false;
            if let Some(patch) = verdict.patch {
                let new = json::apply(object, &patch)
                    .map_err(|status| hook.failed(&status.to_string()))?;
                changed = new != *object;
                *object = new;
            }
            rounds.asked(&hook.key, changed);
        }
        Ok(())
    }

    /// Asks validating webhooks about a write.
    ///
    /// # Errors
    /// The first refusal or failure, in the order of the webhooks.
    pub(crate) async fn validate_by_webhooks(
        &self,
        written: &Written<'_>,
        dry_run: bool,
        warnings: &mut Vec<String>,
    ) -> Result<(), Status> {
        let found = hooks("validatingwebhookconfigurations", written, &self.caches);
        let asked = found.iter().map(|hook| self.ask(hook, written, dry_run, false));
        for verdict in futures::future::join_all(asked).await {
            warnings.extend(verdict?.warnings);
        }
        Ok(())
    }

    /// What policies and conditions may look at.
    pub(crate) fn around(&self, dry_run: bool) -> Around<'_> {
        Around { caches: &self.caches, authorizer: &self.authorizer, dry_run }
    }

    /// Asks one webhook; a failure counts as the webhook's policy says.
    async fn ask(
        &self,
        hook: &Hook,
        written: &Written<'_>,
        dry_run: bool,
        may_patch: bool,
    ) -> Result<Verdict, Status> {
        match policy::conditions_hold(&hook.conditions, written, &self.around(dry_run)) {
            Ok(true) => {}
            Ok(false) => return Ok(Verdict::default()),
            Err(_) if !hook.fails => return Ok(Verdict::default()),
            Err(why) => return Err(written.request.forbidden(why)),
        }
        let uid = clock::uuid();
        let review = review(written, &uid, dry_run);
        let answered = match self.post(hook, &review).await {
            Ok(answer) => answer::read(&answer, &uid, may_patch),
            Err(why) => Err(why),
        };
        match answered {
            Ok(Verdict { refusal: Some((words, code, _)), .. }) => {
                Err(answer::refused(&hook.name, &words, code))
            }
            Ok(verdict) => Ok(verdict),
            Err(why) if hook.fails => Err(hook.failed(&why)),
            Err(why) => {
                tracing::warn!(
                    webhook = hook.name,
                    why,
                    "a webhook failed, and is ignored as its policy says"
                );
                Ok(Verdict::default())
            }
        }
    }

    async fn post(&self, hook: &Hook, review: &Value) -> Result<Value, String> {
        let url = url_of(&hook.client)?;
        let authority = STANDARD.decode(hook.client["caBundle"].as_str().unwrap_or_default());
        let authority = authority.map_err(|error| format!("read caBundle: {error}"))?;
        let joint = if url.contains('?') { '&' } else { '?' };
        let url = format!("{url}{joint}timeout={}s", hook.seconds);
        let timeout = Duration::from_secs(hook.seconds);
        let answer = self.webhooks.post(&url, &authority, review, timeout).await;
        answer.map_err(|why| format!("failed to call webhook: Post {url:?}: {why}"))
    }
}

impl Hook {
    fn failed(&self, why: &str) -> Status {
        Status::internal(format!("failed calling webhook {:?}: {why}", self.name))
    }
}
