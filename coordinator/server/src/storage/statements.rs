//! Holds that every SQL statement names its tenant, and that nothing writes or commits beside the storage. It reads the sources of this crate as text.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Statements that name no tenant: a part of the text, and why.
const WITHOUT_TENANT: &[(&str, &str)] = &[
    ("FROM schema_version", "the schema belongs to nobody"),
    ("INTO schema_version", "the schema belongs to nobody"),
    ("FROM schema_version", "the schema belongs to nobody"),
    ("SELECT MAX(time_ms) FROM audit_event", "a number for who examines the installation"),
    ("FROM account WHERE email = $1", "who signs in has no grant yet"),
    ("WHERE k.id = $1", "a credential is looked up before a grant can exist"),
    ("WHERE t.id = $1", "a machine shows its token before it has an organization"),
    ("FROM organization WHERE (id = $1 OR slug = $1)", "a path is looked up before a grant can exist"),
    ("FROM organization WHERE slug = $1", "the console names organizations by slug"),
    ("WHERE m.account = $1 AND o.state", "an account's credential is the right to know its organizations"),
    ("SELECT organization FROM membership WHERE account = $1", "an account's credential is the right to know its organizations"),
    ("SELECT id FROM host WHERE removed_at_ms IS NOT NULL", "at the start every removed host's certificate is refused"),
    ("WHERE state <> 'ended' ORDER BY organization", "at the start every session a crash left is ended"),
    ("DELETE FROM metric_frame WHERE time_ms < $1", "the sweep of what is too old"),
    ("DELETE FROM metric_schema WHERE NOT EXISTS", "the sweep of what nothing refers to"),
];

const SCHEMAS: [&str; 2] = [include_str!("schema.sql"), include_str!("observed.sql")];

#[test]
fn every_statement_names_its_tenant() {
    let mut exceptions: Vec<_> = WITHOUT_TENANT.to_vec();
    let mut seen = 0;
    for file in sources().into_iter().filter(|file| is_storage(file)) {
        for statement in statements(&code(&file)) {
            seen += 1;
            let Err(fault) = check_tenant(&statement) else { continue };
            let excepted = exceptions.iter().position(|(part, _)| statement.contains(part));
            let excepted = excepted.unwrap_or_else(|| panic!("{}: {fault}: {statement}", file.display()));
            exceptions.remove(excepted);
        }
    }
    assert!(seen > 90, "only {seen} statements were found");
    assert!(exceptions.is_empty(), "nothing needs these exceptions: {exceptions:?}");
}

#[test]
fn the_tenant_comes_first_in_every_table() {
    let without: BTreeSet<_> = ["account", "account_key", "organization", "audit_event", "key_use"].into();
    for table in SCHEMAS.iter().flat_map(|schema| schema.split("CREATE TABLE ").skip(1)) {
        let (name, columns) = table.split_once(" (").unwrap();
        let first = columns.split_whitespace().next().unwrap();
        assert_eq!(first, if without.contains(name) { key(name) } else { "organization" }, "{name}");
    }
}

#[test]
fn there_is_no_statement_and_no_commit_beside_the_storage() {
    for file in sources() {
        let (code, shown) = (code(&file), file.display());
        if !is_storage(&file) {
            assert!(statements(&code).is_empty(), "{shown}: {:?}", statements(&code));
            assert!(!code.contains("sqlx::query") && !code.contains("raw_sql"), "{shown} makes a statement");
        }
        let ends_transactions = file.ends_with("src/storage.rs") || file.ends_with("src/storage/observed.rs");
        assert!(ends_transactions || !code.contains(".commit()"), "{shown} commits without an audit entry");
    }
}

#[test]
fn statements_that_forget_their_tenant_are_found() {
    let check = |statement: &str, whole: bool| assert_eq!(check_tenant(statement).is_ok(), whole, "{statement}");
    check("SELECT slug FROM project WHERE organization = $1 AND id = $2", true);
    check("SELECT slug FROM project WHERE id = $1", false);
    check("SELECT slug FROM project WHERE organization = $1 OR id = $2", false);
    check("SELECT w.id FROM workspace w JOIN project p ON p.organization = w.organization AND p.id = w.project WHERE w.organization = $1", true);
    check("SELECT w.id FROM workspace w JOIN project p ON p.id = w.project WHERE w.organization = $1", false);
    check("SELECT w.id FROM workspace w JOIN project p ON p.organization = w.organization", false);
    check("SELECT id FROM host WHERE organization = $1 AND workspace IN (SELECT id FROM workspace WHERE slug = $2)", false);
    check("INSERT INTO project (organization, id) VALUES ($1, $2)", true);
    check("INSERT INTO project (id, slug) VALUES ($1, $2)", false);
    check("UPDATE project SET name = $2 WHERE id = $1", false);
    check("DELETE FROM audit_event WHERE trail = $1", true);
    check("DELETE FROM audit_event", false);
    check("SELECT id FROM account_key WHERE account = $1", true);
    check("SELECT id FROM account_key WHERE kind = $1", false);
    assert_eq!(
        statements(
            r#"const A: &str = "SELECT id \
        FROM host"; let b = format!("{A} WHERE slug = $1"); // "SELECT c" "#
        ),
        ["SELECT id FROM host WHERE slug = $1"]
    );
}

/// The column that says whose a row is.
fn key(table: &str) -> &'static str {
    match table {
        "organization" | "account" => "id",
        "account_key" | "key_use" => "account",
        "audit_event" => "trail",
        _ => "organization",
    }
}

/// Whether every table a statement touches is tied to a tenant, and one of them to a bound value.
fn check_tenant(statement: &str) -> Result<(), String> {
    if let Some(insert) = statement.strip_prefix("INSERT INTO ") {
        let (table, columns) = insert.split_once(" (").ok_or("an INSERT names its columns")?;
        return if columns.starts_with(key(table)) { Ok(()) } else { Err(format!("the first column of {table} is not {}", key(table))) };
    }
    let keyed = |(table, alias): (&str, &str)| if alias.is_empty() { key(table).to_owned() } else { format!("{alias}.{}", key(table)) };
    let tables: Vec<_> = tables(statement).into_iter().map(|table| (table.0, keyed(table))).collect();
    let mut bound = false;
    for (table, column) in &tables {
        let ties = comparisons(statement, column);
        // Without aliases the columns of two tables have one name; then each needs its own condition.
        if ties.len() < tables.iter().filter(|(_, other)| other == column).count() {
            return Err(format!("{table} is tied to no tenant"));
        }
        bound |= ties.iter().any(|other| other.starts_with('$'));
    }
    if bound { Ok(()) } else { Err("no tenant is bound".to_owned()) }
}

/// What a statement reads and writes, each with its alias or nothing.
fn tables(statement: &str) -> Vec<(&str, &str)> {
    let words: Vec<_> = statement.split(|c: char| c.is_whitespace() || c == '(' || c == ')' || c == ',').filter(|word| !word.is_empty()).collect();
    let is_table = |word: &str| matches!(word, "FROM" | "JOIN" | "UPDATE");
    let named = words.windows(2).enumerate().filter(|(_, pair)| is_table(pair[0]) && pair[1] != "SET");
    named
        .map(|(at, pair)| {
            let after = words.get(at + 2).copied().unwrap_or_default();
            (pair[1], if after.len() == 1 { after } else { "" })
        })
        .collect()
}

/// What a column is said to equal in conditions that no OR weakens.
fn comparisons<'a>(statement: &'a str, column: &str) -> Vec<&'a str> {
    let words: Vec<_> = statement.split_whitespace().collect();
    let strip = |word: &'a str| word.trim_matches(['(', ')', ',']);
    let mut found = Vec::new();
    for (at, three) in words.windows(3).enumerate().filter(|(_, three)| three[1] == "=") {
        let before = at.checked_sub(1).map_or("", |before| words[before]);
        let is_condition = matches!(before, "WHERE" | "AND" | "ON") && words.get(at + 3) != Some(&"OR");
        let (left, right) = (strip(three[0]), strip(three[2]));
        if is_condition && left == column {
            found.push(right);
        } else if is_condition && right == column {
            found.push(left);
        }
    }
    found
}

/// The SQL of a source: its string literals that begin like a statement, with the constants they are made of put in.
fn statements(code: &str) -> Vec<String> {
    let literals = literals(code);
    let begins = |text: &str| ["SELECT ", "INSERT ", "UPDATE ", "DELETE ", "REPLACE ", "WITH "].iter().any(|verb| text.starts_with(verb));
    let constant = |name: &str| literals.iter().find(|literal| literal.constant.as_deref() == Some(name)).map(|literal| literal.text.as_str());
    let parts: BTreeSet<&str> = literals.iter().filter_map(|literal| placeholder(&literal.text)).collect();
    let whole = literals.iter().filter(|literal| !literal.constant.as_deref().is_some_and(|name| parts.contains(name)));
    whole
        .map(|literal| match placeholder(&literal.text).and_then(|name| Some((name, constant(name)?))) {
            Some((name, text)) => literal.text.replace(&format!("{{{name}}}"), text),
            None => literal.text.clone(),
        })
        .map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|text| begins(text))
        .collect()
}

/// The name of a constant that a format string begins with.
fn placeholder(text: &str) -> Option<&str> {
    let (name, _) = text.strip_prefix('{')?.split_once('}')?;
    (!name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')).then_some(name)
}

struct Literal {
    /// The constant it is the value of.
    constant: Option<String>,
    text: String,
}

/// The string literals of a source, without comments.
fn literals(code: &str) -> Vec<Literal> {
    let (mut found, mut rest, mut before) = (Vec::new(), code, String::new());
    while let Some(c) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\\"'") {
            rest = rest.split_once("\"'").map_or("", |(_, after)| after);
        } else if c == '"' {
            let (text, after) = literal(rest.get(1..).unwrap_or_default());
            let constant = before.trim_end().strip_suffix(": &str =").and_then(|before| before.rsplit_once("const ")).map(|(_, name)| name.to_owned());
            found.push(Literal { constant, text });
            (rest, before) = (after, String::new());
        } else {
            before.push(c);
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
        }
    }
    found
}

/// A literal's text and what follows it. Of escapes only the end of a line matters to SQL.
fn literal(code: &str) -> (String, &str) {
    let (mut text, mut chars) = (String::new(), code.chars());
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => match chars.next() {
                Some('\n') => chars = chars.as_str().trim_start().chars(),
                Some(escaped) => text.push(escaped),
                None => break,
            },
            _ => text.push(c),
        }
    }
    (text, chars.as_str())
}

/// The sources of this crate that are no tests.
fn sources() -> Vec<PathBuf> {
    let (mut found, mut directories) = (Vec::new(), vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")]);
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let is_test = path.file_stem().is_some_and(|stem| stem == "tests" || stem == "statements");
            if path.is_dir() && !is_test {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
                found.push(path);
            }
        }
    }
    found
}

fn is_storage(file: &Path) -> bool {
    file.ends_with("src/storage.rs") || file.parent().is_some_and(|parent| parent.ends_with("src/storage"))
}

/// A source without its tests, which stand at its end.
fn code(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned()
}
