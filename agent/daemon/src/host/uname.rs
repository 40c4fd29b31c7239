//! What kernel this is.

use super::Failure;
use super::samples::Samples;

pub(super) fn read(samples: &mut Samples) -> Result<(), Failure> {
    let uname = nix::sys::utsname::uname().map_err(|error| Failure::Refused { call: "uname", error })?;
    let labels = [
        ("domainname", uname.domainname()),
        ("machine", uname.machine()),
        ("nodename", uname.nodename()),
        ("release", uname.release()),
        ("sysname", uname.sysname()),
        ("version", uname.version()),
    ]
    .map(|(name, value)| (name, value.to_string_lossy()));
    samples.push("node_uname_info", &labels.each_ref().map(|(name, value)| (*name, value.as_ref())), 1.0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn it_agrees_with_uname() {
        check(
            "uname",
            r#"echo "node_uname_info{domainname=$(cat /proc/sys/kernel/domainname),machine=$(uname -m),nodename=$(uname -n),release=$(uname -r),sysname=$(uname -s),version=$(uname -v)} 1""#,
        );
    }
}
