//! The coordinator's own command line, as a process.

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::Path;
    use std::process::{Command, Output, Stdio};

    fn run(directory: &Path, arguments: &[&str], input: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loopback-coordinator"));
        command.arg("--config").arg(directory.join("coordinator.toml")).args(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    fn check(directory: &Path, arguments: &[&str], input: &str, code: i32, said: &str) {
        let output = run(directory, arguments, input);
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(said), "{text}");
    }

    #[test]
    fn setting_up_says_how_to_sign_in_and_what_stands_in_the_way() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let config = format!("state_dir = \"{}\"\npublic_address = \"fleet.example:8443\"\n", path.join("state").display());
        std::fs::write(path.join("coordinator.toml"), config).unwrap();
        let setup = ["setup", "--organization", "acme", "--email", "a@acme.example", "--password-stdin"];
        check(path, &setup, "short\n", 1, "/password: use 12 to 256 characters");
        check(path, &setup, "correct horse battery\n", 0, "loopback login https://fleet.example:8443 --email a@acme.example --ca-fingerprint ");
        check(path, &setup, "correct horse battery\n", 1, "there is an organization acme already");
        let fingerprint = String::from_utf8(run(path, &["ca", "fingerprint"], "").stdout).unwrap();
        assert_eq!(fingerprint.trim().len(), 64);
        check(path, &["account", "create", "--email", "b@acme.example"], "", 0, "Its password is shown only now: ");
        check(path, &["account", "create", "--email", "b@acme.example"], "", 1, "has an account already");
        let joining = ["account", "create", "--email", "b@acme.example", "--organization", "acme", "--role"];
        check(path, &[&joining[..], &["operator"]].concat(), "", 0, "b@acme.example holds the role operator in acme.");
        check(path, &[&joining[..], &["nonsense"]].concat(), "", 1, "there is no role `nonsense`");
        check(path, &["account", "create", "--email", "b@acme.example", "--role", "operator"], "", 2, "--organization");
        check(path, &["config", "default"], "", 0, "#listen = \"[::]:8443\"");
        check(path, &["completions", "bash"], "", 0, "_loopback__coordinator()");
        std::fs::write(path.join("coordinator.toml"), "lisen = 1").unwrap();
        check(path, &["run"], "", 1, "unknown field `lisen`");
    }
}
