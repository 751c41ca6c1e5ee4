//! Properties of any docker configuration: it gives a credential of the right server, none, or an error that
//! contains nothing of the file.

use std::fs;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const PLANTED: &str = "planted-password";

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        select(vec![
            "r.example.com",
            "https://r.example.com/v2/",
            "R.EXAMPLE.com/acme",
            "other.example.com",
            "",
            "/",
            "://"
        ])
        .prop_map(str::to_owned),
        "\\PC{0,8}",
    ]
}

fn auth() -> impl Strategy<Value = String> {
    prop_oneof![
        select(vec!["ci:planted-password", "planted-password", ":planted-password", "ci:", "ci:\0\0"])
            .prop_map(|pair| STANDARD.encode(pair)),
        Just(PLANTED.to_owned()),
        "[A-Za-z0-9+/=]{0,12}",
    ]
}

proptest! {
    #[test]
    fn an_entry_is_a_credential_of_its_own_server_or_a_fault(key in key(), auth in auth(), name in "(username|auth|password|identitytoken)") {
        let file = serde_json::json!({"auths": {&key: {name: auth}}}).to_string();
        let config = DockerConfig { path: "config.json".into(), file: serde_json::from_str(&file).unwrap() };
        let place = config.place("r.example.com", Some("acme/shop"));
        match config.credential(&place, &Cutoff::default()) {
            Ok(Some(credential)) => {
                prop_assert!(key.to_ascii_lowercase().contains("r.example.com"), "{}", key);
                prop_assert!(!credential.token.expose_secret().is_empty());
            }
            Ok(None) => prop_assert_eq!(place, CredentialPlace::Nowhere),
            Err(fault) => prop_assert!(!fault.to_string().contains(PLANTED), "{}", fault),
        }
    }

    #[test]
    fn a_file_of_anything_is_read_or_refused(
        bytes in prop_oneof![
            vec(any::<u8>(), 0..40),
            "\\{\"(auths|credHelpers|credsStore)\": ?(null|1|\"x\"|\\{\\}|\\{\"a\": ?(null|1|\"planted-password\"|\\{\\})\\}),?\\}?"
                .prop_map(String::into_bytes),
        ],
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs::write(&path, bytes).unwrap();
        match DockerConfig::read(&path) {
            Ok(config) => drop(config.place("r.example.com", None)),
            Err(fault) => prop_assert!(!fault.to_string().contains(PLANTED), "{}", fault),
        }
    }

    #[test]
    fn an_answer_of_a_helper_is_read_or_refused(
        text in prop_oneof!["\\PC{0,30}", "\\{(\"(Username|Secret|ServerURL|x)\": ?(null|1|\"[a-z<>]{0,7}\"),?){0,4}\\}"],
    ) {
        if let Ok(answer) = serde_json::from_str::<Answer>(&text) {
            prop_assert!(text.contains("\"Secret\"") && text.contains(answer.secret.expose_secret()));
        }
    }
}
