//! Tables with `images`: makes projects of an owner's images, and names them. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use wildmatch::WildMatch;

use crate::reference::{ImageRef, Repository};
use crate::target::{Name, Target, TargetId};

/// `[projects.NAME]` with `images`: the stages of every matching image.
#[derive(Debug)]
pub(crate) struct ImageTable {
    pub(crate) name: Name,
    pub(crate) registry: Name,
    /// The registry's address, as stored in the state.
    pub(crate) address: String,
    /// Host and port, as container engines write them.
    pub(crate) host: String,
    /// The globs, each with a literal owner.
    pub(crate) images: Vec<String>,
    pub(crate) exclude: Vec<String>,
    /// The stages as written, with the table's name as project and an owner as image.
    pub(crate) stages: Vec<Target>,
    /// The number of targets that are written before the table.
    pub(crate) place: usize,
}

impl ImageTable {
    /// The owners in the globs.
    pub(crate) fn owners(&self) -> BTreeSet<&str> {
        self.images.iter().filter_map(|glob| glob.split_once('/')).map(|(owner, _)| owner).collect()
    }

    /// The table's images in messages: `acme/*`.
    pub(crate) fn globs(&self) -> String {
        self.images.join(", ")
    }
}

/// The globs of a table, ready to match many images.
pub(crate) struct Matcher<'t> {
    table: &'t ImageTable,
    images: Vec<WildMatch>,
    exclude: Vec<WildMatch>,
}

impl<'t> Matcher<'t> {
    pub(crate) fn of(table: &'t ImageTable) -> Matcher<'t> {
        let ready = |globs: &[String]| globs.iter().map(|glob| WildMatch::new(glob)).collect();
        Matcher { table, images: ready(&table.images), exclude: ready(&table.exclude) }
    }

    /// Whether the image becomes a project of the table.
    pub(crate) fn takes(&self, image: &KnownImage) -> bool {
        self.table.address == image.registry && self.may_take(&image.repository)
    }

    /// The same for an image of the table's registry.
    pub(crate) fn may_take(&self, image: &Repository) -> bool {
        let matches = |globs: &[WildMatch]| globs.iter().any(|glob| glob.matches(image.as_str()));
        matches(&self.images) && !matches(&self.exclude)
    }
}

/// An image that a registry has listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownImage {
    /// The registry's address.
    pub(crate) registry: String,
    pub(crate) repository: Repository,
    /// When it was reported as a new project; None: not yet.
    pub(crate) reported_at: Option<Timestamp>,
    /// When the first list without it was read; None: the last list has it.
    pub(crate) missing_since: Option<Timestamp>,
    /// When it was retired.
    pub(crate) retired_at: Option<Timestamp>,
}

/// A project that a table has made of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Discovered {
    /// The name of the table.
    pub(crate) table: Name,
    /// The registry's address.
    pub(crate) registry: String,
    pub(crate) image: ImageRef,
    /// Whether it is not reported yet.
    pub(crate) is_new: bool,
}

/// The targets and projects of all tables.
#[derive(Debug, Default)]
pub(crate) struct Expansion {
    /// All targets: the written ones, and those of images in the place of their table.
    pub(crate) targets: Vec<Target>,
    /// The projects made of images.
    pub(crate) projects: BTreeMap<Name, Discovered>,
    /// The problems with the images of a table, by the table's name.
    pub(crate) faults: BTreeMap<Name, Vec<String>>,
}

/// Makes targets of the known images. `written`: the targets of projects with `image`. `address`: the address
/// of a registry.
pub(crate) fn expand(
    tables: &[ImageTable],
    written: Vec<Target>,
    address: impl Fn(&Name) -> String,
    known: &[KnownImage],
) -> Expansion {
    let mut expansion = Expansion::default();
    let mut names = Names::new(tables, &written);
    let own: HashSet<(String, &Repository)> =
        written.iter().map(|target| (address(&target.registry), &target.image.repository)).collect();
    // Images that were already reported keep their names.
    let mut known: Vec<&KnownImage> = known.iter().filter(|image| image.retired_at.is_none()).collect();
    known.sort_by_key(|image| (image.reported_at.is_none(), &image.repository));
    let matchers: Vec<Matcher<'_>> = tables.iter().map(Matcher::of).collect();
    let mut of_tables: Vec<Vec<Target>> = tables.iter().map(|_| Vec::new()).collect();
    for image in known {
        let is_own = own.contains(&(image.registry.clone(), &image.repository));
        let mut takers = matchers
            .iter()
            .zip(tables)
            .enumerate()
            .filter(|(_, (matcher, _))| !is_own && matcher.takes(image));
        let Some((place, (_, table))) = takers.next() else { continue };
        for (_, (_, other)) in takers {
            let fault = format!(
                "{} is also in `images` of projects.{}; exclude it from one of them: exclude_images = [\"{}\"]",
                image.repository, table.name, image.repository
            );
            expansion.faults.entry(other.name.clone()).or_default().push(fault);
        }
        match names.give(&image.repository) {
            Ok(name) => {
                let image_ref = ImageRef { host: table.host.clone(), repository: image.repository.clone() };
                let target = |stage: &Target| Target {
                    id: TargetId { project: name.clone(), stage: stage.id.stage.clone() },
                    image: image_ref.clone(),
                    ..stage.clone()
                };
                of_tables[place].extend(table.stages.iter().map(target));
                let discovered = Discovered {
                    table: table.name.clone(),
                    registry: image.registry.clone(),
                    image: image_ref,
                    is_new: image.reported_at.is_none(),
                };
                expansion.projects.insert(name, discovered);
            }
            Err(fault) => expansion.faults.entry(table.name.clone()).or_default().push(fault),
        }
    }
    let order = |targets: &mut Vec<Target>| targets.sort_by(|a, b| a.id.project.cmp(&b.id.project));
    of_tables.iter_mut().for_each(order);
    expansion.targets = in_places(tables, written, of_tables);
    expansion
}

fn in_places(tables: &[ImageTable], written: Vec<Target>, of_tables: Vec<Vec<Target>>) -> Vec<Target> {
    let mut targets = Vec::with_capacity(written.len() + of_tables.iter().map(Vec::len).sum::<usize>());
    let mut written = written.into_iter().enumerate().peekable();
    for (table, of_table) in tables.iter().zip(of_tables) {
        while let Some((_, target)) = written.next_if(|(place, _)| *place < table.place) {
            targets.push(target);
        }
        targets.extend(of_table);
    }
    targets.extend(written.map(|(_, target)| target));
    targets
}

/// The names of projects, and the owner of each name.
struct Names {
    /// The owner of a name, in messages.
    taken: HashMap<String, String>,
}

impl Names {
    fn new(tables: &[ImageTable], written: &[Target]) -> Names {
        let of_tables = tables.iter().map(|table| &table.name);
        let own = written.iter().map(|target| &target.id.project);
        let taken = own.chain(of_tables).map(|name| (name.to_string(), format!("projects.{name}"))).collect();
        Names { taken }
    }

    fn give(&mut self, repository: &Repository) -> Result<Name, String> {
        const CURE: &str = "write a project with image for it, or exclude it";
        let path = project_name(repository);
        let exclude = format!("exclude_images = [\"{repository}\"]");
        let name = Name::new(&path)
            .map_err(|error| format!("{repository} gives no project name: {error}; {CURE}: {exclude}"))?;
        if let Some(taker) = self.taken.get(&path) {
            return Err(format!(
                "{repository} gives the project name {path:?}, which {taker} already has; {CURE}: {exclude}"
            ));
        }
        self.taken.insert(path, repository.to_string());
        Ok(name)
    }
}

/// The path after the owner, with `-` for each `/`.
pub(crate) fn project_name(repository: &Repository) -> String {
    repository.name().unwrap_or(repository.as_str()).replace('/', "-")
}
