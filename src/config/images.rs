//! `images` and `exclude_images` of a project.

use super::read::{Field, Table};
use super::{RegistryConfig, RegistryKind};
use crate::images;
use crate::reference::{ImageRef, Repository, behind_host};
use crate::target::{Name, Target};

/// The globs of a table with `images`; at least one, each with a literal owner.
pub(super) struct Images {
    images: Vec<String>,
    exclude: Vec<String>,
}

/// Reads `images`. None: the table has no `images`; `Some(None)`: they have an error.
pub(super) fn read(table: &Table<'_>, registry: Option<&RegistryConfig>) -> Option<Option<Images>> {
    let field = table.get("images")?;
    if let Some(image) = table.get("image") {
        image.fault("cannot be used with `images`", "remove one of them");
    }
    let images = globs(&field, |item, glob| is_of_owner(item, glob, registry));
    let exclude = table.get("exclude_images").map_or(Some(Vec::new()), |field| globs(&field, can_exclude));
    let empty = images.as_ref().is_some_and(Vec::is_empty);
    if empty {
        field.fault("expected at least one glob", "write images = \"owner/*\"");
    }
    Some(images.zip(exclude).filter(|_| !empty).map(|(images, exclude)| Images { images, exclude }))
}

impl Images {
    /// A substitute for an image, so that the stages are checked: the owner of the first glob.
    pub(super) fn stand_in(&self, registry: &RegistryConfig) -> Option<ImageRef> {
        let (owner, _) = self.images.first()?.split_once('/')?;
        Some(ImageRef { host: registry.host(), repository: Repository::new(owner).ok()? })
    }

    pub(super) fn into_table(
        self,
        name: Name,
        registry: &RegistryConfig,
        stages: Vec<Target>,
        place: usize,
    ) -> images::ImageTable {
        images::ImageTable {
            name,
            registry: registry.name.clone(),
            address: registry.location.to_string(),
            host: registry.host(),
            images: self.images,
            exclude: self.exclude,
            stages,
            place,
        }
    }
}

/// One glob, or a list of them, each of which could match an image.
fn globs(field: &Field<'_>, check: impl Fn(&Field<'_>, &str) -> bool) -> Option<Vec<String>> {
    let items = if field.is_list() { field.list()? } else { vec![field.clone()] };
    let globs: Vec<Option<String>> = items
        .iter()
        .map(|item| {
            let glob = item.some_text()?;
            (is_of_names(item, glob) && check(item, glob)).then(|| glob.to_owned())
        })
        .collect();
    globs.into_iter().collect()
}

/// Reports a glob with characters that no image name contains.
fn is_of_names(item: &Field<'_>, glob: &str) -> bool {
    if glob.bytes().any(|byte| byte.is_ascii_uppercase()) {
        let message = format!("{glob:?} matches no image: image names are in lower case");
        item.fault(message, item.write(format!("{:?}", glob.to_ascii_lowercase())));
        return false;
    }
    let is_of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/*?".contains(c);
    if !glob.chars().all(is_of_name) || glob.starts_with('/') || glob.contains("//") || glob.ends_with('/') {
        let message = format!("{glob:?} matches no image");
        item.fault(message, "write it without host and tag, such as \"acme/*\"");
        return false;
    }
    true
}

/// Reports a glob whose owner is not literal: a registry lists images by owner.
fn is_of_owner(item: &Field<'_>, glob: &str, registry: Option<&RegistryConfig>) -> bool {
    let owner = glob.split_once('/').map(|(owner, _)| owner);
    if owner.is_none_or(|owner| Repository::new(owner).is_err()) {
        let rest = glob.rsplit('/').next().unwrap_or("*");
        item.fault(
            format!("{glob:?} does not name an owner, and a registry lists images by their owner"),
            format!("write \"OWNER/{rest}\", or a list with a glob for each owner"),
        );
        return false;
    }
    let is_folder = registry.is_some_and(|found| found.kind == RegistryKind::OciLayout);
    let host = registry.map(RegistryConfig::host).unwrap_or_default();
    if !is_folder && let Some((host, rest)) = behind_host(&host, glob) {
        item.warning(format!("{host:?} looks like a host"), item.write(format!("{rest:?}")));
    }
    true
}

/// Reports a glob that has neither an owner nor a `*` in its place.
fn can_exclude(item: &Field<'_>, glob: &str) -> bool {
    if glob.contains(['/', '*']) {
        return true;
    }
    let message = format!("{glob:?} matches no image: an image name includes its owner");
    item.fault(message, item.write(format!("{:?}", format!("*/{glob}"))));
    false
}
