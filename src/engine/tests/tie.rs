//! Tags that appeared together, on a registry without push times: the build time of their images is the sequence.

use super::*;

/// A tag with the second of its first sight, the build time and the number of its image.
type Seen = (&'static str, i64, Option<i64>, u8);

/// Polls a stage with a baseline, then these tags.
fn poll(order: Order, seen: &[Seen]) -> Decision {
    let mut stage = TestStage::new(target("*", order));
    let mut listing = listing(&[("0", 50)]);
    stage.poll(&listing);
    for (name, second, built, image) in seen {
        let (pushed_at, sequence) = (Some(at(*second)), *built);
        listing.tags.push(ListedTag { pushed_at, sequence, ..ListedTag::named(tag(name)) });
        stage.images.insert(tag(name), Digest::new(&format!("sha256:{image:064x}")).unwrap());
    }
    stage.poll(&listing)
}

fn deployed(order: Order, seen: &[Seen]) -> Option<String> {
    poll(order, seen).deploy.map(|listed| listed.tag.to_string())
}

/// Two runs list a tag for the first time side by side: the state has the time of one, the list of seen tags that of the other.
#[test]
fn high_water_has_the_recorded_time_of_first_sight() {
    for seconds in [-30, 30] {
        let mut stage = newest();
        stage.poll(&listing(&[("dev-1", 100), ("dev-2", 200)]));
        let mut seen = listing(&[("dev-1", 100), ("dev-2", 200 + seconds), ("dev-3", 201 + seconds)]);
        for listed in &mut seen.tags {
            listed.sequence = None;
        }
        seen.by_first_sight = true;
        assert_eq!(stage.deploys(&seen).as_deref(), Some("dev-3"), "{seconds}");
    }
}

#[test]
fn later_build_is_newer() {
    assert_eq!(
        deployed(Order::Newest, &[("1", 100, Some(8), 1), ("2", 100, Some(7), 2)]).as_deref(),
        Some("1")
    );
}

#[test]
fn later_sight_is_newer_than_a_later_build() {
    assert_eq!(
        deployed(Order::Newest, &[("1", 200, Some(7), 1), ("2", 100, Some(7), 2)]).as_deref(),
        Some("1")
    );
}

#[test]
fn nothing_tells_which_of_two_images_of_one_build_time_is_newer() {
    let ties: [&[Seen]; 4] = [
        &[("1", 100, Some(7), 1), ("2", 100, Some(7), 2)],
        &[("1", 100, Some(7), 1), ("2", 100, Some(7), 2), ("3", 100, Some(7), 3)],
        // An image without a build time has no place among the others, on either side.
        &[("1", 100, None, 1), ("2", 100, Some(7), 2)],
        &[("1", 100, Some(7), 1), ("2", 100, None, 2)],
    ];
    for tie in ties {
        let decision = poll(Order::Newest, tie);
        assert_eq!((decision.status, decision.deploy), (Status::Waiting, None), "{tie:?}");
        assert!(decision.reason.contains("appeared since the last poll"), "{}", decision.reason);
    }
}

#[test]
fn names_of_one_image_are_one_deployment() {
    let names = [("1", 100, Some(7), 1), ("2", 100, Some(7), 1)];
    assert_eq!(deployed(Order::Newest, &names).as_deref(), Some("2"));
}

#[test]
fn other_orders_have_no_ties() {
    assert_eq!(
        deployed(Order::Numeric, &[("1", 100, Some(7), 1), ("2", 100, Some(7), 2)]).as_deref(),
        Some("2")
    );
}

/// What a manual deployment without a tag asks.
#[test]
fn newest_tag_is_the_first_candidate_unless_it_is_tied() {
    let mut stage = TestStage::new(target("*", Order::Newest));
    let mut listing = listing(&[("1", 100), ("2", 200)]);
    let newest = |stage: &TestStage, listing: &Listing| {
        let selection = stage.target.policy.select(listing, &[]);
        let found = super::super::newest(&stage.target, &selection, stage).unwrap();
        found.map(|newest| newest.map(|candidate| candidate.listed.tag.to_string()))
    };
    assert_eq!(newest(&stage, &Listing::default()), Ok(None));
    assert_eq!(newest(&stage, &listing), Ok(Some("2".to_owned())));
    for (image, listed) in listing.tags.iter_mut().enumerate() {
        (listed.pushed_at, listed.sequence) = (Some(at(100)), None);
        stage.images.insert(listed.tag.clone(), Digest::new(&format!("sha256:{image:064x}")).unwrap());
    }
    assert!(newest(&stage, &listing).is_err_and(|why| why.contains("nothing tells which is newer")));
}
