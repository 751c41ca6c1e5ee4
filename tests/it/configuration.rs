//! A configuration is valid as a whole, or every fault is named and nothing is done.

use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop, on_gitea};
use crate::registry::Build;
use crate::run::Run;

/// A valid configuration with which no request is sent.
fn valid() -> String {
    format!(
        "[registries.git]\nkind = \"gitea\"\nurl = \"https://git.example.test\"\nanonymous = true\n\
         [projects.shop]\nregistry = \"git\"\nimage = \"acme/shop\"\n{DEV}"
    )
}

/// `check` and `poll` both refuse it, in the same words, before anything is done.
#[track_caller]
fn refused(config: &str, words: &[&str]) {
    let shop = Shop::with(config);
    for command in ["check", "poll"] {
        let run = shop.run(&[command]);
        run.code(2).stdout("");
        for word in words {
            run.stderr_has(word);
        }
    }
    assert!(!shop.exists("state.db"));
}

/// The same for one edit of the valid configuration; the line of the edit is named.
#[track_caller]
fn refused_edit(from: &str, to: &str, words: &[&str]) {
    let text = valid();
    assert!(text.contains(from), "{from}");
    let edited = text.replacen(from, to, 1);
    let line = edited[..edited.find(to).unwrap()].lines().count().max(1);
    let within = if edited[..edited.find(to).unwrap()].ends_with('\n') { line + 1 } else { line };
    let place = format!("tagship.toml:{within}:");
    refused(&edited, &[&[place.as_str()], words].concat());
}

#[test]
fn a_valid_configuration_is_checked_without_asking_anyone() {
    let shop = Shop::with(&valid());
    shop.run(&["check"]).code(0);
    assert!(!shop.exists("state.db"));
}

#[test]
fn every_fault_is_named_at_once_with_its_line() {
    let text = "[registries.git]\nkind = \"gitea\"\nurl = \"https://git.example.test\"\nanonymos = true\n\
                [projects.shop]\nregistry = \"gti\"\nimage = \"acme/shop\"\n\
                [projects.shop.stages.dev]\ntags = \"\"\norder = \"newst\"\ndeploy = { command = [\"x\", \"{tga}\"] }\n\
                [projects.shop.stages.prod]\ndeploy = { command = [\"x\"] }\n";
    refused(
        text,
        &[
            "tagship.toml:4:1\n",
            "anonymous",
            "tagship.toml:6:",
            "gti",
            "tagship.toml:9:",
            "\"*\"",
            "tagship.toml:10:",
            "newest",
            "tagship.toml:11:",
            "{tga}",
            "tagship.toml:12:",
            "tags",
            "order",
        ],
    );
}

#[test]
fn an_unknown_key_is_named_with_the_nearest_known_one() {
    refused_edit("tags = ", "tag = ", &["tags"]);
    refused_edit("order = ", "oder = ", &["order"]);
    refused_edit("registry = ", "regstry = ", &["registry"]);
    refused_edit("command = ", "comand = ", &["command"]);
}

#[test]
fn a_pattern_that_can_never_match_is_a_fault() {
    for pattern in ["dev-[0-9]", "{dev,test}-*", "acme/dev-*", "shop:dev-*", "Dev-*"] {
        refused_edit("\"dev-*\"", &format!("\"{pattern}\""), &[pattern]);
    }
    refused_edit("tags = \"dev-*\"", "tags = []", &["\"*\""]);
}

#[test]
fn an_upper_case_pattern_is_fine_where_tags_keep_their_case() {
    let shop = Shop::with(&valid().replace("gitea", "oci").replace("dev-*", "Dev-*"));
    shop.run(&["check"]).code(0);
}

#[test]
fn a_secret_never_stands_in_the_file_and_is_never_echoed() {
    let shop = Shop::new();
    let literal = "not-in-the-file-8f2e";
    for text in [
        valid().replace("anonymous = true", &format!("token = \"{literal}\"")),
        format!("{}[secrets]\nhook = \"{literal}\"\n", valid()),
        valid().replace("https://git", &format!("https://user:{literal}@git")),
    ] {
        shop.config(&text);
        let run = shop.run(&["check"]);
        run.code(2).shows_not(literal).stderr_has("tagship.toml:");
    }
}

#[test]
fn a_secret_in_a_command_would_show_in_ps() {
    let text = format!("{}[secrets]\nhook = {{ file = \"hook\" }}\n", valid());
    refused(
        &text.replace("\"./deploy.sh\"", "\"./deploy.sh\", \"{secret.hook}\""),
        &["tagship.toml:", "env"],
    );
}

#[test]
fn plain_http_to_another_host_wants_to_be_allowed() {
    refused_edit("https://git", "http://git", &["insecure_http"]);
    let shop = Shop::with(
        &valid().replace("https://git", "http://git").replace("anonymous", "insecure_http = true\nanonymous"),
    );
    shop.run(&["check"]).code(0);
}

#[test]
fn invalid_toml_is_an_error_with_its_line() {
    refused("[registries.git\nkind = \"gitea\"\n", &["tagship.toml:1"]);
}

#[test]
fn a_missing_file_is_named() {
    let shop = Shop::new();
    shop.run(&["check"]).code(2).stderr_has("tagship.toml");
}

#[test]
fn without_any_configuration_the_places_looked_at_are_named() {
    let shop = Shop::new();
    shop.run_bare(&["check"]).code(2).stderr_has("--config");
}

#[test]
fn two_projects_of_one_name_are_a_fault_over_files_too() {
    let shop = Shop::with(&format!("include = [\"projects.d/*.toml\"]\n{}", valid()));
    shop.file("projects.d/a.toml", "[projects.shop]\nregistry = \"git\"\nimage = \"acme/shop\"\n");
    shop.run(&["check"]).code(2).stderr_has("a.toml:1").stderr_has("shop");
}

#[test]
fn included_files_add_projects() {
    let gitea = gitea(Build::GiteaNew);
    let text = on_gitea(&gitea, PROD);
    let (registries, projects) = text.split_once("[projects.shop]").unwrap();
    let shop = Shop::with(&format!("include = [\"projects.d/*.toml\"]\n{registries}"));
    shop.file("projects.d/shop.toml", &format!("[projects.shop]{projects}"));
    shop.run(&["poll"]).code(0).line("shop/prod", &["baseline"]);
}

#[test]
fn a_json_file_holds_the_same_model() {
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::new();
    let json = serde_json::json!({
        "registries": {"git": {"kind": "forgejo", "url": gitea.url(), "token": {"file": "secret/token"}}},
        "projects": {"shop": {"registry": "git", "image": "acme/shop", "stages": {
            "prod": {"tags": ["v*"], "order": "semver", "deploy": {"command": ["./deploy.sh"]}}}}},
        "settings": {"state": "state.db"},
    });
    shop.file("tagship.json", &serde_json::to_string_pretty(&json).unwrap());
    let config = shop.path("tagship.json");
    let bare = |arguments: &[&str]| -> Run {
        shop.run_bare(&[&["--config", config.to_str().unwrap()], arguments].concat())
    };
    bare(&["poll"]).code(0).line("shop/prod", &["baseline", "v1.10.0"]);
    shop.file("tagship.json", &serde_json::to_string_pretty(&json).unwrap().replace("\"tags\"", "\"tag\""));
    bare(&["check"]).code(2).stderr_has("tagship.json:").stderr_has("tags");
}

#[test]
fn defaults_for_every_stage_are_taken_and_replaced() {
    let gitea = gitea(Build::GiteaNew);
    let bare = "[projects.shop.stages.dev]\ntags = \"dev-*\"\n[projects.shop.stages.prod]\ntags = \"v*\"\norder = \"semver\"\n";
    let defaults = "[settings.stage]\norder = \"newest\"\nfirst_poll = \"deploy\"\ndeploy = { command = [\"./deploy.sh\"] }\n";
    let shop = Shop::with(&format!("{defaults}{}", on_gitea(&gitea, bare)));
    shop.run(&["poll"]).code(0);
    let mut delivered = shop.delivered();
    delivered.sort();
    assert_eq!(delivered, ["shop/dev dev-42", "shop/prod v1.10.0"]);
}

#[test]
fn the_configuration_is_found_where_the_environment_says() {
    let gitea = gitea(Build::GiteaNew);
    let text = format!("[settings]\nstate = \"state.db\"\n{}", on_gitea(&gitea, PROD));
    for (name, file) in
        [("TAGSHIP_CONFIG", "elsewhere/my.toml"), ("CONFIGURATION_DIRECTORY", "etc/config.toml")]
    {
        let mut shop = Shop::new();
        let folder = shop.path(file).parent().unwrap().to_owned();
        let value = if name == "TAGSHIP_CONFIG" { shop.path(file) } else { folder.clone() };
        shop.file(file, &text.replace("secret/token", "../secret/token"));
        shop.env(name, value.to_str().unwrap());
        shop.run_bare(&["poll"]).code(0).line("shop/prod", &["baseline"]);
        assert!(folder.join("state.db").exists(), "relative paths are relative to the file");
    }
}

#[test]
fn usage_errors_exit_2() {
    let shop = Shop::with(&valid());
    for arguments in [
        &["pol"][..],
        &["poll", "--formt", "json"],
        &["poll", "--format", "xml"],
        &["mark", "shop/dev"],
        &["mark", "shop/dev", "not a tag"],
        &["poll", "--max-runtime", "soon"],
    ] {
        shop.run(arguments).code(2).stdout("");
    }
}

#[test]
fn root_is_warned_of_a_configuration_and_a_command_that_others_can_write() {
    use std::os::unix::fs::PermissionsExt as _;

    let shop = Shop::with(&valid());
    for name in ["tagship.toml", "deploy.sh"] {
        std::fs::set_permissions(shop.path(name), std::fs::Permissions::from_mode(0o777)).unwrap();
        let run = shop.run(&["check"]);
        run.code(0);
        if rustix::process::geteuid().is_root() {
            run.stderr_has(name).stderr_has("others can write it");
        }
        std::fs::set_permissions(shop.path(name), std::fs::Permissions::from_mode(0o700)).unwrap();
    }
}

/// In time that grows as the file does, and not with its square or cube.
#[test]
fn large_configuration_is_checked_in_time() {
    let head = "[registries.git]\nkind = \"gitea\"\nurl = \"https://git.example.test\"\nanonymous = true\n\
                [projects.shop]\nregistry = \"git\"\nimage = \"acme/shop\"\n";
    let stage = |index: usize, keys: &str| {
        format!(
            "[projects.shop.stages.s{index}]\ntags = \"v*\"\norder = \"semver\"\n\
             deploy = {{ command = [\"true\", \"{{stage}}\"] }}\n{keys}"
        )
    };
    let shop = Shop::new();
    let chain = |index| stage(index, &format!("after = {{ stage = \"s{}\", for = \"1h\" }}\n", index + 1));
    let stages: String = (0..2000).map(chain).chain([stage(2000, "")]).collect();
    shop.config(&format!("{head}{stages}"));
    shop.run(&["check"]).code(0).stdout_has("2001 targets");

    let keys: String = (0..50_000).map(|index| format!("unknown_{index} = 1\n")).collect();
    shop.config(&format!("{head}{}{keys}", stage(0, "")));
    let run = shop.run(&["check"]);
    run.code(2).stderr_has("error: projects.shop.stages.s0: unknown key `unknown_0`\n");
    run.stderr_has("\nerror: 50000 errors in the configuration; the first 100 are shown\n")
        .shows_not("unknown_100`");

    // Names that are not there, among many that are.
    let named = |what: &str| (0..2000).map(|index| what.replace('N', &index.to_string())).collect::<String>();
    let secrets = named("sN = { env = \"SN\" }\n");
    let unknown = (0..500).map(|index| stage(index, "").replace("{stage}", "{nothing}")).collect::<String>();
    shop.config(&format!("[secrets]\n{secrets}{head}{unknown}"));
    shop.run(&["check"]).code(2).stderr_has("unknown placeholder {nothing}").stderr_has("error: 500 errors");

    // What every stage shares, and what every notification names.
    let vars = named("vN = \"value-N\"\n");
    let stages: String = (0..2000).map(|index| stage(index, "")).collect();
    // Of the processor, which other tests do not take.
    let within = ["sh", "-c", "ulimit -t 4; exec \"$0\" \"$@\""];
    shop.config(&format!("{head}[projects.shop.vars]\n{vars}{stages}"));
    shop.run_under(&within, &["check"]).code(0).stdout_has("2000 targets");
    let notify = "[[notify]]\non = [\"dead\"]\ntargets = [\"shop/sN\", \"*/s199N\"]\n\
                  command = [\"true\", \"{target}\"]\n";
    shop.config(&format!("{head}{stages}{}", named(notify)));
    shop.run_under(&within, &["check"]).code(0).stdout_has("2000 targets");

    let headers = (0..20_000).map(|index| format!("X-{index} = \"a\", ")).collect::<String>();
    let braces = "{".repeat(300_000);
    let step = format!(
        "deploy = {{ url = \"https://x.example.test\", headers = {{ {headers} }}, body = \"{braces}}}\" }}"
    );
    shop.config(&format!("{head}[projects.shop.stages.s]\ntags = \"v*\"\norder = \"semver\"\n{step}\n"));
    shop.run(&["check"]).code(0);
}

/// What root runs can be replaced where others can write the folder; the sticky bit keeps them from it.
#[test]
#[ignore = "needs root"]
fn root_is_warned_of_folders_in_which_others_can_replace_what_it_runs() {
    use std::os::unix::fs::{PermissionsExt as _, chown};

    let text = format!("{}[secrets]\nx = {{ command = [\"./secrets/give.sh\"] }}\n", valid());
    let shop = Shop::with(&text.replacen(
        "[projects.shop]",
        "[projects.shop]\nvars = { x = { command = [\"./other/give.sh\"] } }",
        1,
    ));
    shop.script("secrets/give.sh", "echo value");
    shop.script("other/give.sh", "echo value");
    let mode = |name: &str, mode| {
        std::fs::set_permissions(shop.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    shop.run(&["check"]).code(0).shows_not("root runs");
    for name in ["", "secrets", "other"] {
        mode(name, 0o777);
        shop.run(&["check"]).code(0).stderr_has("others can replace it in this folder");
        mode(name, 0o1777);
        shop.run(&["check"]).code(0).shows_not("root runs");
        mode(name, 0o755);
        chown(shop.path(name), Some(61_234), None).unwrap();
        shop.run(&["check"]).code(0).stderr_has("others can replace it in this folder");
        chown(shop.path(name), Some(0), None).unwrap();
    }
    mode("secrets/give.sh", 0o777);
    shop.run(&["check"]).code(0).stderr_has("secrets/give.sh: root runs").stderr_has("others can write it");
}

/// Members of a group can write what the group can. Root's own group is trusted like root.
#[test]
#[ignore = "needs root"]
fn root_is_warned_of_what_a_group_of_others_can_write() {
    use std::os::unix::fs::{PermissionsExt as _, chown};

    const GROUP: u32 = 61_234;
    let shop = Shop::with(&valid());
    let give = |name: &str, user, group, mode| {
        chown(shop.path(name), Some(user), Some(group)).unwrap();
        std::fs::set_permissions(shop.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let state = shop.path("state/state.db");
    let check = || {
        let place = ["--config", "tagship.toml", "--state", state.to_str().unwrap(), "--quiet", "check"];
        shop.run_bare(&place)
    };
    std::fs::create_dir(shop.path("state")).unwrap();
    shop.run_bare(&["--config", "tagship.toml", "--state", state.to_str().unwrap(), "hold", "shop"]).code(0);
    check().code(0).silent();
    for (name, usual, open, warning) in [
        ("tagship.toml", 0o644, 0o664, "root runs this file or its content, and others can write it"),
        ("deploy.sh", 0o755, 0o775, "root runs this file or its content, and others can write it"),
        ("", 0o700, 0o770, "others can replace it in this folder"),
        ("state/state.db", 0o600, 0o660, "others can write the state file"),
        ("state", 0o700, 0o770, "others can replace the state file in this folder"),
    ] {
        give(name, 0, GROUP, open);
        check().code(0).stderr_has(warning);
        give(name, 0, GROUP, usual);
        check().code(0).silent();
        give(name, 0, 0, open);
        check().code(0).silent();
        give(name, 0, 0, usual);
    }
    // The group of one user alone has that user's number.
    for name in ["state", "state/state.db"] {
        give(name, GROUP, GROUP, 0o770);
    }
    check().code(0).silent();
}
