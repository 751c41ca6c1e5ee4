//! All targets: a matrix of projects and stages.

use std::collections::HashMap;

use maud::{Markup, html};

use super::word::{Words, badge, tag_of, tone_of};
use crate::engine::Status;
use crate::report::StatusRow;
use crate::target::Name;

/// With more stage names than this, most cells would be empty, so each target has its own line.
const MOST_COLUMNS: usize = 12;

struct Project<'a> {
    name: &'a Name,
    rows: Vec<&'a StatusRow>,
}

pub(super) fn section(words: &Words<'_>, rows: &[StatusRow]) -> Markup {
    let projects = by_project(rows);
    let stages = stages(&projects);
    html! {
        section aria-labelledby="targets" {
            h2 id="targets" { "All targets" }
            @if rows.is_empty() {
                p.note { "No targets." }
            } @else {
                div.scroll role="region" aria-labelledby="targets" tabindex="0" {
                    @if stages.len() > MOST_COLUMNS { (list(words, rows)) } @else { (table(words, &projects, &stages)) }
                }
            }
        }
    }
}

fn by_project(rows: &[StatusRow]) -> Vec<Project<'_>> {
    let mut projects: Vec<Project<'_>> = Vec::new();
    let mut places: HashMap<&Name, usize> = HashMap::new();
    for row in rows {
        let name = &row.target.project;
        let place = *places.entry(name).or_insert_with(|| {
            projects.push(Project { name, rows: Vec::new() });
            projects.len() - 1
        });
        projects[place].rows.push(row);
    }
    projects
}

/// The names of all stages, in an order that follows the order of each project if possible: a new name is
/// inserted after the name before it in its project.
fn stages<'a>(projects: &[Project<'a>]) -> Vec<&'a Name> {
    let mut names: Vec<&Name> = Vec::new();
    for project in projects {
        let mut place = 0;
        for row in &project.rows {
            let name = &row.target.stage;
            match names.iter().position(|known| *known == name) {
                Some(known) => place = known + 1,
                None => {
                    names.insert(place, name);
                    place += 1;
                }
            }
        }
    }
    names
}

fn table(words: &Words<'_>, projects: &[Project<'_>], stages: &[&Name]) -> Markup {
    html! {
        table.matrix {
            thead {
                tr {
                    th scope="col" { "Project" }
                    @for stage in stages { th scope="col" { (stage) } }
                }
            }
            tbody {
                @for project in projects {
                    tr {
                        th scope="row" { (project.name) }
                        @for stage in stages {
                            @match project.rows.iter().find(|row| row.target.stage == **stage) {
                                Some(row) => (cell(words, row)),
                                None => td.none {
                                    span aria-hidden="true" { "–" }
                                    span.unseen { "no such stage" }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn list(words: &Words<'_>, rows: &[StatusRow]) -> Markup {
    html! {
        table.matrix {
            thead { tr { th scope="col" { "Target" } th scope="col" { "Has" } } }
            tbody {
                @for row in rows { tr { th scope="row" { (row.target) } (cell(words, row)) } }
            }
        }
    }
}

fn cell(words: &Words<'_>, row: &StatusRow) -> Markup {
    let newest = row.latest_tag.as_ref().filter(|newest| Some(*newest) != row.deployed_tag.as_ref());
    html! {
        td class=(tone_of(row.status).class()) {
            @if let Some(tag) = &row.deployed_tag {
                (tag_of(row, tag))
                @if let Some(at) = row.deployed_at { " " (words.age(at)) }
            } @else if let Some(tag) = newest {
                // Found by a first poll; what the stage runs is unknown.
                span.guess { (tag_of(row, tag)) }
                @if let Some(at) = row.polled_at { " " span.seen { "seen " (words.age(at)) } }
            }
            div {
                (badge(row.status))
                @if row.hold.is_some() && row.status != Some(Status::Held) { " " span.held { "held" } }
            }
            @if let (Some(newest), Some(_)) = (newest, &row.deployed_tag) {
                div.newest { "newest " (tag_of(row, newest)) }
            }
            @if let Some(file) = &row.state_file { div.newest { "from " (words.text(file)) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::html::tests::row;

    #[test]
    fn stages_keep_the_order_of_each_project() {
        let rows = ["a/dev", "a/prod", "b/dev", "b/staging", "b/prod", "c/edge", "c/dev", "d/lab"].map(row);
        let projects = by_project(&rows);
        let names: Vec<&str> = stages(&projects).into_iter().map(Name::as_str).collect();
        assert_eq!(names, ["lab", "edge", "dev", "staging", "prod"]);
    }
}
