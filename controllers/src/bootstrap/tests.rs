//! The public kubeconfig and the life of tokens.

use super::*;

const NOW: &str = "2026-01-02T00:00:00Z";

fn token(id: &str, expiration: Option<&str>) -> Token {
    Token {
        id: id.to_owned(),
        secret: "0123456789abcdef".to_owned(),
        expiration: expiration.map(|text| text.parse().unwrap()),
        signs: true,
        authenticates: true,
        description: "a test".to_owned(),
    }
}

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

#[test]
fn a_token_survives_its_secret() {
    let made = token("abcdef", Some("2026-01-03T00:00:00Z"));
    assert_eq!(Token::read(&made.to_secret()), Some(made.clone()));
    let opaque = Secret { type_: Some("Opaque".to_owned()), ..made.to_secret() };
    assert_eq!(Token::read(&opaque), None);
    assert_eq!(format!("{made:?}"), "Token(abcdef)");
}

#[test]
fn tokens_have_a_form() {
    assert_eq!(token::parse("abcdef.0123456789abcdef"), Some(("abcdef", "0123456789abcdef")));
    for text in ["", "abcdef", "abcdef.", "ABCDEF.0123456789abcdef", "abcdef.0123456789abcde"] {
        assert_eq!(token::parse(text), None);
    }
}

#[test]
fn the_public_kubeconfig_is_signed_with_each_token_that_lives() {
    let kubeconfig = public_kubeconfig("https://192.0.2.1:6443", "PEM");
    let ended = token("ended0", Some(NOW));
    let mute = Token { signs: false, ..token("mute00", None) };
    let tokens = [token("abcdef", None), ended, mute];
    let map = cluster_info(None, &kubeconfig, &tokens, now()).unwrap();
    let data = map.data.clone().unwrap();
    assert_eq!(data.keys().collect::<Vec<_>>(), ["jws-kubeconfig-abcdef", "kubeconfig"]);
    let signature = &data["jws-kubeconfig-abcdef"];
    assert!(jws::verify(signature, &data["kubeconfig"], "abcdef", "0123456789abcdef"));
    // What was done once is not done again.
    assert_eq!(cluster_info(Some(&map), &kubeconfig, &tokens, now()), None);
    // A revoked token signs no more; what others wrote stays.
    let mut noted = map;
    noted.data.as_mut().unwrap().insert("note".to_owned(), "x".to_owned());
    let left = cluster_info(Some(&noted), &kubeconfig, &[], now()).unwrap().data.unwrap();
    assert_eq!(left.keys().collect::<Vec<_>>(), ["kubeconfig", "note"]);
}

#[test]
fn expired_tokens_go_and_the_next_end_is_known() {
    let later = "2026-01-02T00:00:09Z";
    let secrets = [
        token("ended0", Some(NOW)).to_secret(),
        token("later0", Some(later)).to_secret(),
        token("much00", Some("2027-01-02T00:00:09Z")).to_secret(),
        token("never0", None).to_secret(),
    ];
    let (gone, next) = expired(secrets.iter(), now());
    let names: Vec<_> = gone.iter().filter_map(|s| s.metadata.name.as_deref()).collect();
    assert_eq!(names, ["bootstrap-token-ended0"]);
    assert_eq!(next, Some(later.parse().unwrap()));
}
