//! Tests of the order of steps, of duplicates and of ages.

use super::super::parse::tests::Here;
use super::*;

fn rules(text: &str) -> Rules {
    let mut rules = Rules::default();
    rules.read("x.conf", text, &Options { is_boot: true, ..Options::default() }, &Here);
    rules.link();
    rules
}

fn steps(text: &str, operations: Operations) -> Vec<String> {
    rules(text).steps(operations).iter().map(ToString::to_string).collect()
}

#[test]
fn parents_are_made_first_and_patterns_last() {
    let create = Operations { create: true, ..Operations::default() };
    let text = "z /a/* 0700\nf /a/b/c\nd /a/b\nm /z\nd /a\n";
    let want = ["create d /a", "create d /a/b", "create f /a/b/c", "create z /a/*", "create z /z"];
    assert_eq!(steps(text, create), want);
}

#[test]
fn children_are_removed_first_and_removing_comes_before_making() {
    let all = Operations { create: true, remove: true, ..Operations::default() };
    let text = "D /a\nD /a/b\nr /a/b/c\n";
    let want = ["remove r /a/b/c", "remove D /a/b", "remove D /a", "create D /a", "create D /a/b", "create r /a/b/c"];
    assert_eq!(steps(text, all), want);
}

#[test]
fn a_second_line_must_say_the_same() {
    let rules = rules("d /a 0700\nd /a 0755\nd /a 0700\nw+ /b - - - - x\nw+ /b - - - - y\nw /b - - - - z\nz /a 0700\n");
    let told: Vec<String> = rules.faults.iter().map(ToString::to_string).collect();
    let double = |line: usize, path: &str| format!("x.conf:{line}: Duplicate line for path \"{path}\", ignoring.");
    assert_eq!(told, [double(2, "/a"), double(6, "/b")]);
}

#[test]
fn an_x_line_takes_the_age_of_its_folder() {
    let rules = rules("X /tmp/p-*/tmp\nq /tmp 1777 - - 10d\nd /var\nX /var/x\n");
    let clean = Operations { clean: true, ..Operations::default() };
    let ages: Vec<bool> = rules
        .steps(clean)
        .iter()
        .filter(|step| step.item.kind == Kind::IgnoreOnly)
        .map(|step| step.item.age.is_some())
        .collect();
    assert_eq!(ages, [true, false]);
    assert!(rules.speaks_of("/tmp/p-1/tmp") && rules.speaks_of("/var") && !rules.speaks_of("/tmp/p-1"));
}
