//! The recorded answer for a request, and the values that are put into it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

use super::{Access, Build, Row, State, TOKEN, TOKEN_WITHOUT_SCOPE, digest_of, http_date_of};
use crate::http::{Answer, Reply, Request};
use crate::transcript::recorded;

impl State {
    pub(super) fn row(&self, image: &str, tag: &str) -> Option<&Row> {
        let (owner, name) = image.split_once('/').unwrap();
        self.rows.iter().find(|row| row.owner == owner && row.image == name && row.version == tag)
    }

    pub(super) fn store(&mut self, image: &str, tag: &str, created: &str, digest: String) {
        // Gitea lower-cases tags on push.
        let tag = if tag.starts_with("sha256:") { tag.to_owned() } else { tag.to_lowercase() };
        let created: Timestamp = created.parse().unwrap();
        let (owner, name) = image.split_once('/').unwrap();
        self.owners.insert(owner.to_owned());
        self.images.insert((owner.to_owned(), name.to_owned()));
        let position =
            self.rows.iter().position(|row| row.owner == owner && row.image == name && row.version == tag);
        if let Some(position) = position {
            if self.build == Build::GiteaNew {
                let row = &mut self.rows[position];
                row.lost = row.digest != digest && !row.had.insert(digest.clone());
                row.digest = digest;
                row.labels.clear();
                return;
            }
            self.rows.remove(position);
        }
        self.last_id += 1;
        self.rows.push(Row {
            id: self.last_id,
            owner: owner.to_owned(),
            image: name.to_owned(),
            version: tag,
            created,
            had: BTreeSet::from([digest.clone()]),
            digest,
            lost: false,
            labels: BTreeMap::new(),
        });
    }

    pub(super) fn reply(&mut self, request: &Request) -> Reply {
        self.requests.push(request.clone());
        if let Some(reply) = self.interception.as_ref().and_then(|intercept| intercept(request)) {
            return reply;
        }
        if let Some(elsewhere) = self.renamed(request) {
            let answer = Answer::new(307, "text/html; charset=utf-8", "").with("Location", elsewhere);
            return answer.with("Date", http_date_of(Timestamp::now() + self.ahead)).into();
        }
        let Some(mut answer) = self.answer(request) else {
            self.unscripted.push(request.line());
            return Answer::new(599, "text/plain", "nobody scripted this request").into();
        };
        let host = request.header("host").expect("every request names its host");
        let here = format!("http://{host}");
        for (_, value) in &mut answer.headers {
            *value = substitute(value, &here);
        }
        if let Ok(text) = std::str::from_utf8(&answer.body) {
            answer.body = substitute(text, &here).into_bytes();
        }
        answer.with("Date", http_date_of(Timestamp::now() + self.ahead)).into()
    }

    /// Where the server sends on to: the same path under the owner's new name.
    fn renamed(&self, request: &Request) -> Option<String> {
        let found = |(owner, name): (&String, &String)| {
            ["/v2/", "/api/v1/packages/"].iter().find_map(|root| {
                let rest = request.target.strip_prefix(&format!("{root}{owner}"))?;
                rest.starts_with(['/', '?']).then(|| format!("{root}{name}{rest}"))
            })
        };
        self.renamed.iter().find_map(found)
    }

    pub(super) fn recorded(&self, name: &str) -> Answer {
        recorded(self.build.folder(), name)
    }

    fn answer(&mut self, request: &Request) -> Option<Answer> {
        let path = request.path();
        match (request.method.as_str(), path) {
            ("GET", "/v2/token") => return Some(self.exchange(request)),
            ("POST", "/v2/token") => return Some(self.recorded("06-token-exchange-by-post")),
            ("GET", "/api/v1/version") => return Some(self.recorded("01-version")),
            ("GET", "/api/forgejo/v1/version") => return Some(self.recorded("02-forgejo-version")),
            ("GET", "/api/v1/settings/api") => {
                let mut answer = self.recorded("more/23-settings-api");
                let text = String::from_utf8(answer.body).unwrap();
                answer.body = text
                    .replace("\"max_response_items\":50", &format!("\"max_response_items\":{}", self.cap))
                    .into_bytes();
                return Some(answer);
            }
            ("GET", "/v2/") => {
                let answer = match self.registry_access(request) {
                    Err("03-tags-list-no-credentials") => "03-tags-list-no-credentials",
                    Ok(_) if request.bearer().is_some() => "more/09-ping-jwt",
                    // New Gitea answers 401 to a good token here.
                    _ => "more/08-ping-basic",
                };
                return Some(self.recorded(answer));
            }
            _ => {}
        }
        if path == "/v2/_catalog" {
            return (request.method == "GET").then(|| self.catalog(request));
        }
        if let Some(rest) = path.strip_prefix("/v2/") {
            if let Some(repository) = rest.strip_suffix("/tags/list") {
                return (request.method == "GET").then(|| self.tags_list(request, repository));
            }
            if let Some((repository, digest)) = rest.split_once("/blobs/") {
                return self.configuration(request, repository, digest);
            }
            let (repository, reference) = rest.split_once("/manifests/")?;
            return self.manifest(request, repository, reference);
        }
        let rest = path.strip_prefix("/api/v1/packages/")?;
        if request.method != "GET" {
            return None;
        }
        self.packages(request, rest)
    }

    /// Who asks the registry API, or the answer that refuses them.
    fn registry_access(&self, request: &Request) -> Result<Access, &'static str> {
        if request.header("authorization").is_none() {
            return Err("03-tags-list-no-credentials");
        }
        if let Some(token) = request.bearer() {
            return self.jwts.get(token).copied().ok_or("16-tags-list-token-as-bearer");
        }
        match request.basic_password().as_deref().map(access) {
            Some(Access::WithoutScope) => Err("15-tags-list-wrong-scope"),
            Some(Access::Reader) => Ok(Access::Reader),
            _ => Err("14-tags-list-wrong-token"),
        }
    }

    fn exchange(&mut self, request: &Request) -> Answer {
        let (name, access) = match request.header("authorization") {
            None => ("05-token-anonymous", Access::Anonymous),
            Some(_) => match request.basic_password().as_deref().map(access) {
                Some(Access::Reader) => ("04-token-exchange", Access::Reader),
                // Old Gitea and Forgejo hand out a JWT that reads everything.
                Some(Access::WithoutScope) => ("more/12-token-exchange-without-scope", Access::Reader),
                _ => ("more/11-token-exchange-wrong-token", Access::Wrong),
            },
        };
        let mut answer = self.recorded(name);
        if answer.status == 200 {
            let jwt = format!("planted-jwt-{}", self.jwts.len() + 1);
            answer.body = format!("{{\"token\":\"{jwt}\"}}\n").into_bytes();
            self.jwts.insert(jwt, access);
        }
        answer
    }

    fn tags_list(&self, request: &Request, repository: &str) -> Answer {
        let access = match self.registry_access(request) {
            Ok(access) => access,
            Err(refusal) => return self.recorded(refusal),
        };
        let Some((owner, image)) = repository.split_once('/') else {
            return self.recorded("13-tags-list-unknown-owner");
        };
        if !self.owners.contains(owner) {
            return self.recorded("13-tags-list-unknown-owner");
        }
        if access == Access::Anonymous && self.private_owners.contains(owner) {
            return self.recorded("more/06-tags-list-anonymous-private-owner");
        }
        if image.chars().any(char::is_uppercase) {
            return self.recorded("more/04-tags-list-upper-case-name");
        }
        if !self.images.contains(&(owner.to_owned(), image.to_owned())) {
            return self.recorded("12-tags-list-unknown-image");
        }
        let mut tags: Vec<&str> = self
            .rows
            .iter()
            .filter(|row| row.owner == owner && row.image == image && !row.version.starts_with("sha256:"))
            .map(|row| row.version.as_str())
            .collect();
        tags.sort_unstable();
        if let Some(last) = request.query("last") {
            tags.retain(|tag| *tag > last.as_str());
        }
        let n = request.query("n");
        match n.as_deref().map(str::parse::<i64>) {
            None => {}
            Some(Ok(n)) if n < 0 => {}
            Some(Ok(n)) => tags.truncate(usize::try_from(n).unwrap()),
            Some(Err(_)) => tags.clear(),
        }
        let mut answer = self.recorded("07-tags-list-jwt");
        answer.body = format!("{}\n", serde_json::json!({"name": repository, "tags": tags})).into_bytes();
        let Some(last) = tags.last() else {
            answer.headers.retain(|(name, _)| name != "Link");
            return answer;
        };
        let n = n.map(|n| format!("&n={n}")).unwrap_or_default();
        answer.with("Link", format!("</v2/{repository}/tags/list?last={last}{n}>; rel=\"next\""))
    }

    /// Not recorded: as the source of all three builds has it (`routers/api/packages/container`, `GetRepositoryList`),
    /// with the headers of a tags list.
    fn catalog(&self, request: &Request) -> Answer {
        let access = match self.registry_access(request) {
            Ok(access) => access,
            Err(refusal) => return self.recorded(refusal),
        };
        let is_seen = |row: &&Row| access != Access::Anonymous || !self.private_owners.contains(&row.owner);
        let names: BTreeSet<String> =
            self.rows.iter().filter(is_seen).map(|row| format!("{}/{}", row.owner, row.image)).collect();
        let last = request.query("last").unwrap_or_default();
        let n = request.query("n").and_then(|n| n.parse::<usize>().ok()).filter(|n| (1..=100).contains(n));
        let n = n.unwrap_or(100);
        let page: Vec<&String> = names.iter().filter(|name| **name > last).take(n).collect();
        let mut answer = self.recorded("07-tags-list-jwt");
        answer.headers.retain(|(name, _)| name != "Link");
        answer.body = format!("{}\n", serde_json::json!({ "repositories": page })).into_bytes();
        match page.last() {
            Some(last) if page.len() == n => {
                let last = last.replace('/', "%2F");
                answer.with("Link", format!("</v2/_catalog?last={last}&n={n}>; rel=\"next\""))
            }
            _ => answer,
        }
    }

    fn manifest(&self, request: &Request, repository: &str, reference: &str) -> Option<Answer> {
        let (found, missing) = match request.method.as_str() {
            "HEAD" => ("17-head-manifest", "18-head-manifest-missing"),
            "GET" => ("19-get-manifest", "more/25-get-manifest-missing"),
            _ => return None,
        };
        if let Err(refusal) = self.registry_access(request) {
            return Some(self.recorded(refusal));
        }
        let (owner, image) = repository.split_once('/')?;
        let row = self.rows.iter().find(|row| {
            let named = if reference.starts_with("sha256:") {
                row.digest == reference
            } else {
                row.version == reference.to_lowercase() && !row.lost
            };
            named && row.owner == owner && row.image == image
        });
        let Some(row) = row else { return Some(self.recorded(missing)) };
        let mut answer = self.recorded(found);
        for (name, value) in &mut answer.headers {
            match name.as_str() {
                "Docker-Content-Digest" => value.clone_from(&row.digest),
                "Etag" => *value = format!("\"{}\"", row.digest),
                _ => {}
            }
        }
        if request.method == "GET" {
            let mut manifest: Value = serde_json::from_slice(&answer.body).unwrap();
            manifest["config"]["digest"] = configuration_of(row).into();
            answer.body = manifest.to_string().into_bytes();
        }
        Some(answer)
    }

    /// The blob of an image's configuration; layers are nothing that anyone asks for.
    fn configuration(&self, request: &Request, repository: &str, digest: &str) -> Option<Answer> {
        if let Err(refusal) = self.registry_access(request) {
            return Some(self.recorded(refusal));
        }
        let (owner, image) = repository.split_once('/')?;
        let of_image = |row: &&Row| row.owner == owner && row.image == image;
        let row = self.rows.iter().filter(of_image).find(|row| configuration_of(row) == digest)?;
        let created = row.created.to_string();
        let configuration = serde_json::json!({"os": "linux", "architecture": "amd64", "created": created,
            "config": {"Labels": row.labels}, "rootfs": {"type": "layers", "diff_ids": []}});
        let answer = Answer::new(200, "application/octet-stream", configuration.to_string());
        (request.method == "GET").then(|| answer.with("Docker-Content-Digest", digest))
    }

    fn packages(&self, request: &Request, rest: &str) -> Option<Answer> {
        let authorization = request.header("authorization");
        let token = authorization
            .and_then(|value| value.strip_prefix("token ").or_else(|| value.strip_prefix("Bearer ")))
            .map(str::to_owned)
            .or_else(|| request.basic_password());
        let access = token.as_deref().map(access);
        match access {
            Some(Access::Reader) => {}
            Some(Access::WithoutScope) => return Some(self.recorded("21-packages-wrong-scope")),
            Some(_) => return Some(self.recorded("more/17-packages-wrong-token")),
            None if authorization.is_some() => return Some(self.recorded("more/17-packages-wrong-token")),
            None => return Some(self.recorded("20-packages-no-credentials")),
        }
        let parts: Vec<&str> = rest.split('/').collect();
        let owner = parts[0];
        if !self.owners.contains(owner) {
            let mut answer = self.recorded("22-packages-unknown-owner");
            answer.body = String::from_utf8(answer.body).unwrap().replace("nobody", owner).into_bytes();
            return Some(answer);
        }
        match parts[1..] {
            [] => {
                if request.query("type").as_deref() != Some("container") {
                    return None;
                }
                let wanted = request.query("q").unwrap_or_default();
                Some(self.page(request, owner, |row| like(&row.image, wanted.trim())))
            }
            ["container", image] if self.build == Build::GiteaNew => {
                let image = decode(image);
                Some(self.page(request, owner, |row| row.image == image))
            }
            ["container", _] => Some(self.recorded("30-packages-of-image")),
            // Answers with the highest ID, or not at all: tagship should not use this.
            ["container", _, "-", "latest"] => None,
            ["container", image, tag] => {
                let name = format!("{owner}/{}", decode(image));
                let Some(row) = self.row(&name, &decode(tag).to_lowercase()) else {
                    return Some(self.recorded("33-package-version-missing"));
                };
                let mut answer = self.recorded("32-package-version");
                answer.body = format!("{}\n", self.object(row)).into_bytes();
                Some(answer)
            }
            _ => Some(self.recorded("more/22-package-version-slash-not-encoded")),
        }
    }

    fn page(&self, request: &Request, owner: &str, wanted: impl Fn(&Row) -> bool) -> Answer {
        let mut rows: Vec<&Row> = self.rows.iter().filter(|row| row.owner == owner && wanted(row)).collect();
        rows.sort_by(|a, b| {
            let in_a_second = if self.build == Build::GiteaNew { b.id.cmp(&a.id) } else { a.id.cmp(&b.id) };
            b.created.cmp(&a.created).then(in_a_second)
        });
        let number = |name: &str| request.query(name).and_then(|text| text.parse::<usize>().ok());
        let limit = number("limit").filter(|limit| *limit > 0).unwrap_or(30).min(self.cap);
        let page = number("page").filter(|page| *page > 0).unwrap_or(1);
        let total = rows.len();
        let shown: Vec<Value> =
            rows.into_iter().skip((page - 1) * limit).take(limit).map(|row| self.object(row)).collect();
        let next = page * limit < total;
        let mut answer =
            if next { self.recorded("25-packages-probe") } else { self.recorded("28-packages-past-the-end") };
        answer.body = format!("{}\n", Value::Array(shown)).into_bytes();
        if next {
            // Built from ROOT_URL, which need not be where the server was reached.
            answer = answer
                .with("Link", format!("<http://root-url.example.test{}>; rel=\"next\"", request.path()));
        }
        answer.with("X-Total-Count", total.to_string())
    }

    fn object(&self, row: &Row) -> Value {
        let body = self.recorded("32-package-version").body;
        let mut object: Value = serde_json::from_slice(&body).unwrap();
        let path = row.image.replace('/', "%2F");
        let url =
            format!("http://git.example.test/{}/-/packages/container/{path}/{}", row.owner, row.version);
        object["id"] = row.id.into();
        object["name"] = row.image.as_str().into();
        object["version"] = row.version.as_str().into();
        object["html_url"] = url.into();
        object["created_at"] = in_zone(row.created, self.zone).into();
        object["owner"]["id"] = self.owner_ids.get(&row.owner).copied().unwrap_or(2).into();
        object["owner"]["login"] = row.owner.as_str().into();
        object["owner"]["username"] = row.owner.as_str().into();
        object
    }
}

fn configuration_of(row: &Row) -> String {
    digest_of(&format!("the configuration of {}", row.digest))
}

fn access(token: &str) -> Access {
    match token {
        TOKEN => Access::Reader,
        TOKEN_WITHOUT_SCOPE => Access::WithoutScope,
        _ => Access::Wrong,
    }
}

fn substitute(text: &str, here: &str) -> String {
    text.replace("http://git.example.test", here).replace("https://git.example.test", here)
}

fn decode(part: &str) -> String {
    let pairs = format!("x={}", part.replace('+', "%2B"));
    url::form_urlencoded::parse(pairs.as_bytes()).next().unwrap().1.into_owned()
}

/// SQL's `LIKE '%wanted%'`, in any case.
fn like(name: &str, wanted: &str) -> bool {
    let pattern = format!("*{}*", wanted.to_lowercase().replace('%', "*").replace('_', "?"));
    wildmatch::WildMatch::new(&pattern).matches(&name.to_lowercase())
}

/// As Go writes it: `2026-11-23T15:13:36+01:00`, and `Z` only in UTC.
fn in_zone(time: Timestamp, seconds_east: i32) -> String {
    if seconds_east == 0 {
        return time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    }
    let local = time + jiff::SignedDuration::from_secs(i64::from(seconds_east));
    let sign = if seconds_east < 0 { '-' } else { '+' };
    let minutes = seconds_east.abs() / 60;
    format!("{}{sign}{:02}:{:02}", local.strftime("%Y-%m-%dT%H:%M:%S"), minutes / 60, minutes % 60)
}
