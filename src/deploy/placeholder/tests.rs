//! Placeholders in commands and requests: their values, their encoding, and refused values.

use serde_json::json;

use super::super::fixture::{DIGEST, ID, KnownSecrets, request, target, template};
use super::*;

/// Checks the values of the third attempt to deploy `v2`, with a digest, after `v1`.
fn with_values<R>(check: impl FnOnce(&Values<'_>) -> R) -> R {
    let target = target(Vec::new());
    let (tag, previous, digest) =
        (Tag::new("v2").unwrap(), Tag::new("v1").unwrap(), Digest::new(DIGEST).unwrap());
    let request =
        DeployRequest { digest: Some(&digest), previous_tag: Some(&previous), ..request(&target, &tag) };
    let secrets =
        KnownSecrets::new(&[("key", "s3/cr&t="), ("url", "https://x.example/a?b"), ("lines", "a\nb")]);
    check(&Values::of(&request, &secrets, None))
}

fn without_digest<R>(check: impl FnOnce(&Values<'_>) -> R) -> R {
    let (target, tag) = (target(Vec::new()), Tag::new("v2").unwrap());
    let request = request(&target, &tag);
    check(&Values::of(&request, &KnownSecrets::none(), None))
}

#[test]
fn every_placeholder_has_its_value() {
    let expected = [
        ("project", "shop"),
        ("stage", "dev"),
        ("target", "shop/dev"),
        ("registry", "git"),
        ("repository", "acme/shop"),
        ("image", "git.example.com/acme/shop:v2"),
        ("tag", "v2"),
        ("digest", DIGEST),
        ("image_digest", &format!("git.example.com/acme/shop@{DIGEST}")),
        ("previous_tag", "v1"),
        ("deployment_id", ID),
        ("attempt", "3"),
    ];
    with_values(|values| {
        for (word, value) in expected {
            assert_eq!(values.plain(&template(&format!("<{{{word}}}>"))).unwrap(), format!("<{value}>"));
        }
        let environment: Vec<_> = values.environment().collect();
        let expected = expected
            .map(|(word, value)| (format!("TAGSHIP_{}", word.to_ascii_uppercase()), value.to_owned()));
        assert_eq!(environment, expected);
    });
}

#[test]
fn missing_values_are_empty_text() {
    without_digest(|values| {
        assert_eq!(values.plain(&template("[{digest}{image_digest}{previous_tag}]")).unwrap(), "[]");
        assert_eq!(values.environment().filter(|(_, value)| value.is_empty()).count(), 3);
    });
}

#[test]
fn in_a_url_values_are_encoded_and_secrets_and_literals_are_not() {
    with_values(|values| {
        let url = template("https://h/{repository}/{var.app}?k={secret.key}&x=ä {deployment_id}");
        let expected = format!("https://h/acme%2Fshop/a%20b?k=s3/cr&t=&x=ä {ID}");
        assert_eq!(values.url(&url).unwrap(), expected);
        assert_eq!(values.url(&template("{secret.url}")).unwrap(), "https://x.example/a?b");
        assert!(values.url(&template("https://h/{secret.lines}")).is_err());
    });
}

#[test]
fn url_is_shown_without_its_secrets() {
    with_values(|values| {
        for (url, shown) in [
            ("https://h/{tag}?a=1&b=2", "https://h/v2?a=1&b=2"),
            ("https://h/hook/{secret.key}?a=1", "https://h/hook/***?a=1"),
            ("https://h/?a=1&b={secret.key}&c", "https://h/?a=***&b=***&***"),
            ("https://me:pw@h:1/x@y#frag", "https://***@h:1/x@y"),
            ("{secret.url}", "***"),
        ] {
            assert_eq!(values.shown_url(&template(url)), shown);
        }
    });
}

#[test]
fn a_value_cannot_leave_its_json_string() {
    let body = JsonTemplate::Object(vec![
        ("text".into(), JsonTemplate::Text(template("\"{secret.lines}\" {attempt}"))),
        ("list".into(), JsonTemplate::Array(vec![JsonTemplate::Null, JsonTemplate::Bool(true)])),
        ("number".into(), JsonTemplate::Number(7.into())),
    ]);
    with_values(|values| {
        let body = values.json(&body).unwrap();
        assert_eq!(body, json!({"text": "\"a\nb\" 3", "list": [null, true], "number": 7}));
    });
}

#[test]
fn a_form_is_encoded() {
    let fields = [("to ken".into(), template("{secret.key}")), ("app".into(), template("{var.app}ä"))];
    with_values(|values| {
        assert_eq!(values.form(&fields).unwrap(), "to+ken=s3%2Fcr%26t%3D&app=a+b%C3%A4");
    });
}

#[test]
fn header_with_a_line_break_is_an_error_that_names_it() {
    with_values(|values| {
        let header = |text| values.header("X-Key", &template(text));
        assert_eq!(header("Bearer {secret.key}").unwrap(), "Bearer s3/cr&t=");
        let error = header("{secret.lines}").unwrap_err();
        assert!(error.message.contains("X-Key") && !error.message.contains('\n'), "{error}");
        assert!(!error.started);
    });
}

#[test]
fn value_that_changes_the_path_is_an_error() {
    let target = target(Vec::new());
    let tag = Tag::new("v2").unwrap();
    let answers = [Some(json!({"up": "..", "dot": ".", "name": "a..b", "deep": "a/../b"}))];
    let (request, secrets) = (request(&target, &tag), KnownSecrets::none());
    let values = Values::of(&request, &secrets, Some(&answers));
    assert_eq!(values.url(&template("https://h/a/{step.1./name}")).unwrap(), "https://h/a/a..b");
    for (url, shown) in [
        ("https://h/a/{step.1./up}/b", "https://h/a/../b"),
        ("https://h/a/.{step.1./dot}?b", "https://h/a/..?b"),
        ("https://h/a/{step.1./deep}", "https://h/a/a%2F..%2Fb"),
    ] {
        let error = values.url(&template(url)).unwrap_err();
        let says = "cannot be sent: a value makes a path segment `.` or `..`, which changes the path";
        assert_eq!((error.message, error.started), (format!("{shown}: {says}"), false));
    }
    let before_the_first = Values { answers: None, ..values };
    assert!(before_the_first.url(&template("https://h/.{step.1./name}")).is_ok());
}

/// A notification must arrive, whatever its text.
#[test]
fn values_of_a_notification_are_changed_to_fit() {
    let (target, secrets) = (target(Vec::new()), KnownSecrets::new(&[("lines", "a\nb")]));
    let error = Some("\x1b[31mno\n space\0\x1b[0m/../x");
    let subject = Subject { error, status: Some(".."), ..Subject::default() };
    let values =
        Values { target: &target, subject, secrets: &secrets, answers: None, unfit: Unfit::Replaced };
    let parts =
        |field| Template { parts: vec![Part::Literal("https://h/a/".to_owned()), Part::Field(field)] };
    assert_eq!(values.header("Title", &parts(DeploymentField::Error)).unwrap(), "https://h/a/no  space/../x");
    assert_eq!(
        values.argument(&parts(DeploymentField::Error)).unwrap(),
        "https://h/a/\x1b[31mno\n space \x1b[0m/../x"
    );
    assert_eq!(values.url(&parts(DeploymentField::Status)).unwrap(), "https://h/a/__");
    assert_eq!(
        values.url(&parts(DeploymentField::Error)).unwrap(),
        "https://h/a/%1B%5B31mno%0A%20space%00%1B%5B0m%2F__%2Fx"
    );
    // An error of a secret is still an error.
    assert!(values.header("Title", &template("{secret.lines}")).is_err());
}

#[test]
fn url_of_a_notification_is_the_page_or_the_image() {
    let (target, secrets, tag) = (target(Vec::new()), KnownSecrets::none(), Tag::new("v2").unwrap());
    let url = Template { parts: vec![Part::Field(DeploymentField::Url)] };
    for (tag, page, expected) in [
        (Some(&tag), Some("https://git.example.com/x"), "https://git.example.com/x"),
        (Some(&tag), None, "git.example.com/acme/shop:v2"),
        (None, None, "git.example.com/acme/shop"),
    ] {
        let subject = Subject { tag, page, ..Subject::default() };
        let values =
            Values { target: &target, subject, secrets: &secrets, answers: None, unfit: Unfit::Replaced };
        assert_eq!(values.plain(&url).unwrap(), expected);
    }
}

#[test]
fn the_standard_body_has_every_placeholder_but_secrets() {
    with_values(|values| {
        let expected = json!({
            "project": "shop", "stage": "dev", "target": "shop/dev", "registry": "git",
            "repository": "acme/shop", "image": "git.example.com/acme/shop:v2", "tag": "v2",
            "digest": DIGEST, "image_digest": format!("git.example.com/acme/shop@{DIGEST}"),
            "previous_tag": "v1", "deployment_id": ID, "attempt": 3, "vars": {"app": "a b"},
        });
        assert_eq!(values.standard_json(), expected);
    });
    without_digest(|values| {
        let body = values.standard_json();
        for word in ["digest", "image_digest", "previous_tag"] {
            assert_eq!(body[word], Value::Null);
        }
    });
}

#[test]
fn value_of_a_response_replaces_its_placeholder() {
    let target = target(Vec::new());
    let tag = Tag::new("v2").unwrap();
    let answers = [Some(json!({"a": [{"id": "x/y"}], "n": 7, "none": null, "list": []})), None];
    let (request, secrets) = (request(&target, &tag), KnownSecrets::none());
    let values = Values::of(&request, &secrets, Some(&answers));
    assert_eq!(values.plain(&template("<{step.1./a/0/id} {step.1./n}>")).unwrap(), "<x/y 7>");
    assert_eq!(values.url(&template("https://h/{step.1./a/0/id}")).unwrap(), "https://h/x%2Fy");
    for (text, message) in [
        ("{step.1./b}", "the answer of step 1 does not have /b, which a later step needs"),
        ("{step.1./none}", "the answer of step 1 has no text or number at /none, which a later step needs"),
        ("{step.1./list}", "the answer of step 1 has no text or number at /list, which a later step needs"),
        ("{step.2./b}", "the answer of step 2 is not JSON, so it has no /b, which a later step needs"),
    ] {
        assert_eq!(values.plain(&template(text)).unwrap_err().message, message);
    }
    let before_the_first = Values { answers: None, ..values };
    assert_eq!(before_the_first.plain(&template("<{step.1./b}>")).unwrap(), "<>");
}

#[test]
fn missing_secret_is_an_error_before_anything_starts() {
    without_digest(|values| {
        let error = values.plain(&template("{secret.gone}")).unwrap_err();
        assert_eq!((error.code, error.started), (ErrorCode::Secret, false));
        assert_eq!(error.message, "gone is missing");
    });
}
