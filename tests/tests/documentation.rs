//! The documentation's links lead somewhere.

use std::path::{Path, PathBuf};

use camscope_tests::root;

fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            pages(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "md") {
            found.push(path);
        }
    }
}

/// The text without code, where brackets are no links.
fn prose(text: &str) -> String {
    let blocks = text.split("```").step_by(2);
    blocks.flat_map(|block| block.split('`').step_by(2)).collect::<Vec<_>>().join("code")
}

/// The targets of `[text](target)`.
fn links(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    targets.map(str::to_owned).collect()
}

/// A heading as GitHub makes an anchor of it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut all = Vec::new();
    pages(&root(), &mut all);
    let mut seen = 0;
    for page in &all {
        let text = std::fs::read_to_string(page).expect("text");
        for link in links(&prose(&text)) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            seen += 1;
            let (path, fragment) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { page.clone() } else { page.parent().expect("a folder").join(path) };
            assert!(target.exists(), "{}: `{link}` leads nowhere", page.display());
            if !fragment.is_empty() {
                let text = std::fs::read_to_string(&target).expect("a page");
                let headings = text.lines().filter(|line| line.starts_with('#'));
                let mut anchors = headings.map(|line| anchor(line.trim_start_matches('#')));
                assert!(anchors.any(|anchor| anchor == fragment), "{}: `{link}` names no heading", page.display());
            }
        }
    }
    assert!(seen > 40, "{seen}");
}

#[test]
fn every_page_says_what_it_is_about_before_its_first_part() {
    let mut all = Vec::new();
    pages(&root().join("docs"), &mut all);
    for page in all {
        let text = std::fs::read_to_string(&page).expect("text");
        let mut lines = text.lines().filter(|line| !line.is_empty());
        assert!(lines.next().is_some_and(|line| line.starts_with("# ")), "{}: no title", page.display());
        let first = lines.next().unwrap_or_default();
        assert!(first.starts_with("This page"), "{}: begins with `{first}`", page.display());
    }
}

#[test]
fn every_method_has_a_paragraph_of_its_own() {
    let page = std::fs::read_to_string(root().join("docs/methods.md")).expect("the page of the methods");
    let missing: Vec<&str> = camscope_core::method::METHODS
        .iter()
        .map(|method| method.name())
        .filter(|name| !page.contains(&format!("**`{name}`**")))
        .collect();
    assert!(missing.is_empty(), "docs/methods.md says nothing of {}", missing.join(", "));
}
