//! `GET` of one object.

use std::sync::Arc;

use coracle_api::status::Status;
use http::StatusCode;

use crate::cache::Object;
use crate::context::Context;
use crate::respond::Answer;
use crate::server::Core;

impl Core {
    /// Answers with one object.
    pub(crate) async fn get(&self, context: &Context) -> Result<Answer, Status> {
        let object = self.current(context)?;
        self.answer_stored(context, StatusCode::OK, object.json.clone()).await
    }

    /// The object that the path names, at the latest revision.
    ///
    /// # Errors
    /// 404 when there is none.
    pub(crate) fn current(&self, context: &Context) -> Result<Arc<Object>, Status> {
        let (namespace, name) = (&context.path.namespace, &context.path.name);
        let found = self.objects(context.kind)?.get(namespace, name);
        found.ok_or_else(|| Status::not_found(&context.kind.group_resource(), name))
    }
}
