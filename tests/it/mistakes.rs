//! What a person types wrong in a configuration, and the answer of `tagship check`, as written down in
//! `tests/mistakes.session`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::harness::Shop;

const REGISTRY: &str = "kind = \"gitea\"\nurl = \"https://git.example.com\"\nanonymous = true";
const PROJECT: &str = "registry = \"git\"\nimage = \"acme/shop\"";
const STAGE: &str =
    "tags = \"dev-*\"\norder = \"newest\"\ndeploy = { command = [\"./deploy.sh\", \"{tag}\"] }";

/// A mistake begins with a remark. Lines with `> ` are typed into a part of a valid configuration: a line replaces
/// that of the same key, `- key` removes it. The other lines are the whole answer.
#[test]
fn every_mistake_has_its_answer() {
    let written = include_str!("../mistakes.session");
    let mut played = String::new();
    for mistake in written.split("\n\n").filter(|mistake| !mistake.trim().is_empty()) {
        let is_typed = |line: &&str| line.starts_with("# ") || line.contains("> ") && part(line).is_some();
        let typed: Vec<&str> = mistake.lines().take_while(is_typed).collect();
        let shown: Vec<&str> = typed.iter().copied().filter(|line| !line.starts_with("# ")).collect();
        let answer = if shown.is_empty() { String::new() } else { answer(&shown) };
        // A line that is empty in the answer would end the mistake.
        let answer = answer
            .lines()
            .filter(|line| !line.is_empty())
            .fold(String::new(), |text, line| text + line + "\n");
        played += &format!("{}\n{answer}\n", typed.join("\n"));
    }
    if let Ok(file) = std::env::var("TAGSHIP_TEST_WRITE") {
        fs::write(file, played.trim_end().to_owned() + "\n").unwrap();
    } else {
        assert!(played.trim_end() == written.trim_end(), "the answers are others:\n{played}");
    }
}

/// The part that a line is typed into, and the line.
fn part(line: &str) -> Option<(&str, &str)> {
    let (part, line) = line.split_once("> ")?;
    ["top", "registry", "project", "stage", "file", "script"].contains(&part).then_some((part, line))
}

fn answer(typed: &[&str]) -> String {
    let shop = Shop::new();
    let (mut top, mut whole) = (String::new(), String::new());
    let mut parts = [("registry", REGISTRY), ("project", PROJECT), ("stage", STAGE)]
        .map(|(name, lines)| (name, lines.lines().map(str::to_owned).collect::<Vec<_>>()));
    for line in typed {
        let (part, line) = part(line).unwrap();
        match part {
            "top" => top += &format!("{line}\n"),
            "file" => whole += &format!("{line}\n"),
            "script" => {
                let (name, content) = line.split_once(' ').unwrap();
                shop.file(name, &content.replace("\\r", "\r").replace("\\n", "\n"));
                fs::set_permissions(shop.path(name), fs::Permissions::from_mode(0o700)).unwrap();
            }
            part => {
                let (_, lines) = parts.iter_mut().find(|(name, _)| *name == part).unwrap();
                type_line(lines, line);
            }
        }
    }
    let [registry, project, stage] = parts.map(|(_, lines)| lines.join("\n"));
    shop.config(&match whole.is_empty() {
        true => format!(
            "{top}[registries.git]\n{registry}\n[projects.shop]\n{project}\n[projects.shop.stages.dev]\n{stage}\n"
        ),
        false => whole,
    });
    let run = shop.run(&["check"]);
    let ending =
        run.code.filter(|code| *code != 0).map_or_else(String::new, |code| format!("[exit {code}]\n"));
    let valid = "[dir]/tagship.toml: 1 target, 1 of them polled; no faults\n";
    format!("{}{}{ending}", run.stderr, run.stdout.replace(valid, "no faults\n"))
}

fn type_line(lines: &mut Vec<String>, line: &str) {
    let key = |line: &str| line.split([' ', '=', ':']).next().unwrap_or_default().to_owned();
    if let Some(removed) = line.strip_prefix("- ") {
        lines.retain(|other| key(other) != removed);
    } else if let Some(other) = lines.iter_mut().find(|other| key(other) == key(line)) {
        *other = line.to_owned();
    } else {
        lines.push(line.to_owned());
    }
}

/// However a file is spoilt, no line with a secret is shown.
#[test]
fn line_with_a_secret_is_never_shown() {
    let planted = "plainly-a-secret";
    let shop = Shop::new();
    let base = |registry: &str, stage: &str, end: &str| {
        format!(
            "[registries.git]\nkind = \"gitae\"\n{registry}\n[projects.shop]\nregistry = \"gti\"\nimage = \"shop\"\n[projects.shop.stages.dev]\ntags = \"v*\"\nordr = \"newst\"\n{stage}\n{end}\n"
        )
    };
    let url = "url = \"https://git.example.com\"";
    let mut shown = BTreeSet::new();
    for text in [
        base(&format!("token = \"{planted}\""), "", ""),
        base(&format!("tokn = \"{planted}\""), "", ""),
        base(&format!("{url}\npassword = \"{planted}\""), "", ""),
        base(&format!("{url}\nproxy = \"http://ci:{planted}@proxy\""), "", ""),
        base(&format!("url = \"https://ci:{planted}@git.example.com\""), "", ""),
        base(url, &format!("deploy = {{ url = \"https://x.example.com/#{planted}\" }}"), ""),
        base(
            url,
            &format!(
                "deploy = {{ url = \"https://x.example.com\", headers = {{ \"X-A\" = \"{planted}\", \"x-a\" = \"{planted}\" }} }}"
            ),
            "",
        ),
        base(
            url,
            &format!("deploy = \"curl -H 'Authorization: Bearer {planted}' https://x.example.com\""),
            "",
        ),
        base(url, &format!("deploy = {{ command = [\"x\"], env = {{ \"A=B\" = \"{planted}\" }} }}"), ""),
        base(url, "", &format!("[secrets]\nhook = \"{planted}\"")),
        base(url, "", &format!("[secrets]\nhook = {planted}")),
        base(url, "", &format!("[secrets]\nhook: {planted}")),
        base(url, "", &format!("[secrets]\nhook = {{ file = \"{planted}\"")),
        base(url, "", &format!("[projects.shop.vars]\nkey = \"{planted}")),
        base(url, "", &format!("[projects.shop.vars]\nkey = \"\"\"\n\\{planted}\n\"\"\"")),
        base(&format!("token = \"{planted}"), "", ""),
        format!("secrets:\n  hook: {planted}\n"),
        format!("token: {planted}\n"),
    ] {
        shop.config(&text);
        let run = shop.run(&["check"]);
        run.code(2).shows_not(planted).shows_not(&planted[8..]).stderr_has("tagship.toml:");
        shown.extend(run.stderr.lines().filter(|line| line.contains(" | ")).map(str::to_owned));
    }
    // The other lines are.
    assert!(shown.iter().any(|line| line.ends_with("| ordr = \"newst\"")), "{shown:#?}");
}
