//! `check --online`: does everything answer that a poll needs?

use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop, on_gitea};
use crate::http::Answer;
use crate::registry::{Build, Gitea};

fn shop(gitea: &Gitea) -> Shop {
    Shop::with(&on_gitea(gitea, &format!("{DEV}{PROD}")))
}

#[test]
fn each_registry_and_each_target_gets_a_line() {
    for build in Build::ALL {
        let gitea = gitea(build);
        let shop = shop(&gitea);
        let software = if build == Build::Forgejo { "Forgejo" } else { "Gitea" };
        let run = shop.run(&["check", "--online"]);
        run.code(0);
        let software = format!("git        ok      http://127.0.0.1:[port], {software} ");
        run.stdout_has(&software).stdout_has(", the token reads packages\n");
        run.stdout_has(
            "shop/dev   ok      127.0.0.1:[port]/acme/shop: 3 of 5 tags match, it would pick dev-42\n",
        );
        run.stdout_has(
            "shop/prod  ok      127.0.0.1:[port]/acme/shop: 2 of 5 tags match, it would pick v1.10.0\n",
        );
        assert!(!shop.exists("state.db"), "nothing is written");
        assert!(shop.deliveries().is_empty());
    }
}

#[test]
fn what_fails_is_said_and_the_others_are_tried_all_the_same() {
    let gitea = gitea(Build::GiteaNew);
    let shop = shop(&gitea);
    let text = shop.read("tagship.toml");
    let other = "\n[projects.gone]\nregistry = \"git\"\nimage = \"acme/gone\"\n[projects.gone.stages.dev]\ntags = \"*\"\n\
                 order = \"newest\"\ndeploy = { command = [\"./deploy.sh\"] }\n";
    shop.config(&format!("{text}{other}"));
    shop.run(&["check", "--online"])
        .code(1)
        .stdout_has("gone/dev   failed  GET http://127.0.0.1:[port]/v2/acme/gone/tags/list: 404 Not Found")
        .stdout_has("shop/dev   ok ");
    shop.run(&["check", "--online", "-q"]).code(1).stdout_has("gone/dev").shows_not("shop/dev");
}

#[test]
fn a_command_that_is_not_there_is_found_before_it_is_needed() {
    let gitea = gitea(Build::GiteaNew);
    for (command, fault) in [
        ("./gone.sh", "./gone.sh cannot be run: [dir]/gone.sh does not exist"),
        ("./plain.txt", "./plain.txt cannot be run: [dir]/plain.txt is not executable (chmod +x?)"),
        ("no-such-program", "no-such-program cannot be run: it is in no folder of PATH (/usr/bin:/bin)"),
    ] {
        let shop = Shop::with(&on_gitea(&gitea, &DEV.replace("./deploy.sh", command)));
        shop.file("plain.txt", "");
        shop.run(&["check", "--online"]).code(1).stdout_has(&format!("shop/dev  failed  {fault}"));
    }
}

#[test]
fn a_secret_that_cannot_be_had_and_a_token_that_is_wrong_are_found() {
    let gitea = gitea(Build::GiteaNew);
    let stage = DEV.replace("deploy.sh\"]", "deploy.sh\"], env = { KEY = \"{secret.key}\" }");
    let shop =
        Shop::with(&format!("{}[secrets]\nkey = {{ file = \"secret/gone\" }}\n", on_gitea(&gitea, &stage)));
    shop.run(&["check", "--online"]).code(1).stdout_has("shop/dev  failed  ").stdout_has("secret/gone");

    let shop = self::shop(&gitea);
    shop.secret("token", "planted-wrong-token");
    shop.run(&["check", "--online"])
        .code(1)
        .stdout_has("git        failed  ")
        .stdout_has("the token is wrong or has expired");
}

#[test]
#[ignore = "needs faketime"]
fn a_clock_that_is_apart_is_said() {
    let gitea = gitea(Build::GiteaNew);
    let shop = shop(&gitea);
    shop.run_under(&["faketime", "-f", "+1h"], &["check", "--online"])
        .code(0)
        .stdout_has("its clock and ours are ");
}

#[test]
fn something_else_under_the_url_is_said() {
    let gitea = gitea(Build::GiteaNew);
    gitea.intercept_all("version", Answer::new(404, "text/html", "nginx"));
    let shop = shop(&gitea);
    shop.run(&["check", "--online"])
        .code(1)
        .stdout_has("this is no Gitea or Forgejo, or not its root; is url right?");
}
