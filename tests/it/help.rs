//! The answers to mistyped commands: the nearest command, and what to type next.

use crate::harness::{DEV, PROD, Shop, on};

fn shop() -> Shop {
    let stages = format!(
        "{DEV}{PROD}\n[projects.blog]\nregistry = \"git\"\nimage = \"acme/blog\"\n{}",
        PROD.replace("projects.shop", "projects.blog")
    );
    Shop::with(&on("gitea", "https://git.example.test", &stages))
}

/// Exit 2, nothing on standard output, and exactly this.
#[track_caller]
fn says(arguments: &[&str], said: &str) {
    shop().run(arguments).code(2).stdout("").stderr(&format!("error: {said}\n"));
}

#[test]
fn a_mistyped_target_is_answered_with_the_nearest() {
    let status = "To list all targets: tagship status";
    for command in ["poll", "status", "tags", "deploy", "rollback", "hold", "release", "history", "retry"] {
        let said = format!("the configuration has no target \"shop/dve\"; did you mean shop/dev? {status}");
        says(&[command, "shop/dve"], &said);
    }
    says(
        &["mark", "shop/prd", "v1.0.0"],
        &format!("the configuration has no target \"shop/prd\"; did you mean shop/prod? {status}"),
    );
    says(&["poll", "shp"], &format!("the configuration has no target \"shp\"; did you mean shop? {status}"));
    says(
        &["poll", "warehouse"],
        "the configuration has no target \"warehouse\"; to list all targets: tagship status",
    );
}

#[test]
fn a_mistyped_project_or_stage_is_answered_with_the_nearest() {
    let status = "To list all targets: tagship status";
    says(
        &["poll", "--project", "shopp"],
        &format!("the configuration has no project \"shopp\"; did you mean shop? {status}"),
    );
    says(
        &["poll", "--stage", "pord"],
        &format!("the configuration has no stage \"pord\"; did you mean prod? {status}"),
    );
}

#[test]
fn a_filter_without_a_match_is_answered_with_the_nearest() {
    says(
        &["poll", "--project", "blog", "--stage", "dev"],
        "no target matches all of these filters; the nearest is blog/prod; to list all targets: tagship status",
    );
    says(
        &["poll", "shop/dev", "--project", "blog"],
        "no target matches all of these filters; to list all targets: tagship status",
    );
}

#[test]
fn a_name_of_several_targets_is_answered_with_each() {
    says(&["tags", "shop"], "shop matches 2 targets; name one of them: shop/dev, shop/prod");
}

#[test]
fn a_mistyped_registry_is_answered_with_the_nearest_or_all() {
    says(&["login", "gti"], "the configuration has no registry \"gti\"; did you mean git?");
    says(&["login", "warehouse"], "the configuration has no registry \"warehouse\"; known: git");
}

#[test]
fn a_mistyped_command_option_or_word_is_answered_with_the_nearest() {
    for (arguments, tip) in [
        (&["statsu"][..], "'status'"),
        (&["poll", "--dryrun"], "a similar argument exists: '--dry-run'"),
        (&["poll", "--format", "jsn"], "a similar value exists: 'json'"),
        (&["generate", "completion"], "a similar subcommand exists: 'completions'"),
    ] {
        shop().run(arguments).code(2).stdout("").stderr_has(tip).stderr_has("--help");
    }
    shop().run(&["poll", "--max-runtime", "5"]).code(2).stdout("").stderr_has("5m, 1h 30m or 7d");
}

#[test]
fn the_usual_words_of_other_tools_name_the_command() {
    for (word, command) in [
        ("logs", "tagship history shop/prod"),
        ("list", "tagship status shop/prod"),
        ("ps", "tagship status shop/prod"),
        ("ls", "tagship status shop/prod"),
        ("pause", "tagship hold shop/prod"),
        ("stop", "tagship hold shop/prod"),
        ("resume", "tagship release shop/prod"),
        ("unhold", "tagship release shop/prod"),
        ("start", "tagship release shop/prod"),
        ("run", "tagship poll shop/prod"),
        ("sync", "tagship poll shop/prod"),
        ("update", "tagship poll shop/prod"),
        ("validate", "tagship check"),
        ("lint", "tagship check"),
        ("test", "tagship check"),
        ("approve", "tagship deploy shop/prod"),
        ("undo", "tagship rollback shop/prod"),
    ] {
        let run = shop().run(&[word, "shop/prod"]);
        run.code(2).stdout("").stderr_has(&format!("unrecognized subcommand '{word}'"));
        run.stderr_has(&format!("  tip: use '{command}'\n")).shows_not("similar");
    }
    // These look like commands that change something.
    for word in ["told", "polling", "logen", "marker", "marke", "relase", "delpoy", "pol", "retyr", "logot"] {
        shop().run(&[word]).code(2).stdout("").stderr(&format!(
            "error: unrecognized subcommand '{word}'\n\nUsage: tagship [OPTIONS] <COMMAND>\n\n\
             For more information, try '--help'.\n"
        ));
    }
}

#[test]
fn a_mistyped_key_or_named_secret_is_answered_with_the_nearest() {
    let hook = "[secrets]\nhook = { file = \"secret/token\" }\n";
    let step = |step: &str| DEV.replace("{ command = [\"./deploy.sh\"] }", step);
    for (stage, tip) in [
        (DEV.replace("tags =", "tag ="), "did you mean tags?"),
        (DEV.replace("newest", "newst"), "did you mean newest?"),
        (step("{ url = \"https://x.example/\", body = \"{secret.hok}\" }"), "did you mean {secret.hook}?"),
        (step("{ url = \"https://x.example/\", sign = { github = \"hok\" } }"), "did you mean hook?"),
        (step("{ command = [\"x\", \"{stgae}\"] }"), "did you mean {stage}?"),
        (format!("{DEV}after = {{ stage = \"prd\", for = \"1h\" }}\n{PROD}"), "did you mean prod?"),
    ] {
        let shop = Shop::with(&format!("{}{hook}", on("gitea", "https://git.example.test", &stage)));
        shop.run(&["check"]).code(2).stdout("").stderr_has(tip);
    }
    let config =
        on("gitea", "https://git.example.test", DEV).replace("registry = \"git\"", "registry = \"gti\"");
    Shop::with(&config).run(&["check"]).code(2).stdout("").stderr_has("did you mean git?");
}

#[test]
fn without_a_configuration_it_is_said_where_it_was_looked_for_and_how_to_make_one() {
    let mut shop = Shop::new();
    shop.env("CONFIGURATION_DIRECTORY", "units");
    let run = shop.run_bare(&["poll"]);
    run.code(2).stdout("").stderr_has("error: no configuration at units/config.toml or ");
    run.stderr_has(
        "/etc/tagship/config.toml; name one with --config FILE, or create one with: tagship init\n",
    );
    shop.run(&["poll"]).code(2).stdout("").stderr(
        "error: [dir]/tagship.toml: cannot read the file: No such file or directory (os error 2)\n  \
         help: name another file with --config FILE, or create one with: tagship init\n",
    );
}
