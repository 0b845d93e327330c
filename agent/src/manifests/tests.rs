use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::*;
use crate::api::admission::{Origin, apply, delete};
use crate::objects::{Key, Object, Typed};

/// A directory that is followed.
struct Followed {
    store: Arc<Store>,
    ranges: Ranges,
    place: tempfile::TempDir,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Followed {
    fn new(prepare: impl FnOnce(&Path)) -> Self {
        let place = tempfile::tempdir().unwrap();
        prepare(place.path());
        let store = Arc::new(Store::open(&place.path().join("state")).unwrap());
        let ranges = Ranges::new("node", "10.96.0.0/24", "30000-30010", None).unwrap();
        let task = Self::spawn(&store, &ranges, place.path());
        let followed = Self { store, ranges, place, task };
        followed.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}));
        followed
    }

    fn spawn(
        store: &Arc<Store>,
        ranges: &Ranges,
        place: &Path,
    ) -> tokio::task::JoinHandle<anyhow::Result<()>> {
        let (store, ranges, directory) = (store.clone(), ranges.clone(), place.join("manifests"));
        tokio::spawn(async move { follow(store, ranges, &directory).await })
    }

    fn apply(&self, manifest: serde_json::Value) {
        apply(&self.store, &self.ranges, &Origin::User, "default", manifest).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join("manifests").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Waits until something is so.
    async fn until(&self, what: &str, so: impl Fn(&crate::objects::Objects) -> bool) {
        for _ in 0..6000 {
            if self.store.read(&so) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never: {what}");
    }

    async fn until_map(&self, name: &str, value: Option<&str>) {
        let data = |objects: &crate::objects::Objects| {
            let object = objects.get(&Key::new(Kind::ConfigMap, "default", name)).map(Object::to_value)?;
            Some(object["data"]["a"].as_str().unwrap_or_default().to_owned())
        };
        self.until(&format!("{name} is {value:?}"), |objects| data(objects).as_deref() == value).await;
    }

    async fn until_told(&self, words: &str) {
        let told = |event: &k8s_openapi::api::core::v1::Event| {
            event.message.as_deref().unwrap_or_default().contains(words)
        };
        self.until(words, |objects| objects.list::<k8s_openapi::api::core::v1::Event>().any(told)).await;
    }
}

fn directory(place: &Path) {
    fs::create_dir(place.join("manifests")).unwrap();
}

fn map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{a: {value}}}\n---\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_come_change_and_go_do_so_with_their_objects() {
    let followed = Followed::new(directory);
    followed.write("a.yaml", &(map("one", "x") + &map("two", "x")));
    followed.until_map("one", Some("x")).await;
    followed.until_map("two", Some("x")).await;
    followed.write("a.yaml", &map("one", "y"));
    followed.until_map("one", Some("y")).await;
    followed.until_map("two", None).await;
    // As editors do: the old one away, the new one in its place. On a busy machine the latter may be late.
    let uid = || {
        let key = Key::new(Kind::ConfigMap, "default", "one");
        followed.store.read(|objects| objects.get(&key).map(|object| object.uid().to_owned()))
    };
    let mut kept = false;
    for number in 0..20 {
        let (before, value) = (uid(), format!("z{number}"));
        followed.write("new", &map("one", &value));
        fs::rename(followed.path("a.yaml"), followed.path("a.yaml~")).unwrap();
        fs::rename(followed.path("new"), followed.path("a.yaml")).unwrap();
        followed.until_map("one", Some(&value)).await;
        kept = uid() == before;
        if kept {
            break;
        }
    }
    assert!(kept, "it is made anew each time");
    followed.write(".hidden.yaml", &map("hidden", "x"));
    followed.write("other.txt", &map("hidden", "x"));
    fs::remove_file(followed.path("a.yaml")).unwrap();
    followed.until_map("one", None).await;
    followed.until_map("hidden", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_is_told_of_and_its_objects_stay() {
    let followed = Followed::new(directory);
    followed.write("a.yaml", &map("one", "x"));
    followed.until_map("one", Some("x")).await;
    followed.write("a.yaml", "kind: [\n");
    followed.until_told("a.yaml: line 1").await;
    followed.write("b.yaml", &map("one", "y"));
    followed
        .until_told("configmap default/one is in two places: a.yaml line 1, which is kept, and b.yaml line 1")
        .await;
    followed.until_map("one", Some("x")).await;
    followed.write("c.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndate: {}\n");
    followed.until_told("c.yaml line 1: configmap default/c: date: unknown field").await;
    fs::remove_file(followed.path("a.yaml")).unwrap();
    followed.until_map("one", Some("y")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_may_come_later_and_be_swapped() {
    let followed = Followed::new(|_| {});
    let place = followed.place.path();
    for (version, name) in [("v1", "one"), ("v2", "two")] {
        fs::create_dir(place.join(version)).unwrap();
        fs::write(place.join(version).join("a.yaml"), map(name, "x")).unwrap();
    }
    std::os::unix::fs::symlink("v1", place.join("manifests")).unwrap();
    followed.until_map("one", Some("x")).await;
    std::os::unix::fs::symlink("v2", place.join("new")).unwrap();
    fs::rename(place.join("new"), place.join("manifests")).unwrap();
    followed.until_map("two", Some("x")).await;
    followed.until_map("one", None).await;
    followed.write("b.yaml", &map("three", "x"));
    followed.until_map("three", Some("x")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_deletes_comes_back_and_what_lacks_its_namespace_waits() {
    let followed = Followed::new(directory);
    followed.write("a.yaml", &map("one", "x"));
    followed.until_map("one", Some("x")).await;
    let key = Key::new(Kind::ConfigMap, "default", "one");
    let uid = |objects: &crate::objects::Objects| objects.get(&key).map(|object| object.uid().to_owned());
    let before = followed.store.read(uid);
    delete(&followed.store, &key, None, None).unwrap();
    followed.until("it is back", |objects| uid(objects).is_some_and(|uid| Some(uid) != before)).await;
    followed.write("b.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b, namespace: later}\n");
    followed.until_told("namespaces \"later\" not found").await;
    followed.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "later"}}));
    let there = |objects: &crate::objects::Objects| {
        objects.list::<k8s_openapi::api::core::v1::ConfigMap>().any(|map| map.namespace() == "later")
    };
    followed.until("b is there", there).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_while_nobody_looked_goes() {
    let mut followed = Followed::new(directory);
    followed.write("a.yaml", &map("one", "x"));
    followed.write("b.yaml", &map("two", "x"));
    followed.until_map("one", Some("x")).await;
    followed.until_map("two", Some("x")).await;
    followed.task.abort();
    let _ = (&mut followed.task).await;
    fs::remove_file(followed.path("a.yaml")).unwrap();
    followed.write("b.yaml", "kind: [");
    followed.task = Followed::spawn(&followed.store, &followed.ranges, followed.place.path());
    followed.until_map("one", None).await;
    followed.until_map("two", Some("x")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_more_of_the_runtime_waits_until_that_is_known() {
    use crate::api::admission::{Features, HandlerFeatures};
    let followed = Followed::new(directory);
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {hostUsers: false, containers: [{name: c, image: i}]}}";
    followed.write("pod.yaml", pod);
    followed.until_told("whether the runtime has user namespaces is not known yet").await;
    let key = Key::new(Kind::Pod, "default", "p");
    let handlers = [(String::new(), HandlerFeatures { user_namespaces: true, ..HandlerFeatures::default() })];
    followed.ranges.set_features(Features { handlers: handlers.into(), ..Features::default() });
    followed.until("the Pod is there", |objects| objects.get(&key).is_some()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_starts_again_leaves_what_others_have_set_since() {
    let mut followed = Followed::new(directory);
    followed.write("a.yaml", &map("one", "x"));
    followed.until_map("one", Some("x")).await;
    followed.task.abort();
    let _ = (&mut followed.task).await;
    let key = Key::new(Kind::ConfigMap, "default", "one");
    let patch = json!({"data": {"a": "by hand"}});
    crate::api::admission::patch(&followed.store, &followed.ranges, &key, &patch).unwrap();
    followed.write("b.yaml", &map("two", "x"));
    followed.task = Followed::spawn(&followed.store, &followed.ranges, followed.place.path());
    followed.until_map("two", Some("x")).await;
    followed.until_map("one", Some("by hand")).await;
    // What the file says anew holds.
    followed.write("a.yaml", &map("one", "y"));
    followed.until_map("one", Some("y")).await;
}
