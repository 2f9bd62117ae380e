//! `systemctl clean`, `freeze` and `thaw`: a few words to PID 1 for each unit, and the exit code of any failure.

use anyhow::Result;
use ferrite_control::{ClientError, ErrorKind, Request};

use super::arguments::Arguments;
use super::verbs::{connect, named_units};

/// What is removed when nobody says: what the unit makes again by itself.
const REPLACEABLE: [&str; 3] = ["cache", "runtime", "fdstore"];

/// Asks for each unit in turn; one that fails does not keep the others from it.
pub fn run(arguments: &Arguments) -> Result<u8> {
    let mut client = connect(arguments)?;
    let what = match arguments.what.as_slice() {
        [] => REPLACEABLE.map(str::to_owned).to_vec(),
        chosen => chosen.to_vec(),
    };
    // Many files take their time.
    client.set_timeout(None)?;
    let mut code = 0;
    for unit in named_units(&mut client, &arguments.operands)? {
        let request = match arguments.verb.as_str() {
            "clean" => Request::Clean { unit: unit.clone(), what: what.clone() },
            verb => Request::SetFrozen { unit: unit.clone(), frozen: verb == "freeze" },
        };
        match client.ask(&request) {
            Ok(_) => {}
            Err(ClientError::Refused { kind, message }) => {
                let words = if kind == ErrorKind::AccessDenied { "Access denied".to_owned() } else { message };
                eprintln!("Failed to {} unit {unit}: {words}", arguments.verb);
                code = 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(code)
}
