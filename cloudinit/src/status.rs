//! /run/ferrite/cloudinit/status: what happened at this boot, for `status`, the console and tests. Pure.
//!
//! `key=value` lines; `fault` and `rejected` may come more than once. `summary` is what the console and the login show.

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// All that was asked for is done.
    Ok,
    /// Something was left out.
    Degraded,
    /// The user-data could not be used at all.
    Failed,
    /// The datasource is asked when there is a network.
    Waiting,
}

impl State {
    /// The word in the file.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
            Self::Waiting => "waiting",
        }
    }

    /// The exit code of `apply` and `status`.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Ok | Self::Waiting => 0,
            Self::Failed => 1,
            Self::Degraded => 2,
        }
    }
}

/// What a person should know; `None` when all is well.
pub(crate) fn summary(state: State, supply: Supply) -> Option<&'static str> {
    match (state, supply) {
        (State::Ok, _) => None,
        (State::Waiting, _) => Some("the datasource is asked when there is a network"),
        (_, Supply::Awaited) => {
            Some("the datasource gives no user-data yet, none was applied; it is asked again in the background")
        }
        (_, Supply::Kept) => {
            Some("the datasource gives no user-data, so all stays as at an earlier boot; it is asked again")
        }
        (_, Supply::Lost) => Some("the user-data cannot be read, so all stays as at an earlier boot"),
        (State::Failed, Supply::Here) => {
            Some("nothing of the user-data was applied; network, name and the cloud's keys were")
        }
        (State::Degraded, Supply::Here) => Some("a part of the user-data was left out, the rest was applied"),
    }
}

/// Whether the documents came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Supply {
    /// They are here, or nobody expects them later.
    Here,
    /// They may come later.
    Awaited,
    /// They may come later, and the machine has those of an earlier boot.
    Kept,
    /// They cannot be read, and the machine has those of an earlier boot.
    Lost,
}

/// What is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    /// How it ended.
    pub state: State,
    /// Where the documents came from.
    pub datasource: String,
    /// The instance id of the meta-data.
    pub instance_id: Option<String>,
    /// The name of the machine.
    pub hostname: String,
    /// How many keys `core` has from the documents.
    pub key_count: usize,
    /// Whether the documents came.
    pub supply: Supply,
    /// Everything that is wrong, one line each.
    pub faults: Vec<String>,
    /// Datasources that were not used, with the reasons.
    pub rejected: Vec<String>,
}

impl Status {
    /// The text of the file.
    pub(crate) fn render(&self) -> String {
        let mut text = format!(
            "state={}\ndatasource={}\ninstance-id={}\nhostname={}\nkeys={}\n",
            self.state.word(),
            self.datasource,
            self.instance_id.as_deref().unwrap_or_default(),
            self.hostname,
            self.key_count
        );
        if let Some(summary) = summary(self.state, self.supply) {
            text.push_str(&format!("summary={summary}\n"));
        }
        for fault in &self.faults {
            text.push_str(&format!("fault={}\n", fault.replace('\n', " ")));
        }
        for reason in &self.rejected {
            text.push_str(&format!("rejected={}\n", reason.replace('\n', " ")));
        }
        text
    }
}

/// The state in the text of the file.
pub(crate) fn state_of(text: &str) -> Option<State> {
    let word = text.lines().find_map(|line| line.strip_prefix("state="))?;
    [State::Ok, State::Degraded, State::Failed, State::Waiting].into_iter().find(|state| state.word() == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_read_back_and_faults_stay_on_their_lines() {
        let status = Status {
            state: State::Degraded,
            datasource: "nocloud /dev/vdb".into(),
            instance_id: None,
            hostname: "web1".into(),
            key_count: 2,
            supply: Supply::Here,
            faults: vec!["a\nstate=ok".into()],
            rejected: vec!["ec2: no".into()],
        };
        let text = status.render();
        assert_eq!(state_of(&text), Some(State::Degraded));
        assert!(text.ends_with("keys=2\nsummary=a part of the user-data was left out, the rest was applied\nfault=a state=ok\nrejected=ec2: no\n"));
        assert_eq!(state_of(""), None);
    }
}
