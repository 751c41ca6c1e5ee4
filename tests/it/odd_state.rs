//! A state in which one value is not what it was: refused or served, never a panic, and never a deployment
//! that the rules do not want.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rusqlite::{Connection, Row};

use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop};
use crate::new_tag::baselined;
use crate::registry::{Build, Gitea};

/// SQL of values that a column may have by accident. Each column has some of them in turn.
const ODD: [&str; 12] = [
    "NULL",
    "''",
    "'x'",
    "-1",
    "9223372036854775807",
    "4294967295",
    "'9999-12-31T23:59:59.999Z'",
    "'-009999-01-02T01:59:59Z'",
    "'{}'",
    "'[{}]'",
    "'{\"tag\": \"x\", \"pushed_at\": 1, \"sequence\": \"y\"}'",
    "'a' || char(10) || char(27) || char(8238)",
];

/// Values of each column in an ordinary run; `TAGSHIP_ODD=12` tries all of them.
const TRIED: usize = 3;

/// dev-43 is deployed, v1.11.0 is held back, and nothing remains to do.
fn scene() -> (Gitea, Shop) {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, &format!("{DEV}{PROD}"));
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
    shop.run(&["hold", "shop/prod", "--reason", "freeze"]).code(0);
    shop.run(&["poll"]).code(0);
    assert_eq!(shop.delivered(), ["shop/dev dev-43"]);
    (gitea, shop)
}

/// Every value of the state, each as the target of an update (`TABLE SET VALUE = ?`): columns, and values in documents.
fn values(shop: &Shop) -> Vec<Value> {
    let state = Connection::open(shop.path("state.db")).unwrap();
    let query = "SELECT m.name AS place, c.name AS name, NULL AS path FROM sqlite_schema m, pragma_table_info(m.name) c
             WHERE m.type = 'table'
         UNION SELECT 'poll_state', 'document', fullkey FROM poll_state, json_tree(document) ORDER BY 1, 2, 3";
    let mut statement = state.prepare(query).unwrap();
    let value = |row: &Row<'_>| Ok(Value { table: row.get(0)?, column: row.get(1)?, path: row.get(2)? });
    statement.query_map([], value).unwrap().collect::<Result<_, _>>().unwrap()
}

struct Value {
    table: String,
    column: String,
    /// Within the document that the column holds.
    path: Option<String>,
}

impl Value {
    fn set_to(&self, odd: &str) -> String {
        let Value { table, column, path } = self;
        match path {
            None => format!("UPDATE {table} SET {column} = {odd}"),
            Some(path) => format!("UPDATE {table} SET {column} = json_set({column}, '{path}', {odd})"),
        }
    }
}

/// A document and a deployment.
#[test]
fn rows_that_cannot_be_read_fail_their_own_target_only() {
    let document =
        "UPDATE poll_state SET document = replace(document, '\"hold\"', '\"held\"') WHERE stage = 'dev'";
    let deployment = "UPDATE deployment SET state = 'pending', tag = 'not a tag' WHERE stage = 'dev'";
    for (odd, why) in [(document, "unknown field `held`"), (deployment, "not a valid tag")] {
        let (gitea, shop) = scene();
        shop.run(&["release", "shop/prod"]).code(0);
        let state = Connection::open(shop.path("state.db")).unwrap();
        assert_eq!(state.execute(odd, []).unwrap(), 1);
        gitea.push("acme/shop", "dev-44", "2026-11-20T12:00:00Z");
        let run = shop.run(&["poll", "--format", "json"]);
        run.code(1).status_is("shop/prod", "deployed").status_is("shop/dev", "unknown");
        run.error_is("shop/dev", "state").stdout_has(why);
        assert_eq!(shop.delivered(), ["shop/dev dev-43", "shop/prod v1.11.0"]);
        for arguments in [&["status"][..], &["poll", "shop/dev"], &["tags", "shop/dev"]] {
            shop.run(arguments).code(2).stderr_has("/state.db: shop/dev: ");
        }
        shop.run(&["deploy", "shop/prod"]).code(0);
        shop.run(&["poll", "shop/prod", "--due"]).code(0);
    }
}

#[test]
#[ignore = "needs minutes"]
fn a_value_that_cannot_be_is_refused_or_does_no_harm() {
    let (_gitea, shop) = scene();
    let tried = std::env::var("TAGSHIP_ODD").map_or(TRIED, |text| text.parse().unwrap());
    let values = values(&shop);
    assert!(values.len() > 80, "{}", values.len());
    let cases = values.iter().enumerate().flat_map(|(at, value)| {
        (0..tried).map(move |turn| (value, ODD[(at + turn * ODD.len() / tried) % ODD.len()]))
    });
    let cases = Mutex::new(cases.collect::<Vec<_>>());
    let (refused, served) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let (_gitea, shop) = scene();
                let good = std::fs::read(shop.path("state.db")).unwrap();
                loop {
                    let Some((value, odd)) = cases.lock().unwrap().pop() else { break };
                    std::fs::write(shop.path("state.db"), &good).unwrap();
                    let state = Connection::open(shop.path("state.db")).unwrap();
                    // What the table itself does not take cannot be.
                    let Ok(1..) = state.execute(&value.set_to(odd), []) else {
                        continue;
                    };
                    drop(state);
                    let shown = value.set_to(odd);
                    for arguments in [&["status"][..], &["history"], &["poll"], &["poll", "--format", "json"]]
                    {
                        let run = shop.run(arguments);
                        let is_served = run.has_code(0) || run.has_code(1);
                        assert!(is_served || run.has_code(2), "{shown}: {arguments:?}: {run:?}");
                        if is_served { &served } else { &refused }.fetch_add(1, Ordering::Relaxed);
                    }
                    // Without a hold, or with one that has ended, the target is released, and without a high-water tag nothing
                    // was deployed: `tagship release` and `tagship mark --none` write the same. Any other value releases
                    // nothing, and repeats nothing.
                    let is_meant = match value.path.as_deref() {
                        Some("$.hold.until") => true,
                        Some("$.hold" | "$.high_water" | "$.\"high_water\"") => odd == "NULL",
                        _ => false,
                    };
                    if !is_meant {
                        assert_eq!(shop.delivered(), ["shop/dev dev-43"], "{shown}");
                    } else {
                        shop.file(
                            "deliveries",
                            &shop.read("deliveries").lines().next().map(|line| format!("{line}\n")).unwrap(),
                        );
                    }
                }
            });
        }
    });
    println!("{refused:?} runs refused the state, {served:?} served it");
    assert!(refused.into_inner() > 100 && served.into_inner() > 100);
}
