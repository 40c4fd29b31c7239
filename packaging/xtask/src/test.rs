//! Everything that must pass, in the order in which it fails soonest. The last line counts the tests that ran.

use std::io::{IsTerminal as _, stderr};

use anyhow::{Context as _, Result, ensure};

use crate::program::Program;
use crate::{check, setup};

/// How many tests there were.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Count {
    passed: u32,
    skipped: u32,
}

/// Runs everything.
pub fn test() -> Result<()> {
    setup::setup()?;
    check::check()?;
    step("format");
    Program::cargo(&["fmt", "--all", "--check"]).run()?;
    step("lints");
    Program::cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]).run()?;
    step("build");
    Program::cargo(&["build", "--workspace"]).run()?;
    step("tests");
    let count = nextest()?;
    step("documentation tests");
    let documented = doc_tests()?;
    check::nothing_left_behind()?;
    let total = Count { passed: count.passed + documented.passed, skipped: count.skipped + documented.skipped };
    ensure!(total.skipped == 0, "{} tests were skipped, and none may be", total.skipped);
    println!("{} passed, 0 failed", total.passed);
    Ok(())
}

fn step(name: &str) {
    println!("── {name}");
}

fn nextest() -> Result<Count> {
    let color = if stderr().is_terminal() { "always" } else { "never" };
    let (passed, output) = Program::cargo(&["nextest", "run", "--workspace", "--profile", "ci", "--color", color]).stream_stderr()?;
    let count = nextest_count(&output).context("nextest told no summary");
    if !passed {
        check::nothing_left_behind()?;
    }
    ensure!(passed, "tests failed; run one again with `cargo nextest run -E 'test(NAME)'`");
    count
}

/// From `Summary [   1.2s] 5 tests run: 5 passed (1 slow), 0 skipped`.
fn nextest_count(output: &str) -> Option<Count> {
    let plain = without_colors(output);
    let summary = plain.lines().rev().find(|line| line.trim_start().starts_with("Summary ["))?;
    let (_, counts) = summary.split_once("run:")?;
    Some(Count { passed: number_before(counts, "passed")?, skipped: number_before(counts, "skipped")? })
}

fn number_before(text: &str, word: &str) -> Option<u32> {
    let words: Vec<&str> = text.split([' ', ',', '(', ')']).filter(|word| !word.is_empty()).collect();
    words.windows(2).find_map(|pair| if let [number, found] = pair { (*found == word).then_some(*number) } else { None })?.parse().ok()
}

fn without_colors(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        rest = escape.split_once(|c: char| c.is_ascii_alphabetic()).map_or("", |(_, after)| after);
    }
    plain.push_str(rest);
    plain
}

fn doc_tests() -> Result<Count> {
    let output = Program::cargo(&["test", "--quiet", "--doc", "--workspace"]).read()?;
    print!("{output}");
    Ok(doc_test_count(&output))
}

/// From the `test result: ok. 2 passed; 0 failed; 0 ignored; …` of each crate.
fn doc_test_count(output: &str) -> Count {
    let results = output.lines().filter(|line| line.starts_with("test result:")).map(|line| line.replace(';', ","));
    let count =
        |line: String| Count { passed: number_before(&line, "passed").unwrap_or_default(), skipped: number_before(&line, "ignored").unwrap_or_default() };
    results.map(count).fold(Count::default(), |sum, one| Count { passed: sum.passed + one.passed, skipped: sum.skipped + one.skipped })
}

#[cfg(test)]
mod tests {
    use super::{Count, doc_test_count, nextest_count};

    #[test]
    fn the_summary_of_nextest_is_counted() {
        let check = |summary: &str, passed, skipped| assert_eq!(nextest_count(&format!("a\n{summary}\nb")), Some(Count { passed, skipped }), "{summary}");
        check("     Summary [   0.123s] 5 tests run: 5 passed, 0 skipped", 5, 0);
        check("     Summary [  10.123s] 105 tests run: 104 passed (2 slow, 1 flaky), 1 failed, 3 skipped", 104, 3);
        check(
            "\x1b[32;1m     Summary\x1b[0m [   0.1s] \x1b[1m7\x1b[0m tests run: \x1b[1m7\x1b[0m \x1b[32;1mpassed\x1b[0m, \x1b[1m0\x1b[0m \x1b[33;1mskipped\x1b[0m",
            7,
            0,
        );
        assert_eq!(nextest_count("error: no such command"), None);
    }

    #[test]
    fn documentation_tests_are_summed_over_crates() {
        let output =
            "\nrunning 0 tests\n\ntest result: ok. 2 passed; 0 failed; 0 ignored; 0 measured\n\ntest result: ok. 3 passed; 0 failed; 1 ignored; 0 measured\n";
        assert_eq!(doc_test_count(output), Count { passed: 5, skipped: 1 });
    }
}
