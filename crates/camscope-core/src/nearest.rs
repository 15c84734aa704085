//! What was probably meant: the names nearest to one that is unknown.

/// How many names are offered.
const OFFERED: usize = 5;

/// The likeliest of `names` for the mistyped `query`, best first, at most five. Case doesn't matter. Names that contain the
/// query come first, then those that are spelt alike; nothing is offered that is far off.
pub fn nearest<'a>(query: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let query = query.to_lowercase();
    let score = |name: &str| {
        let name = name.to_lowercase();
        let alike = strsim::jaro_winkler(&query, &name);
        // One letter says nothing.
        if query.chars().nth(1).is_some() && name.contains(&query) { 1.0 + alike } else { alike }
    };
    let mut scored: Vec<(f64, &str)> =
        names.into_iter().map(|name| (score(name), name)).filter(|s| s.0 > 0.7).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut found: Vec<String> = Vec::with_capacity(OFFERED);
    for (_, name) in scored {
        if found.len() == OFFERED {
            break;
        }
        if !found.iter().any(|f| f == name) {
            found.push(name.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_and_parts_of_names_are_recognised() {
        let names = ["Egyptian cat", "tiger cat", "espresso", "lynx"];
        assert_eq!(nearest("expresso", names)[0], "espresso");
        assert_eq!(nearest("EGYPTIAN", names)[0], "Egyptian cat");
        assert_eq!(nearest("cat", names)[..2], ["tiger cat", "Egyptian cat"]);
        assert!(nearest("zzzz", names).is_empty());
        assert!(nearest("", names).is_empty());
    }
}
