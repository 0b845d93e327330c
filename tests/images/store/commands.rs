//! images, rmi, tag, image and system: docker's output, and its refusals.

use rcrun::image::store::Store;
use serde_json::Value;

use super::put;
use crate::fixtures::{Built, Image, Layer, Node, Packing};
use crate::support::Outcome;

struct Scene {
    node: Node,
    store: Store,
}

impl Scene {
    fn new() -> Self {
        let node = Node::new();
        let store = Store::open(&node.storage()).unwrap();
        Self { node, store }
    }

    fn put(&self, name: &str, built: &Built) {
        put(&self.store, name, built, false);
    }

    fn run(&self, line: &str) -> Outcome {
        self.node.rcrun(&line.split(' ').collect::<Vec<_>>()).wait()
    }

    fn says(&self, line: &str) -> String {
        self.run(line).success().stdout
    }

    fn refuses(&self, line: &str) -> String {
        let outcome = self.run(line);
        assert_eq!((outcome.code(), outcome.stdout.as_str()), (1, ""), "{line}: {outcome}");
        assert_eq!(outcome.stderr.trim_end().lines().count(), 1, "{outcome}");
        outcome.stderr
    }
}

fn image(content: &str, created: &str, label: &str) -> Built {
    let (created, label) = (created.to_owned(), label.to_owned());
    let image = Image::new().layer(Layer::new().file("a", content), Packing::Gzip);
    let image = image.config(|config| {
        config["created"] = created.into();
        config["config"]["Labels"]["tier"] = label.into();
        config["history"] = serde_json::json!([
            {"created": "2020-01-01T00:00:00Z", "created_by": "COPY a /a # ".repeat(9), "comment": "base"},
            {"created": "2020-01-01T00:00:00Z", "created_by": "CMD [\"sh\"]", "empty_layer": true}]);
    });
    image.build()
}

#[test]
fn images_are_listed_as_docker_lists_them() {
    let scene = Scene::new();
    assert_eq!(scene.says("images").lines().count(), 1);
    assert_eq!(scene.says("images -q"), "");
    let (old, new) =
        (image("1", "2020-01-01T00:00:00Z", "web"), image("2", "2024-01-01T00:00:00+01:00", "db"));
    scene.put("web:1", &old);
    scene.put("r.example/db", &new);
    let listed = scene.says("images");
    let words = |line: usize| listed.lines().nth(line).unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(words(0), ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]);
    assert_eq!(words(1)[..3], ["r.example/db", "latest", &new.id()[7..19]]);
    assert_eq!((words(2)[0], words(2)[4..].join(" ")), ("web", "years ago 64B".to_owned()));
    assert_eq!(scene.says("images -q --no-trunc"), format!("{}\n{}\n", new.id(), old.id()));
    assert_eq!(scene.says("image ls -q --no-trunc"), format!("{}\n{}\n", new.id(), old.id()));
    assert!(scene.says("images --digests").contains(&old.digest()));
    let json: Value = serde_json::from_str(&scene.says("images --format json web")).unwrap();
    assert_eq!(
        (&json["Repository"], &json["Tag"], &json["Size"]),
        (&"web".into(), &"1".into(), &"64B".into())
    );
    assert_eq!(json["CreatedAt"], "2020-01-01 00:00:00 +0000 UTC");
    assert!(scene.refuses("images --format {{.ID}}").contains("Go templates are not supported"));
}

#[test]
fn filters_choose_images() {
    let scene = Scene::new();
    let (old, new) = (image("1", "2020-01-01T00:00:00Z", "web"), image("2", "2024-01-01T00:00:00Z", "db"));
    scene.put("web:1", &old);
    scene.put("r.example/team/db", &new);
    for (filter, expected) in [
        ("label=tier=web", vec![&old]),
        ("label=tier", vec![&new, &old]),
        ("label=other", vec![]),
        ("before=r.example/team/db", vec![&old]),
        ("since=web:1", vec![&new]),
        ("until=2021-01-01", vec![&old]),
        ("reference=w*", vec![&old]),
        ("reference=r.example/*/db:latest", vec![&new]),
        ("dangling=true", vec![]),
        ("dangling=false", vec![&new, &old]),
    ] {
        let ids: String = expected.iter().map(|built| format!("{}\n", built.id())).collect();
        assert_eq!(scene.says(&format!("images -q --no-trunc --filter {filter}")), ids, "{filter}");
    }
    // The name moves: the old one dangles.
    scene.put("web:1", &new);
    assert_eq!(scene.says("images -q --no-trunc --filter dangling=true"), format!("{}\n", old.id()));
    let row = scene.says("images --filter dangling=true");
    assert!(row.lines().nth(1).unwrap().starts_with("web   "), "{row}");
    assert!(row.contains("<none>"), "{row}");
    assert!(scene.refuses("images --filter colour=red").contains("colour"));
    assert!(scene.refuses("images --filter before=nope").contains("rcrun pull nope"));
}

#[test]
fn names_are_given_and_taken() {
    let scene = Scene::new();
    let built = image("1", "2020-01-01T00:00:00Z", "web");
    scene.put("web:1", &built);
    scene.says("tag web:1 r.example:5/team/web");
    scene.says(&format!("tag {} also", &built.id()[7..15]));
    assert!(scene.refuses("tag web:1 Bad").contains("lower case"));
    assert!(scene.refuses(&format!("tag web:1 x@{}", built.digest())).contains("digest"));
    assert!(scene.refuses("tag nope x").contains("rcrun pull nope"));
    assert!(scene.refuses(&format!("rmi {}", built.id())).contains("3 names"));
    assert_eq!(scene.says("rmi web:1"), "Untagged: web:1\n");
    assert_eq!(scene.says("image rm also"), "Untagged: also:latest\n");
    let removed = scene.says("rmi r.example:5/team/web");
    let digest = format!("web@{}", built.digest());
    for line in [format!("Untagged: {digest}"), format!("Deleted: {}", built.id())] {
        assert!(removed.lines().any(|found| found == line), "{removed}");
    }
    scene.node.holds_nothing();
    assert!(scene.node.stored("blobs/sha256").is_empty());
    let error = scene.refuses("rmi web:1");
    assert!(error.contains("\"web:1\" is not in the store") && error.contains("rcrun pull web:1"), "{error}");
    assert!(scene.refuses("rmi A:").contains("image name"));
}

#[test]
fn of_many_to_remove_those_that_can_be_are_removed() {
    let scene = Scene::new();
    scene.put("web:1", &image("1", "2020-01-01T00:00:00Z", "web"));
    let outcome = scene.run("rmi nope web:1 neither");
    assert_eq!(outcome.code(), 1);
    assert!(outcome.stdout.starts_with("Untagged: web:1\n"), "{outcome}");
    assert_eq!(outcome.stderr.lines().filter(|line| line.contains("is not in the store")).count(), 2);
}

#[test]
fn an_image_is_inspected_and_its_history_told() {
    let scene = Scene::new();
    let built = image("1", "2020-01-01T00:00:00Z", "web");
    scene.put("web:1", &built);
    let seen: Value = serde_json::from_str(&scene.says("image inspect web:1")).unwrap();
    let seen = &seen[0];
    assert_eq!((&seen["Id"], &seen["RepoTags"][0]), (&built.id().into(), &"web:1".into()));
    assert_eq!(seen["RepoDigests"][0], format!("web@{}", built.digest()));
    assert_eq!(seen["Config"]["Labels"]["tier"], "web");
    assert_eq!(seen["RootFS"]["Layers"][0], built.diff_ids()[0]);
    assert_eq!((&seen["Size"], &seen["Created"]), (&64.into(), &"2020-01-01T00:00:00Z".into()));
    let lower = scene.node.layer(&built.diff_ids()[0]);
    assert_eq!(seen["GraphDriver"]["Data"]["LowerDir"], lower.to_str().unwrap());
    assert_eq!(scene.says("image inspect --format json web:1").lines().count(), 1);
    let outcome = scene.run("image inspect web:1 nope");
    assert!(outcome.code() == 1 && outcome.stdout.contains(&built.id()), "{outcome}");

    let history = scene.says("image history web:1");
    let lines: Vec<&str> = history.lines().collect();
    assert!(lines[0].starts_with("IMAGE") && lines.len() == 3, "{history}");
    assert!(lines[1].starts_with(&built.id()[7..19]) && lines[1].contains("CMD [\"sh\"]"), "{history}");
    assert!(
        lines[2].starts_with("<missing>") && lines[2].contains('…') && lines[2].contains("64B"),
        "{history}"
    );
    let whole = scene.says("image history --no-trunc --human=false web:1");
    assert!(whole.contains(&"COPY a /a # ".repeat(8)) && whole.contains("2020-01-01T00:00:00Z"), "{whole}");
    assert_eq!(scene.says("image history -q web:1"), format!("{}\n<missing>\n", &built.id()[7..19]));
}

#[test]
fn what_an_image_says_does_not_reach_the_terminal_as_it_is() {
    let scene = Scene::new();
    let mut image = Image::new().layer(Layer::new().file("a", "b"), Packing::Plain);
    image = image.config(|config| {
        config["created"] = "\u{1b}[2J".into();
        config["history"] = serde_json::json!([
            {"created": "\u{1b}[2J\n2020", "created_by": "x\r\u{1b}]0;y\u{7}", "comment": "\u{9b}1mz"}]);
    });
    scene.put("web:1", &image.build());
    let commands = [
        "history",
        "history --no-trunc --human=false",
        "ls --no-trunc --digests",
        "inspect",
        "history --format json",
    ];
    for command in commands {
        let said = scene.says(&format!("image {command} web:1"));
        let raw = |c: char| c.is_ascii_control() && c != '\n';
        assert!(!said.contains(raw), "{command}: {said:?}");
    }
    let lines = scene.says("image history --no-trunc --human=false web:1").lines().count();
    assert_eq!(lines, 2);
}

#[test]
fn pruning_asks_and_takes_what_nobody_names() {
    let scene = Scene::new();
    let (old, new) = (image("1", "2020-01-01T00:00:00Z", "web"), image("2", "2024-01-01T00:00:00Z", "db"));
    scene.put("web", &old);
    scene.put("web", &new);
    let ask = |answer: &str| scene.node.rcrun(&["image", "prune"]).stdin(answer).wait().success().stdout;
    assert!(ask("n\n").ends_with("[y/N] ") && ask("").ends_with("[y/N] "));
    assert!(scene.says("image prune -f --filter label=tier=db").ends_with("Total reclaimed space: 0B\n"));
    let said = ask("y\n");
    assert!(said.contains(&format!("deleted: {}\n", old.id())) && !said.contains(&new.id()), "{said}");
    assert_eq!(scene.says("images -q --no-trunc"), format!("{}\n", new.id()));
    assert!(scene.says("image prune --all --force --filter until=2021-01-01").ends_with(" 0B\n"));
    assert!(scene.says("image prune --all --force").contains(&format!("deleted: {}\n", new.id())));
    scene.node.holds_nothing();
}

#[test]
fn disk_usage_is_told_in_short_and_in_full() {
    let scene = Scene::new();
    assert!(scene.says("system df").contains("Images"));
    put(&scene.store, "web:1", &image("1", "2020-01-01T00:00:00Z", "web"), true);
    let short = scene.says("system df");
    let images = short.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(images[..3], ["Images", "1", "0"], "{short}");
    assert!(short.lines().any(|line| line.starts_with("Kept blobs   1 ")), "{short}");
    assert!(scene.says("system df -v").contains("web:1"));
    let json: Value =
        serde_json::from_str(scene.says("system df --format json").lines().next().unwrap()).unwrap();
    assert_eq!((&json["Type"], &json["TotalCount"]), (&"Images".into(), &"1".into()));
}

#[test]
fn without_a_store_nothing_is_made() {
    let node = Node::new();
    for line in [&["images"][..], &["system", "df"], &["image", "prune", "-f"]] {
        node.rcrun(line).wait().success();
    }
    let refused = node.rcrun(&["rmi", "web"]).wait();
    assert!(refused.code() == 1 && refused.stderr.contains("rcrun pull web"), "{refused}");
    assert!(!node.storage().exists());
}
