//! What systemctl says about jobs that went wrong, in systemd's words. Pure.

use ferrite_control::{ErrorKind, JobOutcome, JobReport};

/// The message about a job, `None` if there is nothing to complain about.
pub fn complaint(verb: &str, report: &JobReport) -> Option<String> {
    let unit = report.unit.as_str();
    match report.outcome {
        JobOutcome::Queued | JobOutcome::Done | JobOutcome::Skipped => None,
        JobOutcome::Canceled => Some(format!("Job for {unit} canceled.")),
        JobOutcome::Timeout => Some(format!("Job for {unit} timed out.")),
        JobOutcome::Dependency => {
            Some(format!("A dependency job for {unit} failed. See 'journalctl -xe' for details."))
        }
        JobOutcome::Invalid => Some(format!("{unit} is not active, cannot reload.")),
        JobOutcome::Assert => Some(format!("Assertion failed on job for {unit}.")),
        JobOutcome::Unsupported => Some(format!("Operation on or unit type of {unit} not supported on this system.")),
        JobOutcome::Frozen => Some(format!("Cannot perform operation on frozen unit {unit}.")),
        JobOutcome::Failed => Some(failure(unit, &report.unit_result)),
        JobOutcome::Refused => Some(refusal(verb, unit, report)),
    }
}

fn failure(unit: &str, result: &str) -> String {
    let hint = format!("See \"systemctl status {unit}\" and \"journalctl -xeu {unit}\" for details.");
    let because = match result {
        "resources" => "of unavailable resources or another system error",
        "protocol" => "the service did not take the steps required by its unit configuration",
        "timeout" => "a timeout was exceeded",
        "exit-code" => "the control process exited with error code",
        "signal" => "a fatal signal was delivered to the control process",
        "core-dump" => "a fatal signal was delivered causing the control process to dump core",
        "watchdog" => "the service failed to send watchdog ping",
        "oom-kill" => "of an out-of-memory (OOM) situation",
        "start-limit-hit" => {
            return format!(
                "Job for {unit} failed because start of the service was attempted too often.\n{hint}\n\
                 To force a start use \"systemctl reset-failed {unit}\"\nfollowed by \"systemctl start {unit}\" again."
            );
        }
        _ => return format!("Job for {unit} failed.\n{hint}"),
    };
    format!("Job for {unit} failed because {because}.\n{hint}")
}

fn refusal(verb: &str, unit: &str, report: &JobReport) -> String {
    match report.refusal {
        Some(ErrorKind::NoSuchUnit) => format!("Failed to {verb} {unit}: Unit {unit} not found."),
        Some(ErrorKind::UnitMasked) => format!("Failed to {verb} {unit}: Unit {unit} is masked."),
        Some(ErrorKind::AccessDenied) => format!("Failed to {verb} {unit}: Access denied"),
        _ => format!("Failed to {verb} {unit}: {}", report.message),
    }
}

/// The exit code for a job.
pub fn exit_code(report: &JobReport) -> u8 {
    match report.outcome {
        JobOutcome::Queued | JobOutcome::Done | JobOutcome::Skipped => 0,
        JobOutcome::Refused => report.refusal.map_or(1, refusal_code),
        JobOutcome::Canceled
        | JobOutcome::Timeout
        | JobOutcome::Failed
        | JobOutcome::Dependency
        | JobOutcome::Invalid
        | JobOutcome::Assert
        | JobOutcome::Unsupported
        | JobOutcome::Frozen => 1,
    }
}

/// systemd's exit codes for requests that PID 1 refuses.
pub fn refusal_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::AccessDenied | ErrorKind::OnlyByDependency | ErrorKind::Destructive => 4,
        ErrorKind::NoSuchUnit => 5,
        ErrorKind::NotSupported => 3,
        ErrorKind::BadRequest
        | ErrorKind::UnitMasked
        | ErrorKind::UnitRefuses
        | ErrorKind::TransactionFailed
        | ErrorKind::LimitExceeded
        | ErrorKind::Failed => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcome: JobOutcome, unit_result: &str, refusal: Option<ErrorKind>) -> JobReport {
        JobReport {
            unit: "a.service".into(),
            outcome,
            unit_result: unit_result.into(),
            refusal,
            message: "it has no reload command".into(),
        }
    }

    #[test]
    fn a_failed_start_says_why_and_where_to_look() {
        assert_eq!(
            complaint("start", &report(JobOutcome::Failed, "exit-code", None)).expect("a complaint"),
            "Job for a.service failed because the control process exited with error code.\n\
             See \"systemctl status a.service\" and \"journalctl -xeu a.service\" for details."
        );
        let often = complaint("start", &report(JobOutcome::Failed, "start-limit-hit", None)).expect("a complaint");
        assert!(often.contains("attempted too often") && often.contains("reset-failed a.service"));
        assert_eq!(exit_code(&report(JobOutcome::Failed, "", None)), 1);
    }

    #[test]
    fn refusals_have_systemds_words_and_codes() {
        for (kind, words, code) in [
            (ErrorKind::NoSuchUnit, "Failed to start a.service: Unit a.service not found.", 5),
            (ErrorKind::UnitMasked, "Failed to start a.service: Unit a.service is masked.", 1),
            (ErrorKind::AccessDenied, "Failed to start a.service: Access denied", 4),
            (ErrorKind::OnlyByDependency, "Failed to start a.service: it has no reload command", 4),
            (ErrorKind::UnitRefuses, "Failed to start a.service: it has no reload command", 1),
        ] {
            let refused = report(JobOutcome::Refused, "", Some(kind));
            assert_eq!(complaint("start", &refused).as_deref(), Some(words));
            assert_eq!(exit_code(&refused), code);
        }
    }

    #[test]
    fn what_went_well_is_silent() {
        for outcome in [JobOutcome::Done, JobOutcome::Queued, JobOutcome::Skipped] {
            assert_eq!(complaint("start", &report(outcome, "", None)), None);
            assert_eq!(exit_code(&report(outcome, "", None)), 0);
        }
    }
}
