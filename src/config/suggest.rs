//! The known name that a misspelt one probably means.

/// The known name that was probably intended, else all known names.
pub(crate) fn suggest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> String {
    const MOST: usize = 40;
    let mut known: Vec<&str> = known.collect();
    known.sort_unstable();
    match nearest(name, &known).first() {
        Some(nearest) => format!("did you mean {nearest}?"),
        None if known.is_empty() => String::new(),
        None if known.len() > MOST => {
            format!("known: {} and {} more", known[..MOST].join(", "), known.len() - MOST)
        }
        None => format!("known: {}", known.join(", ")),
    }
}

/// The known names nearest to this one, at most three.
pub(crate) fn nearest<'k>(name: &str, known: &[&'k str]) -> Vec<&'k str> {
    const MOST: usize = 3;
    /// The time to compare two names grows with the product of their lengths.
    const LONGEST: usize = 200;
    if name.len() > LONGEST {
        return Vec::new();
    }
    let distance = |known: &&'k str| {
        let distance = strsim::damerau_levenshtein(name, known);
        // A different first letter needs more similarity: it is more likely to be another word.
        let third = match name.chars().next() == known.chars().next() {
            true => known.len().max(name.len()).div_ceil(3),
            false => known.len().max(name.len()) / 3,
        };
        let is_near = distance <= third.max(1)
            || (!name.is_empty() && (name.starts_with(known) || known.starts_with(name)));
        is_near.then_some((distance, *known))
    };
    let mut near: Vec<(usize, &str)> = known.iter().filter_map(distance).collect();
    near.sort_by_key(|(distance, _)| *distance);
    let farthest = near.first().map_or(0, |(distance, _)| distance + 1);
    near.into_iter()
        .take_while(|(distance, _)| *distance <= farthest)
        .take(MOST)
        .map(|(_, name)| name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested() {
        let known = ["interval", "image", "tags"];
        assert_eq!(suggest("intervall", known.into_iter()), "did you mean interval?");
        assert_eq!(suggest("tag", known.into_iter()), "did you mean tags?");
        assert_eq!(suggest("zzzzzzzzz", known.into_iter()), "known: image, interval, tags");
    }

    #[test]
    fn names_of_similar_distance_are_all_suggested() {
        let known = ["blog/dev", "shop", "shop/dev", "shop/dev2", "shop/prod"];
        assert_eq!(nearest("shop/de", &known), ["shop/dev", "shop/dev2"]);
        assert_eq!(nearest("shop/prd", &known), ["shop/prod"]);
        assert_eq!(nearest("Shop/Prod", &known), ["shop/prod"]);
        assert_eq!(nearest("warehouse", &known), [""; 0]);
    }
}
