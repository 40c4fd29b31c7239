//! The content of our table, and the one transaction that puts it in place of whatever the table held before.

use std::borrow::Cow;

use nftables::schema::{Chain as NfChain, NfCmd, NfListObject, NfObject, Nftables, Rule as NfRule, Table};
use nftables::stmt::Statement;
use nftables::types::{NfChainPolicy, NfChainType, NfFamily, NfHook};

use super::text;

/// The name of our table, of family `inet`.
pub const TABLE: &str = "loopback";

/// Before the filters of others (at 0 and above), so that what we count and log is what reached the host; behind connection tracking (-200) and
/// the output hook's address translation (-100), so that we see states and true destinations. A drop of theirs still stands after our accept.
pub(super) const PRIORITY: i32 = -10;

/// What our table says. Without chains there is to be no table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ruleset {
    pub(super) chains: Vec<Chain>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) name: String,
    pub(super) hook: Option<NfHook>,
    pub(super) rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) statements: Vec<Statement<'static>>,
    pub(super) comment: String,
}

impl Chain {
    pub(super) const fn new(name: String, hook: Option<NfHook>) -> Self {
        Self { name, hook, rules: Vec::new() }
    }

    pub(super) fn rule(&mut self, comment: impl Into<String>, statements: impl IntoIterator<Item = Statement<'static>>) {
        self.rules.push(Rule { statements: statements.into_iter().collect(), comment: comment.into() });
    }

    fn to_nft(&self) -> NfChain<'static> {
        NfChain {
            family: NfFamily::INet,
            table: Cow::Borrowed(TABLE),
            name: self.name.clone().into(),
            newname: None,
            handle: None,
            _type: self.hook.map(|_| NfChainType::Filter),
            hook: self.hook,
            prio: self.hook.map(|_| PRIORITY),
            dev: None,
            // The last rule of a base chain decides, so that the decision is counted.
            policy: self.hook.map(|_| NfChainPolicy::Accept),
        }
    }
}

impl Rule {
    fn to_nft(&self, chain: &Chain) -> NfRule<'static> {
        NfRule {
            family: NfFamily::INet,
            table: Cow::Borrowed(TABLE),
            chain: chain.name.clone().into(),
            expr: self.statements.clone().into(),
            handle: None,
            index: None,
            comment: Some(self.comment.clone().into()),
        }
    }
}

impl Ruleset {
    /// One transaction for `nft -j -f -`: the table and everything in it goes, what the ruleset says comes, and no packet sees anything between.
    #[must_use]
    pub fn transaction(&self) -> Nftables<'static> {
        // A table can only be deleted when it is there; adding one that is there changes nothing.
        let remove = [NfCmd::Add(table()), NfCmd::Delete(table())];
        let add = self.objects().into_iter().map(NfCmd::Add);
        Nftables { objects: remove.into_iter().chain(add).map(NfObject::CmdObject).collect() }
    }

    /// In `nft`'s own syntax.
    #[must_use]
    pub fn to_text(&self) -> String {
        text::write(self)
    }

    /// The table, its chains, its rules: in an order that never refers to what comes later.
    pub(super) fn objects(&self) -> Vec<NfListObject<'static>> {
        if self.chains.is_empty() {
            return Vec::new();
        }
        let chains = self.chains.iter().map(|chain| NfListObject::Chain(chain.to_nft()));
        let rules = self.chains.iter().flat_map(|chain| chain.rules.iter().map(|rule| NfListObject::Rule(rule.to_nft(chain))));
        std::iter::once(table()).chain(chains).chain(rules).collect()
    }
}

const fn table() -> NfListObject<'static> {
    NfListObject::Table(Table { family: NfFamily::INet, name: Cow::Borrowed(TABLE), handle: None })
}
