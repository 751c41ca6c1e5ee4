//! Endurance: polls beside each other while everything goes wrong that can, SIGKILL and clocks included,
//! against a model that knows on its own what must be true. As root: of a service user's state, on which root runs too.
//!
//! A short one runs with all tests, the same each time. The whole one, ten minutes at most, never is:
//! `TAGSHIP_SOAK=5000 cargo test --test it soak -- --ignored --nocapture`. What happens goes by a seed, which is
//! printed; `TAGSHIP_SOAK_SEED=N` gives it (how processes overtake each other it does not repeat).

mod audit;
mod fault;
mod figures;
mod happening;
mod model;
mod outbox;
mod receiver;
mod remains;
mod state;
mod trouble;
mod world;

use std::time::{Duration, Instant};

use world::World;

/// No soak lasts longer than this, whatever the number of polls.
const LONGEST: Duration = Duration::from_secs(3600);

#[test]
#[ignore = "needs faketime, and minutes"]
fn polls_through_everything_lose_nothing_double_nothing_and_leave_nothing_behind() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let (wanted, seed) = match number("TAGSHIP_SOAK") {
        Some(wanted) => (wanted, fastrand::u64(..)),
        None => (150, 1),
    };
    let seed = number("TAGSHIP_SOAK_SEED").unwrap_or(seed);
    println!("TAGSHIP_SOAK={wanted} TAGSHIP_SOAK_SEED={seed}");
    let began = Instant::now();
    let mut world = World::new(seed);
    let mut calms = 1;
    while world.figures.polls < wanted && began.elapsed() < LONGEST {
        world.round();
        if world.figures.polls >= calms * wanted / 5 {
            world.calm_down();
            calms += 1;
        }
    }
    world.calm_down();
    world.end();
    println!("{} in {:.0} s", world.figures, began.elapsed().as_secs_f64());
}
