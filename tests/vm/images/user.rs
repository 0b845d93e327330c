//! Images of a user with subordinate ids: all of it in a user namespace, the overlay with `user.overlay.*`.

use super::{SHOW, empty_node, image_of_layers, shown};
use crate::fixtures::{Node, by_user_with_ids, given_to_user, nothing_is_left};
use crate::support::{program, require};

/// A user's node on the VM's disk, and the directory of an image layout in it.
fn users_node(count: usize) -> Result<(Node, String), String> {
    program("newuidmap")?;
    let node = empty_node()?;
    let layout = node.file("layout");
    image_of_layers(count).build().write_layout(&layout, "docker.io/library/app:latest");
    Ok((given_to_user(node)?, layout.display().to_string()))
}

#[test]
fn a_user_loads_runs_and_unpacks_an_image_of_many_layers() {
    let (node, layout) = require!(users_node(60));
    let rcrun = |words: &[&str]| by_user_with_ids(&node, words);
    rcrun(&["load", "--quiet", "--input", &layout]).wait().success();
    for options in [&[][..], &["--read-only"]] {
        let words = [&["run", "--rm"], options, &["app", "sh", "-c", SHOW]].concat();
        rcrun(&words).wait().prints(&shown(60));
    }
    let script =
        "rm -r /o && mkdir /o && touch /o/mine && chown 7:8 /o/mine && ls /o; stat -c '%u %g' /o/mine";
    rcrun(&["run", "--rm", "app", "sh", "-c", script]).wait().prints("mine\n7 8");
    let bundle = format!("{}/", node.file("bundle").display());
    rcrun(&["unpack", "app", &bundle]).wait().success();
    rcrun(&["run", &bundle]).stdin(SHOW).wait().prints(&shown(60));
    nothing_is_left(&node);
}
