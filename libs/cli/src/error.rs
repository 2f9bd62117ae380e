//! Prints an error with its chain of causes on one line, as `error: doing this: because of that`.
//!
//! Sources are never repeated: library errors do not contain their source (STYLE.md section 6).

use std::process::ExitCode;

/// Renders the whole chain of an error.
pub fn error_line(error: &anyhow::Error) -> String {
    let mut line = String::from("error");
    for cause in error.chain() {
        line.push_str(": ");
        line.push_str(&cause.to_string());
    }
    line
}

/// Turns the outcome of a program into its exit code; a failure is printed on stderr first.
pub fn exit_with(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::from(crate::EXIT_OK),
        Err(error) => {
            eprintln!("{}", error_line(&error));
            ExitCode::from(crate::EXIT_FAILURE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_one_line_outermost_first() {
        let error = anyhow::anyhow!("no such device").context("opening slot partition");
        assert_eq!(error_line(&error), "error: opening slot partition: no such device");
    }
}
