//! Users, groups, passwords, keys and the rules of sudo. Pure.
//!
//! Keys go to two files: `authorized_keys`, where people look for them, and `authorized_keys.d/cloud-config`, which
//! remembers what came from the documents. So keys that a person added stay, and keys that left the documents go.

use std::collections::BTreeSet;

use crate::accounts::NewUser;
use crate::config::{says, words};
use crate::document::{Node, Value};
use crate::keys::PublicKey;
use crate::plan::{Planner, Step, UserSummary};

/// The user of the image.
pub(crate) const DEFAULT_USER: &str = "core";
const DEFAULT_GECOS: &str = "Core User";
const DEFAULT_GROUPS: [&str; 1] = ["sudo"];
const DEFAULT_RULE: &str = "ALL=(ALL) NOPASSWD:ALL";
const SHELL: &str = "/bin/bash";
/// What root's keys are for when root may not log in: to say who may. `$USER` and `$DISABLE_USER` are replaced.
const DISABLED: &str = "no-port-forwarding,no-agent-forwarding,no-X11-forwarding,command=\"echo 'Please login as the \
    user \\\"$USER\\\", not as \\\"$DISABLE_USER\\\".';echo;sleep 10;exit 142\"";
const KEY_HEADER: &str = "# Written by ferrite-cloudinit at every boot; add keys of your own to ../authorized_keys\n";
/// Hashing a password takes long, on purpose.
pub(crate) const MAX_HASHED: usize = 100;
const SUDOERS: &str = "/etc/sudoers.d/90-cloud-init-users";

/// Where the keys of the documents are remembered.
pub(crate) fn key_file(home: &str) -> String {
    format!("{home}/.ssh/authorized_keys.d/cloud-config")
}

/// Plans users and groups, their keys and passwords.
pub(crate) fn users(planner: &mut Planner<'_>) {
    groups(planner);
    let root = &planner.config.root;
    let default = root.get("user").cloned().unwrap_or_else(Node::empty);
    let default_name =
        default.text().or_else(|| default.get("name").and_then(Node::text)).unwrap_or(DEFAULT_USER).to_string();
    let asked = root.get("users").or_else(|| root.get("user")).is_some();
    let mut has_default = root.get("users").is_none();
    for entry in entries(root.get("users")) {
        match entry.text() {
            Some("default") => has_default = true,
            Some("none" | "") => {}
            Some(name) => user(planner, name, &Node::empty()),
            None if entry.get("name").and_then(Node::text) == Some("default") => has_default = true,
            None => {
                let name = entry.get("name").and_then(Node::text).unwrap_or_default().to_string();
                user(planner, &name, &entry);
            }
        }
    }
    let mut keys: Vec<PublicKey> = Vec::new();
    if says(root, "allow_public_ssh_keys") != Some(false) {
        extend(&mut keys, planner.meta.public_keys.iter().cloned());
    }
    extend(&mut keys, public_keys(root));
    if has_default {
        default_user(planner, &default_name, &default, asked);
        give_keys(planner, &default_name, &keys);
    } else if planner.accounts.has_user(&default_name) {
        give_keys(planner, &default_name, &keys);
    }
    planner.plan.key_count = keys.len();
    let login = planner.accounts.has_user(&default_name).then_some(default_name.as_str());
    if planner.accounts.has_user("root") {
        let may_log_in = says(root, "disable_root") == Some(false);
        // A key that the document gives to root itself may log in.
        let roots = |entry: &Node| entry.get("name").and_then(Node::text) == Some("root");
        let own: Vec<PublicKey> =
            entries(root.get("users")).iter().filter(|entry| roots(entry)).flat_map(public_keys).collect();
        let others: Vec<PublicKey> =
            keys.iter().filter(|key| !own.iter().any(|own| own.line() == key.line())).cloned().collect();
        let of_root = if may_log_in { keys.clone() } else { disabled(root, &others, login, "root") };
        give_keys(planner, "root", &of_root);
    }
    redirect(planner, login);
    passwords(planner, &default_name);
    let texts = planner.accounts.render();
    for (name, (text, (mode, group))) in ["passwd", "group", "shadow", "gshadow"]
        .into_iter()
        .zip(texts.into_iter().zip([(0o644, None), (0o644, None), (0o640, Some("shadow")), (0o640, Some("shadow"))]))
    {
        account_file(planner, name, text, mode, group);
    }
}

/// Keys that only tell whom to log in as.
fn disabled(root: &Node, keys: &[PublicKey], login: Option<&str>, user: &str) -> Vec<PublicKey> {
    let options = root.get("disable_root_opts").and_then(Node::text).unwrap_or(DISABLED);
    let options = options.replace("$USER", login.unwrap_or("NONE")).replace("$DISABLE_USER", user);
    keys.iter().map(|key| key.behind(options.trim())).collect()
}

/// `ssh_redirect_user`: the cloud's keys tell whoever tries this user to log in as the default one.
fn redirect(planner: &mut Planner<'_>, login: Option<&str>) {
    let root = planner.config.root.clone();
    for entry in entries(root.get("users")) {
        let asked = entry.get("ssh_redirect_user").is_some_and(|node| node.truth() != Some(false));
        if let Some(name) = entry.get("name").and_then(Node::text).filter(|name| asked && Some(*name) != login) {
            let keys = disabled(&root, &planner.meta.public_keys.clone(), login, name);
            give_keys(planner, name, &keys);
        }
    }
}

fn account_file(planner: &mut Planner<'_>, name: &str, text: String, mode: u32, group: Option<&str>) {
    let path = format!("/etc/{name}");
    let seen = planner.facts.at(&path);
    if seen.is_none() && text.is_empty() || planner.facts.text(&path) == text {
        return;
    }
    let gid = group.and_then(|group| planner.accounts.gid(group)).unwrap_or(0);
    let (mode, owner) = seen.map_or((mode, (0, gid)), |seen| (seen.entry.mode, seen.entry.owner));
    // First of all, so that files may belong to the new users.
    let step = Step::File { path, content: text.into_bytes(), mode, owner, note: "users and groups".into() };
    planner.plan.steps.insert(0, step);
}

/// The items of `users`, whatever form it has.
fn entries(node: Option<&Node>) -> Vec<Node> {
    let Some(node) = node else {
        return Vec::new();
    };
    let named = |name: &str| Node { value: Value::Text(name.into()), place: node.place };
    match &node.value {
        Value::List(items) => items
            .iter()
            .flat_map(|item| if item.items().is_empty() { vec![item.clone()] } else { item.items().to_vec() })
            .collect(),
        Value::Text(_) => words(Some(node)).iter().map(|name| named(name)).collect(),
        Value::Map(pairs) => pairs.iter().filter_map(|(key, _)| key.text().map(named)).collect(),
        Value::Null | Value::Other(_) | Value::Binary(_) => Vec::new(),
    }
}

fn groups(planner: &mut Planner<'_>) {
    let Some(node) = planner.config.root.get("groups") else {
        return;
    };
    let mut wanted: Vec<(String, Vec<String>)> = Vec::new();
    let mut take = |node: &Node| match &node.value {
        Value::Map(pairs) => {
            wanted.extend(pairs.iter().filter_map(|(key, value)| Some((key.text()?.into(), words(Some(value))))));
        }
        _ => wanted.extend(words(Some(node)).into_iter().map(|name| (name, Vec::new()))),
    };
    match &node.value {
        Value::List(items) => items.iter().for_each(&mut take),
        _ => take(node),
    }
    for (name, members) in wanted {
        planner.accounts.add_group(&name, None, false);
        for member in members {
            planner.accounts.add_member(&name, &member);
        }
    }
}

fn default_user(planner: &mut Planner<'_>, name: &str, changes: &Node, asked: bool) {
    let is_new = !planner.accounts.has_user(name);
    let mut pairs: Vec<(Node, Node)> = changes.pairs().to_vec();
    let text = |text: &str| Node { value: Value::Text(text.into()), place: changes.place };
    let mut fill = |key: &str, value: Node| {
        if changes.get(key).is_none() {
            pairs.push((text(key), value));
        }
    };
    if is_new || asked {
        fill("gecos", text(DEFAULT_GECOS));
        fill("sudo", text(DEFAULT_RULE));
        let groups = DEFAULT_GROUPS.iter().map(|group| text(group)).collect();
        fill("groups", Node { value: Value::List(groups), place: changes.place });
    }
    user(planner, name, &Node { value: Value::Map(pairs), place: changes.place });
}

/// Makes a user, or changes what may change of an existing one: password, keys and rules.
fn user(planner: &mut Planner<'_>, name: &str, spec: &Node) {
    if name.is_empty() {
        return;
    }
    let is_new = !planner.accounts.has_user(name);
    if is_new {
        add(planner, name, spec);
    }
    password_of(planner, name, spec, is_new);
    let text = |key: &str| spec.get(key).and_then(Node::text);
    if let Some(day) = text("expiredate").and_then(crate::rules::day_number).filter(|_| is_new) {
        planner.accounts.set_expiry(name, day);
    }
    if let Some(days) = text("inactive").filter(|days| is_new && days.parse::<u32>().is_ok()) {
        planner.accounts.set_inactive(name, days);
    }
    let keys: Vec<PublicKey> = public_keys(spec).collect();
    let homeless = ["system", "no_create_home"].iter().any(|key| says(spec, key) == Some(true));
    if !homeless || is_new && text("homedir").is_some() && says(spec, "no_create_home") != Some(true) {
        home(planner, name);
    }
    if !keys.is_empty() && !homeless || name != DEFAULT_USER && !is_new {
        give_keys(planner, name, &keys);
    }
    rules(planner, name, spec.get("sudo"));
    for key in ["ssh_import_id", "selinux_user"] {
        if spec.get(key).is_some() {
            planner.plan.unsupported.push(format!("users.{name}.{key}"));
        }
    }
    let Some(owner) = planner.accounts.owner(name) else {
        return;
    };
    let home = planner.accounts.home(name).unwrap_or_default().to_string();
    planner.plan.users.push(UserSummary { name: name.into(), owner, home, is_new, keys: keys.len() });
}

fn add(planner: &mut Planner<'_>, name: &str, spec: &Node) {
    let text = |key: &str| spec.get(key).and_then(Node::text);
    let system = says(spec, "system") == Some(true);
    let uid = text("uid").and_then(|uid| uid.parse().ok());
    let create = says(spec, "create_groups") != Some(false);
    let groups = words(spec.get("groups"));
    let primary = text("primary_group");
    let own = says(spec, "no_user_group") != Some(true);
    if create {
        for group in groups.iter().map(String::as_str).chain(primary) {
            planner.accounts.add_group(group, None, false);
        }
    }
    let gid = match primary {
        Some(group) => planner.accounts.gid(group),
        None if own => {
            let wanted = uid.unwrap_or_else(|| planner.accounts.next_uid(system));
            Some(planner.accounts.add_group(name, Some(wanted), system))
        }
        None => planner.accounts.gid("users").or(Some(100)),
    };
    let Some(gid) = gid else {
        let group = primary.unwrap_or_default();
        planner.plan.problems.push(format!("user {name} is left out: there is no group '{group}' in /etc/group"));
        return;
    };
    let home = text("homedir").map_or_else(|| format!("/home/{name}"), str::to_string);
    let new = NewUser {
        name,
        uid,
        gid,
        gecos: text("gecos").unwrap_or_default(),
        home: &home,
        shell: text("shell").unwrap_or(if system { "/usr/sbin/nologin" } else { SHELL }),
        system,
    };
    planner.accounts.add_user(&new, planner.facts.today);
    for group in groups {
        if planner.accounts.has_group(&group) {
            planner.accounts.add_member(&group, name);
        } else {
            planner.plan.problems.push(format!("user {name}: there is no group '{group}' in /etc/group, left out"));
        }
    }
}

fn password_of(planner: &mut Planner<'_>, name: &str, spec: &Node, is_new: bool) {
    let text = |key: &str| spec.get(key).and_then(Node::text);
    let plain = text("plain_text_passwd").map(|plain| hashed(planner, name, plain));
    let of_new = text("passwd").filter(|_| is_new).map(str::to_string);
    let hash = plain.or_else(|| text("hashed_passwd").map(str::to_string)).or(of_new);
    if let Some(hash) = hash {
        planner.accounts.set_password(name, &hash);
    }
    let lock = says(spec, "lock_passwd").unwrap_or(is_new);
    let Some(field) = planner.accounts.password(name).map(str::to_string) else {
        return;
    };
    if lock && !field.starts_with(['!', '*']) {
        planner.accounts.set_password(name, &format!("!{field}"));
    }
}

/// The hash of a password; it stays the one that is there when that fits, so that a second run changes nothing.
fn hashed(planner: &mut Planner<'_>, name: &str, plain: &str) -> String {
    use sha_crypt::{PasswordHasher, PasswordVerifier, ShaCrypt};
    planner.hashed += 1;
    if planner.hashed > MAX_HASHED {
        let message = format!("user {name}: more than {MAX_HASHED} passwords in plain text, give hashes");
        planner.plan.problems.push(message);
        return "!".into();
    }
    let crypt = ShaCrypt::default();
    let known = planner.accounts.password(name).unwrap_or_default().trim_start_matches('!').to_string();
    if known.starts_with("$6$") && crypt.verify_password(plain.as_bytes(), known.as_str()).is_ok() {
        return known;
    }
    let purpose = name.bytes().fold(7usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
    let salt = planner.facts.random(purpose % 61, 12);
    match crypt.hash_password_with_salt(plain.as_bytes(), salt.as_bytes()) {
        Ok(hash) => hash.to_string(),
        // Nothing matches this field, so the account stays closed rather than open.
        Err(_) => "!".into(),
    }
}

fn passwords(planner: &mut Planner<'_>, default_name: &str) {
    let root = planner.config.root.clone();
    if let Some(plain) = root.get("password").and_then(Node::text) {
        let hash = if is_hash(plain) { plain.to_string() } else { hashed(planner, default_name, plain) };
        planner.accounts.set_password(default_name, &hash);
    }
    let Some(spec) = root.get("chpasswd") else {
        return;
    };
    let expire = says(spec, "expire") != Some(false);
    let mut wanted: Vec<(String, String, bool)> = Vec::new();
    let mut random: Vec<String> = Vec::new();
    for item in spec.get("users").map(Node::items).unwrap_or_default() {
        let text = |key: &str| item.get(key).and_then(Node::text).unwrap_or_default().to_string();
        let kind = text("type");
        match kind.as_str() {
            "RANDOM" => random.push(text("name")),
            _ => wanted.push((text("name"), text("password"), kind != "text")),
        }
    }
    let lines = match spec.get("list").map(|list| &list.value) {
        Some(Value::Text(text)) => text.lines().map(str::to_string).collect(),
        Some(_) => words(spec.get("list")),
        None => Vec::new(),
    };
    for line in lines {
        match line.trim().split_once(':') {
            Some((name, "R" | "RANDOM")) => random.push(name.to_string()),
            Some((name, password)) => wanted.push((name.to_string(), password.to_string(), is_hash(password))),
            None => {}
        }
    }
    for name in random {
        wanted.extend(random_password(planner, &name).map(|password| (name, password, false)));
    }
    for (name, password, is_hashed) in wanted {
        if !planner.accounts.has_user(&name) {
            planner.plan.problems.push(format!("chpasswd: there is no user '{name}' in /etc/passwd"));
            continue;
        }
        let before = planner.accounts.password(&name).unwrap_or_default().to_string();
        let field = if is_hashed { password } else { hashed(planner, &name, &password) };
        planner.accounts.set_password(&name, &field);
        // A person who changed an expired password is not asked again at the next boot.
        if expire && before != field {
            planner.accounts.set_changed(&name, 0);
        }
    }
}

/// A password that nobody chose: told to the console, once for an instance. `None`: that was done.
fn random_password(planner: &mut Planner<'_>, name: &str) -> Option<String> {
    const LENGTH: usize = 20;
    if !planner.accounts.has_user(name) {
        planner.plan.problems.push(format!("chpasswd: there is no user '{name}' in /etc/passwd"));
        return None;
    }
    let path = format!("/var/lib/ferrite/cloudinit/random-passwords/{name}");
    let instance = planner.meta.instance_id.clone().unwrap_or_else(|| "none".into());
    let done = planner.facts.text(&path).trim() == instance;
    planner.file(&path, format!("{instance}\n"), 0o600, "a random password was told");
    if done {
        return None;
    }
    let purpose = name.bytes().fold(1usize, |sum, byte| sum.wrapping_mul(33).wrapping_add(usize::from(byte)));
    let password = planner.facts.random(purpose % 43, LENGTH);
    let text = format!("The password of {name} is {password}");
    planner.plan.steps.push(Step::Console { text, note: format!("the random password of {name}") });
    Some(password)
}

fn is_hash(text: &str) -> bool {
    ["$1$", "$2a$", "$2y$", "$5$", "$6$", "$y$"].iter().any(|start| text.starts_with(start))
}

fn public_keys(spec: &Node) -> impl Iterator<Item = PublicKey> {
    let items = spec.get("ssh_authorized_keys").map(Node::items).unwrap_or_default();
    items.iter().filter_map(Node::text).filter_map(|text| PublicKey::parse(text).ok()).collect::<Vec<_>>().into_iter()
}

fn extend(keys: &mut Vec<PublicKey>, more: impl Iterator<Item = PublicKey>) {
    let mut known: BTreeSet<String> = keys.iter().map(|key| key.line().to_string()).collect();
    keys.extend(more.filter(|key| known.insert(key.line().to_string())));
}

/// A home folder that is missing, with what /etc/skel holds.
fn home(planner: &mut Planner<'_>, name: &str) {
    let (Some(owner), Some(home)) = (planner.accounts.owner(name), planner.accounts.home(name)) else {
        return;
    };
    let home = home.to_string();
    let is_new = !planner.facts.accounts().has_user(name);
    let step = Step::Folder { path: home.clone(), mode: if is_new { 0o700 } else { 0o755 }, owner };
    let exists = planner.facts.at(&home).is_some();
    let is_planned = planner.plan.steps.iter().any(|known| known.path() == Some(home.as_str()));
    // Of a home that is there only the path is remembered, so that the next plan knows about it.
    if exists || is_planned || home.is_empty() {
        return;
    }
    planner.plan.steps.push(step);
    for entry in &planner.facts.skel {
        let path = format!("{home}{}", entry.path);
        planner.plan.steps.push(match &entry.content {
            None => Step::Folder { path, mode: entry.mode, owner },
            Some(content) => {
                Step::File { path, content: content.clone(), mode: entry.mode, owner, note: "from /etc/skel".into() }
            }
        });
    }
}

/// The keys of a user; those of the documents before that are not among them go.
fn give_keys(planner: &mut Planner<'_>, name: &str, keys: &[PublicKey]) {
    let (Some(owner), Some(home)) = (planner.accounts.owner(name), planner.accounts.home(name)) else {
        if !keys.is_empty() {
            planner.plan.problems.push(format!("user {name} has no home folder for {} keys", keys.len()));
        }
        return;
    };
    let home = home.to_string();
    let (listed, managed) = (format!("{home}/.ssh/authorized_keys"), key_file(&home));
    let mut keys = keys.to_vec();
    let planned = planner.plan.steps.iter().find_map(|step| match step {
        Step::File { path, content, .. } if *path == managed => Some(String::from_utf8_lossy(content).into_owned()),
        _ => None,
    });
    if let Some(planned) = planned {
        let mut all: Vec<PublicKey> = planned.lines().filter_map(|line| PublicKey::parse(line).ok()).collect();
        extend(&mut all, keys.into_iter());
        keys = all;
    }
    let known_before = planner.facts.text(&managed);
    let is_known = planner.facts.seen.contains_key(&managed);
    if keys.is_empty() && is_known && planner.facts.at(&managed).is_none() {
        return;
    }
    for path in [format!("{home}/.ssh"), format!("{home}/.ssh/authorized_keys.d")] {
        planner.plan.steps.push(Step::Folder { path, mode: 0o700, owner });
    }
    let summaries: Vec<String> = keys.iter().map(PublicKey::summary).collect();
    let note = if summaries.is_empty() { "no keys".to_string() } else { summaries.join(", ") };
    let mut by_hand = String::new();
    let old_lines: BTreeSet<&str> = known_before.lines().collect();
    let new_lines: BTreeSet<&str> = keys.iter().map(PublicKey::line).collect();
    let present = planner.facts.text(&listed);
    for line in present.lines() {
        let is_ours = old_lines.contains(&line) && !line.starts_with('#');
        if !is_ours && !new_lines.contains(line) {
            by_hand.push_str(line);
            by_hand.push('\n');
        }
    }
    let lines: String = keys.iter().map(|key| format!("{}\n", key.line())).collect();
    planner.owned_file(&managed, format!("{KEY_HEADER}{lines}"), 0o600, owner, &note);
    planner.owned_file(&listed, format!("{by_hand}{lines}"), 0o600, owner, &note);
}

fn rules(planner: &mut Planner<'_>, name: &str, sudo: Option<&Node>) {
    let lines = match sudo.map(|node| &node.value) {
        Some(Value::Text(rule)) => vec![rule.clone()],
        Some(Value::List(_)) => {
            sudo.map(Node::items).unwrap_or_default().iter().filter_map(Node::text).map(str::to_string).collect()
        }
        _ => return,
    };
    let mut text =
        planner.content(SUDOERS).map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default();
    let missing: Vec<String> = lines
        .iter()
        .map(|rule| format!("{name} {rule}"))
        .filter(|line| !text.lines().any(|known| known == line))
        .collect();
    if missing.is_empty() {
        return;
    }
    if text.is_empty() {
        text.push_str("# Written by ferrite-cloudinit from the user-data\n");
    }
    text.push_str(&format!("\n# User rules for {name}\n{}\n", missing.join("\n")));
    planner.file(SUDOERS, text, 0o440, &format!("rules for {name}"));
}
