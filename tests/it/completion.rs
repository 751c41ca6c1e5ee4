//! What TAB does in the shells, with the scripts of completions/.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::on;
use crate::harness::{DEV, PROD, Shop};

/// Two projects, of which one has two stages; and a registry that is a folder.
fn config() -> String {
    let stages = format!(
        "{DEV}{PROD}\n[projects.blog]\nregistry = \"local\"\nimage = \"acme/blog\"\n{}",
        DEV.replace("projects.shop", "projects.blog")
    );
    on("gitea", "https://git.example.test", &stages)
        + "[registries.local]\nkind = \"oci-layout\"\npath = \"./images\"\n"
}

/// A machine with tagship in the PATH, which finds the configuration by itself.
fn installed() -> Shop {
    let mut shop = Shop::with(&config());
    let bin = shop.path("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tagship"), bin.join("tagship")).unwrap();
    shop.env("PATH", &format!("{}:/usr/bin:/bin", bin.display()));
    shop.env("TAGSHIP_CONFIG", "tagship.toml");
    shop
}

fn scripts() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("completions").display().to_string()
}

/// Runs a script of this shell, in the shop; what it prints on both streams.
fn run(shop: &Shop, shell: &str, arguments: &[&str]) -> (String, String) {
    let mut command = Command::new(shell);
    shop.furnish(&mut command);
    let output =
        command.args(arguments).output().unwrap_or_else(|error| panic!("{shell} is installed: {error}"));
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr))
}

/// What a line becomes when TAB is pressed at its end, in an interactive shell on a terminal of its own.
///
/// zsh can make terminals, for itself as for bash. Control-X and p shows the line.
fn pressing_tab(shop: &Shop, shell: &str, line: &str) -> String {
    let start = match shell {
        "bash" => format!(
            "bash --noprofile --norc -i\n\
             bind 'set enable-bracketed-paste off'; PS1=; \
             bind -x '\"\\C-xp\": printf \"<%s>\" \"$READLINE_LINE\"'; . {0}/tagship.bash; printf '%s%s\\n' rea dy",
            scripts()
        ),
        _ => format!(
            "zsh -f -i\n\
             PS1=; unsetopt zle_bracketed_paste; fpath=({} $fpath); autoload -Uz compinit; compinit -u -D; \
             show() {{ printf '<%s>' \"$BUFFER\"; }}; zle -N show; bindkey '^Xp' show; printf '%s%s\\n' rea dy",
            scripts()
        ),
    };
    let (program, settings) = start.split_once('\n').unwrap();
    let driver = r#"
        zmodload zsh/zpty
        zpty shell $1
        zpty -w shell $2
        zpty -r shell seen '*ready*'
        zpty -w -n shell "$3"$'\t\C-xp'
        zpty -r shell seen '*<*>*'
        seen=${seen##*<}
        print -r -- ${seen%%>*}
        zpty -d shell"#;
    let (shown, complaint) = run(shop, "zsh", &["-f", "-c", driver, "driver", program, settings, line]);
    assert_eq!(complaint, "", "{shell}: {line}");
    shown.trim_end_matches('\n').to_owned()
}

/// What fish offers, without the descriptions.
fn fish(shop: &Shop, line: &str) -> Vec<String> {
    let script = format!("source {}/tagship.fish; complete -C \"$argv[1]\"", scripts());
    let (offered, complaint) = run(shop, "fish", &["--no-config", "-c", &script, line]);
    assert_eq!(complaint, "", "{line}");
    offered.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

const LINES: [(&str, &str); 11] = [
    ("tagship sta", "tagship status "),
    ("tagship poll shop/d", "tagship poll shop/dev "),
    ("tagship poll shop/dev b", "tagship poll shop/dev blog/dev "),
    ("tagship poll --project b", "tagship poll --project blog "),
    ("tagship poll --project=b", "tagship poll --project=blog "),
    ("tagship poll --stage p", "tagship poll --stage prod "),
    ("tagship tags s", "tagship tags shop/"),
    ("tagship retry blog/", "tagship retry blog/dev "),
    ("tagship login g", "tagship login git "),
    ("tagship logout l", "tagship logout local "),
    ("tagship poll --format jsonl nothing", "tagship poll --format jsonl nothing"),
];

#[test]
#[ignore = "needs zsh"]
fn bash_completes_names_of_the_configuration() {
    let shop = installed();
    for (line, expected) in LINES {
        assert_eq!(pressing_tab(&shop, "bash", line), expected, "{line}");
    }
}

#[test]
#[ignore = "needs zsh"]
fn zsh_completes_names_of_the_configuration() {
    let shop = installed();
    for (line, expected) in LINES {
        assert_eq!(pressing_tab(&shop, "zsh", line), expected, "{line}");
    }
}

#[test]
#[ignore = "needs fish"]
fn fish_completes_names_of_the_configuration() {
    let shop = installed();
    for (line, expected) in [
        ("tagship sta", &["status"][..]),
        ("tagship poll sh", &["shop/dev", "shop/prod", "shop"]),
        ("tagship poll shop/dev b", &["blog/dev"]),
        ("tagship poll --project ", &["shop", "blog"]),
        ("tagship poll --project=b", &["--project=blog"]),
        ("tagship poll --stage ", &["dev", "prod"]),
        ("tagship tags shop", &["shop/dev", "shop/prod"]),
        ("tagship login ", &["git", "local"]),
        ("tagship poll nothing", &[]),
    ] {
        let mut offered = fish(&shop, line);
        offered.retain(|word| !word.starts_with("--") || line.contains("=b"));
        assert_eq!(offered, expected, "{line}");
    }
}

#[test]
#[ignore = "needs zsh"]
fn the_configuration_named_on_the_line_is_the_one_that_is_read() {
    let mut shop = installed();
    shop.env("TAGSHIP_CONFIG", "nowhere.toml");
    shop.file("home/my shop's.toml", &config());
    for line in [
        "tagship --config tagship.toml poll shop/d",
        "tagship --config=tagship.toml poll shop/d",
        "tagship --config home/my\\ shop\\'s.toml poll shop/d",
        "tagship --config \"home/my shop's.toml\" poll shop/d",
        "tagship poll --config ~/my\\ shop\\'s.toml shop/d",
    ] {
        let expected = format!("{line}ev ");
        assert_eq!(pressing_tab(&shop, "bash", line), expected);
        assert_eq!(pressing_tab(&shop, "zsh", line), expected);
        assert_eq!(fish(&shop, line), ["shop/dev"], "{line}");
    }
}

#[test]
#[ignore = "needs zsh"]
fn without_a_configuration_or_with_a_broken_one_nothing_is_offered_and_nothing_said() {
    let shop = installed();
    for text in [None, Some("this is no TOML"), Some("[projects.shop]\n")] {
        match text {
            Some(text) => shop.config(text),
            None => shop.remove("tagship.toml"),
        }
        for line in ["tagship poll shop/d", "tagship poll --project sh"] {
            assert_eq!(pressing_tab(&shop, "bash", line), line);
            assert_eq!(pressing_tab(&shop, "zsh", line), line);
            assert_eq!(fish(&shop, line), [""; 0]);
        }
    }
}

#[test]
#[ignore = "needs fish"]
fn nothing_runs_and_no_secret_is_read() {
    let shop = installed();
    shop.script("token.sh", "touch token-was-asked");
    let config = config().replace("{ file = \"secret/token\" }", "{ command = [\"./token.sh\"] }");
    shop.config(&config);
    assert_eq!(fish(&shop, "tagship poll blog"), ["blog/dev"]);
    assert!(!shop.exists("token-was-asked") && !shop.exists("state.db"));
}

#[test]
fn the_text_behind_the_cursor_is_kept() {
    let mut shop = installed();
    shop.env("TAGSHIP_COMPLETE", "bash");
    // As bash passes `tagship poll --proj|=sh` on.
    shop.env("_CLAP_COMPLETE_INDEX", "2");
    shop.run_bare(&["--", "tagship", "poll", "--proj", "=", "sh"]).code(0).stdout("--project");
}

#[test]
fn a_shell_that_is_not_known_is_said() {
    let mut shop = installed();
    shop.env("TAGSHIP_COMPLETE", "tcsh");
    shop.run_bare(&["poll"]).code(2).stdout("").stderr_has("TAGSHIP_COMPLETE: unknown shell `tcsh`");
}

#[test]
fn a_variable_of_another_program_does_not_stop_a_run() {
    let mut shop = installed();
    shop.env("COMPLETE", "bash");
    shop.run_bare(&["check"]).code(0).stdout_has("3 targets");
}
