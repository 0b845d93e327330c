//! systemd's manager on the system bus.

use std::time::{Duration, Instant};

use rustbus::connection::ll_conn::force_finish_on_error;
use rustbus::connection::{Timeout, rpc_conn::RpcConn};
use rustbus::message_builder::{MarshalledMessage, MessageBuilder, MessageType};

use super::{Property, ScopePlan, Value};
use crate::cgroups::CgroupError;

/// How long systemd may take for one answer, and for one job.
const PATIENCE: Duration = Duration::from_secs(30);

type Bytes = Vec<u8>;
type Numbers = Vec<u32>;
rustbus::dbus_variant_sig!(
    Variant,
    Bool => bool; Int32 => i32; Uint32 => u32; Int64 => i64; Uint64 => u64;
    Text => String; Bytes => Bytes; Uint32s => Numbers
);

impl From<&Value> for Variant {
    fn from(value: &Value) -> Self {
        match value {
            Value::Bool(value) => Self::Bool(*value),
            Value::Int32(value) => Self::Int32(*value),
            Value::Uint32(value) => Self::Uint32(*value),
            Value::Int64(value) => Self::Int64(*value),
            Value::Uint64(value) => Self::Uint64(*value),
            Value::Text(value) => Self::Text(value.clone()),
            Value::Bytes(value) => Self::Bytes(value.clone()),
            Value::Uint32s(value) => Self::Uint32s(value.clone()),
        }
    }
}

/// A scope by its name, and a connection to the manager that has it or will have it.
pub struct Scope {
    name: String,
    bus: RpcConn,
}

impl Scope {
    /// Connects to the system bus.
    pub fn connect(name: &str) -> Result<Self, CgroupError> {
        let bus = RpcConn::system_conn(Timeout::Duration(PATIENCE))
            .map_err(|error| CgroupError::NoSystemd { reason: error.to_string() })?;
        Ok(Self { name: name.into(), bus })
    }

    /// Makes the scope around process `pid`; returns when systemd has moved it there.
    pub fn start(&mut self, plan: &ScopePlan, pid: i32) -> Result<(), CgroupError> {
        const MATCH: &str = "type='signal',sender='org.freedesktop.systemd1',\
                             interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";
        self.call("AddMatch", rustbus::standard_messages::add_match(MATCH))?;
        let fixed = [
            ("Description", Value::Text(format!("rcrun container {}", self.name))),
            ("Slice", Value::Text(plan.unit.slice.clone())),
            ("PIDs", Value::Uint32s(vec![pid as u32])),
            ("Delegate", Value::Bool(true)),
            ("DefaultDependencies", Value::Bool(false)),
            ("CPUAccounting", Value::Bool(true)),
            ("IOAccounting", Value::Bool(true)),
            ("MemoryAccounting", Value::Bool(true)),
            ("TasksAccounting", Value::Bool(true)),
        ];
        let mut all: Vec<(String, Variant)> =
            fixed.iter().map(|(name, value)| ((*name).to_owned(), value.into())).collect();
        all.extend(plan.properties.iter().map(|property| (property.name.clone(), (&property.value).into())));
        let mut call = manager("StartTransientUnit");
        let none: Vec<(String, Vec<(String, Variant)>)> = Vec::new();
        let body = call.body.push_param2(self.name.as_str(), "replace");
        let body = body.and_then(|()| call.body.push_param(&all)).and_then(|()| call.body.push_param(&none));
        body.map_err(|error| self.failed("StartTransientUnit", format!("{error:?}")))?;
        let answer = self.call("StartTransientUnit", call)?;
        let job = first_text(&answer).ok_or_else(|| self.failed("StartTransientUnit", "no job".into()))?;
        self.await_job("StartTransientUnit", &job)
    }

    /// Tells systemd of other limits, until the next start of the machine.
    pub fn set(&mut self, properties: &[Property]) -> Result<(), CgroupError> {
        if properties.is_empty() {
            return Ok(());
        }
        let all: Vec<(String, Variant)> =
            properties.iter().map(|property| (property.name.clone(), (&property.value).into())).collect();
        let mut call = manager("SetUnitProperties");
        let body = call.body.push_param3(self.name.as_str(), true, &all);
        body.map_err(|error| self.failed("SetUnitProperties", format!("{error:?}")))?;
        self.call("SetUnitProperties", call).map(drop)
    }

    /// Ends the scope with whatever runs in it. One that is gone is fine.
    pub fn stop(&mut self) -> Result<(), CgroupError> {
        for (method, mode) in [("StopUnit", Some("replace")), ("ResetFailedUnit", None)] {
            let mut call = manager(method);
            let body = call.body.push_param(self.name.as_str());
            let body = body.and_then(|()| mode.map_or(Ok(()), |mode| call.body.push_param(mode)));
            body.map_err(|error| self.failed(method, format!("{error:?}")))?;
            match self.call(method, call) {
                Err(CgroupError::Systemd { reason, .. }) if reason.contains("NoSuchUnit") => {}
                result => drop(result?),
            }
        }
        Ok(())
    }

    fn call(
        &mut self,
        method: &'static str,
        mut call: MarshalledMessage,
    ) -> Result<MarshalledMessage, CgroupError> {
        let patience = Timeout::Duration(PATIENCE);
        let name = self.name.clone();
        let failed = |reason: String| CgroupError::Systemd { operation: method, unit: name.clone(), reason };
        let sent = self.bus.send_message(&mut call).map_err(|error| failed(error.to_string()))?;
        let serial =
            sent.write(patience).map_err(force_finish_on_error).map_err(|error| failed(error.to_string()))?;
        let answer = self.bus.wait_response(serial, patience).map_err(|error| failed(error.to_string()))?;
        match answer.typ {
            MessageType::Error => {
                let error = answer.dynheader.error_name.clone().unwrap_or_default();
                let text = answer.body.parser().get::<String>().unwrap_or_default();
                Err(failed(format!("{text} ({error})")))
            }
            _ => Ok(answer),
        }
    }

    /// Waits for the job's end; `done` is the good one.
    fn await_job(&mut self, operation: &'static str, job: &str) -> Result<(), CgroupError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = Timeout::Duration(deadline.saturating_duration_since(Instant::now()));
            let signal =
                self.bus.wait_signal(left).map_err(|error| self.failed(operation, error.to_string()))?;
            if signal.dynheader.member.as_deref() != Some("JobRemoved") {
                continue;
            }
            let Ok((removed, result)) = job_removed(&signal) else { continue };
            if removed == job {
                return match result.as_str() {
                    "done" => Ok(()),
                    result => Err(self.failed(operation, format!("its job ended with {result:?}"))),
                };
            }
        }
    }

    fn failed(&self, operation: &'static str, reason: String) -> CgroupError {
        CgroupError::Systemd { operation, unit: self.name.clone(), reason }
    }
}

fn manager(method: &str) -> MarshalledMessage {
    MessageBuilder::new()
        .call(method)
        .with_interface("org.freedesktop.systemd1.Manager")
        .on("/org/freedesktop/systemd1")
        .at("org.freedesktop.systemd1")
        .build()
}

/// The object path that a method answers with.
fn first_text(answer: &MarshalledMessage) -> Option<String> {
    answer.body.parser().get::<rustbus::wire::ObjectPath<&str>>().ok().map(|path| path.as_ref().to_owned())
}

/// `JobRemoved(id, job, unit, result)`.
fn job_removed(
    signal: &MarshalledMessage,
) -> Result<(String, String), rustbus::wire::errors::UnmarshalError> {
    let mut body = signal.body.parser();
    body.get::<u32>()?;
    let job = body.get::<rustbus::wire::ObjectPath<&str>>()?.as_ref().to_owned();
    body.get::<&str>()?;
    Ok((job, body.get::<&str>()?.to_owned()))
}
