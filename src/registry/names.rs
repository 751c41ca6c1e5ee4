//! Names of images from the numbered pages of a service's API.

use std::collections::BTreeSet;

use super::RegistryError;
use super::answer::Answer;
use crate::reference::Repository;

/// One page of names.
pub(super) struct NamesPage {
    /// Each name includes its owner.
    pub(super) names: Vec<String>,
    pub(super) is_last: bool,
}

/// More pages than any owner has, so that endless pages are not read for ever.
const MOST_PAGES: usize = 10_000;

/// The owner's images from all pages. `what`: their description in errors; `read`: reads the page with a
/// number, from 1.
pub(super) fn images_of(
    owner: &str,
    what: &str,
    mut read: impl FnMut(usize) -> Result<NamesPage, RegistryError>,
) -> Result<Vec<Repository>, RegistryError> {
    let own = format!("{owner}/");
    let mut names = BTreeSet::new();
    for number in 1..=MOST_PAGES {
        let page = read(number)?;
        let has_names = !page.names.is_empty();
        let before = names.len();
        names.extend(page.names);
        if page.is_last {
            let of_owner = names.iter().filter(|name| name.starts_with(&own));
            return Ok(of_owner.filter_map(|name| Repository::new(name).ok()).collect());
        }
        // A server that ignores the number would return the same page for ever.
        if !has_names || names.len() == before {
            break;
        }
    }
    Err(RegistryError::Protocol(format!("the pages of {what} repeat, or have no end")))
}

/// Whether `Link` names a next page.
pub(super) fn has_next(answer: &Answer) -> bool {
    answer.header("link").is_some_and(|link| link.contains("rel=\"next\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(pages: &[(&[&str], bool)]) -> Result<Vec<String>, String> {
        let read = |number: usize| {
            let (names, is_last) = pages[(number - 1).min(pages.len() - 1)];
            Ok(NamesPage { names: names.iter().map(|name| (*name).to_owned()).collect(), is_last })
        };
        let images = images_of("acme", "the images of acme", read).map_err(|error| error.to_string())?;
        Ok(images.iter().map(|image| image.as_str().to_owned()).collect())
    }

    #[test]
    fn images_come_from_all_pages_and_a_part_is_an_error() {
        let listed = images(&[(&["acme/b", "beta/x"], false), (&["acme/b", "acme/a", "acme/No"], true)]);
        assert_eq!(listed.unwrap(), ["acme/a", "acme/b"]);
        for pages in [&[(&["acme/a"][..], false)][..], &[(&[], false)]] {
            assert_eq!(images(pages).unwrap_err(), "the pages of the images of acme repeat, or have no end");
        }
    }
}
