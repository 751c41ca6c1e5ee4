//! `status --format html`: a page that is safe to open, whatever was written on it, and fits its screen.

use std::process::Command;

use regex::Regex;

use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop, on_gitea};
use crate::new_tag::baselined;
use crate::registry::{Build, Gitea};

const HOSTILE: &str = "</pre></style><script>document.title = 'taken'</script>\"><img src=x onerror=alert(1)> ]]> &lt; '\u{202e}\u{2066}";

fn page(shop: &Shop) -> String {
    shop.run(&["status", "--format", "html"]).code(0).stderr("").stdout.clone()
}

/// dev has failed, prod is held and waits for its age, and all of it says what it should not.
fn hostile(gitea: &Gitea) -> Shop {
    let shop = baselined(gitea, &format!("{DEV}{PROD}min_age = \"30m\"\n"));
    shop.file("hostile", HOSTILE);
    shop.script("deploy.sh", "cat hostile; echo; exit 7");
    for tag in [&format!("dev-{}", "9".repeat(124)), "dev-\"><script>", "dev-\u{202e}"] {
        gitea.push("acme/shop", tag, "2026-11-20T11:00:00Z");
    }
    let soon = jiff::Timestamp::now();
    gitea.push("acme/shop", "v1.11.0", &format!("{soon:.0}"));
    shop.run(&["hold", "shop/prod", "--for", "12h", "--reason", &format!("{HOSTILE}\n{HOSTILE}")]).code(0);
    shop.run(&["poll"]).code(1);
    shop
}

#[test]
fn the_page_shows_the_state_and_sends_no_request() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, &format!("{DEV}{PROD}min_age = \"30m\"\n"));
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    gitea.push("acme/shop", "v1.11.0", &format!("{:.0}", jiff::Timestamp::now()));
    shop.file("fail", "");
    shop.run(&["poll"]).code(1);
    gitea.take_requests();
    let before = shop.contents();
    let page = page(&shop);
    assert!(shop.contents() == before);
    assert_eq!(gitea.take_requests(), [""; 0]);
    let masked = "http://127.0.0.1:[port]";
    for expected in [
        "<html lang=\"en\">",
        "<title>1 of 2 needs you - tagship</title>",
        "./deploy.sh exited with status 7: the stage refused dev-43",
        "<pre>the stage refused dev-43\n</pre>",
        "tagship retry shop/dev &amp;&amp; tagship poll shop/dev",
        &format!(
            "<h3>shop/prod <a href=\"{}/acme/-/packages/container/shop/v1.11.0\" rel=\"noreferrer\"><code class=\"tag\">v1.11.0</code></a></h3>",
            masked
        ),
        "min_age: v1.11.0 was pushed at [time]</dd></div><div><dt>Until</dt><dd><time datetime=\"[time]\">",
        "<th scope=\"col\">dev</th><th scope=\"col\">prod</th>",
        "<th scope=\"row\">shop</th>",
        &format!("Made by tagship {} at", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(page.contains(expected), "{expected} in {page}");
    }
}

#[test]
fn with_exit_code_the_page_is_still_written() {
    let gitea = gitea(Build::GiteaNew);
    let shop = hostile(&gitea);
    shop.run(&["status", "--format", "html", "--exit-code"]).code(1).stdout_has("</html>");
}

#[test]
fn the_page_of_one_target_tells_of_no_other() {
    let gitea = gitea(Build::GiteaNew);
    let shop = hostile(&gitea);
    shop.run(&["status", "shop/prod", "--format", "html"])
        .code(0)
        .stdout_has("shop/prod")
        .shows_not("shop/dev");
}

#[test]
fn before_the_first_poll_the_page_says_how_to_begin() {
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::with(&on_gitea(&gitea, DEV));
    let run = shop.run(&["status", "--format", "html"]);
    let page = run.code(0).stderr_has("no poll has used the state file").stdout.clone();
    assert!(page.contains("not polled yet"), "{page}");
    assert!(page.contains("<code>tagship poll</code>"), "{page}");
    assert!(!shop.exists("state.db"));
    // Nothing is asked for, not even by its name.
    assert!(!page.contains("http:") && !page.contains("https:"), "{page}");
}

#[test]
fn text_from_outside_is_never_markup() {
    let gitea = gitea(Build::GiteaNew);
    let shop = hostile(&gitea);
    let page = page(&shop);
    assert!(page.contains("&lt;script&gt;document.title"), "{page}");
    assert!(page.contains("\\u{202e}\\u{2066}"), "{page}");
    for forbidden in ["<script", "<img", "]]>", "\u{202e}", "\u{2066}", "dev-&quot;"] {
        assert!(!page.contains(forbidden), "{forbidden} in {page}");
    }
    // Of all elements and attributes, none runs or fetches anything.
    for (what, pattern) in [
        ("elements", r"<(script|link|base|form|iframe|object|embed|image|use|video|audio|input)\b"),
        ("attributes", r#"<[^>]*\s(src|srcset|action|data|poster|style|on\w+)="#),
        ("styles", r"url\(|@import"),
    ] {
        let found = Regex::new(pattern).unwrap().find(&page).map(|found| found.as_str().to_owned());
        assert_eq!(found, None, "{what}");
    }
    // A link leads to the forge, and only if someone follows it.
    let pages = format!("{}/acme/-/packages/container/shop/", "http://127.0.0.1:[port]");
    let links = Regex::new(r#"<(\w+)[^>]*\shref="([^"]*)""#).unwrap();
    let mut links =
        links.captures_iter(&page).map(|link| (link[1].to_owned(), link[2].to_owned())).peekable();
    assert!(links.peek().is_some());
    assert!(links.all(|(element, to)| element == "a" && to.starts_with(&pages)), "{page}");
    let policy = Regex::new("Content-Security-Policy\" content=\"([^\"]*)\"").unwrap();
    let policy = &policy.captures(&page).unwrap()[1];
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(!policy.contains("script-src") && !policy.contains("unsafe"), "{policy}");
}

/// Stricter than HTML asks for: with its empty elements closed, the page is XML.
#[test]
#[ignore = "needs xmllint"]
fn every_element_is_closed_and_every_attribute_quoted() {
    let gitea = gitea(Build::GiteaNew);
    let shop = hostile(&gitea);
    let closed = Regex::new("<meta ([^>]*)>").unwrap().replace_all(&page(&shop), "<meta $1/>").into_owned();
    shop.file("page.xml", &closed);
    let checked = Command::new("xmllint").arg("--noout").arg(shop.path("page.xml")).output();
    let checked = checked.expect("xmllint is installed (libxml2-utils)");
    assert!(checked.status.success(), "{}\n{closed}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
#[ignore = "needs chromium"]
fn a_browser_shows_the_page_styled_and_without_sideways_scrolling_on_any_screen() {
    let gitea = gitea(Build::GiteaNew);
    let shop = hostile(&gitea);
    shop.file("page.html", &page(&shop));
    shop.file("frames.html", FRAMES);
    let dom = browse(&shop, "frames.html");
    let measured = Regex::new(r"measured: ([^<]*)<").unwrap();
    let measured =
        measured.captures(&dom).unwrap_or_else(|| panic!("nothing was measured: {dom}"))[1].to_owned();
    assert_eq!(
        measured,
        "320:320:styled 360:360:styled 800:800:styled 1400:1400:styled 2 of 2 need you - tagship"
    );
}

/// The page at several widths, and how wide its contents are.
const FRAMES: &str = r#"<!DOCTYPE html><body><p id="said"></p><script>
onload = () => {
    const measured = [...document.querySelectorAll("iframe")].map((frame) => {
        const page = frame.contentDocument;
        const styled = frame.contentWindow.getComputedStyle(page.body).overflowWrap === "anywhere";
        return `${frame.width}:${page.documentElement.scrollWidth}:${styled ? "styled" : "bare"}`;
    });
    const title = document.querySelector("iframe").contentDocument.title;
    document.getElementById("said").textContent = `measured: ${measured.join(" ")} ${title}`;
};
</script>
<iframe width="320" height="600" src="page.html"></iframe>
<iframe width="360" height="600" src="page.html"></iframe>
<iframe width="800" height="600" src="page.html"></iframe>
<iframe width="1400" height="600" src="page.html"></iframe>
</body>"#;

/// A file of the shop as Chromium has it when everything is loaded.
fn browse(shop: &Shop, file: &str) -> String {
    let mut chromium = Command::new("chromium");
    chromium.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
    chromium.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
    chromium.args(["--hide-scrollbars", "--allow-file-access-from-files", "--dump-dom"]);
    chromium.arg(format!("--user-data-dir={}", shop.path("home/chromium").display()));
    chromium.arg(format!("file://{}", shop.path(file).display()));
    let output = chromium.output().expect("chromium is installed");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
