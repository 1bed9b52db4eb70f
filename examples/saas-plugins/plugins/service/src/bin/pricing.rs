//! Some percent off: takes a cart, gives the changes of its bill, both in JSON.
use serde_json::{Value, json};
use wstd::http::{Body, Error, Request, Response};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let mut body = request.into_body();
    let cart: Value = serde_json::from_slice(body.contents().await?).unwrap_or_default();
    let percent: u64 = std::env::var("DISCOUNT_PERCENT").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let lines = cart["lines"].as_array().into_iter().flatten();
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let goods = lines.fold(0_u64, |sum, line| {
        sum.saturating_add(number(&line["count"]).saturating_mul(number(&line["cents"])))
    });
    let cents = i64::try_from(goods.saturating_mul(percent) / 100).unwrap_or(i64::MAX);
    let changes = json!([{"reason": format!("{percent} percent"), "cents": -cents}]);
    Ok(Response::new(changes.to_string().into()))
}
