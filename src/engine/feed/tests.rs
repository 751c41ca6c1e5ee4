//! Reading the feed of an owner: after any pushes and deletions, each changed image is named.

use std::cell::RefCell;
use std::convert::Infallible;

use super::model::{Memory, Server, at, name};
use super::*;

/// A server with this many images of one tag each, pushed long ago, and its settled cursor.
fn quiet(is_old: bool, images: u8) -> (Server, Cursor) {
    let mut server = Server::new(is_old);
    for image in 0..images {
        server.push(image, 0);
        server.now += 100;
    }
    let (cursor, changes) = server.changes(None);
    assert_eq!(changes, Changes::Everything);
    assert_eq!(server.asked(), [(1, 10)]);
    (server, cursor)
}

/// The same, with every image counted.
fn remembered(is_old: bool, images: u8) -> (Server, Memory) {
    let (mut server, _) = quiet(is_old, images);
    server.configured = 20;
    let mut memory = Memory::default();
    assert_eq!(memory.look(&mut server), Changes::Everything);
    server.now += 100;
    (server, memory)
}

fn images(changes: &Changes) -> Vec<&str> {
    match changes {
        Changes::Some(pushed) => pushed.rows.keys().map(String::as_str).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn window_keeps_only_rows_that_are_not_settled() {
    let mut server = Server::new(false);
    (0..15).for_each(|image| server.push(image, 0));
    server.now += LATE.as_secs() - 1;
    server.push(0, 0);
    let (cursor, _) = server.changes(None);
    assert_eq!(cursor.window.as_ref().map(Vec::len), Some(16));
    server.now += 1;
    let (cursor, _) = server.changes(Some(&cursor));
    assert_eq!(cursor.window.map(|window| window.len()), Some(1));
}

#[test]
fn more_pushes_than_are_read_make_everything_suspect() {
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
fn idle_feed_costs_one_row() {
    for is_old in [false, true] {
        let (mut server, cursor) = quiet(is_old, 30);
        server.now += 3600;
        assert_eq!(server.changes(Some(&cursor)), (cursor.clone(), Changes::Nothing));
        assert_eq!(server.asked(), [(1, 1)]);
    }
}

#[test]
fn new_tag_costs_one_more_page_and_names_its_image() {
    for is_old in [false, true] {
        let (mut server, cursor) = quiet(is_old, 30);
        server.push(7, 0);
        let (next, changes) = server.changes(Some(&cursor));
        assert_eq!(images(&changes), ["image-7"]);
        assert_eq!(server.asked(), [(1, 1), (1, 10)]);
        // The second of the top row was not over, so the feed is read once more.
        server.now += 100;
        let (next, changes) = server.changes(Some(&next));
        assert_eq!(changes, Changes::Nothing);
        assert_eq!(server.asked(), [(1, 10)]);
        assert_eq!(server.changes(Some(&next)).1, Changes::Nothing);
        assert_eq!(server.asked(), [(1, 1)]);
    }
}

#[test]
fn row_that_replaces_a_deleted_one_in_the_same_second_is_seen() {
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
fn row_with_an_earlier_time_is_seen_despite_a_deletion() {
    let (mut server, _) = quiet(false, 5);
    server.push(0, 0);
    server.now += 30;
    let (cursor, _) = server.changes(None);
    server.delete(0);
    server.push(1, 45);
    assert_eq!(images(&server.changes(Some(&cursor)).1), ["image-1"]);
}

#[test]
fn row_below_the_rows_read_makes_everything_suspect() {
    let (mut server, cursor) = quiet(false, 5);
    server.push(1, 5000);
    assert_eq!(server.changes(Some(&cursor)).1, Changes::Everything);
}

#[test]
fn clock_change_makes_everything_suspect() {
    let (server, cursor) = quiet(false, 5);
    let stepped = Server { now: server.now + 31, ahead: -31, ..server.clone() };
    assert_eq!(stepped.changes(Some(&cursor)).1, Changes::Everything);
    let steady = Server { now: server.now + 31, ahead: 20, ..server.clone() };
    assert_eq!(steady.changes(Some(&cursor)).1, Changes::Nothing);
    // Both clocks were set back: before the newest row, or before the last read.
    for back in [5000, 31] {
        let back = Server { now: server.now - back, ahead: 0, ..server.clone() };
        assert_eq!(back.changes(Some(&cursor)).1, Changes::Everything);
    }
    let jitter = Server { now: server.now - 30, ahead: 0, ..server };
    assert_eq!(jitter.changes(Some(&cursor)).1, Changes::Nothing);
}

#[test]
fn burst_of_more_pages_than_repositories_is_settled_after_a_minute() {
    let (mut server, cursor) = quiet(false, 5);
    for _ in 0..400 {
        server.push(1, 0);
    }
    let (next, changes) = server.changes(Some(&cursor));
    assert_eq!(changes, Changes::Everything);
    assert_eq!(server.asked().len(), 2 + 5);
    server.now += 60;
    let (next, changes) = server.changes(Some(&next));
    assert_eq!((changes, server.asked().len()), (Changes::Everything, 1));
    assert_eq!(server.changes(Some(&next)).1, Changes::Nothing);
    assert_eq!(server.asked(), [(1, 1)]);
}

/// 1,000 rows are 20 pages: read once while they can still change, and not again.
#[test]
fn a_burst_of_1000_rows_costs_its_pages_twice_at_most() {
    let (mut server, cursor) = quiet(false, 30);
    server.configured = 100;
    (0..1000).for_each(|number: u32| server.push(u8::try_from(number % 100).unwrap(), 0));
    let (cursor, changes) = server.changes(Some(&cursor));
    assert_eq!(images(&changes).len(), 100);
    server.now += 60;
    let (cursor, changes) = server.changes(Some(&cursor));
    assert_eq!((changes, server.asked().len()), (Changes::Nothing, 21));
    server.push(3, 0);
    let (_, changes) = server.changes(Some(&cursor));
    assert_eq!(images(&changes), ["image-3"]);
    assert_eq!(server.asked(), [(1, 1), (1, 10)]);
}

#[test]
fn total_that_changes_during_the_walk_restarts_it_once() {
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
            // After the first page of the walk.
            server.borrow_mut().push(9, 0);
        }
        Ok::<_, Infallible>(page)
    })
    .unwrap();
    assert_eq!(images(&changes), ["image-3", "image-9"]);
}

#[test]
fn first_package_of_an_owner_is_seen() {
    let mut server = Server::new(false);
    let (cursor, _) = server.changes(None);
    assert_eq!(server.changes(Some(&cursor)).1, Changes::Nothing);
    server.push(1, 0);
    assert_eq!(images(&server.changes(Some(&cursor)).1), ["image-1"]);
}

#[test]
fn deletion_makes_everything_suspect_alone_or_with_a_push() {
    for is_old in [false, true] {
        let (mut server, memory) = remembered(is_old, 20);
        server.delete(0);
        assert_eq!(memory.clone().look(&mut server), Changes::Everything);
        server.push(7, 0);
        assert_eq!(memory.clone().look(&mut server), Changes::Everything);
        assert_eq!(server.counted.get(), 1 + 6, "the pushed image was counted first");
    }
}

#[test]
fn tag_pushed_again_is_not_a_deletion() {
    let (mut server, mut memory) = remembered(true, 6);
    for image in [2, 4, 4] {
        server.now += 300;
        let index = server.rows.iter().position(|row| row.1 == image).unwrap();
        server.push_again(index);
        let changes = memory.look(&mut server);
        assert_eq!(images(&changes), [name(image)]);
    }
    server.push_again(0);
    server.delete(0);
    assert_eq!(memory.look(&mut server), Changes::Everything);
}

/// An uncounted image explains nothing, and is counted from then on.
#[test]
fn tag_pushed_again_in_an_uncounted_image_is_suspect_once() {
    let (mut server, mut memory) = remembered(true, 6);
    server.push(9, 0);
    memory.look(&mut server);
    memory.counts.remove("image-9");
    for expected in [true, false] {
        server.now += 300;
        server.push_again(server.rows.len() - 1);
        let changes = memory.look(&mut server);
        assert_eq!(changes == Changes::Everything, expected, "{changes:?}");
    }
}

#[test]
fn images_are_not_counted_if_all_configured_ones_changed() {
    let (mut server, mut memory) = remembered(true, 3);
    server.configured = 1;
    server.push_again(0);
    assert_eq!(memory.look(&mut server), Changes::Everything);
    assert_eq!(server.counted.get(), 6, "as it lists everything, and no more");
}

/// The push between the read and the list is new to the next read, but was already counted.
#[test]
fn push_during_a_count_does_not_hide_a_deletion() {
    let (mut server, mut memory) = remembered(true, 6);
    server.push_again(2);
    memory.poll(&mut server, |server| server.push(2, 0));
    server.now += 300;
    let other = server.rows.iter().position(|row| row.1 == 4).unwrap();
    server.delete(other);
    assert_eq!(memory.look(&mut server), Changes::Everything);
}

#[test]
fn new_owner_makes_everything_suspect_and_a_renamed_owner_nothing() {
    let (mut server, cursor) = quiet(false, 5);
    server.login = "acme-corp".to_owned();
    let (renamed, changes) = server.changes(Some(&cursor));
    assert_eq!(changes, Changes::Nothing);
    assert_eq!(renamed.owner().map(|owner| owner.login.as_str()), Some("acme-corp"));
    server.owner = 8;
    let (taken, changes) = server.changes(Some(&cursor));
    assert_eq!((changes, taken.owner().map(|owner| owner.id)), (Changes::Everything, Some(8)));
}

#[test]
fn cursor_of_an_earlier_version_learns_its_owner() {
    let (server, cursor) = quiet(false, 5);
    let mut text = serde_json::to_value(&cursor).unwrap();
    text.as_object_mut().unwrap().remove("owner");
    let old: Cursor = serde_json::from_value(text).unwrap();
    assert_eq!(server.changes(Some(&old)), (cursor, Changes::Nothing));
}

/// The second walk read every new row on its first page, but cannot know it.
#[test]
fn total_that_changes_in_both_walks_makes_everything_suspect() {
    let mut server = Server::new(false);
    (0..60).for_each(|image| server.push(image, 0));
    server.now += 100;
    let (cursor, _) = server.changes(None);
    (0..49).for_each(|_| server.push(1, 0));
    let server = RefCell::new(server);
    let mut asked = Vec::new();
    let (_, changes) = changes(Some(&cursor), 5, |number, limit| {
        asked.push((number, limit));
        let page = server.borrow().page(number, limit);
        if [2, 4].contains(&asked.len()) {
            // After the first page of both walks.
            server.borrow_mut().push(2, 0);
        }
        Ok::<_, Infallible>(page)
    })
    .unwrap();
    assert_eq!(asked, [(1, 1), (1, 10), (1, 50), (1, 50), (2, 50)]);
    assert_eq!(changes, Changes::Everything);
}

/// Not all new rows were read, but all that could still have others beside them.
#[test]
fn cursor_of_a_walk_that_was_cut_is_followed_from_there() {
    let (mut server, cursor) = quiet(false, 3);
    server.configured = 1;
    (0..120).for_each(|_| {
        server.now += 100;
        server.push(1, 0);
    });
    let (cursor, changes) = server.changes(Some(&cursor));
    assert_eq!(changes, Changes::Everything);
    assert_eq!(server.changes(Some(&cursor)).1, Changes::Nothing);
}

#[test]
fn vanished_rows_are_explained_by_counts() {
    let (server, cursor) = quiet(true, 3);
    let pushed = |images: &[u8], vanished| {
        let row = |id, image, second| FeedRow {
            id,
            name: name(image),
            version: format!("v{id}"),
            created_at: at(server.now + second),
        };
        // Only one of them certainly came after the count, whose time is rounded.
        let rows = |image| (name(image), vec![row(90, image, 2), row(91, image, 3)]);
        Pushed { rows: images.iter().copied().map(rows).collect(), vanished }
    };
    let count = |tags| Count { tags, at: at(server.now) };
    let known = HashMap::from([(name(1), count(4))]);
    let none_vanished = explain(&cursor, &pushed(&[1, 2], 0), &known, 5, |_| panic!("it lists nothing"));
    assert_eq!(none_vanished, Explained { counts: [(name(1), count(5))].into(), ..Explained::default() });

    // Which images have new rows, how many tags they have now, and whether a row is missing elsewhere, for want of a count.
    for (images, tags, is_elsewhere, lacks_counts) in [
        (&[1][..], 4, false, false),
        (&[1], 5, true, false),
        (&[2], 4, true, true),
        (&[1, 2], 4, false, false),
        (&[1, 2], 5, true, true),
    ] {
        let explained = explain(&cursor, &pushed(images, 1), &known, 5, |_| Some(count(tags)));
        let found = (explained.is_elsewhere, explained.lacks_counts, explained.counts.len());
        assert_eq!(found, (is_elsewhere, lacks_counts, images.len()), "{images:?} {tags}");
    }
}
