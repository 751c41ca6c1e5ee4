//! Reads an API that lists tags with their push times, page by page, newest first.

use std::collections::HashSet;

use jiff::Timestamp;

use super::RegistryError;
use crate::reference::{ListedTag, Tag};

/// One page of such an API.
pub(super) struct TimedPage {
    /// The tags, each with its push time.
    pub(super) tags: Vec<ListedTag>,
    /// The total of all pages, if the server reports it.
    pub(super) total: Option<u64>,
    pub(super) is_last: bool,
}

/// Pages of tags in order, newest push first.
pub(super) trait Pages {
    /// The tags of the next page that were on no earlier page, and whether it is the last page.
    fn next_page(&mut self) -> Result<(Vec<ListedTag>, bool), RegistryError>;
}

/// The tags of all pages. Each page is read when it is needed. An error is the last item.
pub(super) struct Walk<P> {
    pages: P,
    ready: std::vec::IntoIter<ListedTag>,
    over: bool,
}

impl<P: Pages> Walk<P> {
    pub(super) fn new(pages: P) -> Walk<P> {
        Walk { pages, ready: Vec::new().into_iter(), over: false }
    }
}

impl<P: Pages> Iterator for Walk<P> {
    type Item = Result<ListedTag, RegistryError>;

    /// At least the rest of the current page.
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.ready.len(), None)
    }

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(listed) = self.ready.next() {
                return Some(Ok(listed));
            }
            if self.over {
                return None;
            }
            match self.pages.next_page() {
                Ok((tags, is_last)) => (self.ready, self.over) = (tags.into_iter(), is_last),
                Err(error) => {
                    self.over = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

/// Pages by number, checked to be sorted newest first.
pub(super) struct Numbered<'a> {
    /// Reads the page of this number, from 1.
    read: Box<dyn FnMut(usize) -> Result<TimedPage, RegistryError> + 'a>,
    /// The description of the list in errors.
    what: String,
    number: usize,
    total: Option<u64>,
    /// The time of the previous tag.
    earlier: Option<Timestamp>,
    seen: HashSet<Tag>,
}

impl<'a> Numbered<'a> {
    pub(super) fn new(
        what: String,
        read: impl FnMut(usize) -> Result<TimedPage, RegistryError> + 'a,
    ) -> Numbered<'a> {
        Numbered { read: Box::new(read), what, number: 1, total: None, earlier: None, seen: HashSet::new() }
    }
}

impl Pages for Numbered<'_> {
    fn next_page(&mut self) -> Result<(Vec<ListedTag>, bool), RegistryError> {
        let page = (self.read)(self.number)?;
        if self.number > 1 && page.total != self.total {
            // A deletion during the listing moved other tags to a page that was already read.
            return Err(RegistryError::Unavailable(format!(
                "{} changed during the listing; will retry at the next poll",
                self.what
            )));
        }
        let has_tags = !page.tags.is_empty();
        // A push during the listing moved the last tag of the previous page onto this one.
        let new: Vec<ListedTag> =
            page.tags.into_iter().filter(|listed| self.seen.insert(listed.tag.clone())).collect();
        if has_tags && new.is_empty() && !page.is_last {
            // A server that ignores the number would return the same page for ever.
            return Err(RegistryError::Protocol(format!("the pages of {} repeat", self.what)));
        }
        let times = self.earlier.into_iter().chain(new.iter().filter_map(|listed| listed.pushed_at));
        if !times.is_sorted_by(|one, other| one >= other) {
            return Err(RegistryError::Protocol(format!("{} are not sorted newest first", self.what)));
        }
        self.earlier = new.last().and_then(|listed| listed.pushed_at).or(self.earlier);
        self.total = page.total;
        self.number += 1;
        Ok((new, page.is_last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page of `tag second` words.
    fn page(words: &str, total: u64, is_last: bool) -> TimedPage {
        let words: Vec<&str> = words.split_whitespace().collect();
        let tag = |pair: &[&str]| ListedTag {
            pushed_at: Some(Timestamp::from_second(pair[1].parse().unwrap()).unwrap()),
            ..ListedTag::named(Tag::new(pair[0]).unwrap())
        };
        TimedPage { tags: words.chunks(2).map(tag).collect(), total: Some(total), is_last }
    }

    fn walk(pages: &[(&'static str, u64)]) -> Vec<String> {
        let last = pages.len();
        let read = |number: usize| Ok(page(pages[number - 1].0, pages[number - 1].1, number == last));
        let shown = |item: Result<ListedTag, RegistryError>| match item {
            Ok(listed) => listed.tag.to_string(),
            Err(error) => error.to_string(),
        };
        Walk::new(Numbered::new("the tags of acme/shop".to_owned(), read)).map(shown).collect()
    }

    #[test]
    fn tags_come_from_all_pages_and_each_once() {
        assert_eq!(walk(&[("c 3 b 2", 3), ("b 2 a 1", 3)]), ["c", "b", "a"]);
        assert_eq!(walk(&[("", 0)]), [""; 0]);
        assert_eq!(walk(&[("b 2", 2), ("", 2), ("a 2", 2)]), ["b", "a"]);
    }

    #[test]
    fn an_unsorted_list_and_a_change_during_the_listing_are_errors() {
        let wrong = "the tags of acme/shop are not sorted newest first";
        assert_eq!(walk(&[("a 1 b 2", 2)]), [wrong]);
        assert_eq!(walk(&[("b 2", 2), ("c 3", 2)]), ["b", wrong]);
        assert_eq!(
            walk(&[("b 2 a 1", 2), ("b 2 a 1", 2), ("", 2)]),
            ["b", "a", "the pages of the tags of acme/shop repeat"]
        );
        let changed = "the tags of acme/shop changed during the listing; will retry at the next poll";
        assert_eq!(walk(&[("b 2", 2), ("a 1", 1)]), ["b", changed]);
    }
}
