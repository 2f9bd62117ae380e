//! `ferrite-bench cloudinit`: ferrite-cloudinit beside cloud-init of Debian trixie, on the same documents.
//!
//! Each round measures everything once, ours as the mean of several runs; what is printed is the median of the rounds.
//! Processor time is that of a program and all its children, memory the most that one process had. cloud-init's `apply`
//! is its one process for all stages, as trixie's units start it, on a seed of NoCloud; go-yaml and PyYAML only read
//! the document, which is the floor of what is written with them.

pub(crate) mod cost;
mod documents;
mod tools;

use std::path::PathBuf;

use anyhow::Context;
use ferrite_cli::Table;

use documents::Document;
use tools::{Cost, Place, Tool, Verb};

/// What is measured, how often, and where it is put.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The program of Ferrite
    #[arg(long, default_value = "target/release/ferrite-cloudinit")]
    program: PathBuf,
    /// The large document; its rows are left out when it is not there
    #[arg(long, default_value = "../shared/data/cloud-config/doc-examples/cloud-init-doc-examples/cloud-config.txt")]
    large: PathBuf,
    /// How often everything is measured
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Runs of a program that takes milliseconds, in a round
    #[arg(long, default_value_t = 20)]
    runs: u32,
    /// Where the root of cloud-init and the documents are put
    out: PathBuf,
}

/// One line of the table that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Work {
    verb: Verb,
    document: Document,
}

/// What was measured of one piece of work: the samples of each tool.
type Samples = Vec<(Work, [Vec<Cost>; Tool::ALL.len()])>;

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let out = crate::folder(&arguments.out.join("cloudinit"))?;
    let program = arguments.program.canonicalize();
    let program =
        program.with_context(|| format!("finding '{}': build it with `make build`", arguments.program.display()))?;
    let place = Place::prepare(program, &out, arguments.runs)?;
    let documents = documents::write(&place.documents, &arguments.large)?;
    let mut all: Samples = works(&documents).into_iter().map(|work| (work, Default::default())).collect();
    let rounds = arguments.rounds.max(1);
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        for (work, samples) in &mut all {
            for (tool, samples) in Tool::ALL.into_iter().zip(samples) {
                let measured = place.measure(tool, work.verb, work.document);
                samples.extend(measured.with_context(|| {
                    format!("measuring {:?} of '{}' by {}", work.verb, work.document.name, tool.name())
                })?);
            }
        }
    }
    print!("{}", render(&all));
    Ok(())
}

fn works(documents: &[Document]) -> Vec<Work> {
    let of = |verb| documents.iter().map(move |document| Work { verb, document: *document });
    let again = documents.iter().filter(|document| document.name == "simple");
    of(Verb::Validate)
        .chain(of(Verb::Plan))
        .chain(of(Verb::Apply))
        .chain(again.map(|document| Work { verb: Verb::ApplyAgain, document: *document }))
        .collect()
}

/// The most that Ferrite may use: milliseconds of processor time.
fn aim(work: Work) -> Option<f64> {
    match (work.verb, work.document.name) {
        (Verb::Validate, "simple") => Some(5.0),
        (Verb::Apply, "simple") => Some(20.0),
        (Verb::Validate | Verb::Plan | Verb::Apply | Verb::ApplyAgain, _) => None,
    }
}

const RSS_AIM: f64 = 10.0;

fn render(all: &Samples) -> String {
    let heading = [""].into_iter().chain(Tool::ALL.map(Tool::name)).chain(["unit", "aim", ""]);
    let mut table = Table::with_heading(heading);
    let mut row = |what: String, values: Vec<Option<f64>>, unit: &str, aim: Option<f64>| {
        let mut cells = vec![what];
        cells.extend(values.iter().map(|value| value.map_or("-".into(), |value| format!("{value:.1}"))));
        cells.push(unit.into());
        if let (Some(aim), Some(Some(ours))) = (aim, values.first()) {
            cells.extend([format!("<= {aim}"), if *ours <= aim { "met" } else { "missed" }.into()]);
        }
        table.row(cells);
    };
    for (work, samples) in all {
        let values = samples.iter().map(|samples| median(samples, |cost| cost.cpu_ms)).collect();
        row(label(*work), values, "CPU-ms", aim(*work));
    }
    for (verb, what) in [(Verb::Validate, "validate"), (Verb::Plan, "plan"), (Verb::Apply, "apply")] {
        let most = |tool: usize| {
            let of_verb = all.iter().filter(|(work, _)| work.verb == verb);
            let medians = of_verb.filter_map(|(_, samples)| median(samples.get(tool)?, |cost| cost.rss_mib));
            medians.reduce(f64::max)
        };
        row(format!("{what}, the most RSS"), (0..Tool::ALL.len()).map(most).collect(), "MiB", Some(RSS_AIM));
    }
    table.render()
}

fn label(work: Work) -> String {
    let document = match work.document.name {
        "message" => "MIME with gzip",
        other => other,
    };
    match work.verb {
        Verb::Validate => format!("validate, {document}"),
        Verb::Plan => format!("plan, {document}"),
        Verb::Apply => format!("apply, {document}"),
        Verb::ApplyAgain => format!("apply, {document}, next boot"),
    }
}

fn median(samples: &[Cost], pick: fn(&Cost) -> f64) -> Option<f64> {
    let mut values: Vec<f64> = samples.iter().map(pick).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_median_of_each_tool_and_says_whether_the_aim_is_met() {
        let work = works(&documents::ALL)[0];
        let cost = |cpu_ms| Cost { cpu_ms, rss_mib: 3.0 };
        let mut samples: [Vec<Cost>; 4] = Default::default();
        samples[0] = vec![cost(9.0), cost(1.0), cost(2.0)];
        samples[1] = vec![cost(400.0)];
        let table = render(&vec![(work, samples)]);
        let words: Vec<String> =
            table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(words[1], "validate, simple 2.0 400.0 - - CPU-ms <= 5 met");
        assert_eq!(words[2], "validate, the most RSS 3.0 3.0 - - MiB <= 10 met");
    }
}
