//! Holds what the tools write as JSON to `JSON.md`: each object has the fields that its section lists, with
//! their types, and no others. For tests alone.

use std::collections::BTreeMap;

use serde_json::Value;

const DOCUMENT: &str = include_str!("../JSON.md");

/// The fields of each section, by its title, with their types.
pub(crate) fn sections() -> BTreeMap<&'static str, Vec<(&'static str, &'static str)>> {
    let (mut sections, mut title) = (BTreeMap::new(), "");
    for line in DOCUMENT.lines() {
        if let Some(heading) = line.strip_prefix("##") {
            title = heading.trim_start_matches('#').trim();
            let older = sections.insert(title, Vec::new());
            assert!(older.is_none(), "two sections are called {title}");
        }
        let cells: Vec<_> = line.split(" | ").map(|cell| cell.trim_matches([' ', '|'])).collect();
        let is_field = line.starts_with("| ") && !["field", "---"].contains(&cells[0]);
        if let (true, Some(fields)) = (is_field, sections.get_mut(title)) {
            fields.push((cells[0], cells[1]));
        }
    }
    sections
}

/// Panics where an object is not what the sections say, all of their fields together.
pub(crate) fn check(object: &Value, titles: &[&str]) {
    let sections = sections();
    let fields = titles.iter().flat_map(|title| {
        sections.get(title).unwrap_or_else(|| panic!("JSON.md has no section {title}"))
    });
    let fields: BTreeMap<_, _> = fields.copied().collect();
    let object = object.as_object().unwrap_or_else(|| panic!("{titles:?}: {object} is no object"));
    let said: Vec<_> = object.keys().collect();
    // A packet has fields of its own beside these.
    let is_open = titles == ["packet"];
    assert!(
        is_open || said.iter().all(|name| fields.contains_key(name.as_str())),
        "{titles:?}: {said:?}"
    );
    for (name, kind) in fields {
        let value = object.get(name).unwrap_or_else(|| panic!("{titles:?} has no {name}"));
        assert!(fits(value, kind), "{titles:?}: {name} is {value}, JSON.md says {kind}");
    }
}

fn fits(value: &Value, kind: &str) -> bool {
    if let Some(kind) = kind.strip_suffix(" or null") {
        return value.is_null() || fits(value, kind);
    }
    if let Some(kind) = kind.strip_prefix("list of ") {
        return value.as_array().is_some_and(|items| items.iter().all(|item| fits(item, kind)));
    }
    if let Some((title, _)) = kind.strip_prefix('[').and_then(|link| link.split_once("](")) {
        check(value, &[title]);
        return true;
    }
    match kind {
        "number" | "user" | "seq" => value.is_u64(),
        "fraction" => value.as_f64().is_some_and(|fraction| fraction >= 0.0),
        "string" => value.is_string(),
        "number or string" => value.is_u64() || value.is_string(),
        "time" => value.as_str().is_some_and(|text| text.len() == 24 && text.ends_with('Z')),
        "true or false" => value.is_boolean(),
        "object" => value.is_object(),
        "any" => true,
        other => panic!("JSON.md has no type {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_document_has_sections_fields_and_links_that_lead_somewhere() {
        let sections = sections();
        assert_eq!(sections["receipt"], [("user", "user"), ("through", "seq")]);
        let titles: Vec<_> = sections.keys().map(|title| title.replace(' ', "-")).collect();
        for link in DOCUMENT.split("](#").skip(1).filter_map(|rest| rest.split(')').next()) {
            assert!(titles.iter().any(|title| title == link), "nothing is called {link}");
        }
    }

    #[test]
    fn what_is_missing_too_much_or_of_another_type_does_not_pass() {
        let passes =
            |object: Value| std::panic::catch_unwind(|| check(&object, &["receipt"])).is_ok();
        assert!(passes(json!({ "user": 1, "through": 2 })));
        assert!(!passes(json!({ "user": 1 })));
        assert!(!passes(json!({ "user": 1, "through": 2, "more": 3 })));
        assert!(!passes(json!({ "user": 1, "through": "2" })));
    }
}
