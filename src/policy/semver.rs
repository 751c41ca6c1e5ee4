//! Order `semver`: <https://semver.org/spec/v2.0.0.html>, with an optional leading `v`.

use std::fmt;

use strum::{EnumString, IntoStaticStr, VariantNames};

/// A version without its build metadata, which precedence ignores: so equal keys are equal versions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(::semver::Version);

/// How far apart two versions are: the first of their numbers that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum Bump {
    Patch,
    Minor,
    Major,
}

impl fmt::Display for Bump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.into())
    }
}

impl Version {
    /// `1.2.3`, `v1.2.3-rc.1`, `V1.2.3+build`. Versions are not coerced: None for `1.2`, `2025.08.05` (a
    /// leading zero) and `17-alpine`, and for a number above 2^64 - 1 (the numeric order can compare it).
    ///
    /// A tag cannot contain `+`: Helm writes the build metadata of a chart after a `_`.
    pub(super) fn parse(text: &str) -> Option<Version> {
        let bare = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let mut version = match bare.split_once('_') {
            Some((version, build)) => ::semver::Version::parse(&format!("{version}+{build}")),
            None => ::semver::Version::parse(bare),
        }
        .ok()?;
        version.build = ::semver::BuildMetadata::EMPTY;
        Some(Version(version))
    }

    pub(super) fn is_prerelease(&self) -> bool {
        !self.0.pre.is_empty()
    }

    pub(super) fn as_semver(&self) -> &::semver::Version {
        &self.0
    }

    pub(super) fn distance(&self, other: &Version) -> Bump {
        if self.0.major != other.0.major {
            Bump::Major
        } else if self.0.minor != other.0.minor {
            Bump::Minor
        } else {
            Bump::Patch
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap_or_else(|| panic!("{text} does not parse"))
    }

    #[test]
    fn versions_are_ordered_by_the_precedence_of_the_specification() {
        let rising = [
            "0.0.0-0",
            "0.0.0",
            "0.0.1",
            "0.9.9",
            "0.10.0",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0-rc10",
            "1.0.0-rc9",
            "1.0.0",
            "1.9.0",
            "1.10.0",
            "2.0.0-99999999999999999999999",
            "2.0.0",
            "18446744073709551615.0.0",
        ];
        for pair in rising.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{} < {}", pair[0], pair[1]);
        }
    }

    #[test]
    fn a_leading_v_and_build_metadata_do_not_count() {
        for (left, right) in [
            ("1.2.3", "v1.2.3"),
            ("V1.2.3", "v1.2.3"),
            ("1.2.3+a", "1.2.3+b"),
            ("1.2.3-a+1", "1.2.3-a"),
            ("1.2.3_build", "1.2.3"),
            ("v1.2.3-rc.1_build.7", "1.2.3-rc.1"),
            ("1.2.3_9", "1.2.3_10"),
        ] {
            assert_eq!(version(left), version(right), "{left} = {right}");
            assert!(version(left) <= version(right) && version(left) >= version(right), "{left} = {right}");
        }
    }

    #[test]
    fn nothing_is_coerced() {
        for text in [
            "",
            "v",
            "1",
            "1.2",
            "v1.2",
            "1.2.3.4",
            "01.2.3",
            "2025.08.05",
            "17-alpine",
            "vv1.2.3",
            "v.1.2.3",
            "v-1.2.3",
            "1.2.3-",
            "1.2.3-01",
            "1.2.3-a..b",
            "1.2.3_",
            "1.2.3_a_b",
            "1.2.3+a_b",
            "1.2_a",
            "1.2.x",
            "1.2.*",
            " 1.2.3",
            "1.2.3 ",
            "latest",
            "18446744073709551616.0.0",
        ] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_distance_is_the_first_number_that_differs() {
        for (from, to, distance) in [
            ("1.2.3", "2.0.0", Bump::Major),
            ("2.0.0", "1.2.3", Bump::Major),
            ("1.2.3", "2.2.3", Bump::Major),
            ("1.2.3", "1.3.0", Bump::Minor),
            ("0.1.0", "0.2.0", Bump::Minor),
            ("1.2.3", "1.2.4", Bump::Patch),
            ("1.2.3-rc.1", "1.2.3", Bump::Patch),
            ("1.2.3", "1.2.3", Bump::Patch),
        ] {
            assert_eq!(version(from).distance(&version(to)), distance, "{from} to {to}");
        }
        assert!(Bump::Major > Bump::Minor && Bump::Minor > Bump::Patch);
    }

    #[test]
    fn a_version_prints_without_v_and_build() {
        assert_eq!(version("v1.2.3-rc.1+build").to_string(), "1.2.3-rc.1");
    }
}
