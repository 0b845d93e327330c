//! What is asked of systemd: org.freedesktop.systemd1(5).

use rustbus::message_builder::{MarshalledMessage, MessageBuilder};
use rustbus::params::{Array, Base, Container, Param};
use rustbus::wire::ObjectPath;

use super::connection::{CallError, Connection};
use super::value::single;
use super::{Manager, Property, ScopePlan, Value};
use crate::cgroups::{CgroupError, CgroupPath};

const INTERFACE: &str = "org.freedesktop.systemd1.Manager";

/// A scope by its name, and a connection to the manager that has it or will have it.
pub struct Scope {
    name: String,
    bus: Connection,
}

impl Scope {
    /// Connects to the manager's bus.
    pub fn connect(name: &str, manager: Manager) -> Result<Self, CgroupError> {
        let bus = Connection::open(manager).map_err(|reason| CgroupError::NoSystemd { manager, reason })?;
        Ok(Self { name: name.into(), bus })
    }

    /// Whose systemd makes the scopes of a root in a user namespace: the system's where its bus is in this
    /// namespace too and knows us as root, else (as under podman) that of the user who we are outside.
    pub fn manager_of_namespaced_root() -> Manager {
        match Connection::open(Manager::System).map(|mut bus| bus.own_uid()) {
            Ok(Ok(0)) => Manager::System,
            _ => Manager::User,
        }
    }

    /// The cgroup of the manager itself.
    pub fn manager_cgroup(&mut self) -> Result<CgroupPath, CgroupError> {
        let text = self.manager_property("ControlGroup")?;
        CgroupPath::parse(if text.is_empty() { "/" } else { &text }.as_ref())
    }

    /// Makes the scope around process `pid`; returns when systemd has moved it there.
    pub fn start(&mut self, plan: &ScopePlan, pid: i32) -> Result<(), CgroupError> {
        const START: &str = "StartTransientUnit";
        let description = format!("rcrun container {}", self.name);
        let mut all = vec![
            Property::new("Description", Value::Text(description)),
            Property::new("Slice", Value::Text(plan.unit.slice.clone())),
            Property::new("PIDs", Value::Array { of: "u".into(), values: vec![Value::Uint32(pid as u32)] }),
            Property::new("Delegate", Value::Bool(true)),
            Property::new("DefaultDependencies", Value::Bool(false)),
        ];
        let accounting = ["CPUAccounting", "IOAccounting", "MemoryAccounting", "TasksAccounting"];
        all.extend(accounting.map(|name| Property::new(name, Value::Bool(true))));
        all.extend_from_slice(&plan.properties);
        let known = self.known(&all)?;
        let mut body = vec![text(&self.name), text("replace"), self.properties(START, &known)?];
        body.push(self.array(START, "(sa(sv))", Vec::new())?);
        self.listen_to_jobs()?;
        let answer = match self.call(START, &body) {
            // What is left of a unit that failed is forgotten only on request.
            Err(CgroupError::Systemd { reason, .. }) if reason.contains("UnitExists") => {
                self.reset_failed()?;
                self.call(START, &body)
            }
            answer => answer,
        }?;
        match self.await_job(START, &answer)?.as_str() {
            "done" => Ok(()),
            result => {
                let _ = self.reset_failed();
                Err(self.failed(START, format!("its job ended with {result:?}")))
            }
        }
    }

    /// Tells systemd of other limits, until the next start of the machine.
    pub fn set(&mut self, properties: &[Property]) -> Result<(), CgroupError> {
        const SET: &str = "SetUnitProperties";
        let known = self.known(properties)?;
        if known.is_empty() {
            return Ok(());
        }
        let runtime = Param::Base(Base::Boolean(true));
        let body = [text(&self.name), runtime, self.properties(SET, &known)?];
        self.call(SET, &body).map(drop)
    }

    /// Moves a process into the cgroup `below` the scope's (`/` is the scope's own).
    pub fn attach(&mut self, below: &str, pid: i32) -> Result<(), CgroupError> {
        const ATTACH: &str = "AttachProcessesToUnit";
        let pids = self.array(ATTACH, "u", vec![Param::Base(Base::Uint32(pid as u32))])?;
        self.call(ATTACH, &[text(&self.name), text(below), pids]).map(drop)
    }

    /// Ends the scope with whatever runs in it; returns when it is gone. One that is gone is fine.
    pub fn stop(&mut self) -> Result<(), CgroupError> {
        const STOP: &str = "StopUnit";
        self.listen_to_jobs()?;
        match self.call(STOP, &[text(&self.name), text("replace")]) {
            Err(error) => ignore_missing(error)?,
            Ok(job) => {
                self.await_job(STOP, &job)?;
            }
        }
        self.reset_failed()
    }

    /// Lets systemd forget a scope that failed: one that ran out of memory, for instance, stays known.
    pub fn reset_failed(&mut self) -> Result<(), CgroupError> {
        match self.call("ResetFailedUnit", &[text(&self.name)]) {
            Err(error) => ignore_missing(error),
            Ok(_) => Ok(()),
        }
    }

    /// The properties that this systemd has.
    fn known<'a>(&mut self, all: &'a [Property]) -> Result<Vec<&'a Property>, CgroupError> {
        let newest = all.iter().map(|property| property.since).max().unwrap_or(0);
        let version = if newest > 0 { version(&self.manager_property("Version")?) } else { 0 };
        Ok(all.iter().filter(|property| property.since <= version).collect())
    }

    fn manager_property(&mut self, name: &'static str) -> Result<String, CgroupError> {
        let mut call = MessageBuilder::new()
            .call("Get")
            .with_interface("org.freedesktop.DBus.Properties")
            .on("/org/freedesktop/systemd1")
            .at("org.freedesktop.systemd1")
            .build();
        let body = call.body.push_param2(INTERFACE, name);
        body.map_err(|error| self.failed("Get", format!("{error:?}")))?;
        let answer = self.bus.call(&mut call).map_err(|error| self.refused("Get", error))?;
        let value = answer.body.parser().get::<rustbus::wire::unmarshal::traits::Variant<'_, '_>>();
        let value = value.and_then(|variant| variant.get::<String>());
        value.map_err(|error| self.failed("Get", format!("{name}: {error:?}")))
    }

    fn listen_to_jobs(&mut self) -> Result<(), CgroupError> {
        const MATCH: &str = "type='signal',sender='org.freedesktop.systemd1',\
                             interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";
        let mut call = rustbus::standard_messages::add_match(MATCH);
        self.bus.call(&mut call).map(drop).map_err(|error| self.refused("AddMatch", error))
    }

    /// Waits for the end of the job that `answer` names: `done`, `failed` ...
    fn await_job(
        &mut self,
        operation: &'static str,
        answer: &MarshalledMessage,
    ) -> Result<String, CgroupError> {
        let job = answer.body.parser().get::<ObjectPath<&str>>().map(|path| path.as_ref().to_owned());
        let job = job.map_err(|error| self.failed(operation, format!("it names no job: {error:?}")))?;
        let removed = |signal: &MarshalledMessage| {
            // JobRemoved(id, job, unit, result)
            let mut body = signal.body.parser();
            let named = signal.dynheader.member.as_deref() == Some("JobRemoved");
            let (_, removed) = body.get2::<u32, ObjectPath<&str>>().ok().filter(|_| named)?;
            let (_, result) = body.get2::<&str, &str>().ok()?;
            (removed.as_ref() == job).then(|| result.to_owned())
        };
        self.bus.signal(removed).map_err(|reason| self.failed(operation, format!("its job: {reason}")))
    }

    fn call(
        &mut self,
        method: &'static str,
        body: &[Param<'static, 'static>],
    ) -> Result<MarshalledMessage, CgroupError> {
        let mut call = MessageBuilder::new()
            .call(method)
            .with_interface(INTERFACE)
            .on("/org/freedesktop/systemd1")
            .at("org.freedesktop.systemd1")
            .build();
        let pushed = call.body.push_old_params(body);
        pushed.map_err(|error| self.failed(method, format!("{error:?}")))?;
        self.bus.call(&mut call).map_err(|error| self.refused(method, error))
    }

    /// `a(sv)`.
    fn properties(
        &self,
        method: &'static str,
        all: &[&Property],
    ) -> Result<Param<'static, 'static>, CgroupError> {
        let pair = |property: &&Property| {
            let value =
                property.value.variant().map_err(|error| self.failed(method, format!("{error:?}")))?;
            Ok(Param::Container(Container::Struct(vec![text(&property.name), value])))
        };
        let pairs = all.iter().map(pair).collect::<Result<_, CgroupError>>()?;
        self.array(method, "(sv)", pairs)
    }

    fn array(
        &self,
        method: &'static str,
        of: &str,
        values: Vec<Param<'static, 'static>>,
    ) -> Result<Param<'static, 'static>, CgroupError> {
        let element_sig = single(of).map_err(|error| self.failed(method, format!("{error:?}")))?;
        Ok(Param::Container(Container::Array(Array { element_sig, values })))
    }

    fn refused(&self, operation: &'static str, error: CallError) -> CgroupError {
        match error {
            CallError::Refused { name, text } => self.failed(operation, format!("{text} ({name})")),
            CallError::Broken(reason) => self.failed(operation, reason),
        }
    }

    fn failed(&self, operation: &'static str, reason: String) -> CgroupError {
        CgroupError::Systemd { operation, unit: self.name.clone(), reason }
    }
}

fn text(text: &str) -> Param<'static, 'static> {
    Param::Base(Base::String(text.into()))
}

fn ignore_missing(error: CgroupError) -> Result<(), CgroupError> {
    match error {
        CgroupError::Systemd { reason, .. } if reason.contains("NoSuchUnit") => Ok(()),
        error => Err(error),
    }
}

/// `252.38-1~deb12u1`, `v245`.
fn version(text: &str) -> u32 {
    let digits = text.trim_start_matches('v').split(|c: char| !c.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn versions_begin_with_a_number() {
        assert_eq!(version("252.38-1~deb12u1"), 252);
        assert_eq!(version("v245.4-1.fc32"), 245);
        assert_eq!(version("x"), 0);
    }
}
