//! The documentation as pages of the site, in www/dist/docs: each Markdown page in the frame of www/docs.html.
//!
//! The same files are read on the forge, so links between them name `.md` files; here they lead to the pages made of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

use super::fingerprint::{Fingerprint, files_below};
use crate::workspace::Workspace;

/// The pages that are not in docs/, by the name of their page.
const ELSEWHERE: [(&str, &str); 4] = [
    ("architecture", "ARCHITECTURE.md"),
    ("protocol", "PROTOCOL.md"),
    ("changelog", "CHANGELOG.md"),
    ("package", "www/README.md"),
];
/// The page of the folder itself.
const INDEX: &str = "README";

/// What the pages are made of.
pub(super) fn inputs(workspace: &Workspace, mut print: Fingerprint) -> Result<Fingerprint> {
    print = print.file(&frame(workspace))?;
    for source in sources(workspace)?.values() {
        print = print.file(source)?;
    }
    Ok(print)
}

/// Writes all pages into a folder.
pub(super) fn build(workspace: &Workspace, folder: &Path) -> Result<()> {
    let sources = sources(workspace)?;
    let frame = fs::read_to_string(frame(workspace))?;
    fs::create_dir_all(folder)?;
    for (name, source) in &sources {
        let at = || source.display().to_string();
        let text = fs::read_to_string(source).with_context(at)?;
        let (title, body) = rendered(&text, |target| page_of(target, &sources));
        ensure!(!title.is_empty(), "{} has no title", at());
        let page = frame.replace("{{TITLE}}", &title).replace("{{BODY}}", &body);
        fs::write(folder.join(format!("{name}.html")), page).with_context(at)?;
    }
    Ok(())
}

fn frame(workspace: &Workspace) -> PathBuf {
    workspace.root.join("www/docs.html")
}

/// Each page's name and source.
fn sources(workspace: &Workspace) -> Result<BTreeMap<String, PathBuf>> {
    let docs = files_below(&workspace.root.join("docs"))?.into_iter();
    let mut sources: BTreeMap<String, PathBuf> = docs
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .filter_map(|path| Some((name_of(path.file_stem()?.to_str()?), path)))
        .collect();
    sources.extend(ELSEWHERE.map(|(name, path)| (name.to_owned(), workspace.root.join(path))));
    Ok(sources)
}

fn name_of(stem: &str) -> String {
    if stem == INDEX { "index".to_owned() } else { stem.to_lowercase() }
}

/// Where a link to a Markdown file leads, if that file has a page.
fn page_of(target: &str, sources: &BTreeMap<String, PathBuf>) -> Option<String> {
    let (path, fragment) = target.split_once('#').map_or((target, None), |(path, fragment)| (path, Some(fragment)));
    let stem = path.strip_suffix(".md")?;
    if stem.contains("://") {
        return None;
    }
    let name = match stem {
        "../www/README" => "package".to_owned(),
        _ => name_of(stem.rsplit('/').next().unwrap_or(stem)),
    };
    let fragment = fragment.map(|fragment| format!("#{fragment}")).unwrap_or_default();
    sources.contains_key(&name).then(|| format!("{name}.html{fragment}"))
}

/// The title, and the page as HTML: headings have names to link to, what is wide can be scrolled by keyboard.
fn rendered(text: &str, page_of: impl Fn(&str) -> Option<String>) -> (String, String) {
    let events: Vec<Event<'_>> = Parser::new_ext(text, Options::ENABLE_TABLES).collect();
    let mut title = String::new();
    let mut out = Vec::with_capacity(events.len());
    for (at, event) in events.iter().enumerate() {
        out.push(match event {
            Event::Start(Tag::Heading { level, classes, attrs, .. }) => {
                let inside =
                    events.iter().skip(at + 1).take_while(|event| !matches!(event, Event::End(TagEnd::Heading(_))));
                let words: String = inside.filter_map(words).collect();
                if title.is_empty() {
                    title.clone_from(&words);
                }
                let (level, classes, attrs) = (*level, classes.clone(), attrs.clone());
                Event::Start(Tag::Heading { level, id: Some(slug(&words).into()), classes, attrs })
            }
            Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
                let dest_url = page_of(dest_url).map_or_else(|| dest_url.clone(), CowStr::from);
                Event::Start(Tag::Link { link_type: *link_type, dest_url, title: title.clone(), id: id.clone() })
            }
            other => other.clone(),
        });
    }
    let mut body = String::new();
    html::push_html(&mut body, out.into_iter());
    let body = body.replace("<pre>", "<pre tabindex=\"0\">").replace("<table>", "<table tabindex=\"0\">");
    // Markdown has no other corner of a table than a heading.
    let body = body.replace("<th></th>", "<td></td>");
    (title, body)
}

fn words<'a>(event: &'a Event<'_>) -> Option<&'a str> {
    match event {
        Event::Text(text) | Event::Code(text) => Some(text),
        _ => None,
    }
}

/// As forges name headings: lower case, what is no letter or digit left out, spaces as hyphens.
fn slug(words: &str) -> String {
    let kept = words
        .to_lowercase()
        .chars()
        .filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter))
        .collect::<String>();
    kept.replace(' ', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_a_page_leads_to_what_was_made_of_it_and_others_stay() {
        let sources: BTreeMap<String, PathBuf> =
            ["limits", "index", "package", "architecture"].map(|name| (name.to_owned(), PathBuf::new())).into();
        let page = |target| page_of(target, &sources);
        assert_eq!(page("limits.md#post-v1limit").as_deref(), Some("limits.html#post-v1limit"));
        assert_eq!(page("README.md").as_deref(), Some("index.html"));
        assert_eq!(page("../www/README.md").as_deref(), Some("package.html"));
        assert_eq!(page("../ARCHITECTURE.md").as_deref(), Some("architecture.html"));
        assert_eq!(page("https://example.org/limits.md"), None);
        assert_eq!(page("redis-user.acl"), None);
    }

    #[test]
    fn headings_have_names_and_the_first_is_the_title() {
        let (title, body) = rendered("# Rate `limits`\n\n## `POST /v1/limit`\n", |_| None);
        assert_eq!(title, "Rate limits");
        assert!(body.contains("<h2 id=\"post-v1limit\">"), "{body}");
    }
}
