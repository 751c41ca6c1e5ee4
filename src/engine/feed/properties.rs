//! Properties of the feed for any sequence of events on a server. CI runs many cases.

use proptest::collection::vec;
use proptest::prelude::*;

use super::model::{Memory, Server, name};
use super::*;

#[derive(Clone, Debug)]
enum Happening {
    Push {
        image: u8,
        late: i64,
    },
    Burst {
        image: u8,
        rows: u8,
    },
    PushAgain(usize),
    Delete(usize),
    TakenOver,
    Time(i64),
    /// Optionally with a push between the read and the lists.
    Poll {
        pushed: Option<u8>,
    },
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        8 => (0..6u8, prop_oneof![8 => Just(0), 2 => 0..55i64]).prop_map(|(image, late)| Happening::Push { image, late }),
        1 => (0..6u8, 10..130u8).prop_map(|(image, rows)| Happening::Burst { image, rows }),
        4 => any::<usize>().prop_map(Happening::PushAgain),
        6 => any::<usize>().prop_map(Happening::Delete),
        1 => Just(Happening::TakenOver),
        6 => prop_oneof![Just(0), Just(1), 1..120i64].prop_map(Happening::Time),
        8 => proptest::option::weighted(0.2, 0..6u8).prop_map(|pushed| Happening::Poll { pushed }),
    ]
}

fn is_counted(server: &Server, counted: Option<(u8, u32)>, index: usize) -> bool {
    let row = index.checked_rem(server.rows.len()).map(|index| server.rows[index]);
    row.is_some_and(|row| counted == Some((row.1, row.2)))
}

proptest! {
    /// For any pushes, repeated pushes and deletions, with times up to a minute late, and for a new owner:
    /// every image with a new or deleted tag is named, or everything is suspect.
    #[test]
    fn no_new_tag_and_no_deletion_is_missed(is_old: bool, configured in 1..12usize, happenings in vec(happening(), 1..60)) {
        let mut server = Server::new(is_old);
        server.configured = configured;
        let mut memory = Memory::default();
        let mut new: Vec<(u8, u32)> = Vec::new();
        let mut poorer: Vec<u8> = Vec::new();
        // Pushed between a read and the lists, so counted before it was seen. It stays until the next read:
        // if it is replaced or deleted before, it can hide a deletion, which the next resync finds.
        let mut counted = None;
        let poll = Happening::Poll { pushed: None };
        let end = [Happening::Time(200), poll.clone(), Happening::Time(200), poll.clone(), poll];
        for happening in happenings.into_iter().chain(end) {
            match happening {
                Happening::Push { image, late } => {
                    server.push(image, late);
                    new.push((image, u32::try_from(server.last_id).unwrap()));
                }
                Happening::Burst { image, rows } => (0..rows).for_each(|_| {
                    server.push(image, 0);
                    new.push((image, u32::try_from(server.last_id).unwrap()));
                }),
                Happening::PushAgain(index) if !is_counted(&server, counted, index) => server.push_again(index),
                Happening::Delete(index) if !is_counted(&server, counted, index) => {
                    poorer.extend(server.delete(index).filter(|row| !new.contains(row)).map(|row| row.0));
                }
                Happening::TakenOver if counted.is_none() => {
                    let known = server.rows.iter().filter(|row| !new.contains(&(row.1, row.2)));
                    poorer.extend(known.map(|row| row.1));
                    server.taken_over(3);
                    new = server.rows.iter().map(|row| (row.1, row.2)).collect();
                }
                Happening::PushAgain(_) | Happening::Delete(_) | Happening::TakenOver => {}
                Happening::Time(seconds) => server.now += seconds,
                Happening::Poll { pushed } => {
                    let owner = memory.cursor.as_ref().and_then(|cursor| cursor.owner().cloned());
                    let changes = memory.poll(&mut server, |server| {
                        pushed.into_iter().for_each(|image| server.push(image, 0));
                    });
                    let is_named = |image: u8| match &changes {
                        Changes::Everything => true,
                        Changes::Nothing => false,
                        Changes::Some(pushed) => pushed.rows.contains_key(&name(image)),
                    };
                    for (image, version) in new.drain(..) {
                        let is_there = server.rows.iter().any(|row| (row.1, row.2) == (image, version));
                        prop_assert!(!is_there || is_named(image), "image-{image}:v{version} in {changes:?}");
                    }
                    for image in poorer.drain(..) {
                        prop_assert!(is_named(image), "image-{image} lost a tag: {changes:?}");
                    }
                    let seen = memory.cursor.as_ref().and_then(|cursor| cursor.owner().cloned());
                    let is_another = owner.zip(seen).is_some_and(|(then, now)| then.id != now.id);
                    prop_assert!(!is_another || changes == Changes::Everything);
                    counted = pushed.map(|image| (image, u32::try_from(server.last_id).unwrap()));
                    new.extend(counted);
                }
            }
        }
        prop_assert_eq!(server.asked(), [(1, 1)], "an idle poll costs one request");
    }
}
