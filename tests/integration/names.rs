//! Ids: what is taken, what is refused, and that the whole id never gets into a socket's path.

use crate::support::busybox;

#[test]
fn letters_digits_and_some_signs_make_an_id() {
    let bundle = busybox!().args(["true"]);
    let id = format!("{}_A+b-c.d", bundle.marker());
    bundle.with_id(&id).run().success();
}

#[test]
fn an_id_with_a_slash_is_refused() {
    let bundle = busybox!();
    let id = format!("a/{}", bundle.marker());
    bundle.with_id(&id).run().refused(&["container id", &id]);
}

#[test]
fn an_id_that_names_a_parent_directory_is_refused() {
    for id in ["..", "."] {
        let bundle = busybox!();
        bundle.write_config();
        let path = bundle.path();
        let args = ["run", "--bundle", path.to_str().expect("UTF-8"), id];
        bundle.rcrun(&args).refused(&["container id", &format!("{id:?}")]);
        bundle.rcrun(&["state", id]).refused(&["container id"]);
        bundle.rcrun(&["delete", "--force", id]).refused(&["container id"]);
    }
}

#[test]
fn an_empty_id_is_refused() {
    let bundle = busybox!();
    bundle.write_config();
    let path = bundle.path();
    bundle
        .rcrun(&["create", "--bundle", path.to_str().expect("UTF-8"), ""])
        .refused(&["container id", "empty"]);
}

#[test]
fn an_id_that_is_too_long_is_refused_with_the_limit() {
    let bundle = busybox!();
    let id = format!("{}{}", bundle.marker(), "x".repeat(250));
    bundle.with_id(&id).run().refused(&["container id", "too long", "at most 249"]);
}

#[test]
fn the_longest_id_goes_through_a_whole_life() {
    // Longer than any socket's path may be (108 bytes).
    let bundle = busybox!().script("sleep 100");
    let id = format!("{}{}", bundle.marker(), "x".repeat(249 - bundle.marker().len()));
    let bundle = bundle.with_id(&id);
    bundle.create().success();
    assert_eq!(bundle.state()["id"], id);
    bundle.start().success();
    bundle.exec(&["echo", "hello"]).prints("hello");
    bundle.delete_forced().success();
}

#[test]
fn a_deep_state_directory_does_not_matter_to_sockets() {
    let bundle = busybox!().args(["echo", "hello"]);
    let bundle = bundle.with_state_directory(&format!("state{}", "/deeper".repeat(30)));
    bundle.create().success();
    bundle.start().success();
    bundle.wait_for_status("stopped");
    bundle.delete().success();
}
