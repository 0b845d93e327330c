//! How `rcrun run TARGET` tells a bundle, an id and an image apart.

use super::fixtures::{Image, Node, node_with};
use super::support::{Outcome, require};

/// `rcrun run WORDS` in a directory of the test's.
fn run_in(node: &Node, directory: &str, words: &[&str]) -> Outcome {
    let all: Vec<&str> = ["run"].iter().chain(words).copied().collect();
    node.rcrun(&all).current_dir(&node.file(directory)).wait()
}

/// A bundle `here/app`, and one that `bundle` is itself.
fn with_bundles() -> Result<Node, String> {
    let node = node_with(Image::busybox())?;
    for directory in ["here", "empty"] {
        std::fs::create_dir(node.file(directory)).unwrap();
    }
    for bundle in ["here/app", "bundle"] {
        let to = node.file(bundle);
        node.rcrun(&["unpack", "app", to.to_str().unwrap()]).wait().success();
        let config = std::fs::read_to_string(to.join("config.json")).unwrap();
        let word = format!("\"echo\",\n      \"{bundle}\"");
        assert!(config.contains("\"sh\""), "{config}");
        std::fs::write(to.join("config.json"), config.replace("\"sh\"", &word)).unwrap();
    }
    Ok(node)
}

#[test]
fn a_word_is_an_image_where_no_config_json_is() {
    let node = require!(with_bundles());
    run_in(&node, "empty", &["--rm", "app", "echo", "image"]).prints("image");
    run_in(&node, "empty", &["--rm", "docker.io/library/app:latest", "echo", "image"]).prints("image");
}

#[test]
fn a_path_is_a_bundle_and_options_may_follow_it() {
    let node = require!(with_bundles());
    run_in(&node, "here", &["./app"]).prints("here/app");
    run_in(&node, "here", &["app/"]).prints("here/app");
    let pid_file = node.file("pid");
    run_in(&node, "here", &["app/", "--pid-file", pid_file.to_str().unwrap()]).prints("here/app");
    assert!(pid_file.exists());
    run_in(&node, "here", &["app/", "--no-such-option"]).exits_with(1).explains(&["--no-such-option"]);
    let id = node.marker();
    run_in(&node, "empty", &[id, "--bundle", "../bundle"]).prints("bundle");
    run_in(&node, "empty", &[id, "-b", "../bundle", "--no-pivot"]).prints("bundle");
    run_in(&node, "bundle", &[id]).prints("bundle");
    run_in(&node, "bundle", &[id, "--print-id"]).prints(&format!("{id}\nbundle"));
}

#[test]
fn what_can_be_read_in_two_ways_is_an_error_that_names_both() {
    let node = require!(with_bundles());
    run_in(&node, "here", &["app"]).exits_with(1).explains(&[
        "the bundle ./app",
        "image docker.io/library/app:latest",
        "say ./app for the first",
    ]);
    run_in(&node, "bundle", &["app"]).exits_with(1).explains(&[
        "the id of the bundle in this directory",
        "--bundle . app",
        "docker.io/library/app:latest",
    ]);
    run_in(&node, "bundle", &["--rm", "app", "echo", "image"]).prints("image");
}

#[test]
fn the_help_says_the_rules() {
    let node = require!(node_with(Image::busybox()));
    let help = node.rcrun(&["run", "--help"]).wait().success();
    for rule in ["TARGET is a bundle directory", "TARGET is an image in all other cases", "two ways"] {
        assert!(help.stdout.contains(rule), "{help}");
    }
}
