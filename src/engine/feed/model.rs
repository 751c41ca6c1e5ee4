//! A server whose feed is read, and what the state remembers of it: for tests and properties.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;

use super::*;

/// An owner's packages on a server, with its clock.
#[derive(Clone, Debug)]
pub(super) struct Server {
    /// (id, image, version, second)
    pub(super) rows: Vec<(i64, u8, u32, i64)>,
    pub(super) last_id: i64,
    pub(super) now: i64,
    /// The ID of the owner.
    pub(super) owner: i64,
    pub(super) login: String,
    /// How far our clock is ahead.
    pub(super) ahead: i64,
    /// Whether lower IDs come first within one second, as on old Gitea and Forgejo.
    pub(super) is_old: bool,
    pub(super) configured: usize,
    pub(super) requests: RefCell<Vec<(usize, usize)>>,
    /// Images whose tags were counted.
    pub(super) counted: Cell<usize>,
}

const BEGIN: i64 = 1_800_000_000;

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

impl Server {
    pub(super) fn new(is_old: bool) -> Server {
        Server {
            rows: Vec::new(),
            last_id: 0,
            now: BEGIN,
            owner: 7,
            login: "acme".to_owned(),
            ahead: 0,
            is_old,
            configured: 5,
            requests: RefCell::default(),
            counted: Cell::default(),
        }
    }

    /// Pushes a new tag whose time is this much earlier than the clock.
    pub(super) fn push(&mut self, image: u8, late: i64) {
        self.last_id += 1;
        self.rows.push((self.last_id, image, u32::try_from(self.last_id).unwrap(), self.now - late));
    }

    /// Pushes an existing tag again, which makes a new row.
    pub(super) fn push_again(&mut self, index: usize) {
        if !self.rows.is_empty() {
            let (_, image, version, _) = self.rows.remove(index % self.rows.len());
            self.last_id += 1;
            self.rows.push((self.last_id, image, version, self.now));
        }
    }

    /// Deletes a tag, and returns its image and version.
    pub(super) fn delete(&mut self, index: usize) -> Option<(u8, u32)> {
        let index = index.checked_rem(self.rows.len())?;
        let (_, image, version, _) = self.rows.remove(index);
        Some((image, version))
    }

    /// The name now belongs to another owner, with this many tags of one image.
    pub(super) fn taken_over(&mut self, tags: u8) {
        self.owner += 1;
        self.rows.clear();
        (0..tags).for_each(|_| self.push(0, 0));
    }

    pub(super) fn page(&self, number: usize, limit: usize) -> FeedPage {
        self.requests.borrow_mut().push((number, limit));
        let mut rows: Vec<&(i64, u8, u32, i64)> = self.rows.iter().collect();
        rows.sort_by_key(|(id, _, _, second)| (-second, if self.is_old { *id } else { -*id }));
        let row = |(id, image, version, second): &(i64, u8, u32, i64)| FeedRow {
            id: *id,
            name: name(*image),
            version: format!("v{version}"),
            created_at: at(*second),
        };
        let rows: Vec<FeedRow> = rows.into_iter().skip((number - 1) * limit).take(limit).map(row).collect();
        FeedPage {
            owner: rows.first().map(|_| Owner { id: self.owner, login: self.login.clone() }),
            rows,
            total: self.rows.len() as u64,
            server_time: at(self.now),
            our_time: at(self.now + self.ahead),
        }
    }

    pub(super) fn changes(&self, since: Option<&Cursor>) -> (Cursor, Changes) {
        self.requests.borrow_mut().clear();
        let result: Result<_, Infallible> =
            changes(since, self.configured, |number, limit| Ok(self.page(number, limit)));
        result.unwrap()
    }

    pub(super) fn count(&self, image: &str) -> Count {
        self.counted.set(self.counted.get() + 1);
        let tags = self.rows.iter().filter(|row| name(row.1) == image).count() as u64;
        Count { tags, at: at(self.now + self.ahead) }
    }

    pub(super) fn asked(&self) -> Vec<(usize, usize)> {
        self.requests.borrow().clone()
    }
}

pub(super) fn name(image: u8) -> String {
    format!("image-{image}")
}

/// What the state remembers of a server.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    pub(super) cursor: Option<Cursor>,
    pub(super) counts: HashMap<String, Count>,
}

impl Memory {
    /// Reads the feed, explains vanished rows, and remembers. `then`: happens before anything is listed.
    pub(super) fn poll(&mut self, server: &mut Server, then: impl FnOnce(&mut Server)) -> Changes {
        server.counted.set(0);
        let (cursor, mut changes) = server.changes(self.cursor.as_ref());
        then(server);
        let explained = match (&changes, &self.cursor) {
            (Changes::Some(pushed), Some(since)) => {
                let list = |image: &str| Some(server.count(image));
                explain(since, pushed, &self.counts, server.configured, list)
            }
            _ => Explained::default(),
        };
        if explained.is_elsewhere {
            changes = Changes::Everything;
        }
        self.cursor = Some(cursor);
        let images: Vec<String> = match &changes {
            Changes::Nothing => Vec::new(),
            Changes::Some(pushed) => {
                self.counts.extend(explained.counts);
                pushed.rows.keys().cloned().collect()
            }
            Changes::Everything => {
                self.counts = explained.counts;
                (0..6).map(name).collect()
            }
        };
        self.counts.extend(images.into_iter().map(|image| (image.clone(), server.count(&image))));
        changes
    }

    pub(super) fn look(&mut self, server: &mut Server) -> Changes {
        self.poll(server, |_| {})
    }
}
