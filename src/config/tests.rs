//! Reading whole configurations: values, defaults, includes, warnings.

mod fault;

use std::fs;

use strum::VariantArray as _;
use tempfile::TempDir;

use super::*;
use crate::policy::Order;
use crate::target::notifier::NotifyEvent;
use crate::target::step::{Body, Step};
use crate::target::template::{DeploymentField, Part};
use crate::target::{FirstPoll, gate};

const REGISTRY: &str = "[registries.git]\nkind = \"gitea\"\nurl = \"https://git.example.com\"\n";
const PROJECT: &str = "[projects.shop]\nregistry = \"git\"\nimage = \"acme/shop\"\n";
const STAGE: &str = "[projects.shop.stages.dev]\ntags = \"dev-*\"\norder = \"newest\"\n";
const DEPLOY: &str = "deploy = { command = [\"./deploy.sh\"] }\n";

/// Files that are loaded together, the first of them by its name.
pub(super) fn load_files(files: &[(&str, &str)]) -> (TempDir, Result<Config, Vec<String>>) {
    let folder = TempDir::new().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let loaded = load(&folder.path().join(files[0].0)).map_err(|Faults(faults)| {
        let prefix = format!("{}/", folder.path().display());
        faults.iter().map(|fault| fault.to_string().replace(&prefix, "")).collect()
    });
    (folder, loaded)
}

fn load_text(text: &str) -> Result<Config, Vec<String>> {
    load_files(&[("tagship.toml", text)]).1
}

/// A configuration with one stage, to which lines are added.
fn with_stage(lines: &str) -> String {
    format!("{REGISTRY}{PROJECT}{STAGE}{DEPLOY}{lines}")
}

fn faults(text: &str) -> Vec<String> {
    load_text(text).expect_err("a configuration with faults")
}

#[test]
fn images_become_targets_at_the_place_of_their_table() {
    let stages = |name: &str| {
        format!(
            "[projects.{name}.stages.dev]\ntags = \"*\"\norder = \"newest\"\n{DEPLOY}[projects.{name}.stages.prod]\ntags = \"v*\"\norder = \"semver\"\n{DEPLOY}"
        )
    };
    let text = format!(
        "{REGISTRY}[projects.first]\nregistry = \"git\"\nimage = \"acme/first\"\n{}\
         [projects.all]\nregistry = \"git\"\nimages = [\"acme/*\", \"beta/web-*\"]\n{}\
         [projects.last]\nregistry = \"git\"\nimage = \"acme/last\"\n{}",
        stages("first"),
        stages("all"),
        stages("last")
    );
    let mut config = load_text(&text).unwrap();
    let shown = |config: &Config| -> Vec<String> {
        config.targets.iter().map(|target| format!("{} {}", target.id, target.image.repository)).collect()
    };
    let known = |names: &[&str]| -> Vec<KnownImage> {
        let image = |name: &&str| KnownImage {
            registry: "https://git.example.com".to_owned(),
            repository: Repository::new(name).unwrap(),
            reported_at: None,
            missing_since: None,
            retired_at: None,
        };
        names.iter().map(image).collect()
    };
    let own = ["first/dev acme/first", "first/prod acme/first", "last/dev acme/last", "last/prod acme/last"];
    assert_eq!(shown(&config), own);
    // Independent of the order in which they were found, and the same each time.
    for _ in 0..2 {
        config.take_in(&known(&[
            "beta/web-x",
            "acme/zoo",
            "beta/other",
            "acme/a/b",
            "acme/last",
            "acme/first",
        ]));
        assert_eq!(
            shown(&config),
            [
                &own[..2],
                &[
                    "a-b/dev acme/a/b",
                    "a-b/prod acme/a/b",
                    "web-x/dev beta/web-x",
                    "web-x/prod beta/web-x",
                    "zoo/dev acme/zoo",
                    "zoo/prod acme/zoo"
                ],
                &own[2..]
            ]
            .concat()
        );
    }
    assert!(config.image_faults.is_empty());
    // The name of a project or of a table, a name that is too long, and the same name for two new images.
    let long = format!("acme/{}", "x".repeat(65));
    config.take_in(&known(&["acme/a-b", "acme/a/b", "acme/all", "beta/web-x", "acme/web-x", &long]));
    let faults = &config.image_faults[&Name::new("all").unwrap()];
    let about = ["acme/a/b gives", "acme/all gives", "acme/xxx", "beta/web-x gives"];
    assert!(faults.iter().zip(about).all(|(fault, about)| fault.starts_with(about)), "{faults:#?}");
    assert_eq!(config.targets.len(), 4 + 2 * 2);
}

/// The only fault of a configuration, without its position.
fn the_fault(text: &str) -> String {
    let faults = faults(text);
    assert_eq!(faults.len(), 1, "{faults:#?}");
    faults[0].split_once(": ").unwrap().1.to_owned()
}

fn the_target(text: &str) -> Target {
    load_text(text).unwrap().targets.remove(0)
}

#[test]
fn every_kind_has_its_word() {
    let kinds: Vec<RegistryKind> = key::KINDS.iter().map(|word| word.parse().unwrap()).collect();
    for kind in RegistryKind::VARIANTS {
        assert!(kinds.contains(kind), "{kind:?} has no word in KINDS of src/config/key.rs");
    }
}

#[test]
fn words_of_other_tools_are_not_words_of_tagship() {
    for (word, _) in key::OTHER_KINDS {
        assert!(word.parse::<RegistryKind>().is_err(), "{word} is a kind; remove it from OTHER_KINDS");
    }
    for (word, _) in key::OTHER_ORDERS {
        assert!(word.parse::<Order>().is_err(), "{word} is an order; remove it from OTHER_ORDERS");
    }
    for (word, _) in key::OTHER_EVENTS {
        assert!(word.parse::<NotifyEvent>().is_err(), "{word} is an event; remove it from OTHER_EVENTS");
    }
}

#[test]
fn a_small_configuration_gives_its_targets_with_all_defaults() {
    let (folder, config) = load_files(&[("tagship.toml", &with_stage(""))]);
    let config = config.unwrap();
    assert_eq!(config.settings.state, StateSetting::Default);
    assert_eq!(config.settings.timeout, Duration::from_secs(10));
    assert_eq!(config.settings.parallel_deploys, 4);
    let registry = &config.registries[&Name::new("git").unwrap()];
    assert_eq!((registry.kind, registry.connections), (RegistryKind::Gitea, 16));
    assert_eq!(registry.credential, CredentialSetting::Search);
    let target = &config.targets[0];
    assert_eq!(target.id.to_string(), "shop/dev");
    assert_eq!(target.image.to_string(), "git.example.com/acme/shop");
    assert_eq!(target.policy.order(), Order::Newest);
    assert_eq!(
        (target.poll, target.auto_deploy, target.allow_downgrade, target.digest),
        (true, true, false, false)
    );
    assert_eq!((target.first_poll, target.interval), (FirstPoll::Baseline, Duration::from_secs(300)));
    let Step::Command(step) = &target.deploy[0] else { panic!("a command") };
    assert_eq!((step.dir.as_path(), step.timeout), (folder.path(), Duration::from_secs(300)));
}

#[test]
fn stages_share_what_they_leave_at_the_default_and_nothing_else() {
    let text = "[settings.stage]\ntags = \"V*\"\norder = \"semver\"\ndeploy = { command = [\"a\", \"{var.app}\"] }\n\
        [registries.hub]\nkind = \"oci\"\nurl = \"https://hub.example.com\"\n\
        [projects.shop]\nregistry = \"hub\"\nimage = \"acme/shop\"\n\
        [projects.shop.stages]\n\
        a = { vars = { app = \"1\" } }\nb = { vars = { app = \"2\" } }\n\
        c = { deploy = { command = [\"c\"] } }\nd = { exclude = \"*-rc\", vars = { app = \"4\" } }\n";
    let targets = load_text(text).unwrap().targets;
    let arguments = |target: &Target| {
        let Step::Command(step) = &target.deploy[0] else { panic!("a command") };
        step.argv.iter().flat_map(|template| template.parts.clone()).collect::<Vec<_>>()
    };
    let word = |text: &str| Part::Literal(text.to_owned());
    let with_app = |app: &str| vec![word("a"), Part::Var(app.to_owned())];
    let steps: Vec<Vec<Part>> = targets.iter().map(arguments).collect();
    assert_eq!(steps, [with_app("1"), with_app("2"), vec![word("c")], with_app("4")]);
    let rules: Vec<String> = targets.iter().map(|target| target.policy.rule_text()).collect();
    assert!(rules[0] == rules[1] && rules[0] == rules[2] && rules[0] != rules[3], "{rules:?}");
    // The same glob is valid for one kind of registry and invalid for another.
    let both = format!(
        "{text}{REGISTRY}[projects.other]\nregistry = \"git\"\nimage = \"acme/other\"\n\
        [projects.other.stages.dev]\ndeploy = {{ command = [\"c\"] }}\n"
    );
    assert!(the_fault(&both).contains("\"V*\" matches no tag"));
    // A stage without variables comes first: its steps must not be reused for a stage with variables.
    let first = text.replace("\"{var.app}\"", "\"x\"").replace("a = { vars = { app = \"1\" } }", "a = {}");
    let targets = load_text(&first).unwrap().targets;
    assert_eq!(arguments(&targets[0]), [word("a"), word("x")]);
    assert_eq!(arguments(&targets[1]), arguments(&targets[0]));
    assert_eq!(arguments(&targets[2]), [word("c")]);
}

#[test]
fn the_way_to_a_registry_is_read() {
    let lines = "proxy = \"proxy.example.com:3128\"\ntrusted_realms = [\"Auth.example.com\", \"10.0.0.1:443\", \"[fd00::1]:8443\"]\n\
                 api_url = \"https://api.example.com/api/v1/\"";
    let config = load_text(&format!("{REGISTRY}{lines}\n{PROJECT}{STAGE}{DEPLOY}")).unwrap();
    let registry = &config.registries[&Name::new("git").unwrap()];
    assert_eq!(registry.transport.proxy.as_ref().unwrap().shown(), "http://proxy.example.com:3128");
    let realms: Vec<String> =
        registry.trusted_realms.iter().map(|realm| format!("{} {:?}", realm.host, realm.port)).collect();
    assert_eq!(realms, ["auth.example.com None", "10.0.0.1 Some(443)", "[fd00::1] Some(8443)"]);
    assert_eq!(registry.api_url.as_ref().unwrap().as_str(), "https://api.example.com/api/v1");
}

#[test]
fn json_holds_the_same_model_with_the_same_places() {
    let json = r#"{
  "registries": { "git": { "kind": "forgejo", "url": "https://git.example.com" } },
  "projects": { "shop": { "registry": "git", "image": "acme/shop", "stages": {
    "dev": { "tags": ["dev-*"], "order": "newest",
      "deploy": { "url": "https://x/{tag}", "json": { "a": [null, true, 1.5, "{tag}"] } } } } } }
}"#;
    let (_folder, config) = load_files(&[("tagship.json", json)]);
    let Step::Http(step) = &config.unwrap().targets[0].deploy[0] else { panic!("a request") };
    assert_eq!(step.url.parts[1], Part::Field(DeploymentField::Tag));
    assert!(matches!(step.body, Body::Json(_)));
    let (_folder, wrong) = load_files(&[("tagship.json", &json.replace("\"newest\"", "\"newst\""))]);
    assert!(wrong.unwrap_err()[0].starts_with("tagship.json:4:42: projects.shop.stages.dev.order"));
    for lenient in ["{ // comment\n}", "{\"a\": 1,}", "{a: 1}", "{'a': 1}", "[]", ""] {
        let (_folder, wrong) = load_files(&[("tagship.json", lenient)]);
        assert!(wrong.is_err(), "{lenient}");
    }
}

#[test]
fn included_files_add_registries_projects_and_secrets() {
    let (folder, config) = load_files(&[
        ("tagship.toml", "include = [\"projects.d/*.toml\", \"more.toml\"]\n"),
        ("projects.d/shop.toml", &with_stage("")),
        ("more.toml", "[secrets]\nhook = { file = \"hook\" }\n"),
    ]);
    let config = config.unwrap();
    let Step::Command(step) = &config.targets[0].deploy[0] else { panic!("a command") };
    assert_eq!(
        step.dir,
        folder.path().join("projects.d"),
        "paths are relative to the file that contains them"
    );
    assert_eq!(config.secrets[&SecretId("hook".into())], SecretSource::File(folder.path().join("hook")));
}

#[test]
fn a_glob_may_be_absolute() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("shop.toml"), with_stage("")).unwrap();
    let main = format!("include = [\"{}/*.toml\"]\n", folder.path().display());
    let (_folder, config) = load_files(&[("tagship.toml", &main)]);
    assert_eq!(config.unwrap().targets.len(), 1);
}

#[test]
fn one_name_over_two_files_is_a_fault_that_names_both() {
    let (_folder, loaded) = load_files(&[
        ("tagship.toml", &format!("include = [\"more.toml\"]\n{}", with_stage(""))),
        ("more.toml", &format!("{PROJECT}{STAGE}{DEPLOY}")),
    ]);
    let faults = loaded.unwrap_err();
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].starts_with("more.toml:1:11: projects: `shop` is already defined at "), "{faults:?}");
    assert!(faults[0].contains("tagship.toml:5"), "{faults:?}");
}

#[test]
fn an_included_file_has_no_settings_and_must_exist() {
    let (_folder, loaded) = load_files(&[
        ("tagship.toml", &format!("include = [\"more.toml\"]\n{}", with_stage(""))),
        ("more.toml", "[settings]\n"),
    ]);
    assert!(loaded.unwrap_err()[0].contains("`settings` must be in the main file"));
    let (_folder, loaded) =
        load_files(&[("tagship.toml", &format!("include = [\"gone.toml\"]\n{}", with_stage("")))]);
    assert!(loaded.unwrap_err()[0].contains("gone.toml: cannot read the file"));
    let (_folder, loaded) =
        load_files(&[("tagship.toml", &format!("include = [\"none.d/*.toml\"]\n{}", with_stage("")))]);
    assert!(loaded.is_ok(), "a glob may match nothing");
}

#[test]
fn a_stages_own_key_replaces_the_default_whole() {
    let text = format!(
        "[settings.stage]\ntags = [\"a-*\", \"b-*\"]\norder = \"semver\"\nauto_deploy = false\n{DEPLOY}{REGISTRY}{PROJECT}\
         [projects.shop.stages.dev]\ntags = \"c-*\"\n[projects.shop.stages.test]\nauto_deploy = true\n"
    );
    let targets = load_text(&text).unwrap().targets;
    assert_eq!((targets[0].auto_deploy, targets[1].auto_deploy), (false, true));
    assert!(!targets[0].policy.rule_text().contains("a-*") && targets[1].policy.rule_text().contains("a-*"));
}

#[test]
fn stage_lifts_the_gates_of_the_defaults() {
    let text = format!(
        "[settings.stage]\nmin_age = \"30m\"\nwindow = [{{ from = \"09:00\", to = \"16:00\" }}]\n{}\
         min_age = \"0s\"\nwindow = []\n[projects.shop.stages.prod]\ntags = \"v*\"\norder = \"semver\"\n{DEPLOY}",
        with_stage("")
    );
    let targets = load_text(&text).unwrap().targets;
    let gates = |target: &Target| (target.gates.min_age, target.gates.windows.len());
    assert_eq!(gates(&targets[0]), (None, 0));
    assert_eq!(gates(&targets[1]), (Some(Duration::from_secs(1800)), 1));
}

#[test]
fn error_has_its_column_and_line_unless_that_may_hold_a_secret() {
    let place = |text: &str| {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("tagship.toml");
        fs::write(&path, text).unwrap();
        let Faults(faults) = load(&path).unwrap_err();
        let place = faults[0].place.clone().unwrap();
        (place.line, place.column, place.excerpt.map(|excerpt| excerpt.line[excerpt.span].to_owned()))
    };
    assert_eq!(place(&with_stage("poll = 1\n")), (11, 8, Some("1".to_owned())));
    assert_eq!(place(&with_stage("vars = { é = \"x\" }\n")).2, None);
    let inline = with_stage("retry = { attempts = 1, backoff = \"é\", max_backof = \"1h\" }\n");
    assert_eq!(place(&inline), (11, 35, Some("\"é\"".to_owned())));
}

#[test]
fn stages_keep_the_order_written() {
    let text = format!(
        "{REGISTRY}{PROJECT}[projects.shop.stages.zeta]\ntags = \"*\"\norder = \"newest\"\n{DEPLOY}\
         [projects.shop.stages.alpha]\ntags = \"*\"\norder = \"newest\"\n{DEPLOY}"
    );
    let names: Vec<String> =
        load_text(&text).unwrap().targets.iter().map(|target| target.id.to_string()).collect();
    assert_eq!(names, ["shop/zeta", "shop/alpha"]);
}

#[test]
fn a_stages_variables_override_the_projects() {
    let text = format!(
        "{REGISTRY}{PROJECT}vars = {{ app = \"a\", key = {{ env = \"KEY\" }} }}\n{STAGE}vars = {{ app = \"b\" }}\n\
         deploy = {{ url = \"https://x/{{var.app}}\", headers = {{ X = \"{{var.key}}\" }} }}\n"
    );
    let config = load_text(&text).unwrap();
    let target = &config.targets[0];
    assert_eq!(target.vars.plain().collect::<Vec<_>>(), [("app", "b")], "no secrets here");
    let Step::Http(step) = &target.deploy[0] else { panic!("a request") };
    assert_eq!(step.url.parts[1], Part::Var("b".into()));
    let Part::Secret(id) = &step.headers[0].1.parts[0] else { panic!("a secret") };
    assert_eq!(config.secrets[id], SecretSource::Env("KEY".into()));
}

#[test]
fn gates_are_read() {
    let target = the_target(&format!(
        "{REGISTRY}{PROJECT}{STAGE}{DEPLOY}[projects.shop.stages.prod]\ntags = \"v*\"\norder = \"semver\"\n{DEPLOY}\
         min_age = \"30m\"\nafter = {{ stage = \"dev\", for = \"1d\" }}\nwith = [\"acme/worker\"]\n\
         platforms = [\"linux/amd64\"]\nmax_bump = \"minor\"\n\
         window = [{{ days = [\"Mon\"], from = \"22:00\", to = \"24:00\", timezone = \"Europe/Berlin\" }}]\n"
    ).replace("[projects.shop.stages.dev]", "[projects.shop.stages.zdev]").replace("\"dev\"", "\"zdev\"")
        .replace("[projects.shop.stages.prod]", "[projects.shop.stages.aprod]"));
    assert_eq!(target.id.stage.as_str(), "zdev");
    let text = format!(
        "{REGISTRY}{PROJECT}{STAGE}{DEPLOY}min_age = \"30m\"\nwith = [\"acme/worker\"]\nwindow = [{{ from = \"22:00\", to = \"24:00\" }}]\n"
    );
    let gate::Gates { min_age, with, windows, .. } = the_target(&text).gates;
    assert_eq!(min_age, Some(Duration::from_secs(1800)));
    assert_eq!(with[0].as_str(), "acme/worker");
    assert_eq!((windows[0].days.len(), windows[0].to), (7, None));
}

#[test]
fn stages_that_wait_for_each_other_are_a_fault() {
    let stage = |name: &str, after: &str| {
        format!(
            "[projects.shop.stages.{name}]\ntags = \"*\"\norder = \"newest\"\n{DEPLOY}after = {{ stage = \"{after}\", for = \"1h\" }}\n"
        )
    };
    let text = format!("{REGISTRY}{PROJECT}{}{}{}", stage("a", "b"), stage("b", "c"), stage("c", "a"));
    let faults = faults(&text);
    assert!(
        faults.iter().all(|fault| fault.contains("wait for each other")) && faults.len() == 3,
        "{faults:?}"
    );
}

#[test]
fn plain_http_is_fine_on_loopback_and_where_it_is_asked_for() {
    for lines in [
        "url = \"http://127.0.0.1:3000\"",
        "url = \"http://localhost\"",
        "url = \"http://git.lan\"\ninsecure_http = true",
    ] {
        let text = format!("[registries.git]\nkind = \"gitea\"\n{lines}\n{PROJECT}{STAGE}{DEPLOY}");
        assert!(load_text(&text).is_ok(), "{lines}");
    }
}

#[test]
fn a_tag_has_a_page_where_its_address_is_known() {
    let tag = Tag::new("v1.2").unwrap();
    for (registry, image, page) in [
        (
            "kind = \"gitea\"\nurl = \"https://git.example.com/sub/\"",
            "acme/shop",
            Some("https://git.example.com/sub/acme/-/packages/container/shop/v1.2"),
        ),
        (
            "kind = \"forgejo\"\nurl = \"https://git.example.com\"",
            "acme/team/api",
            Some("https://git.example.com/acme/-/packages/container/team%2Fapi/v1.2"),
        ),
        ("kind = \"dockerhub\"", "acme/shop", Some("https://hub.docker.com/r/acme/shop/tags?name=v1.2")),
        ("kind = \"dockerhub\"", "library/nginx", Some("https://hub.docker.com/_/nginx/tags?name=v1.2")),
        ("kind = \"dockerhub\"\nurl = \"https://mirror.example.com\"", "acme/shop", None),
        ("kind = \"github\"", "acme/shop", None),
        ("kind = \"oci\"\nurl = \"https://registry.example.com\"", "acme/shop", None),
        ("kind = \"oci-layout\"\npath = \"images\"", "acme/shop", None),
    ] {
        let text = format!("[registries.git]\n{registry}\n{PROJECT}{STAGE}{DEPLOY}");
        let config = load_text(&text).unwrap();
        let repository = Repository::new(image).unwrap();
        let found = config.registries.values().next().unwrap().page(&repository, Some(&tag));
        assert_eq!(found.as_deref(), page, "{registry} {image}");
    }
    let config = load_text(&format!("{REGISTRY}{PROJECT}{STAGE}{DEPLOY}")).unwrap();
    let repository = Repository::new("acme/shop").unwrap();
    let page = config.registries.values().next().unwrap().page(&repository, None);
    assert_eq!(page.unwrap(), "https://git.example.com/acme/-/packages/container/shop");
}

#[test]
fn a_sub_path_and_a_port_are_kept() {
    let text = format!(
        "[registries.git]\nkind = \"gitea\"\nurl = \"https://git.example.com:8443/forge/\"\n{PROJECT}{STAGE}{DEPLOY}"
    );
    let config = load_text(&text).unwrap();
    let Location::Url(url) = &config.registries[&Name::new("git").unwrap()].location else { panic!("a url") };
    assert_eq!(url.as_str(), "https://git.example.com:8443/forge");
    assert_eq!(config.targets[0].image.host, "git.example.com:8443");
}
