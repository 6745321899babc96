//! The rooms of both crates: a file imports from its own room and from those below, files form no circle and are
//! short, and a name means one thing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms of the core, from bottom to top.
const CORE: &[&str] =
    &["sys", "number", "error", "data", "sums", "ops", "kernels", "plan", "run", "lib"];
/// Those of the bindings; whatever else there is stands above them.
const BINDINGS: &[&str] = &["fault", "settings", "buffers", "xla"];
const MOST_LINES: usize = 500;
const MOST_LOOSE_FILES: usize = 3;

fn rust() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The paths and texts of all sources under `dir`, but for what is built.
fn sources(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found.sort();
    found
}

/// Modules and the lines that lead from one to another, by the names of the files without their ending.
struct Modules {
    texts: BTreeMap<String, String>,
}

struct Import {
    from: String,
    to: String,
    line: String,
}

impl Modules {
    fn of(dir: &Path) -> Self {
        let name = |path: &Path| {
            let name = path.strip_prefix(dir).unwrap().with_extension("");
            name.to_str().unwrap().replace(std::path::MAIN_SEPARATOR, "/")
        };
        let texts = sources(dir).into_iter().map(|(path, text)| (name(&path), text));
        Self { texts: texts.collect() }
    }

    /// The file of the item at a path; that of the crate where there is no other.
    fn file_of(&self, path: &[String]) -> String {
        let prefixes = (1..=path.len()).rev().map(|len| path[..len].join("/"));
        let mut files = prefixes.flat_map(|name| [format!("{name}/mod"), name]);
        files.find(|name| self.texts.contains_key(name)).unwrap_or_else(|| "lib".to_owned())
    }

    /// All imports outside tests, `use` or not.
    fn imports(&self) -> Vec<Import> {
        let mut found = Vec::new();
        for (from, text) in &self.texts {
            let module: Vec<String> = from.split('/').map(str::to_owned).collect();
            let module = if from.ends_with("/mod") { &module[..module.len() - 1] } else { &module };
            let text = text.split("#[cfg(test)]\n").next().unwrap_or_default();
            let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
            let code = lines.collect::<Vec<_>>().join("\n");
            for start in ["crate::", "super::"].iter().flat_map(|start| code.match_indices(start)) {
                let before = code[..start.0].chars().next_back().unwrap_or(' ');
                if before.is_alphanumeric() || "_:$".contains(before) {
                    continue;
                }
                let mut paths = Vec::new();
                expand(&mut &code[start.0..], &[], &mut paths);
                let line = code[start.0..].lines().next().unwrap_or_default().to_owned();
                for path in paths {
                    let ups = path.iter().take_while(|part| *part == "super").count();
                    let stays = if path[0] == "crate" { 0 } else { module.len() - ups };
                    let rest = &path[ups + usize::from(path[0] == "crate")..];
                    let to = self.file_of(&[&module[..stays], rest].concat());
                    found.push(Import { from: from.clone(), to, line: line.clone() });
                }
            }
        }
        found
    }
}

/// The paths of `a::{b, c::d}`, each with `before` in front, read from the beginning of `rest`.
fn expand(rest: &mut &str, before: &[String], paths: &mut Vec<Vec<String>>) {
    let mut path = before.to_vec();
    loop {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        path.extend((!name.is_empty() && name != "self").then(|| name.to_owned()));
        let Some(behind) = behind.strip_prefix("::") else {
            *rest = behind;
            break;
        };
        *rest = behind;
        if let Some(inside) = behind.strip_prefix('{') {
            *rest = inside.trim_start();
            while !rest.starts_with('}') && !rest.is_empty() {
                expand(rest, &path, paths);
                *rest = rest[rest.find([',', '}']).unwrap_or(rest.len())..].trim_start();
                *rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
            }
            *rest = rest.strip_prefix('}').unwrap_or(rest);
            return;
        }
    }
    paths.push(path);
}

/// The first parts of a file's name: its room, or its place in that.
fn parts(name: &str, count: usize) -> String {
    name.split('/').take(count).collect::<Vec<_>>().join("/")
}

fn rank(rooms: &[&str], name: &str) -> usize {
    rooms.iter().position(|room| *room == parts(name, 1)).unwrap_or(rooms.len())
}

fn check_directions(rooms: &[&str], imports: &[Import]) {
    let rises = |import: &&Import| rank(rooms, &import.to) > rank(rooms, &import.from);
    let wrong: Vec<_> = imports
        .iter()
        .filter(rises)
        .map(|Import { from, to, line }| format!("{from} imports from {to}, above it: {line}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A file and its own folder count as one; who imports through the `mod.rs` of a room imports all that is there.
fn check_circles(modules: &Modules, imports: &[Import]) {
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for Import { from, to, .. } in imports {
        edges.entry(parts(from, 2)).or_default().insert(parts(to, 2));
    }
    for name in modules.texts.keys().map(|name| parts(name, 2)) {
        if let Some((room, file)) = name.split_once('/')
            && file != "mod"
        {
            edges.entry(format!("{room}/mod")).or_default().insert(name);
        }
    }
    // What leads nowhere, or is led to from nowhere, is no part of a circle; what is left in the end is.
    loop {
        let before: usize = edges.values().map(BTreeSet::len).sum();
        let targets: BTreeSet<String> = edges.values().flatten().cloned().collect();
        edges.retain(|from, _| targets.contains(from));
        let open: BTreeSet<String> = edges.keys().cloned().collect();
        for (from, to) in &mut edges {
            to.retain(|to| to != from && open.contains(to));
        }
        if before == edges.values().map(BTreeSet::len).sum() {
            break;
        }
    }
    let wrong: Vec<_> = imports
        .iter()
        .filter(|import| {
            edges.get(&parts(&import.from, 2)).is_some_and(|to| to.contains(&parts(&import.to, 2)))
        })
        .map(|Import { from, to, line }| format!("{from} imports from {to}, in a circle: {line}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn imports_lead_down_and_never_in_a_circle() {
    for (name, rooms) in [("gradmill-core", CORE), ("gradmill-py", BINDINGS)] {
        let modules = Modules::of(&rust().join(name).join("src"));
        let mut imports = modules.imports();
        // The crate's own file names what is public.
        imports.retain(|import| import.from != "lib");
        assert!(imports.len() > 20, "{} imports are found in {name}", imports.len());
        check_directions(rooms, &imports);
        check_circles(&modules, &imports);
    }
}

#[test]
fn files_are_short() {
    let benches = rust().parent().unwrap().join("benches");
    let all = [rust(), benches].iter().flat_map(|dir| sources(dir)).collect::<Vec<_>>();
    assert!(all.len() > 50);
    for (path, text) in all {
        let lines = text.lines().count();
        assert!(lines <= MOST_LINES, "{} has {lines} lines", path.display());
    }
}

#[test]
fn few_files_stand_outside_the_rooms() {
    let modules = Modules::of(&rust().join("gradmill-core/src"));
    let loose: Vec<_> = modules.texts.keys().filter(|name| !name.contains('/')).collect();
    assert!(loose.len() <= MOST_LOOSE_FILES, "{loose:?}");
    let unknown: Vec<_> =
        modules.texts.keys().filter(|name| rank(CORE, name) == CORE.len()).collect();
    assert!(unknown.is_empty(), "of no room: {unknown:?}");
}

/// The name of the item that a line declares for other modules.
fn public_item(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("pub")?;
    let rest = if rest.starts_with('(') { rest.split_once(')')?.1 } else { rest };
    let mut words = rest.split_whitespace().peekable();
    let kinds = ["fn", "struct", "enum", "trait", "type", "const", "static"];
    while words.next_if(|word| kinds.contains(word) || *word == "unsafe").is_some() {}
    let is_item = rest.split_whitespace().any(|word| kinds.contains(&word));
    let name = words.next().filter(|_| is_item)?;
    name.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

#[test]
fn no_two_public_items_share_a_name() {
    let modules = Modules::of(&rust().join("gradmill-core/src"));
    let mut places: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (file, text) in &modules.texts {
        for name in text.lines().filter_map(public_item) {
            places.entry(name).or_default().push(file);
        }
    }
    assert!(places.len() > 100);
    places.retain(|_, files| files.len() > 1);
    assert!(places.is_empty(), "{places:#?}");
}
