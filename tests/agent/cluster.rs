//! A node with a runtime and the agent, and kubectl's verbs there.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::Signal;
use serde_json::Value;

use crate::containerd::{self, Containerd};
use crate::node::Node;
use crate::programs;
use crate::support::{self, Invocation, Outcome, Running};

/// One machine. Dropping it deletes all Pods, ends the agent, and fails the test where something is left (see [`Node`]).
pub struct Cluster {
    agent: Mutex<Option<Running>>,
    containerd: Option<Containerd>,
    pub node: Node,
}

impl Cluster {
    /// With rcrun-cri and an agent without manifests. Err is a reason to skip the test.
    pub fn new() -> Result<Self, String> {
        let cluster = Self::without_agent()?;
        cluster.start(&[]);
        Ok(cluster)
    }

    /// With rcrun-cri alone: see [`Cluster::start`].
    pub fn without_agent() -> Result<Self, String> {
        Ok(Self { agent: Mutex::default(), containerd: None, node: Node::new()? })
    }

    /// With containerd instead of rcrun-cri.
    pub fn on_containerd() -> Result<Self, String> {
        let node = Node::without_server()?;
        let containerd = Containerd::start(&node)?;
        let cluster = Self { agent: Mutex::default(), containerd: Some(containerd), node };
        cluster.start(&["--cri", containerd::SOCKET]);
        Ok(cluster)
    }

    /// The agent's program on the node with these arguments.
    pub fn program(&self, args: &[&str]) -> Invocation {
        let program = programs::agent();
        self.node.command(&[&[program.to_str().expect("UTF-8")], args].concat())
    }

    /// Starts the agent, and waits until it answers.
    pub fn start(&self, args: &[&str]) {
        self.start_by(&[], args);
    }

    /// The same by another program: `env PATH=...`.
    pub fn start_by(&self, by: &[&str], args: &[&str]) {
        let own = ["--log-level", "debug", "--ingress-http", "0.0.0.0:80", "--ingress-https", "0.0.0.0:443"];
        let program = programs::agent();
        let command = [by, &[program.to_str().expect("UTF-8")], &own, args].concat();
        let mut agent = self.node.command(&command).limit(3600).spawn();
        support::wait_for("the agent's answer", 20, || {
            if let Some(status) = agent.child.try_wait().expect("wait") {
                panic!("rcrun-agent ended with {status}: {}", agent.stderr());
            }
            self.program(&["get", "namespaces"]).wait().status.success().then_some(())
        });
        *self.agent() = Some(agent);
    }

    /// Waits until the agent knows what the runtime can, by a Pod that is refused anyway.
    pub fn knows_its_runtime(&self) {
        let pod = "{apiVersion: v1, kind: Pod, metadata: {name: wrong}, spec: {hostUsers: false, containers: [{name: '!', image: i}]}}";
        support::wait_for("what the runtime can", 20, || {
            (!self.try_apply(pod).exits_with(1).stderr.contains("is not known yet")).then_some(())
        });
    }

    /// Waits for an Event in the namespace default, of all words of this line.
    #[track_caller]
    pub fn tells(&self, words: &[&str]) {
        support::wait_for(&format!("an event with {words:?}"), 60, || {
            let events = self.ok(&["get", "events"]);
            events.lines().any(|line| words.iter().all(|word| line.contains(word))).then_some(())
        });
    }

    /// The rules of Services.
    #[track_caller]
    pub fn rules(&self) -> String {
        // A task of its own makes them when the agent has begun.
        support::wait_for("the rules of Services", 20, || {
            let listed = self.node.run(&["nft", "list", "table", "inet", "rcrun-agent"]);
            listed.status.success().then_some(listed.stdout)
        })
    }

    fn agent(&self) -> MutexGuard<'_, Option<Running>> {
        self.agent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The agent's pid, as this process sees it.
    pub fn agent_pid(&self) -> i32 {
        let nsenter = self.agent().as_ref().expect("an agent").pid();
        self.node.child_of(nsenter)
    }

    /// Ends the agent with a signal; its log.
    pub fn end(&self, signal: Signal) -> String {
        let pid = rustix::process::Pid::from_raw(self.agent_pid()).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("kill");
        let mut agent = self.agent().take().expect("an agent");
        support::wait_for("the agent's end", 20, || agent.child.try_wait().expect("wait"));
        agent.stderr()
    }

    /// What the agent has logged.
    pub fn log(&self) -> String {
        self.agent().as_ref().map(Running::stderr).unwrap_or_default()
    }

    /// A verb, done.
    pub fn verb(&self, args: &[&str]) -> Outcome {
        self.program(args).wait()
    }

    /// A verb that succeeds; what it printed.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        self.verb(args).success().stdout
    }

    /// Applies manifests that are right.
    #[track_caller]
    pub fn apply(&self, manifests: &str) -> String {
        self.try_apply(manifests).success().stdout
    }

    /// Applies manifests.
    pub fn try_apply(&self, manifests: &str) -> Outcome {
        self.program(&["apply", "-f", "-"]).stdin(manifests).wait()
    }

    /// An object: `get KIND NAME -o json`, of the namespace default. None: it is not there.
    pub fn object(&self, kind: &str, name: &str) -> Option<Value> {
        let outcome = self.verb(&["get", kind, name, "-o", "json"]);
        outcome.status.success().then(|| outcome.json())
    }

    /// Waits until an object is as wanted.
    #[track_caller]
    pub fn wait(&self, kind: &str, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        support::wait_for(&format!("{kind} {name}: {what}"), 60, || self.object(kind, name).filter(&wanted))
    }

    /// Waits for a Pod's condition Ready.
    #[track_caller]
    pub fn ready(&self, name: &str) -> Value {
        self.wait("pod", name, "ready", is_ready)
    }

    /// Waits until an object is gone.
    #[track_caller]
    pub fn gone(&self, kind: &str, name: &str) {
        support::wait_for(&format!("the end of {kind} {name}"), 60, || {
            self.verb(&["get", kind, name]).stderr.contains("(NotFound)").then_some(())
        });
    }
}

/// Whether a Pod is ready.
pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("rcrun-agent's log:\n{}", self.log());
            return;
        }
        if self.agent().is_some() {
            // Again, if a controller has made one more meanwhile.
            support::wait_for("the end of all Pods", 120, || {
                let kinds = "deployments,statefulsets,daemonsets,cronjobs,jobs,pods";
                self.program(&["delete", kinds, "--all", "-A", "--now"]).limit(300).wait().success();
                self.ok(&["get", "pods", "-A", "-o", "name"]).is_empty().then_some(())
            });
            self.end(Signal::TERM);
        }
        if let Some(containerd) = self.containerd.take() {
            let left = containerd::containers(&self.node);
            let log = containerd.end(&self.node);
            assert_eq!(left, "", "left behind; containerd's log:\n{log}");
        }
    }
}
