use std::cell::RefCell;
use std::convert::Infallible;

use super::*;

/// An owner's packages on a server, with its clock.
#[derive(Clone, Debug)]
pub(super) struct Server {
    /// (id, image, version, second)
    pub(super) rows: Vec<(i64, u8, u32, i64)>,
    pub(super) last_id: i64,
    pub(super) now: i64,
    /// What our clock is ahead.
    ahead: i64,
    /// Inside one second the lower id comes first, as on old Gitea and Forgejo.
    is_old: bool,
    requests: RefCell<Vec<(usize, usize)>>,
}

const BEGIN: i64 = 1_800_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

impl Server {
    pub(super) fn new(is_old: bool) -> Server {
        Server { rows: Vec::new(), last_id: 0, now: BEGIN, ahead: 0, is_old, requests: RefCell::default() }
    }

    /// A tag that was never there, its time so much earlier than the clock.
    pub(super) fn push(&mut self, image: u8, late: i64) {
        self.last_id += 1;
        self.rows.push((self.last_id, image, u32::try_from(self.last_id).unwrap(), self.now - late));
    }

    /// The same tag, a new row.
    pub(super) fn push_again(&mut self, index: usize) {
        if !self.rows.is_empty() {
            let (_, image, version, _) = self.rows.remove(index % self.rows.len());
            self.last_id += 1;
            self.rows.push((self.last_id, image, version, self.now));
        }
    }

    pub(super) fn delete(&mut self, index: usize) {
        if !self.rows.is_empty() {
            self.rows.remove(index % self.rows.len());
        }
    }

    fn page(&self, number: usize, limit: usize) -> FeedPage {
        self.requests.borrow_mut().push((number, limit));
        let mut rows = self.rows.clone();
        rows.sort_by_key(|(id, _, _, second)| (-second, if self.is_old { *id } else { -*id }));
        let row = |(id, image, version, second): &(i64, u8, u32, i64)| FeedRow {
            id: *id,
            name: format!("image-{image}"),
            version: format!("v{version}"),
            created_at: at(*second),
        };
        FeedPage {
            rows: rows.iter().skip((number - 1) * limit).take(limit).map(row).collect(),
            total: rows.len() as u64,
            server_time: at(self.now),
            our_time: at(self.now + self.ahead),
        }
    }

    pub(super) fn changes(&self, since: Option<&Cursor>) -> (Cursor, Changes) {
        self.requests.borrow_mut().clear();
        let result: Result<_, Infallible> = changes(since, 5, |number, limit| Ok(self.page(number, limit)));
        result.unwrap()
    }

    fn asked(&self) -> Vec<(usize, usize)> {
        self.requests.borrow().clone()
    }
}

/// A server with these many images of one tag each, pushed long ago, and its settled cursor.
fn quiet(is_old: bool, images: u8) -> (Server, Cursor) {
    let mut server = Server::new(is_old);
    for image in 0..images {
        server.push(image, 0);
        server.now += 100;
    }
    let (cursor, changes) = server.changes(None);
    assert_eq!(changes, Changes::Everything);
    (server, cursor)
}

fn images(changes: &Changes) -> Vec<&str> {
    match changes {
        Changes::Some(by_image) => by_image.keys().map(String::as_str).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_window_has_every_row_of_its_oldest_second() {
    let mut server = Server::new(false);
    (0..15).for_each(|image| server.push(image, 0));
    server.now += WINDOW.as_secs();
    server.push(0, 0);
    let (cursor, _) = server.changes(None);
    assert_eq!(cursor.window.map(|window| window.len()), Some(16));
}

#[test]
fn more_pushes_of_known_tags_than_are_read_can_be_of_any_image() {
    let (mut server, cursor) = quiet(true, 1);
    (0..400).for_each(|_| server.push(0, 0));
    server.now += 100;
    let (cursor, _) = server.changes(Some(&cursor));
    server.now += 100;
    let (cursor, _) = server.changes(Some(&cursor));
    (0..400).for_each(|_| server.push_again(0));
    assert_eq!(server.changes(Some(&cursor)).1, Changes::Everything);
}

#[test]
fn nothing_new_costs_one_row() {
    for is_old in [false, true] {
        let (mut server, cursor) = quiet(is_old, 30);
        server.now += 3600;
        assert_eq!(server.changes(Some(&cursor)), (cursor.clone(), Changes::Nothing));
        assert_eq!(server.asked(), [(1, 1)]);
    }
}

#[test]
fn one_new_tag_costs_one_page_more_and_names_its_image() {
    for is_old in [false, true] {
        let (mut server, cursor) = quiet(is_old, 30);
        server.push(7, 0);
        let (next, changes) = server.changes(Some(&cursor));
        assert_eq!(images(&changes), ["image-7"]);
        assert_eq!(server.asked(), [(1, 1), (1, 10)]);
        // The second of its top was not over: looked at once more, and then nothing.
        server.now += 100;
        let (next, changes) = server.changes(Some(&next));
        assert_eq!(changes, Changes::Nothing);
        assert_eq!(server.asked(), [(1, 1), (1, 10)]);
        assert_eq!(server.changes(Some(&next)).1, Changes::Nothing);
        assert_eq!(server.asked(), [(1, 1)]);
    }
}

#[test]
fn a_row_that_takes_a_deleted_ones_place_in_the_same_second_is_seen() {
    for is_old in [false, true] {
        let (mut server, _) = quiet(is_old, 5);
        server.push(0, 0);
        let (cursor, _) = server.changes(None);
        server.delete(0);
        server.push(1, 0);
        let (_, changes) = server.changes(Some(&cursor));
        assert_eq!(images(&changes), ["image-1"], "{is_old}");
    }
}

#[test]
fn a_row_with_an_earlier_time_is_seen_though_another_was_deleted() {
    let (mut server, _) = quiet(false, 5);
    server.push(0, 0);
    server.now += 30;
    let (cursor, _) = server.changes(None);
    server.delete(0);
    server.push(1, 45);
    assert_eq!(images(&server.changes(Some(&cursor)).1), ["image-1"]);
}

#[test]
fn a_row_below_the_window_makes_everything_suspect() {
    let (mut server, cursor) = quiet(false, 5);
    server.push(1, 5000);
    assert_eq!(server.changes(Some(&cursor)).1, Changes::Everything);
}

#[test]
fn a_clock_that_was_set_makes_everything_suspect() {
    let (server, cursor) = quiet(false, 5);
    let stepped = Server { now: server.now + 31, ahead: -31, ..server.clone() };
    assert_eq!(stepped.changes(Some(&cursor)).1, Changes::Everything);
    let steady = Server { now: server.now + 31, ahead: 20, ..server.clone() };
    assert_eq!(steady.changes(Some(&cursor)).1, Changes::Nothing);
    // Set back to before its own newest row, ours with it.
    let back = Server { now: server.now - 5000, ahead: 0, ..server };
    assert_eq!(back.changes(Some(&cursor)).1, Changes::Everything);
}

#[test]
fn more_pages_than_repositories_are_not_read_and_everything_is_suspect_next_time_too() {
    let (mut server, cursor) = quiet(false, 5);
    for _ in 0..400 {
        server.push(1, 0);
    }
    let (next, changes) = server.changes(Some(&cursor));
    assert_eq!(changes, Changes::Everything);
    assert_eq!(server.asked().len(), 2 + 5);
    server.now += 100;
    assert_eq!(server.changes(Some(&next)).1, Changes::Everything);
}

#[test]
fn a_total_that_changes_under_the_walk_begins_it_again_once() {
    let (server, cursor) = quiet(false, 60);
    let server = RefCell::new(server);
    for _ in 0..30 {
        server.borrow_mut().push(3, 0);
    }
    let mut asked = 0;
    let (_, changes) = changes(Some(&cursor), 50, |number, limit| {
        asked += 1;
        let page = server.borrow().page(number, limit);
        if asked == 2 {
            // Behind the first page of the walk.
            server.borrow_mut().push(9, 0);
        }
        Ok::<_, Infallible>(page)
    })
    .unwrap();
    assert_eq!(images(&changes), ["image-3", "image-9"]);
}

#[test]
fn an_owner_without_packages_gets_its_first() {
    let mut server = Server::new(false);
    let (cursor, _) = server.changes(None);
    assert_eq!(server.changes(Some(&cursor)).1, Changes::Nothing);
    server.push(1, 0);
    assert_eq!(images(&server.changes(Some(&cursor)).1), ["image-1"]);
}

#[test]
fn what_vanished_is_looked_for_only_where_that_costs_next_to_nothing() {
    let (mut server, cursor) = quiet(false, 20);
    server.delete(0);
    let seen = |configured| {
        let result: Result<_, Infallible> =
            changes(Some(&cursor), configured, |number, limit| Ok(server.page(number, limit)));
        result.unwrap().1
    };
    assert_eq!(seen(FEW), Changes::Everything);
    assert_eq!(seen(FEW + 1), Changes::Nothing);
}

#[test]
fn a_total_that_changes_under_the_second_walk_too_makes_everything_suspect() {
    let mut server = Server::new(false);
    (0..60).for_each(|image| server.push(image, 0));
    server.now += 100;
    let (cursor, _) = server.changes(None);
    server.push(1, 0);
    let server = RefCell::new(server);
    let mut asked = 0;
    let (_, changes) = changes(Some(&cursor), 5, |number, limit| {
        asked += 1;
        let page = server.borrow().page(number, limit);
        if [2, 4].contains(&asked) {
            // Behind the first page of either walk.
            server.borrow_mut().push(2, 0);
        }
        Ok::<_, Infallible>(page)
    })
    .unwrap();
    assert_eq!((asked, changes), (5, Changes::Everything));
}
