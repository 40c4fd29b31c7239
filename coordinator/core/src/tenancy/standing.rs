//! An organization's two axes of status, and what they refuse.

use std::str::FromStr;

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Its name in storage and messages.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text { $($text => Ok(Self::$variant),)* _ => Err(text.to_owned()) }
            }
        }
    };
}

named! {
    /// Whether the organization has been checked.
    Verification {
        /// Onboarding is not complete.
        InSetup "in_setup",
        /// Normal.
        Verified "verified",
        /// Under review.
        Pending "pending",
        /// Refused.
        Blocked "blocked",
        /// Not yet let in.
        Waitlist "waitlist",
    }
}

named! {
    /// The life cycle.
    State {
        /// Normal.
        Active "active",
        /// Asleep.
        Inactive "inactive",
        /// Gone for everyone.
        Deleted "deleted",
    }
}

/// Both axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whether it has been checked.
    pub verification: Verification,
    /// Its life cycle.
    pub state: State,
}

/// A create that the organization's status refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the organization is {}: {}", .0.name(), .0.remedy())]
pub struct EntityStatus(pub Standing);

impl Standing {
    /// Whether things may be created.
    ///
    /// # Errors
    /// Names the status and what lifts it.
    pub fn admits_creation(self) -> Result<(), EntityStatus> {
        if self.verification == Verification::Verified && self.state == State::Active { Ok(()) } else { Err(EntityStatus(self)) }
    }

    /// The axis that stands in the way, or `active`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        if matches!(self.state, State::Active) && !matches!(self.verification, Verification::Verified) { self.verification.name() } else { self.state.name() }
    }

    const fn remedy(self) -> &'static str {
        match (self.state, self.verification) {
            (State::Inactive | State::Deleted, _) => "whoever runs this coordinator can activate it",
            (State::Active, Verification::InSetup) => "complete its setup",
            (State::Active, Verification::Pending | Verification::Waitlist) => "it is waiting for whoever runs this coordinator",
            (State::Active, Verification::Blocked) => "ask whoever runs this coordinator why",
            (State::Active, Verification::Verified) => "nothing stands in the way",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Standing, State, Verification};

    #[test]
    fn only_verified_and_active_creates() {
        for verification in [Verification::InSetup, Verification::Verified, Verification::Pending, Verification::Blocked, Verification::Waitlist] {
            for state in [State::Active, State::Inactive, State::Deleted] {
                let allowed = verification == Verification::Verified && state == State::Active;
                assert_eq!(Standing { verification, state }.admits_creation().is_ok(), allowed, "{verification:?} {state:?}");
            }
        }
    }

    #[test]
    fn a_refusal_names_the_status_and_what_lifts_it() {
        let refusal = Standing { verification: Verification::InSetup, state: State::Active }.admits_creation().unwrap_err();
        assert_eq!(refusal.to_string(), "the organization is in_setup: complete its setup");
    }
}
