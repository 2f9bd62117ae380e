//! `[Scope]`: a group of processes that somebody else started. Pure.

use crate::directive::Table;
use crate::kill::Kill;
use crate::value::{Span, span, wrong};

/// What happens when the kernel kills a process of the group for want of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OomPolicy {
    /// Nothing.
    Continue,
    /// The unit is stopped.
    #[default]
    Stop,
    /// The whole group is killed.
    Kill,
}

impl OomPolicy {
    /// The word in the unit file.
    pub fn as_str(self) -> &'static str {
        match self {
            OomPolicy::Continue => "continue",
            OomPolicy::Stop => "stop",
            OomPolicy::Kill => "kill",
        }
    }

    /// The policy of a word.
    pub fn parse(text: &str) -> Option<OomPolicy> {
        [OomPolicy::Continue, OomPolicy::Stop, OomPolicy::Kill].into_iter().find(|policy| policy.as_str() == text)
    }
}

/// The settings of a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// `RuntimeMaxSec=`.
    pub runtime_max: Span,
    /// `RuntimeRandomizedExtraSec=`.
    pub runtime_extra: Span,
    /// `TimeoutStopSec=`.
    pub timeout_stop: Span,
    /// `OOMPolicy=`.
    pub oom_policy: OomPolicy,
    /// How its processes are stopped.
    pub kill: Kill,
}

impl Default for Scope {
    fn default() -> Self {
        Scope {
            runtime_max: Span::Infinite,
            runtime_extra: Span::seconds(0),
            timeout_stop: Span::seconds(90),
            oom_policy: OomPolicy::Stop,
            kill: Kill::default(),
        }
    }
}

pub(crate) const TABLE: Table<Scope> = &[
    ("RuntimeMaxSec", |scope, value| span(value.raw).map(|span| scope.runtime_max = span.zero_is_infinite())),
    ("RuntimeRandomizedExtraSec", |scope, value| span(value.raw).map(|span| scope.runtime_extra = span)),
    ("TimeoutStopSec", |scope, value| span(value.raw).map(|span| scope.timeout_stop = span.zero_is_infinite())),
    ("OOMPolicy", |scope, value| {
        scope.oom_policy = OomPolicy::parse(value.raw).ok_or_else(|| wrong(value.raw, "continue, stop or kill"))?;
        Ok(())
    }),
];
