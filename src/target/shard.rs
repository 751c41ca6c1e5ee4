//! A share of the targets, for several tagships that divide the work. Rendezvous hashing of the image: with
//! one more shard, only that shard's share moves.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::reference::ImageRef;

/// A generous limit, because every image costs one hash per shard.
const MOST: u32 = 1000;

/// One of several shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    /// From 0.
    index: u32,
    count: u32,
}

/// `--shard I/N`, or `N` if the index comes from the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShardSetting {
    This(Shard),
    /// The index is the Kubernetes job's: `$JOB_COMPLETION_INDEX`.
    OfJob {
        count: u32,
    },
}

/// Text that is not a shard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a shard: write I/N, with N up to 1000 and I from 0 to N-1 (N means 0), or only N if $JOB_COMPLETION_INDEX is set"
)]
pub(crate) struct InvalidShard(String);

impl Shard {
    /// `index` is from 0 to `count`. `count` means 0, so counting from 1 covers each shard once, too.
    pub(crate) fn new(index: u32, count: u32) -> Option<Shard> {
        ((1..=MOST).contains(&count) && index <= count).then(|| Shard { index: index % count, count })
    }

    /// Whether the image, with all its targets, belongs to this shard.
    pub(crate) fn takes(self, image: &ImageRef) -> bool {
        self.index == of_image(&image.to_string(), self.count)
    }
}

/// The shard with the greatest hash of shard and image.
fn of_image(image: &str, count: u32) -> u32 {
    let weight = |shard: &u32| {
        let hash = Sha256::new().chain_update(image).chain_update([0]).chain_update(shard.to_be_bytes());
        <[u8; 32]>::from(hash.finalize())
    };
    (0..count).max_by_key(weight).unwrap_or(0)
}

impl FromStr for ShardSetting {
    type Err = InvalidShard;

    fn from_str(text: &str) -> Result<ShardSetting, InvalidShard> {
        let invalid = || InvalidShard(text.to_owned());
        let number = |text: &str| text.parse::<u32>().map_err(|_| invalid());
        match text.split_once('/') {
            Some((index, count)) => {
                let shard = Shard::new(number(index)?, number(count)?);
                shard.map(ShardSetting::This).ok_or_else(invalid)
            }
            None => match number(text)? {
                count @ 1..=MOST => Ok(ShardSetting::OfJob { count }),
                _ => Err(invalid()),
            },
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::Repository;

    fn images() -> impl Iterator<Item = String> {
        (0..1000).map(|image| format!("git.example.com/owner-{}/image-{image}", image % 7))
    }

    #[test]
    fn every_image_is_in_one_shard_and_shards_have_similar_sizes() {
        for count in [1, 2, 3, 7] {
            let mut sizes = vec![0usize; count as usize];
            for image in images() {
                sizes[of_image(&image, count) as usize] += 1;
            }
            let even = 1000 / count as usize;
            assert!(sizes.iter().all(|size| size.abs_diff(even) <= even / 4 + 1), "{count}: {sizes:?}");
        }
    }

    #[test]
    fn images_are_sharded_by_host_and_repository() {
        let repository = Repository::new("owner-1/image-1").unwrap();
        let image = ImageRef { host: "git.example.com".to_owned(), repository };
        let own = of_image("git.example.com/owner-1/image-1", 5);
        let takes: Vec<u32> =
            (0..5).filter(|index| Shard { index: *index, count: 5 }.takes(&image)).collect();
        assert_eq!(takes, [own]);
    }

    #[test]
    fn one_more_shard_moves_only_its_own_share() {
        for count in 1..8 {
            let moved = images().filter(|image| of_image(image, count) != of_image(image, count + 1));
            let mut all = 0usize;
            for image in moved {
                assert_eq!(of_image(&image, count + 1), count, "it moves to the new one only");
                all += 1;
            }
            let share = 1000 / (count as usize + 1);
            assert!(all.abs_diff(share) <= share / 4 + 5, "{count}: {all} of {share}");
        }
    }

    /// All versions of tagship, on all machines, must compute the same shards.
    #[test]
    fn shards_are_stable() {
        let shards: Vec<u32> = images().take(12).map(|image| of_image(&image, 5)).collect();
        assert_eq!(shards, SHARDS);
    }

    const SHARDS: [u32; 12] = [4, 0, 1, 1, 2, 1, 3, 0, 0, 4, 0, 1];

    #[test]
    fn shard_is_written_as_i_of_n() {
        let this = |index, count| Ok(ShardSetting::This(Shard { index, count }));
        assert_eq!("0/3".parse(), this(0, 3));
        assert_eq!("2/3".parse(), this(2, 3));
        assert_eq!("3/3".parse(), this(0, 3));
        assert_eq!("4".parse(), Ok(ShardSetting::OfJob { count: 4 }));
        for text in ["", "0", "0/0", "4/3", "-1/3", "a/3", "1/", "/3", "1/2/3", "0/1001", "4294967295"] {
            assert!(text.parse::<ShardSetting>().is_err(), "{text}");
        }
        assert_eq!(Shard::new(3, 3).unwrap().to_string(), "0/3");
    }
}
