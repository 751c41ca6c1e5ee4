//! What must hold whatever happens on a server. CI runs these with many cases.

use proptest::collection::vec;
use proptest::prelude::*;

use super::tests::Server;
use super::*;

#[derive(Clone, Debug)]
enum Happening {
    Push { image: u8, late: i64 },
    PushAgain(usize),
    Delete(usize),
    Time(i64),
    Poll,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0..6u8, prop_oneof![8 => Just(0), 2 => 0..55i64]).prop_map(|(image, late)| Happening::Push { image, late }),
        2 => any::<usize>().prop_map(Happening::PushAgain),
        3 => any::<usize>().prop_map(Happening::Delete),
        3 => prop_oneof![Just(0), Just(1), 1..120i64].prop_map(Happening::Time),
        4 => Just(Happening::Poll),
    ]
}

proptest! {
    /// Whatever is pushed, pushed again and deleted, with times up to a minute late: an image that got a
    /// name that was never there is named, or everything is.
    #[test]
    fn no_new_tag_is_missed(is_old: bool, happenings in vec(happening(), 1..60)) {
        let mut server = Server::new(is_old);
        let mut cursor: Option<Cursor> = None;
        let mut new: Vec<(u8, u32)> = Vec::new();
        for happening in happenings.into_iter().chain([Happening::Time(200), Happening::Poll, Happening::Time(200), Happening::Poll]) {
            match happening {
                Happening::Push { image, late } => {
                    server.push(image, late);
                    new.push((image, u32::try_from(server.last_id).unwrap()));
                }
                Happening::PushAgain(index) => server.push_again(index),
                Happening::Delete(index) => server.delete(index),
                Happening::Time(seconds) => server.now += seconds,
                Happening::Poll => {
                    let (next, changes) = server.changes(cursor.as_ref());
                    for (image, version) in new.drain(..) {
                        let is_there = server.rows.iter().any(|row| (row.1, row.2) == (image, version));
                        let is_named = match &changes {
                            Changes::Everything => true,
                            Changes::Nothing => false,
                            Changes::Some(named) => named.contains_key(&format!("image-{image}")),
                        };
                        prop_assert!(!is_there || is_named, "image-{image}:v{version} in {changes:?}");
                    }
                    cursor = Some(next);
                }
            }
        }
    }
}
