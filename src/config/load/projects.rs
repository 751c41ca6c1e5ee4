//! The projects of a configuration, with the stages of each.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::Loader;
use crate::config::key::Section;
use crate::config::read::{Field, Table};
use crate::config::stage::{Defaults, Stage};
use crate::config::variable::{in_scope, read_vars, texts};
use crate::config::{RegistryConfig, RegistryKind, SecretSource};
use crate::images;
use crate::reference::{ImageRef, Repository};
use crate::target::template::{Scope, SecretId};
use crate::target::{Name, Target, TargetId, Vars};

impl<'a> Loader<'a> {
    pub(super) fn projects(
        &self,
        registries: &BTreeMap<Name, Option<RegistryConfig>>,
        secrets: &mut BTreeMap<SecretId, SecretSource>,
        defaults: &Defaults<'a>,
        interval: Duration,
    ) -> (Vec<Target>, Vec<images::ImageTable>) {
        let entries = self.named("projects");
        if entries.is_empty() {
            self.main.fault_at(
                0,
                "requires at least one project",
                "write [projects.shop] with registry, image and stages",
            );
        }
        let named_secrets = self.named_secrets();
        // A stage without a valid registry or image is still read, to report its own errors.
        let unknown = RegistryConfig::unknown();
        let placeholder =
            ImageRef { host: String::new(), repository: Repository::new("unknown").expect("a valid name") };
        let (mut targets, mut tables): (Vec<Target>, Vec<images::ImageTable>) = (Vec::new(), Vec::new());
        for (name, field) in entries {
            let Some(table) = field.table(Section::Project) else {
                continue;
            };
            let registry = self.registry_of(&table, registries);
            let images = crate::config::images::read(&table, registry);
            let image = match &images {
                Some(images) => images.as_ref().and_then(|images| images.stand_in(registry?)),
                None => self.image_of(&table, registry),
            };
            let vars = read_vars(table.get("vars").as_ref(), || name.to_string(), secrets);
            // A configuration may have thousands of projects and stages.
            let (shared_vars, shared_texts) = (Rc::new(in_scope(&vars)), Arc::new(texts(&vars)));
            let Some(stages) =
                table.get("stages").and_then(|field| field.any_table()).filter(|stages| !stages.is_empty())
            else {
                table.requires("stages", format!("write [{}.stages.dev]", table.path));
                continue;
            };
            let mut of_project = Vec::new();
            for (text, at, field) in stages.placed_fields() {
                let Some(stage) = field.table(Section::Stage) else {
                    continue;
                };
                let stage_name = match Name::new(text) {
                    Ok(name) => name,
                    Err(error) => {
                        stages.fault_at(at, error.to_string(), "");
                        continue;
                    }
                };
                let whose = || format!("{name}/{stage_name}");
                let own = read_vars(stage.get("vars").as_ref(), whose, secrets);
                let scope = Scope {
                    fields: &[],
                    vars: in_scope(&own),
                    shared_vars: Rc::clone(&shared_vars),
                    secrets: Rc::clone(&named_secrets),
                };
                let vars = Vars { shared: Arc::clone(&shared_texts), own: texts(&own) };
                let id = TargetId { project: name.clone(), stage: stage_name };
                let stage = Stage {
                    table: stage,
                    defaults,
                    registry: registry.unwrap_or(&unknown),
                    scope: &scope,
                    interval,
                };
                let image_or_placeholder = image.as_ref().unwrap_or(&placeholder).clone();
                let target = stage.read(id, image_or_placeholder, vars);
                of_project.extend(target.filter(|_| registry.is_some() && image.is_some()));
            }
            self.check_after(&stages, &of_project);
            match (images, registry) {
                (Some(Some(images)), Some(registry)) => {
                    tables.push(images.into_table(name, registry, of_project, targets.len()));
                }
                _ => targets.extend(of_project),
            }
        }
        (targets, tables)
    }

    fn registry_of<'r>(
        &self,
        table: &Table<'_>,
        registries: &'r BTreeMap<Name, Option<RegistryConfig>>,
    ) -> Option<&'r RegistryConfig> {
        let known = || registries.keys().map(Name::as_str);
        let Some(field) = table.get("registry") else {
            let help = match registries.len() {
                1 => known().map(|name| format!("write registry = {name:?}")).collect(),
                _ => self.found.suggest("", known()),
            };
            table.requires("registry", help);
            return None;
        };
        let text = field.some_text()?;
        match Name::new(text).ok().and_then(|name| registries.get(&name)) {
            Some(registry) => registry.as_ref(),
            // If the configuration has no registry, that is the only error.
            None if registries.is_empty() => None,
            None => {
                field.fault(format!("unknown registry {text:?}"), self.found.suggest(text, known()));
                None
            }
        }
    }

    fn image_of(&self, table: &Table<'_>, registry: Option<&RegistryConfig>) -> Option<ImageRef> {
        let Some(field) = table.get("image") else {
            table.requires(
                "image",
                "write image = \"owner/name\", or images = \"owner/*\" for all images of an owner",
            );
            return None;
        };
        let text = field.some_text()?;
        let repository = match Repository::new(text) {
            Ok(repository) => repository,
            Err(error) => {
                field.fault(error.to_string(), image_help(&field, text));
                return None;
            }
        };
        let registry = registry?;
        let has_owners = matches!(registry.kind, RegistryKind::Gitea | RegistryKind::Github);
        if has_owners && repository.name().is_none() {
            let owner = format!("\"OWNER/{}\"", repository.as_str());
            field.fault(format!("{:?} has no owner", repository.as_str()), field.write(owner));
            return None;
        }
        let image = ImageRef { host: registry.host(), repository };
        if let Some((host, rest)) = image.behind_host() {
            field.warning(format!("{host:?} looks like a host"), field.write(format!("{rest:?}")));
        }
        Some(image)
    }
}

/// The corrected image, if it is known: `acme/shop` for `git.example.com:3000/acme/Shop:v1`.
fn image_help(field: &Field<'_>, text: &str) -> String {
    match Repository::within(text) {
        Some(image) => field.write(format!("{:?}", image.as_str())),
        None => "write it without host and tag, such as \"acme/shop\"".to_owned(),
    }
}
