//! How many sessions of a user there can have been, from what clients saw.

use super::model::User;

/// A session of a user, in the times of those who began, saw and ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lived {
    pub(super) user: User,
    /// It lived at the earliest then.
    pub(super) asked: u64,
    /// It lived at the latest then; the last moment where there was no answer.
    pub(super) answered: u64,
    /// It lived still when this was asked.
    pub(super) seen: u64,
    /// It lived no more when this was answered.
    pub(super) gone: u64,
}

/// A login that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) user: User,
    pub(super) begun: u64,
    pub(super) ended: u64,
}

/// All sessions of all users.
#[derive(Debug, Default)]
pub(super) struct Limited {
    pub(super) lived: Vec<Lived>,
    pub(super) refused: Vec<Refused>,
}

/// What cannot be where each user has at least `least` places and at most `most`.
pub(super) fn check(limited: &Limited, least: usize, most: usize) -> Vec<String> {
    let mut violations = Vec::new();
    for refused in &limited.refused {
        let may_live = |lived: &&Lived| {
            lived.user == refused.user && lived.asked <= refused.ended && lived.gone >= refused.begun
        };
        // Another one that was refused may have been there for a moment.
        let may_have_been = |other: &&Refused| {
            other.user == refused.user && other.begun <= refused.ended && other.ended >= refused.begun
        };
        let count = limited.lived.iter().filter(may_live).count()
            + limited.refused.iter().filter(may_have_been).count()
            - 1;
        if count < least {
            violations
                .push(format!("locked out: {refused:?}, of {least} sessions there were {count} at most"));
        }
    }
    for lived in &limited.lived {
        let moment = lived.answered;
        let lives =
            |other: &&Lived| other.user == lived.user && other.answered <= moment && other.seen >= moment;
        let count = limited.lived.iter().filter(lives).count();
        if count > most && lived.seen >= moment {
            violations
                .push(format!("too many: user {} has {count} sessions and may have {most}", lived.user));
        }
    }
    violations
}
