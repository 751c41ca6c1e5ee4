//! Which images an owner has.

use std::collections::BTreeSet;

use super::package::ROWS;
use super::{Gitea, RegistryError};
use crate::reference::Repository;

impl Gitea {
    /// From the rows of all versions, for there is no list of images. One that is pushed while they are read can
    /// be missing.
    pub(super) fn images_of(&self, owner: &str) -> Result<Vec<Repository>, RegistryError> {
        let mut names = BTreeSet::new();
        let (mut number, mut read) = (1, 0);
        loop {
            let page = self.feed_page(owner, number, ROWS)?;
            read += page.rows.len() as u64;
            let is_last = page.rows.is_empty() || read >= page.total;
            names.extend(page.rows.into_iter().map(|row| row.name));
            if is_last {
                break;
            }
            number += 1;
        }
        Ok(names.iter().filter_map(|name| Repository::new(&format!("{owner}/{name}")).ok()).collect())
    }
}
